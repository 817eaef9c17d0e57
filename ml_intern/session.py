"""One prompt and all that comes of it: assembles brain, sandbox, services, router and agent; runs them."""

from __future__ import annotations

import datetime
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from pathlib import Path
from secrets import token_hex
from subprocess import CompletedProcess
from typing import Any

from ml_intern.brains.base import Brain
from ml_intern.brains.factory import build_brain
from ml_intern.budget import Budget, parse_budget
from ml_intern.checks import check_price, check_settings, eval_file
from ml_intern.conversation import Conversation
from ml_intern.disk import DiskTrouble
from ml_intern.disk import told as disk_told
from ml_intern.durations import show_duration
from ml_intern.errors import Denied, InternError, Interrupted, LimitReached, NoBrain, UsageError
from ml_intern.events import Event, Notice, Published, SessionFinished, SessionStarted
from ml_intern.gate import Gate, Standing
from ml_intern.goals import Goals
from ml_intern.inbox import Inbox, What
from ml_intern.jobs.model import FINISHED
from ml_intern.journal import Journal
from ml_intern.lock import SessionLock
from ml_intern.masking import add_secret, mask, mask_all
from ml_intern.outside.mcp_servers import McpServers
from ml_intern.policy import idle_rules
from ml_intern.proxies import Proxy, keep
from ml_intern.recorded import Recorded
from ml_intern.registry import load_tools
from ml_intern.result import RunResult
from ml_intern.resuming import Damaged, saved_settings
from ml_intern.router import Approver, Router
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.secrets import Secrets, check_project, check_workspace
from ml_intern.services import assemble, facts
from ml_intern.settings import FILE, Settings
from ml_intern.snapshots import Snapshots
from ml_intern.undoing import keep_for_undo, put_back

INBOX_S = 0.3
"""How soon a stop from another process is seen."""

CLOSE_S = 30.0
"""How long the end of a session waits for calls that still run: a publication is told, not lost."""

STATUS = {0: "done", 1: "failed", 2: "usage", 3: "limit", 4: "denied", 5: "no_brain", 130: "interrupted"}


