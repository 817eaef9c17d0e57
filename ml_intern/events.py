"""What a session tells the world: one typed stream that every face reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ml_intern.clock import now


@dataclass(frozen=True)
class Event:
    """Something that happened in a session.

    Attributes:
        at: Seconds since the epoch.
        source: Whose it is: ``research:2`` for what a sub-agent did; empty for the session's own.
    """

    at: float = field(default_factory=now, kw_only=True)
    source: str = field(default="", kw_only=True)

    @property
    def kind(self) -> str:
        """The name of the event, as JSON consumers see it."""
        return type(self).__name__

    def to_json(self) -> dict[str, Any]:
        """The event as one JSON object."""
        return {"event": self.kind, **asdict(self)}


@dataclass(frozen=True)
class SessionStarted(Event):
    """The first event. `isolation` says in words what contains the cells."""

    session: str
    prompt: str
    model: str
    sandbox: str
    isolation: str
    workspace: str


@dataclass(frozen=True)
class PersonSaid(Event):
    """What the person said after the first prompt was heard. `turn`: it begins a turn; else one goes on.

    `ids` names the messages of the inbox that it was, as `Inbox.say` has told them.
    """

    text: str
    turn: bool
    ids: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BrainAnswered(Event):
    """The brain wrote the text of a step. Tokens as its provider counted them."""

    step: int
    text: str
    input_tokens: int
    output_tokens: int
    seconds: float


@dataclass(frozen=True)
class BudgetChanged(Event):
    """What is spent: told at the start, after an answer of a brain, and when a call or a job changed it.

    Attributes:
        spent: By unit (usd, gpu_hours, tokens, jobs, seconds); wall time goes on by itself.
        reserved: Set aside for what runs.
        caps: The ceilings; a unit that has none is not there.
    """

    spent: dict[str, float]
    reserved: dict[str, float]
    caps: dict[str, float]


@dataclass(frozen=True)
class ContextCompacted(Event):
    """Old steps were made shorter. `how` is shrunk or summarised; sizes are characters of the prompt."""

    how: str
    before: int
    after: int


@dataclass(frozen=True)
class CellStarted(Event):
    """A cell begins to run."""

    step: int
    code: str


@dataclass(frozen=True)
class CellOutput(Event):
    """A piece of what a running cell printed."""

    step: int
    text: str


@dataclass(frozen=True)
class CellFinished(Event):
    """A cell ended; `observation` is what the brain will read."""

    step: int
    ok: bool
    observation: str
    seconds: float


@dataclass(frozen=True)
class ToolStarted(Event):
    """A call passed the gate and runs."""

    call: str
    tool: str
    effect: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class ToolProgress(Event):
    """A running call reports. `fraction` is between 0 and 1, or None when it is not known."""

    call: str
    message: str
    fraction: float | None = None


@dataclass(frozen=True)
class ToolFinished(Event):
    """A call ended; `summary` is its result or its error, shortened."""

    call: str
    tool: str
    ok: bool
    summary: str
    seconds: float


@dataclass(frozen=True)
class ApprovalNeeded(Event):
    """The gate asks a person.

    Attributes:
        call: Names the call; the answer is for it.
        arguments: All of them, without the credentials that a text in them may hold.
        price: In words.
        reason: Why it asks.
        source: Where the call comes from, such as ``cell-3``.
        reach: What it can reach beyond the sandbox, in words.
        always: What "always" would cover; empty where it cannot be given.
        once: Why "always" cannot be given; empty where it can.
        yes: The word of ``--yes`` that would have answered; empty where none does.
    """

    call: str
    tool: str
    effect: str
    arguments: dict[str, Any]
    price: str
    reason: str
    reach: str = ""
    always: str = ""
    once: str = ""
    yes: str = ""


@dataclass(frozen=True)
class ApprovalAnswered(Event):
    """What was said, and by whom: ``person``, or ``nobody`` where none could be asked or answered."""

    call: str
    allowed: bool
    reason: str
    by: str = "person"


@dataclass(frozen=True)
class JobChanged(Event):
    """A job moved: its state, its step, its newest metrics."""

    job: str
    name: str
    state: str
    step: int
    total_steps: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class ExperimentChanged(Event):
    """A row of the ledger was opened, measured or closed."""

    experiment: str
    change: str
    verdict: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Published(Event):
    """Something left for a Hub."""

    repo: str
    url: str
    kind_of_repo: str


@dataclass(frozen=True)
class Notice(Event):
    """A line for the person. `level` is info, warning or error."""

    level: str
    text: str


@dataclass(frozen=True)
class ResearchStarted(Event):
    """A sub-agent begins, or goes on (`again`) where an earlier process left it.

    Attributes:
        research: Which one, such as ``research:2``; its further events have it as their `source`.
        call: The call that asked.
        question: What it was asked.
        model: The brain that it uses.
        steps: Cells that it may take.
        again: An earlier process has begun it.
    """

    research: str
    call: str
    question: str
    model: str
    steps: int
    again: bool = False


@dataclass(frozen=True)
class ResearchFinished(Event):
    """A sub-agent ended. `answer` is shortened; where `ok` is False, `reason` says why there is none."""

    research: str
    ok: bool
    answer: str
    reason: str
    steps: int
    input_tokens: int
    output_tokens: int
    seconds: float


@dataclass(frozen=True)
class TurnFinished(Event):
    """A turn came to its answer, and the session waits for the person's next words."""

    step: int
    answer: str


@dataclass(frozen=True)
class SessionFinished(Event):
    """The last event. `status` is done, failed, limit, denied, no_brain or interrupted."""

    session: str
    status: str
    exit_code: int
    answer: str
