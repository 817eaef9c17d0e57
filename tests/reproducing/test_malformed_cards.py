"""Cards that somebody broke, or made to do harm: one clear line each, and nothing is run."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cards import SHA, card, row

from ml_intern.errors import UsageError
from ml_intern.reproducing import cells
from ml_intern.reproducing.card import MAX_BYTES, Row, parse_card, read_card
from ml_intern.reproducing.finding import Found
from ml_intern.reproducing.plan import Options, make_plan

TEXTS = {
    "nothing": "",
    "no-json": "README",
    "cut-off": json.dumps(card())[:300],
    "a-list": "[]",
    "a-number": "1",
    "null": "null",
    "not-a-number": json.dumps(card()).replace("3.5", "NaN"),
    "infinity": json.dumps(card()).replace("3.5", "-Infinity"),
    "a-huge-float": json.dumps(card()).replace("3.5", "1e999"),
    "a-huge-int": json.dumps(card()).replace('"rows": 60', '"rows": ' + "9" * 400),
    "too-many-digits": json.dumps(card()).replace('"rows": 60', '"rows": ' + "9" * 5000),
    "deep": '{"experiment":' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep-but-read": '{"experiment":' + '{"a":' * 60 + "1" + "}" * 60 + "}",
    "no-experiment": "{}",
}

Change = Callable[[dict[str, Any]], None]


def put(value: Any, *path: Any) -> Change:
    """A change of one place of the card."""

    def change(found: dict[str, Any]) -> None:
        at: Any = found
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return change


def drop(*path: Any) -> Change:
    def change(found: dict[str, Any]) -> None:
        at: Any = found
        for part in path[:-1]:
            at = at[part]
        del at[path[-1]]

    return change


CHANGES: dict[str, Change] = {
    "experiment-is-text": put("exp-1", "experiment"),
    "experiment-without-id": drop("experiment", "id"),
    "id-leads-out": put("../../etc", "experiment", "id"),
    "id-is-a-dict": put({"a": 1}, "experiment", "id"),
    "seed-below-zero": put(-1, "experiment", "seed"),
    "seed-is-text": put("os.system('x')", "experiment", "seed"),
    "seed-too-large": put(10**30, "experiment", "seed"),
    "dev-is-a-list": put([1, 2], "experiment", "dev"),
    "dev-value-is-text": put({"bits": {"value": "3", "low": "x", "high": 4}}, "experiment", "dev"),
    "interval-upside-down": put({"b": {"value": 3, "low": 4, "high": 2}}, "experiment", "dev"),
    "many-metrics": put(
        {f"m{n}": {"value": 1, "low": 0, "high": 2} for n in range(5000)}, "experiment", "dev"
    ),
    "facts-with-text": put({"parameters": "many"}, "experiment", "facts"),
    "packages-is-a-list": put({"packages": ["torch"]}, "experiment", "environment"),
    "model-is-no-hash": put("../model", "experiment", "model"),
    "data-is-a-dict": put({}, "data"),
    "data-of-numbers": put([1, 2, 3], "data"),
    "data-too-many": put([row(f"d@{n}", "mix_datasets", "x") for n in range(1001)], "data"),
    "data-twice": put([row("d@1", "filter_dataset", "x"), row("d@1", "filter_dataset", "x")], "data"),
    "data-name-leads-out": put("../../x@1", "data", 0, "id"),
    "data-name-with-line": put("x\nimport os@1", "data", 0, "id"),
    "data-without-version": put("words", "data", 0, "id"),
    "rows-below-zero": put(-5, "data", 0, "rows"),
    "rows-too-many": put(10**13, "data", 0, "rows"),
    "rows-half": put(1.5, "data", 0, "rows"),
    "operation-is-code": put("__import__('os').system", "data", 0, "operation"),
    "arguments-is-a-list": put(["x"], "data", 0, "arguments"),
    "sha-too-short": put("abc", "data", 0, "sha256"),
    "revision-leads-out": put("../../main", "data", 0, "revision"),
    "source-too-long": put("x" * 5000, "data", 0, "source"),
    "parents-of-numbers": put([1], "data", 0, "parents"),
    "made-of-itself": put(["words@1"], "data", 0, "parents"),
    "trainings-is-text": put("pretrain", "trainings"),
    "training-name-leads-out": put("../x", "trainings", 0, "name"),
    "training-name-is-empty": put("", "trainings", 0, "name"),
    "training-twice": put("base-1", "trainings", 1, "name"),
    "base-comes-later": put({"job": "tuned-1"}, "trainings", 0, "model"),
    "base-is-two-things": put({"job": "base-1", "hub": "a/b"}, "trainings", 1, "model"),
    "base-is-nothing": put({}, "trainings", 1, "model"),
    "base-hub-is-a-path": put({"hub": "../../secrets"}, "trainings", 1, "model"),
    "config-is-text": put("--help", "trainings", 1, "config"),
    "seconds-not-finite": put(1e300, "trainings", 1, "seconds"),
    "threads-none": put(0, "trainings", 1, "threads"),
    "evals-is-a-number": put(3, "evals"),
    "eval-name-leads-out": put("../held", "evals", 0, "name"),
    "control-characters": put("\x1b[31mred\x00", "trainings", 1, "method"),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_no_card(text: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_card(text)
    assert_one_line(told.value)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_card_with_one_wrong_place(change: Change) -> None:
    found = card()
    change(found)
    with pytest.raises(UsageError) as told:
        parse_card(json.dumps(found))
    assert_one_line(told.value)


def assert_one_line(error: UsageError) -> None:
    text = str(error)
    assert error.exit_code == 2 and "ml_intern.json" in text
    assert "\n" not in text and text.isprintable() and len(text) < 500, text


def test_a_whole_card_is_read() -> None:
    assert parse_card(json.dumps(card())).trainings[1].model.job == "base-1"


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"\x00" * 10, b"PK\x03\x04zip"], ids=["utf-16", "zeros", "a-zip"]
)
def test_bytes_that_are_no_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "ml_intern.json").write_bytes(data)
    with pytest.raises(UsageError) as told:
        read_card(tmp_path / "ml_intern.json")
    assert_one_line(told.value)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "ml_intern.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UsageError, match="16 MB"):
        read_card(tmp_path / "ml_intern.json")


NASTY = '"); __import__("os").system("touch /tmp/x"); print("""\n\\'


