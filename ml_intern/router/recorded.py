"""What a session's journal knows already: a run that starts again reads it instead of paying once more.

Resume is event-sourced. The agent goes through its loop from the beginning; where the journal has the brain's
answer, a finished cell or the result of a call, that is taken, and nothing is asked, run or paid a second
time. What the journal does not have is where the run goes on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.journal.journal import Entry
from ml_intern.journal.reading import CARD, JOURNAL, whole
from ml_intern.research.model import Finding
from ml_intern.router.budget import Budget
from ml_intern.router.gate import Standing

NEEDED = {"Published": ("repo", "url", "kind_of_repo"), "Notice": ("level", "text")}
"""Of the events that a result is made of, the fields."""


@dataclass(frozen=True)
class Answered:
    """What a brain answered."""

    text: str
    tokens: tuple[int, int]
    finish: str
    step: int = 0


@dataclass(frozen=True)
class Turn:
    """A further prompt of the person, and the first step that it led to. `known`: from the journal."""

    step: int
    prompt: str
    known: bool = True


@dataclass(frozen=True)
class Ran:
    """A cell that ended.

    `lost`: it took the kernel with it, so running it again would, too. `cut`: it was stopped after so many
    seconds, when so much of its output had come: `cut_chars`. `held`: it gave the final answer, which was not
    taken: see `Goals`.
    """

    step: int
    code: str
    ok: bool
    observation: str
    final: bool
    answer: str
    lost: bool
    note: str = ""
    cut: float | None = None
    cut_chars: int = 0
    held: bool = False


@dataclass(frozen=True)
class Returned:
    """What came of a call; also of one that was refused."""

    ok: bool
    value: Any = None
    message: str = ""
    hint: str = ""
    denied: bool = False


@dataclass(frozen=True)
class Said:
    """A question of the gate and what a person answered, as they stand in the journal."""

    question: dict[str, Any]
    answer: dict[str, Any]


@dataclass
class Researched:
    """What a sub-agent did: its own part of the journal, and what it found, if it came to its end."""

    source: str
    known: Recorded
    finding: Finding | None = None
    codes: dict[int, str] = field(default_factory=dict)


OWN = frozenset({"brain", "cell", "cell_done", "compaction", "kernel"})
"""Lines that a sub-agent writes for itself; its calls stand among all others."""


@dataclass
class Recorded:
    """The journal of a session, in the form in which a run asks for it.

    Attributes:
        answers: Of the brain, in order; taken one by one.
        cells: By step.
        calls: By idempotency key; a key without a result is a call that may or may not have happened.
        open: Keys of those, with tool and arguments.
        ids: What a call is called, by its key, where a person was asked about it.
        said: Questions that a person has answered about calls that did not begin yet, by key.
        nos: How often in a row a person has said no, by source and tool.
        summaries: Those that took the place of old steps, each in place of the one before: text, last step.
        summary_tokens: What all summaries cost, in and out.
        shrunk: The last step whose observation was shrunk.
        turns: The prompts after the first, in order; taken one by one.
        messages: What the person said while it ran, by the step that was told of it.
        heard: Ids of all messages that were taken from the inbox.
        cut_cells: Cells of it that were stopped, by step.
        played: Numbers of the steps of another session that is played again.
        undone: First steps of turns that were undone.
        last: The highest number that a step had; numbers of undone steps are not used again.
        budget: The last state of the budget.
        settled: Jobs whose cost was counted, with the times at which they started.
        denied: What was denied, in words.
        session: Whose keys the calls have, also where the folder was renamed; nothing: those of the session
            that runs.
        under_way: The step whose cell did not come to its end; 0: none.
        halted: The cell that the person stopped together with the run, as it ended; None: there is none.
        kernel: Where the last kernel runs on, where it does not end with its process.
        finished: The last end of the session, if it came to one.
        always: What a person allowed for the whole session.
        count: Calls that have an id.
        events: Events of the earlier run that a result is made of.
        research: What the sub-agents did, by the name that follows from the call that asked.
        consulted: What the brain told tools that asked it, by the key of the call without its session.
        judged: Tokens of the judge, in and out.
    """

    answers: deque[Answered] = field(default_factory=deque)
    cells: dict[int, Ran] = field(default_factory=dict)
    calls: dict[str, Returned] = field(default_factory=dict)
    open: dict[str, dict[str, Any]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    said: dict[str, deque[Said]] = field(default_factory=dict)
    nos: Counter[tuple[str, str]] = field(default_factory=Counter)
    summaries: list[tuple[str, int]] = field(default_factory=list)
    summary_tokens: tuple[int, int] = (0, 0)
    shrunk: int = 0
    turns: deque[Turn] = field(default_factory=deque)
    messages: dict[int, list[str]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    cut_cells: dict[int, Ran] = field(default_factory=dict)
    played: deque[int] = field(default_factory=deque)
    undone: list[int] = field(default_factory=list)
    last: int = 0
    budget: dict[str, Any] | None = None
    always: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    settled: list[tuple[str, float | None]] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    finished: dict[str, Any] | None = None
    session: str = ""
    under_way: int = 0
    halted: Ran | None = None
    kernel: dict[str, Any] = field(default_factory=dict)
    research: dict[str, Researched] = field(default_factory=dict)
    consulted: dict[str, list[Answered]] = field(default_factory=dict)
    judged: tuple[int, int] = (0, 0)

    @property
    def anything(self) -> bool:
        """Whether there is something to go on from."""
        return bool(self.answers or self.cells)

    @property
    def answered(self) -> bool:
        """Whether the final answer was given: there is nothing left to do."""
        begun = self.turns[-1].step if self.turns else 0
        return any(ran.final and ran.step >= begun for ran in self.cells.values())

    @property
    def left_kernel(self) -> dict[str, Any]:
        """The last kernel, if it stands where the last finished cell left it and another cell may come."""
        return {} if self.under_way or self.answered else self.kernel

    @property
    def begun(self) -> int:
        """The first step of the first turn; numbers of undone steps are not used again."""
        return self.answers[0].step if self.answers else self.last + 1

    @property
    def numbers(self) -> deque[int]:
        """The numbers of the steps that were answered, in order."""
        return self.played or deque(known.step for known in self.answers)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Recorded:
        """Read a journal.

        Raises:
            ValueError: A line of it does not say what such a line says.
        """
        found = cls()
        codes: dict[int, str] = {}
        keys: dict[str, str] = {}
        asked: dict[str, dict[str, Any]] = {}
        for entry in entries:
            try:
                if (whose := found._researched(entry.kind, entry.payload)) is not None:
                    found.budget = entry.payload.get("budget") or found.budget
                    whose.known._take(entry.kind, entry.payload, whose.codes, keys)
                elif entry.kind in ("question", "answer", "decision"):
                    found._talked(entry.kind, entry.payload, asked)
                else:
                    found._take(entry.kind, entry.payload, codes, keys)
            except (AttributeError, LookupError, TypeError, ValueError):
                raise ValueError(f"line {entry.seq} makes no sense as {entry.kind!r}") from None
        return found

    @classmethod
    def in_folder(cls, folder: Path) -> Recorded:
        """What the journal of a session knows; nothing where the session is new. It is only read.

        Raises:
            ValueError: It is no sound journal.
            sqlite3.DatabaseError: The file is no database, or damaged.
        """
        # The card is written after the journal is made and before anything is done.
        found = cls.of(whole(folder / JOURNAL)) if (folder / CARD).exists() else cls()
        found._try_out()
        return found

    def _researched(self, kind: str, given: dict[str, Any]) -> Researched | None:
        """The sub-agent whose line it is; None where it is the session's own."""
        if kind == "research":
            self.research[_text(given, "name")] = Researched(_text(given, "source"), Recorded())
        elif kind == "research_done":
            self.research[given["name"]].finding = Finding.from_json(given["finding"])
        elif kind in OWN and (source := given.get("source")):
            return {known.source: known for known in self.research.values()}[source]
        return None

    def _take(self, kind: str, given: dict[str, Any], codes: dict[int, str], keys: dict[str, str]) -> None:
        self.budget = given.get("budget") or self.budget
        if kind == "brain":
            used = given.get("tokens") or (0, 0)
            tokens = (int(used[0]), int(used[1]))
            step = _number(given, "step")
            self.last = max(self.last, step)
            self.answers.append(Answered(_text(given, "text"), tokens, str(given.get("finish", "")), step))
        elif kind == "cell":
            self.halted, self.under_way = None, _number(given, "step")
            codes[self.under_way] = _text(given, "code")
        elif kind == "cell_done":
            step = _number(given, "step")
            ran = _ran(given, codes.get(step, ""))
            if given.get("stopped"):  # a run that goes on runs it again
                self.halted = ran
            else:
                self.under_way = 0
                self.cells[step] = ran
        elif kind == "left":
            self.leave_halted()
        elif kind == "intent":
            self._counted(given)
            keys[given["call"]] = key = _text(given, "key")
            self._agreed(given, key)
            self.open[key] = {**given, "tool": _text(given, "tool"), "arguments": {**given["arguments"]}}
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
                self._agreed(given, key)
                self.open.pop(key, None)
                self.calls[key] = _returned({**given, "ok": False})
        elif kind == "consulted":
            used = given["tokens"]
            said = Answered(_text(given, "text"), (int(used[0]), int(used[1])), str(given.get("finish", "")))
            self.consulted.setdefault(_text(given, "of"), []).append(said)
        elif kind == "judged":
            used = given["tokens"]
            self.judged = (self.judged[0] + int(used[0]), self.judged[1] + int(used[1]))
        elif kind == "compaction":
            self._compacted(given)
        elif kind in ("turn", "message", "undo"):
            self._steered(kind, given)
        elif kind == "kernel":
            self.kernel = given
        elif kind == "settled":
            self.settled.append((_text(given, "holder"), _seconds(given.get("started"))))
        elif kind == "finished":
            self.finished = given
        elif kind == "standing":
            self.always.append(given)
        elif kind == "revoked":
            self.always.clear()
        elif kind == "event":
            for name in ("event", *NEEDED.get(given["event"], ())):
                _text(given, name)
            self.events.append(given)

    def leave_halted(self) -> None:
        """The person has said something since: the stopped cell is over as it was, and does not run again."""
        if self.halted is not None:
            self.cells[self.halted.step] = self.halted
            self.halted, self.under_way = None, 0

    def _compacted(self, given: dict[str, Any]) -> None:
        if given.get("how") == "summarised":
            self.summaries.append((_text(given, "text"), _number(given, "last")))
        self.shrunk = int(given.get("shrunk", 0))
        used = given.get("tokens") or (0, 0)
        self.summary_tokens = self.summary_tokens[0] + int(used[0]), self.summary_tokens[1] + int(used[1])

    def _talked(self, kind: str, given: dict[str, Any], asked: dict[str, dict[str, Any]]) -> None:
        """What the gate and a person had to say of a call."""
        self._counted(given)
        if kind == "question":
            asked[given["call"]] = given
            self.ids[_text(given, "key")] = given["call"]
        elif kind == "answer" and given["by"] == "person" and given["call"] in asked:
            question = asked.pop(given["call"])
            self.said.setdefault(question["key"], deque()).append(Said(question, given))

    def _agreed(self, given: dict[str, Any], key: str) -> None:
        """The talk about a call is over: it began, or was refused."""
        self.session = self.session or key.partition(":")[0]
        talk, who = self.said.pop(key, None), (str(given.get("source", "")), str(given["tool"]))
        if talk:
            self.nos[who] = 0 if talk[-1].answer["allowed"] else self.nos[who] + 1

    def _steered(self, kind: str, given: dict[str, Any]) -> None:
        step = _number(given, "step")
        self.heard.update(given.get("ids") or ())
        if kind == "turn":
            self.turns.append(Turn(step, _text(given, "text")))
        elif kind == "message":
            self.messages.setdefault(step, []).append(_text(given, "text"))
        else:
            self._undo(step)

    def _undo(self, first: int) -> None:
        """Forget the steps from a number on. What they spent, launched and published stays known."""
        self.undone.append(first)
        self.answers = deque(known for known in self.answers if known.step < first)
        self.turns = deque(turn for turn in self.turns if turn.step < first)
        self.cells = {step: ran for step, ran in self.cells.items() if step < first}
        self.messages = {step: said for step, said in self.messages.items() if step < first}
        self.summaries = [(text, last) for text, last in self.summaries if last < first]
        self.shrunk = min(self.shrunk, first - 1)
        self.under_way = 0 if self.under_way >= first else self.under_way
        self.finished, self.halted, self.kernel = None, None, {}

    def _try_out(self) -> None:
        """Do with the last state of the budget and the standing approvals what a session does."""
        try:
            Budget({}).restore(self.budget or Budget({}).snapshot())
            for row in self.always:
                Standing.from_json(row)
        except (AttributeError, LookupError, TypeError, ValueError):
            raise ValueError("its budget or an approval makes no sense") from None

    def _counted(self, given: dict[str, Any]) -> None:
        number = str(given["call"]).rpartition("-")[2]
        self.count = max(self.count, int(number) if number.isdecimal() else 0)


def _ran(given: dict[str, Any], code: str) -> Ran:
    return Ran(
        step=_number(given, "step"),
        code=code,
        ok=bool(given["ok"]),
        observation=_text(given, "observation"),
        final=bool(given.get("final")),
        answer=str(given.get("answer", "")),
        lost=bool(given.get("lost")),
        note=str(given.get("note", "")),
        cut=_seconds(given.get("cut")),
        cut_chars=_number({"cut_chars": 0, **given}, "cut_chars"),
        held=bool(given.get("held")),
    )


def _returned(given: dict[str, Any]) -> Returned:
    return Returned(
        ok=bool(given.get("ok")),
        value=given.get("value"),
        message=str(given.get("message", "")),
        hint=str(given.get("hint", "")),
        denied=bool(given.get("denied")),
    )


def _text(given: dict[str, Any], name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def _number(given: dict[str, Any], name: str) -> int:
    value = given[name]
    if type(value) is not int:
        raise TypeError(name)
    return value
