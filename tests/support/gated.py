"""A router over small tools, for tests of the gate: every tool writes down that it ran."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import httpx

from ml_intern.errors import ToolError
from ml_intern.events import Event
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.journal.journal import Journal
from ml_intern.prices import Measured, Price
from ml_intern.router.budget import Budget, parse_budget
from ml_intern.router.gate import Gate
from ml_intern.router.router import Router
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec, tool

CALLS: list[Any] = []
GO_ON = threading.Event()


@tool(effect="read")
def echo(ctx: Any, text: str, kind: Literal["loud", "soft"] = "soft", times: int = 1) -> dict[str, str]:
    """Say it again."""
    CALLS.append(ctx.key)
    return {"said": text * times}


@tool(effect="publish")
def shout(ctx: Any, text: str, private: bool = False) -> str:
    """Tell the world."""
    CALLS.append(text)
    return text


@tool(effect="publish")
def push(ctx: Any, repo: str, private: bool = True, files: list[str] | None = None) -> str:
    """Publish to a repository."""
    CALLS.append((repo, private))
    return repo


@tool(effect="destroy")
def wipe(ctx: Any, what: str) -> str:
    """Delete."""
    CALLS.append(what)
    return what


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd, gpu_hours=given.hours, jobs=1))
def spend(ctx: Any, usd: float | None = 0.0, hours: float | None = 0.0) -> str:
    """Spend."""
    CALLS.append(usd)
    return "spent"


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd, jobs=1))
def hold(ctx: Any, usd: float) -> str:
    """Spend, and take until the test says go on."""
    GO_ON.wait(20)
    return "held"


@tool(effect="compute")
def script(ctx: Any, code: str, network: bool = False, config: dict[str, Any] | None = None) -> str:
    """Run code."""
    CALLS.append((code, network))
    return code


@tool(effect="write")
def cancel(ctx: Any, job: str) -> str:
    """Cancel a job."""
    CALLS.append(job)
    return job


@tool(effect="compute", price=lambda ctx, given: 1 / 0)  # type: ignore[arg-type,return-value]
def riddle(ctx: Any) -> str:
    """A tool whose price is broken."""
    CALLS.append("riddle")
    return "?"


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd))
def crash(ctx: Any, usd: float) -> str:
    """Fail after the money was set aside."""
    raise MemoryError("no")


@tool(effect="compute", price=lambda ctx, given: Price(gpu_hours=given.hours, jobs=1))
def launch(
    ctx: Any,
    state: str,
    took: float | None,
    hours: float = 2.0,
    look: bool = False,
    fails: bool = False,
) -> str:
    """Start a job that stands as the arguments say; another call may look, and this one may fail after it."""
    ctx.services.jobs.add("job-1", key=ctx.key, state=state, took=took)
    if look:
        ctx.services.left()
    if fails:
        raise KeyError("after the start")
    return "job-1"


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd))
def metered(ctx: Any, usd: float, really: list[float]) -> str:
    """Report what it has really cost."""
    for cost in really:
        ctx.services.spent(ctx.call, Measured(usd=cost))
    return "done"


@tool(effect="read")
def fail(ctx: Any, how: str) -> str:
    """Fail."""
    CALLS.append(how)
    if how == "tool":
        raise ToolError("The file is empty.", "Name another.")
    if how == "flaky" and CALLS.count("flaky") < 3:
        raise httpx.ConnectError("refused")
    if how == "limited" and CALLS.count("limited") < 2:
        response = httpx.Response(429, headers={"Retry-After": "0"}, request=httpx.Request("GET", "http://x"))
        raise httpx.HTTPStatusError("slow down", request=response.request, response=response)
    if how == "client":
        response = httpx.Response(404, request=httpx.Request("GET", "http://x"))
        raise httpx.HTTPStatusError("not there", request=response.request, response=response)
    if how == "bug":
        raise KeyError("oops")
    return "fine"


TOOLS: tuple[Any, ...] = (
    echo,
    shout,
    push,
    wipe,
    spend,
    hold,
    script,
    cancel,
    riddle,
    crash,
    launch,
    metered,
    fail,
)


def spec_of(function: Any) -> ToolSpec:
    """The declaration of one of the tools above."""
    spec: ToolSpec = function.__tool__
    return spec


class FakeJobs:
    """Jobs whose times the test says."""

    def __init__(self) -> None:
        self.specs: dict[str, JobSpec] = {}
        self.statuses: dict[str, JobStatus] = {}

    def add(self, job: str, key: str = "", state: Any = "running", took: float | None = None) -> None:
        """A job, which started an hour ago unless it never did."""
        self.specs[job] = JobSpec(name=job, method="script", config={"code": ""}, key=key)
        began = None if took is None else time.time() - took
        ended = None if began is None or state == "running" else began + (took or 0)
        self.statuses[job] = JobStatus(
            id=job, name=job, method="script", state=state, started=began, ended=ended
        )

    def find(self, key: str) -> str | None:
        return next((job for job, spec in self.specs.items() if spec.key == key), None)

    def list(self) -> Sequence[JobStatus]:
        return list(self.statuses.values())

    def spec(self, job: str) -> JobSpec:
        return self.specs[job]


def build(
    folder: Path, budget: str = "", approver: Any = None, tools: Any = TOOLS, **settings: Any
) -> Router:
    """A router with its gate, budget and journal; the services are no more than it needs."""
    CALLS.clear()
    GO_ON.clear()
    events: list[Event] = []
    services: Any = SimpleNamespace(
        session="s1",
        settings=Settings.load(**settings),
        emit=events.append,
        events=events,
        jobs=FakeJobs(),
        evals=SimpleNamespace(jobs=FakeJobs()),
    )
    ceiling = Budget(parse_budget(budget))
    gate = Gate(services.settings.policy, ceiling, services.settings.yes)
    specs = [spec_of(t) for t in tools]
    router = Router(specs, services, gate, ceiling, Journal(folder / "journal.sqlite"), approver)
    services.left, services.spent = router.left, router.spent
    return router


def lines(router: Router, kind: str) -> list[dict[str, Any]]:
    """What the journal has of a kind."""
    return [entry.payload for entry in router.journal.entries(kind)]
