"""One step of the brain as a page shows it: its words, its code, the calls of its cell, the output."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ml_intern.cli.board import shorten
from ml_intern.durations import show_duration
from ml_intern.webapp.lines import bar
from ml_intern.webapp.markup import code, cut, markdown, text

OUTPUT_CHARS = 12_000
"""Of a cell's output the page shows so much."""
_ARGUMENT_CHARS = 400


@dataclass
class Call:
    """A tool call of a step."""

    tool: str
    arguments: dict[str, Any]
    progress: str = ""
    fraction: float | None = None
    ok: bool | None = None
    summary: str = ""
    seconds: float = 0.0


@dataclass
class Step:
    """What one step of the brain has come to."""

    number: int
    words: str = ""
    code: str = ""
    output: str = ""
    ok: bool | None = None
    seconds: float = 0.0
    tokens: str = ""
    calls: dict[str, Call] = field(default_factory=dict)
    research: list[str] = field(default_factory=list)


def step_html(step: Step, key: str) -> str:
    """What a step looks like; the page remembers by the key which of its parts a person has folded."""
    words = f'<div class="mi-words">{markdown(step.words)}</div>' if step.words else ""
    parts = [_code(step, key)] if step.code else []
    parts += [_calls(step)] if step.calls else []
    if step.research:
        parts.append(f'<pre class="mi-research">{text(chr(10).join(step.research))}</pre>')
    if step.output.strip() not in ("", "(no output)"):
        parts.append(_output(step, key))
    return words + (f'<div class="mi-cell">{"".join(parts)}</div>' if parts else "")


def _code(step: Step, key: str) -> str:
    state = {None: "runs", True: "good", False: "bad"}[step.ok]
    took = show_duration(step.seconds) if step.ok is not None else "runs"
    facts = " · ".join(filter(None, (took, step.tokens)))
    dot = f'<span class="mi-dot mi-{state}"></span>'
    return (
        f'<details open data-k="{key}-code"><summary>{dot}Step {step.number}'
        f"<small>{text(facts)}</small></summary>"
        f'<pre class="mi-code">{code(step.code.strip())}</pre></details>'
    )


def _output(step: Step, key: str) -> str:
    kind = " mi-failed" if step.ok is False else ""
    shown = text(cut(step.output.strip(), OUTPUT_CHARS))
    return (
        f'<details open data-k="{key}-out"><summary>Output</summary>'
        f'<pre class="mi-out{kind}" data-k="{key}-pre">{shown}</pre></details>'
    )


def _calls(step: Step) -> str:
    return f'<div class="mi-calls">{"".join(map(_call, step.calls.values()))}</div>'


def _call(call: Call) -> str:
    state = {None: "runs", True: "good", False: "bad"}[call.ok]
    shown = ", ".join(
        f"{name}={_value(value)}" for name, value in call.arguments.items() if value is not None
    )
    took = show_duration(call.seconds) if call.ok is not None else ""
    told = call.summary if call.ok is not None else call.progress
    progress = bar(call.fraction) if call.ok is None and call.fraction is not None else ""
    return (
        f'<div class="mi-call"><span class="mi-dot mi-{state}"></span><div><code><b>{text(call.tool)}</b>'
        f"({text(shorten(shown, _ARGUMENT_CHARS))})</code> <small>{text(took)}</small>{progress}"
        f'<div class="mi-told">{text(shorten(told, 600))}</div></div></div>'
    )


def _value(value: Any) -> str:
    return shorten(json.dumps(value, ensure_ascii=False, default=str), 120)
