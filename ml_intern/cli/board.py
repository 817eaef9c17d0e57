"""What a person wants to see of a session, folded from its events. Each view draws this in its own way."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_intern.durations import show_duration
from ml_intern.events import (
    ApprovalAnswered,
    ApprovalNeeded,
    BrainAnswered,
    BudgetChanged,
    CellFinished,
    CellStarted,
    Event,
    ExperimentChanged,
    JobChanged,
    Notice,
    Published,
    ResearchFinished,
    ResearchStarted,
    SessionFinished,
    SessionStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

OVER = frozenset({"succeeded", "failed", "cancelled"})
PLAN = "Plan:"
"""How a notice begins that tells the plan, an item a line."""
_BARS = "▁▂▃▄▅▆▇█"
# Metrics of the trainer's own bookkeeping say little about how a job does.
_DULL = re.compile(r"epoch|learning_rate|grad_norm|runtime|per_second|flos|step|tokens|time|train_loss")

# Escape sequences (CSI, OSC, two-character ones), then every control character but tab, newline and return.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


@dataclass
class JobRow:
    """One job as it stands, with the course of its loss."""

    id: str
    name: str
    state: str = "queued"
    step: int = 0
    total_steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    began: float | None = None
    """When it was first seen running, in seconds since the epoch."""
    _mark: tuple[float, int] | None = None
    _moved: float = 0.0
    """When its step was last another one."""

    def take(self, event: JobChanged) -> bool:
        """Fold an event in; whether the state is another one."""
        moved = event.state != self.state
        if self.began is None and event.state == "running":
            self.began = event.at
        if self._mark is None and event.step > 0:
            self._mark = (event.at, event.step)
        if event.step > self.step:
            self._moved = event.at
        loss = event.metrics.get("loss")
        if loss is not None and math.isfinite(loss) and (event.step > self.step or not self.losses):
            self.losses.append(loss)
        self.name, self.state = event.name, event.state
        self.step, self.total_steps = event.step, event.total_steps
        self.metrics = dict(event.metrics)
        return moved

    @property
    def fraction(self) -> float | None:
        """Done, between 0 and 1; None while the number of steps is not known."""
        return min(1.0, self.step / self.total_steps) if self.total_steps > 0 else None

    def seconds_left(self, now: float) -> float | None:
        """Time left at the pace since the first step; the time before it was imports, not training.

        Between two steps it runs down; it does not grow while the job has nothing to tell.
        """
        if self._mark is None or self.total_steps <= 0 or self.step <= self._mark[1]:
            return None
        pace = (self._moved - self._mark[0]) / (self.step - self._mark[1])
        return max(0.0, pace * (self.total_steps - self.step) - max(0.0, now - self._moved))

    def headline(self, count: int = 3) -> str:
        """The newest metrics that say how it goes, the loss first."""
        return headline(self.metrics, count)


@dataclass
class Board:
    """The session so far."""

    session: SessionStarted | None = None
    step: int = 0
    cell_runs: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    calls: dict[str, ToolStarted] = field(default_factory=dict)
    """Calls that run at this moment, by id."""
    ended: ToolStarted | None = None
    """The call that ended last, as it was begun: its end does not tell what it was asked."""
    progress: dict[str, ToolProgress] = field(default_factory=dict)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    experiments: dict[str, ExperimentChanged] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    finished: SessionFinished | None = None
    research: dict[str, ResearchStarted] = field(default_factory=dict)
    """Sub-agents that work at this moment, by name."""
    budget: BudgetChanged | None = None

    @property
    def began(self) -> float | None:
        """When the session began, in seconds since the epoch."""
        return self.session.at if self.session else None

    def what_goes_on(self) -> str:
        """In a few words, for the time in which nothing else is to be told."""
        if self.cell_runs:
            return f"step {self.step} runs"
        return "waiting for the model" if self.session else "the session starts"

    def money_and_limits(self, now: float) -> list[str]:
        """What is spent of each ceiling, and dollars where there are any, in a few words each."""
        if (budget := self.budget) is None:
            return []
        used = {unit: budget.spent.get(unit, 0.0) + budget.reserved.get(unit, 0.0) for unit in budget.spent}
        if self.finished is None:
            used["seconds"] = used.get("seconds", 0.0) + max(0.0, now - budget.at)
        return [
            show_spent(unit, amount, budget.caps.get(unit))
            for unit, amount in used.items()
            if unit in budget.caps or (unit == "usd" and amount > 0)
        ]

    def running_jobs(self) -> list[JobRow]:
        """Jobs that are not over."""
        return [row for row in self.jobs.values() if row.state not in OVER]

    def repeats(self, event: ToolProgress) -> bool:
        """Whether a call's progress says nothing that the line of a job does not say."""
        before = self.progress.get(event.call)
        return (before is not None and before.message == event.message) or self.tells_of_a_job(event)

    def tells_of_a_job(self, event: ToolProgress) -> bool:
        """Whether a call's progress is that of a job, which has a line of its own."""
        return any(event.message.startswith(f"{job} ") for job in self.jobs)

    def take(self, event: Event) -> bool:
        """Fold an event in; whether the state of a job or the verdict of an experiment is another one."""
        match event:
            case SessionStarted():
                self.session = event
            case BrainAnswered():
                self.step = self.step if event.source else event.step
                self.input_tokens += event.input_tokens
                self.output_tokens += event.output_tokens
            case CellStarted() if not event.source:
                self.step, self.cell_runs = event.step, True
            case CellFinished() if not event.source:
                self.cell_runs = False
            case ResearchStarted():
                self.research[event.research] = event
            case ResearchFinished():
                self.research.pop(event.research, None)
            case ToolStarted():
                self.calls[event.call] = event
            case ToolProgress():
                self.progress[event.call] = event
            case ToolFinished():
                self.ended = self.calls.pop(event.call, None)
                self.progress.pop(event.call, None)
            case JobChanged():
                return self.jobs.setdefault(event.job, JobRow(event.job, event.name, state="")).take(event)
            case ExperimentChanged():
                before = self.experiments.get(event.experiment)
                self.experiments[event.experiment] = event
                return before is None or (before.verdict, before.metrics) != (event.verdict, event.metrics)
            case Published():
                self.published.append(event)
            case BudgetChanged():
                self.budget = event
            case SessionFinished():
                self.finished = event
        return False


