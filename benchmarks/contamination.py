"""What does the contamination guard find, what does it find that is not there, and what does it cost?

Two tables. **Recall**: test items of GSM8K are planted among the rows of its training split, each kind of
copy by itself; recall is the share of them that are refused, false alarms are other rows that are. What the
guard finds in the untouched training split is printed row beside item, to be read. **Speed**: rows a second
of the guard and of near-deduplication against `datasets.map` with plain Python, the same rows in turns.

    python benchmarks/contamination.py [DATA_FOLDER] [--rows 1000000]

DATA_FOLDER has train.jsonl and test.jsonl with question and answer, as GSM8K's repository. Without it word
problems are made up, and no figure here is about them.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import re
import resource
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ml_intern.data import duplicates
from ml_intern.data.audit import audit, describe_leaks, leaks
from ml_intern.evals.guard import Guard

Make = Callable[[str, random.Random], dict[str, Any]]
GRAM, TURNS = 13, 3


def renumbered(text: str, draw: random.Random) -> str:
    return re.sub(r"\d+", lambda m: str(draw.randrange(2, 10 ** len(m[0]) + 7)), text)


def reordered(text: str, draw: random.Random) -> str:
    sentences = re.split(r"(?<=[.?!])\s+", text)
    draw.shuffle(sentences)
    return " ".join(sentences)


_SAID = {
    "How many": "Find the number of",
    "How much": "Work out the amount of",
    "What is": "Compute",
    "If ": "Suppose ",
}
_SYNONYMS = """buys: purchases|bought: purchased|each: every single|has: owns|gives: hands|makes: produces
total: overall sum|left: remaining|also: in addition|then: after that|sells: trades|spends: pays
per: for each|needs: requires|wants: would like|and: as well as|but: however|takes: uses
while: whereas|friends: mates|day: morning|money: cash|if: supposing"""
_WORDS = dict(re.findall(r"(\w+): ([\w ]+)", _SYNONYMS))
_NAMES = "Ada Bram Chioma Dmitri Elif Farah Goran Hana Ines Jorge Kenji Leila Omar Priya".split()  # noqa: SIM905
_NO_NAMES = frozenset(
    "The How What When Where Which If On In At For Each After Every His Her She They There Then".split()  # noqa: SIM905
)


def new_names(text: str, draw: random.Random) -> str:
    words = sorted(set(re.findall(r"\b[A-Z][a-z]{2,}\b", text)) - _NO_NAMES)
    names = dict(zip(words, draw.sample(_NAMES, min(len(words), len(_NAMES))), strict=False))
    return re.sub(r"\b[A-Z][a-z]{2,}\b", lambda m: names.get(m[0], m[0]), text)


def template(text: str, draw: random.Random) -> str:
    """Other names and numbers, and the question put in another way."""
    text = renumbered(new_names(text, draw), draw)
    for old, new in _SAID.items():
        text = text.replace(old, new)
    return f"Solve this: {text}"


def synonyms(text: str, draw: random.Random) -> str:
    """The same, and every word that a short list knows is another."""
    return re.sub(r"\b[a-z]+\b", lambda m: _WORDS.get(m[0], m[0]), template(text, draw))


def document(text: str, draw: random.Random) -> str:
    def prose(n: int) -> str:
        return " ".join(draw.choice(_PROSE) for _ in range(n))

    return f"{prose(40)} {text} {prose(60)}"


_PROSE = [
    "The lighthouse keeper wrote about the weather every evening before supper.",
    "Nobody in the valley remembered who had planted the orchard behind the mill.",
    "Some recipes ask for patience more than for anything that could be bought.",
    "A committee was formed, met twice, and was forgotten by the following spring.",
    "The map showed a bridge that had been carried away long before the survey.",
    "Her grandfather repaired clocks and distrusted people who were always on time.",
]  # fmt: skip


def _question(change: Callable[[str, random.Random], str]) -> Make:
    return lambda text, draw: {"question": change(text, draw)}


def _coded(code: Callable[[str], str]) -> Make:
    return lambda text, draw: {"question": f"payload: {code(text)}"}


KINDS: dict[str, Make] = {
    "copied": _question(lambda text, draw: text),
    "case, spaces, signs": _question(
        lambda text, draw: re.sub(r"[.,?]", " ", text).upper().replace(" ", "  ")
    ),
    "renumbered": _question(renumbered),
    "reordered (sentences)": _question(reordered),
    "reordered and renumbered": _question(lambda text, draw: renumbered(reordered(text, draw), draw)),
    "other names and numbers": _question(lambda text, draw: renumbered(new_names(text, draw), draw)),
    "paraphrased by template": _question(template),
    "the same and synonyms": _question(synonyms),
    "inside a long document": _question(document),
    "in a document, renumbered": _question(lambda text, draw: document(renumbered(text, draw), draw)),
    "in another column": lambda text, draw: {"question": "A clean one?", "notes": text},
    "in a message": lambda text, draw: {"messages": [{"role": "user", "content": f"Hello. {text}"}]},
    "base64": _coded(lambda text: base64.b64encode(text.encode()).decode()),
    "base64, url-safe, lines of 76": _coded(
        lambda text: re.sub(r"(.{76})", r"\1\n", base64.urlsafe_b64encode(f"Q: {text}".encode()).decode())
    ),
    "base64, renumbered": lambda text, draw: {
        "question": base64.b64encode(renumbered(text, draw).encode()).decode()
    },
    "hexadecimal": _coded(lambda text: text.encode().hex()),
    "rot13": _coded(lambda text: text.translate(_ROT13)),
    "backwards": _coded(lambda text: text[::-1]),
    "URL-escaped": _coded(urllib.parse.quote),
    "HTML entities, all of it": _coded(lambda text: "".join(f"&#{ord(c)};" for c in text)),
    "JSON in a text": _coded(lambda text: json.dumps({"q": text})),
    "base64 of base64": _coded(lambda text: base64.b64encode(base64.b64encode(text.encode())).decode()),
    "every fifth word another": _question(
        lambda text, draw: " ".join(
            draw.choice(_NAMES) if i % 5 == 2 else w for i, w in enumerate(text.split())
        )
    ),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROT13 = str.maketrans(
    _LETTERS + _LETTERS.upper(),
    _LETTERS[13:] + _LETTERS[:13] + (_LETTERS[13:] + _LETTERS[:13]).upper(),
)


def made_up(count: int, seed: int) -> pl.DataFrame:
    """Word problems of four sentences, in words that nobody else uses."""
    draw = random.Random(seed)
    parts = "ba de fi go hu ka le mi no pu ra se ti vo wu ya ze qui dra ston plim grev".split()  # noqa: SIM905
    words = ["".join(draw.choices(parts, k=draw.randrange(1, 4))) for _ in range(600)]

    def sentence(mark: str) -> str:
        said = [*draw.choices(words, k=draw.randrange(5, 9)), str(draw.randrange(2, 900)), draw.choice(words)]
        return " ".join(said).capitalize() + mark

    texts = [" ".join(sentence(mark) for mark in "...?") for _ in range(count)]
    return pl.DataFrame({"question": texts, "answer": [f"#### {draw.randrange(100)}" for _ in texts]})


def read(folder: Path | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    if folder is None:
        return made_up(7000, 0), made_up(1000, 1)
    return pl.read_ndjson(folder / "train.jsonl"), pl.read_ndjson(folder / "test.jsonl")


def guard_of(test: pl.DataFrame) -> Guard:
    made = Guard()
    made.add("test", ([q, f"{q}\n{a}"] for q, a in test.iter_rows()), test["answer"].to_list())
    return made


def audits(train: pl.DataFrame, test: pl.DataFrame) -> None:
    for name, rows in (("train", train), ("test", test)):
        found = audit(rows, name)
        print(f"{name}: {found.rows} rows; {' '.join(found.findings)}")
    print(" ".join(describe_leaks(leaks({"train": train, "test": test})) or ["No text stands in both."]))


def clean(guard: Guard, train: pl.DataFrame, test: pl.DataFrame) -> set[int]:
    """What is found where nothing was planted."""
    from ml_intern.evals import letters

    found = guard.check(train)
    print(f"\nThe untouched training split: {found.contaminated} of {found.rows} rows are refused.")
    near = guard.near()
    for f in near.find(letters.streams(letters.cells(train))):
        print(f"  {f.share:.0%} train {f.row}: {train['question'][f.row][:300]}")
        print(f"      test {f.item - 1}: {test['question'][f.item - 1][:300]}")
    return set(found.row_numbers)


def recall(guard: Guard, train: pl.DataFrame, test: pl.DataFrame, known: set[int]) -> None:
    print(f"\n{'planted':32}{'planted':>8}{'found':>8}{'recall':>9}{'false alarms':>14}")
    for kind, make in KINDS.items():
        draw = random.Random(kind)
        rows: list[dict[str, Any]] = train.to_dicts()
        places = sorted(draw.sample(range(len(rows) + test.height), test.height))
        planted = set()
        for place, text in zip(places, test["question"].to_list(), strict=True):
            rows.insert(place, make(text, draw))
            planted.add(place)
        others = [i for i in range(len(rows)) if i not in planted]
        was = {others[i] for i in known}
        found = set(guard.check(rows).row_numbers)
        hits, wrong = len(found & planted), len(found - planted - was)
        print(f"{kind:32}{len(planted):8}{hits:8}{hits / len(planted):9.1%}{wrong:14}")


def grown(train: pl.DataFrame, count: int) -> pl.DataFrame:
    """So many rows that are all different: the training split's sentences, put together anew."""
    draw = np.random.default_rng(0)
    sentences = train["question"].str.split(". ").explode()
    parts = [sentences.gather(draw.integers(0, sentences.len(), count)).rename(str(n)) for n in range(4)]
    joined = pl.concat_str([pl.col(part.name) for part in parts], separator=". ").alias("question")
    return pl.DataFrame(parts).select(joined).rechunk()


