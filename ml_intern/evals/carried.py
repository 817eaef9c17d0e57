"""Held-out items in what is no training row: a config, a template, a tokenizer, files that a script can read.

A reward function, a chat template or a word list may teach a model an item as well as a row does. And a file
that a tool shows may hold rows that were sealed since: it is shown without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.data.loading import BINARY_SUFFIXES, TABLE_SUFFIXES, kind_of
from ml_intern.errors import ToolError
from ml_intern.evals.guard import Contamination
from ml_intern.evals.rows import Row

if TYPE_CHECKING:
    import polars as pl

    from ml_intern.data.store import DatasetStore
    from ml_intern.evals.store import Evals

TAKE_OUT = "Nothing was started: take them out."
LINES_AT_ONCE = 50_000
FEW_LINES = 10
"""So few lines of a text may each be an item as it stands; copies of an evaluation have more."""
SPACES = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": " "})
"""How tokenizers write white space inside of their words."""


def refuse_words(evals: Evals, where: str, texts: Iterable[Row], hint: str = TAKE_OUT) -> None:
    """Refuse items in texts that come along with a job.

    Args:
        evals: The registered ones.
        where: What the texts are, as the beginning of a sentence in the plural: "The arguments".
        texts: Strings, or nested records of them.
        hint: What to do.

    Raises:
        ToolError: They hold items.
    """
    found = evals.guard(list(texts), lines=False)
    if not found.clean:
        raise ToolError(f"{where} hold items of {named(found)}: {found.how()}.", hint)


def named(found: Contamination) -> str:
    """The evaluations that were met."""
    return ", ".join(sorted({match.eval for match in found.matches}))


def words_of_tokenizer(folder: Path) -> Iterator[str]:
    """What a tokenizer's files say, a word a line."""
    for file in sorted(folder.glob("tokenizer*.json")) + sorted(folder.glob("*.jinja")):
        yield file.read_text(encoding="utf-8", errors="replace").translate(SPACES)


def refuse_files(evals: Evals, datasets: DatasetStore, folder: Path) -> None:
    """Refuse a folder that a script will see, where a file of data in it holds items.

    Raises:
        ToolError: Names the first such file.
    """
    if not evals.list():
        return
    for path in sorted(folder.rglob("*")):
        kind = kind_of(path) if path.is_file() and not path.is_symlink() else ""
        if kind not in (*TABLE_SUFFIXES, ".txt"):
            continue
        for rows in _pieces(datasets, path, kind):
            found = evals.guard(rows)
            if kind == ".txt" and found.contaminated < FEW_LINES:  # A line of a program is an item by chance.
                found = evals.guard(rows, lines=False)
            if not found.clean:
                count, eval = found.contaminated, named(found)
                name = str(path.relative_to(folder))
                raise ToolError(
                    f"{count} lines of {name!r} in the workspace hold items of the sealed evaluation {eval},"
                    " and a script reads the workspace.",
                    f"Nothing was started. filter_dataset({name!r}, where='1 = 1') makes a dataset without"
                    " them, which inputs brings to the script; then delete the file, if it is yours.",
                )


def _pieces(datasets: DatasetStore, path: Path, kind: str) -> Iterator[pl.DataFrame]:
    import polars as pl

    if kind in BINARY_SUFFIXES or path.suffix == ".gz":
        yield datasets.open(str(path)).rows
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        while piece := list(islice(file, LINES_AT_ONCE)):
            yield pl.DataFrame({"line": piece})


def withheld(evals: Evals, lines: Sequence[str], start: int, data: bool) -> list[str]:
    """Lines of a file as a tool may show them.

    Args:
        evals: The registered ones.
        lines: A page of the file.
        start: Number of the first one.
        data: Whether the file holds data, of which a line is a row; else only near copies count, as lines of
            programs are alike everywhere.

    Raises:
        ToolError: They hold an item that goes over several lines.
    """
    if not evals.list() or not lines:
        return list(lines)
    if data:
        held = evals.held_out(lines)
    else:
        found = evals.guard(lines, lines=False)
        names = {match.row: match.eval for match in found.matches}
        held = {row: names.get(row, named(found)) for row in found.row_numbers}
    shown = [_instead(line, start + n, held[n]) if n in held else line for n, line in enumerate(lines)]
    refuse_words(evals, "These lines", ["".join(shown)], "No tool shows them.")
    return shown


def _instead(line: str, number: int, eval: str) -> str:
    end = "\n" if line.endswith("\n") else ""
    return f"(line {number} is held out by the sealed evaluation {eval!r}: no tool shows it){end}"
