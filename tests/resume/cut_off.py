"""One cell's calls on real services, cut off: `python cut_off.py STATE NAME RECORD:WHEN`.

The process kills itself with -9 before or after it writes that record of the journal about the last call. What
goes on after it, in this module or another process, makes the same calls again, as a cell does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.context import Services
from ml_intern.events import ApprovalNeeded, Event
from ml_intern.jobs.model import JobStatus
from ml_intern.journal.journal import Journal
from ml_intern.router.approval import Answer
from ml_intern.router.budget import Budget, parse_budget
from ml_intern.router.gate import Gate, Standing
from ml_intern.router.recorded import Recorded
from ml_intern.router.registry import load_tools
from ml_intern.router.router import Outcome, Router
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings

ROOT = Path(__file__).parents[2]
Call = tuple[str, dict[str, Any]]
ROWS = [{"text": f"x = {n}\n", "n": n} for n in range(40)]
SCRIPT = 'import pathlib\npathlib.Path("ran.txt").open("a").write("ran\\n")'

CELLS: dict[str, list[Call]] = {
    "write_file": [("write_file", {"path": "a.txt", "content": "once"})],
    "edit_file": [("edit_file", {"path": "grows.txt", "old": "a", "new": "aa", "how": "all"})],
    "run_command": [("run_command", {"command": "echo ran >> log.txt; cat log.txt"})],
    "cut_command": [("run_command", {"command": "echo ran >> log.txt; kill -9 $(cat host.pid); sleep 20"})],
    "start_experiment": [("start_experiment", {"hypothesis": "h", "change": "c"})],
    "finish_experiment": [
        ("start_experiment", {"hypothesis": "h", "change": "c"}),
        ("finish_experiment", {"id": "exp-1", "verdict": "crashed", "notes": "n"}),
    ],
    "reformat_dataset": [("reformat_dataset", {"source": "rows.jsonl", "target": "lines", "name": "d"})],
    "filter_dataset": [
        ("filter_dataset", {"source": "rows.jsonl", "where": "n > 3", "name": "d"}),
        ("filter_dataset", {"source": "d", "where": "n % 2 = 0", "name": "d"}),
    ],
    "deduplicate_dataset": [
        ("mix_datasets", {"parts": {"rows.jsonl": 1}, "rows": 90, "name": "d"}),
        ("deduplicate_dataset", {"source": "d", "name": "d"}),
    ],
    "mix_datasets": [
        ("filter_dataset", {"source": "rows.jsonl", "where": "n > 3", "name": "d"}),
        ("mix_datasets", {"parts": {"d": 2, "rows.jsonl": 1}, "rows": 30, "name": "d"}),
    ],
    "split_dataset": [
        ("filter_dataset", {"source": "rows.jsonl", "where": "n >= 0", "name": "d"}),
        (
            "split_dataset",
            {"source": "d", "fractions": {"train": 0.5, "test": 0.5}, "seal": "held", "name": "d"},
        ),
    ],
    "plan": [("plan", {"items": ["one", {"text": "two", "status": "done"}]})],
    "launch_script": [
        ("start_experiment", {"hypothesis": "h", "change": "c"}),
        ("launch_script", {"script": SCRIPT, "name": "job", "experiment": "exp-1"}),
    ],
    "cancel_job": [
        ("launch_script", {"script": "import time\ntime.sleep(60)", "name": "long"}),
        ("cancel_job", {"job": "long-1"}),
    ],
    "evaluate": [("evaluate", {"model": "exp-1", "eval": "sums"})],
    "freeze_experiment": [
        ("evaluate", {"model": "exp-1", "eval": "sums"}),
        ("freeze_experiment", {"experiment": "exp-1"}),
    ],
    "publish_dataset": [
        ("filter_dataset", {"source": "rows.jsonl", "where": "n > 3", "name": "d"}),
        ("publish_dataset", {"dataset": "d", "repo": "rows"}),
    ],
    "unknown": [("tell", {"text": "hello"})],
    "unknown_price": [("rent", {"usd": 2.0})],
    "own_read": [("look", {"text": "hello"})],
    "own_again": [("again", {"text": "hello"})],
    "rent": [("rent", {"usd": 1.0})],
    "dear": [("rent", {"usd": 20.0})],
    "announce": [("announce", {"repo": "me/x", "text": "first"})],
    "nagging": [("announce", {"repo": "me/x", "text": f"please {n}"}) for n in range(3)],
}

ASKED: dict[str, Any] = {"yes": [], "policy": [{"tool": "rent", "action": "ask"}]}
"""Settings of a session with a person."""

OWN = '''
from pathlib import Path

from ml_intern import tool
from ml_intern.tooling import Price

RAN = Path({ran!r})


def ran(what):
    with RAN.open("a") as file:
        file.write(what + "\\n")
    return what


def known(ctx, key):
    return ctx.receipt.read()["said"] if ctx.receipt.read() else None


@tool(effect="destroy")
def tell(ctx, text: str) -> str:
    """Nobody can ask afterwards whether it was told."""
    return ran(text)


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd))
def rent(ctx, usd: float) -> str:
    """Rent a machine."""
    return ran(f"rent {{usd}}")


@tool(effect="publish", reconcile=known)
def announce(ctx, repo: str, text: str, private: bool = False) -> str:
    """Tell others."""
    said = f"{{text}} to {{repo}}"
    ctx.receipt.write(said=said)
    return ran(said)


@tool(effect="read")
def look(ctx, text: str) -> str:
    """Look."""
    return ran(text)


@tool(effect="write", repeatable="it says the same")
def again(ctx, text: str) -> str:
    """Say it."""
    return ran(text)
'''


class Fragile(Journal):
    """Kills the process at one record, once it is armed; ``answer#2`` means the second of its kind."""

    at = when = ""
    skip, armed = 0, False

    def append(self, kind: str, payload: dict[str, Any], *, durable: bool = False) -> int:
        due = self.armed and kind == self.at
        if due and self.skip:
            self.skip, due = self.skip - 1, False
        if due and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        number = super().append(kind, payload, durable=durable)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


