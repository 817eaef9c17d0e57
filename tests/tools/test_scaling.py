"""best_of_n: what comes back adds up, what it costs, what it refuses, and how a vote is kept and frozen."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.context import ToolContext
from ml_intern.errors import Interrupted, ToolError
from ml_intern.evals.store import Evals
from ml_intern.hub.claims import unresolved
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.jobs.record import demand_same
from ml_intern.ledger import Ledger
from ml_intern.models import whose_weights
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in, to_json
from ml_intern.tools import evaluation, experiments, scaling
from ml_intern.workspace.files import Files

WEAK = {"skill": 0.45, "spread": 6}
"""Right in under half of its answers, and wrong in many ways: a vote is far better than one answer."""


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    ledger, settings = Ledger(tmp_path / "ledger.sqlite"), Settings()
    hidden: Any = AnsweringJobs(tmp_path / "evals" / "jobs")
    evals = Evals(tmp_path / "evals", hidden, ledger, settings)
    rows = [
        {"prompt": f"{i}+{i * 7}=", "answer": str(i * 8), "split": "dev" if i % 2 else "test"}
        for i in range(400)
    ]
    evals.register("sums", rows, ["exact_match", "numeric_match"])
    (tmp_path / "work").mkdir()
    services = SimpleNamespace(
        ledger=ledger,
        evals=evals,
        jobs=Jobs(tmp_path / "jobs", None, settings, lambda event: None),
        files=Files(tmp_path / "work", tmp_path / "work"),
        settings=settings,
        emit=lambda event: None,
        spent=None,
        left=dict,
    )
    return ToolContext(services=services, call="call-1", key="key-1")  # type: ignore[arg-type]


def made(ctx: ToolContext, name: str, **told: Any) -> str:
    """A model in the workspace."""
    told.setdefault("architectures", ["LlamaForCausalLM"])
    make_model(ctx.files.workspace / name, told.pop("skill"), told.pop("seed", 0), **told)
    return name


def judge(ctx: ToolContext, name: str = "judge", skill: float = 1.0, **more: Any) -> str:
    """A reward model in the workspace."""
    shape = {"architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    return made(ctx, name, **{"skill": skill, **shape, **more})


def trained(ctx: ToolContext, name: str, **told: Any) -> str:
    """An experiment whose job has made a model."""
    e = ctx.ledger.start("it helps", name)
    source = make_model(ctx.jobs.folder.parent / "made" / name, told.pop("skill"), 0, **told)
    code = f"import shutil\nshutil.copytree({str(source)!r}, 'model')\n"
    spec = JobSpec(name=name, method="script", config={"code": code}, experiment=e.id)
    [status] = ctx.jobs.wait([ctx.jobs.submit(spec).id], timeout_s=60)
    ctx.ledger.attach(e.id, job=status.id)
    return e.id


def asked(ctx: ToolContext) -> list[JobSpec]:
    jobs: Any = ctx.evals.jobs
    return list(jobs.specs)


def test_a_vote_of_many_is_better_than_one_answer(ctx: ToolContext) -> None:
    weak, tiny = made(ctx, "weak", **WEAK), judge(ctx)
    scores = scaling.best_of_n(ctx, weak, "sums", n=8, reward_model=tiny)
    assert scores.voting and scores.inference
    methods = scores.voting.methods
    assert list(methods) == ["greedy", "one_sample", "majority", "best", "weighted", "any_right"]
    assert methods["one_sample"].value == pytest.approx(0.45, abs=0.05)
    assert methods["greedy"].value < methods["majority"].value - 0.2
    # This judge is always right: the best is then the ceiling.
    assert methods["best"].value == methods["any_right"].value > methods["majority"].value
    assert scores.metrics == {"exact_match": methods["weighted"]}
    assert scores.inference.weighting == "weighted"
    assert all(m.low <= m.value <= m.high and m.n == 200 for m in methods.values())
    better = {(c.method, c.against) for c in scores.voting.comparisons if c.verdict == "better"}
    assert better >= {("majority", "greedy"), ("weighted", "greedy"), ("best", "majority")}
    assert all(c.p_corrected >= c.p for c in scores.voting.comparisons)
    curve = scores.voting.curve
    assert [point.n for point in curve] == [1, 2, 4, 8]
    assert curve[0].majority == pytest.approx(methods["one_sample"].value)
    assert (curve[-1].majority, curve[-1].best) == (methods["majority"].value, methods["best"].value)
    assert curve[-1].any_right == pytest.approx(methods["any_right"].value)
    assert scores.voting.rewards["accuracy"] == 1
    assert "weighted is better than greedy" in scores.voting.says


def test_without_a_reward_model_it_is_the_majority(ctx: ToolContext) -> None:
    scores = scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "sums", n=4)
    assert scores.voting and scores.inference
    assert list(scores.voting.methods) == ["greedy", "one_sample", "majority", "any_right"]
    assert (scores.inference.weighting, scores.voting.rewards) == ("majority", {})
    assert [spec.method for spec in asked(ctx)] == ["generate", "generate"]


def test_a_judge_that_knows_nothing_is_no_better_than_one_sample(ctx: ToolContext) -> None:
    blind = judge(ctx, skill=0.0)
    ctx.evals.jobs._reward = lambda row, config, draw: {"reward": draw.gauss(0, 1), "cut": False}  # type: ignore[attr-defined]
    scores = scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "sums", n=8, reward_model=blind)
    assert scores.voting
    assert scores.voting.rewards["accuracy"] == pytest.approx(0.5, abs=0.06)
    assert scores.voting.methods["best"].value < scores.voting.methods["majority"].value - 0.1
    worse = next(c for c in scores.voting.comparisons if (c.method, c.against) == ("best", "majority"))
    assert worse.verdict == "worse"


def test_the_jobs_see_no_target_and_the_brain_no_item(ctx: ToolContext) -> None:
    rows = [{"prompt": f"{i}+0=", "answer": "4711", "split": "dev"} for i in range(20)]
    ctx.evals.register("secret", rows, ["exact_match"])
    scores = scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "secret", n=3, reward_model=judge(ctx))
    jobs: Any = ctx.evals.jobs
    assert len(jobs.read) == 3
    assert "4711" not in "".join(jobs.read) + "".join(s.model_dump_json() for s in jobs.specs)
    shown = str(to_json(scores))
    assert "+0=" not in shown and "numerator" not in shown


def test_one_setting_costs_one_query_and_the_same_again_none(ctx: ToolContext) -> None:
    weak, tiny = made(ctx, "weak", **WEAK), judge(ctx)
    first = scaling.best_of_n(ctx, weak, "sums", n=4, reward_model=tiny)
    assert (ctx.evals.get("sums").queries_used, len(asked(ctx))) == (2, 3)  # the greedy score is one
    again = scaling.best_of_n(ctx, weak, "sums", n=4, reward_model=tiny)
    assert (again.voting, again.queries_left) == (first.voting, 198)
    assert (ctx.evals.get("sums").queries_used, len(asked(ctx))) == (2, 3)
    # Another choice among the same samples is another variant, for which no job runs.
    scaling.best_of_n(ctx, weak, "sums", n=4, reward_model=tiny, weighting="best")
    assert (ctx.evals.get("sums").queries_used, len(asked(ctx))) == (3, 3)
    scaling.best_of_n(ctx, weak, "sums", n=4, reward_model=tiny, temperature=1.0)
    assert (ctx.evals.get("sums").queries_used, len(asked(ctx))) == (4, 5)


def test_its_numbers_may_be_stated(ctx: ToolContext) -> None:
    scores = scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "sums", n=4, reward_model=judge(ctx))
    assert scores.voting
    point, change = scores.voting.curve[1], scores.voting.comparisons[1]
    text = f"{scores.voting.says} With {point.n} samples {point.weighted:.4f}, {change.low:.4f}."
    assert not unresolved(text, ctx.ledger, [95.0, 0.95])
    assert unresolved("It was right in 0.98765.", ctx.ledger, [])


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"n": 65}, "more than the 64 samples"),
        ({"weighting": "best"}, "needs a reward_model"),
        ({"reward_model": "weak"}, "no reward model but LlamaForCausalLM"),
        ({"reward_model": "two"}, "has 2 outputs"),
        ({"reward_model": "nobody"}, "There is no model 'nobody'"),
        ({"model": "judge"}, "is a reward model: it gives scores, no text"),
        ({"eval": "texts"}, "has no answers to choose among: it scores bits_per_byte"),
        ({"reward_model": "sick"}, "gives 600 of 600 answers no finite reward"),
        ({"experiment": "exp-1"}, "exp-1 is measured by its greedy answers"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_is_said_in_one_line(ctx: ToolContext, told: dict[str, Any], words: str) -> None:
    made(ctx, "weak", **WEAK)
    judge(ctx)
    judge(ctx, "two", id2label={"0": "bad", "1": "good"})
    judge(ctx, "sick", diverged=True)
    ctx.evals.register("texts", [{"text": f"line {i}", "split": "dev"} for i in range(20)], ["bits_per_byte"])
    row = ctx.ledger.start("h", "c")
    ctx.evals.evaluate(make_model(ctx.files.workspace / "other", 0.5, 9), "sums", experiment=row.id)
    before = len(asked(ctx))
    with pytest.raises(ToolError, match=words) as error:
        scaling.best_of_n(ctx, **{"model": "weak", "eval": "sums", "n": 3, **told})
    assert "\n" not in str(error.value)
    assert len(asked(ctx)) == before or "finite" in words


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": 1}, {"n": 4, "temperature": 0}, {"weighting": "mean"}])
def test_arguments_that_mean_nothing(wrong: dict[str, Any]) -> None:
    [spec] = specs_in(scaling)
    with pytest.raises(ToolError, match=next(k for k in wrong if k != "n" or len(wrong) == 1)):
        spec.validate({"model": "m", "eval": "e", **wrong})


def test_what_it_is_held_to_cost(ctx: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of both jobs on a GPU, or what is left of them; a frozen vote is drawn once more."""
    [spec] = specs_in(scaling)
    asked = spec.validate({"model": "m", "eval": "e"})
    judged = spec.validate({"model": "m", "eval": "e", "reward_model": "r"})
    assert spec.price and spec.price(ctx, judged).gpu_hours == 0
    monkeypatch.setattr(scaling, "gpu_name", lambda: "a GPU")
    monkeypatch.setattr(experiments, "gpu_name", lambda: "a GPU")
    assert [spec.price(ctx, told).gpu_hours for told in (asked, judged)] == [3, 4]
    row = ctx.ledger.start("h", "c").id
    [freeze] = [s for s in specs_in(experiments) if s.name == "freeze_experiment"]
    wanted = freeze.validate({"experiment": row})
    assert freeze.price and freeze.price(ctx, wanted).gpu_hours == 1
    scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "sums", n=2, experiment=row)
    assert freeze.price(ctx, wanted).gpu_hours == 4
    ctx.services.left = lambda: {"gpu_hours": 0.5}
    assert spec.price(ctx, judged).gpu_hours == freeze.price(ctx, wanted).gpu_hours == 0.5


