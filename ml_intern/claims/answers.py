"""The final answer: held back while it claims what nobody measured, shown with marks where it stays so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ml_intern.claims.hearing import HELD
from ml_intern.claims.judging import Review

MARK = " [not verified]"
REPLACED = " [replaced since]"
SHOWN = 12
"""Numbers of an answer that are named to the brain or the person."""


class AnswerCheck:
    """Says what is wrong with the numbers of an answer, a few times; then the answer is taken as it is.

    Args:
        reviewed: Holds a text against what is known.
        times: How often an answer may still go back.
        room: Whether there are steps and budget left for another answer.
    """

    def __init__(
        self, reviewed: Callable[[str], Review | None], times: int, room: Callable[[], bool]
    ) -> None:
        self._reviewed = reviewed
        self.times = times
        self._room = room

    def renew(self, times: int) -> None:
        """A further turn: its answer may go back as often as the first one."""
        self.times = times

    def hold(self, answer: str) -> str:
        """Why an answer is not taken yet, or nothing."""
        if self.times < 1 or not self._room():
            return ""
        found = self._reviewed(answer)
        if found is None or found.stands:
            return ""
        self.times -= 1
        return told_to_the_brain(found)


def told_to_the_brain(found: Review) -> str:
    """What is wrong with an answer, and what to do."""
    lines = [f"- {finding}." for finding in found.unverified[:SHOWN]]
    if more := len(found.unverified) - SHOWN:
        lines += [f"- and {more} more."] if more > 0 else []
    lines += [f"- {words}." for words in found.words[:SHOWN]]
    return (
        f"{HELD}\n"
        + "\n".join(lines)
        + "\nSay what the tools gave, or measure it, or leave it out; name the "
        "source of what is somebody else's. What still stands so in the answer is shown as not verified."
    )


def marked(answer: str, found: Review) -> str:
    """The answer with marks at the numbers that do not stand. JSON stays as it is, for who parses it."""
    if not found.unverified or _is_json(answer):
        return answer
    for finding in sorted(found.unverified, key=lambda f: -f.end):
        mark = REPLACED if finding.replaced else MARK
        answer = f"{answer[: finding.end]}{mark}{answer[finding.end :]}"
    return answer


def warning(found: Review) -> str:
    """What the person is told of an answer; empty where there is nothing to say."""
    parts = []
    replaced = [f for f in found.unverified if f.replaced]
    if unverified := [f for f in found.unverified if not f.replaced]:
        shown = ", ".join(dict.fromkeys(f.shown for f in unverified[:SHOWN]))
        more = f" and {len(unverified) - SHOWN} more" if len(unverified) > SHOWN else ""
        parts.append(f"Not verified in the answer, as nothing that was measured gives it: {shown}{more}.")
    if replaced:
        shown = ", ".join(dict.fromkeys(f.shown for f in replaced[:SHOWN]))
        parts.append(f"The answer gives as present what was replaced: {shown}; {replaced[0].nearest}.")
    if found.words:
        parts.append(f"The answer says more than was found: {found.words[0]}.")
    return " ".join(parts)


def _is_json(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict | list)
