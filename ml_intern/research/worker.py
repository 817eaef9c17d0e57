"""One sub-agent at work: a thread, a kernel, a loop, and what came of it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.agent.pinned import pinned, spill
from ml_intern.brains.base import Brain
from ml_intern.context import ToolContext
from ml_intern.errors import InternError, Interrupted
from ml_intern.events import ResearchFinished, ResearchStarted
from ml_intern.research.model import Finding, Question
from ml_intern.research.outcome import bounded, cut, sources_of
from ml_intern.research.reader import OwnLines, Reader
from ml_intern.router.budget import BudgetSpent
from ml_intern.router.recorded import Researched
from ml_intern.router.router import Router
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.ownership import sandbox_user
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.research.agent import ResearchAgent
    from ml_intern.sandbox.host import KernelHost

ANSWER_SENTENCES = 12
SOURCES = 40
EVENT_CHARS = 200
SCRATCH_MB = 1024
WAIT_S = 0.1


@dataclass(frozen=True)
class Shared:
    """What all sub-agents of a session share.

    Attributes:
        places: How many may work at a time.
        count: Told of the tokens of each answer.
    """

    router: Router
    sandbox: Sandbox
    mounts: Callable[[], Mounts]
    limits: Callable[[], Limits]
    places: threading.Semaphore
    count: Callable[[int, int], None]


class Worker:
    """A sub-agent that answers one question.

    Args:
        shared: What it shares with others.
        ctx: The context of the call that asks.
        name: Its name in keys.
        asked: The question.
        brain: Its own hold on a brain.
        past: What an earlier process has written down of it.
        folder: Where the folders of sub-agents are.
    """

    def __init__(
        self,
        shared: Shared,
        ctx: ToolContext,
        name: str,
        asked: Question,
        brain: Brain,
        past: Researched,
        folder: Path,
    ) -> None:
        self.source, self.name = past.source, name
        self.error: InternError | None = None
        self._shared, self._ctx, self._asked, self._brain, self._past = shared, ctx, asked, brain, past
        self._steps = asked.steps or shared.router.services.settings.research_steps
        self._folder = folder / past.source.rpartition(":")[2]
        self._reader = Reader(shared.router, past.source, name, self._folder)
        self._journal = OwnLines(shared.router.journal, past.source)
        self._finding = past.finding
        self._agent: ResearchAgent | None = None
        self._kernel: KernelHost | None = None
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=past.source, daemon=True)

    # Life

    @property
    def alive(self) -> bool:
        """It works, or waits for its turn."""
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """It was asked to stop."""
        return self._reader.interrupted.is_set()

    def start(self) -> None:
        """Begin, unless the journal knows what it found."""
        if self._finding is None:
            self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for its end; one that never began is over."""
        if self.alive:
            self._thread.join(seconds)

    def stop(self) -> None:
        """Ask it to stop: its request is given up, its cell interrupted."""
        self._reader.interrupted.set()
        self._brain.interrupt()
        if self._kernel is not None:
            self._kernel.interrupt()

    def close(self) -> None:
        """End its kernel."""
        if self._kernel is not None:
            self._kernel.close()

    def found(self) -> Finding:
        """What came of it.

        Raises:
            Interrupted: It was stopped; when the session goes on, so does it.
        """
        if self._finding is None:
            raise self.error or Interrupted(f"{self.source} was stopped.")
        return self._finding

    # Work

    def _work(self) -> None:
        try:
            with self._place():
                self._tell_start()
                self._settle(self._finding_of())
        except (
            InternError
        ) as error:  # stopped, the ceiling, a disk that takes nothing: it goes on another time
            self.error = error
            self._tell_end(Finding(self.source, self._asked.question, "", ok=False, reason=error.message))
        except Exception as error:  # noqa: BLE001 - the top of a thread: the one who asked is told
            self._fail_inside(error)

    def _fail_inside(self, error: Exception) -> None:
        try:
            self._journal.append("bug", {"error": repr(error)})
            self._settle(self._failed(f"it failed inside: {type(error).__name__}: {error}"))
        except InternError as trouble:
            self.error = trouble

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Wait for one of the places.

        Raises:
            Interrupted: It was stopped before.
        """
        while not self._shared.places.acquire(timeout=WAIT_S):
            self._stop_if_asked()
        try:
            self._stop_if_asked()
            yield
        finally:
            self._shared.places.release()

    def _stop_if_asked(self) -> None:
        if self._reader.interrupted.is_set():
            raise Interrupted(f"{self.source} was stopped.")

    def _finding_of(self) -> Finding:
        """The answer, or why there is none and what was found till then.

        Raises:
            Interrupted: The person stopped it.
            BudgetSpent: The session's ceiling was met.
        """
        try:
            answer = mask(self._answer())
        except (Interrupted, BudgetSpent):
            raise
        except InternError as error:
            self._stop_if_asked()  # what fails while it is being stopped has not failed
            return self._failed(str(error))
        return self._finished(answer)

    def _answer(self) -> str:
        from ml_intern.agent.executor import KernelExecutor
        from ml_intern.agent.instructions import research_task
        from ml_intern.research.agent import ResearchAgent
        from ml_intern.sandbox.host import KernelHost

        router, reader, settings = self._shared.router, self._reader, self._reader.services.settings
        sandbox = self._shared.sandbox.beside()
        mounts, limits = self._mounts(), self._limits()
        specs = [spec for spec in router.specs.values() if spec.effect == "read"]
        kernel = self._kernel = KernelHost(
            sandbox,
            mounts,
            limits,
            [spec.proxy() for spec in specs],
            lambda name, arguments: executor.call_tool(name, arguments),
            timeout_s=settings.cell_timeout_s,
            grace_s=settings.cell_grace_s,
            output_chars=settings.observation_chars,
        )
        known = self._past.known
        executor = KernelExecutor(kernel, reader, self._journal, settings.observation_chars, known)
        executor.scratch = True
        system = self._system(sandbox, mounts, limits)
        own = settings.model_copy(update={"max_steps": self._steps})
        agent = self._agent = ResearchAgent(
            self._brain, executor, system, own, router.budget, self._journal, known, whose=self._prefix
        )
        agent.count = self._shared.count
        try:
            return str(agent.run(research_task(self._asked.question, self._asked.context)))
        finally:
            kernel.close()
            if sandbox is not self._shared.sandbox:
                sandbox.stop()

    def _system(self, sandbox: Sandbox, mounts: Mounts, limits: Limits) -> str:
        from ml_intern.agent.instructions import isolation, research_prompt

        services = self._reader.services
        specs = [spec for spec in self._shared.router.specs.values() if spec.effect == "read"]
        prompt = research_prompt(
            specs,
            isolation=isolation(sandbox, limits),
            scratch=mounts.workspace,
            workspace=services.files.workspace,
            steps=self._steps,
            sentences=ANSWER_SENTENCES,
            facts=pinned(services),
        )
        return mask(prompt)

    def _mounts(self) -> Mounts:
        """Its own folder to write in; the session's workspace, datasets and jobs to read."""
        session = self._shared.mounts()
        scratch = self._folder / "workspace"
        # What an earlier process left half-written goes: cells that run again write it anew.
        shutil.rmtree(self._folder, ignore_errors=True)
        scratch.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0 and scratch.stat().st_uid == 0:
            # A root host's cells run as a user who owns the workspace: the same one may read it.
            os.chown(scratch, *sandbox_user(session.workspace))
        shown = [session.workspace, *session.read_only, *session.writable]
        return Mounts(scratch, read_only=shown, hidden=session.hidden)

    def _limits(self) -> Limits:
        limits = self._shared.limits()
        growth = SCRATCH_MB if limits.growth_mb is None else min(SCRATCH_MB, limits.growth_mb)
        return replace(limits, growth_mb=growth, gpus=False)

    # What came of it

    @property
    def _prefix(self) -> str:
        """What the names of its files in the workspace begin with."""
        return self.source.replace(":", "-") + "-"

    def _finished(self, answer: str) -> Finding:
        keep = spill(self._reader.services, self._prefix)
        return self._with_sources(Finding(self.source, self._asked.question, *bounded(answer, keep)))

    def _failed(self, reason: str) -> Finding:
        so_far = mask(self._agent.so_far()) if self._agent else ""
        finding = Finding(self.source, self._asked.question, so_far, ok=False, reason=mask(reason))
        return self._with_sources(finding)

    def _with_sources(self, finding: Finding) -> Finding:
        read = sources_of(self._journal, self.source)
        tokens = sum(self._agent.tokens.values()) if self._agent else 0
        steps = self._agent.cells if self._agent else 0
        return replace(finding, steps=steps, tokens=tokens, sources=read[-SOURCES:], calls=len(read))

    def _settle(self, finding: Finding) -> None:
        """Write down what came of it: from here on nothing of it runs again."""
        self._journal.append("research_done", {"name": self.name, "finding": finding.to_json()})
        self._finding = finding
        shutil.rmtree(self._folder, ignore_errors=True)
        self._tell_end(finding)

    def _tell_start(self) -> None:
        self._began = time.monotonic()
        event = ResearchStarted(
            self.source,
            self._ctx.call,
            self._asked.question,
            self._brain.label,
            self._steps,
            again=self._past.known.anything,
        )
        self._reader.services.emit(event)

    def _tell_end(self, finding: Finding) -> None:
        tokens = self._agent.tokens if self._agent else {"input": 0, "output": 0}
        event = ResearchFinished(
            self.source,
            finding.ok,
            cut(finding.answer, EVENT_CHARS),
            finding.reason,
            self._agent.cells if self._agent else 0,
            tokens["input"],
            tokens["output"],
            time.monotonic() - self._began,
        )
        self._reader.services.emit(event)
