"""launch_training and its neighbours beside the real services; trainings that start are tiny."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.events import Event, ToolProgress
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.models import resolve_model
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in, to_json
from ml_intern.tools import jobs as job_tools
from ml_intern.tools import training
from ml_intern.workspace.files import Files

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY = {"config": {**SMALL, "num_key_value_heads": 2, "vocab_size": 300}}
FEW = {"learning_rate": 1e-2, "batch_size": 8, "max_steps": 12, "logging_steps": 4}


class Downloads:
    """A Hub that has one model."""

    embedded = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def download_model(self, ref: str) -> Path:
        if not ref.startswith("someone/model"):
            raise ToolError(f"There is no repository {ref!r}.")
        return self.folder


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def services(tmp_path: Path, events: list[Event]) -> Services:
    settings = Settings(state=tmp_path / "state", job_slots=2)
    folder = settings.state / "session"
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    files = Files(workspace, tmp_path)
    jobs = Jobs(folder / "jobs", None, settings, events.append)
    ledger = Ledger(folder / "ledger.sqlite", events.append)
    evals = Evals(folder / "evals", jobs, ledger, settings)
    store = DatasetStore(folder / "datasets", files)
    store.save(
        "train", [{"text": f"x_{n} = {n} + {n * n}"} for n in range(200)], Lineage(source="t", operation="t")
    )
    hub: Any = Downloads(tmp_path / "hub-model")
    return Services("s", folder, settings, files, store, jobs, ledger, evals, hub, events.append)


@pytest.fixture
def ctx(services: Services) -> Callable[[str], ToolContext]:
    """`ctx("k")` is the context of one call with its key."""
    return lambda key="call-1": ToolContext(services, key, key)


def refusal(call: Callable[..., Any], *args: Any, **more: Any) -> str:
    with pytest.raises(ToolError) as caught:
        call(*args, **more)
    return str(caught.value)


def test_what_is_offered():
    offered = {spec.name: spec.effect for module in (training, job_tools) for spec in specs_in(module)}
    assert offered == {
        "launch_training": "compute",
        "smoke_test": "compute",
        "launch_script": "compute",
        "list_jobs": "read",
        "job_status": "read",
        "job_logs": "read",
        "read_metrics": "read",
        "read_samples": "read",
        "wait_for_job": "read",
        "cancel_job": "write",
        "resume_job": "compute",
        "diagnose_job": "read",
        "list_hardware": "read",
    }


def test_a_local_training_counts_as_one_job_and_costs_no_money(ctx):
    spec = next(s for s in specs_in(training) if s.name == "launch_training")
    given = spec.validate({"method": "pretrain", "model": "scratch:1M", "dataset": "train", "timeout": "2h"})
    price = spec.price(ctx(), given)
    assert (price.usd, price.jobs) == (0.0, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "trian"}, "trian"),
        ({"dataset": "empty.jsonl"}, "empty.jsonl"),
        ({"dataset": "broken.jsonl"}, "line 2"),
        ({"dataset": "other.jsonl"}, "needs a column 'text'"),
        ({"config": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
        ({"model": "scratch:huge"}, "scratch:0.3M"),
        ({"model": "scratch:9B"}, "GB"),
        ({"experiment": "exp-9"}, "exp-9"),
        ({"timeout": "soon"}, "length of time"),
        ({"method": "sft", "model": "nobody"}, "no model 'nobody'"),
        ({"method": "sft", "model": "nobody/nothing"}, "nobody/nothing"),
        ({"method": "sft", "model": {"config": {}}}, "sft starts from a model"),
    ],
)
def test_what_is_wrong_is_told_before_any_job_starts(ctx, services, changes, words):
    workspace = services.files.workspace
    (workspace / "empty.jsonl").write_text("")
    (workspace / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (workspace / "other.jsonl").write_text('{"label": 1}\n')
    asked = {"method": "pretrain", "model": TINY, "dataset": "train", "config": FEW} | changes
    assert words in refusal(training.launch_training, ctx(), **asked)
    assert services.jobs.list() == []


def test_data_that_holds_eval_items_is_refused(ctx, services):
    held_out = [{"text": f"held_out_{n} = compute_something_long({n})"} for n in range(40)]
    rows = [{**row, "split": "dev" if n % 2 else "test"} for n, row in enumerate(held_out)]
    services.evals.register("secret", rows, ["bits_per_byte"])
    stolen = [{"text": "fine = 1"}, {"text": held_out[3]["text"].upper()}, {"text": held_out[4]["text"]}]
    services.datasets.save("stolen", stolen, Lineage(source="t", operation="t"))
    told = refusal(training.launch_training, ctx(), "pretrain", TINY, "stolen", FEW)
    assert "2 of 3" in told
    assert services.jobs.list() == []


@pytest.mark.slow
def test_a_training_from_launch_to_model(ctx, services, events):
    row = services.ledger.start("it learns", "baseline")
    asked = {"method": "pretrain", "model": TINY, "dataset": "train", "config": FEW, "experiment": row.id}
    job = training.launch_training(ctx("k1"), **asked, seed=3, name="base line")
    assert training.launch_training(ctx("k1"), **asked).id == job.id == "base-line-1"
    status = job_tools.wait_for_job(ctx("k2"), [job.id], timeout="4m")[0]
    assert status.state == "succeeded", status.failure

    shown = [(e.message, e.fraction) for e in events if isinstance(e, ToolProgress)]
    assert any("12/12" in message for message, _ in shown) and shown[-1][1] == 1.0
    read = job_tools.read_metrics(ctx(), job.id, ["loss"])
    assert [r["step"] for r in read.rows] == [1, 4, 8, 12]
    assert to_json(read)["summary"]["loss"]["last"] == read.summary["loss"]["min"]
    assert isinstance(read.summary["loss"]["count"], int)
    assert read.summary["loss"]["last"] == pytest.approx(read.rows[-1]["loss"], rel=1e-5)
    assert "did you mean 'loss'" in refusal(job_tools.read_metrics, ctx(), job.id, ["los"])
    assert job_tools.diagnose_job(ctx(), job.id).job == job.id

    row = services.ledger.get(row.id)
    assert row.jobs == [job.id] and row.seed == 3 and row.cost.seconds > 0
    assert row.config["learning_rate"] == 1e-2 and len(row.code_hash) == 64
    info = services.datasets.info("train")
    assert row.data["train"] == {"id": "train@1", "rows": 200, "sha256": info.sha256}
    assert row.facts["steps"] == 12

    model = services.jobs.model_path(job.id)
    assert (
        resolve_model(ctx(), job.id)
        == resolve_model(ctx(), row.id)
        == resolve_model(ctx(), str(model))
        == model
    )
    rows = [{"prompt": f"{n}+{n}=", "completion": str(2 * n)} for n in range(16)]
    services.datasets.save("pairs", rows, Lineage(source="t", operation="t"))
    tried = training.smoke_test(ctx("k3"), "sft", row.id, "pairs", {"max_steps": 500, "max_length": 32})
    assert (tried.state, tried.steps, tried.max_steps) == ("succeeded", 5, 500)
    assert tried.vocab_size == 300 and tried.tokens_per_step > 8
    chat = [{"messages": [{"role": "user", "content": "a"}]}]
    services.datasets.save("chat", chat, Lineage(source="t", operation="t"))
    assert "chat template" in refusal(training.smoke_test, ctx("k4"), "sft", row.id, "chat")


@pytest.mark.thorough
@pytest.mark.slow
def test_a_smoke_test_tells_size_and_time_of_the_whole(ctx, services):
    config = {**FEW, "max_steps": 1000, "warmup_steps": 100, "validation": 0.1, "tokenizer": "byte"}
    tried = training.smoke_test(ctx(), "pretrain", {"config": TINY["config"]}, "train", config)
    assert (tried.steps, tried.max_steps, tried.vocab_size) == (5, 1000, 259)
    weights = 300 * 32 * 2 + 32 * 4 * 32 + 32 * 3 * 64 + 32 * 3
    assert tried.parameters == weights, "embedding and head, attention, the inner layer, three norms"
    assert 100 < tried.tokens_per_step <= 8 * 64
    assert tried.estimated_seconds == pytest.approx(
        tried.startup_seconds + 1000 * tried.seconds_per_step, abs=0.2
    )
    least, most = tried.estimated_range
    assert most - tried.estimated_seconds == pytest.approx(1000 * tried.seconds_per_step_error, abs=0.2)
    assert tried.startup_seconds - 0.1 <= least < tried.estimated_seconds < most
    rows = services.jobs.metrics(tried.job, ["learning_rate", "loss"])
    assert rows[0]["learning_rate"] == 1e-2, "no warmup: the first step moves the weights"
    assert to_json(training.smoke_test(ctx(), "pretrain", TINY, "train", config)) == to_json(tried)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "kind", "about"),
    [
        ({"learning_rate": 1e30}, "nan", 'It is about config["learning_rate"] = 1e+30.'),
        pytest.param(
            {"debug": "underflow"},
            "bad_config",
            "It is about config[\"debug\"] = 'underflow'.",
            marks=pytest.mark.thorough,
        ),
    ],
)
@pytest.mark.thorough
def test_a_smoke_test_that_fails_raises_one_line_with_the_field(ctx, change, kind, about):
    with pytest.raises(ToolError) as caught:
        training.smoke_test(ctx(), "pretrain", TINY, "train", {**FEW, **change})
    assert f"({kind})" in caught.value.message and about in caught.value.message
    assert "\n" not in caught.value.message and "the line" not in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("place", [pytest.param("model", marks=pytest.mark.thorough), "config"])
@pytest.mark.thorough
def test_a_tokenizer_of_the_workspace_needs_no_model_beside_it(ctx, services, place):
    from transformers import AutoTokenizer

    from ml_intern.jobs.recipes._tokenizer import make_tokenizer, read_order

    folder = services.files.workspace / "words"
    make_tokenizer(read_order({"type": "bpe", "vocab_size": 265}), ["x_1 = 1", "x_2 = 2"]).save_pretrained(
        folder
    )
    there = {"tokenizer": "words" if place == "model" else str(folder / "tokenizer.json")}
    model = {"config": SMALL, **(there if place == "model" else {})}
    config = {**FEW, "max_steps": 2, **(there if place == "config" else {})}
    job = training.launch_training(ctx(), "pretrain", model, "train", config)
    status = job_tools.wait_for_job(ctx("w"), job.id, timeout="4m")
    assert status.state == "succeeded", status.failure
    made = Path(status.output) / "model"
    asked, found = (AutoTokenizer.from_pretrained(f) for f in (folder, made))
    assert found.get_vocab() == asked.get_vocab() and (made / "tokenizer.json").exists()
    assert json.loads((made / "config.json").read_text())["vocab_size"] == len(asked)


@pytest.mark.parametrize("place", [pytest.param("model", marks=pytest.mark.thorough), "config"])
@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("bites", "did you mean 'byte'"),
        ("empty", "holds no tokenizer"),
        ("/etc", "outside"),
        ({"kind": "bpe"}, "tokenizer has no key 'kind'"),
        ({"type": "bpe", "vocab_size": 128}, "smallest is 259"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_refused_in_both_places(ctx, services, place, order, words):
    (services.files.workspace / "empty").mkdir()
    model = {"config": SMALL} | ({"tokenizer": order} if place == "model" else {})
    config = FEW | ({"tokenizer": order} if place == "config" else {})
    told = refusal(training.launch_training, ctx(), "pretrain", model, "train", config)
    assert words in told and '"bpe", "byte", "char"' in told
    assert services.jobs.list() == []


def test_a_call_cut_off_by_a_crash_is_found_again(ctx, services):
    spec = next(s for s in specs_in(training) if s.name == "launch_script")
    assert spec.reconcile(ctx("k1"), "k1") is None
    status = training.launch_script(ctx("k1"), "print(1)\n")
    assert spec.reconcile(ctx("k1"), "k1").id == status.id


def test_a_script_gets_its_inputs_and_makes_a_model(ctx, services):
    row = services.ledger.start("h", "c")
    code = """
