"""What the views draw from: folding events, cleaning text, small curves."""

from __future__ import annotations

import pytest

from ml_intern.cli.board import Board, clean, excerpt, prose, show_arguments, show_number, sparkline
from ml_intern.events import JobChanged, ToolProgress


def running(step: int, at: float, **metrics: float) -> JobChanged:
    return JobChanged("job-1", "job", "running", step, 100, metrics, at=at)


def test_time_left_does_not_count_the_imports() -> None:
    board = Board()
    board.take(running(0, at=0.0))
    row = board.jobs["job-1"]
    assert row.seconds_left(5.0) is None
    board.take(running(10, at=10.0))
    board.take(running(30, at=20.0))
    assert row.seconds_left(20.0) == pytest.approx(35.0)  # 2 steps a second, 70 to go
    assert row.fraction == pytest.approx(0.3)


def test_time_left_runs_down_while_the_step_stands_still() -> None:
    board = Board()
    for step, at in [(10, 10.0), (30, 20.0)]:
        board.take(running(step, at=at))
    row = board.jobs["job-1"]
    assert row.seconds_left(40.0) == pytest.approx(15.0)
    board.take(running(30, at=45.0))
    assert row.seconds_left(50.0) == pytest.approx(5.0) and row.seconds_left(90.0) == 0.0


def test_losses_are_kept_once_a_step_and_finite() -> None:
    board = Board()
    for step, loss in [(1, 5.0), (1, 5.0), (2, float("nan")), (3, 4.0)]:
        board.take(running(step, at=float(step), loss=loss))
    assert board.jobs["job-1"].losses == [5.0, 4.0]


def test_newest_metrics_begin_with_the_loss_and_leave_bookkeeping_out() -> None:
    board = Board()
    board.take(running(1, 1.0, learning_rate=0.1, epoch=1.0, accuracy=0.51234, loss=2.0, train_runtime=3.0))
    assert board.jobs["job-1"].headline() == "loss 2 · accuracy 0.5123"


def test_progress_that_a_job_line_tells_is_not_told_twice() -> None:
    board = Board()
    board.take(running(1, 1.0))
    assert board.repeats(ToolProgress("call-1", "job-1 1/100 loss 3.2", 0.01))
    other = ToolProgress("call-1", "writing the card", 0.5)
    assert not board.repeats(other)
    board.take(other)
    assert board.repeats(ToolProgress("call-1", "writing the card", 0.6))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ""),
        ([1.0], "▁"),
        ([3.0, 3.0], "▁▁"),
        ([0.0, 7.0], "▁█"),
        ([float(i) for i in range(800)], "▁▂▃▄▅▆▇█"),
    ],
)
def test_sparkline(values: list[float], shown: str) -> None:
    assert sparkline(values, width=8) == shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("a\x00b\x08c\x9b2Jd", "abc2Jd"),
        ("tab\tstays, ümläute and 数 too", "tab\tstays, ümläute and 数 too"),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_excerpt_keeps_head_and_tail() -> None:
    text = "\n".join(str(i) for i in range(20))
    assert excerpt(text, 6) == ["0", "1", "2", "3", "… 14 more lines (-v shows all) …", "18", "19"]
    assert excerpt("a\nb", 2) == ["a", "b"]


def test_prose_is_what_stands_before_the_cell() -> None:
    assert prose("I look first.\n<code>\nx = 1\n</code>") == "I look first."
    assert prose("Look:\n```python\nx\n```") == "Look:"
    assert prose("<cell>x</cell>") == ""
    assert prose("loss < 3 and x > 2") == "loss < 3 and x > 2"


def test_arguments_fit_a_line() -> None:
    shown = show_arguments({"code": "x" * 500, "none": None, "n": 3}, limit=80)
    assert len(shown) <= 80 and "none" not in shown and shown.endswith("n=3")


def test_numbers() -> None:
    assert [show_number(v) for v in (3.14159, 12000, 1e-05)] == ["3.142", "12,000", "1e-05"]
