"""One prompt and all that comes of it: assembles brain, sandbox, services, router and agent; runs them."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.agent.consulting import Consulting
from ml_intern.agent.conversation import Conversation
from ml_intern.agent.goals import Goals
from ml_intern.agent.inbox import Inbox, What
from ml_intern.agent.judging import Judging
from ml_intern.brains.base import Brain
from ml_intern.brains.borrowed import Borrowed
from ml_intern.errors import InternError, LimitReached
from ml_intern.evals.named import Brought, bring
from ml_intern.events import (
    Event,
    JobChanged,
    Notice,
    SessionFinished,
    SessionStarted,
)
from ml_intern.journal.journal import Journal
from ml_intern.notifying import Notifier, read_targets
from ml_intern.notifying.messages import About
from ml_intern.outside.mcp_servers import McpServers
from ml_intern.research.service import Research
from ml_intern.result import RunResult
from ml_intern.router.budget import Budget, parse_budget
from ml_intern.router.gate import Gate, Standing
from ml_intern.router.proxies import Proxy
from ml_intern.router.recorded import Answered, Recorded
from ml_intern.router.registry import load_tools
from ml_intern.router.router import Approver, Router
from ml_intern.sandbox.base import Sandbox
from ml_intern.secrets.masking import mask
from ml_intern.secrets.secrets import Secrets
from ml_intern.session.card import write_card, write_setting
from ml_intern.session.driving import drive
from ml_intern.session.ending import CLOSE_S, finish, finish_untold, unexpected, why
from ml_intern.session.holding_back import answer_check, goals, heard, reviewed, time_of_task
from ml_intern.session.lock import SessionLock
from ml_intern.session.opening import fresh_id, open_session
from ml_intern.session.resuming import Damaged
from ml_intern.session.services import assemble
from ml_intern.session.telling import Telling
from ml_intern.session.undoing import put_back
from ml_intern.session.wall_time import WallTime
from ml_intern.session.walls import Walls
from ml_intern.settings import Settings
from ml_intern.workspace.disk import DiskTrouble
from ml_intern.workspace.snapshots import Snapshots

if TYPE_CHECKING:
    from ml_intern.claims.judging import Review

INBOX_S = 0.3
"""How soon a stop or a word from another process is seen."""
JOBS_S = 2.0
"""Between two looks at jobs that nobody waits for."""


class Session:
    """A run and its folder.

    ``Session.create`` checks what can be checked before anything is made: the settings, the budget, the brain
    and the sentence. The folder holds ``session.json``, ``journal.sqlite``, ``ledger.sqlite``, ``datasets``,
    ``jobs``, ``evals`` and, unless the settings name another, ``workspace``.
    """

    brainless = False
    """Its calls come from elsewhere: an assistant over MCP."""
    shares = True
    """Its trace goes where the settings say at its end; a replay's does not."""

    def __init__(
        self,
        settings: Settings,
        prompt: str,
        brain: Brain,
        sandbox: Sandbox,
        approver: Approver | None,
        secrets: Secrets | None = None,
        mcp: McpServers | None = None,
        folder: Path | None = None,
        research_brain: Brain | None = None,
        judge: Brain | None = None,
        evals: Sequence[Brought] | None = None,
    ) -> None:
        self.id = folder.name if folder else fresh_id(settings.state / "sessions")
        self.settings = settings
        self.prompt = prompt
        self.folder = folder or settings.state / "sessions" / self.id
        self.workspace = settings.workspace or self.folder / "workspace"
        self.brain = brain
        self.sandbox = sandbox
        self.finished: SessionFinished | None = None
        self.answered: SessionFinished | None = None
        """Of a session that stays: the end as it would be, were the last turn's answer the last one."""
        self.stays = False
        """After an answer it waits for the person's next words; `leave` ends it."""
        self.leaving = threading.Event()
        self.notifier, untold = self._notifier(secrets)
        self.over: LimitReached | None = None
        self.research_brain = research_brain or brain
        self.budget = Budget(parse_budget(settings.budget))
        self.telling = Telling(self.budget, self.notifier)
        self.wall_time = WallTime(self.budget, self.interrupt)
        gate = Gate(settings.policy, self.budget, settings.yes)
        self.mcp = mcp or McpServers({})
        tools = load_tools(settings, self.mcp.specs())
        self.workspace.mkdir(parents=True, exist_ok=True)
        self._lock = SessionLock(self.folder)
        try:
            self.recorded = Recorded.in_folder(self.folder)
            self._restore(gate)
            self.journal = Journal(self.folder / "journal.sqlite")
            self.journal.keep_room()
            self.telling.journal = self.journal
        except (sqlite3.DatabaseError, ValueError, OSError, DiskTrouble) as error:
            self._lock.release()
            if trouble := DiskTrouble.of(error, f"The journal of the session {self.id}"):
                raise trouble from error
            if isinstance(error, (OSError, DiskTrouble)):
                raise
            raise Damaged.of(self.folder, error) from None
        sandbox.own(self.folder, self.workspace)
        self.took_over = folder is not None and sandbox.recover(self.recorded.left_kernel)
        put_back(self.folder, self.workspace, self.recorded.undone)
        self.services = assemble(self.id, self.folder, self.workspace, settings, sandbox, self.emit, secrets)
        self.services.files.allow_from(prompt)
        self._seal(evals)
        self.router = Router(tools, self.services, gate, self.budget, self.journal, approver, self.recorded)
        self.router.snapshots = Snapshots(
            self.folder,
            self.workspace,
            settings.snapshot_files,
            settings.snapshot_mb << 20,
            lambda text: self.emit(Notice("warning", text)),
        )
        self.services.anew = lambda: self.router.snapshots.again
        self.services.left, self.services.spent = self.router.left, self.router.spent
        self.services.task_time = lambda: time_of_task(self)
        interrupted = self.router.interrupted.is_set
        self.walls = Walls(sandbox, lambda: self.settings, self.folder, self.workspace, interrupted)
        self.services.run_in_sandbox = self.walls.run
        self.research = Research(
            self.router, sandbox, self.walls.mounts, self.walls.limits, self.brain_of, self._end_with
        )
        self.services.research = self.research.ask
        self.consulting = Consulting(self.router, self.brain_of, self.consulted)
        self.services.consult = self.consulting.ask
        self.judging = Judging(self.router, judge) if judge else None
        self.services.evals.judge = self.judging
        brain.begin(self.services)
        self.inbox = Inbox(self.folder)
        self.services.heard = lambda: heard(self)
        self.services.notify = self.notifier.message
        self.notifier.asks = lambda: self.router.desk.approver is not None
        for line in untold:
            self.emit(Notice("warning", line))
        self.claims: Review | None = None
        self.answers = answer_check(self)
        self.conversation = Conversation(
            self.inbox, self.journal, self.recorded, self.emit, self.services.files.allow_from
        )
        self.kernel: Any = None
        self.agent: Any = None
        self.journal.on_trouble = self.interrupt
        self._worker = threading.Thread(target=self._work, name="ml-intern-session", daemon=True)
        self.write_card("running", None)

    @classmethod
    def create(
        cls, settings: Settings, prompt: str, approver: Approver | None = None, folder: Path | None = None
    ) -> Session:
        """Check everything, then make the session's folder, or open that of one that goes on.

        Raises:
            UsageError: A setting or the sentence is not understood.
            NoBrain: The brain cannot be reached.
            Denied: There is no sandbox for the brain's cells.
        """
        return open_session(cls, settings, prompt, approver, folder)

    @classmethod
    def resume(cls, folder: Path, approver: Approver | None = None, **given: Any) -> Session:
        """Go on with a session where it ended, however it ended.

        Args:
            folder: The session's.
            approver: Answers the gate's questions.
            **given: Settings that shall be others than they were.

        Raises:
            SessionBusy: Another process runs it.
            Damaged: Its journal cannot be read to the end.
            UsageError: It cannot go on with these settings.
        """
        from ml_intern.session.resuming import reopen

        return reopen(cls, folder, approver, given)

    def _notifier(self, secrets: Secrets | None) -> tuple[Notifier, list[str]]:
        targets, problems = read_targets(self.settings, secrets.env if secrets else os.environ)
        about = About(self.id, mask(self.prompt), self.brain.label)
        told = Notifier(
            targets, self.settings.notify_on, about, lambda text: self.emit(Notice("warning", text))
        )
        return told, problems

    def _restore(self, gate: Gate) -> None:
        """What the journal knows of the budget, of standing approvals, and of what was told."""
        if self.recorded.budget:
            self.budget.restore(self.recorded.budget)
        for row in self.recorded.always:
            gate.allow_always(Standing.from_json(row))
        for event in self.recorded.events:
            if event["event"] == "Published":
                self.telling.publish(event["repo"], event["url"], event["kind_of_repo"])
            elif event["event"] == "Notice" and event["level"] == "error" and not event.get("end"):
                self.errors.append(event["text"])

    def hear(self, was: Recorded) -> None:
        """Take what the person said, and how steps were numbered, from another session's record."""
        known = self.recorded
        known.played, known.turns, known.messages = was.numbers, was.turns, was.messages
        known.cut_cells = {step: ran for step, ran in was.cells.items() if ran.cut is not None}

    def emit(self, event: Event) -> None:
        """Put an event on the stream, without the credentials that a text in it may hold."""
        self.telling.emit(event)

    @property
    def published(self) -> list[dict[str, str]]:
        """What was published, a row a repository: ``repo``, ``url``, ``type``."""
        return self.telling.published

    @property
    def errors(self) -> list[str]:
        """What went wrong, as it was told."""
        return self.telling.errors

    def run(self) -> Iterator[Event]:
        """Run to the end; the events as they come, the last one a `SessionFinished`."""
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
        self._worker.start()
        threading.Thread(target=self._watch_inbox, name="ml-intern-inbox", daemon=True).start()
        threading.Thread(target=self._watch_jobs, name="ml-intern-jobs", daemon=True).start()
        over = False
        while (event := self.telling.queue.get()) is not None:
            if not (over and isinstance(event, JobChanged)):  # the end is told last, whatever a job does
                yield event
            over = over or isinstance(event, SessionFinished)
        self._worker.join()

    def say(self, text: str) -> None:
        """Tell the brain something while it works: it reads it before its next answer.

        What is said after the last answer becomes the next turn.

        Raises:
            UsageError: There is no text, or far too much.
        """
        self.inbox.say(text)

    def stop(self, what: What = "run") -> bool:
        """Stop the running cell; the step, which is a cell or an answer that is being written; or the run.

        After a cell or a step the run goes on, and the brain is told. False: there was nothing to stop.
        """
        if what == "run":
            self.interrupt()
            return True
        stopped = self.router.stop.this(("cell",) if what == "cell" else ("cell", "step"))
        if stopped == "step":
            self.brain.interrupt()
        elif stopped and self.kernel is not None:
            self.research.interrupt()
            self.kernel.interrupt()
        return bool(stopped)

    def allow(self, words: Sequence[str]) -> None:
        """Take other words of ``--yes`` from now on; they stay with the session.

        Raises:
            UsageError: Names a word that is not known.
        """
        self.router.gate.permit(words)
        self._keep_setting("yes", list(words))

    def revoke(self) -> None:
        """Ask again about what a person allowed for the whole session by an "always"."""
        self.router.gate.revoke()
        self.journal.append("revoked", {}, durable=True)

    def set_budget(self, text: str) -> None:
        """Another ceiling from now on; what was spent counts, and it stays with the session.

        Raises:
            UsageError: It is not understood.
        """
        self.budget.caps = parse_budget(text)
        self._keep_setting("budget", text)
        self.wall_time.start_anew()

    def compact(self) -> None:
        """Make the context shorter before the brain is asked the next time."""
        if self.agent is not None:
            self.agent.compact = True

    def _keep_setting(self, name: str, value: Any) -> None:
        self.settings = self.settings.model_copy(update={name: value})
        write_setting(self)

    def _watch_inbox(self) -> None:
        """What another process asks of this session is done at once; messages wait for the next step."""
        while self._worker.is_alive() and not self.telling.closed.wait(INBOX_S):
            for what in self.inbox.take_stops():
                self.stop(what)

    def _watch_jobs(self) -> None:
        """Whoever looks on sees how jobs stand, also while nobody waits for them."""
        while not self.telling.closed.wait(JOBS_S) and self._worker.is_alive():
            with suppress(InternError, OSError, ValueError):  # its folder may be gone; the next look tells
                self.services.jobs.refresh()

    def interrupt(self) -> None:
        """Stop: the running cell is interrupted, waiting tools give up, no further step begins."""
        self.router.stop.run()
        self.brain.interrupt()
        self.research.interrupt()
        if self.kernel is not None:
            self.kernel.interrupt()

    def close(self) -> None:
        """End the run and the services. Jobs that run go on; they are processes of their own."""
        if self._worker.is_alive():
            deadline = time.monotonic() + CLOSE_S
            while self._worker.is_alive() and time.monotonic() < deadline:
                self.interrupt()  # again: a cell that begins at this moment has not heard the first
                self._worker.join(0.5)
        with ExitStack() as last:  # the last one first, each whatever the others do
            last.callback(self._lock.release)
            last.callback(self.journal.close)
            last.callback(self.journal.give_up_room)
            last.callback(self.telling.closed.set)
            last.callback(self.services.ledger.close)
            last.callback(self.sandbox.stop)
            last.callback(self.research.close)
            last.callback(self.services.hub.close)
            last.callback(self.mcp.close)
            last.callback(self.notifier.close)
            if self.kernel is not None:
                last.callback(self.kernel.close)

    def result(self) -> RunResult:
        """What came of the run."""
        return RunResult.of(self)

    def tokens(self) -> dict[str, int]:
        """Input and output of all brains, as their providers counted them."""
        own = self.agent.tokens if self.agent else {}
        others = [self.research.tokens, self.consulting.tokens]
        others += [self.judging.tokens] if self.judging else []
        return {side: own.get(side, 0) + sum(used[side] for used in others) for side in ("input", "output")}

    def brain_of(self, name: str) -> Brain | None:
        """The brain of the sub-agent of that name; None where no language model is there."""
        return Borrowed(self.research_brain) if self.research_brain.language_model else None

    def consulted(self) -> dict[str, list[Answered]]:
        """What the brain has told tools before, by the key of the call."""
        return self.recorded.consulted

    def _end_with(self, error: LimitReached) -> None:
        """A sub-agent met the session's ceiling: the run ends there, in the middle of its cell."""
        self.over = error
        self.interrupt()

    def _work(self) -> None:
        answer, error = "", None
        self.wall_time.start()
        try:
            answer = self.drive()
            error = self.brain.verdict()
        except InternError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - the top of the session's thread: one line, and the journal
            error = unexpected(self, failure)
        finally:
            self.wall_time.cancel()
            try:
                error = why(self, error)
                self.finish(answer, error)
            except Exception as failure:  # noqa: BLE001 - the same: what a full disk leaves is told, not shown
                finish_untold(self, error or unexpected(self, failure))
            finally:
                self.telling.queue.put(None)

    def drive(self) -> str:
        """Take the brain through the turns; its last answer."""
        return drive(self)

    def leave(self) -> None:
        """A session that stays ends with its last answer; one that works ends after this turn."""
        self.leaving.set()

    def proxies(self) -> Sequence[Proxy]:
        """What the cells can call."""
        return [spec.proxy() for spec in self.router.specs.values()]

    def _seal(self, brought: Sequence[Brought] | None) -> None:
        """Seal what ``--eval`` names; from then on no tool reads it."""
        if brought is None:
            brought = bring(self.settings, lambda: self.services.hub, self.folder / "evals")
        names = []
        for evaluation in brought:
            names.append(evaluation.seal(self.services.evals).name)
            for path in evaluation.files:
                self.services.files.close(path)
            if evaluation.told:
                self.emit(Notice("info", evaluation.told))
        self.services.evals.decides = names[0] if names else None

    def goals(self) -> Goals:
        """What is open when the brain wants to end."""
        return goals(self)

    def reviewed(self, answer: str) -> Review | None:
        """The numbers of an answer, held against what was measured; None where nothing is looked at."""
        return reviewed(self, answer)

    def finish(self, answer: str, error: InternError | None) -> None:
        """The end of a run is told and written down."""
        finish(self, answer, error)

    def write_card(self, status: str, code: int | None) -> None:
        """What is known of the session without opening its journal."""
        write_card(self, status, code)