@pytest.mark.parametrize("operation", sorted(cells._ARGUMENTS))
def test_whatever_stands_in_arguments_stays_a_literal(operation: str) -> None:
    given = {name: {NASTY: [NASTY, 1e300, None, True]} for name in cells._ARGUMENTS[operation]}
    given["parts"] = {NASTY: 1}
    told = Row.model_validate(row("d@1", operation, NASTY, **given, eval=NASTY, split=NASTY))
    code = cells.data(told, {"d@1": NASTY}, {"scorers": [NASTY], "primary": NASTY})
    called = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert sorted(ast.unparse(node.func) for node in called) == sorted([operation, "print"])


def test_whatever_stands_in_a_training_stays_a_literal() -> None:
    found = card()
    found["trainings"][1] |= {"config": {NASTY: NASTY}, "stop_when": NASTY}
    job = parse_card(json.dumps(found)).trainings[1]
    refs = {"words@1": NASTY, "base-1": NASTY}
    for code in (cells.train(job, refs, NASTY, 60.0), cells.train_with_card(job, refs, NASTY, 60.0)):
        calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)}
        assert calls <= {"launch_training", "launch_script", "wait_for_job", "print", "RuntimeError"}


def test_a_card_cannot_ask_for_endless_time() -> None:
    found = card()
    found["trainings"][1] |= {"config": {"max_steps": 10**12}, "seconds": 1e9}
    job = parse_card(json.dumps(found)).trainings[1]
    assert cells.seconds_for(job, 3 * 3600.0) == 3 * 3600.0


def plan_for(found: dict[str, Any], folder: Path, **options: Any) -> Any:
    read = parse_card(json.dumps(found))
    return make_plan(Found("somebody/model", read, folder), Options(**options), folder)


def test_code_in_a_card_needs_a_word(tmp_path: Path) -> None:
    found = card()
    found["trainings"][1]["code_sha256"] = "cd" * 32
    assert any("does not hold it" in text for text in plan_for(found, tmp_path).missing)
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "sft.py").write_text("import os")
    assert any("yet another one" in text for text in plan_for(found, tmp_path).missing)
    found["trainings"][1]["code_sha256"] = hashlib.sha256(b"import os").hexdigest()
    assert any("--run-card-code" in text for text in plan_for(found, tmp_path).missing)
    plan = plan_for(found, tmp_path, run_card_code=True)
    assert plan.foreign == ["tuned-1"] and not any("recipe" in text for text in plan.missing)


def test_rewards_in_python_are_code_too(tmp_path: Path) -> None:
    from ml_intern.jobs.record import recipe_hash

    found = card()
    found["trainings"][1] |= {"method": "grpo", "code_sha256": recipe_hash("grpo")}
    assert any("runs code that stands in the card" in text for text in plan_for(found, tmp_path).missing)


def test_links_in_a_training_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "secret.py").write_text("x = 1")
    (tmp_path / "training" / "sft.py").symlink_to(tmp_path / "secret.py")
    found = card()
    found["trainings"][1]["code_sha256"] = SHA
    assert any("does not hold it" in text for text in plan_for(found, tmp_path).missing)


def test_a_source_is_never_looked_for_outside_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.txt").write_text("a secret")
    found = card()
    found["data"][1] |= {"source": "../secret.txt", "source_sha256": ""}
    plan = plan_for(found, tmp_path / "inner")
    assert any("../secret.txt" in text for text in plan.missing) and plan.paths == []
