"""Between smolagents and the kernel: runs a cell, sends its calls to the router."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ml_intern.agent import strangers
from ml_intern.agent.hints import missing_file
from ml_intern.brains.replies import CELL_FAILED
from ml_intern.errors import InternError
from ml_intern.events import CellFinished, CellOutput, CellStarted, Notice
from ml_intern.jobs.model import FINISHED
from ml_intern.journal.journal import NOT_TAKEN, Journal
from ml_intern.router.recorded import Ran, Recorded
from ml_intern.router.router import Router
from ml_intern.sandbox.host import CallReply, CellResult, KernelHost
from ml_intern.secrets.mask_parts import StreamMask, mask_cut
from ml_intern.secrets.masking import mask, mask_all
from ml_intern.workspace.keeping import Kept
from ml_intern.workspace.snapshots import Snapshots

if TYPE_CHECKING:
    from smolagents.local_python_executor import CodeOutput

    from ml_intern.research.reader import Reader


CALLS_S = 10.0
"""How long a stopped cell's calls may take to give up."""

RUNS_ON = "Not stopped with it: "
STOPPED_CELL = "The person stopped this cell. The run goes on: do something else, or do it in another way."


class CellFailed(InternError):
    """A cell raised, was stopped, or lost its kernel; the message is what the brain reads."""


