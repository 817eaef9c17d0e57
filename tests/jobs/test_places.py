"""Which place a job goes to, what it costs there, and how long it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import JobHardware

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.events import Event, Notice
from ml_intern.hub.client import Hub
from ml_intern.jobs.estimate import Workload, workload
from ml_intern.jobs.flavors import flavors, taken
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.places import choose, gpu_gigabytes, read_place, sized_timeout, smaller_plan
from ml_intern.ledger import Ledger
from ml_intern.prices import Price
from ml_intern.router.approval import reach_of
from ml_intern.router.budget import Budget
from ml_intern.router.gate import Gate
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec, specs_in
from ml_intern.tools import jobs as job_tools
from ml_intern.tools import sweeping, training
from ml_intern.workspace.files import Files

LARGE = Workload(parameters=7e9, tokens=1e8, steps=1000)
SMALL = Workload(parameters=1e6, tokens=1e6, steps=100)
TRAIN = {"method": "pretrain", "model": "scratch:100M", "dataset": "train"}


@pytest.fixture
def make(tmp_path: Path, events: list[Event]) -> Iterator[Callable[..., ToolContext]]:
    hubs: list[Hub] = []

    def build(left: float | None = None, **settings: Any) -> ToolContext:
        given = Settings.load(state=tmp_path / "state", hub="embedded", **settings)
        folder = given.state / "session"
        (folder / "workspace").mkdir(parents=True, exist_ok=True)
        files = Files(folder / "workspace", tmp_path)
        hubs.append(Hub(given, given.state, {}))
        jobs = Jobs(folder / "jobs", None, given, events.append, hubs[-1])
        ledger = Ledger(folder / "ledger.sqlite", events.append)
        evals = Evals(folder / "evals", jobs, ledger, given)
        store = DatasetStore(folder / "datasets", files)
        store.save("train", [{"text": f"x = {n}"} for n in range(50)], Lineage(source="t", operation="t"))
        services = Services("s", folder, given, files, store, jobs, ledger, evals, hubs[-1], events.append)
        services.left = lambda: {"seconds": None, "usd": left}
        return ToolContext(services, "call-1", "key-1")

    yield build
    for hub in hubs:
        hub.close()


def a_gpu(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    for module in ("ml_intern.jobs.places", "ml_intern.tools.training", "ml_intern.jobs.hardware"):
        monkeypatch.setattr(f"{module}.gpu_name", lambda: words)


def spec(name: str) -> ToolSpec:
    return next(s for s in specs_in(training) if s.name == name)


def prepared(ctx: ToolContext, name: str = "launch_training", **given: Any) -> tuple[Any, Price]:
    found = spec(name)
    arguments = found.prepare(ctx, found.validate(given))
    return arguments, found.price(ctx, arguments)


def test_the_table_has_every_machine_that_the_client_knows():
    assert set(flavors()) >= {str(hardware.value) for hardware in JobHardware}
    assert all(row.usd_per_hour > 0 and row.tflops > 0 for row in flavors().values())
    assert taken().year >= 2026


def test_auto_takes_the_first_place_that_fits(make, monkeypatch):
    ctx = make(hf_flavor="a100-large")
    hub, settings = ctx.services.hub, ctx.settings
    a_gpu(monkeypatch, "NVIDIA A100, 81920 MiB")
    assert choose(settings, hub, Workload(1e9, 1e6), None).compute == "local"
    place = choose(settings, hub, LARGE, None)
    assert (place.words, place.gpus, place.usd_per_hour) == ("hf-jobs:a100-large", 1, 2.5)
    assert "too small, 104 GB are needed" in place.why
    a_gpu(monkeypatch, "")
    assert choose(settings, hub, SMALL, 10.0).words == "hf-jobs:a100-large"
    place = choose(settings, hub, SMALL, 0.1)
    assert place.compute == "local"
    assert (
        place.why
        == "there is no GPU here; not hf-jobs: it costs 2.5 usd an hour, and 0.1 usd are left; so it runs on the CPU"
    )
    assert choose(make().settings, hub, SMALL, None).why == "there is no GPU here; so it runs on the CPU"
    assert choose(make(compute="docker").settings, hub, SMALL, None).compute == "docker"


def test_without_sbatch_auto_goes_on_and_says_why(make, monkeypatch, tmp_path):
    a_gpu(monkeypatch, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    ctx = make(slurm_partition="main")
    place = choose(ctx.settings, ctx.services.hub, SMALL, None)
    assert place.compute == "local" and "not slurm: There is no sbatch on this machine" in place.why


def test_a_training_too_large_for_the_cpu_gets_a_warning_with_a_smaller_plan(make, monkeypatch, events):
    a_gpu(monkeypatch, "")
    ctx = make(job_timeout="1h")
    arguments, price = prepared(
        ctx, **TRAIN, config={"max_steps": 10_000, "batch_size": 16, "max_length": 512}
    )
    assert arguments.hardware == "auto" and price == Price(0.0, 0.0, 1)
    [told] = [event.text for event in events if isinstance(event, Notice)]
    assert told.startswith("There is no GPU here; so it runs on the CPU; on this CPU the training would take")
    assert "max_steps=" in told and "nothing was changed" in told
    assert smaller_plan(SMALL, 3600) == ""


def test_a_gpu_that_is_too_small_is_left_alone_where_there_is_no_other_place(make, monkeypatch, events):
    a_gpu(monkeypatch, "NVIDIA T4, 15360 MiB")
    huge = {**TRAIN, "model": "scratch:2B"}
    arguments, price = prepared(make(), **huge, config={"max_steps": 10})
    assert arguments.hardware == "cpu" and price == Price(0.0, 0.0, 1)
    assert "Its GPU is too small, 30 GB are needed" in events[-1].text


def test_processes_hold_a_gpu_each(make, monkeypatch):
    a_gpu(monkeypatch, "H100, 80 GiB; H100, 80 GiB; H100, 80 GiB")
    several = {"config": {"processes": 2}, "timeout": "1h"}
    assert prepared(make(), **TRAIN, **several)[1].gpu_hours == 2.0
    assert prepared(make(), **TRAIN, **several, hardware="cpu")[1].gpu_hours == 0.0


def test_a_sweep_goes_where_auto_says_and_costs_all_its_trials(make, monkeypatch, events):
    a_gpu(monkeypatch, "")
    ctx = make(hf_flavor="a10g-small")
    [found] = specs_in(sweeping)
    asked = {"base": TRAIN, "space": {"lr": [1e-3, 1e-2]}, "metric": "loss", "trials": 7}
    arguments = found.prepare(ctx, found.validate(asked))
    assert arguments.base["hardware"] == "hf-jobs:a10g-small" and arguments.base["timeout"] < 3 * 3600
    price = found.price(ctx, arguments)
    assert price.jobs == 7 and price.usd == pytest.approx(7 * arguments.base["timeout"] / 3600)
    assert reach_of(found, arguments.model_dump(), ctx.services).startswith("HF Jobs, a a10g-small, paid by")
    with pytest.raises(ToolError, match="did you mean 'gpu'"):
        found.prepare(ctx, found.validate({**asked, "base": {**TRAIN, "hardware": "gppu"}}))


def test_a_rented_machine_is_priced_by_a_time_limit_that_fits_the_work(make, monkeypatch, events):
    a_gpu(monkeypatch, "")
    ctx = make(hf_flavor="a10g-small")
    arguments, price = prepared(ctx, **TRAIN, config={"max_steps": 1000, "batch_size": 16, "max_length": 512})
    assert arguments.hardware == "hf-jobs:a10g-small"
    assert 900 <= arguments.timeout < 3 * 3600
    assert price.usd == pytest.approx(arguments.timeout / 3600 * 1.0)
    assert price.gpu_hours == pytest.approx(arguments.timeout / 3600)
    assert "hf-jobs:a10g-small: there is no GPU here" in events[-1].text
    again, price = prepared(ctx, "launch_script", script="print(1)", hardware="h200x2", timeout="30m")
    assert (again.hardware, again.timeout) == ("hf-jobs:h200x2", "30m")
    assert (price.usd, price.gpu_hours) == (5.0, 1.0)
    assert sized_timeout(read_place(ctx.settings, ctx.services.hub, "h200"), Workload(), 7200) == 7200


def test_dollars_without_a_ceiling_are_asked_about_and_the_question_says_who_pays(make):
    ctx = make()
    given = {"script": "print(1)", "hardware": "hf-jobs:t4-small"}
    price = Price(1.2, 3.0, 1)
    assert Gate([], Budget({"usd": 5.0})).decide(spec("launch_script"), given, price).action == "allow"
    decision = Gate([], Budget()).decide(spec("launch_script"), given, price)
    assert decision.action == "ask" and "1.2 usd" in decision.reason
    reach = reach_of(spec("launch_script"), given, ctx.services)
    assert reach.startswith(
        "HF Jobs, a t4-small, paid by local; code and inputs go into the private repository"
    )


@pytest.mark.parametrize(
    ("hardware", "told"),
    [
        ("gppu", "no hardware 'gppu' .did you mean 'gpu'"),
        ("hf-jobs:a10g-smal", "no flavor 'a10g-smal' .did you mean 'a10g-small'"),
        ("hf-jobs", "HF Jobs needs a flavor"),
        ("slrum:main", "no hardware 'slrum:main'"),
    ],
    ids=["word", "flavor", "no-flavor", "cluster"],
)
def test_a_place_that_is_not_there_is_told_before_anything_starts(make, hardware, told):
    ctx = make()
    with pytest.raises(ToolError, match=told):
        prepared(ctx, "launch_script", script="print(1)", hardware=hardware)
    with pytest.raises(ToolError, match=told):
        training.launch_script(ctx, "print(1)", hardware=hardware)
    assert ctx.jobs.list() == []


def test_hardware_is_listed_with_prices_and_their_date(make):
    rows = {row.name: row for row in job_tools.list_hardware(make(hf_flavor="t4-small"))}
    assert rows["local"].usd_per_hour == 0 and rows["local"].cores >= 1
    assert rows["hf-jobs:h200x8"].usd_per_hour == 40.0
    assert rows["hf-jobs:h200x8"].gpu == "8 x H200, 141 GB each"
    assert str(taken()) in rows["hf-jobs:h200x8"].note
    assert not [name for name in {row.name for row in job_tools.list_hardware(make())} if "hf-jobs" in name]


def test_what_a_training_asks_for_is_read_from_model_and_config(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x" * 4000)
    found = workload(
        "job-1", tmp_path, {"steps": 10, "batch_size": 4, "max_length": 128, "peft": {"r": 4}}, 99
    )
    assert found == Workload(1000.0, 10 * 4 * 128, 10, True)
    sized = workload({"config": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 512}}, None, {}, 10)
    assert 1e5 < sized.parameters < 5e5
    assert gpu_gigabytes("NVIDIA H100, 81920 MiB; NVIDIA T4, 15360 MiB") == 15.0
