"""Completion of what is typed: slash commands, their arguments, and @paths of the project."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

if TYPE_CHECKING:
    from ml_intern.cli.chat.slash import Known
    from ml_intern.cli.chat.talk import Chat

MOST_PATHS = 200
_AT = re.compile(r"(?:^|(?<=\s))@(\S+)")


class Words(Completer):
    """Completes for one chat."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """What may stand at the cursor."""
        text = document.text_before_cursor
        if self._chat.asking.open:
            return
        word = "" if not text or text[-1].isspace() else text.split()[-1]
        if word.startswith("@"):
            yield from _paths(self._chat.project, word[1:])
        elif text.startswith("/"):
            yield from self._command(text, word)

    def _command(self, text: str, word: str) -> Iterator[Completion]:
        before = text.split()[: None if text[-1].isspace() else -1]
        if not before:
            known: Known = [(f"/{c.name}", c.summary) for c in self._chat.slash.commands.values()]
        else:
            known = self._chat.slash.arguments(before[0][1:], before[1:])
        for name, meta in known:
            if name.lower().startswith(word.lower()):
                yield Completion(name, -len(word), display_meta=meta)


def _paths(project: Path, begun: str) -> Iterator[Completion]:
    """Files and folders of the project that begin so; hidden ones where a dot is typed."""
    folder, _, name = begun.rpartition("/")
    root = Path(folder + "/" if begun.startswith("/") and not folder else folder).expanduser()
    try:
        found = sorted((project / root).iterdir(), key=lambda path: (not path.is_dir(), path.name.lower()))
    except (OSError, RuntimeError, ValueError):
        return
    fitting = (p for p in found if p.name.startswith(name) and (name or not p.name.startswith(".")))
    for count, path in enumerate(fitting):
        if count == MOST_PATHS:
            return
        end = "/" if path.is_dir() else ""
        yield Completion(path.name + end, -len(name), display_meta="folder" if end else "")


def plain_paths(text: str, project: Path) -> str:
    """``@notes.txt`` as ``notes.txt``, where there is such a file; all else stays as it is."""

    def path_of(found: re.Match[str]) -> str:
        name = found[1]
        try:
            there = (project / Path(name.rstrip(".,:;!?)")).expanduser()).exists()
        except (OSError, RuntimeError, ValueError):
            there = False
        return name if there else found[0]

    return _AT.sub(path_of, text)
