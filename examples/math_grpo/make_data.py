"""Statements of Python's own standard library that parse alone, once each.

`statements.jsonl` is to learn from and to be measured on, each row with the file that it comes from.
`watched.jsonl` comes from other files: a training measures it on the way and never learns from it.
`prompts.jsonl` is what a policy goes on from: nothing.

    python make_data.py [FOLDER] [--statements 12000] [--watched 200]
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LONGEST = 60
SKIPPED = {"test", "tests", "idlelib", "site-packages", "lib2to3", "encodings"}


def parses(line: str) -> bool:
    """Whether Python's parser takes a line by itself."""
    try:
        return bool(ast.parse(line).body)
    except (SyntaxError, ValueError):
        return False


def statements() -> Iterator[dict[str, str]]:
    """Each statement once, with its file."""
    root, seen = Path(sysconfig.get_path("stdlib")), set()
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root)
        if SKIPPED & set(file.parts):
            continue
        for line in map(str.strip, path.read_text(encoding="utf-8", errors="ignore").splitlines()):
            if 4 < len(line) <= LONGEST and line.isascii() and line not in seen and parses(line):
                seen.add(line)
                yield {"text": line, "file": file.as_posix()}


def make(folder: Path, count: int, watched: int, seed: int = 0) -> None:
    """Write the three files."""
    draw = random.Random(seed)
    rows = list(statements())
    draw.shuffle(rows)
    files = sorted({row["file"] for row in rows})
    apart = set(draw.sample(files, len(files) // 20))
    tables = {
        "statements": [row for row in rows if row["file"] not in apart][:count],
        "watched": [{"text": row["text"]} for row in rows if row["file"] in apart][:watched],
        "prompts": [{"prompt": ""}] * 200,
    }
    for name, table in tables.items():
        text = "".join(json.dumps(row) + "\n" for row in table)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--statements", type=int, default=12_000)
    parser.add_argument("--watched", type=int, default=200)
    given = parser.parse_args()
    make(given.folder, given.statements, given.watched)


if __name__ == "__main__":
    main()
