"""Has sub-agents answer questions, several at the same time, and goes on with them after a crash.

A sub-agent is numbered for people (``research:2``) and named for keys: the name follows from the key of the
call that asked and from the place of the question in it. So the same call finds its sub-agents again, however
the threads of an earlier process ran.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_intern.brains.base import Brain
from ml_intern.context import ToolContext
from ml_intern.errors import Interrupted, LimitReached, ToolError
from ml_intern.research.model import Finding, Question
from ml_intern.research.worker import Shared, Worker
from ml_intern.router.budget import BudgetSpent
from ml_intern.router.recorded import Recorded, Researched
from ml_intern.router.router import Router
from ml_intern.sandbox.base import Limits, Mounts, Sandbox

NOBODY = "There is no language model here, and research needs one."
TAKE_ONE = "Read in the cells themselves, or run with --model SCHEME:NAME."
FOLDER = "research"
POLL_S = 0.1
CLOSE_S = 5.0
STOP_AGAIN_S = 0.5
"""A cell that begins at the moment of a stop has not heard it, so it is said again."""


class Research:
    """The sub-agents of a session.

    Args:
        router: The session's; with it come its services, budget and journal, and what that knows.
        sandbox: Where their kernels run.
        mounts: What the session's cells see.
        limits: What they may use.
        brain_of: The brain of the sub-agent of a name; None where there is no language model.
        end: Ends the run when a sub-agent meets the session's ceiling.
    """

    def __init__(
        self,
        router: Router,
        sandbox: Sandbox,
        mounts: Callable[[], Mounts],
        limits: Callable[[], Limits],
        brain_of: Callable[[str], Brain | None],
        end: Callable[[LimitReached], None],
    ) -> None:
        self._router, self._brain_of, self._end = router, brain_of, end
        places = threading.Semaphore(router.services.settings.research_parallel)
        self._shared = Shared(router, sandbox, mounts, limits, places, self._count)
        self._past = router.earlier.recorded.research
        self._numbers = len(self._past)
        self._working: list[Worker] = []
        self._lock = threading.RLock()  # a journal that cannot be written interrupts from within
        known = [past.known for past in self._past.values()]
        used = [*(n.summary_tokens for n in known), *(said.tokens for n in known for said in n.answers)]
        self.tokens = {"input": sum(pair[0] for pair in used), "output": sum(pair[1] for pair in used)}

    @property
    def folder(self) -> Path:
        """Where the sub-agents' folders are."""
        return self._router.services.folder / FOLDER

    def ask(self, ctx: ToolContext, questions: Sequence[Question]) -> list[Finding]:
        """Have the questions of one call answered; see `Ask`.

        Raises:
            ToolError: There is no language model.
            Interrupted: The person stopped it, or the session's ceiling was met.
        """
        workers = [self._worker(ctx, index, asked) for index, asked in enumerate(questions)]
        with self._lock:
            self._working += workers
        try:
            for worker in workers:
                worker.start()
            self._wait(ctx, workers)
        finally:
            with self._lock:
                self._working = [worker for worker in self._working if worker not in workers]
        return [worker.found() for worker in workers]

    def interrupt(self) -> None:
        """Stop all that work."""
        with self._lock:
            working = list(self._working)
        for worker in working:
            worker.stop()

    def close(self) -> None:
        """End what still works: it writes to the session's journal, which is closed next."""
        self.interrupt()
        with self._lock:
            working = list(self._working)
        for worker in working:
            worker.close()
        for worker in working:
            worker.join(CLOSE_S)

    def _wait(self, ctx: ToolContext, workers: Sequence[Worker]) -> None:
        """Wait for all; a stop of the call stops them, and a ceiling that one meets stops the run."""
        said = 0.0
        while alive := [worker for worker in workers if worker.alive]:
            alive[0].join(POLL_S)
            if spent := next((w.error for w in workers if isinstance(w.error, BudgetSpent)), None):
                self._end(spent)
            stopping = alive if ctx.cancelled() else [worker for worker in alive if worker.stopping]
            if stopping and time.monotonic() > said + STOP_AGAIN_S:
                said = time.monotonic()
                for worker in stopping:
                    worker.stop()
        if spent := next((w.error for w in workers if isinstance(w.error, BudgetSpent)), None):
            self._end(spent)
            raise Interrupted(f"Research stopped: {spent.message}")

    def _worker(self, ctx: ToolContext, index: int, asked: Question) -> Worker:
        """The sub-agent of one question, as an earlier process left it or new."""
        name = f"{ctx.key.partition(':')[2]}:{index}"  # without the session: a replay has another one
        brain = self._brain_of(name)
        if brain is None:
            raise ToolError(NOBODY, TAKE_ONE)
        past = self._past.get(name) or self._begin(ctx, name, asked)
        return Worker(self._shared, ctx, name, asked, brain, past, self.folder)

    def _begin(self, ctx: ToolContext, name: str, asked: Question) -> Researched:
        with self._lock:  # the lines stand in the order of the numbers: none is given twice after a crash
            self._numbers += 1
            past = self._past[name] = Researched(f"research:{self._numbers}", Recorded())
            line = {"source": past.source, "name": name, "call": ctx.call, "question": asked.question}
            self._router.journal.append("research", {**line, "context": asked.context, "steps": asked.steps})
        return past

    def _count(self, input_tokens: int, output_tokens: int) -> None:
        with self._lock:
            self.tokens["input"] += input_tokens
            self.tokens["output"] += output_tokens
