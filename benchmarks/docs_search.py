"""Does `search_docs` find what a user asks for: forty questions about TRL, Transformers, Datasets and PEFT.

    python benchmarks/docs_search.py [-v]

Indexes what is installed into a folder of its own, asks each question of its library, and counts those whose
answer is among the first five hits; the ten questions that were held out from tuning are told apart. The time
of a search is that of the fastest of a few; CPU time says what it costs where others use the machine as well.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.docs_questions import HELD_OUT, QUESTIONS, TUNED, Question, answers

from ml_intern.documentation.library import USUAL, Documentation

FIRST, REPEATS = 5, 3
WANTED, CEILING_S = 34, 0.1


def run(argv: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a reader without walls: what is installed here is what is measured."""
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)


def hits(docs: Documentation, question: Question) -> tuple[list[str], float, float]:
    """The names of the first hits, the seconds of wall time and of CPU time of the fastest search."""
    best: list[tuple[float, float]] = []
    names: list[str] = []
    for _ in range(REPEATS):
        began, worked = time.perf_counter(), time.process_time()
        found, _ = docs.search(run, sys.executable, question.text, [question.library], FIRST, print)
        best.append((time.perf_counter() - began, time.process_time() - worked))
        names = [entry.name for entry in found]
    return names, min(w for w, _ in best), min(c for _, c in best)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        docs = Documentation(Path(folder), "benchmark")
        began = time.perf_counter()
        docs.search(run, sys.executable, "anything", list(USUAL), 1, print)
        print(f"indexed in {time.perf_counter() - began:.1f} s; ", end="")
        print(f"the index has {sum(f.stat().st_size for f in Path(folder).iterdir()) / 2**20:.0f} MB")
        found = {question: hits(docs, question) for question in QUESTIONS}
    right = {question: answers(question, names) for question, (names, _, _) in found.items()}
    if "-v" in sys.argv:
        for question in (q for q in TUNED if not right[q]):
            print(f"  missed, {question.library}: {question.text}: {found[question][0]}")
    for name, share in (("tuned on", TUNED), ("held out", HELD_OUT), ("all", QUESTIONS)):
        print(f"{name:<9} {sum(right[q] for q in share):>2} of {len(share)} in the first {FIRST}")
    wall, cpu = ([row[place] for row in found.values()] for place in (1, 2))
    for name, seconds in (("wall", wall), ("CPU", cpu)):
        middle = statistics.median(seconds)
        print(f"{name:<4} median {middle * 1000:.0f} ms, slowest {max(seconds) * 1000:.0f} ms")
    held = sum(right.values()) >= WANTED and max(cpu) < CEILING_S
    print(f"at least {WANTED} found, each under {CEILING_S * 1000:.0f} ms of CPU: {'yes' if held else 'NO'}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
