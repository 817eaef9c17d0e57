"""The notes of an experiment, which go into its card: checked when they are written, and again at the end."""

from __future__ import annotations

from ml_intern.claims.answers import marked
from ml_intern.claims.evidence import Evidence
from ml_intern.claims.judging import MOST_TEXT, Finding, Review, review
from ml_intern.claims.reading import numbers_in
from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.events import Notice

SHOWN = 5


def loose_numbers(text: str, evidence: Evidence, written: float | None = None) -> list[str]:
    """The numbers of a note that may not be published.

    Args:
        text: The note.
        evidence: What is known.
        written: When it was written, seconds since the epoch: a comparison that was replaced later stood
            then. Nothing means now.
    """
    found = review(text, evidence if written is None else evidence.at(written))
    return list(dict.fromkeys([*(f.shown for f in found.unverified), *found.computed]))


def check_notes(ctx: ToolContext, id: str, verdict: str, notes: str) -> None:
    """Look at what the notes of an experiment claim, when they are written.

    What a crash has said of itself is told on, with a warning.

    Raises:
        ToolError: They state a number that nobody measured.
    """
    if not numbers_in(notes[:MOST_TEXT]) and "better" not in notes:
        return
    from ml_intern.claims.gathering import evidence_of

    found = review(notes, evidence_of(ctx.services))
    for words in found.words[:1]:
        ctx.emit(Notice("warning", f"The notes of {id} say more than was found: {words}."))
    if not (told := _said(found)):
        return
    if verdict == "crashed":
        ctx.emit(Notice("warning", f"The notes of {id} state what nobody measured: {told}."))
        return
    if not found.computed and all(finding.replaced for finding in found.unverified):
        raise ToolError(
            f"The notes of {id} give as present what was replaced, and they would go into its card: {told}.",
            "Give what stands now, or say that it was so earlier, beside what stands now.",
        )
    raise ToolError(
        f"The notes of {id} state what nobody measured, and they would go into its card: {told}.",
        "Say it without the number, or with the measured one.",
    )


def marked_message(ctx: ToolContext, message: str) -> tuple[str, list[str]]:
    """A word to the person with marks at the numbers that nobody measured, and these numbers."""
    if not numbers_in(message[:MOST_TEXT]):
        return message, []
    from ml_intern.claims.gathering import evidence_of

    found = review(message, evidence_of(ctx.services))
    return marked(message, found), [finding.shown for finding in found.unverified]


def _said(found: Review) -> str:
    loose = [*found.unverified, *(Finding(n, 0, 0, "only your own code printed it") for n in found.computed)]
    return "; ".join(str(finding) for finding in loose[:SHOWN])
