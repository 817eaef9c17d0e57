"""Words that say more than a comparison has found: "better" beside a verdict that is inconclusive."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ml_intern.claims.evidence import Evidence

_ID = re.compile(r"\bexp-\d+\b")
_BETTER = re.compile(
    r"\b(better|improv(?:es|ed|ing|ements?)|beats?|beating|outperform\w*|wins?|won|superior|gain(?:s|ed)?"
    r"|significant(?:ly)?|clear(?:ly)? ahead)\b",
    re.I,
)
_HEDGED = re.compile(
    r"\b(not|no|n't|never|nor|neither|inconclusive|unclear|uncertain|noise|chance|luck\w*|cannot|can't|without"
    r"|whether|if|may|might|could|would|should|fail\w*|lost|too (?:small|few)|untested|hypothes\w+|unless"
    r"|include[sd]? zero|only seems?|seems?|appears?|slightly|trend|least|next|more seeds)\b",
    re.I,
)
_BASE = re.compile(r"\b(baseline|parent|base|default)\b", re.I)
_CONFIRMED = re.compile(
    r"\b(confirmed|held|holds|replicat\w+)\b[^.]{0,40}\b(new|fresh|\d+|more|two|three) seeds?\b", re.I
)
_SURE = re.compile(r"\bsignifican(?:t|tly|ce)\b", re.I)


def overstated(text: str, evidence: Evidence) -> list[str]:
    """What sentences of a text say of a comparison that it has not found, a line each."""
    found = []
    for sentence in re.split(r"(?<=[.!?;])\s+|\n+", text):
        found += list(_of(sentence, evidence))
    return list(dict.fromkeys(found))


def _of(sentence: str, evidence: Evidence) -> Iterator[str]:
    shown = " ".join(sentence.split())[:120]
    if _CONFIRMED.search(sentence) and not _HEDGED.search(sentence):
        named = set(_ID.findall(sentence))
        meant = [v for v in evidence.verdicts if not named or v[1] in named]
        if evidence.verdicts and not any(confirmed for *_, confirmed in meant):
            yield f"{shown!r}: no comparison was confirmed on new seeds"
    if not (word := _BETTER.search(sentence)) or _HEDGED.search(sentence):
        return
    about = [v for v in evidence.verdicts if _meant(sentence, v, evidence)]
    if about and not any(verdict != "inconclusive" for _, _, _, verdict, _ in about):
        a, b, metric, *_ = about[-1]
        yield f"{shown!r} says {word[0]!r}: {b} against {a} in {metric} is inconclusive"
    elif (
        _SURE.search(sentence)
        and evidence.verdicts
        and all(v[3] == "inconclusive" for v in evidence.verdicts)
    ):
        yield f"{shown!r} says {_SURE.search(sentence)[0]!r}: every comparison is inconclusive"  # type: ignore[index]


def _meant(sentence: str, verdict: tuple[str, str, str, str, bool | None], evidence: Evidence) -> bool:
    """Whether a sentence speaks of a comparison: of both its sides, or of one and the baseline."""
    a, b, *_ = verdict
    named = set(_ID.findall(sentence))
    if {a, b} <= named:
        return True
    if b in named and len(named) == 1:
        return evidence.parents.get(b) == a
    roots = {a} - set(evidence.parents)
    return not named and bool(roots) and bool(_BASE.search(sentence)) and len(evidence.verdicts) == 1
