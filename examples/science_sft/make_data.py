"""Questions with one right answer each, and lessons of which two in five are wrong.

Small: how many calls are in a statement of Python's own standard library? `ast` knows. `lessons.jsonl` is
to learn from; its wrong answers are other statements' answers, as if a crowd had slipped a line. `exam.jsonl`
has other statements, and what `ast` counts.

Full (`--hub`): the multiple-choice questions of MMLU's auxiliary training set, answered by letter. The exam
is GPQA then, which nobody trains on. It needs the internet.

    python make_data.py [--lessons 4000] [--exam 1200] [--wrong 0.4] [--hub]
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

LONGEST, EACH = 48, 1700
SKIPPED = {"test", "tests", "idlelib", "site-packages", "lib2to3", "turtledemo"}
Pair = tuple[str, str]


def statements() -> dict[str, int]:
    """Short statements of the standard library, in one line each, with their number of calls."""
    found: dict[str, int] = {}
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if SKIPPED & set(path.relative_to(root).parts):
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for line, node in _short(tree, text.splitlines()):
            found.setdefault(line, sum(isinstance(inner, ast.Call) for inner in ast.walk(node)))
    return found


def _short(tree: ast.AST, lines: list[str]) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and (node.end_lineno or 0) - node.lineno < 6:
            line = " ".join(" ".join(lines[node.lineno - 1 : node.end_lineno]).split())
            if 4 < len(line) <= LONGEST and line.isascii():
                yield line, node


def counted(lessons: int, exam: int, wrong: float, draw: random.Random) -> tuple[list[Pair], list[Pair]]:
    """Lessons and exam; of each count the same number of statements, as far as there are so many."""
    by_count: dict[int, list[str]] = {}
    for line, count in sorted(statements().items()):
        by_count.setdefault(count, []).append(line)
    rows = [
        (f"{line} # calls: ", str(count))
        for count, lines in sorted(by_count.items())
        for line in draw.sample(lines, min(EACH, len(lines)))
    ]
    draw.shuffle(rows)
    apart, rest = rows[:exam], rows[exam : exam + lessons]
    answers = [answer for _, answer in rest]
    heard = [
        (line, _slipped(answer, answers, draw) if draw.random() < wrong else answer) for line, answer in rest
    ]
    return heard, apart


def _slipped(answer: str, answers: list[str], draw: random.Random) -> str:
    return next(other for other in iter(lambda: draw.choice(answers), None) if other != answer)


def from_the_hub(lessons: int, draw: random.Random) -> list[Pair]:
    """Questions with lettered options, and the letter."""
    from datasets import load_dataset

    rows = [row.get("train", row) for row in load_dataset("cais/mmlu", "auxiliary_train", split="train")]
    return [
        (_lettered(row), f" {'ABCD'[row['answer']]}") for row in draw.sample(rows, min(lessons, len(rows)))
    ]


def _lettered(row: dict[str, Any]) -> str:
    """A question as the exam asks it."""
    options = [f"{letter}. {choice}" for letter, choice in zip("ABCD", row["choices"], strict=True)]
    return "\n".join([row["question"], *options, "Answer:"])


def write(path: Path, rows: Iterable[Pair]) -> None:
    """Prompts with completions, as JSON lines."""
    lines = (json.dumps({"prompt": prompt, "completion": answer}) + "\n" for prompt, answer in rows)
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lessons", type=int, default=4000)
    parser.add_argument("--exam", type=int, default=1200)
    parser.add_argument("--wrong", type=float, default=0.4)
    parser.add_argument("--hub", action="store_true")
    given = parser.parse_args()
    draw = random.Random(3)  # sizes and steps were tried on other draws
    if given.hub:
        write(Path("lessons.jsonl"), from_the_hub(given.lessons, draw))
        return
    lessons, exam = counted(given.lessons, given.exam, given.wrong, draw)
    write(Path("lessons.jsonl"), lessons)
    write(Path("exam.jsonl"), exam)


if __name__ == "__main__":
    main()
