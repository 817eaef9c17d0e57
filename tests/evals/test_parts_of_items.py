"""Options, tests and rubrics: from a file or a dataset to items, and what a job is shown of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.data.sealing import prepare
from ml_intern.errors import ToolError
from ml_intern.evals.files import register_file
from ml_intern.evals.model import Item
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.settings import Settings

OPTIONS = ["a fish", "a bird"]
HUMANEVAL = {
    "prompt": 'def add(a, b):\n    """ Add a and b. """\n',
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    "entry_point": "add",
}
MBPP = {
    "prompt": "Write a function to add.",
    "code": "def add(a, b): return a + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
    "test_setup_code": "import math",
}


def evals_in(tmp_path: Path, **given: Any) -> Evals:
    settings = Settings(**given)
    jobs = AnsweringJobs(tmp_path / "evals" / "jobs")
    return Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "l.sqlite"), settings, BareSandbox())  # type: ignore[arg-type]


def items_of(evals: Evals, name: str) -> list[Item]:
    lines = (evals.folder / "items" / name / "items.jsonl").read_text().splitlines()
    return [Item.model_validate_json(line) for line in lines]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(
    ("row", "metric", "scorers", "primary"),
    [
        (
            {"question": "It flies?", "choices": OPTIONS, "answer": "B"},
            None,
            ["multiple_choice", "multiple_choice_normalized"],
            "multiple_choice",
        ),
        (
            {"question": "It flies?", "choices": OPTIONS, "answer": 1},
            "multiple_choice_normalized",
            ["multiple_choice", "multiple_choice_normalized"],
            "multiple_choice_normalized",
        ),
        (MBPP, None, ["code_passes"], "code_passes"),
        ({"prompt": "Be kind.", "rubric": "Is kind."}, None, ["rubric"], "rubric"),
        (
            {"prompt": "1/2+1/2=", "target": "1"},
            "math_match",
            ["exact_match", "numeric_match", "math_match"],
            "math_match",
        ),
        ({"prompt": "Say a.", "target": "a"}, "code_passes", ["exact_match"], "exact_match"),
    ],
    ids=["letter", "place", "tests", "rubric", "mathematics", "what the file has not"],
)
def test_a_file_becomes_an_eval(
    tmp_path: Path, row: dict[str, Any], metric: str | None, scorers: list[str], primary: str
) -> None:
    evals = evals_in(tmp_path, metric=metric)
    info = register_file(evals, write(tmp_path / "rows.jsonl", [row] * 4))
    assert (info.scorers, info.primary) == (scorers, primary)


def test_the_forms_of_tests(tmp_path: Path) -> None:
    evals = evals_in(tmp_path)
    evals.register("humaneval", [HUMANEVAL], ["code_passes"])
    [item] = items_of(evals, "humaneval")
    assert item.tests and item.tests.endswith("check(add)\n")
    evals.register("mbpp", [MBPP], ["code_passes"])
    assert items_of(evals, "mbpp")[0].tests == "import math\nassert add(1, 2) == 3\nassert add(0, 0) == 0"
    for tests, told in (
        ("assert (", "its tests are not Python"),
        ("# none", "has no tests"),
        ("", "has no tests"),
    ):
        with pytest.raises(ToolError, match=told):
            evals.register("bad", [{"prompt": "x", "tests": tests}], ["code_passes"])


@pytest.mark.parametrize(
    ("row", "scorers", "used", "asking"),
    [
        (
            {"ctx": "It flies.", "endings": OPTIONS, "label": 1},
            None,
            ["multiple_choice", "multiple_choice_normalized"],
            {"chat": False},
        ),
        (HUMANEVAL, None, ["code_passes"], {"chat": False, "max_new_tokens": 512, "continues": True}),
        (MBPP, ["code_passes"], ["code_passes"], {"chat": False, "max_new_tokens": 512, "continues": False}),
        (
            {
                "prompt": [{"role": "user", "content": "Be kind."}],
                "rubric": [{"criterion": "Kind.", "points": 1.5}],
            },
            None,
            ["rubric"],
            {"chat": True, "max_new_tokens": 1024},
        ),
    ],
    ids=["hellaswag", "humaneval", "mbpp", "rubric"],
)
def test_held_out_rows_of_a_dataset(
    tmp_path: Path, row: dict[str, Any], scorers: list[str] | None, used: list[str], asking: dict[str, Any]
) -> None:
    import polars as pl

    from ml_intern.data.sealing import register

    sealed = prepare("held", {"dev": pl.DataFrame([row] * 3)}, None, scorers, None)
    assert (sealed.scorers, sealed.asking) == (used, asking)
    evals = evals_in(tmp_path)
    register(evals, sealed)
    assert len(items_of(evals, "held")) == 3


def test_a_job_sees_options_and_no_tests_targets_or_rubrics(tmp_path: Path) -> None:
    evals = evals_in(tmp_path)
    rows = [
        {
            "input": f"{n}+1=",
            "target": "SECRET-T",
            "rubric": [{"criterion": "SECRET-R", "regex": "2"}],
            "split": "dev",
        }
        for n in range(4)
    ]
    evals.register("all", rows, ["rubric", "exact_match"])
    assert evals.evaluate(make_model(tmp_path / "m", 1.0), "all").metrics["rubric"].value == 0.25
    assert "SECRET" not in "".join(evals.jobs.read)  # type: ignore[attr-defined]
    assert "SECRET" not in "".join(f.read_text() for f in (evals.folder / "inputs").rglob("*.jsonl"))


def test_code_needs_walls_before_anything_is_asked(tmp_path: Path) -> None:
    evals = evals_in(tmp_path)
    evals.register("code", [{**MBPP, "split": "dev"}], ["code_passes"])
    with pytest.raises(ToolError, match="no walls around it here"):
        evals.evaluate(make_model(tmp_path / "m", 1.0), "code")
    assert evals.jobs.specs == [] and evals.get("code").queries_used == 0  # type: ignore[attr-defined]


def test_another_scorer_of_the_same_questions_asks_no_model_again(tmp_path: Path) -> None:
    evals = evals_in(tmp_path)
    rows = [{"input": f"{n}+1=", "target": f"{n + 1}.0", "split": "dev"} for n in range(20)]
    model = make_model(tmp_path / "m", 1.0)
    evals.register("text", rows, ["exact_match"])
    evals.register("numbers", rows, ["math_match"])
    assert evals.evaluate(model, "text").value.value == 0
    assert evals.evaluate(model, "numbers").value.value == 1
    assert len(evals.jobs.specs) == 1  # type: ignore[attr-defined]
    evals.register("more", rows[:19], ["numeric_match"])
    evals.evaluate(model, "more")
    assert len(evals.jobs.specs) == 2  # type: ignore[attr-defined]


def test_options_and_tests_count_for_the_guard(tmp_path: Path) -> None:
    evals = evals_in(tmp_path)
    words = "the quick brown fox jumps over the lazy dog near the river bank"
    rows = [
        {"question": f"Which animal? {words}", "choices": ["a cat", f"a fox, since {words}"], "answer": 1}
    ]
    evals.register("q", rows, ["multiple_choice"])
    assert not evals.guard([f"Which animal? {words}\na fox, since {words}"]).clean
    tests = "assert add(1, 2) == 3\nassert add(100, 200) == 300\nassert add(-17, 4) == -13"
    evals.register("c", [{"prompt": "Write add.", "tests": tests}], ["code_passes"])
    assert not evals.guard([tests]).clean
    assert evals.guard(["def add(a, b): return a + b"]).clean
