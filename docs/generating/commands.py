"""The command reference: every command and option, from click."""

from __future__ import annotations

from collections.abc import Iterator

import click

from generating.markdown import block, code, document, prose, sentence, table
from ml_intern.cli.arguments import front, prompt_command
from ml_intern.settings import Settings

INTRO = """\
`ml-intern "PROMPT"` runs a prompt; `ml-intern COMMAND` does something else. `--help` behind a command
shows in the terminal what stands here. A SESSION is an index (`ml-intern sessions` counts from 1, newest
first), a unique prefix of its id, or the path of its folder. How a command ends is told by its [exit
code](exit-codes.md)."""

PROMPT = "One sentence in. A prompt of `-` is read from the standard input; `--` ends the options."


def page() -> str:
    """The whole page."""
    shown = {name: command for name, command in front.commands.items() if not command.hidden}
    sections = list(_section("A prompt", "ml-intern [OPTIONS] PROMPT", PROMPT, prompt_command))
    for name, command in sorted(shown.items()):
        sections += _sections(command, f"ml-intern {name}")
    return document("Commands", INTRO, *sections)


def _sections(command: click.Command, words: str) -> Iterator[str]:
    """The section of a command, or of those below it; of a group that is a command itself, both."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        usage = " ".join([words, *command.collect_usage_pieces(_context(command, words))])
        yield from _section(code(words), usage, _told(command.help or ""), command)
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _sections(inner, f"{words} {name}")


def _section(title: str, usage: str, told: str, command: click.Command) -> Iterator[str]:
    ctx = _context(command, usage)
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    yield from (f"## {title}", block(usage, "text"), told)
    yield table(("option", "what", "default", "variable"), [_row(option, ctx) for option in options])


def _context(command: click.Command, words: str) -> click.Context:
    return click.Context(command, info_name=words)


def _told(text: str) -> str:
    """The help, which click wraps as it likes; a part that keeps its lines is code."""
    parts = text.strip().split("\n\n")
    shown = (
        block(p.lstrip("\b\n"), "text") if p.startswith("\b") else prose(" ".join(p.split())) for p in parts
    )
    return "\n\n".join(shown)


def _row(option: click.Option, ctx: click.Context) -> tuple[str, str, str, str]:
    names = ", ".join(sorted(option.opts, key=len))
    value = "" if option.is_flag or option.count else f" {option.make_metavar(ctx)}"
    default = str(option.default) if option.show_default and option.default not in (None, "") else ""
    shown = (code(text) if text else "" for text in (default, variable(option)))
    return (code(names + value), prose(sentence(option.help or "")), *shown)


def variable(option: click.Option) -> str:
    """The environment variable: click's own, or that of the setting with the option's name."""
    if option.envvar:
        return str(option.envvar)
    name = option.opts[-1].lstrip("-").replace("-", "_")
    return f"ML_INTERN_{name.upper()}" if name in Settings.model_fields else ""
