"""The figures of `examples/nanowhale` that are counted and not measured: parameters, tokens, data."""

from __future__ import annotations

import json
import math
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parents[2] / "examples" / "nanowhale"
COUNT = runpy.run_path(str(HERE / "count.py"))
PLANS = COUNT["PLANS"]
README = (HERE / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, int]]:
    shapes = {f"{size}: {name}": s for size in PLANS for name, s in PLANS[size]["shapes"].items()}
    return {name: COUNT["parameters"](shape) for name, shape in shapes.items()}


def test_the_published_shape_has_the_parameters_that_the_readme_tells(counted: Any) -> None:
    found = counted["full: whale"]
    assert found["total"] == 110_369_589
    assert found["embedding"] == found["head"] == 41_369_600
    assert found["layers"] == 27_630_389
    assert found["total"] == found["embedding"] + found["head"] + found["layers"]
    for name in ("total", "embedding", "layers", "active"):
        assert f"{found[name]:,}" in README, name


def test_the_other_full_shape_has_no_more_parameters_and_three_times_as_many_in_layers(counted: Any) -> None:
    published, other = counted["full: whale"], counted["full: whale, 32k words"]
    assert other["total"] <= published["total"]
    assert other["layers"] > 3 * published["layers"]
    assert other["active"] < published["active"]
    for name in ("total", "layers", "active"):
        assert f"{other[name]:,}" in README, name


def test_the_small_whale_has_two_million_and_its_dense_twin_as_many_as_are_active(counted: Any) -> None:
    whale = counted["small: whale"]
    assert 1.9e6 < whale["total"] < 2.1e6
    dense = counted["small: dense, as many active"]
    assert math.isclose(dense["total"], whale["active"], rel_tol=0.01)
    for found in (whale["total"], whale["active"], dense["total"]):
        assert f"{found:,}" in README


def test_the_full_training_sees_a_third_of_a_billion_tokens() -> None:
    plan = PLANS["full"]["pretrain"]
    seen = COUNT["tokens"](plan)
    assert seen == 5_000 * 32 * 2_048 == 327_680_000
    assert f"{seen:,}" in README
    assert plan["learning_rate"] == 6e-4


def test_a_token_costs_six_operations_for_what_it_is_multiplied_with(counted: Any) -> None:
    found = counted["full: whale"]
    assert COUNT["flops_per_token"](PLANS["full"]["shapes"]["whale"]) == 6 * (
        found["active"] - found["embedding"]
    )
    tied = counted["full: whale, 32k words"]
    assert tied["head"] == 0
    assert COUNT["flops_per_token"](PLANS["full"]["shapes"]["whale, 32k words"]) == 6 * tied["active"]


@pytest.mark.parametrize("size", list(PLANS))
def test_each_arm_has_a_shape_and_what_it_is_held_against(size: str) -> None:
    plan = PLANS[size]
    names = list(plan["arms"])
    for place, arm in enumerate(plan["arms"].values()):
        assert arm["shape"] in plan["shapes"]
        assert arm["against"] in ("", *names[:place])
    assert set(plan["confirm"]) | set(plan["taught"]) <= set(names)


@pytest.fixture(scope="module")
def ledger() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "results/small/ledger.json").read_text(encoding="utf-8"))
    return found


def versus(ledger: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    ids = {e["change"]: e["id"] for e in ledger["experiments"] if not e["replicates"]}
    return [c for c in ledger["comparisons"] if (c["a"], c["b"]) == (ids[a], ids[b])][-1]


def test_what_the_readme_says_of_the_arms_is_what_the_ledger_says(ledger: Any) -> None:
    comes, _, even, dense = PLANS["small"]["arms"]
    assert versus(ledger, dense, even)["verdict"] == "better"
    found = versus(ledger, comes, even)
    assert found["seeds_a"] == found["seeds_b"] == 3
    # New seeds are drawn in each run, and so small a gain is clear on some of them alone.
    said = {"better": "gains little", "inconclusive": "gains little, if anything,"}
    words = said[found["verdict"]]
    shown = f"{found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
    assert f"To prepare the experts {words} at this size: {shown} bits" in " ".join(README.split())


def test_the_load_of_experts_is_told_and_no_expert_of_the_prepared_whale_has_all_of_it(ledger: Any) -> None:
    shares = {e["change"]: e["facts"].get("expert_share") for e in ledger["experiments"]}
    comes, filled, even, dense = (shares[name] for name in PLANS["small"]["arms"])
    assert (comes, dense) == (1.0, None)
    assert even < filled < 1.0


def test_no_line_of_a_question_is_in_a_text_and_each_count_is_as_frequent(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(HERE / "make_data.py"), str(tmp_path), "--questions", "300"], check=True
    )
    read = lambda name: [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]  # noqa: E731
    lines = {line.strip() for row in read("texts.jsonl") for line in row["text"].splitlines()}
    asked = read("questions.jsonl")
    assert not [row for row in asked if row["prompt"].removesuffix(" # calls:") in lines]
    counts = [row["completion"].strip() for row in asked]
    assert all(row["completion"].startswith(" ") and not row["prompt"].endswith(" ") for row in asked)
    assert {c: counts.count(c) for c in set(counts)} == {"0": 100, "1": 100, "2": 100}


@pytest.mark.thorough
def test_speed_is_told_of_any_machine() -> None:
    words = ["speed.py", "--size", "small", "--rows", "2", "--length", "16", "--steps", "2"]
    found = subprocess.run([sys.executable, *words], cwd=HERE, check=True, capture_output=True, text=True)
    told = json.loads(found.stdout.splitlines()[-1])
    assert told["parameters"] == COUNT["parameters"](PLANS["small"]["shapes"]["whale"])["total"]
    assert told["tokens_per_second"] > 0 and told["seconds_per_step"] > 0
