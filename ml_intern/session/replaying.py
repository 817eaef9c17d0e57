"""A session once more, without a brain: recorded answers in a fresh session, tools recorded or live.

With recorded results nothing is needed but a sandbox: no server is started, no file of tools is read, no
person is asked, and what the cells could call is what they could call then. With live tools the settings of
today count: their tools, their servers, their rules; a yes that was given then is none for a second time.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.agent.goals import Goals
from ml_intern.brains.base import Brain, Ending, answer
from ml_intern.errors import InternError, UsageError
from ml_intern.events import CellFinished, Event, Notice
from ml_intern.journal.journal import NOT_TAKEN
from ml_intern.journal.reading import CARD, JOURNAL
from ml_intern.outside.mcp_servers import McpServers
from ml_intern.result import RunResult
from ml_intern.router.proxies import Proxy, kept
from ml_intern.router.recorded import Answered, Recorded
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.secrets.secrets import Secrets
from ml_intern.session.comparing import Difference, compare, not_reached, summary
from ml_intern.session.resuming import Damaged, read_card, settings_of
from ml_intern.session.session import Session
from ml_intern.settings import Settings
from ml_intern.workspace.snapshots import Snapshots

if TYPE_CHECKING:
    from ml_intern.claims.judging import Review
    from ml_intern.router.router import Approver


class RecordEnds(InternError):
    """All that was answered has been played, and there was no final answer."""


class Differs(InternError):
    """The replay told something else than the session did."""


class RecordedBrain(Brain):
    """Says what another brain said, in order."""

    language_model = False
    context_tokens = 100_000_000  # nothing is summarised: nobody reads the prompt

    def __init__(self, label: str, answers: deque[Answered]) -> None:
        super().__init__()
        self.label = f"replay of {label}"
        self._answers = answers

    @property
    def foretold(self) -> bool:
        """The session went on from here."""
        return bool(self._answers)

    def generate(self, messages: list[Any], **_: Any) -> Any:
        """The next recorded answer.

        Raises:
            RecordEnds: There is none.
        """
        if not self._answers:
            raise RecordEnds("The record ends here: the session did not come to its end.")
        said = self._answers.popleft()
        return answer(said.text, Ending(said.finish), 0, 0)


class Repeated(Goals):
    """Holds back the answers that were held back then."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay.services, replay.budget, wanted=False)
        self._replay = replay

    def hold(self) -> str:
        """What the cell was told then."""
        ran = self._replay.was.cells.get(self._replay.agent.python_executor.step)
        return ran.note[ran.note.rindex(NOT_TAKEN) :] if ran and ran.held else ""


