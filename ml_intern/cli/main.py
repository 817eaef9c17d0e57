"""The `ml-intern` command: finds out what the words mean, runs it, turns a failure into one line and a code.

A prompt and a subcommand share the first position, so the words are routed before click parses them: a first
word that is a subcommand is one, and all else is a prompt. Nothing heavy is imported here: `--help` is quick.
"""

from __future__ import annotations

import codecs
import difflib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

import click

from ml_intern.cli.arguments import front, prompt_command
from ml_intern.errors import InternError, Interrupted, UsageError

LATER: tuple[str, ...] = ()


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code (see `ml_intern.errors`).

    Args:
        argv: The words after the command's name; those of the process where nothing is given.
    """
    if asked := os.environ.get("_ML_INTERN_COMPLETE"):
        return _complete(asked)
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_characters(stream)
    try:
        code = front.main(route(words), prog_name="ml-intern", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:
        # The reader left (`ml-intern sessions | head -1`); Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, EOFError, click.Abort):
        return _fail(Interrupted("Interrupted."), words)
    except click.ClickException as error:
        return _fail(_misused(error), words)
    except InternError as error:
        return _fail(error, words)
    except Exception as error:  # noqa: BLE001 - the top of the process: a defect of ours ends in one line, too
        return _fail(error, words)


def _complete(asked: str) -> int:
    """Answer a shell at a Tab. It has no place for complaints: what fails offers nothing."""
    from ml_intern.cli import completion

    try:
        return completion.answer(front, asked)
    except Exception:  # noqa: BLE001 - the top of the process: a line of ours would land in the person's prompt
        return 1


def route(words: Sequence[str]) -> list[str]:
    """The words as click's group wants them: the name of a command first.

    Options may stand before a subcommand (`ml-intern --state DIR sessions`); they are moved behind it.

    Raises:
        UsageError: A single word is close to a subcommand, or names one that does not exist yet.
    """
    places = free_words(words)
    if not places or words[places[0]] in front.commands:
        return moved(words)
    first = words[places[0]]
    if first == "help":
        rest = [words[i] for i in places[1:]]
        return [*rest, "--help"] if rest and rest[0] in front.commands else ["--help"]
    # Prompts are sentences. One or two bare words that look like a command are a slip, not a task to pay for.
    if len(places) <= 2 and not any(c.isspace() for c in first):
        _refuse_slip(first)
    return moved(words)


def moved(words: Sequence[str]) -> list[str]:
    """The words with the name of their command first; nothing is refused."""
    places = free_words(words)
    if places and (first := words[places[0]]) in front.commands:
        return [first, *words[: places[0]], *words[places[0] + 1 :]]
    return [str(prompt_command.name), *words]


def with_value() -> frozenset[str]:
    """The options of a prompt that take a value."""
    options = [p for p in prompt_command.params if isinstance(p, click.Option)]
    return frozenset(name for p in options if not p.is_flag and not p.count for name in p.opts)


def free_words(words: Sequence[str]) -> list[int]:
    """Where the words stand that are neither an option nor an option's value; none after ``--``."""
    valued = with_value()
    places, skip = [], False
    for place, word in enumerate(words):
        if skip:
            skip = False
        elif word == "--":
            break
        elif word.startswith("-") and word != "-":
            skip = word in valued
        else:
            places.append(place)
    return places


def _misused(error: click.ClickException) -> UsageError:
    """What click found wrong, and the help of the command that was meant."""
    asked = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None
    own = f" {asked.name}" if asked and asked.name in front.commands and not asked.hidden else ""
    told = error.format_message().rstrip()
    return UsageError(
        told if told.endswith((".", "?", "!", "?)")) else f"{told}.", f"See ml-intern{own} --help."
    )


def _refuse_slip(word: str) -> None:
    known = [name for name, command in front.commands.items() if not command.hidden]
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.75)
    if not close:
        return
    quote = f'If it is a prompt, write: ml-intern -- "{word} …"'
    raise UsageError(f"There is no command {word!r}, did you mean {close[0]!r}?", quote)


def _fail(error: Exception, words: Sequence[str]) -> int:
    given = words[: words.index("--")] if "--" in words else words
    verbose = any(w in ("-v", "-vv", "--verbose") for w in given) or bool(os.environ.get("ML_INTERN_VERBOSE"))
    from ml_intern.workspace.disk import DiskTrouble

    error = DiskTrouble.of(error) or error
    if isinstance(error, InternError):
        gap = "\n" if "\n" in error.message else " "
        line, code = f"{error.message.rstrip()}{gap}{error.hint}".strip(), error.exit_code
    else:
        line, code = f"This is a defect, please report it: {type(error).__name__}: {error}.", 1
        line += "" if verbose else " With -v it shows where."
    from ml_intern.secrets.masking import add_secrets_of, mask

    add_secrets_of(os.environ)
    line = mask(line)
    if verbose:
        click.echo(mask("".join(traceback.format_exception(error))), err=True, nl=False)
    as_json = "--json" in given or os.environ.get("ML_INTERN_JSON", "").lower() in ("1", "true", "yes", "on")
    # A list below the line is for people; with --json all of it stands in the document.
    click.echo(f"ml-intern: {line.partition(chr(10))[0] if as_json else line}", err=True)
    if as_json:
        from ml_intern.cli.ending import failure

        click.echo(json.dumps(failure(line, code)))
    return code


PLAIN = str.maketrans({
    "→": "->", "✓": "ok", "✗": "x", "●": "*", "…": "...", "·": "-", "×": "x", "└": "`-", "−": "-", "–": "-",
    "▸": ">", "○": "o", "━": "=", "─": "-",
    **dict(zip("▁▂▃▄▅▆▇█", "__..--^^", strict=True)), **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
})  # fmt: skip
"""Our own signs in ASCII, for terminals and locales that have no others."""


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    """What is written for characters that the stream's encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return "".join(c if c.isascii() else "?" for c in text), error.end


def _never_fail_on_characters(stream: TextIO) -> None:
    reconfigure = getattr(
        stream, "reconfigure", None
    )  # absent where a caller has put another stream in place
    if reconfigure:
        codecs.register_error("ml_intern", _in_plain_signs)
        reconfigure(errors="ml_intern")


if __name__ == "__main__":
    sys.exit(run())