class KernelExecutor:
    """What smolagents calls a Python executor, in front of our kernel.

    The observation is made here: the output, the error with the cell's own lines, the last value, the
    variables that are new, and what a restart lost.

    Attributes:
        hold: Asked when a cell gives the final answer, with it: why it is not taken yet, or nothing.
        scratch: The working folder began empty in this process: cells that run again fill it as they did.
    """

    def __init__(
        self,
        kernel: KernelHost,
        router: Router | Reader,
        journal: Journal,
        observation_chars: int,
        recorded: Recorded | None = None,
        snapshots: Snapshots | None = None,
        took_over: bool = False,
    ) -> None:
        self.took_over = took_over
        self._known_kernel: dict[str, Any] = {}
        self.recorded = recorded or Recorded()
        self.snapshots = snapshots or Snapshots.off()
        self._resumed = False
        self.played: list[Ran] = []
        self.kernel = kernel
        kernel.stopping = router.interrupted.is_set
        self.router = router
        self.journal = journal
        self.observation_chars = observation_chars
        self.step = 0
        self.hold: Callable[[str], str] = lambda answer: ""
        self.scratch = False
        self._notes: list[str] = []
        self._heard: list[str] = []
        self.state: dict[str, Any] = {}

    def send_tools(self, tools: Mapping[str, Any]) -> None:
        """Nothing to do: the kernel got its proxies when it started."""

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Nothing to do: a session has no variables beside those of its cells."""

    def call_tool(self, name: str, arguments: dict[str, Any]) -> CallReply:
        """One call of the running cell. Neither its arguments nor its answer carry a credential."""
        given = mask_all(arguments)
        if given != arguments:
            told = f"A credential in the arguments of {mask(name)[:100]} was hidden before the call."
            self.router.services.emit(Notice("warning", told))
            self._notes.append(told)
        outcome = self.router.call(name, given, source=f"cell-{self.step}")
        if strangers.speaks(name, self.router.origin_of(name)):
            self._heard.append(name)
        return CallReply(outcome.ok, mask_all(outcome.value), mask(outcome.message), mask(outcome.hint))

    def __call__(self, code: str, note: str = "") -> CodeOutput:
        """Run a cell; `note` is what the brain should know of its reply beside what came of it.

        Raises:
            CellFailed: With the observation that the brain reads.
        """
        ran = self.recorded.cells.get(self.step)
        if ran is not None and ran.code == code:
            self.played.append(ran)
            return self._output(ran.ok, ran.final, ran.answer if ran.final else None, ran.observation)
        note = "\n".join(filter(None, [note, self._catch_up()]))
        emit = self.router.services.emit
        emit(CellStarted(self.step, code))
        self.snapshots.before_cell(self.step)
        self.journal.append("cell", {"step": self.step, "code": code})
        stream, self._notes, self._heard = StreamMask(), [], []
        with self.router.stop.doing("cell"), self._cut_as_then():
            result = self.kernel.run(code, on_output=lambda text: self._show(stream.feed(text)))
        self._show(stream.flush())
        self._note_stop()
        asked = result.final and not self.router.interrupted.is_set()
        held = self.hold(str(result.answer)) if asked else ""
        final = result.final and not held
        note = "\n".join(filter(None, [*self._notes, *strangers.told(self._heard), mask(note), mask(held)]))
        observation = "\n".join(filter(None, [self.observe(result), note]))
        self.snapshots.after_cell(self.step, bool(result.lost) or _stopped(result))
        self.journal.append(
            "cell_done",
            {
                "step": self.step,
                "ok": result.ok,
                "observation": observation,
                "final": final,
                "answer": result.answer,
                "note": note,
                "held": bool(held),
                "lost": bool(result.lost),
                "cut": result.stopped_s if _stopped(result) else None,
                "cut_chars": result.stopped_chars if _stopped(result) else 0,
                "stopped": not result.ok and not result.final and self.router.interrupted.is_set(),
            },
        )
        self._note_kernel()
        emit(CellFinished(self.step, result.ok, observation, result.seconds))
        if held:
            emit(Notice("warning", f"The answer was held back. The brain was told: {_reason(held)}"))
        value = result.answer if final else result.value
        return self._output(result.ok, final, value, observation)

    @contextmanager
    def _cut_as_then(self) -> Iterator[None]:
        """In a replay, a cell that was stopped is stopped again."""
        ran = self.recorded.cut_cells.get(self.step)
        if ran is None:
            yield
            return
        from ml_intern.agent.rebuilding import cut

        with cut(self, ran):
            yield
        self._notes += [line for line in ran.note.splitlines() if line.startswith((STOPPED_CELL, RUNS_ON))]

    def _note_stop(self) -> None:
        """Where the person stopped this cell and no more: its calls give up before the switch goes back."""
        stop, services = self.router.stop, self.router.services
        if stop.only and not self.kernel.wait_for_calls(CALLS_S):
            services.emit(Notice("warning", "A call of the stopped cell still runs."))
        if stop.was_only_this():
            self._notes.append(STOPPED_CELL)
            if jobs := [job.id for job in services.jobs.list() if job.state not in FINISHED]:
                self._notes.append(f"{RUNS_ON}{', '.join(jobs)}.")

    def _catch_up(self) -> str:
        """Before the first cell that really runs: files and kernel as they were; what the brain is told."""
        if not self._resumed and self.recorded.anything:
            Kept(self.router.services.folder, self.kernel.mounts.workspace).put_back()
            self.snapshots.resume(self.recorded.under_way)
        self._resumed = True
        if self.played:
            from ml_intern.agent.rebuilding import rebuild

            past, self.played = self.played, []
            return rebuild(self, past)
        return ""

    def _note_kernel(self) -> None:
        """Write down where the kernel runs, if it outlives this process: who goes on may take it over."""
        where = self.kernel.sandbox.running()
        if where != self._known_kernel:
            self._known_kernel = where
            self.journal.append("kernel", where)

    def _output(self, ok: bool, final: bool, value: Any, observation: str) -> CodeOutput:
        from smolagents.local_python_executor import CodeOutput

        if not ok and not final:
            raise CellFailed(observation)
        return CodeOutput(output=value, logs=observation, is_final_answer=final)

    def _show(self, text: str) -> None:
        if text:
            self.router.services.emit(CellOutput(self.step, text))

    def observe(self, result: CellResult) -> str:
        """What the brain reads of a cell, at most `observation_chars` long but for the error's end."""
        parts = [] if result.ok or result.final else [CELL_FAILED]
        if result.output:
            # The kernel has shortened it already, and names the file that holds the whole.
            parts.append(mask_cut(result.output.rstrip("\n")))
        # Masked before they are cut: half of a credential is not known for one.
        if result.error:
            parts.append(head_and_tail(mask(result.error.rstrip("\n")), self.observation_chars // 2))
            parts += filter(None, [missing_file(result.error, self.router.services.files)])
        if result.value:
            parts.append("Out: " + head_and_tail(mask(result.value), self.observation_chars // 2))
        if result.variables:
            shown = ", ".join(f"{name}: {kind}" for name, kind in result.variables.items())
            parts.append("Variables: " + head_and_tail(mask(shown), 1000))
        if result.lost:
            parts.append(result.lost)
        return mask("\n".join(parts)) or "(no output)"

    def cleanup(self) -> None:
        """End the kernel."""
        self.kernel.close()


def _stopped(result: CellResult) -> bool:
    """Whether a cell had to be stopped, and its kernel lives on with what it left."""
    return not result.ok and not result.lost and "The cell was stopped:" in result.error


def _reason(held: str) -> str:
    """Why an answer was held back, without the words that every such text begins with."""
    return held.removeprefix(NOT_TAKEN).lstrip(" .:")


def head_and_tail(text: str, limit: int) -> str:
    """The text, or its first and last parts with the count of what lies between."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 2], text[-(limit - limit // 2) :]
    return f"{head}\n… {len(text) - limit} characters left out …\n{tail}"