class Replay(Session):
    """A fresh session that plays a recorded one and says where it differs.

    Attributes:
        was: What the session's journal knows.
        old: Its folder.
        live: Tools really run.
        differing: Where the replay told something else, in the order of the steps.
    """

    was: Recorded
    old: Path
    live: bool
    differing: list[Difference]
    shares = False
    _names: list[tuple[str, str]]
    _seen: set[int]

    @classmethod
    def of(cls, folder: Path, live: bool, approver: Approver | None, **given: Any) -> Replay:
        """A replay of the session in a folder.

        Args:
            folder: The session's; it is only read.
            live: Tools really run, through the gate; else each call has the result that it had.
            approver: Answers the gate's questions.
            **given: Settings that shall be others than they were.

        Raises:
            Damaged: The journal cannot be read to its end.
            UsageError: There is nothing to play, or a setting is wrong.
        """
        folder, card = folder.absolute(), read_card(folder)
        if card.get("replay_of") and not card.get("live"):
            raise UsageError(
                f"The session {folder.name} is itself a replay: its calls have the results of another's.",
                f"ml-intern replay {card['replay_of']} plays that one again.",
            )
        if not (folder / JOURNAL).is_file():
            raise UsageError(f"The session {folder.name} has no journal: there is nothing to play.")
        try:
            was = Recorded.in_folder(folder)
        except (sqlite3.DatabaseError, ValueError) as error:
            raise Damaged.of(folder, error) from None
        settings = _settings(folder, card, live, {**given, "max_steps": len(was.answers) + 1})
        secrets = Secrets(os.environ, Path.cwd())
        sandbox = choose_sandbox(settings.sandbox, trusted=False, settings=settings, env=secrets.env)
        brain = RecordedBrain(str(card.get("model", "")), was.answers)
        mcp = McpServers(settings.mcp_servers if live else {}, secrets.env)
        try:
            session = cls(settings, card["prompt"], brain, sandbox, approver, secrets, mcp)
        except BaseException:  # a Ctrl-C while the servers start: none of them stays
            mcp.close()
            raise
        session._begin(was, folder, card, live)
        return session

    def _begin(self, was: Recorded, folder: Path, card: dict[str, Any], live: bool) -> None:
        self.was, self.old, self.live, self.differing, self._seen = was, folder, live, [], set()
        workspace = str(card.get("workspace") or "")
        self._names = [
            (workspace, str(self.workspace)),
            (str(folder), str(self.folder)),
            (was.session or folder.name, self.id),
        ]
        if not live:
            self.walls.also = [folder / "datasets", folder / "jobs"]  # recorded results lead there
            self.router.earlier.recorded = Recorded(calls=was.calls, session=was.session)
            self.router.earlier.rebuilding = True
            self.router.snapshots = Snapshots.of_another(folder, Path(workspace), self.workspace)
        self.write_card("running", None)
        self.hear(was)
        for problem in self.mcp.problems:
            self.emit(Notice("warning", problem))
        if live and (gone := sorted(kept(folder).keys() - self.router.specs.keys())):
            self.emit(Notice("warning", f"Tools that are not there any more: {', '.join(gone)}."))

    def write_card(self, status: str, code: int | None) -> None:
        """The card says whose replay it is."""
        super().write_card(status, code)
        if old := getattr(self, "old", None):  # the first card is written before this one knows what it plays
            path = self.folder / CARD
            told = {"replay_of": old.name, "live": self.live}
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps({**read_card(self.folder), **told}, indent=2))
            fresh.replace(path)

    def proxies(self) -> Sequence[Proxy]:
        """What the cells can call; with recorded results that is what they could call then."""
        then = {} if self.live else kept(self.old)
        return [*then.values()] or super().proxies()

    def goals(self) -> Goals:
        """What was held back then is held back again."""
        return Repeated(self)

    def reviewed(self, answer: str) -> Review | None:
        """With recorded results there is nothing to hold an answer against."""
        return super().reviewed(answer) if self.live else None

    def emit(self, event: Event) -> None:
        """Compare what a cell told with what it told then."""
        super().emit(event)
        if isinstance(event, CellFinished) and not event.source and (found := self._compared(event)):
            self.differing.append(found)
            super().emit(Notice("warning", f"The replay differs in {found}."))

    def brain_of(self, name: str) -> Brain | None:
        """What a sub-agent's brain said then."""
        then = self.was.research.get(name)
        return RecordedBrain(self.brain.label, then.known.answers) if then else None

    def consulted(self) -> dict[str, list[Answered]]:
        """What the brain told tools then; it is not asked again."""
        return self.was.consulted

    def _compared(self, event: CellFinished) -> Difference | None:
        ran = self.was.cells.get(event.step)
        if ran is None:
            return None
        self._seen.add(event.step)
        got = event.observation
        for then, now in self._names:  # results have the names of then already
            got = got.replace(now, then) if then else got
        return compare(event.step, ran.observation, got)

    def result(self) -> RunResult:
        """What came of it, and how it compares."""
        ended = str((self.was.finished or {}).get("status", "stopped"))
        told = {"of": self.old.name, "live": self.live, "ended": ended, "same": not self.differing}
        differences = [found.to_json() for found in self.differing]
        return replace(super().result(), replay={**told, "differences": differences})

    def finish(self, text: str, error: InternError | None) -> None:
        """Say where the replay differs, before its end."""
        if error is not None and self._as_then(error):
            ended = _end_of(self.was) or error.message
            super().emit(Notice("info", f"Here the session ended: {ended}"))
            error = None
        if error is None:
            missed = [ran for step, ran in self.was.cells.items() if step not in self._seen]
            self.differing += [not_reached(ran.step, ran.observation) for ran in missed]
        if not self.differing:
            super().emit(Notice("info", "The replay told the same in every step."))
        elif error is None and not self.router.denied:
            error = Differs(summary(self.differing, len(self.was.cells)))
        super().finish(text, error)

    def _as_then(self, error: InternError) -> bool:
        """Whether the replay ended as the session did, which then is no failure of the replay."""
        if isinstance(error, RecordEnds):
            return True
        code = (self.was.finished or {}).get("exit_code")
        return code == error.exit_code and str(error) == _end_of(self.was)


def _settings(folder: Path, card: dict[str, Any], live: bool, given: dict[str, Any]) -> Settings:
    """The settings of then, with what is given now, in a workspace of its own."""
    saved = {name: value for name, value in (card.get("settings") or {}).items() if name != "yes"}
    settings, _ = settings_of(folder, {**card, "settings": saved}, given)
    # What only tools read may be gone.
    unread: dict[str, Any] = {} if live else {"tools": [], "eval": None}
    return settings.model_copy(update={"workspace": None, **unread})


def _end_of(was: Recorded) -> str:
    """Why the session ended, in its own words; empty where it came to its end."""
    told = [str(event.get("text", "")) for event in was.events if event.get("end")]
    return told[-1] if told and (was.finished or {}).get("exit_code") else ""