class Answers(AnsweringJobs):
    """Answers evaluations, and has nothing to be measured."""

    def list(self) -> list[JobStatus]:
        return []

    def find(self, key: str) -> None:
        return None


class Cell:
    """The services of a session that goes on in its folder, and the cell that is under way."""

    def __init__(
        self,
        state: Path,
        kind: type[Journal] = Journal,
        approver: Callable[[ApprovalNeeded], Answer] | None = None,
        name: str = "",
        session: str = "s1",
        **settings: Any,
    ) -> None:
        self.folder = state / "sessions" / session
        self.workspace = self.folder / "workspace"
        if not self.workspace.exists():
            self._furnish(state)
        given: dict[str, Any] = {"yes": ["compute", "publish", "destroy"], **settings}
        loaded = Settings.load(state=state, tools=[state / "own_tools"], **given)
        sandbox = BareSandbox("a test")
        self.events: list[Event] = []
        self.services: Services = assemble(
            session, self.folder, self.workspace, loaded, sandbox, self.events.append
        )
        self.services.evals.jobs = self.answers = Answers(self.folder / "evals" / "answers")  # type: ignore[assignment]
        if name in ("evaluate", "freeze_experiment"):
            self._train()
        self.services.run_in_sandbox = lambda argv, timeout: run_in_sandbox(
            sandbox, Mounts(self.workspace), Limits(), argv, timeout
        )
        self.journal = kind(self.folder / "journal.sqlite")
        recorded = Recorded.of(self.journal.entries())
        self.budget = Budget(parse_budget(given.get("budget", "10 usd, 10 jobs")))
        if recorded.budget:
            self.budget.restore(recorded.budget)
        gate = Gate(loaded.policy, self.budget, loaded.yes)
        for row in recorded.always:
            gate.allow_always(Standing.from_json(row))
        self.router = Router(
            load_tools(loaded), self.services, gate, self.budget, self.journal, approver, recorded
        )
        self.services.left, self.services.spent = self.router.left, self.router.spent

    def _furnish(self, state: Path) -> None:
        self.workspace.mkdir(parents=True)
        (self.workspace / "grows.txt").write_text("a b a\n")
        (self.workspace / "host.pid").write_text(str(os.getpid()))
        (self.workspace / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        (state / "own_tools").mkdir()
        (state / "own_tools" / "own.py").write_text(OWN.format(ran=str(state / "ran.txt")))

    def _train(self) -> None:
        """An eval, and an experiment whose job has made a model."""
        rows = [
            {"prompt": f"{n}+1=", "answer": str(n + 1), "split": "dev" if n % 2 else "test"}
            for n in range(40)
        ]
        self.services.evals.register("sums", rows, ["exact_match"])
        job = self.folder / "jobs" / "run-1"
        made = make_model(job / "output" / "model", 0.5)
        (job / "spec.json").write_text(json.dumps({"name": "run", "method": "pretrain"}))
        (job / "metrics.jsonl").write_text('{"step": 1, "loss": 5.5}\n')
        status = {"id": "run-1", "name": "run", "method": "pretrain", "state": "succeeded", "created": 1.0}
        (job / "status.json").write_text(json.dumps({**status, "output": str(made.parent)}))
        self.services.ledger.attach(self.services.ledger.start("h", "c").id, job="run-1")

    def play(self, name: str) -> Outcome:
        """The calls of a cell; what came of the last one. Only the last one is cut off."""
        *before, (tool, given) = CELLS[name]
        for earlier in before:
            self.router.call(*earlier, "cell-1")
        Fragile.armed = True
        return self.router.call(tool, given, "cell-1")

    def close(self) -> None:
        self.services.ledger.close()
        self.services.hub.close()
        self.journal.close()


def person(words: str) -> Callable[[ApprovalNeeded], Answer]:
    """Answers one question after the other: ``yes``, ``no``, ``always``, or arguments as JSON."""
    said = words.split("|")

    def answer(question: ApprovalNeeded) -> Answer:
        word = said.pop(0)
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word.startswith("{"):
            return Answer(True, arguments=json.loads(word))
        return Answer(word != "no", "not today" if word == "no" else "", always=word == "always")

    return answer


Cut = Callable[..., Cell]


def cut_off(state: Path, name: str, point: str, asked: str = "") -> None:
    """Play a cell in a process that is killed; `asked` are the words of a person who is there."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), str(state), name, point, asked],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def ran(state: Path) -> list[str]:
    """The lines that tools of the person's own left."""
    path = state / "ran.txt"
    return path.read_text().splitlines() if path.exists() else []


def journaled(cell: Cell, kind: str) -> list[dict[str, Any]]:
    return [entry.payload for entry in cell.journal.entries(kind)]


def main() -> None:
    """Furnish, play, and be killed."""
    state, name, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    record, _, Fragile.when = point.partition(":")
    Fragile.at, _, nth = record.partition("#")
    Fragile.skip = int(nth or 1) - 1
    asked = sys.argv[4]
    approver, settings = (person(asked), ASKED) if asked else (None, dict[str, Any]())
    Cell(state, Fragile, approver, name, **settings).play(name)


if __name__ == "__main__":
    main()