def shows_research(event: Event) -> bool:
    """Whether it is a sub-agent's and is told in a line of its own; questions are told as all others are."""
    return bool(event.source) and not isinstance(event, ApprovalNeeded | ApprovalAnswered)


def show_research(event: Event) -> str:
    """A line on what a sub-agent does; nothing where it would only be noise."""
    who = clean(event.source)
    match event:
        case ResearchStarted():
            word = " goes on" if event.again else ""
            return f"→ {who}{word}: {shorten(clean(event.question), 120)}"
        case ResearchFinished():
            did = f"{event.steps} steps · {event.input_tokens + event.output_tokens:,} tokens"
            told = event.answer if event.ok else event.reason
            mark = "✓" if event.ok else "✗"
            took = show_duration(event.seconds)
            return f"{mark} {who} {took} · {did}: {shorten(clean(told), 120)}"
        case ToolStarted():
            return f"  {who} → {event.tool}({show_arguments(event.arguments)})"
        case ToolFinished() if not event.ok:
            return f"  {who} ✗ {event.tool}: {shorten(clean(event.summary), 100)}"
        case CellFinished() if not event.ok:
            last = [line for line in clean(event.observation).splitlines() if line.strip()][-1:]
            return f"  {who} ✗ a cell failed: {shorten(''.join(last), 100)}"
        case Notice() if event.level != "info":
            return f"  {who} {event.level}: {shorten(clean(event.text), 200)}"
    return ""


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """The course of the values in `width` characters or fewer; each shows the mean of its stretch."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    span = high - low or 1.0
    return "".join(_BARS[round((m - low) / span * (len(_BARS) - 1))] for m in means)


def show_number(value: float) -> str:
    """Four digits that matter."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def headline(metrics: Mapping[str, float], count: int = 3) -> str:
    """The metrics that say how a job goes, the loss first."""
    names = sorted((n for n in metrics if not _DULL.search(n)), key=lambda n: (n != "loss", n))
    return " · ".join(f"{n} {show_number(metrics[n])}" for n in names[:count])


