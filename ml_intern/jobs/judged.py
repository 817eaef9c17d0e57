"""What the ledger knows of a job whose curves are read: whether its experiment was measured, and is worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_intern.jobs.diagnosis import Diagnosis, Finding, as_asked
from ml_intern.jobs.model import JobSpec
from ml_intern.ledger.configurations import configurations

if TYPE_CHECKING:
    from ml_intern.ledger import Experiment, Ledger

_WORSE = "It has become worse than what it is held against."


def held_against_parent(found: Diagnosis, spec: JobSpec, ledger: Ledger) -> Diagnosis:
    """A diagnosis with the dev score of the job's experiment beside the parent's.

    Curves may look well while the model gets worse: a run that the ledger knows to be worse is not healthy.
    """
    if spec.experiment is None:
        return found
    own = ledger.get(spec.experiment)
    if own.parent is None or own.jobs[-1:] != [found.job]:
        return found  # What was measured of it may be another job's model.
    parent = ledger.get(own.parent)
    verdict = _verdict(own, parent, ledger)
    if verdict is None:
        return found
    told = _told(own, parent, verdict)
    if verdict != "worse":
        return found.model_copy(update={"evidence": [*found.evidence, told]})
    return _with(found, _finding(own, parent, told, spec))


def _verdict(own: Experiment, parent: Experiment, ledger: Ledger) -> str | None:
    """As it was compared item by item, else by the intervals; None where not both were measured."""
    here, there = own.score, parent.dev.get(own.primary or "")
    if here is None or there is None:
        return None
    words = configurations(ledger.list())
    ours, theirs = words[own.id], words[parent.id]
    if ours == theirs:
        return None  # What is between two seeds of one configuration is luck.
    # A comparison takes all seeds of both, whichever of them it was asked for.
    compared = [
        c
        for c in ledger.comparisons()
        if (words.get(c.a), words.get(c.b), c.metric) == (theirs, ours, own.primary)
    ]
    if compared:
        return compared[-1].verdict
    apart = here.high < there.low or there.high < here.low
    return ("better" if here.beats(there) else "worse") if apart else "inconclusive"


def _told(own: Experiment, parent: Experiment, verdict: str) -> str:
    word = {"inconclusive": "not clearly apart"}.get(verdict, verdict)
    here, there = own.dev[own.primary or ""], parent.dev[own.primary or ""]
    return f"dev {own.primary} {here.value:.3g} against {there.value:.3g} of {parent.id}: {word}."


def _finding(own: Experiment, parent: Experiment, told: str, spec: JobSpec) -> Finding:
    here, there = own.dev[own.primary or ""].value, parent.dev[own.primary or ""].value
    rate = spec.config.get("trainer", {}).get("learning_rate")
    lower = isinstance(rate, int | float) and spec.method != "pretrain"
    return Finding(
        kind="worse",
        message=told,
        value=here,
        evidence={"score": here, f"score of {parent.id}": there},
        suggestion="Discard it, and change one thing: a lower learning_rate, fewer steps, other data.",
        change=as_asked({"learning_rate": float(f"{rate / 10:.3g}")}, spec) if lower else {},
    )


def _with(found: Diagnosis, worse: Finding) -> Diagnosis:
    """The finding after those that are alarms: these say why, it says that. Mere notes go."""
    well = found.healthy
    return found.model_copy(
        update={
            "healthy": False,
            "cause": f"{_WORSE} {worse.message}" if well else found.cause,
            "evidence": [*([] if well else found.evidence), worse.message],
            "change": worse.change if well else found.change,
            "findings": [*found.findings, worse],
        }
    )