def test_a_vote_is_kept_frozen_and_scored_on_test_as_a_vote(ctx: ToolContext) -> None:
    base, tiny = trained(ctx, "weak", **WEAK), judge(ctx, skill=0.6)
    evaluation.evaluate(ctx, model=base, eval="sums")
    row = ctx.ledger.start("many answers are better", "best of 8, weighted", base).id
    scores = scaling.best_of_n(ctx, base, "sums", n=8, reward_model=tiny, experiment=row)
    assert ctx.ledger.get(row).dev["exact_match"] == scores.value
    assert ctx.ledger.get(row).model == ctx.ledger.get(base).model
    found = evaluation.compare_experiments(ctx, base, row)
    assert found.verdict == "better"
    assert found.variants == 3  # majority and best were looked at as well
    assert "Both answer with the same weights" in found.says and "seed" not in found.says
    assert experiments.finish_experiment(ctx, row, "kept").verdict == "kept"
    [told] = [e.standing for e in experiments.list_experiments(ctx) if e.id == row]
    assert f"answers with the weights of {base} by 8 samples" in told[0]
    assert told[1].startswith(f"better against {base}")
    assert (best := experiments.best_experiment(ctx)) and best.id == row
    frozen = experiments.freeze_experiment(ctx, row)
    assert frozen.test["exact_match"].value > 0.9 > ctx.ledger.get(base).dev["exact_match"].value
    [test] = frozen.scores
    assert (test.voting, test.inference) == (None, scores.inference)
    drawn = [s for s in asked(ctx) if s.config["tasks"][0].get("samples") == 8]
    assert len(drawn) == 2 and drawn[0].config["tasks"][0]["seed"] != drawn[1].config["tasks"][0]["seed"]
    assert experiments.freeze_experiment(ctx, row).test == frozen.test
    with pytest.raises(ToolError, match=f"opened for {row}"):
        experiments.freeze_experiment(ctx, base)


