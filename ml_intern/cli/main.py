"""The `ml-intern` command: finds out what the words mean, runs it, turns a failure into one line and a code.

A prompt and a subcommand share the first position, so the words are routed before click parses them: a first
word that is a subcommand is one, and all else is a prompt. Nothing heavy is imported here: `--help` is quick.
"""

from __future__ import annotations

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

# Words that later versions understand. A run on the prompt "web 3" would surprise more than a refusal.
LATER = ("chat", "mcp", "web")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code (see `ml_intern.errors`).

    Args:
        argv: The words after the command's name; those of the process where nothing is given.
    """
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
        return _fail(UsageError(error.format_message(), "See ml-intern --help."), words)
    except InternError as error:
        return _fail(error, words)
    except Exception as error:  # noqa: BLE001 - the top of the process: a defect of ours ends in one line, too
        return _fail(error, words)


def route(words: Sequence[str]) -> list[str]:
    """The words as click's group wants them: the name of a command first.

    Options may stand before a subcommand (`ml-intern --state DIR sessions`); they are moved behind it.

    Raises:
        UsageError: A single word is close to a subcommand, or names one that does not exist yet.
    """
    places = _free_words(words)
    if not places:
        return [str(prompt_command.name), *words]
    first = words[places[0]]
    if first in front.commands:
        return [first, *words[: places[0]], *words[places[0] + 1 :]]
    if first == "help":
        rest = [words[i] for i in places[1:]]
        return [*rest, "--help"] if rest and rest[0] in front.commands else ["--help"]
    # Prompts are sentences. One or two bare words that look like a command are a slip, not a task to pay for.
    if len(places) <= 2 and not any(c.isspace() for c in first):
        _refuse_slip(first)
    return [str(prompt_command.name), *words]


def _free_words(words: Sequence[str]) -> list[int]:
    """Where the words stand that are neither an option nor an option's value; none after ``--``."""
    options = [p for p in prompt_command.params if isinstance(p, click.Option)]
    with_value = {name for p in options if not p.is_flag and not p.count for name in p.opts}
    places, skip = [], False
    for place, word in enumerate(words):
        if skip:
            skip = False
        elif word == "--":
            break
        elif word.startswith("-") and word != "-":
            skip = word in with_value
        else:
            places.append(place)
    return places


def _refuse_slip(word: str) -> None:
    known = [name for name, command in front.commands.items() if not command.hidden]
    close = difflib.get_close_matches(word.lower(), [*known, *LATER], n=1, cutoff=0.75)
    if not close:
        return
    quote = f'If it is a prompt, write: ml-intern -- "{word} …"'
    if close[0] in LATER:
        raise UsageError(f"There is no command {close[0]!r} in this version yet.", quote)
    raise UsageError(f"There is no command {word!r}, did you mean {close[0]!r}?", quote)


def _fail(error: Exception, words: Sequence[str]) -> int:
    given = words[: words.index("--")] if "--" in words else words
    verbose = any(w in ("-v", "-vv", "--verbose") for w in given) or bool(os.environ.get("ML_INTERN_VERBOSE"))
    from ml_intern.disk import DiskTrouble

    error = DiskTrouble.of(error) or error
    if isinstance(error, InternError):
        gap = "\n" if "\n" in error.message else " "
        line, code = f"{error.message.rstrip()}{gap}{error.hint}".strip(), error.exit_code
    else:
        line, code = f"This is a defect, please report it: {type(error).__name__}: {error}.", 1
        line += "" if verbose else " With -v it shows where."
    from ml_intern.masking import add_secrets_of, mask

    add_secrets_of(os.environ)
    line = mask(line)
    if verbose:
        click.echo(mask("".join(traceback.format_exception(error))), err=True, nl=False)
    click.echo(f"ml-intern: {line}", err=True)
    if "--json" in given or os.environ.get("ML_INTERN_JSON", "").lower() in ("1", "true", "yes", "on"):
        from ml_intern.cli.ending import failure

        click.echo(json.dumps(failure(line, code)))
    return code


def _never_fail_on_characters(stream: TextIO) -> None:
    reconfigure = getattr(
        stream, "reconfigure", None
    )  # absent where a caller has put another stream in place
    if reconfigure:
        reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(run())
