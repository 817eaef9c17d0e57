from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings

SECRET = "4711"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


@pytest.fixture
def jobs(tmp_path: Path) -> AnsweringJobs:
    return AnsweringJobs(tmp_path / "evals" / "jobs")


@pytest.fixture
def evals(tmp_path: Path, jobs: AnsweringJobs, ledger: Ledger) -> Evals:
    return Evals(tmp_path / "evals", jobs, ledger, Settings(dev_queries=3))  # type: ignore[arg-type]


def sums(n: int = 200) -> list[dict[str, Any]]:
    rows = [
        {"prompt": f"{i}+{i * 7}=", "answer": str(i * 8), "split": "dev" if i % 2 else "test"}
        for i in range(n)
    ]
    return rows


def texts(n: int = 200) -> list[dict[str, Any]]:
    return [{"text": f"held_out_{i} = {i * 3}", "split": "dev" if i % 2 else "test"} for i in range(n)]


def test_register_get_list(evals: Evals) -> None:
    info = evals.register("sums", sums(), ["exact_match"])
    assert (info.rows, info.primary, info.queries_left) == ({"dev": 100, "test": 100}, "exact_match", 3)
    assert [e.name for e in evals.list()] == ["sums"]
    assert evals.register("sums", sums(), ["exact_match"]).sha256 == info.sha256
    with pytest.raises(ToolError, match="holds other rows"):
        evals.register("sums", sums(30), ["exact_match"])
    with pytest.raises(ToolError, match="did you mean 'sums'"):
        evals.get("sum")


