"""What launching tools tell the gate: prices, time that is left, the open network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.durations import parse_duration
from ml_intern.errors import ToolError, UsageError
from ml_intern.evals.store import Evals
from ml_intern.events import Event, Notice
from ml_intern.jobs.hardware import gpus_of
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.ledger import Ledger
from ml_intern.prices import Price
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec, specs_in
from ml_intern.tools import training
from ml_intern.workspace.files import Files

Make = Callable[..., ToolContext]
TRAIN = {"method": "pretrain", "model": "scratch:1M", "dataset": "train"}


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make(tmp_path: Path, events: list[Event]) -> Make:
    """A context; `left` is the wall time that the budget has left."""

    def build(left: float | None = None, **settings: Any) -> ToolContext:
        given = Settings.load(state=tmp_path / "state", **settings)
        folder = given.state / "session"
        (folder / "workspace").mkdir(parents=True, exist_ok=True)
        files = Files(folder / "workspace", tmp_path)
        jobs = Jobs(folder / "jobs", None, given, events.append)
        ledger = Ledger(folder / "ledger.sqlite", events.append)
        evals = Evals(folder / "evals", jobs, ledger, given)
        store = DatasetStore(folder / "datasets", files)
        store.save("train", [{"text": f"x = {n}"} for n in range(50)], Lineage(source="t", operation="t"))
        hub: Any = None
        services = Services("s", folder, given, files, store, jobs, ledger, evals, hub, events.append)
        services.left = lambda: {"seconds": left}
        return ToolContext(services, "call-1", "key-1")

    return build


def spec(name: str) -> ToolSpec:
    return next(s for s in specs_in(training) if s.name == name)


def price(ctx: ToolContext, name: str, **given: Any) -> Price:
    found = spec(name)
    assert found.price
    return found.price(ctx, found.validate(given))


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.tools.training.gpu_name", lambda: "A GPU, 80 GB")
    monkeypatch.setattr("ml_intern.jobs.hardware.gpu_name", lambda: "A GPU, 80 GB")


@pytest.mark.parametrize(
    ("timeout", "hours"), [("30m", 0.5), ("3h", 3.0), (3600, 1.0), ("3600", 1.0), (None, 2.0)]
)
def test_a_timeout_is_gpu_hours(make: Make, on_a_gpu: None, timeout: Any, hours: float) -> None:
    """Nothing means what the setting job_timeout says."""
    ctx = make(job_timeout="2h")
    assert price(ctx, "launch_training", **TRAIN, timeout=timeout) == Price(0.0, hours, 1)
    assert price(ctx, "launch_script", script="print(1)", timeout=timeout) == Price(0.0, hours, 1)


def test_without_a_timeout_the_stated_default_holds(make: Make, on_a_gpu: None) -> None:
    assert price(make(), "launch_training", **TRAIN).gpu_hours == 3.0
    assert price(make(), "smoke_test", **TRAIN).gpu_hours == pytest.approx(600 / 3600)


@pytest.mark.parametrize(
    "junk", ["soon", "", "3 parsecs", "5 dollars", "3 months", "-5m", "1h and more", 0, -1]
)
def test_junk_is_an_error_before_anything_is_reserved(make: Make, on_a_gpu: None, junk: Any) -> None:
    with pytest.raises(ToolError, match="timeout"):
        price(make(), "launch_training", **TRAIN, timeout=junk)
    with pytest.raises(UsageError):
        parse_duration(junk)


@pytest.mark.parametrize("junk", [True, False, float("nan"), float("inf"), "9" * 400, "x" * 10_000])
def test_what_is_no_length_of_time(junk: Any) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(junk)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90 sec", 90), ("2 hours 30 min", 9000), ("1D", 86400), ("1 minute", 60), ("1h1h", 7200)],
)
def test_words_for_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_cpu_costs_no_gpu_hours(make: Make, on_a_gpu: None) -> None:
    assert price(make(), "launch_training", **TRAIN, hardware="cpu") == Price(0.0, 0.0, 1)
    assert gpus_of(JobSpec(name="x", method="sft", config={"trainer": {"use_cpu": True}})) == 0
    assert gpus_of(JobSpec(name="x", method="script", config={"use_cpu": True})) == 0
    assert gpus_of(JobSpec(name="x", method="sft", config={"trainer": {}})) == 1


def test_a_job_is_capped_to_the_wall_time_that_is_left_and_it_is_told(
    make: Make, events: list[Event], on_a_gpu: None
) -> None:
    ctx = make(left=600.0)
    assert price(ctx, "launch_script", script="print(1)", timeout="3h").gpu_hours == pytest.approx(1 / 6)
    job = training.launch_script(ctx, "print(1)\n", timeout="3h", hardware="cpu")
    ctx.jobs.wait([job.id], 60)
    assert ctx.jobs.spec(job.id).timeout_s == 600.0
    [told] = [e.text for e in events if isinstance(e, Notice)]
    assert "may run 10m 0s, not 3h 0m" in told


def test_a_job_that_fits_is_not_capped(make: Make, events: list[Event]) -> None:
    ctx = make(left=600.0)
    job = training.launch_script(ctx, "print(1)\n", timeout="5m")
    ctx.jobs.wait([job.id], 60)
    assert ctx.jobs.spec(job.id).timeout_s == 300.0
    assert not [e for e in events if isinstance(e, Notice)]


@pytest.mark.parametrize("network", [False, True])
def test_the_network_reaches_the_job_as_it_was_asked_for(make: Make, network: bool) -> None:
    ctx = make()
    job = training.launch_script(ctx, "print(1)\n", network=network)
    ctx.jobs.wait([job.id], 60)
    assert ctx.jobs.spec(job.id).network is network
    assert "network" in spec("launch_script").proxy()["doc"]
