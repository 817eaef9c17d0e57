"""A prompt from the command line: settings, session, view, and what is said at the end."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ml_intern.cli.ending import ending, failure
from ml_intern.cli.plain import PlainView, SilentView, View
from ml_intern.cli.stopping import Stopper, end_soon
from ml_intern.errors import InternError, Interrupted

if TYPE_CHECKING:
    from ml_intern.result import RunResult
    from ml_intern.router.router import Approver
    from ml_intern.session.session import Session


@dataclass(frozen=True)
class Face:
    """How much is shown, and in which form."""

    as_json: bool = False
    quiet: bool = False
    verbose: int = 0


def effects(text: str | None) -> list[str] | None:
    """The words of `--yes`, split; the gate checks that they are effects."""
    return None if text is None else [word for word in text.replace(",", " ").split() if word]


Open = Callable[["Approver | None"], "Session"]
"""Opens the session that a face then shows."""


def run_prompt(prompt: str, given: dict[str, Any], face: Face) -> int:
    """Run a session on a prompt; the exit code.

    Args:
        prompt: The person's sentence.
        given: Settings from the flags; None where a flag was not used.
        face: What is shown.
    """
    from ml_intern.settings import Settings

    settings = Settings.load(**given)

    def create(approver: Approver | None) -> Session:
        from ml_intern.session.session import Session

        return Session.create(settings, prompt, approver)

    return until_stopped(create, face, given.get("state"))


def resume(session: str | None, given: dict[str, Any], face: Face, say: str | None = None) -> int:
    """Go on with a session; the exit code.

    Args:
        session: What the person calls it; nothing: the newest that has not come to its end.
        given: Settings that shall be others than they were; None where a flag was not used.
        face: What is shown.
        say: What its brain shall know; with it, nothing means the newest session, finished or not.
    """
    from ml_intern.agent.inbox import Inbox
    from ml_intern.cli.sessions import find_session, find_unfinished
    from ml_intern.settings import Settings

    state = given.get("state")
    card = (find_unfinished if say is None else find_session)(Settings.load(state=state).state, session)
    if say is not None:
        Inbox(card.folder).say(say)

    def reopen(approver: Approver | None) -> Session:
        from ml_intern.session.session import Session

        return Session.resume(card.folder, approver, **given)

    return until_stopped(reopen, face, state)


def replay(session: str | None, live: bool, given: dict[str, Any], face: Face) -> int:
    """Play a session again without its brain; the exit code.

    Args:
        session: What the person calls it; nothing: the newest that is no replay.
        live: Tools really run.
        given: Settings that shall be others than they were; None where a flag was not used.
        face: What is shown.
    """
    from ml_intern.cli.sessions import find_played
    from ml_intern.settings import Settings

    state = given.get("state")
    card = find_played(Settings.load(state=state).state, session)

    def play(approver: Approver | None) -> Session:
        from ml_intern.session.replaying import Replay

        return Replay.of(card.folder, live, approver, **given)

    return until_stopped(play, face, state)


def until_stopped(opening: Open, face: Face, state: Path | None) -> int:
    """Open a session, show it to its end or until the person stops it; the exit code."""
    stop, code = threading.Event(), Interrupted.exit_code
    try:
        code = _run(opening, face, stop, state)
    except InternError as error:
        code = error.exit_code
        raise
    finally:
        if stop.is_set():
            end_soon(code)
    return code


def _run(opening: Open, face: Face, stop: threading.Event, state: Path | None) -> int:
    with _only_ours_on_stdout(face) as out:
        view = _choose_view(face, out)
        try:
            result = _drive(opening, view, face, out, stop)
        finally:
            view.close()
        _tell_result(result, face, out, state)
    return result.exit_code


def _drive(opening: Open, view: View, face: Face, out: TextIO, stop: threading.Event) -> RunResult:
    session = opening(_approver(view, face, stop.is_set))

    def last_words() -> None:
        view.close()
        _writer(sys.stderr)("ml-intern: Stopped at once.")
        if face.as_json:
            _writer(out)(json.dumps(failure("Stopped at once.", Interrupted.exit_code, session.id)))

    with Stopper(session, stop, view.say, last_words):
        try:
            for event in session.run():
                view.show(event)
            return session.result()
        finally:
            session.close()


def _approver(view: View, face: Face, stopped: Callable[[], bool]) -> Approver | None:
    """Who answers the gate: the person at the terminal, or nobody (which is a no)."""
    if face.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from ml_intern.cli.approvals import Terminal

    return Terminal(view, stopped)


def _choose_view(face: Face, out: TextIO) -> View:
    if face.as_json and face.verbose:
        return PlainView(_writer(sys.stderr), face.verbose)
    if face.as_json or face.quiet:
        return SilentView(_writer(sys.stderr))
    if out.isatty() and os.environ.get("TERM") != "dumb":
        from ml_intern.cli.live import LiveView

        return LiveView(out, face.verbose)
    return PlainView(_writer(out), face.verbose)


def _writer(stream: TextIO) -> Callable[[str], None]:
    gone = False

    def write(line: str) -> None:
        nonlocal gone
        if gone:
            return
        try:
            stream.write(line + "\n")
            stream.flush()
        except BrokenPipeError:
            # A reader that leaves (`| head`) must not end a training; the file descriptor becomes a sink.
            gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    return write


@contextmanager
def _only_ours_on_stdout(face: Face) -> Iterator[TextIO]:
    """The stream for our own words.

    With `--json` and `-q` what libraries and child processes print goes to stderr, at the level of the file
    descriptor, so that stdout carries one document whatever happens.
    """
    if not (face.as_json or face.quiet):
        yield sys.stdout
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8", errors="replace") as out:
            yield out
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _tell_result(result: RunResult, face: Face, out: TextIO, state: Path | None) -> None:
    write = _writer(out)
    if face.as_json:
        write(json.dumps(result.to_json(), ensure_ascii=False, default=str))
    elif not face.quiet:
        width = shutil.get_terminal_size().columns if out.isatty() else None
        lines = ending(result.to_json(), _report(result), state, _comparisons(result), width)
        write("\n" + "\n".join(lines))
    elif result.answer:
        write(result.answer)
    if result.exit_code:
        _writer(sys.stderr)(
            f"ml-intern: {result.errors[-1] if result.errors else f'the session is {result.status}'}"
        )


def _comparisons(result: RunResult) -> list[dict[str, Any]]:
    """How its experiments stand against each other; a ledger that cannot be read hides nothing else."""
    import sqlite3

    from ml_intern.cli.experiments import read

    try:
        return read(result.folder)[1] if result.ledger else []
    except (InternError, OSError, sqlite3.Error):
        return []


def _report(result: RunResult) -> str:
    """Where the report is; a report that cannot be written must not hide what the run has reached."""
    if not result.ledger:
        return ""
    try:
        return str(result.report())
    except (InternError, OSError) as error:
        return f"could not be written: {error}"