def test_a_frozen_vote_is_not_another_one(ctx: ToolContext) -> None:
    base, tiny = trained(ctx, "weak", **WEAK), judge(ctx)
    row = ctx.ledger.start("h", "best of 4", base).id
    scaling.best_of_n(ctx, base, "sums", n=4, reward_model=tiny, experiment=row)
    with pytest.raises(ToolError, match=r"4 samples at temperature 0\.8, vote weighted by reward of judge"):
        scaling.best_of_n(ctx, base, "sums", n=8, reward_model=tiny, experiment=row)
    with pytest.raises(ToolError, match="a greedy score is none of its own"):
        evaluation.evaluate(ctx, model=row, eval="sums")
    with pytest.raises(ToolError, match="already"):
        scaling.best_of_n(ctx, row, "sums", n=4)
    (ctx.files.workspace / "judge" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ToolError, match="not the reward model that exp-2 was measured with"):
        experiments.freeze_experiment(ctx, row)
    assert ctx.ledger.frozen() is None


def test_items_in_groups_are_compared_by_groups(ctx: ToolContext) -> None:
    rows = [
        {"prompt": f"{i}+{i}=", "answer": str(2 * i), "split": "dev", "group": f"g{i // 4}"}
        for i in range(200)
    ]
    ctx.evals.register("grouped", rows, ["exact_match"])
    scores = scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "grouped", n=4, reward_model=judge(ctx))
    assert scores.voting
    assert {c.test for c in scores.voting.comparisons} == {"paired bootstrap-t of groups"}
    assert scores.voting.methods["majority"].n == 200


