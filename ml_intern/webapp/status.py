"""The line above a session: what it does, and what it has used."""

from __future__ import annotations

from collections.abc import Mapping

from ml_intern.durations import show_duration
from ml_intern.events import ApprovalNeeded
from ml_intern.webapp.house import Shown
from ml_intern.webapp.markup import text

_STATES = {"new": "New session", "working": "Working", "waiting": "Waiting for you", "over": "At rest"}


def question_of(shown: Shown | None) -> ApprovalNeeded | None:
    """What the gate asks in a session at this moment."""
    return next(iter(shown.hosted.questions), None) if shown and shown.alive else None


def status_html(shown: Shown | None) -> str:
    """The line; without a session that of a new one."""
    if shown is None:
        return f'<span class="mi-what">{_STATES["new"]}</span>'
    transcript = shown.transcript
    state = "Needs your answer" if question_of(shown) else _STATES[shown.hosted.state]
    parts = [f"step {transcript.step}"] if transcript.step else []
    session = shown.hosted.session
    parts += _spent(session.budget.summary()) if session else []
    if sum(transcript.tokens) and not any("tokens" in part for part in parts):
        parts.append(f"{sum(transcript.tokens):,} tokens")
    told = "".join(f"<span>{text(part)}</span>" for part in parts)
    return f'<span class="mi-what">{state}</span>{told}'


def _spent(summary: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Units that were used or that have a ceiling, in words."""
    shown = {
        "tokens": lambda value: f"{value:,.0f} tokens",
        "usd": lambda value: f"${value:,.2f}",
        "gpu_hours": lambda value: f"{value:.2f} GPU hours",
        "jobs": lambda value: f"{value:.0f} jobs",
        "seconds": show_duration,
    }
    parts = []
    for unit, show in shown.items():
        row = summary.get(unit, {})
        used = (row.get("spent") or 0.0) + (row.get("reserved") or 0.0)
        if (cap := row.get("cap")) is not None:
            parts.append(f"{show(used)} of {show(cap)}")
        elif used and unit != "gpu_hours":
            parts.append(show(used))
    return parts
