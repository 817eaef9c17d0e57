"""The table of benchmarks, and how rows of their repositories become items."""

from __future__ import annotations

import datetime
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ml_intern.errors import UsageError
from ml_intern.evals import benchmarks
from ml_intern.evals.benchmarks import TABLE, Benchmark, find
from ml_intern.evals.named import first_name, wanted
from ml_intern.evals.shaping import shaped

PROMISED = (
    "gsm8k math-500 aime-2024 aime-2025 arc-easy arc-challenge hellaswag piqa winogrande openbookqa commonsenseqa"
    " mmlu mmlu-pro gpqa-diamond truthfulqa-mc1 boolq sciq humaneval mbpp wikitext-2 lambada"
)
# One row as each repository has it, and what is to come of it.
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gsm8k": (
        {"question": "How many?", "answer": "Twice 600 is 1200.\n#### 1,200"},
        {"input": "How many?", "target": "1200"},
    ),
    "math-500": (
        {"problem": "What is 1+1?", "solution": "…", "answer": "2", "subject": "Algebra", "level": 1},
        {"input": "What is 1+1?", "target": "2", "slice": "Algebra"},
    ),
    "aime-2024": ({"problem": "Find n.", "answer": "033"}, {"input": "Find n.", "target": "033"}),
    "aime-2025": ({"problem": "Find n.", "answer": "70", "id": "0"}, {"input": "Find n.", "target": "70"}),
    "arc-easy": (
        {
            "question": "Which?",
            "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]},
            "answerKey": "3",
        },
        {"input": "Which?", "choices": ["a", "b", "c"], "target": 2},
    ),
    "arc-challenge": (
        {"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
        {"input": "Which?", "choices": ["a", "b"], "target": 1},
    ),
    "hellaswag": (
        {
            "activity_label": "Roof work",
            "ctx": "A man stands [header] on a roof. he",
            "endings": ["jumps.", "[step] works [title] on."],
            "label": "1",
        },
        {"input": "Roof work: A man stands on a roof. he", "choices": ["jumps.", "works. on."], "target": 1},
    ),
    "piqa": (
        {"goal": "Open a jar", "sol1": "Turn the lid", "sol2": "Turn the jar", "label": 0},
        {"input": "Open a jar", "choices": ["Turn the lid", "Turn the jar"], "target": 0},
    ),
    "winogrande": (
        {"sentence": "Ann thanked Eve, for _ had helped.", "option1": "Ann", "option2": "Eve", "answer": "2"},
        {"input": "Ann thanked Eve, for", "choices": ["Ann had helped.", "Eve had helped."], "target": 1},
    ),
    "openbookqa": (
        {
            "question_stem": "The sun",
            "choices": {"text": ["cools", "warms"], "label": ["A", "B"]},
            "answerKey": "B",
        },
        {"input": "The sun", "choices": ["cools", "warms"], "target": 1},
    ),
    "commonsenseqa": (
        {"question": "Where?", "choices": {"label": ["A", "B"], "text": ["here", "there"]}, "answerKey": "A"},
        {"input": "Where?", "choices": ["here", "there"], "target": 0},
    ),
    "mmlu": (
        {"question": "Which?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 3},
        {"input": "Which?", "choices": ["a", "b", "c", "d"], "target": 3, "slice": "anatomy"},
    ),
    "mmlu-pro": (
        {
            "question": "Which?",
            "options": ["a", "b", "c"],
            "answer": "B",
            "answer_index": 1,
            "category": "law",
        },
        {"input": "Which?", "choices": ["a", "b", "c"], "target": 1, "slice": "law"},
    ),
    "boolq": (
        {"question": "is it so", "passage": "It is so.", "answer": True},
        {"input": "It is so.\nQuestion: is it so?", "choices": ["no", "yes"], "target": 1},
    ),
    "humaneval": (
        {"prompt": "def f():\n", "test": "def check(c):\n    assert c() == 1\n", "entry_point": "f"},
        {"input": "def f():\n", "tests": "def check(c):\n    assert c() == 1\n\n\ncheck(f)"},
    ),
    "mbpp": (
        {"text": "Write f.", "test_list": ["assert f(1) == 1", "assert f(2) == 2"], "test_setup_code": ""},
        {
            "input": "Write f.\nYour code should pass these tests:\nassert f(1) == 1\nassert f(2) == 2",
            "tests": "\nassert f(1) == 1\nassert f(2) == 2",
        },
    ),
    "wikitext-2": ({"page": " = Title = \n text"}, {"input": " = Title = \n text"}),
    "lambada": ({"text": "She said it was his."}, {"input": "She said it was his."}),
}
SHUFFLED: dict[str, dict[str, Any]] = {
    "gpqa-diamond": {
        "Question": "Which?",
        "Correct Answer": "right",
        **{f"Incorrect Answer {n}": f"wrong {n}" for n in (1, 2, 3)},
    },
    "truthfulqa-mc1": {
        "question": "Which?",
        "mc1_targets": {"choices": ["right", "wrong 1"], "labels": [1, 0]},
    },
    "sciq": {
        "question": "Which?",
        "support": "A text.",
        "correct_answer": "right",
        **{f"distractor{n}": f"wrong {n}" for n in (1, 2, 3)},
    },
}


def row_of(name: str) -> Benchmark:
    found = find(name)
    assert found is not None
    return found


def test_every_benchmark_is_there_and_has_an_example_here() -> None:
    assert set(benchmarks.benchmarks()) == set(PROMISED.split()) == set(ROWS) | set(SHUFFLED)
    assert datetime.date.fromisoformat(tomllib.loads(TABLE.read_text())["date"])


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_becomes_an_item(name: str) -> None:
    row, made = ROWS[name]
    [found] = shaped(row_of(name), [row])
    found.pop("also", None)
    assert found == made
    assert shaped(row_of(name), [row], "dev")[0]["split"] == "dev"


@pytest.mark.parametrize("name", sorted(SHUFFLED))
def test_the_right_option_stands_anywhere_and_always_in_the_same_place(name: str) -> None:
    # The first option is right in each row as it is published.
    key = {"gpqa-diamond": "Question"}.get(name, "question")
    rows = [{**SHUFFLED[name], key: f"Which, of {n}?"} for n in range(60)]
    made = shaped(row_of(name), rows)
    places = [row["target"] for row in made]
    assert made == shaped(row_of(name), rows)
    assert all(row["choices"][row["target"]] == "right" for row in made)
    assert set(places) == set(range(len(made[0]["choices"])))


def test_what_is_closed_leaves_the_training_split_open() -> None:
    gsm8k, gpqa, arc = row_of("gsm8k"), row_of("gpqa-diamond"), row_of("arc-easy")
    assert "openai/gsm8k:test" in gsm8k.closed and "openai/gsm8k" not in gsm8k.closed
    assert "Idavidrein/gpqa" in gpqa.closed, "all of it is the test"
    assert {"allenai/ai2_arc:validation", "allenai/ai2_arc:test"} <= set(arc.closed)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("gsm8k", {"answer": "twelve"}, "row 2 of openai/gsm8k has no result behind ####"),
        ("gsm8k", {"answer": None}, "row 2 of openai/gsm8k has nothing in the column 'answer'"),
        ("gsm8k", {"question": " "}, "row 2 of openai/gsm8k has nothing in '{question}'"),
        ("gsm8k", {"question": ...}, "has no column 'question'; its columns are answer"),
        ("gsm8k", {"question": {"text": "a"}}, "has no text in the column 'question'"),
        ("arc-easy", {"choices": {"text": ["a"], "label": ["1"]}}, "has 1 options"),
        ("arc-easy", {"choices": ["a", "b"]}, "has no column 'choices.text'"),
        ("arc-easy", {"choices": {"text": ["a", "b"], "label": ["1"]}}, "has 2 options and 1 labels"),
        ("arc-easy", {"answerKey": "E"}, "says that 'E' is right, which is none of 1, 2, 3"),
        ("hellaswag", {"label": ""}, "says that '' is right, which is none of its options"),
        ("mmlu", {"answer": 4}, "has 4 options, and number 5 is to be right"),
        ("winogrande", {"sentence": "No gap."}, "has no gap"),
    ],
)
def test_a_broken_row_is_named(name: str, change: dict[str, Any], told: str) -> None:
    good = ROWS[name][0]
    bad = {k: v for k, v in {**good, **change}.items() if v is not ...}
    with pytest.raises(UsageError) as error:
        shaped(row_of(name), [good, bad])
    assert told in error.value.message and "--eval FILE" in error.value.hint
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"repository": "gsm8k"}, "at repository"),
        ({"scorers": ["numeric_mach"]}, "did you mean 'numeric_match'"),
        ({"primary": "exact_match"}, "primary 'exact_match' is not among its scorers"),
        ({"colour": "red"}, "at colour"),
        ({"mirrors": ["nobody"]}, "the mirror 'nobody'"),
        ({"dev": "test"}, "dev and test are the same split"),
        ({"train": "test"}, "the training split is one of those that are held out"),
        ({"letters": True}, "need choices"),
        ({"choices": ["{a}", "{b}"], "target": ""}, "either target or right"),
        ({"choices": ["{a}", "{b}"], "letters": True}, "a prompt that shows {choices}"),
        ({"test": None}, "at test"),
    ],
)
def test_a_bad_row_of_the_table_is_told_in_one_line(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    row = row_of("gsm8k").model_dump(exclude={"name"}, exclude_defaults=True) | change
    lines = [f"{key} = {json.dumps(value)}" for key, value in row.items() if value is not None]
    table = tmp_path / "table.toml"
    table.write_text("\n".join(['date = "2026-11-21"', "[benchmarks.gsm8k]", *lines]))
    with pytest.raises(UsageError) as error:
        benchmarks.benchmarks(table)
    assert told in str(error.value) and "'gsm8k' in table.toml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["date = 3", 'date = "soon"\n[benchmarks]', "[benchmarks", '[benchmarks]\na = "b"']
)
def test_a_broken_table_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.toml").write_text(text)
    with pytest.raises(UsageError, match=r"table\.toml"):
        benchmarks.benchmarks(tmp_path / "table.toml")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("gsm8", "did you mean 'gsm8k'.*mmlu"),
        ("openai/gsm8k", "no file of a known kind.*called gsm8k"),
        ("allenai/ai2_arc", "called arc-easy or arc-challenge"),
        ("gsm8k,gsm8k", "named twice"),
        ("gsm8k,GSM8K", "named twice"),
        ("lm-eval:no such task", "neither a task's name nor"),
    ],
)
def test_what_is_nothing_is_refused(
    said: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        wanted(said)


def test_several_are_named_with_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a, b.jsonl").write_text("")
    assert [(w.kind, w.name) for w in wanted("Arc_Easy, exam.jsonl")] == [
        ("benchmark", "arc-easy"),
        ("file", "exam"),
    ]
    assert [w.name for w in wanted("a, b.jsonl")] == ["a-b"], "a file may have a comma in its name"
    assert [first_name(s) for s in ("GSM8K,x.csv", "x.csv,gsm8k", "mine", "", None, "lm-eval:arc_easy")] == [
        "gsm8k",
        "x",
        "mine",
        None,
        None,
        "arc_easy",
    ]


def test_a_file_of_a_benchmarks_name_comes_first_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gsm8k").mkdir()
    assert wanted("gsm8k")[0].kind == "benchmark", "a folder is no evaluation"
    (tmp_path / "gsm8k").rmdir()
    (tmp_path / "gsm8k").write_text("rows")
    with pytest.raises(
        UsageError, match=r"'gsm8k' is no file of a known kind.*Move it away to mean the benchmark"
    ):
        wanted("gsm8k")