def test_another_model_does_not_come_in_as_a_way_of_answering(ctx: ToolContext) -> None:
    base = trained(ctx, "weak", **WEAK)
    evaluation.evaluate(ctx, model=base, eval="sums")
    row = ctx.ledger.start("h", "majority of 4", base).id
    with pytest.raises(ToolError, match="'strong' has not the weights of exp-1, the parent of exp-2"):
        scaling.best_of_n(ctx, made(ctx, "strong", skill=0.9), "sums", n=4, experiment=row)
    first = scaling.best_of_n(ctx, base, "sums", n=4, experiment=row)
    # Another way with the same weights may have a vote for its parent.
    more = ctx.ledger.start("h", "majority of 8", row).id
    assert scaling.best_of_n(ctx, base, "sums", n=8, experiment=more).weights == first.weights
    assert evaluation.compare_experiments(ctx, row, more).seeds_a == 1


def test_a_majority_needs_no_judge_on_test(ctx: ToolContext) -> None:
    base, tiny = trained(ctx, "weak", **WEAK), judge(ctx)
    row = ctx.ledger.start("h", "majority of 4", base).id
    scaling.best_of_n(ctx, base, "sums", n=4, reward_model=tiny, weighting="majority", experiment=row)
    shutil.rmtree(ctx.files.workspace / tiny)
    assert experiments.freeze_experiment(ctx, row).test["exact_match"].n == 200
    assert [spec.method for spec in asked(ctx)] == ["generate", "generate", "score", "generate"]