@pytest.mark.parametrize(
    ("rows", "scorers", "told"),
    [
        ([], ["exact_match"], "no rows"),
        ([{"q": "a"}], ["bits_per_byte"], "no column"),
        ([{"text": "a"}], ["exact_match"], "right answer"),
        ([{"text": "a"}, {"text": ""}], ["bits_per_byte"], "Row 2"),
        ([{"prompt": "a", "answer": None}], ["exact_match"], "Row 1"),
        ([{"text": "a"}], ["bits_per_bite"], "did you mean 'bits_per_byte'"),
        ([{"text": "a"}], [], "not among"),
        ([{"text": "a", "split": "train"}], ["bits_per_byte"], "neither dev nor test"),
    ],
)
def test_wrong_rows_are_told_in_one_line(evals: Evals, rows: Any, scorers: Any, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        evals.register("x", rows, scorers)
    assert evals.list() == []


def test_without_a_split_whole_groups_go_to_one_side(evals: Evals) -> None:
    rows = [{"text": f"line {i}", "group": f"file {i // 10}"} for i in range(200)]
    evals.register("grouped", rows, ["bits_per_byte"])
    items = evals._items("grouped")
    sides = {i.group: {j.split for j in items if j.group == i.group} for i in items}
    assert all(len(side) == 1 for side in sides.values())
    assert {s for side in sides.values() for s in side} == {"dev", "test"}


def test_scores_have_intervals_and_no_items(evals: Evals, ledger: Ledger, tmp_path: Path) -> None:
    evals.register("sums", sums(), ["exact_match", "numeric_match"])
    e = ledger.start("it adds", "nothing")
    scores = evals.evaluate(make_model(tmp_path / "m", 0.6), "sums", experiment=e.id)
    assert scores.value.low < scores.value.value < scores.value.high
    assert scores.value.n == 100
    assert scores.queries_left == 2
    assert ledger.get(e.id).dev["exact_match"] == scores.value
    shown = scores.model_dump_json()
    assert "items" not in json.loads(shown)
    assert not scores.samples
    assert "+" not in shown.replace("e+", "")


def test_the_job_reads_inputs_and_never_a_target(evals: Evals, jobs: AnsweringJobs, tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}+0=", "answer": SECRET, "split": "dev"} for i in range(20)]
    evals.register("secret", rows, ["exact_match"])
    evals.evaluate(make_model(tmp_path / "m", 0.5), "secret")
    [spec] = jobs.specs
    assert SECRET not in spec.model_dump_json()
    readable = [f for p in spec.inputs for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file()]
    assert readable
    assert all(SECRET.encode() not in f.read_bytes() for f in readable)
    assert all((evals.folder / "items") not in f.parents for f in readable)


def test_samples_from_nothing_may_be_read(evals: Evals, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte", "python_parses"])
    scores = evals.evaluate(make_model(tmp_path / "m", 0.5), "code")
    assert scores.samples
    assert not any("held_out" in s for s in scores.samples)
    assert scores.metrics["python_parses"].n == 200
    assert scores.outputs["share_empty"] == 0
    assert scores.metrics["bits_per_byte"].value == pytest.approx(4, rel=0.05)


def test_a_likelihood_gives_a_few_samples_to_read(
    evals: Evals, jobs: AnsweringJobs, ledger: Ledger, tmp_path: Path
) -> None:
    evals.register("prose", texts(), ["bits_per_byte"])
    e = ledger.start("h", "c")
    scores = evals.evaluate(make_model(tmp_path / "m", 0.5), "prose", experiment=e.id)
    assert len(scores.samples) == 8
    assert list(scores.metrics) == ["bits_per_byte"]
    assert scores.outputs == {}
    evals.score_test(e.id, tmp_path / "m")
    dev, test = (spec.config["tasks"] for spec in jobs.specs)
    assert [(t["name"], t.get("samples"), t.get("max_new_tokens")) for t in dev] == [
        ("likelihood", None, None),
        ("samples", 16, 32),
    ]
    assert [t["name"] for t in test] == ["likelihood"]


def test_dev_and_test_draw_other_samples_and_models_of_one_split_the_same(
    evals: Evals, jobs: AnsweringJobs, ledger: Ledger, tmp_path: Path
) -> None:
    evals.register("code", texts(), ["bits_per_byte", "python_parses"], asking={"samples": 400})
    ids = [ledger.start("h", f"change {k}").id for k in range(2)]
    for k, id in enumerate(ids):
        evals.evaluate(make_model(tmp_path / f"m{k}", 0.5 + 0.2 * k, seed=k), "code", experiment=id)
    [test] = evals.score_test(ids[1], tmp_path / "m1")
    seeds = [spec.config["tasks"][1]["seed"] for spec in jobs.specs]
    assert seeds[0] == seeds[1] == evals.get("code").asking.seed
    assert seeds[2] != seeds[1]
    assert evals.get("code").asking.seed_of("test") == seeds[2]
    [dev] = ledger.scores(experiment=ids[1], split="dev", items=True)
    [kept] = ledger.scores(experiment=ids[1], split="test", items=True)
    drawn = [scores.items["python_parses"].numerator.tolist() for scores in (dev, kept)]
    assert drawn[0] != drawn[1]
    assert test.samples == []
    # The draws of one split are one set of items: the comparison pairs them.
    found = evals.compare(*ids, "python_parses")
    assert (found.n, found.method) == (400, "McNemar, mid-p")


def test_the_same_weights_cost_one_query_and_the_cap_holds(
    evals: Evals, jobs: AnsweringJobs, ledger: Ledger, tmp_path: Path
) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    first = make_model(tmp_path / "m0", 0.5)
    a, b = ledger.start("h", "a"), ledger.start("h", "b")
    assert (
        evals.evaluate(first, "code", experiment=a.id).value
        == evals.evaluate(first, "code", experiment=b.id).value
    )
    assert len(jobs.specs) == 1
    assert evals.get("code").queries_used == 1
    for k in (1, 2):
        evals.evaluate(make_model(tmp_path / f"m{k}", 0.5, seed=k), "code")
    with pytest.raises(ToolError, match="used up"):
        evals.evaluate(make_model(tmp_path / "m3", 0.5, seed=3), "code")
    assert evals.evaluate(first, "code").queries_left == 0


def test_threads_share_the_cap(
    evals: Evals, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_record(*told: Any) -> None:
        """Long enough for the other threads to ask between a query's end and its place in the ledger."""
        time.sleep(0.02)
        record(*told)

    record = ledger.record
    monkeypatch.setattr(ledger, "record", slow_record)
    evals.register("code", texts(), ["bits_per_byte"])
    models = [make_model(tmp_path / f"m{k}", 0.5, seed=k) for k in range(8)]

    def ask(model: Path) -> bool:
        try:
            return bool(evals.evaluate(model, "code"))
        except ToolError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, models)) == 3
    assert evals.get("code").queries_used == 3


def test_the_test_split_opens_once(evals: Evals, jobs: AnsweringJobs, ledger: Ledger, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    good, other = make_model(tmp_path / "good", 0.6), make_model(tmp_path / "other", 0.5)
    best, second = ledger.start("h", "best"), ledger.start("h", "second")
    evals.evaluate(good, "code", experiment=best.id)
    with pytest.raises(ToolError, match="sealed"):
        evals.evaluate(good, "code", split="test")
    with pytest.raises(ToolError, match="not the weights"):
        evals.score_test(best.id, other)
    [scores] = evals.score_test(best.id, good)
    assert (scores.split, scores.samples, scores.queries_left) == ("test", [], None)
    asked = len(jobs.specs)
    assert evals.score_test(best.id, good)[0].value == scores.value
    assert len(jobs.specs) == asked
    with pytest.raises(ToolError, match="opened for exp-1"):
        evals.score_test(second.id, other)
    assert ledger.get(best.id).test["bits_per_byte"] == scores.value
    assert ledger.get(best.id).frozen


def test_a_diverged_model_is_told_and_costs_nothing(evals: Evals, ledger: Ledger, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    with pytest.raises(ToolError, match="diverged"):
        evals.evaluate(make_model(tmp_path / "m", 0.5, diverged=True), "code")
    assert evals.get("code").queries_used == 0


def test_a_failed_job_brings_its_last_lines(evals: Evals, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    with pytest.raises(ToolError, match=r"code_error.*ValueError: no"):
        evals.evaluate(make_model(tmp_path / "m", 0.5, fails=True), "code")


def test_a_forgetful_tokenizer_is_warned_of(evals: Evals, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    scores = evals.evaluate(make_model(tmp_path / "m", 0.9, forgets=True), "code")
    assert scores.value.value == 8
    assert "does not give 100 texts back" in scores.warnings[0]


def test_a_folder_without_weights_is_no_model(evals: Evals, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    with pytest.raises(ToolError, match="no weights"):
        evals.evaluate(tmp_path, "code")


def test_slices_of_enough_items(evals: Evals, tmp_path: Path) -> None:
    rows = [{**row, "kind": "rare" if i < 10 else "common"} for i, row in enumerate(texts())]
    evals.register("code", rows, ["bits_per_byte"], slice_by="kind")
    scores = evals.evaluate(make_model(tmp_path / "m", 0.5), "code")
    assert list(scores.slices["bits_per_byte"]) == ["common"]


def test_comparisons_are_paired_and_recorded(evals: Evals, ledger: Ledger, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte", "python_parses"])
    skills = {"exp-1": 0.3, "exp-2": 0.6, "exp-3": 0.601}
    for k, skill in enumerate(skills.values()):
        e = ledger.start("h", f"skill {skill}")
        evals.evaluate(make_model(tmp_path / f"m{k}", skill, seed=k), "code", experiment=e.id)
    better = evals.compare("exp-1", "exp-2")
    assert (better.verdict, better.metric, better.n) == ("better", "bits_per_byte", 100)
    assert better.high < 0
    assert re.fullmatch(
        r"exp-2 is better than exp-1: bits_per_byte 3\.\d{3} against 5\.\d{3}, difference -2\.\d{3} "
        r"\[-2\.\d{3}, -2\.\d{3}\], p=\S+, n=100 items \(paired bootstrap-t\)\.",
        better.says,
    ), better.says
    assert evals.compare("exp-2", "exp-1").verdict == "worse"
    assert evals.compare("exp-2", "exp-3").verdict == "inconclusive"
    assert evals.compare("exp-1", "exp-2", "python_parses").method == "McNemar, mid-p"
    assert len(ledger.comparisons()) == 4
    with pytest.raises(ToolError, match="did you mean 'python_parses'"):
        evals.compare("exp-1", "exp-2", "python_parse")
    ledger.start("h", "never measured")
    with pytest.raises(ToolError, match="cannot be compared"):
        evals.compare("exp-1", "exp-4")


def test_the_guard_knows_every_eval(evals: Evals) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    evals.register("sums", sums(), ["exact_match"])
    found = evals.guard(
        [{"text": "harmless"}, {"text": "held_out_100 = 300".upper()}, {"text": "held_out_101 = 303"}]
    )
    # Dev and test alike; these are shorter than what counts alone.
    assert found.short_matches == 2
    rows = [row["prompt"] + row["answer"] for row in sums()]
    assert not evals.guard(rows).clean
    evals.register("long", [{"text": "a much longer held-out sentence"}], ["bits_per_byte"])
    assert not evals.guard(row for row in ["A much longer  held-out sentence"]).clean


def test_evals_outlive_the_process(evals: Evals, jobs: AnsweringJobs, ledger: Ledger, tmp_path: Path) -> None:
    evals.register("code", texts(), ["bits_per_byte"])
    evals.evaluate(make_model(tmp_path / "m", 0.5), "code")
    again = Evals(tmp_path / "evals", jobs, ledger, Settings(dev_queries=3))  # type: ignore[arg-type]
    assert again.get("code").queries_used == 1
    assert not again.guard([f"held_out_{i} = {i * 3}" for i in range(150)]).clean
