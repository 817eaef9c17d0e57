"""Which test splits were opened, by all sessions of a state folder.

A session opens its test splits once. Who starts a second session on the same items opens them once more, and
may publish the better of the two. That is allowed, and told: in the scores, the card and the report. The file
lies in the state folder, which no sandbox shows, and holds no score.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from ml_intern.evals.model import EvalInfo
from ml_intern.ledger.model import Scores

if TYPE_CHECKING:
    from ml_intern.evals.store import Evals


class Opening(BaseModel):
    """A test split that was scored.

    Attributes:
        items: Hash of the evaluation's items, whatever it was called.
        session: Where.
        weights: Fingerprint of the model.
        at: When, in seconds since 1970.
    """

    items: str
    session: str
    weights: str
    at: float


def note(evals: Evals, weights: str) -> None:
    """Write down that a session opens its test splits, before it does; said again it changes nothing."""
    session = evals.folder.parent.name
    file = _file(evals.settings.state)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        opened.seek(0)
        text = opened.read()
        known = {(o.items, o.session, o.weights) for o in _read(text.splitlines())}
        if text and not text.endswith("\n"):
            opened.write("\n")  # a crash has cut the line off
        for items in dict.fromkeys(info.sha256 for info in evals.list() if info.rows.get("test")):
            if (items, session, weights) not in known:
                row = Opening(items=items, session=session, weights=weights, at=time.time())
                opened.write(row.model_dump_json() + "\n")


def warned(evals: Evals, scores: Sequence[Scores]) -> Sequence[Scores]:
    """Scores of test splits, each with a warning where other sessions have scored its items before."""
    told = earlier(evals.settings.state, evals.folder.parent.name, [evals.get(s.eval) for s in scores])
    return [
        s.model_copy(update={"warnings": [*s.warnings, told[s.eval]]}) if s.eval in told else s
        for s in scores
    ]


def earlier(state: Path, session: str, infos: Iterable[EvalInfo]) -> dict[str, str]:
    """What a reader should know of a session's test scores, by evaluation; nothing of most.

    Args:
        state: The state folder.
        session: Whose scores; before it has opened a split, there is nothing to say.
        infos: The evaluations.
    """
    try:
        rows = list(_read(_file(state).read_text(encoding="utf-8").splitlines()))
    except OSError:
        return {}
    counts = {info.name: times(rows, session, info.sha256) for info in infos}
    return {name: _sentence(name, count) for name, count in counts.items() if count}


def times(rows: Sequence[Opening], session: str, items: str) -> int:
    """How often other sessions had scored other weights on a test split when this one first did."""
    own = [o for o in rows if o.items == items and o.session == session]
    if not own:
        return 0
    began, weights = rows.index(own[0]), {o.weights for o in own}
    before = [o for o in rows[:began] if o.items == items and o.session != session]
    return len({o.weights for o in before} - weights)


def _sentence(name: str, count: int) -> str:
    often = "once" if count == 1 else f"{count} times"
    return (
        f"The test split of {name} was scored {often} before in other sessions of this state folder, so its "
        "number may be a little too good."
    )


def _read(lines: Iterable[str]) -> Iterator[Opening]:
    for line in lines:
        try:
            yield Opening.model_validate_json(line)
        except ValidationError:
            continue  # of a crash


def _file(state: Path) -> Path:
    return state / "opened.jsonl"