def test_the_greedy_score_is_the_models_own(ctx: ToolContext) -> None:
    base = trained(ctx, "weak", **WEAK)
    scores = scaling.best_of_n(ctx, base, "sums", n=4)
    assert scores.voting
    assert ctx.ledger.get(base).dev["exact_match"] == scores.voting.methods["greedy"]
    assert ctx.ledger.get(base).inference is None
    asked_before = len(asked(ctx))
    assert evaluation.evaluate(ctx, model=base, eval="sums").value == scores.voting.methods["greedy"]
    assert len(asked(ctx)) == asked_before


def test_a_vote_is_held_against_the_very_weights_that_vote(ctx: ToolContext) -> None:
    """Three seeds of one configuration: the luck of the others has nothing to do with this one's votes."""
    rows = [ctx.ledger.start("h", "base", seed=seed) for seed in range(3)]
    for seed, row in enumerate(rows):
        ctx.ledger.attach(row.id, config={"method": "sft", "learning_rate": 1e-3}, seed=seed)
        name = made(ctx, f"m{seed}", seed=seed, **{**WEAK, "skill": 0.2 + 0.25 * seed})
        ctx.evals.evaluate(ctx.files.workspace / name, "sums", experiment=row.id)
    vote = ctx.ledger.start("h", "majority of 8", rows[1].id).id
    scores = scaling.best_of_n(ctx, "m1", "sums", n=8, experiment=vote)
    assert scores.voting
    for parent in (rows[0].id, rows[1].id):
        found = evaluation.compare_experiments(ctx, parent, vote)
        assert (found.seeds_a, found.seeds_b, found.method) == (1, 1, "McNemar, mid-p")
        assert found.value_a == scores.voting.methods["greedy"].value
        assert found.verdict == "better" and found.confirmed is None
        assert "confirm_experiment" not in found.says


def test_variants_that_were_only_looked_at_count(ctx: ToolContext) -> None:
    """Six votes without a row, then one of them with a row: that is six looks, not one."""
    base = trained(ctx, "weak", skill=0.5, spread=1)
    for k in range(6):
        scaling.best_of_n(ctx, base, "sums", n=2, temperature=0.5 + 0.1 * k)
    row = ctx.ledger.start("h", "majority of 2", base).id
    scaling.best_of_n(ctx, base, "sums", n=2, temperature=0.5, experiment=row)
    found = evaluation.compare_experiments(ctx, base, row)
    assert found.variants == 6
    assert found.p_corrected is not None and found.p_corrected >= found.p
    assert "one of 6 held against" in found.says


def test_the_row_names_the_model_as_it_was_called_last(ctx: ToolContext) -> None:
    base = trained(ctx, "weak", **WEAK)
    shutil.copytree(ctx.jobs.model_path("weak-1"), ctx.files.workspace / "copy")
    scaling.best_of_n(ctx, "copy", "sums", n=4)
    row = ctx.ledger.start("h", "majority of 4", base).id
    assert scaling.best_of_n(ctx, base, "sums", n=4, experiment=row).queries_left == 198
    inference = ctx.ledger.get(row).inference
    assert inference and inference.model == base
    assert whose_weights(ctx, row) == base
    with pytest.raises(ToolError, match="it trains nothing"):
        demand_same(ctx.ledger, JobSpec(name="x", method="sft", experiment=row))


def test_an_interrupted_call_goes_on_with_its_jobs(ctx: ToolContext) -> None:
    jobs: Any = ctx.evals.jobs
    wait, weak = jobs.wait, made(ctx, "weak", **WEAK)
    ctx.evals.evaluate(ctx.files.workspace / weak, "sums")
    jobs.wait = lambda ids, cancelled, on_progress: [
        jobs._states[i].model_copy(update={"state": "running"}) for i in ids
    ]
    with pytest.raises(Interrupted):
        scaling.best_of_n(ctx, weak, "sums", n=4)
    assert ctx.evals.get("sums").queries_used == 1
    jobs.wait = wait
    assert scaling.best_of_n(ctx, weak, "sums", n=4).voting
    assert (ctx.evals.get("sums").queries_used, len(asked(ctx))) == (2, 2)


