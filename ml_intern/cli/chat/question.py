"""How a question of the gate looks: what will run, its price, its reach, its arguments, a change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ml_intern.cli.approvals import plain
from ml_intern.cli.board import clean
from ml_intern.cli.chat.changes import Change, change_of

if TYPE_CHECKING:
    from ml_intern.events import ApprovalNeeded
    from ml_intern.hosting import Hosted

VALUE_CHARS = 2000
"""A value of one line that is longer is shown up to here; code, which has lines, is always shown whole."""
COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def draw(question: ApprovalNeeded, hosted: Hosted) -> Iterator[RenderableType]:
    """What a person reads before the answer."""
    change = change_of(question, hosted)
    yield Text("")
    yield Text.assemble(
        ("? ", "bold yellow"),
        (question.tool, "bold"),
        (" asks for permission: ", "yellow"),
        _words(question.reason),
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_row(Text("  effect", style="dim"), question.effect)
    facts.add_row(Text("  price", style="dim"), _words(question.price))
    if question.source:
        facts.add_row(Text("  from", style="dim"), _words(question.source))
    if question.reach:
        facts.add_row(Text("  reaches", style="dim"), _words(question.reach))
    yield facts
    yield from _arguments(question.arguments, change)
    if change:
        yield from _change(change)


def _words(text: str) -> Text:
    return Text(plain(clean(text)))


def _arguments(arguments: Mapping[str, Any], change: Change | None) -> Iterator[RenderableType]:
    """A table; texts of several lines stand below it, whole."""
    told = change.arguments if change else ()
    short = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    short.add_column(style="cyan", no_wrap=True)
    short.add_column(overflow="fold")
    long: list[tuple[str, str]] = []
    for name, value in arguments.items():
        found = [] if name in told else list(_texts(name, value))
        long += found
        if name in told:
            short.add_row(f"  {name}", Text("see the change below", style="dim"))
        elif isinstance(value, str) and found:
            short.add_row(f"  {name}", Text(f"{len(value.splitlines())} lines, below", style="dim"))
        else:
            short.add_row(f"  {name}", _value(value))
    if arguments:
        yield short
    for name, text in long:
        yield Text(f"  {name}:", style="cyan")
        lines = plain(clean(text)).rstrip("\n")
        yield Padding(
            Syntax(lines, _language(name), theme="ansi_dark", background_color="default"), (0, 0, 0, 4)
        )


def _value(value: Any) -> Text:
    text = plain(json.dumps(value, ensure_ascii=False, default=str))
    more = f" … {len(text) - VALUE_CHARS} characters more" if len(text) > VALUE_CHARS else ""
    return Text(clean(text[:VALUE_CHARS]) + more)


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Texts of several lines in a value, however deep."""
    if isinstance(value, str):
        if len(value.splitlines()) > 1:
            yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(f"{name}.{key}", item)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _texts(f"{name}.{place}", item)


def _language(name: str) -> str:
    return "python" if name.rpartition(".")[2] in ("code", "reward", "rewards") else "text"


def _change(change: Change) -> Iterator[RenderableType]:
    yield Text(f"  {plain(clean(change.what))}", style="bold")
    shown = Text()
    for line in change.lines:
        shown.append(plain(clean(line)) + "\n", style=COLOURS.get(line[:1], ""))
    shown.rstrip()
    yield Padding(shown, (0, 0, 0, 4))