def grams(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)}


def minhash(text: str, numbers: int = 64) -> list[int]:
    """A MinHash of pieces of eight letters, as it is written first."""
    pieces = {hash(text[i : i + 8]) for i in range(len(text) - 7)} or {0}
    return [min((piece * (2 * n + 1) + n) & 0xFFFFFFFF for piece in pieces) for n in range(numbers)]


def mapped(rows: pl.DataFrame, function: Callable[[str], Any]) -> int:
    """`datasets.map` over the rows, which is written to disk as it always is."""
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        table = datasets.Dataset.from_polars(rows)
        table.map(lambda row: {"found": function(row["question"])}, cache_file_name=f"{folder}/made.arrow")
    return rows.height


def speed(guard: Guard, train: pl.DataFrame, test: pl.DataFrame, count: int) -> None:
    rows = grown(train, count)
    known = set().union(*map(grams, test["question"].to_list()))
    guard.check(rows.head(10))
    duplicates.find(rows["question"].head(10), near=True)
    before = _memory()
    size = rows.estimated_size() / 2**20
    print(
        f"\n{count} rows ({size:.0f} MiB, {before:.0f} MiB in memory) against {test.height} items, in turns:"
    )
    runs: dict[str, Callable[[], int]] = {
        "datasets.map, 13-grams (20,000 rows)": lambda: mapped(
            rows.head(20_000), lambda text: not known.isdisjoint(grams(text))
        ),
        "the guard": lambda: guard.check(rows).rows,
        "datasets.map, MinHash (1,000 rows)": lambda: mapped(rows.head(1000), minhash),
        "near-deduplication": lambda: len(duplicates.find(rows["question"], near=True).keep),
    }
    best = dict.fromkeys(runs, (0.0, 0.0))
    peaks = dict.fromkeys(runs, 0.0)
    for _ in range(TURNS):
        for name, run in runs.items():
            clock, cpu = time.perf_counter(), time.process_time()
            done = run()
            now = (done / (time.perf_counter() - clock), done / (time.process_time() - cpu))
            best[name] = (max(best[name][0], now[0]), max(best[name][1], now[1]))
            peaks[name] = peaks[name] or _memory()
    yard = best["datasets.map, 13-grams (20,000 rows)"]
    print(f"{'':38}{'rows/s':>12}{'ratio':>8}{'rows/s of CPU':>16}{'ratio':>8}{'peak MiB so far':>18}")
    for name, (clock, cpu) in best.items():
        ratios = (clock / yard[0], cpu / yard[1])
        print(f"{name:38}{clock:12,.0f}{ratios[0]:8.1f}{cpu:16,.0f}{ratios[1]:8.1f}{peaks[name]:18.0f}")


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    train, test = read(asked.folder)
    audits(train, test)
    guard = guard_of(test)
    known = clean(guard, train, test)
    recall(guard, train, test, known)
    speed(guard, train, test, asked.rows)


if __name__ == "__main__":
    main()