class Early:
    """Takes the events of a session that is being made, and hands them on once it is there."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._waiting = list(events)
        self._take: Callable[[Event], None] = self._waiting.append

    def __call__(self, event: Event) -> None:
        """Keep an event, or hand it on."""
        self._take(event)

    def hand_to(self, take: Callable[[Event], None]) -> None:
        """From now on events go there; first those that wait."""
        self._take = take
        for event in self._waiting:
            take(event)


class Session:
    """A run and its folder.

    ``Session.create`` checks what can be checked before anything is made: the settings, the budget, the brain
    and the sentence. The folder holds ``session.json``, ``journal.sqlite``, ``ledger.sqlite``, ``datasets``,
    ``jobs``, ``evals`` and, unless the settings name another, ``workspace``.
    """

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
    ) -> None:
        self.id = folder.name if folder else _fresh_id(settings.state / "sessions")
        self.settings = settings
        self.prompt = prompt
        self.folder = folder or settings.state / "sessions" / self.id
        self.workspace = settings.workspace or self.folder / "workspace"
        self.brain = brain
        self.sandbox = sandbox
        self.queue: queue.Queue[Event | None] = queue.Queue()
        self.published: list[dict[str, str]] = []
        self.errors: list[str] = []
        self.finished: SessionFinished | None = None
        self.late = False
        self.budget = Budget(parse_budget(settings.budget))
        gate = Gate(settings.policy, self.budget, settings.yes)
        self._closed = threading.Event()
        self.mcp = mcp or McpServers({})
        tools = load_tools(settings, self.mcp.specs())
        self.workspace.mkdir(parents=True, exist_ok=True)
        self._lock = SessionLock(self.folder)
        try:
            self.recorded = Recorded.in_folder(self.folder)
            self._restore(gate)
            self.journal = Journal(self.folder / "journal.sqlite")
            self.journal.keep_room()
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
        self.services.run_in_sandbox = self.run_command
        self.services.files.allow_from(prompt)
        self._register_eval()
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
        self.inbox = Inbox(self.folder)
        self.conversation = Conversation(self.inbox, self.journal, self.recorded)
        self.kernel: Any = None
        self.agent: Any = None
        self.journal.on_trouble = self.interrupt
        self._worker = threading.Thread(target=self._work, name="ml-intern-session", daemon=True)
        self._write_card("running", None)

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
        check_settings(settings)
        project = Path.cwd()
        check_workspace(settings.workspace, project)
        secrets = Secrets(os.environ, project)
        add_secret(settings.api_key or "")
        check_project(settings.base_url, settings.api_key, os.environ, project / FILE)
        early = Early(secrets.notices)
        prompt = _without_credentials(prompt, early)
        try:
            brain = build_brain(settings, early, secrets.env)
            brain.prepare(prompt)
        except NoBrain as error:
            # Why the key of .env did not count is what the person then wants to know.
            words = [error.hint, *(n.text for n in secrets.notices if n.level == "warning")]
            raise NoBrain(error.message, " ".join(filter(None, words))) from error
        check_price(settings, brain)
        sandbox = choose_sandbox(settings.sandbox, trusted=brain.trusted, settings=settings, env=secrets.env)
        mcp = McpServers(settings.mcp_servers, secrets.env)
        try:
            with disk_told(f"The state folder {settings.state}"):
                session = cls(settings, prompt, brain, sandbox, approver, secrets, mcp, folder)
        except BaseException:  # a Ctrl-C while the servers start: none of them stays
            mcp.close()
            raise
        idle = idle_rules(settings.policy, [*session.router.specs.values()])
        for line in [*mcp.problems, *idle]:
            early(Notice("warning", line))
        early.hand_to(session.emit)
        return session

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
        from ml_intern.resuming import reopen

        return reopen(cls, folder, approver, given)

    def _restore(self, gate: Gate) -> None:
        """What the journal knows of the budget, of standing approvals, and of what was told."""
        if self.recorded.budget:
            self.budget.restore(self.recorded.budget)
        for row in self.recorded.always:
            gate.allow_always(Standing.from_json(row))
        for event in self.recorded.events:
            if event["event"] == "Published":
                self._publish(event["repo"], event["url"], event["kind_of_repo"])
            elif event["event"] == "Notice" and event["level"] == "error" and not event.get("end"):
                self.errors.append(event["text"])

    def hear(self, was: Recorded) -> None:
        """Take what the person said, and how steps were numbered, from another session's record."""
        known = self.recorded
        known.played, known.turns, known.messages = was.numbers, was.turns, was.messages

    def _publish(self, repo: str, url: str, kind: str) -> None:
        row = {"repo": repo, "url": url, "type": kind}
        for known in self.published:
            if (known["repo"], known["type"]) == (repo, kind):
                known["url"] = (
                    url  # reconciled, it tells of itself again: an embedded Hub has another port now
                )
                return
        self.published.append(row)

    def emit(self, event: Event) -> None:
        """Put an event on the stream, without the credentials that a text in it may hold."""
        event = replace(event, **{f.name: mask_all(getattr(event, f.name)) for f in fields(event)})
        if isinstance(event, Published):
            self._publish(event.repo, event.url, event.kind_of_repo)
        if isinstance(event, Notice) and event.level == "error":
            self.errors.append(event.text)
        if not _chatty(event) and not self._closed.is_set():
            with suppress(DiskTrouble):  # it ends the run, and whoever tells something is not in the way
                self.journal.append("event", event.to_json())
        self.queue.put(event)

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
        while (event := self.queue.get()) is not None:
            yield event
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
            self.kernel.interrupt()
        return bool(stopped)

    def _watch_inbox(self) -> None:
        """What another process asks of this session is done at once; messages wait for the next step."""
        while self._worker.is_alive() and not self._closed.wait(INBOX_S):
            for what in self.inbox.take_stops():
                self.stop(what)

    def interrupt(self) -> None:
        """Stop: the running cell is interrupted, waiting tools give up, no further step begins."""
        self.router.stop.run()
        self.brain.interrupt()
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
            last.callback(self._closed.set)
            last.callback(self.services.ledger.close)
            last.callback(self.sandbox.stop)
            last.callback(self.services.hub.close)
            last.callback(self.mcp.close)
            if self.kernel is not None:
                last.callback(self.kernel.close)

    def result(self) -> RunResult:
        """What came of the run."""
        return RunResult.of(self)

    def _work(self) -> None:
        answer, error = "", None
        clock = self._start_clock()
        try:
            answer = self._drive()
        except InternError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - the top of the session's thread: one line, and the journal
            error = self._unexpected(failure)
        finally:
            if clock:
                clock.cancel()
            try:
                error = self._why(error)
                self._finish(answer, error)
            except Exception as failure:  # noqa: BLE001 - the same: what a full disk leaves is told, not shown
                self._finish_untold(error or self._unexpected(failure))
            finally:
                self.queue.put(None)

    def _unexpected(self, failure: Exception) -> InternError:
        """An error that nobody has put into words: one of the disk, or a defect of ours."""
        if isinstance(failure, InternError):
            return failure
        if trouble := DiskTrouble.of(failure):
            return trouble
        with suppress(DiskTrouble):
            self.journal.append("bug", {"error": repr(failure)})
        told = f"The intern failed inside: {type(failure).__name__}: {failure}."
        return InternError(told, "Please report this.")

    def _finish_untold(self, error: InternError) -> None:
        """The end of a run that cannot write it down: the person at least is told."""
        if mask(str(error)) not in self.errors:
            self.errors.append(mask(str(error)))
            self.queue.put(Notice("error", self.errors[-1]))
        code = error.exit_code
        self.finished = SessionFinished(self.id, STATUS.get(code, "failed"), code, "")
        self.queue.put(self.finished)

    def _start_clock(self) -> threading.Timer | None:
        """Interrupt at the end of the wall time, also in the middle of a cell or of a call that waits."""
        left = self.budget.left()["seconds"]
        if left is None:
            return None

        def ring() -> None:
            self.late = True
            self.interrupt()

        clock = threading.Timer(left, ring)
        clock.daemon = True
        clock.start()
        return clock

    def _why(self, error: InternError | None) -> InternError | None:
        """Why the run ended: of several reasons the one that was first."""
        if not self.router.interrupted.is_set() or error is None:
            return error
        if self.journal.trouble is not None:
            return self.journal.trouble
        if self.kernel is not None and not self.kernel.wait_for_calls(CLOSE_S):
            self.emit(Notice("error", "A call still runs; the Hub and the jobs tell what came of it."))
        if self.late:
            cap = show_duration(self.budget.caps["seconds"])
            return LimitReached(f"The budget of {cap} is used up.", "Raise --budget to go on.")
        return Interrupted("Stopped by the person.")

    def _drive(self) -> str:
        from ml_intern.agent import InternAgent
        from ml_intern.executor import KernelExecutor
        from ml_intern.instructions import isolation, system_prompt
        from ml_intern.sandbox.host import KernelHost

        specs = list(self.router.specs.values())
        told = facts(self.services)
        if self.router.desk.approver is None:
            allowed = ", ".join(self.settings.yes) or "nothing"
            told += (
                "\n- Nobody is there to ask: what a person would be asked about (public publishing, network "
                f"for scripts, deleting, what is over the budget) is denied. Allowed beforehand: {allowed}."
            )
        system = mask(
            system_prompt(
                specs, isolation=isolation(self.sandbox, self.limits()), workspace=self.workspace, facts=told
            )
        )
        settings, proxies = self.settings, self.proxies()
        keep(self.folder, proxies)
        self.kernel = KernelHost(
            self.sandbox,
            self.mounts(),
            self.limits(),
            proxies,
            lambda name, arguments: executor.call_tool(name, arguments),
            timeout_s=settings.cell_timeout_s,
            grace_s=settings.cell_grace_s,
            output_chars=settings.observation_chars,
        )
        recorded = self.recorded
        executor = KernelExecutor(
            self.kernel,
            self.router,
            self.journal,
            settings.observation_chars,
            recorded,
            self.router.snapshots,
            self.took_over,
        )
        if recorded.anything:  # the kernel starts with the first cell that has to run
            self.emit(Notice("info", _told_of(recorded)))
        else:
            self.kernel.start()
        self.agent = InternAgent(
            self.brain,
            executor,
            system,
            settings,
            self.budget,
            self.journal,
            recorded,
            self.conversation,
            self._goals(),
        )
        return self._take_turns()

    def proxies(self) -> Sequence[Proxy]:
        """What the cells can call."""
        return [spec.proxy() for spec in self.router.specs.values()]

    def _take_turns(self) -> str:
        """The answer to the last of the prompts: the first one, and what the person said after an answer."""
        if not self.recorded.anything:
            keep_for_undo(self, self.recorded.begun)
        answer = str(self.agent.run(self.prompt))
        while turn := self.conversation.next_turn(self.agent.number + 1):
            if not turn.known:
                keep_for_undo(self, turn.step)
            if not self.brain.language_model:
                self._prepare(turn.prompt)
            answer = str(self.agent.run(turn.prompt, reset=False))
        return answer

    def _prepare(self, prompt: str) -> None:
        """A playbook for a further turn.

        Raises:
            UsageError: None understands the prompt, or the one that does may not run in this sandbox.
        """
        trusted = self.brain.trusted
        self.brain.prepare(prompt)
        if trusted and not self.brain.trusted:
            raise UsageError(
                f"{self.brain.label} is your own, and the sandbox was chosen for a playbook of ours.",
                "Begin a session of its own for it.",
            )

    def _goals(self) -> Goals:
        """Who is told to go on: a language model that nobody watches, and that was not told before."""
        told = any(ran.held for ran in self.recorded.cells.values())
        alone = self.router.desk.approver is None and self.brain.language_model
        return Goals(self.services, self.budget, self.settings.go_on and alone and not told)

    def _register_eval(self) -> None:
        """Seal the file of ``--eval``; from then on no tool reads it. A bare name is the brain's to make."""
        if path := eval_file(self.settings):
            from ml_intern.evals.files import register_file

            register_file(self.services.evals, path)
            self.services.files.close(path)

    def run_command(self, argv: list[str], timeout_s: float) -> CompletedProcess[str]:
        """Run a command behind the walls of this session's cells."""
        return run_in_sandbox(
            self.sandbox, self.mounts(), self.limits(), argv, timeout_s, self.router.interrupted.is_set
        )

    def limits(self) -> Limits:
        """What cells and commands may use."""
        s = self.settings
        return Limits(
            s.sandbox_memory_mb,
            s.sandbox_processes,
            s.sandbox_disk_mb,
            growth_mb=s.sandbox_growth_mb,
            cpus=s.sandbox_cpus or None,
        )

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
        self.journal.give_up_room()
        self.router.meter.settle()
        if error is None and self.router.denied:
            error = Denied("The run ended, but something it asked for was denied: " + self.router.denied[0])
        if left := [job.id for job in self.services.jobs.list() if job.state not in FINISHED]:
            told = f"{len(left)} job{'s run' if len(left) > 1 else ' runs'} on: {', '.join(left)}"
            self.emit(Notice("warning", f"{told} (ml-intern jobs shows how they go)."))
        if error is None and self.inbox.messages(self.recorded.heard):
            self.emit(Notice("info", "A message came after the answer: ml-intern resume goes on with it."))
        code = error.exit_code if error else 0
        if error is not None:
            self._tell_end(str(error))
        self.finished = SessionFinished(self.id, STATUS.get(code, "failed"), code, mask(answer))
        self._write_card(self.finished.status, code)
        self._renew_report()
        with self.budget.books:
            line = {**self.finished.to_json(), "budget": self.budget.snapshot()}
            self.journal.append("finished", line, durable=True)
        self.queue.put(self.finished)

    def _tell_end(self, text: str) -> None:
        """Why the run ended. Of a session that goes on it is no error any more."""
        notice = Notice("error", mask(text))
        self.errors.append(notice.text)
        self.journal.append("event", {**notice.to_json(), "end": True})
        self.queue.put(notice)

    def _renew_report(self) -> None:
        """A report that a publication left in the workspace was written before the end: tell the end, too."""
        copy = self.workspace / "report" / "report.html"
        if not copy.is_file():
            return
        from ml_intern.hub.report import write_report
        from ml_intern.safe_files import write_file

        try:
            whole = write_report(self.folder)
            for name in ("report.html", "report.md"):
                write_file(self.workspace, copy.with_name(name), whole.with_name(name).read_bytes())
        except (OSError, InternError) as error:
            self.emit(Notice("warning", f"The report in the workspace was not renewed: {error}"))

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
            "settings": saved_settings(self.settings),
        }
        path: Path = self.folder / "session.json"
        if path.exists():
            card["created"] = json.loads(path.read_text())["created"]
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(mask_all(card), indent=2))
        fresh.replace(path)


def _fresh_id(sessions: Path) -> str:
    """An id that no session has, also where the clock was set back to the time of an older one."""
    while True:
        name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{token_hex(2)}"
        if not (sessions / name).exists():
            return name


def _told_of(recorded: Recorded) -> str:
    """What a run that goes on starts from."""
    if recorded.answered:
        return "The session has come to its end already; this is its result."
    answers, cells = len(recorded.answers), len(recorded.cells)
    told = f"Going on: {answers} answers of the brain and {cells} finished cells are taken from the journal."
    if not recorded.under_way:
        return told
    again = f"Step {recorded.under_way} was under way and runs again from its beginning"
    return f"{told} {again}; calls that ended are not repeated."


def _without_credentials(prompt: str, emit: Callable[[Event], None]) -> str:
    """The prompt as everybody may read it: a brain, the journal, a provider. The person is told."""
    hidden = mask(prompt)
    if hidden != prompt:
        told = "A credential in the prompt was hidden: neither the brain nor its cells get one."
        emit(Notice("warning", f"{told} Set it in the environment or in .env."))
    return hidden


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
