"""The commands of the chat: words after a slash, each with its help and what completes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ml_intern.errors import UsageError
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.cli.chat.talk import Chat

Known = Iterable[tuple[str, str]]
"""What may stand at a place, with a word about it."""

KEYS = """\
Enter says it; Alt-Enter, or \\ at the end of a line, begins a new line. @ names a file of this folder.
What is said while it works is heard before its next answer.
Ctrl-C clears the line; on an empty one it stops the cell or the answer, twice the run. Where nothing runs,
Ctrl-D or Ctrl-C twice leaves."""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: Without its slash.
        usage: Its arguments.
        summary: One line.
        more: What else /help tells of it.
        run: Does it, with the words after its name.
        known: What may follow the words that are there already.
    """

    name: str
    usage: str
    summary: str
    run: Callable[[Chat, str], None]
    more: str = ""
    known: Callable[[Chat, Sequence[str]], Known] = lambda chat, words: ()


class Slash:
    """The commands of one chat."""

    def __init__(self, chat: Chat) -> None:
        from ml_intern.cli.chat import looking, moving, setting

        self._chat = chat
        found = [*setting.COMMANDS, *looking.COMMANDS, *moving.COMMANDS]
        found.append(
            Command("help", "[COMMAND]", "what there is, or all on one command", _help, known=_names)
        )
        self.commands = {command.name: command for command in sorted(found, key=lambda c: c.name)}

    def run(self, name: str, rest: str) -> None:
        """Do it.

        Raises:
            UsageError: There is no such command, or its words are not understood.
        """
        self._found(name or "help").run(self._chat, rest)

    def arguments(self, name: str, words: Sequence[str]) -> Known:
        """What may follow."""
        command = self.commands.get(name)
        return command.known(self._chat, words) if command else ()

    def help(self, name: str) -> None:
        """Tell of all commands, or all of one."""
        view = self._chat.view
        if name:
            command = self._found(name.removeprefix("/"))
            view.print(Text(f"/{command.name} {command.usage}".rstrip(), style="bold"))
            view.print(Text("\n".join(filter(None, [f"{command.summary}.", command.more]))))
            return
        table = Table.grid(padding=(0, 2))
        for command in self.commands.values():
            table.add_row(
                Text(f"/{command.name}", style="bold cyan"), Text(command.usage, style="dim"), command.summary
            )
        view.print(table)
        view.print(Text(f"\n{KEYS}", style="dim"))

    def _found(self, name: str) -> Command:
        name = {"?": "help", "exit": "quit", "q": "quit"}.get(name.lower(), name.lower())
        if name not in self.commands:
            raise UsageError(
                f"There is no command /{name}{_guess(name, self.commands)}.", "/help lists them."
            )
        return self.commands[name]


def _guess(name: str, known: Iterable[str]) -> str:
    return did_you_mean(f"/{name}", [f"/{other}" for other in known])


def _help(chat: Chat, rest: str) -> None:
    chat.slash.help(rest)


def _names(chat: Chat, words: Sequence[str]) -> Known:
    return [] if words else [(c.name, c.summary) for c in chat.slash.commands.values()]
