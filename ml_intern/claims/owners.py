"""Whose a number is: the metric, the split and the experiment that a sentence names beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ml_intern.claims import words
from ml_intern.claims.evidence import Evidence, Known
from ml_intern.claims.reading import Told

_ID = re.compile(r"\bexp-\d+\b")
_COMPARED = re.compile(
    r"\b(against|versus|vs|than|from|over|beats?|parent|baseline|base|compared|relative|instead|difference|gain\w*"
    r"|improv\w+|points?|up|down)\b|→|->",
    re.I,
)
_THEN = re.compile(
    r"^[^A-Za-z]*(?:(?:[A-Za-z_]+)\s+){0,3}?(?:on|for|in|over|of)\s+(?:the\s+|its\s+|our\s+)?(?:\d[\d,]*\s+)?"
    r"(?:(?:sealed|held[- ]out|private|unseen|official)\s+)*(?P<split>test|dev)\b",
    re.I,
)


def names_in(text: str, names: Iterable[str]) -> set[str]:
    """The metrics that a text names, with underscores or without: ``exact_match``, exact match."""
    folded = re.sub(r"[\s_-]+", " ", text.lower()).replace("bits/byte", "bits per byte")
    found = {n for n in names if re.search(rf"\b{re.escape(re.sub(r'[_-]', ' ', n.lower()))}\b", folded)}
    if "accuracy" in folded:
        found |= {n for n in names if n.endswith(("match", "accuracy", "multiple_choice", "correct"))}
    if re.search(r"\bbpb\b", folded):
        found |= {n for n in names if n == "bits_per_byte"}
    # A longer name says which one is meant: "bits_per_byte of prose" is not bits_per_byte.
    return {n for n in found if not any(n != o and n in o for o in found if o.lower() in text.lower())}


def splits_of(told: Told) -> set[str]:
    """The split that a number is told of; both where a sentence names both at once."""
    if after := _THEN.match(told.after):
        return {after["split"].lower()}
    mentions = sorted(
        (m.start(), m.end(), name)
        for name, pattern in (("test", words.TEST), ("dev", words.DEV))
        for m in pattern.finditer(f"{told.before} {told.shown}")
    )
    if not mentions:
        return set()
    found = {mentions[-1][2]}
    for earlier, later in zip(reversed(mentions[:-1]), reversed(mentions), strict=False):
        if re.search(r"\d", told.before[earlier[1] : later[0]]):
            break
        found.add(earlier[2])
    return found


def misplaced(told: Told, fits: Sequence[Known], evidence: Evidence) -> str:
    """Why a number that is known is not what the sentence says; nothing where it is."""
    scores = [k for k in fits if k.kind == "score"]
    if any(k.kind in ("said", "change", "curve", "fact") for k in fits) and not scores:
        return ""
    splits = splits_of(told)
    if splits == {"test"}:
        if not any(k.split == "test" or k.kind in ("said", "change") for k in fits):
            return _not_of_the_test(scores, evidence)
    elif splits == {"dev"} and scores and not any(k.split in ("dev", "") or k.kind == "said" for k in fits):
        return f"it is the test score of {scores[0].owner}, not one of the dev split"
    if not scores or any(k.kind in ("said", "tool", "change") for k in fits):
        return ""
    held = [k for k in scores if not splits or k.split in splits] or scores
    return _of_another_metric(told, held, evidence) or _of_another_experiment(told, held, evidence)


def _not_of_the_test(scores: Sequence[Known], evidence: Evidence) -> str:
    if not any(k.kind == "score" and k.split == "test" for k in evidence.known):
        told = "the sealed test split was not scored"
    else:
        told = "it is no score of the test split"
    return f"{told}; it is {scores[0].source}" if scores else told


def _of_another_metric(told: Told, scores: Sequence[Known], evidence: Evidence) -> str:
    named = names_in(told.sentence, evidence.metrics)
    if not named or any(k.metric in named or k.metric.partition(" of ")[0] in named for k in scores):
        return ""
    return f"it is {scores[0].source}, not {' or '.join(sorted(named))}"


def _of_another_experiment(told: Told, scores: Sequence[Known], evidence: Evidence) -> str:
    owners = {k.owner for k in scores if k.owner}
    bound = _bound_to(told)
    if not owners or not bound:
        return ""
    family = {*bound, *(run for run, of in evidence.seeds.items() if of in bound)}
    family |= {evidence.seeds[run] for run in bound if run in evidence.seeds}
    if len(bound) > 1 or _COMPARED.search(told.sentence):
        family |= {older for e in bound for older in _ancestors(e, evidence)}
        family |= {child for child, parent in evidence.parents.items() if parent in bound}
    family |= {e for e, parent in evidence.parents.items() if parent in bound} if len(bound) > 1 else set()
    return "" if owners & family else f"it is {scores[0].source}, not of {' or '.join(sorted(bound))}"


def _ancestors(experiment: str, evidence: Evidence) -> Iterable[str]:
    seen: list[str] = []
    while (parent := evidence.parents.get(experiment)) is not None and parent not in seen:
        seen.append(experiment := parent)
    return seen


def _bound_to(told: Told) -> set[str]:
    """The experiments that a number may be of: the one right before it, else all that the sentence names."""
    if not told.cell and (ids := list(_ID.finditer(told.before))):
        last = ids[-1]
        gap = told.before[last.end() :]
        tight = re.fullmatch(
            r"[`*_\s]*(?:\(|:|=|,)?\s*(?:has|had|got|gets|reache[sd]|score[sd]|at|with|is|was|:|=)?\s*[`*_]*",
            gap,
        )
        if tight and not re.search(
            r"\b(?:than|beats?|against|over|versus|vs|from)\W+$", told.before[: last.start()], re.I
        ):
            return {last[0]}
    return set(_ID.findall(told.sentence))