@pytest.mark.slow
@pytest.mark.thorough
def test_answers_by_mathematics_count_together_however_they_are_written(ctx: ToolContext) -> None:
    jobs: Any = ctx.evals.jobs
    forms = itertools.cycle(
        [r"so \boxed{\frac{1}{2}}", "the answer is 0.5.", "1/3", "1/3", r"\boxed{\dfrac12}"]
    )
    jobs._complete = lambda prompt, config, draw: {"text": next(forms), "tokens": 2, "finished": True}
    rows = [{"prompt": f"{i}", "answer": r"$\frac12$", "split": "dev"} for i in range(20)]
    ctx.evals.register("halves", rows, ["math_match"])
    scores = scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "halves", n=5)
    assert scores.voting
    found = {name: measured.value for name, measured in scores.voting.methods.items()}
    assert found == pytest.approx({"greedy": 0.6, "one_sample": 0.6, "majority": 1.0, "any_right": 1.0})


def test_answers_that_cannot_be_found_are_told(ctx: ToolContext) -> None:
    jobs: Any = ctx.evals.jobs
    jobs._complete = lambda prompt, config, draw: {"text": "no idea", "tokens": 2, "finished": False}
    rows = [{"prompt": f"{i}+0=", "answer": str(i), "split": "dev"} for i in range(20)]
    ctx.evals.register("silent", rows, ["numeric_match"])
    scores = scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "silent", n=3)
    assert scores.voting and scores.voting.share_without_answer == 1
    told = " ".join(scores.warnings)
    assert "100% of the samples have no answer" in told and "cut off at the limit" in told


def test_other_samples_than_were_asked_for_are_refused(ctx: ToolContext) -> None:
    jobs: Any = ctx.evals.jobs
    answer = jobs._answer

    def forgetful(task: dict[str, Any], config: dict[str, Any], output: Path) -> None:
        answer(task, config, output)
        if task.get("samples") == 3:
            file = output / f"{task['name']}.jsonl"
            file.write_text("\n".join(file.read_text().splitlines()[1:]) + "\n")

    jobs._answer = forgetful
    with pytest.raises(ToolError, match="prompt 0 has not its 3 samples"):
        scaling.best_of_n(ctx, made(ctx, "weak", **WEAK), "sums", n=3)


def test_the_metric_reward_is_the_mean_of_what_the_evals_own_judge_gives(ctx: ToolContext) -> None:
    rows = [{"prompt": f"{i}+{i}=", "split": "dev"} for i in range(200)]
    where = str(ctx.files.workspace / judge(ctx))
    with pytest.raises(ToolError, match="Nothing says which reward model"):
        ctx.evals.register("judged", rows, ["reward"])
    with pytest.raises(ToolError, match="no reward model"):
        ctx.evals.register(
            "judged", rows, ["reward"], reward_model=str(ctx.files.workspace / made(ctx, "m", **WEAK))
        )
    info = ctx.evals.register("judged", rows, ["reward"], reward_model=where)
    scores = evaluation.evaluate(ctx, model=made(ctx, "half", skill=0.5), eval="judged")
    # 2 for a right answer, -2 for a wrong one.
    assert scores.value.value == pytest.approx(0, abs=0.5)
    assert -2 < scores.value.low < scores.value.value < scores.value.high < 2
    assert scores.reward_model == info.reward_sha256
    read = [json.loads(line) for line in ctx.evals.jobs.read[-1].splitlines()]  # type: ignore[attr-defined]
    assert set(read[0]) == {"prompt", "completion"}
    (Path(where) / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ToolError, match="not the reward model that 'judged' was registered with"):
        evaluation.evaluate(ctx, model=made(ctx, "good", skill=0.9, seed=3), eval="judged")


def test_models_of_the_workspace_vote_from_copies_that_no_cell_reaches(ctx: ToolContext) -> None:
    weak, tiny = made(ctx, "weak", **WEAK), judge(ctx)
    scaling.best_of_n(ctx, weak, "sums", n=2, reward_model=tiny)
    read = [Path(spec.config["model"]) for spec in asked(ctx)]
    assert read and not any(ctx.files.workspace in path.parents for path in read)
    assert not list((ctx.evals.folder / "models").iterdir())
