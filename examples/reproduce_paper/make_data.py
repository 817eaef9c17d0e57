"""Long questions with brief answers, from Python's own library: how many calls are in a line?

`texts.jsonl` is what a model reads before it learns any task, `lessons.jsonl` are questions of other lines
with the answer that `ast` counts, `exam.jsonl` the same of lines of neither.

    python make_data.py [FOLDER] [--texts 4000] [--lessons 4000] [--exam 800]
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


def make(folder: Path, texts: int, lessons: int, exam: int, seed: int = 0) -> None:
    """Write the three files; as many lines of each count, so that a guess is right once in three."""
    draw = random.Random(seed)
    by_count = library_lines()
    each = min((texts + lessons + exam) // len(COUNTS), *map(len, by_count.values()))
    rows = [(line, count) for count, lines in by_count.items() for line in draw.sample(lines, each)]
    draw.shuffle(rows)
    tables = {"exam": rows[:exam], "lessons": rows[exam : exam + lessons]}
    for name, table in tables.items():
        write(
            folder / f"{name}.jsonl",
            ({"prompt": f"{line} # calls: ", "completion": count} for line, count in table),
        )
    write(folder / "texts.jsonl", ({"text": line} for line, _ in rows[exam + lessons :]))


def write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Rows as lines of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--lessons", type=int, default=4000)
    parser.add_argument("--exam", type=int, default=800)
    given = parser.parse_args()
    make(given.folder, given.texts, given.lessons, given.exam)


if __name__ == "__main__":
    main()
