"""Answers that are mathematically right, in a child process that may hang or die."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ml_intern.errors import ToolError
from ml_intern.evals import mathematics
from ml_intern.evals.mathematics import equal
from ml_intern.evals.scorers import Outputs, scorer

RIGHT = [
    ("1/2", "so it is $\\frac{1}{2}$."),
    ("\\frac{1}{2}", "0.5"),
    ("She has 6 * 7 = <<6*7=42>>42 apples.\n#### 42", "I count 42.0 apples\n#### 42.00"),
    ("#### 1,250", "That makes $1250."),
    ("Thus \\boxed{x^2+1} holds.", "\\boxed{1 + x^2}"),
    ("$(1, 2)$", "the point is \\boxed{(1,2)}"),
    ("\\{1, 2, 3\\}", "$\\{3, 2, 1\\}$"),
    ("\\sqrt{8}", "$2\\sqrt{2}$"),
    ("50%", "\\boxed{50\\%}"),
    ("10^3", "1000"),
    ("-3", "The final answer is -3"),
    ("Paris", " paris. "),
]
WRONG = [
    ("1/2", "$\\frac{1}{3}$"),
    ("42", "24"),
    ("42", ""),
    ("42", "no idea"),
    ("x^2", "\\boxed{x^3}"),
    ("Paris", "London"),
    ("7", "\\boxed{}" * 50),
    ("7", "\\frac{" * 400),
    ("7", "(" * 4000),
    ("7", "\x00\ud800 7.5"),
]


def test_what_is_equal_and_what_is_not() -> None:
    found = scorer("math_match").score(
        Outputs(completions=[a for _, a in RIGHT + WRONG], targets=[t for t, _ in RIGHT + WRONG])
    )
    said = found.numerator.tolist()
    assert [pair for pair, one in zip(RIGHT, said, strict=False) if not one] == []
    assert [pair for pair, one in zip(WRONG, said[len(RIGHT) :], strict=True) if one] == []


def test_it_works_outside_of_the_main_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.extend(equal(["1/2"], ["0.5"])))
    thread.start()
    thread.join()
    assert found == [True]


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """The real child, with something that happens before it compares."""
    file = tmp_path / "child.py"
    real = mathematics.CHILD.read_text()
    assert "        gold = read(target)\n" in real
    file.write_text(real.replace("        gold = read(target)\n", f"{before}        gold = read(target)\n"))
    monkeypatch.setattr(mathematics, "CHILD", file)


def test_an_item_that_brings_the_child_down_is_wrong_and_the_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal = "        if 'boom' in answer: import os; os.kill(os.getpid(), 11)\n"
    child(tmp_path, monkeypatch, fatal + "        if 'raise' in answer: raise MemoryError\n")
    notes: list[str] = []
    assert equal(["1"] * 5, ["1", "boom 1", "1", "raise 1", "1"], notes) == [True, False, True, False, True]
    assert notes == ["math_match gave up on 2 of 5 answers, which count as wrong."]


def test_an_item_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = "        if 'hang' in answer: import time; time.sleep(600)\n"
    child(tmp_path, monkeypatch, hang)
    began = time.monotonic()
    assert equal(["1"] * 3, ["1", "hang 1", "1"], item_s=4) == [True, False, True]
    assert time.monotonic() - began < 300


def test_all_together_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(tmp_path, monkeypatch, "        import time; time.sleep(0.5)\n")
    notes: list[str] = []
    found = equal(["1"] * 1000, ["1"] * 1000, notes, all_s=3)
    assert sum(found) < 10
    assert "because all together took too long" in notes[0]


def test_without_math_verify_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "child.py"
    file.write_text("raise ImportError")
    monkeypatch.setattr(mathematics, "CHILD", file)
    with pytest.raises(ToolError, match="math-verify could not be started"):
        equal(["1"], ["1"])