def show_metrics(metrics: Mapping[str, float]) -> str:
    """All metrics in one line."""
    return " · ".join(f"{name} {show_number(value)}" for name, value in metrics.items())


def show_measured(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Measured values with their intervals, from the JSON of the ledger: ``accuracy 0.81 [0.78, 0.84]``."""
    return ", ".join(
        f"{name} {show_number(m['value'])} [{show_number(m['low'])}, {show_number(m['high'])}]"
        for name, m in metrics.items()
    )


def show_arguments(arguments: Mapping[str, Any], limit: int = 100) -> str:
    """Arguments as in a call, each value and the whole cut to a length that fits a line."""
    parts = [f"{name}={shorten(repr(value), 48)}" for name, value in arguments.items() if value is not None]
    return shorten(", ".join(parts), limit)


_KNOBS = frozenset(
    {"kind", "direction", "order", "rank", "split", "hardware", "weighting", "format", "language"}
)
"""Arguments that say how something is done and not what it is done to."""


def show_call(tool: str, arguments: Mapping[str, Any], limit: int = 72) -> str:
    """A call with the arguments that tell it from others: what it is about, not how."""
    about = {name: value for name, value in arguments.items() if name not in _KNOBS and _tells(value)}
    first = [about.pop("name")] if "name" in about else []
    values = [*first, *about.values()][:2] or list(filter(_tells, arguments.values()))[:1]
    shown = ", ".join(shorten(repr(value), 44) for value in values)
    return clean(f"{tool}({shorten(shown, limit)})")


def _tells(value: Any) -> bool:
    return bool(value) and (isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str)))


def show_spent(unit: str, amount: float, cap: float | None) -> str:
    """An amount, of its ceiling where there is one: ``0.12 of 5 usd``, ``3m 1s of 1h``."""
    if unit == "seconds":
        return show_duration(amount) + (f" of {show_duration(cap)}" if cap is not None else "")
    name = unit.replace("_", "-")
    told = f"{amount:.2f}" if unit in ("usd", "gpu_hours") else f"{amount:,.0f}"
    return f"{told} of {cap:,g} {name}" if cap is not None else f"{told} {name}"


def shorten(text: str, limit: int) -> str:
    """The text in one line of at most `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def prose(text: str, limit: int = 400) -> str:
    """What the brain said before its cell: the text up to the first code block or tag."""
    said = re.split(r"```|<[a-zA-Z][\w-]*>", text, maxsplit=1)[0].strip()
    return said if len(said) <= limit else said[: limit - 1] + "…"


def clean(text: str) -> str:
    """The text without what could steer a terminal. Of a line that was drawn over, the last state stays.

    Cells and fetched pages are not trusted: an escape sequence could hide a line or rewrite the title.
    """
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in _ESCAPES.sub("", text).split("\n"))
    return "\n".join(lines)


def excerpt(text: str, lines: int, mark: str = "") -> list[str]:
    """The lines of a text: all where they fit, else head and tail around a note of what is left out."""
    all_lines = text.rstrip().splitlines()
    if len(all_lines) <= lines + 1:
        return all_lines
    tail = lines // 3
    head = lines - tail
    note = f"{mark}… {len(all_lines) - lines} more lines (-v shows all) …"
    return [*all_lines[:head], note, *(all_lines[-tail:] if tail else [])]
