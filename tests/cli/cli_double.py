"""The command line with a session that plays recorded events: `python cli_double.py SCENARIO [WORDS…]`.

The double stands at the border between the faces and everything below; what is tested is the whole of a face.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ml_intern.cli import stopping
from ml_intern.cli.main import run
from ml_intern.errors import NoBrain, UsageError
from ml_intern.events import (
    ApprovalAnswered,
    ApprovalNeeded,
    BrainAnswered,
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    ExperimentChanged,
    JobChanged,
    Notice,
    Published,
    SessionFinished,
    SessionStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from ml_intern.result import RunResult

ANSWER = "The model is at me/statements; held out it needs 3.21 bits per byte."


def started() -> SessionStarted:
    return SessionStarted(
        "20260101-120000-abcd", "train", "playbook:demo", "local", "bubblewrap, no network", "/tmp/w"
    )


def finished(status: str = "done", code: int = 0, answer: str = ANSWER) -> SessionFinished:
    return SessionFinished("20260101-120000-abcd", status, code, answer)


def training() -> list[Event]:
    """A whole small run: a cell, its tools, a job, two experiments, a publication."""
    code = "\n".join(
        ["rows = inspect_dataset('python-stdlib')", *[f"x{i} = {i}" for i in range(40)], "print(rows)"]
    )
    job = [JobChanged("baseline-1", "baseline", "queued", 0, 160, {})]
    job += [
        JobChanged(
            "baseline-1",
            "baseline",
            "running",
            s,
            160,
            {"loss": 6.0 - s / 50, "learning_rate": 1e-3, "epoch": 0.1},
        )
        for s in range(0, 161, 10)
    ]
    job += [JobChanged("baseline-1", "baseline", "succeeded", 160, 160, {"loss": 2.8})]
    return [
        started(),
        Notice("info", "A playbook answers: no language model."),
        BrainAnswered(1, "First I look at the data.\n<code>\n...", 1200, 340, 0.5),
        CellStarted(1, code),
        ToolStarted("call-1", "inspect_dataset", "read", {"source": "python-stdlib", "rows": 5}),
        ToolFinished("call-1", "inspect_dataset", True, '{"rows": 12000}', 0.4),
        CellOutput(1, "first line\n"),
        CellOutput(1, "\x1b]0;owned\x07\x1b[31msecond\x1b[0m line\n"),
        ToolStarted("call-2", "wait_for_job", "read", {"job": "baseline-1"}),
        ToolProgress("call-2", "waiting", 0.5),
        *job,
        ToolFinished("call-2", "wait_for_job", True, '{"state": "succeeded"}', 8.0),
        CellFinished(1, True, "first line", 9.0),
        ExperimentChanged("exp-1", "the default learning rate", "open", {}),
        ExperimentChanged("exp-1", "the default learning rate", "discarded", {"bits_per_byte": 5.15}),
        ExperimentChanged("exp-2", "learning rate 3e-3", "kept", {"bits_per_byte": 3.21}),
        BrainAnswered(2, "<code>\nfinal_answer('x')\n</code>", 1500, 40, 0.1),
        CellStarted(2, "1/0"),
        CellFinished(2, False, "Traceback\nZeroDivisionError: division by zero", 0.1),
        Published("me/statements", "http://127.0.0.1:8765/me/statements", "model"),
        finished(),
    ]


class Double:
    """A session that plays the events of a scenario."""

    scenario = "training"

    def __init__(self, approver: Callable[[ApprovalNeeded], Any] | None) -> None:
        self.id = "20260101-120000-abcd"
        self.approver = approver
        self.stopped = threading.Event()
        self.last: SessionFinished | None = None
        self.errors: list[str] = []

    @classmethod
    def create(cls, settings: Any, prompt: str, approver: Any = None) -> Double:
        if cls.scenario == "no_sentence":
            raise UsageError(
                "No playbook understands this sentence.", "ml-intern playbooks lists what they do."
            )
        if cls.scenario == "no_brain":
            raise NoBrain(
                "Nothing answers at http://127.0.0.1:9/v1.", "Start the server or name another --base-url."
            )
        if cls.scenario == "defect":
            raise ZeroDivisionError("division by zero")
        return cls(approver)

    def run(self) -> Iterator[Event]:
        for event in self._events():
            if isinstance(event, SessionFinished):
                self.last = event
            if isinstance(event, Notice) and event.level == "error":
                self.errors.append(event.text)
            yield event

    def _events(self) -> Iterator[Event]:
        match self.scenario:
            case "training":
                print("a library prints this")
                os.write(1, b"a child prints this\n")
                yield from training()
            case "slow":
                yield from training()[:9]
                yield JobChanged("baseline-1", "baseline", "running", 0, 160, {})
                _rest(float(os.environ["SLOW_S"]))
                yield finished()
            case "limit":
                yield started()
                yield Notice("error", "The budget of 1h is used up. Raise --budget to go on.")
                yield finished("limit", 3, "")
            case "ask":
                yield from self._ask()
            case "interrupt" | "stubborn" | "stuck":
                yield from self._wait_to_be_stopped()

    def _ask(self) -> Iterator[Event]:
        yield started()
        arguments = {"experiment": "exp-1", "repo": "me/x", "private": False}
        question = ApprovalNeeded(
            "call-1", "publish_model", "publish", arguments, "free", "others can see it"
        )
        yield question
        answer = self.approver(question) if self.approver else None
        allowed, reason = (answer.allowed, answer.reason) if answer else (False, "nobody is there to ask")
        yield ApprovalAnswered("call-1", allowed, reason)
        told = f"allowed={allowed} reason={reason!r}"
        if answer is not None:
            told += f" always={answer.always} arguments={answer.arguments}"
        yield finished("done" if allowed else "denied", 0 if allowed else 4, told)

    def _wait_to_be_stopped(self) -> Iterator[Event]:
        yield started()
        yield CellStarted(1, "while True: pass")
        Path(os.environ["READY"]).touch()
        if self.scenario == "stubborn":
            time.sleep(600)
        if self.scenario == "stuck":
            threading.Thread(target=time.sleep, args=(300,)).start()  # no daemon: Python waits for it
        self.stopped.wait(600)
        yield CellFinished(1, False, "KeyboardInterrupt", 1.0)
        yield Notice("error", "Interrupted; the cell has ended.")
        yield finished("interrupted", 130, "")

    def interrupt(self) -> None:
        self.stopped.set()
        if heard := os.environ.get("HEARD"):
            Path(heard).touch()

    def close(self) -> None:
        if self.scenario == "stubborn":
            time.sleep(600)

    def result(self) -> RunResult:
        last = self.last or finished("failed", 1, "")
        return RunResult(
            session=last.session,
            status=last.status,
            answer=last.answer,
            exit_code=last.exit_code,
            steps=2,
            tokens={"input": 2700, "output": 380},
            cost=0.0,
            budget={"usd": {"spent": 0.0, "cap": 5.0}, "seconds": {"spent": 12.0, "cap": None}},
            ledger=[],
            best=None,
            jobs=[{"id": "baseline-1", "name": "baseline", "state": "succeeded"}],
            published=[
                {"repo": "me/statements", "url": "http://127.0.0.1:8765/me/statements", "type": "model"}
            ],
            errors=self.errors,
            folder=Path("/nowhere"),
        )


def _rest(seconds: float) -> None:
    """Let time pass: so much of it, or until the file GO is there."""
    end, go = time.monotonic() + seconds, os.environ.get("GO")
    while time.monotonic() < end and not (go and Path(go).exists()):
        time.sleep(0.05)


def main() -> int:
    Double.scenario = sys.argv[1]
    stopping.THREADS_S = float(os.environ.get("THREADS_S", stopping.THREADS_S))
    module = types.ModuleType("ml_intern.session.session")
    module.Session = Double  # type: ignore[attr-defined]
    sys.modules["ml_intern.session.session"] = module
    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
