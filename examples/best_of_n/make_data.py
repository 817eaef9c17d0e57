"""A crowd's answers to learn from, a few checked ones to judge by, and an exam, of Python's own library.

The question is how many calls are in a line: none, one or two. `lessons.jsonl` is what a crowd said, and half
of it is wrong. `checked.jsonl` are other lines with the answer that `ast` counts beside one that is wrong:
pairs, for a reward model. `exam.jsonl` comes from lines of neither.

    python make_data.py [FOLDER] [--lessons 4000] [--checked 1500] [--exam 600] [--noise 0.5]
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sysconfig
from collections.abc import Iterable
from pathlib import Path

LONGEST = 48
COUNTS = ("0", "1", "2")
Row = tuple[str, str]


def count_calls(line: str) -> str:
    """The number of calls in a line; nothing where it does not parse."""
    try:
        return str(sum(isinstance(node, ast.Call) for node in ast.walk(ast.parse(line))))
    except (SyntaxError, ValueError):
        return ""


def library_lines() -> dict[str, list[str]]:
    """Single lines of the standard library that parse, once each, by their number of calls."""
    found: dict[str, set[str]] = {count: set() for count in COUNTS}
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"test", "tests", "idlelib", "site-packages"}
    for path in sorted(root.rglob("*.py")):
        if skipped & set(path.relative_to(root).parts):
            continue
        for line in map(str.strip, path.read_text(encoding="utf-8", errors="ignore").splitlines()):
            if 4 < len(line) <= LONGEST and line.isascii() and (count := count_calls(line)) in found:
                found[count].add(line)
    return {count: sorted(lines) for count, lines in found.items()}


def another(count: str, draw: random.Random) -> str:
    """A wrong answer."""
    return draw.choice([other for other in COUNTS if other != count])


def make(folder: Path, lessons: int, checked: int, exam: int, noise: float, seed: int = 0) -> None:
    """Write the three files; as many lines of each count, so that a guess is right once in three."""
    draw = random.Random(seed)
    by_count = library_lines()
    each = min((lessons + checked + exam) // len(COUNTS), *map(len, by_count.values()))
    rows: list[Row] = [
        (line, count) for count, lines in by_count.items() for line in draw.sample(lines, each)
    ]
    draw.shuffle(rows)
    apart, judged, rest = rows[:exam], rows[exam : exam + checked], rows[exam + checked :]
    heard = [(line, another(count, draw) if draw.random() < noise else count) for line, count in rest]
    write(folder / "exam.jsonl", ({"prompt": asked(line), "completion": count} for line, count in apart))
    write(folder / "lessons.jsonl", ({"prompt": asked(line), "completion": count} for line, count in heard))
    pairs = (
        {"prompt": asked(line), "chosen": count, "rejected": another(count, draw)} for line, count in judged
    )
    write(folder / "checked.jsonl", pairs)


def asked(line: str) -> str:
    """The question."""
    return f"{line} # calls: "


def write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Rows as lines of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--lessons", type=int, default=4000)
    parser.add_argument("--checked", type=int, default=1500)
    parser.add_argument("--exam", type=int, default=600)
    parser.add_argument("--noise", type=float, default=0.5)
    given = parser.parse_args()
    make(given.folder, given.lessons, given.checked, given.exam, given.noise)


if __name__ == "__main__":
    main()
