"""One prompt and all that comes of it: assembles brain, sandbox, services, router and agent; runs them."""

from __future__ import annotations

import datetime
import json
import os
import queue
import secrets
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from ml_intern.brains.base import Brain
from ml_intern.brains.factory import build_brain
from ml_intern.budget import Budget, parse_budget
from ml_intern.errors import Denied, InternError
from ml_intern.events import Event, Notice, Published, SessionFinished, SessionStarted
from ml_intern.gate import Gate
from ml_intern.journal import Journal
from ml_intern.masking import mask_all
from ml_intern.registry import load_tools
from ml_intern.result import RunResult
from ml_intern.router import Approver, Router
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.services import assemble, facts
from ml_intern.settings import Settings

STATUS = {0: "done", 1: "failed", 2: "usage", 3: "limit", 4: "denied", 5: "no_brain", 130: "interrupted"}


class Session:
    """A run and its folder.

    ``Session.create`` checks what can be checked before anything is made: the settings, the budget, the brain
    and the sentence. The folder holds ``session.json``, ``journal.sqlite``, ``ledger.sqlite``, ``datasets``,
    ``jobs``, ``evals`` and, unless the settings name another, ``workspace``.
    """

    def __init__(
        self, settings: Settings, prompt: str, brain: Brain, sandbox: Sandbox, approver: Approver | None
    ) -> None:
        self.id = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.settings = settings
        self.prompt = prompt
        self.folder = settings.state / "sessions" / self.id
        self.workspace = settings.workspace or self.folder / "workspace"
        self.brain = brain
        self.sandbox = sandbox
        self.queue: queue.Queue[Event | None] = queue.Queue()
        self.published: list[dict[str, str]] = []
        self.errors: list[str] = []
        self.finished: SessionFinished | None = None
        self.budget = Budget(parse_budget(settings.budget))
        gate = Gate(settings.policy, self.budget, settings.yes)
        tools = load_tools(settings)
        self.workspace.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(self.folder / "journal.sqlite")
        self.services = assemble(self.id, self.folder, self.workspace, settings, sandbox, self.emit)
        self.services.left = self.budget.left
        self.services.run_in_sandbox = self.run_command
        self.services.files.allow_from(prompt)
        self._register_eval()
        self.router = Router(tools, self.services, gate, self.budget, self.journal, approver)
        self.agent: Any = None
        self._write_card("running", None)

    @classmethod
    def create(cls, settings: Settings, prompt: str, approver: Approver | None = None) -> Session:
        """Check everything, then make the session's folder.

        Raises:
            UsageError: A setting or the sentence is not understood.
            NoBrain: The brain cannot be reached.
            Denied: There is no sandbox for the brain's cells.
        """
        parse_budget(settings.budget)
        early: list[Event] = []
        brain = build_brain(settings, early.append)
        brain.prepare(prompt)
        sandbox = choose_sandbox(settings.sandbox, trusted=brain.trusted)
        session = cls(settings, prompt, brain, sandbox, approver)
        for event in early:
            session.emit(event)
        return session

    def emit(self, event: Event) -> None:
        """Put an event on the stream, without the credentials that a text in it may hold."""
        event = replace(event, **{f.name: mask_all(getattr(event, f.name)) for f in fields(event)})
        if isinstance(event, Published):
            self.published.append({"repo": event.repo, "url": event.url, "type": event.kind_of_repo})
        if isinstance(event, Notice) and event.level == "error":
            self.errors.append(event.text)
        self.queue.put(event)

    def run(self) -> Iterator[Event]:
        """Run to the end; the events as they come, the last one a `SessionFinished`."""
        worker = threading.Thread(target=self._work, name="ml-intern-session", daemon=True)
        self.emit(
            SessionStarted(
                self.id,
                self.prompt,
                self.brain.label,
                self.sandbox.name,
                self.sandbox.describe(),
                str(self.workspace),
            )
        )
        worker.start()
        while (event := self.queue.get()) is not None:
            self.journal.append("event", event.to_json()) if not _chatty(event) else None
            yield event
        worker.join()

    def interrupt(self) -> None:
        """Stop: the running cell is interrupted, waiting tools give up, no further step begins."""
        self.router.interrupted.set()
        self.brain.interrupt()
        if self.agent is not None:
            self.agent.interrupt_switch = True
            self.agent.python_executor.kernel.interrupt()

    def close(self) -> None:
        """End the kernel and the services. Jobs that run go on; they are processes of their own."""
        if self.agent is not None:
            self.agent.cleanup()
        self.services.hub.close()
        self.sandbox.stop()
        self.journal.close()

    def result(self) -> RunResult:
        """What came of the run."""
        return RunResult.of(self)

    def _work(self) -> None:
        answer, error = "", None
        try:
            answer = self._drive()
        except InternError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - the top of the session's thread: told in one line, kept in the journal
            error = InternError(
                f"The intern failed inside: {type(failure).__name__}: {failure}.", "Please report this."
            )
            self.journal.append("bug", {"error": repr(failure)})
        self._finish(answer, error)

    def _drive(self) -> str:
        from ml_intern.agent import InternAgent
        from ml_intern.executor import KernelExecutor
        from ml_intern.instructions import system_prompt
        from ml_intern.sandbox.host import KernelHost

        specs = list(self.router.specs.values())
        told = facts(self.services)
        system = system_prompt(specs, isolation=self.sandbox.describe(), workspace=self.workspace, facts=told)
        settings = self.settings
        kernel = KernelHost(
            self.sandbox,
            self.mounts(),
            self.limits(),
            [spec.proxy() for spec in specs],
            lambda name, arguments: executor.call_tool(name, arguments),
            timeout_s=settings.cell_timeout_s,
            grace_s=settings.cell_grace_s,
            output_chars=settings.observation_chars,
        )
        executor = KernelExecutor(kernel, self.router, self.journal, settings.observation_chars)
        kernel.start()
        self.agent = InternAgent(self.brain, executor, system, settings, self.budget, self.journal)
        return str(self.agent.run(self.prompt))

    def _register_eval(self) -> None:
        """Seal the file of ``--eval``; a bare name is one that the brain will make or find."""
        if self.settings.eval and Path(self.settings.eval).suffix in (".jsonl", ".csv"):
            from ml_intern.evals.files import register_file

            register_file(self.services.evals, Path(self.settings.eval))

    def run_command(self, argv: list[str], timeout_s: float) -> CompletedProcess[str]:
        """Run a command behind the walls of this session's cells."""
        return run_in_sandbox(self.sandbox, self.mounts(), self.limits(), argv, timeout_s)

    def limits(self) -> Limits:
        """What cells and commands may use."""
        s = self.settings
        return Limits(s.sandbox_memory_mb, s.sandbox_processes, s.sandbox_disk_mb)

    def mounts(self) -> Mounts:
        """What cells see: the workspace, and read-only the datasets and jobs of this session.

        Nothing of the project folder: a file such as ``.env`` may lie in it, and held-out rows still stand in
        the source that they were taken from.
        """
        shown = [self.folder / "datasets", self.folder / "jobs"]
        return Mounts(
            self.workspace, read_only=[p for p in shown if p.exists()], hidden=[self.settings.state]
        )

    def _finish(self, answer: str, error: InternError | None) -> None:
        if error is None and self.router.denied:
            error = Denied("The run ended, but something it asked for was denied: " + self.router.denied[0])
        code = error.exit_code if error else 0
        if error is not None:
            self.emit(Notice("error", str(error)))
        self.finished = SessionFinished(self.id, STATUS.get(code, "failed"), code, answer)
        self._write_card(self.finished.status, code)
        self.journal.append("finished", self.finished.to_json(), durable=True)
        self.queue.put(self.finished)
        self.queue.put(None)

    def _write_card(self, status: str, code: int | None) -> None:
        card = {
            "id": self.id,
            "prompt": self.prompt,
            "status": status,
            "model": self.brain.label,
            "workspace": str(self.workspace),
            "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "exit_code": code,
            "pid": os.getpid() if code is None else None,
        }
        path: Path = self.folder / "session.json"
        if path.exists():
            card["created"] = json.loads(path.read_text())["created"]
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(card, indent=2))
        fresh.replace(path)


def _chatty(event: Event) -> bool:
    """Events that the journal does not keep: they repeat what cells, results and jobs record."""
    return event.kind in (
        "CellOutput",
        "ToolProgress",
        "JobChanged",
        "BrainAnswered",
        "CellStarted",
        "CellFinished",
    )
