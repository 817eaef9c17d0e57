from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.scorers import SCORERS
from ml_intern.evals.store import Evals
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in, to_json
from ml_intern.tools import evaluation, experiments
from ml_intern.workspace.files import Files


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    ledger, settings = Ledger(tmp_path / "ledger.sqlite"), Settings()
    evals = Evals(tmp_path / "evals", AnsweringJobs(tmp_path / "evals" / "jobs"), ledger, settings)  # type: ignore[arg-type]
    rows = [
        {"prompt": f"{i}+{i * 7}=", "answer": str(i * 8), "split": "dev" if i % 2 else "test"}
        for i in range(400)
    ]
    evals.register("sums", rows, ["exact_match"])
    services = SimpleNamespace(
        ledger=ledger,
        evals=evals,
        jobs=Jobs(tmp_path / "jobs", None, settings, lambda event: None),
        files=Files(tmp_path / "workspace", tmp_path),
        settings=settings,
        emit=lambda event: None,
        spent=None,
    )
    return ToolContext(services=services, call="call-1", key="key-1")  # type: ignore[arg-type]


def trained(ctx: ToolContext, name: str, skill: float, parent: str | None = None, seed: int = 0) -> str:
    """An experiment with a model, made by a real job, and its dev score; the experiment's id."""
    e = ctx.ledger.start("it helps", name, parent, seed)
    made = make_model(ctx.jobs.folder.parent / "made" / f"{name}-{seed}", skill, seed)
    code = f"import shutil\nshutil.copytree({str(made)!r}, 'model')\n"
    spec = JobSpec(name=name, method="script", config={"code": code}, experiment=e.id)
    [status] = ctx.jobs.wait([ctx.jobs.submit(spec).id], timeout_s=60)
    ctx.ledger.attach(e.id, job=status.id)
    evaluation.evaluate(ctx, model=status.id, eval="sums")
    return e.id


def test_what_is_offered() -> None:
    offered = {spec.name: spec.effect for module in (evaluation, experiments) for spec in specs_in(module)}
    assert offered == {
        "list_evals": "read",
        "evaluate": "compute",
        "compare_experiments": "read",
        "start_experiment": "write",
        "confirm_experiment": "write",
        "finish_experiment": "write",
        "list_experiments": "read",
        "best_experiment": "read",
        "freeze_experiment": "compute",
    }


def test_evaluate_finds_the_experiment_from_the_job(ctx: ToolContext) -> None:
    e = trained(ctx, "base", 0.5)
    assert ctx.ledger.get(e).dev["exact_match"].n == 200
    assert evaluation.evaluate(ctx, model=e, eval="sums").experiment == e
    assert evaluation.list_evals(ctx)[0].queries_used == 1
    other = ctx.ledger.start("h", "c").id
    with pytest.raises(ToolError, match="belongs to exp-1"):
        evaluation.evaluate(ctx, model="base-1", eval="sums", experiment=other)


def test_the_help_of_evaluate_says_what_each_scorer_counts() -> None:
    [spec] = [s for s in specs_in(evaluation) if s.name == "evaluate"]
    for name in SCORERS:
        assert f"    {name}: " in spec.doc
    assert "bytes in UTF-8" in spec.doc
    assert "the end token is not counted" in spec.doc
    assert set(spec.arguments.model_fields) == {"model", "eval", "experiment"}


def test_no_tool_shows_an_item(ctx: ToolContext) -> None:
    a = trained(ctx, "base", 0.5)
    b = trained(ctx, "better", 0.8, a, 1)
    shown = to_json(
        [
            evaluation.list_evals(ctx),
            evaluation.evaluate(ctx, model=a, eval="sums"),
            evaluation.compare_experiments(ctx, a, b),
            experiments.list_experiments(ctx),
            experiments.freeze_experiment(ctx, b),
        ]
    )
    assert "133+931=" not in str(shown)
    assert "numerator" not in str(shown)


def test_a_gain_is_kept_and_noise_is_not(ctx: ToolContext) -> None:
    base = trained(ctx, "base", 0.5)
    assert experiments.finish_experiment(ctx, base, "kept").verdict == "kept"
    better = trained(ctx, "better", 0.8, base, 1)
    same = trained(ctx, "same", 0.5, base, 2)
    worse = trained(ctx, "worse", 0.2, base, 3)
    assert experiments.finish_experiment(ctx, better, "kept").verdict == "kept"
    with pytest.raises(ToolError, match=r"exp-3 cannot be kept: .*not clearly apart.*inconclusive"):
        experiments.finish_experiment(ctx, same, "kept")
    with pytest.raises(
        ToolError, match=r"exp-4 cannot be kept: .*worse.*discarded.*exact_match is the metric that"
    ):
        experiments.finish_experiment(ctx, worse, "kept")
    assert ctx.ledger.get(same).verdict == "open"
    assert experiments.finish_experiment(ctx, same, "inconclusive", "as good").notes == "as good"
    found = experiments.best_experiment(ctx)
    assert found is not None
    assert found.id == better


def test_what_was_not_measured_cannot_be_kept(ctx: ToolContext) -> None:
    base = experiments.start_experiment(ctx, hypothesis="h", change="c")
    with pytest.raises(ToolError, match="exp-1 was not measured"):
        experiments.finish_experiment(ctx, base.id, "kept")
    child = trained(ctx, "child", 0.9, base.id)
    with pytest.raises(ToolError, match="exp-1, the parent of exp-2"):
        experiments.finish_experiment(ctx, child, "kept")
    assert experiments.finish_experiment(ctx, base.id, "crashed", "no model").verdict == "crashed"


def test_a_call_that_is_repeated_opens_one_row(ctx: ToolContext) -> None:
    first = experiments.start_experiment(ctx, hypothesis="h", change="c", seed=4)
    assert experiments.start_experiment(ctx, hypothesis="h", change="c", seed=4) == first
    [spec] = [s for s in specs_in(experiments) if s.name == "start_experiment"]
    assert spec.reconcile is not None
    assert spec.reconcile(ctx, "key-1") == first
    assert spec.reconcile(ctx, "never asked") is None


def test_the_test_split_is_scored_for_one_experiment(ctx: ToolContext) -> None:
    base = trained(ctx, "base", 0.5)
    better = trained(ctx, "better", 0.8, base, 1)
    frozen = experiments.freeze_experiment(ctx, better)
    assert frozen.test["exact_match"].n == 200
    assert experiments.freeze_experiment(ctx, better).test == frozen.test
    with pytest.raises(ToolError, match="opened for exp-2; exp-1 cannot"):
        experiments.freeze_experiment(ctx, base)
