"""Questions of the gate, and who answers them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hosted_kit import LONG_S, answers, hosting, idle, told, until
from support.loopback import Loopback, Reply
from support.own_tools import write_tools

from ml_intern.errors import UsageError
from ml_intern.events import ApprovalAnswered, ApprovalNeeded, SessionFinished
from ml_intern.notifying import notifier
from ml_intern.router.approval import Answer

ASK = "said = announce('me/a', text='one', private=False)\nfinal_answer(said)"


def test_of_two_faces_the_first_answer_counts(tmp_path: Path) -> None:
    tools, ran = write_tools(tmp_path)
    with hosting(ASK, state=tmp_path / "state", tools=[tools]) as (hosted, _):
        hosted.tell("announce it")
        asked = until(hosted, ApprovalNeeded)
        assert hosted.state == "working" and [q.call for q in hosted.questions] == [asked.call]
        said: list[str] = []
        barrier = threading.Barrier(2)

        def face(answer: Answer) -> None:
            barrier.wait()
            try:
                hosted.answer(asked.call, answer)
                said.append("taken")
            except UsageError as error:
                said.append(str(error))

        faces = [threading.Thread(target=face, args=(Answer(True),)) for _ in range(2)]
        for each in faces:
            each.start()
        for each in faces:
            each.join()
        idle(hosted)
        assert sorted(said) == [
            "That question is not open any more. It was answered, or the run has ended.",
            "taken",
        ]
        assert hosted.questions == [] and len(told(hosted, ApprovalAnswered)) == 1
        assert ran.read_text().count("announce") == 1


def test_the_arguments_may_be_changed_and_a_no_has_a_reason(tmp_path: Path) -> None:
    tools, ran = write_tools(tmp_path)
    no = "try:\n    announce('me/b', private=False)\nexcept ToolError as error:\n    final_answer(str(error))"
    with hosting(ASK, no, state=tmp_path / "state", tools=[tools]) as (hosted, _):
        hosted.tell("announce it")
        hosted.answer(until(hosted, ApprovalNeeded).call, Answer(True, arguments={"text": "two"}))
        idle(hosted)
        assert ran.read_text() == "announce me/a two False\n"
        hosted.tell("once more")
        hosted.answer(until(hosted, ApprovalNeeded, 2).call, Answer(False, "not today"))
        idle(hosted)
        assert "not today" in answers(hosted)[-1]


def test_a_stop_is_an_answer_and_the_question_comes_again(tmp_path: Path) -> None:
    tools, ran = write_tools(tmp_path)
    with hosting(ASK, state=tmp_path / "state", tools=[tools]) as (hosted, _):
        hosted.tell("announce it")
        until(hosted, ApprovalNeeded)
        assert hosted.stop("run")
        idle(hosted)
        assert hosted.state == "over" and hosted.questions == [] and ran.read_text() == ""
        hosted.go_on()
        again = until(hosted, ApprovalNeeded, 2)
        hosted.answer(again.call, True)
        idle(hosted)
        assert ran.read_text().count("announce") == 1 and hosted.state == "waiting"


def test_closed_with_a_question_open(tmp_path: Path) -> None:
    tools, ran = write_tools(tmp_path)
    with hosting(ASK, state=tmp_path / "state", tools=[tools]) as (hosted, _):
        hosted.tell("announce it")
        question = until(hosted, ApprovalNeeded)
        hosted.close()
        assert told(hosted, SessionFinished) and ran.read_text() == ""
        with pytest.raises(UsageError, match="not open"):
            hosted.answer(question.call, True)


def test_questions_and_answers_are_told_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "LEAVE_S", LONG_S)
    tools, _ = write_tools(tmp_path)
    with Loopback(lambda asked: Reply("ok")) as outside:
        told_to = {"tools": [tools], "notify": f"slack+{outside.url}/hook {outside.url}/json"}
        with hosting(ASK, state=tmp_path / "state", **told_to) as (hosted, _):
            hosted.tell("announce it")
            hosted.answer(until(hosted, ApprovalNeeded).call, True)
            idle(hosted)
        kinds = [asked.json["kind"] for asked in outside.asked if asked.path == "/json"]
        assert kinds == ["approval", "done"], "the end is not told again"
        question = next(asked.json for asked in outside.asked if asked.path == "/json")
        assert (
            question["approval"]["tool"] == "announce" and question["approval"]["arguments"]["repo"] == "me/a"
        )
        assert len([asked for asked in outside.asked if asked.path == "/hook"]) == 2
