"""The gate from Python: `MLIntern(approver=…)`, and answers to the questions of a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fixtures import scripted_server  # noqa: F401
from support.own_tools import write_tools

from ml_intern.api import MLIntern
from ml_intern.errors import UsageError
from ml_intern.events import ApprovalAnswered, ApprovalNeeded, Event
from ml_intern.router.approval import Answer

FORGET = """
try:
    said = forget('the old runs')
except ToolError as error:
    said = str(error)
final_answer(said)
"""

Start = Callable[..., tuple[MLIntern, Path]]


@pytest.fixture
def start(scripted_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:  # noqa: F811
    """An intern whose brain writes the given cells; with it the file that tells which tools ran."""
    monkeypatch.chdir(tmp_path)

    def make(*cells: str, **more: Any) -> tuple[MLIntern, Path]:
        server = scripted_server([f"Next.\n<cell>\n{code}\n</cell>" for code in cells])
        tools, ran = write_tools(tmp_path)
        return MLIntern("openai:x", base_url=server.url, sandbox="none", tools=[tools], **more), ran

    return make


def test_without_an_approver_a_run_is_denied_and_goes_on(start: Start) -> None:
    intern, ran = start(FORGET)
    result = intern.run("do it")
    assert (result.status, result.exit_code) == ("denied", 4)
    assert "--yes destroy would allow it" in result.answer and ran.read_text() == ""


def test_an_approver_decides(start: Start) -> None:
    asked: list[ApprovalNeeded] = []

    def approver(question: ApprovalNeeded) -> Answer:
        asked.append(question)
        return Answer(True, arguments={"what": "only the oldest"})

    intern, ran = start(FORGET, approver=lambda q: approver(q) if len(asked) < 1 else Answer(True))
    result = intern.run("do it")
    assert result.status == "done" and ran.read_text() == "forget only the oldest\n"
    assert asked[0].source == "cell-1" and asked[0].once


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("publish_dataset('rows', 'me/rows', private=False)", "There is no dataset or file 'rows'"),
        ("publish_model('exp-7', 'me/model', private=False)", "There is no experiment 'exp-7'"),
    ],
    ids=["dataset", "model"],
)
def test_nobody_is_asked_about_what_is_not_there(start: Start, call: str, told: str) -> None:
    asked: list[ApprovalNeeded] = []

    def approver(question: ApprovalNeeded) -> Answer:
        asked.append(question)
        return Answer(True)

    intern, _ = start(FORGET.replace("forget('the old runs')", call), approver=approver)
    assert told in intern.run("do it").answer and not asked


@pytest.mark.parametrize(
    ("approver", "told"),
    [
        (lambda question: Answer(False, "they are mine"), "they are mine"),
        (lambda question: 1 / 0, "the approver failed: ZeroDivisionError"),
        (lambda question: time.sleep(30), "nobody answered within 0.5 s"),
    ],
)
def test_a_no_a_fault_and_a_silence_are_told_to_the_brain(start: Start, approver: Any, told: str) -> None:
    intern, ran = start(FORGET, approver=approver, answer_within_s=0.5 if "0.5" in told else 100)
    result = intern.run("do it")
    assert result.exit_code == 4 and told in result.answer and ran.read_text() == ""


def test_a_question_of_a_stream_is_answered_before_the_next_event(start: Start) -> None:
    intern, ran = start(FORGET)
    for event in intern.stream("do it"):
        if isinstance(event, ApprovalNeeded):
            intern.answer(event.call, Answer(True))
            with pytest.raises(UsageError, match="No question"):
                intern.answer(event.call, True)
    assert intern.last.status == "done" and ran.read_text() == "forget the old runs\n"
    with pytest.raises(UsageError, match="No question about 'call-9' is open"):
        intern.answer("call-9", True)


def test_a_question_of_a_stream_that_nobody_answers_is_a_no(start: Start) -> None:
    intern, ran = start(FORGET)
    events: list[Event] = list(intern.stream("do it"))
    assert intern.last.exit_code == 4 and ran.read_text() == ""
    [answered] = [e for e in events if isinstance(e, ApprovalAnswered)]
    assert not answered.allowed and "--yes destroy" in answered.reason


def test_an_answer_may_come_from_another_thread_while_events_go_on(start: Start) -> None:
    intern, ran = start(FORGET, answer_within_s=200)
    for event in intern.stream("do it"):
        if isinstance(event, ApprovalNeeded):
            threading.Timer(0.3, intern.answer, (event.call, True)).start()
    assert intern.last.status == "done" and ran.read_text() == "forget the old runs\n"


def test_leaving_a_stream_at_a_question_ends_in_order(start: Start) -> None:
    intern, ran = start(FORGET)
    began = time.monotonic()
    stream = intern.stream("do it")
    for event in stream:
        if isinstance(event, ApprovalNeeded):
            break
    stream.close()
    assert time.monotonic() - began < 100 and ran.read_text() == ""


def test_calls_side_by_side_are_asked_one_after_the_other(start: Start) -> None:
    cell = """
from concurrent.futures import ThreadPoolExecutor
def go(n):
    try:
        return announce(repo=f'me/{n}', private=False)
    except ToolError as error:
        return str(error)
with ThreadPoolExecutor(4) as pool:
    final_answer(' | '.join(pool.map(go, range(4))))
"""
    intern, ran = start(cell)
    asked: list[str] = []
    for event in intern.stream("do it"):
        if isinstance(event, ApprovalNeeded):
            asked.append(event.arguments["repo"])
            intern.answer(event.call, Answer(event.arguments["repo"] != "me/2", "not that one"))
    assert sorted(asked) == ["me/0", "me/1", "me/2", "me/3"]
    assert sorted(line.split()[1] for line in ran.read_text().splitlines()) == ["me/0", "me/1", "me/3"]
    assert "not that one" in intern.last.answer and intern.last.exit_code == 4
