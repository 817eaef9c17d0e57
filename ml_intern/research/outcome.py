"""What is told of a sub-agent's work: its answer at a bounded length, and what it read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ml_intern.agent.view import Spill
from ml_intern.errors import InternError
from ml_intern.journal.journal import Journal
from ml_intern.research.model import SourceRead
from ml_intern.secrets.masking import mask_all

ANSWER_CHARS = 4000
"""Of an answer, what comes back; the whole of a longer one is in a file."""

ARGUMENT_CHARS = 160


def bounded(answer: str, keep: Spill) -> tuple[str, str]:
    """The answer and nothing, or its head and tail and the file with the whole."""
    from ml_intern.agent.executor import head_and_tail

    if len(answer) <= ANSWER_CHARS:
        return answer, ""
    short = head_and_tail(answer, ANSWER_CHARS)
    try:
        return short, str(keep("answer", answer))
    except InternError as error:
        return f"{short}\n[The whole could not be kept: {error.message}]", ""


def sources_of(journal: Journal, source: str) -> list[SourceRead]:
    """The calls of a sub-agent that went well, in this process or an earlier one: the journal has them."""
    mine = (entry.payload for entry in journal.entries("intent") if entry.payload["source"] == source)
    calls = {line["call"]: line for line in mine}
    went_well = [entry.payload["call"] for entry in journal.entries("result") if entry.payload["ok"]]
    return [_source(calls[call]) for call in dict.fromkeys(went_well) if call in calls]


def cut(text: str, limit: int) -> str:
    """The beginning of a text."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _source(intent: Mapping[str, Any]) -> SourceRead:
    shown = json.dumps(mask_all(intent.get("arguments")), ensure_ascii=False, default=str)
    return SourceRead(str(intent["call"]), str(intent["tool"]), cut(shown, ARGUMENT_CHARS))
