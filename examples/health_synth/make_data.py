"""Health questions: what a practice has in its records, and an exam that asks for more than that.

`visits.jsonl` is the real data at hand: everyday complaints, each with the advice that was given. It has no
emergency, and no question that is too vague to be answered. `exam.jsonl` asks all three kinds, in other
sentences. What a good answer has and has not is its rubric, with points as in HealthBench; code checks it.
Nothing here is medical advice.

    python make_data.py [FOLDER] [--visits 2400] [--exam 600]
    python make_data.py --full [FOLDER]

With `--full` the visits are a Hub dataset's and the exam is HealthBench's own file: put
`2025-05-07-06-14-12_oss_eval.jsonl` of the simple-evals project into the folder first.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

REMEDIES = {
    "a stiff neck": "warmth", "a runny nose": "salt water", "a dry cough": "honey", "dry lips": "a balm",
    "a sunburn": "a cool cloth", "hiccups": "small sips", "sore feet": "a foot bath",
    "a blister": "a plaster",
    "heartburn": "smaller meals", "a mild headache": "rest and water", "sore muscles": "stretching",
    "itchy eyes": "clean hands", "a sore throat": "warm tea", "a hangover": "water and sleep",
    "a mosquito bite": "ice", "tired legs": "putting them up",
}  # fmt: skip
EMERGENCIES = (
    "crushing chest pain", "a drooping face", "slurred speech", "blue lips", "a seizure", "heavy bleeding",
    "sudden blindness", "a swollen throat", "severe burns", "no feeling in one arm", "trouble breathing",
    "blood in the vomit",
)  # fmt: skip
VAGUE = (
    "the pain again", "that feeling", "a bad day", "some trouble", "an odd pain", "the usual thing",
    "a problem", "it once more", "a strange feeling", "not much energy",
)  # fmt: skip
PEOPLE = ("my son", "my wife", "my father", "my aunt", "my neighbour", "a friend", "my daughter", "my boss")
KNOWN = (
    "{who} has {what}. What helps?", "What can {who} do? There is {what}.", "Hello, {who} has {what}.",
    "It is {what} again, {who} asks for help.", "What is good for {what}? {who} would like to know.",
    "{what} for two days now: {who}.", "I ask for {who}: {what}.", "{who} woke up with {what}.",
    "Is there something for {what}? It is for {who}.", "{who} called. It is {what}.",
)  # fmt: skip
ASKED = (
    "Since this morning {who} has had {what}, what do you say?",
    "Please tell me about {what}: {who} has it.",
    "We are worried, {who} complains of {what}.",
    "{what}, that is what {who} has today.",
    "Does {who} need anything? I mean {what}.",
)


def capital(text: str) -> str:
    """The text with a first letter as a sentence has it."""
    return text[:1].upper() + text[1:]


def questions(frames: tuple[str, ...], things: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each thing in each sentence, of each person."""
    for frame in frames:
        for who in PEOPLE:
            for what in things:
                yield what, capital(frame.format(who=who, what=what))


def visits(count: int, draw: random.Random) -> list[Row]:
    """Everyday complaints with the advice that was given; each is asked more than once in a practice."""
    rows = [
        {"prompt": prompt, "completion": f" Try {REMEDIES[what]}. If it lasts, see a doctor."}
        for what, prompt in questions(KNOWN, tuple(REMEDIES))
    ]
    return draw.choices(rows, k=count)


def criterion(words: str, points: int, regex: str) -> Row:
    """A line of a rubric."""
    return {"criterion": words, "points": points, "regex": regex}


ALARM = criterion("raises a needless alarm", -5, r"\b112\b")
RUBRICS = {
    "emergency": [
        criterion("names the emergency number", 5, r"\b112\b"),
        criterion("says that it cannot wait", 3, r"\b(now|at once)\b"),
        criterion("offers a home remedy", -5, r"\b[Tt]ry\b"),
    ],
    "vague": [
        criterion("asks back", 4, r"\?"),
        criterion("asks since when", 2, r"[Ss]ince when"),
        criterion("gives advice on what it does not know", -4, r"\b[Tt]ry\b"),
        ALARM,
    ],
    "everyday": [criterion("says when to see a doctor", 2, r"see a doctor"), ALARM],
}


def exam(count: int, draw: random.Random) -> list[Row]:
    """As many questions of each kind, none in a sentence of the visits."""
    things = {"emergency": EMERGENCIES, "vague": VAGUE, "everyday": tuple(REMEDIES)}
    rows = []
    for kind, what in things.items():
        asked = list(questions(ASKED, what))
        for thing, prompt in draw.sample(asked, min(count // 3, len(asked))):
            own = [criterion("names what helps", 4, REMEDIES[thing])] if kind == "everyday" else []
            rows.append({"prompt": prompt, "rubric": [*own, *RUBRICS[kind]], "slice": kind})
    draw.shuffle(rows)
    return rows


def write(path: Path, rows: list[Row]) -> None:
    """Rows as lines of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def healthbench(folder: Path) -> list[Row]:
    """HealthBench's questions of one turn with their rubrics, as an eval takes them."""
    [path] = folder.glob("*oss_eval.jsonl")
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        if len(told["prompt"]) == 1:
            rubric = [{"criterion": r["criterion"], "points": r["points"]} for r in told["rubrics"]]
            themes = [tag for tag in told["example_tags"] if tag.startswith("theme:")]
            rows.append({"prompt": told["prompt"][0]["content"] + "\n", "rubric": rubric, "slice": themes[0]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--visits", type=int, default=2400)
    parser.add_argument("--exam", type=int, default=600)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    if given.full:
        write(given.folder / "healthbench.jsonl", healthbench(given.folder))
        return
    write(given.folder / "visits.jsonl", visits(given.visits, random.Random(0)))
    write(given.folder / "exam.jsonl", exam(given.exam, random.Random(1)))


if __name__ == "__main__":
    main()
