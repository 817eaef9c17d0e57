"""Seeds belong to the host: replications, confirmation, and what else changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.hub.claims import unresolved
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.jobs.record import demand_same
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in
from ml_intern.tools import evaluation, experiments

RATE = "learning_rate"


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    ledger, settings = Ledger(tmp_path / "ledger.sqlite"), Settings(seed=7)
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
        settings=settings,
        emit=lambda event: None,
        spent=None,
        folder=tmp_path,
    )
    return ToolContext(services=services, call="call-1", key="key-1")  # type: ignore[arg-type]


def measured(ctx: ToolContext, id: str, skill: float, config: dict[str, Any], seed: int | None = None) -> str:
    """Say what trained an experiment, and score a model that is so good."""
    ctx.ledger.attach(
        id, config={"method": "sft", **config}, data={"train": {"id": "rows@1", "sha256": "ab"}}, seed=seed
    )
    model = make_model(ctx.ledger.path.parent / "models" / id, skill, int(id[4:]))
    ctx.evals.evaluate(model, "sums", experiment=id)
    return id


def tried(
    ctx: ToolContext, skill: float, rate: float, parent: str | None = None, seed: int = 0, **more: Any
) -> str:
    row = ctx.ledger.start("it helps", f"learning rate {rate}", parent, seed)
    return measured(ctx, row.id, skill, {RATE: rate, **more})


def test_the_seed_is_the_hosts_where_the_agent_asks_for_none(ctx: ToolContext) -> None:
    ours = experiments.start_experiment(ctx, hypothesis="h", change="c")
    ctx.key = "key-2"
    theirs = experiments.start_experiment(ctx, hypothesis="h", change="c", seed=3)
    assert [(e.seed, e.seed_by) for e in (ours, theirs)] == [(7, "host"), (3, "agent")]


def test_another_seed_alone_is_never_a_gain(ctx: ToolContext) -> None:
    base = tried(ctx, 0.5, 1e-3)
    lucky = tried(ctx, 0.8, 1e-3, base, seed=1)
    found = evaluation.compare_experiments(ctx, base, lucky)
    assert found.verdict == "inconclusive"
    assert found.p < 0.001
    assert "the luck of the seed, not a gain" in found.says
    with pytest.raises(ToolError, match=r"cannot be kept: .*one configuration on the seeds 1 and 0"):
        experiments.finish_experiment(ctx, lucky, "kept")
    with pytest.raises(ToolError, match="no gain to confirm"):
        experiments.confirm_experiment(ctx, lucky)


def test_what_became_of_a_run_makes_no_other_configuration(ctx: ToolContext) -> None:
    base = tried(ctx, 0.5, 1e-3)
    again = tried(ctx, 0.8, 1e-3, base, seed=1, stopped_early="loss plateau at step 90")
    assert "luck of the seed" in evaluation.compare_experiments(ctx, base, again).says


def test_one_seed_each_is_said_to_be_one_seed_each(ctx: ToolContext) -> None:
    base = tried(ctx, 0.5, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base)
    found = evaluation.compare_experiments(ctx, base, child)
    assert (found.verdict, found.confirmed, found.seeds_a, found.seeds_b) == ("better", None, 1, 1)
    assert "cannot separate a change from the luck of the seed" in found.says
    assert "confirm_experiment('exp-2', against='exp-1')" in found.says


def test_all_seeds_of_both_configurations_count(ctx: ToolContext) -> None:
    base = tried(ctx, 0.5, 1e-3)
    child = tried(ctx, 0.9, 3e-3, base)
    # The child's other seeds are no better than the parent: the first one was luck.
    tried(ctx, 0.45, 3e-3, base, seed=1)
    tried(ctx, 0.5, 1e-3, seed=1)
    found = evaluation.compare_experiments(ctx, base, child)
    assert (found.verdict, found.seeds_a, found.seeds_b) == ("inconclusive", 2, 2)
    assert found.value_b == pytest.approx((0.9 + 0.45) / 2, abs=0.1)
    assert "seeds" in found.method
    # Whichever of the runs is named, the question is the same.
    assert evaluation.compare_experiments(ctx, "exp-4", "exp-3").p == pytest.approx(found.p)


def confirmed(ctx: ToolContext, winner: str, skills: dict[str, list[float]]) -> list[str]:
    """Open the runs that confirm a winner and measure them: so good for each of what they run again."""
    runs = experiments.confirm_experiment(ctx, winner).runs
    for run in runs:
        skill = skills[run.replicates].pop(0)
        measured(ctx, run.experiment, skill, {RATE: ctx.ledger.get(run.replicates).config[RATE]})
    return [run.experiment for run in runs]


def test_a_gain_that_holds_on_the_hosts_seeds_is_confirmed(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base)
    experiments.finish_experiment(ctx, child, "kept")
    rows = confirmed(ctx, child, {base: [0.4, 0.42], child: [0.82, 0.79]})
    seeds = [ctx.ledger.get(row).seed for row in rows]
    assert len(rows) == 4
    assert seeds[:2] == seeds[2:]
    assert len({0, 7, *seeds}) == 4
    found = evaluation.compare_experiments(ctx, base, child)
    assert (found.verdict, found.confirmed, found.seeds_a, found.seeds_b) == ("better", True, 3, 3)
    assert "It held on 2 new seeds" in found.says
    for row in rows:
        ctx.ledger.finish(row, "kept")
    # The run of the best seed is not the best experiment; its configuration is.
    best = experiments.best_experiment(ctx)
    assert best is not None
    assert best.id == child
    assert experiments.list_experiments(ctx)[3].standing[0].startswith("runs exp-2 again")


def test_a_gain_that_was_luck_is_not_confirmed(ctx: ToolContext) -> None:
    base = tried(ctx, 0.5, 1e-3)
    experiments.finish_experiment(ctx, base, "kept")
    child = tried(ctx, 0.8, 3e-3, base)
    experiments.finish_experiment(ctx, child, "kept")
    confirmed(ctx, child, {base: [0.5, 0.52], child: [0.5, 0.48]})
    found = evaluation.compare_experiments(ctx, base, child)
    assert (found.verdict, found.confirmed) == ("inconclusive", False)
    assert "It did not hold on 2 new seeds" in found.says
    best = experiments.best_experiment(ctx)
    assert best is not None
    assert best.id == base
    with pytest.raises(ToolError, match="cannot be kept"):
        experiments.finish_experiment(ctx, child, "kept", "but I like it")


def test_the_same_call_opens_the_same_runs(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base)
    first = experiments.confirm_experiment(ctx, child, seeds=3)
    assert experiments.confirm_experiment(ctx, child, seeds=3) == first
    [spec] = [s for s in specs_in(experiments) if s.name == "confirm_experiment"]
    assert spec.reconcile is not None
    assert spec.reconcile(ctx, "key-1") == first
    assert spec.reconcile(ctx, "never asked") is None
    assert len(ctx.ledger.list()) == 8
    # A second winner finds the parent confirmed already.
    other = tried(ctx, 0.7, 5e-3, base)
    ctx.key = "key-2"
    assert {run.replicates for run in experiments.confirm_experiment(ctx, other, seeds=3).runs} == {other}


def test_every_number_of_a_finding_may_be_told(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3, per_device_train_batch_size=8)
    child = tried(ctx, 0.8, 3e-3, base)
    other = tried(ctx, 0.5, 4e-3, base)
    lucky = tried(ctx, 0.8, 3e-3, base, seed=9, per_device_train_batch_size=8)
    confirmed(ctx, child, {base: [0.4, 0.42], child: [0.82, 0.79]})
    for pair in ((base, child), (base, other), (base, lucky), (child, lucky), (base, "exp-7")):
        says = evaluation.compare_experiments(ctx, *pair).says
        assert unresolved(says, ctx.ledger) == [], says


def test_a_model_as_it_comes_has_no_seeds(ctx: ToolContext) -> None:
    base = ctx.ledger.start("it knows some", "the model as it comes").id
    ctx.evals.evaluate(make_model(ctx.ledger.path.parent / "base", 0.2), "sums", experiment=base)
    child = tried(ctx, 0.8, 3e-3, base)
    assert {run.replicates for run in experiments.confirm_experiment(ctx, child).runs} == {child}
    with pytest.raises(ToolError, match="exp-1 was not trained"):
        experiments.confirm_experiment(ctx, base, against=child)


def test_a_confirmation_is_held_to_the_configuration_and_the_hosts_seed(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base)
    run = experiments.confirm_experiment(ctx, child, seeds=1).runs[0]
    config = {
        "model": None,
        "asked": {"lr": 1.0},
        "dataset": "rows@1",
        "rows": 9,
        "data_sha256": "ab",
        "seed": 0,
    }
    spec = JobSpec(name="x", method="sft", config=config, experiment=run.experiment)
    with pytest.raises(ToolError, match=r"differs from it \(learning_rate: 0.003 to 1"):
        demand_same(ctx.ledger, spec)
    with pytest.raises(ToolError, match="is no job of it"):
        evaluation.evaluate(ctx, model="models/exp-2", eval="sums", experiment=run.experiment)
    # What was measured with something else is no run of that configuration.
    measured(ctx, run.experiment, 0.8, {RATE: 1.0, "batch_size": 2})
    assert evaluation.compare_experiments(ctx, base, child).seeds_b == 2


@pytest.mark.parametrize(
    ("change", "config", "also"),
    [
        ("learning rate 3e-3", {RATE: 3e-3, "per_device_train_batch_size": 8}, []),
        (
            "learning rate 3e-3",
            {RATE: 3e-3, "per_device_train_batch_size": 4},
            ["per_device_train_batch_size: 8 to 4"],
        ),
        (
            "half the batch, twice the steps",
            {RATE: 1e-3, "per_device_train_batch_size": 4, "max_steps": 200},
            [],
        ),
        ("better", {RATE: 3e-3, "per_device_train_batch_size": 8}, []),
        (
            "better",
            {RATE: 3e-3, "per_device_train_batch_size": 8, "max_steps": 200},
            ["learning_rate: 0.001 to 0.003", "max_steps: its default to 200"],
        ),
        (
            "another start",
            {
                RATE: 1e-3,
                "per_device_train_batch_size": 8,
                "model": "/home/me/sessions/20261121-135313-9e1f/jobs/stage-one-1/output/model",
                "tokenizer": {"config": {"model_type": "llama", "hidden_size": 32}},
            },
            ["model: its default to stage-one-1", "tokenizer: its default to a new llama"],
        ),
    ],
    ids=[
        "as said",
        "a second change",
        "two that are said",
        "one that is not named",
        "nothing is named",
        "no path of this machine",
    ],
)
def test_what_else_changed_is_said(
    ctx: ToolContext, change: str, config: dict[str, Any], also: list[str]
) -> None:
    base = tried(ctx, 0.4, 1e-3, per_device_train_batch_size=8)
    child = measured(ctx, ctx.ledger.start("h", change, base).id, 0.8, config)
    assert ctx.ledger.get(child).also == also
    says = evaluation.compare_experiments(ctx, base, child).says
    assert ("changed also" in says) == bool(also)
    assert all(each in says for each in also)


def test_another_seed_beside_a_change_is_a_second_change(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base, seed=4)
    assert ctx.ledger.get(child).also == ["seed: 0 to 4"]


def test_one_small_p_among_many_variants_is_no_finding(ctx: ToolContext) -> None:
    base = tried(ctx, 0.5, 1e-3)
    lucky = tried(ctx, 0.62, 3e-3, base)
    alone = evaluation.compare_experiments(ctx, base, lucky)
    assert (alone.verdict, alone.variants) == ("better", 1)
    assert 0.0017 < alone.p < 0.04
    for k in range(30):
        tried(ctx, 0.5, 1 + k, base)
    found = evaluation.compare_experiments(ctx, base, lucky)
    assert (found.verdict, found.variants, found.p) == ("inconclusive", 31, alone.p)
    assert found.p_corrected == pytest.approx(31 * found.p)
    assert "best of 31 equal ones would look better by about 0.1" in found.says


def test_the_list_corrects_what_was_compared_before(ctx: ToolContext) -> None:
    base = tried(ctx, 0.5, 1e-3)
    lucky = tried(ctx, 0.62, 3e-3, base)
    p = evaluation.compare_experiments(ctx, base, lucky).p
    for k in range(30):
        evaluation.compare_experiments(ctx, base, tried(ctx, 0.5, 1 + k, base))
    told = experiments.list_experiments(ctx)[1].standing
    assert f"inconclusive against {base}" in told[-1]
    assert f"({31 * p:.2g} among 31, Holm)" in told[-1]


def test_what_an_eval_can_see_is_told_before_it_is_trusted(ctx: ToolContext) -> None:
    rows = [{"prompt": f"{i}+{i}=", "answer": str(2 * i), "split": "dev"} for i in range(20)]
    told = ctx.evals.register("few", rows, ["exact_match"]).detectable["dev"]
    assert told.floor == pytest.approx(0.25)
    assert told.at_best == pytest.approx(0.31, abs=0.01)
    assert told.paired == pytest.approx(0.37, abs=0.02)
    assert told.unpaired == pytest.approx(0.40, abs=0.02)
    assert "With 20 items you cannot count on seeing less than 31 points" in told.says
    listed = {info.name: info for info in evaluation.list_evals(ctx)}
    assert listed["few"].detectable["dev"] == told
    assert set(listed["sums"].detectable) == {"dev", "test"}
    row = ctx.ledger.start("h", "c")
    scores = ctx.evals.evaluate(make_model(ctx.ledger.path.parent / "m", 0.9), "few", experiment=row.id)
    assert "you cannot count on seeing less than" in scores.detectable


def test_what_bits_per_byte_can_see_is_known_from_scores(ctx: ToolContext) -> None:
    texts = [{"text": f"held_out_{i} = {i * 3}", "split": "dev"} for i in range(100)]
    told = ctx.evals.register("texts", texts, ["bits_per_byte"]).detectable["dev"]
    assert (told.paired, told.unpaired) == (None, None)
    assert "is known once a model was scored" in told.says
    for k in range(2):
        ctx.evals.evaluate(make_model(ctx.ledger.path.parent / f"m{k}", 0.5, k), "texts")
    [now] = [info.detectable["dev"] for info in evaluation.list_evals(ctx) if info.name == "texts"]
    assert now.paired is not None
    assert now.unpaired is not None
    # Noise of 5.8 % of 4 bits on each side over 100 texts, seen from 2.8 standard errors on.
    assert now.paired == pytest.approx(2.8 * 4 * 0.058 * (2 / 100) ** 0.5, rel=0.3)


def again_on_new_seeds(ctx: ToolContext, winner: str, key: str, skills: dict[str, list[float]]) -> list[str]:
    ctx.key = key
    return confirmed(ctx, winner, skills)


def test_too_few_seeds_are_not_taken_for_a_gain_that_did_not_hold(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base)
    # The seeds of the child differ much: on new ones it is better again, and not clearly.
    rows = confirmed(ctx, child, {base: [0.4, 0.42], child: [0.95, 0.5]})
    found = evaluation.compare_experiments(ctx, base, child)
    assert (found.verdict, found.confirmed, found.confirmation) == ("inconclusive", None, "open")
    assert found.seeds_needed and 3 < found.seeds_needed < 30
    assert "cannot be told yet" in found.says and f"about {found.seeds_needed} seeds of each" in found.says
    assert "did not hold" not in found.says
    assert unresolved(found.says, ctx.ledger) == []
    assert "too few new seeds to tell" in experiments.list_experiments(ctx)[1].standing[-1]
    # As before nobody is to take it for the best on this.
    for row in (base, child):
        ctx.ledger.finish(row, "kept")
    best = experiments.best_experiment(ctx)
    assert best is not None and best.id == base
    # So many seeds do tell, and both sides get them.
    more = again_on_new_seeds(ctx, child, "key-2", {base: [0.41, 0.4], child: [0.9, 0.85]})
    assert len(rows) == len(more) == 4
    more = again_on_new_seeds(ctx, child, "key-3", {base: [0.41, 0.4], child: [0.8, 0.85]})
    found = evaluation.compare_experiments(ctx, base, child)
    assert (found.seeds_a, found.seeds_b, found.verdict, found.confirmed) == (7, 7, "better", True)


def test_a_gain_that_clearly_is_not_what_it_was_did_not_hold(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.9, 3e-3, base)
    # Better on new seeds, too, but by less than these items can tell from nothing.
    confirmed(ctx, child, {base: [0.4, 0.42], child: [0.42, 0.41]})
    found = evaluation.compare_experiments(ctx, base, child)
    assert found.confirmed is False, found.says


def test_the_interval_of_a_share_stays_within_what_shares_can_differ_by(ctx: ToolContext) -> None:
    base = tried(ctx, 0.3, 1e-3)
    child = tried(ctx, 0.9, 3e-3, base)
    confirmed_runs = experiments.confirm_experiment(ctx, child, seeds=1).runs
    for run in confirmed_runs:
        skill = {base: 0.1, child: 0.35}[run.replicates]
        measured(ctx, run.experiment, skill, {RATE: ctx.ledger.get(run.replicates).config[RATE]})
    found = evaluation.compare_experiments(ctx, base, child)
    assert -1 <= found.low < found.difference < found.high <= 1
    assert found.detectable is None or found.detectable <= 1
    assert found.confirmed is None


def test_runs_that_were_opened_are_measured_before_others_are(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base)
    opened = [run.experiment for run in experiments.confirm_experiment(ctx, child, seeds=1).runs]
    says = evaluation.compare_experiments(ctx, base, child).says
    assert f"confirm on new seeds, measure {', '.join(opened)} first" in says
    assert "confirm_experiment(" not in says
    ctx.ledger.finish(opened[0], "crashed")
    assert f"measure {opened[1]} first" in evaluation.compare_experiments(ctx, base, child).says


def test_the_other_side_is_confirmed_with_as_many_seeds(ctx: ToolContext) -> None:
    base = tried(ctx, 0.4, 1e-3)
    child = tried(ctx, 0.8, 3e-3, base)
    for key, experiment, against in (("key-2", child, base), ("key-3", base, child), ("key-4", child, None)):
        ctx.key = key
        runs = experiments.confirm_experiment(ctx, experiment, against).runs
        opened = [run.replicates for run in runs]
        assert sorted(opened) == [base, base, child, child], key
        assert len({run.seed for run in runs}) == 2
