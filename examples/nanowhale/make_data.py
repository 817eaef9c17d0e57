"""Text to read and questions to answer, from Python's own standard library.

`texts.jsonl` has functions, classes and statements of two thirds of the files, to pretrain on;
`questions.jsonl` asks of lines of the other files how many calls are in them, and `ast` has counted. No line
of a question stands in a text.

    python make_data.py [FOLDER] [--questions 4500] [--hub 420000]

With `--hub` the texts are so many documents of FineWeb-Edu instead; that needs the internet.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

LONGEST_LINE, LONGEST_TEXT = 56, 600
COUNTS = ("0", "1", "2")
SKIPPED = {"test", "tests", "idlelib", "site-packages", "dist-packages"}


def count_calls(line: str) -> str:
    """The number of calls in a line; nothing where it does not parse."""
    try:
        tree = ast.parse(line)
    except (SyntaxError, ValueError):
        return ""
    return str(sum(isinstance(node, ast.Call) for node in ast.walk(tree))) if tree.body else ""


def library() -> Iterator[tuple[str, str]]:
    """The files of the standard library by name, with what is in them."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if not SKIPPED & set(name.parts):
            yield name.as_posix(), path.read_text(encoding="utf-8", errors="ignore")


def texts_of(source: str) -> Iterator[str]:
    """The statements of a file, those of its classes too, as they are written."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    inside = [node for owner in tree.body if isinstance(owner, ast.ClassDef) for node in owner.body]
    lines = source.splitlines(keepends=True)
    for node in [*tree.body, *inside]:
        text = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno])).rstrip()
        if 24 <= len(text) <= LONGEST_TEXT and text.isascii():
            yield text


def from_the_hub(documents: int) -> Iterator[dict[str, str]]:
    """The first documents of a sample of FineWeb-Edu; what comes from one page stays together."""
    from datasets import load_dataset

    rows = load_dataset("HuggingFaceFW/fineweb-edu", "sample-10BT", split="train", streaming=True)
    for row in islice(rows, documents):
        yield {"text": row["text"], "file": row["url"]}


def write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def make(folder: Path, questions: int, documents: int = 0, seed: int = 0) -> None:
    """Write the two files; as many lines of each count, so that a guess is right once in three."""
    draw = random.Random(seed)
    files = list(library())
    draw.shuffle(files)
    third = len(files) // 3
    asked, read = files[:third], files[third:]
    texts = {text: name for name, source in read for text in texts_of(source)}
    own = ({"text": text, "file": name} for text, name in texts.items())
    write(folder / "texts.jsonl", from_the_hub(documents) if documents else own)
    seen = {line.strip() for _, source in read for line in source.splitlines()}
    found: dict[str, set[str]] = {count: set() for count in COUNTS}
    for line in (line.strip() for _, source in asked for line in source.splitlines()):
        fits = 4 < len(line) <= LONGEST_LINE and line.isascii() and line not in seen
        if fits and (count := count_calls(line)) in found:
            found[count].add(line)
    each = min(questions // len(COUNTS), *map(len, found.values()))
    rows = [(line, count) for count, lines in found.items() for line in draw.sample(sorted(lines), each)]
    draw.shuffle(rows)
    # The space goes with the answer: it is one piece with what follows, and cut otherwise at a prompt's end.
    asking = ({"prompt": f"{line} # calls:", "completion": f" {count}"} for line, count in rows)
    write(folder / "questions.jsonl", asking)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--questions", type=int, default=4500)
    parser.add_argument("--hub", type=int, default=0)
    given = parser.parse_args()
    make(given.folder, given.questions, given.hub)


if __name__ == "__main__":
    main()
