"""A question of the gate on the page, and the arguments that a person gives back."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from ml_intern.errors import UsageError
from ml_intern.events import ApprovalNeeded
from ml_intern.webapp.markup import text


def asked(question: ApprovalNeeded | None) -> list[Any]:
    """Updates: the panel, its text, the arguments, the reason of a no, and the button that allows always."""
    if question is None:
        return [gr.update(visible=False), "", "", "", gr.skip()]
    shown = json.dumps(question.arguments, indent=2, ensure_ascii=False, default=str)
    always = gr.update(visible=bool(question.always))
    return [gr.update(visible=True), _question_html(question), shown, "", always]


def _question_html(question: ApprovalNeeded) -> str:
    rows = {
        "Why": question.reason,
        "Costs": question.price,
        "Reaches": question.reach,
        "Once": question.once,
        "Always would allow": question.always,
    }
    told = "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in rows.items() if value)
    source = f" <small>{text(question.source)}</small>" if question.source else ""
    return (
        f'<div class="mi-asked"><h3>May I call <code>{text(question.tool)}</code>? '
        f'<span class="mi-effect">{text(question.effect)}</span>{source}</h3><dl>{told}</dl></div>'
    )


def arguments_of(said: str) -> dict[str, Any]:
    """What a person wrote as the arguments.

    Raises:
        UsageError: It is no JSON object.
    """
    try:
        given = json.loads(said)
    except ValueError as error:
        raise UsageError(f"The arguments are no JSON: {error}.", "Mend them, then allow again.") from None
    if not isinstance(given, dict):
        raise UsageError("The arguments are no JSON object.", 'Write {"name": value, …}.')
    return given
