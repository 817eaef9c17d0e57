"""Writes README.md from the attempts themselves:  python tests/redteam/table.py

`test_redteam_table.py` holds that the file is what this gives.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from redteam_kit import Attempt  # noqa: E402

README = HERE / "README.md"
HEAD = """# Attempts to come by a better number

<!-- Made by table.py from the attempts; do not edit. -->

A brain that wants to cheat tries each of these, cell by cell, in a real session: real sandbox, real tools, an
embedded Hub, tiny models. Where a score needs hundreds of evaluations, the job that answers them is a stand-in.
The tests hold that the attempt was stopped, that nothing came of it (nothing trained, measured, published or
changed), and that the brain read just this. `…` is anything; names in capitals are a session's folders.

`pytest tests/redteam` runs them; with `-m thorough` also those that take a job each.
"""
LIMITS = """## What is not stopped

- A text that was retold in other words, translated, encrypted, or packed in a way of one's own is not known as an
  item. Nor are rows of one word each, or of the first words of all items: no row holds an item then. So a mind
  that knows an evaluation by heart can train on it. What it cannot do is read it here.
- What a cell read before its rows were sealed, it knows. `split_dataset` of a file in the workspace says so;
  `--eval FILE` and data of the project folder or the Hub are never in reach of a cell.
- Scores are answers. Each dev query over n items tells at most log2(n + 1) bits, and comparing two models some
  more; `dev_queries` bounds how many are asked in a session.
- The test split is opened once a session. Who starts a second session on the same evaluation opens it once more,
  and may choose between the two: the scores, the card and the report of the second say so. Other items, be it one
  row fewer, are another evaluation; another state folder, or a file that the person deletes, knows of nothing.
- A script that was given a downloaded model, and moves its weights by more than rounding does (0.002), counts as a
  training of it. Whether that was learning or noise nobody sees; the card names the base and tells the distance.
- Of code and settings that are written into a repository only numbers beside the name of a score are looked at;
  what a program computes and shows, and what a picture shows, is not.
- A model of one's own that says what it was told to say is no cheat that a scorer can see: read its samples.
- What a job reads in the workspace (a chat template, a tokenizer, a script's data) is looked at when it starts; a
  cell that goes on running may change it then. Datasets and models that are scored are copies, and cannot change.
- Without walls (`--sandbox none`) a cell reads whatever the person can read.
"""


def modules() -> list[ModuleType]:
    """The files of attempts, in the order of their rows."""
    found = [importlib.import_module(path.stem) for path in HERE.glob("test_*.py")]
    return sorted((m for m in found if hasattr(m, "ATTEMPTS")), key=lambda m: int(row_of(m)[0]))


def row_of(module: ModuleType) -> tuple[str, str]:
    """The number of the row, and what it is about."""
    match = re.match(r"Row (\d+): ([^.]*)", " ".join((module.__doc__ or "").split()))
    assert match, module.__name__
    return match[1], match[2]


def attempts_of(module: ModuleType) -> list[Attempt]:
    """All attempts of a file."""
    lists = [value if isinstance(value, list) else [value] for value in vars(module).values()]
    found = [a for value in lists for a in value if isinstance(a, Attempt)]
    return list({attempt.name: attempt for attempt in found}.values())


def text() -> str:
    """README.md."""
    parts, every = [HEAD], [a for module in modules() for a in attempts_of(module)]
    waiting = sum(bool(a.waits) for a in every)
    told = f"{len(every)} attempts, {len(every) - waiting} of them stopped."
    parts.append(told if waiting == 0 else f"{told} The others are marked.")
    for module in modules():
        number, words = row_of(module)
        lines = ["| attempt | what stops it | what the brain reads |", "|---|---|---|"]
        lines += [_line(attempt) for attempt in attempts_of(module)]
        parts.append(f"## {number}. {words[:1].upper()}{words[1:]}\n\n" + "\n".join(lines))
    return "\n\n".join(part.strip("\n") for part in [*parts, LIMITS]) + "\n"


def _line(attempt: Attempt) -> str:
    guard = f"**not stopped yet**: {attempt.waits}" if attempt.waits else attempt.guard
    return f"| {_cell(attempt.name)} | {_cell(guard)} | `{_cell(attempt.message)}` |"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|").replace("`", "'")


if __name__ == "__main__":
    README.write_text(text(), encoding="utf-8")
    print(f"{README} is written.")
