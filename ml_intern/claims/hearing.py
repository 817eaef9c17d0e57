"""What a session's journal has of it: what tools gave back, what the person said, what cells have shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ml_intern.claims.gathering import Heard, ToolTold
from ml_intern.clock import now
from ml_intern.journal.journal import NOT_TAKEN, Entry, Journal

HELD = f"{NOT_TAKEN}: it claims what was not measured."
"""The first words of what the brain is told; by them a journal knows how often it was."""


def heard(journal: Journal, prompt: str, budget: dict[str, Any] | None = None) -> Heard:
    """Read a journal.

    Args:
        journal: The session's.
        prompt: The person's first sentence.
        budget: What was spent, and the ceilings.
    """
    entries = list(journal.entries())
    began = entries[0].at if entries else None
    return Heard(
        told=list(_told(entries)),
        said=[prompt, *(str(e.payload.get("text", "")) for e in entries if e.kind in ("turn", "message"))],
        printed=[str(e.payload.get("observation", "")) for e in entries if _shown(e)],
        budget=budget,
        seconds=now() - began if began is not None else None,
        began=began,
    )


def _shown(entry: Entry) -> bool:
    """Whether a cell has shown something; what was said against an answer makes no number known."""
    return entry.kind == "cell_done" and not entry.payload.get("held")


def _told(entries: Sequence[Entry]) -> Iterable[ToolTold]:
    asked: dict[str, Entry] = {}
    for entry in entries:
        call = str(entry.payload.get("call", ""))
        if entry.kind == "intent":
            asked[call] = entry
        elif entry.kind == "result" and call in asked:
            given, came = asked[call].payload, entry.payload
            arguments = given.get("arguments")
            value = came.get("value") if came.get("ok") else [came.get("message"), came.get("hint")]
            yield ToolTold(
                tool=str(given.get("tool", "")),
                arguments=arguments if isinstance(arguments, dict) else {},
                value=value,
                seconds=float(came.get("seconds") or 0.0),
                failed=not came.get("ok"),
            )
