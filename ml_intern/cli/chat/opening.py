"""Opens the chat and closes it: what is checked before, what is said at the end, the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.cli.stopping import end_soon
from ml_intern.errors import InternError, Interrupted, UsageError

if TYPE_CHECKING:
    from ml_intern.cli.chat.talk import Chat
    from ml_intern.hosting import Hosted


def open_chat(prompt: str, given: dict[str, Any], verbose: int = 0, resume: str | None = None) -> int:
    """Talk until the person leaves; the exit code is that of the last session.

    Args:
        prompt: The first words; nothing: the person will say them.
        given: Settings from the flags; None where a flag was not used.
        verbose: Whole cells and outputs.
        resume: The session that goes on; nothing: the newest that has not come to its end, None: a new one.

    Raises:
        UsageError: There is no terminal, no such session, or a setting is not understood.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError("The chat needs a terminal.", 'Without one, write: ml-intern "PROMPT"')
    try:
        import prompt_toolkit  # noqa: F401
    except ImportError:
        raise UsageError("The chat needs prompt_toolkit.", "pip install prompt_toolkit") from None
    from ml_intern.cli.chat.screen import Screen
    from ml_intern.cli.chat.talk import Chat
    from ml_intern.cli.sessions import find_unfinished
    from ml_intern.router.gate import Gate
    from ml_intern.settings import Settings

    settings = Settings.load(**given)
    Gate.check(settings.policy, settings.yes)
    card = None if resume is None else find_unfinished(settings.state, resume or None)
    screen = Screen(sys.stdout)
    chat = Chat(given, settings.state, screen, verbose, card.folder if card else None)
    _greet(chat)
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        asyncio.run(chat.run(prompt, card is not None))
    screen.leave()
    return _leave(chat)


def _greet(chat: Chat) -> None:
    from ml_intern import __version__

    model = chat.settings().model
    chat.view.print(
        f"[bold]ml-intern[/bold] [dim]{__version__}{f' · {model}' if model else ''} · /help[/dim]"
    )


def _leave(chat: Chat) -> int:
    """Put the session away; what runs on is said."""
    hosted = chat.hosted
    chat.show_news()  # its end may have come after the last look
    if stops := hosted.works:
        chat.view.note("Stopping the run …")
    try:
        hosted.close()
    except InternError as error:
        chat.view.warn(str(error))
    for line in _last_words(hosted, chat.state):
        chat.view.note(line)
    code = Interrupted.exit_code if stops else chat.code
    sys.stdout.flush()
    end_soon(code)
    return code


def _last_words(hosted: Hosted, state: Path) -> list[str]:
    from ml_intern.cli.chat.jobs import jobs_of
    from ml_intern.jobs.model import FINISHED

    if hosted.folder is None:
        return []
    found = jobs_of(hosted, state)
    running = [job.id for job in found.list() if job.state not in FINISHED] if found else []
    lines = []
    if running:
        told = f"{len(running)} jobs run on" if len(running) > 1 else "1 job runs on"
        lines.append(f"{told}: {', '.join(running)}. Look at it: ml-intern jobs {hosted.id}")
    return [*lines, f"Go on with this session: ml-intern chat --resume {hosted.id}"]
