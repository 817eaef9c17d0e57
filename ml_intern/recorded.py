"""What a session's journal knows already: a run that starts again reads it instead of paying once more.

Resume is event-sourced. The agent goes through its loop from the beginning; where the journal has the brain's
answer, a finished cell or the result of a call, that is taken, and nothing is asked, run or paid a second
time. What the journal does not have is where the run goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ml_intern.journal import Entry


@dataclass(frozen=True)
class Answered:
    """What a brain answered."""

    text: str
    tokens: tuple[int, int]
    finish: str


@dataclass(frozen=True)
class Ran:
    """A cell that ended. `lost`: it took the kernel with it, so running it again would, too."""

    step: int
    code: str
    ok: bool
    observation: str
    final: bool
    answer: str
    lost: bool
    note: str = ""


@dataclass(frozen=True)
class Returned:
    """What came of a call; also of one that was refused."""

    ok: bool
    value: Any = None
    message: str = ""
    hint: str = ""
    denied: bool = False


@dataclass
class Researched:
    """What a sub-agent did: its own part of the journal, and what it found, if it came to its end."""

    source: str
    known: Recorded
    finding: dict[str, Any] | None = None
    codes: dict[int, str] = field(default_factory=dict)


OWN = frozenset({"brain", "cell", "cell_done", "compaction"})
"""Lines that a sub-agent writes for itself; its calls stand among all others."""


@dataclass
class Recorded:
    """The journal of a session, in the form in which a run asks for it.

    Attributes:
        answers: Of the brain, in order; taken one by one.
        cells: By step.
        calls: By idempotency key; a key without a result is a call that may or may not have happened.
        open: Keys of those, with tool and arguments.
        summary: The last summary that took the place of old steps: text, last step.
        budget: The last state of the budget.
        settled: Jobs whose cost was counted, with the times at which they started.
        denied: What was denied, in words.
        session: Whose keys the calls have; nothing: those of the session that runs.
        under_way: The step whose cell did not come to its end; 0: none.
        finished: The last end of the session, if it came to one.
        always: What a person allowed for the whole session.
        count: Calls that have an id.
        events: Events of the earlier run that a result is made of.
        research: What the sub-agents did, by the name that follows from the call that asked.
    """

    answers: deque[Answered] = field(default_factory=deque)
    cells: dict[int, Ran] = field(default_factory=dict)
    calls: dict[str, Returned] = field(default_factory=dict)
    open: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: tuple[str, int] | None = None
    budget: dict[str, Any] | None = None
    always: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    settled: list[tuple[str, float | None]] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    finished: dict[str, Any] | None = None
    session: str = ""
    under_way: int = 0
    research: dict[str, Researched] = field(default_factory=dict)

    @property
    def anything(self) -> bool:
        """Whether there is something to go on from."""
        return bool(self.answers or self.cells)

    @property
    def answered(self) -> bool:
        """Whether the final answer was given: there is nothing left to do."""
        return any(ran.final for ran in self.cells.values())

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Recorded:
        """Read a journal."""
        found = cls()
        codes: dict[int, str] = {}
        keys: dict[str, str] = {}
        for entry in entries:
            whose = found._researched(entry.kind, entry.payload)
            if whose is None:
                found._take(entry.kind, entry.payload, codes, keys)
            else:
                found.budget = entry.payload.get("budget") or found.budget
                whose.known._take(entry.kind, entry.payload, whose.codes, keys)
        return found

    def _researched(self, kind: str, given: dict[str, Any]) -> Researched | None:
        """The sub-agent whose line it is; None where it is the session's own."""
        if kind == "research":
            self.research[given["name"]] = Researched(given["source"], Recorded())
        elif kind == "research_done":
            self.research[given["name"]].finding = given["finding"]
        elif kind in OWN and (source := given.get("source")):
            return next(r for r in self.research.values() if r.source == source)
        return None

    def _take(self, kind: str, given: dict[str, Any], codes: dict[int, str], keys: dict[str, str]) -> None:
        self.budget = given.get("budget") or self.budget
        if kind == "brain":
            used = given.get("tokens") or (0, 0)
            tokens = (int(used[0]), int(used[1]))
            self.answers.append(Answered(given["text"], tokens, str(given.get("finish", ""))))
        elif kind == "cell":
            codes[given["step"]] = given["code"]
            self.under_way = given["step"]
        elif kind == "cell_done":
            if not given.get("stopped"):  # a run that goes on runs it again
                self.under_way = 0
                self.cells[given["step"]] = _ran(given, codes.get(given["step"], ""))
        elif kind == "intent":
            self._counted(given)
            keys[given["call"]] = given["key"]
            self.open[given["key"]] = given
        elif kind == "result":
            if not given.get("stopped"):
                key = keys.pop(given["call"], "")
                self.open.pop(key, None)
                self.calls[key] = _returned(given)
        elif kind == "refusal":
            self._counted(given)
            if given.get("denied"):
                self.denied.append(f"{given['tool']}: {given['message']}")
            if key := str(given.get("key", "")):
                self.open.pop(key, None)
                self.calls[key] = _returned({**given, "ok": False})
        elif kind == "compaction" and given.get("how") == "summarised":
            self.summary = (given["text"], int(given["last"]))
        elif kind == "settled":
            self.settled.append((given["holder"], given.get("started")))
        elif kind == "finished":
            self.finished = given
        elif kind == "standing":
            self.always.append(given)
        elif kind == "event":
            self.events.append(given)

    def _counted(self, given: dict[str, Any]) -> None:
        number = str(given["call"]).rpartition("-")[2]
        self.count = max(self.count, int(number) if number.isdecimal() else 0)


def _ran(given: dict[str, Any], code: str) -> Ran:
    return Ran(
        step=given["step"],
        code=code,
        ok=bool(given["ok"]),
        observation=given["observation"],
        final=bool(given.get("final")),
        answer=str(given.get("answer", "")),
        lost=bool(given.get("lost")),
        note=str(given.get("note", "")),
    )


def _returned(given: dict[str, Any]) -> Returned:
    return Returned(
        ok=bool(given.get("ok")),
        value=given.get("value"),
        message=str(given.get("message", "")),
        hint=str(given.get("hint", "")),
        denied=bool(given.get("denied")),
    )