import json, os, sys
rows = open(sys.argv[1]).readlines()
os.mkdir("model")
json.dump({"rows": len(rows)}, open("model/config.json", "w"))
"""
    job = training.launch_script(ctx(), code, args=["train"], inputs=["train"], experiment=row.id)
    status = job_tools.wait_for_job(ctx("w"), job.id)
    assert status.state == "succeeded", status.failure
    assert json.loads((resolve_model(ctx(), row.id) / "config.json").read_text()) == {"rows": 200}


def test_a_script_by_path_and_one_that_does_not_parse(ctx, services):
    (services.files.workspace / "count.py").write_text("print(6 * 7)\n")
    job = training.launch_script(ctx(), "count.py")
    job_tools.wait_for_job(ctx("w"), job.id)
    assert job.id == "count-1" and job_tools.job_logs(ctx(), job.id).text == "42\n"
    assert "line 2" in refusal(training.launch_script, ctx("k"), "x = 1\ny = = 2\n")
    assert "no file" in refusal(training.launch_script, ctx("k"), "missing.py")


def test_a_failed_job_is_returned_and_not_raised(ctx):
    job = training.launch_script(ctx(), "import os\nos.environ['NO_SUCH']\n")
    status = job_tools.wait_for_job(ctx("w"), job.id)
    assert status.state == "failed"
    assert status.failure.line == "script.py:2: os.environ['NO_SUCH']"
    assert job_tools.job_status(ctx(), job.id).failure == status.failure


def test_jobs_are_listed_and_cancelled_and_the_machine_described(ctx):
    job = training.launch_script(ctx(), "import time\ntime.sleep(600)\n", name="sleeper")
    assert job_tools.wait_for_job(ctx("w"), job.id, timeout=0.3).state in ("queued", "running")
    assert job_tools.cancel_job(ctx(), job.id).state == "cancelled"
    assert [s.id for s in job_tools.list_jobs(ctx())] == ["sleeper-1"]
    machine, *_ = job_tools.list_hardware(ctx())  # others where Docker or a cluster is at hand
    assert machine.cores >= 1 and machine.memory_gb > 0 and machine.job_slots == 2


def test_a_model_reference_that_means_nothing(ctx, services, tmp_path):
    row = services.ledger.start("h", "c")
    assert "has trained nothing" in refusal(resolve_model, ctx(), row.id)
    assert "did you mean 'exp-1'" in refusal(resolve_model, ctx(), "exp1")
    (services.files.workspace / "folder").mkdir()
    assert "no config.json" in refusal(resolve_model, ctx(), "folder")
    assert "outside" in refusal(resolve_model, ctx(), "/etc")
    assert resolve_model(ctx(), "someone/model") == tmp_path / "hub-model"
    assert resolve_model(ctx(), "someone/model@main") == tmp_path / "hub-model"
