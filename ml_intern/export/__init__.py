"""A session in other forms: notebook, script, Markdown, trace, playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ml_intern.errors import UsageError
from ml_intern.export.markdown import to_markdown
from ml_intern.export.notebook import to_notebook
from ml_intern.export.playbook import to_playbook
from ml_intern.export.script import to_script
from ml_intern.export.story import Story, read_story
from ml_intern.export.trace import to_trace
from ml_intern.tooling import did_you_mean

__all__ = ["FORMATS", "export"]

_WRITERS: dict[str, Callable[[Story], str]] = {
    "notebook": to_notebook,
    "script": to_script,
    "markdown": to_markdown,
    "trace": to_trace,
}
FORMATS = {"notebook": ".ipynb", "script": ".py", "markdown": ".md", "trace": ".jsonl", "playbook": ".md"}
"""The forms, and how their files end."""


def export(
    folder: Path,
    form: str,
    *,
    name: str = "",
    slots: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> str:
    """A session's record as text.

    Args:
        folder: The session's folder.
        form: One of `FORMATS`.
        name: playbook: what it is called.
        slots: playbook: slot name to the text of the prompt that becomes a slot.
        tell: Told where the record is damaged and the text is not the whole of it.

    Raises:
        UsageError: There is no such form, the record cannot be read, or a slot does not stand in the prompt.
    """
    if form not in FORMATS:
        raise UsageError(
            f"There is no form {form!r}{did_you_mean(form, FORMATS)}.", f"Use {', '.join(FORMATS)}."
        )
    story = read_story(folder)
    if story.damage:
        tell(f"The journal is damaged ({story.damage}): what can be read of it is shown.")
    if form == "playbook":
        return to_playbook(story, name, slots or {})
    return _WRITERS[form](story)
