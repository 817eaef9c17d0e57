"""Data that a model writes: a real session, router, budget and journal over a brain that is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ml_intern.brains.base import Brain, Ending, answer, text_of
from ml_intern.data.generating import Writer, read_rows
from ml_intern.errors import Interrupted, ToolError
from ml_intern.journal.journal import Journal
from ml_intern.router.router import Outcome
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

SEEDS = [
    {"prompt": f"What is {word} plus one?", "completion": f"more than {word}"} for word in ("two", "six")
]


def _row(word: str) -> str:
    return json.dumps({"prompt": f"Name {word}.", "completion": f"Here is {word}."})


class Writes(Brain):
    """Gives its replies in order; 100 tokens in and 50 out each, a dollar for a thousand."""

    label = "writes:test"

    def __init__(self, replies: Sequence[str]) -> None:
        super().__init__()
        self.replies, self.asked = list(replies), list[str]()

    def generate(self, messages: list[Any], **given: Any) -> Any:
        self.asked.append("\n".join(map(text_of, messages)))
        return answer(self.replies[len(self.asked) - 1], Ending("stop"), 100, 50)

    def price(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens + output_tokens) / 1000


@pytest.fixture
def begin(tmp_path: Path) -> Any:
    opened: list[Session] = []

    def make(brain: Brain, folder: Path | None = None, **given: Any) -> Session:
        settings = Settings.load(**{"state": tmp_path / "state", **given})
        made = Session(settings, "do it", brain, BareSandbox("a test"), None, folder=folder)
        opened.append(made)
        return made

    yield make
    for session in opened:
        session.close()


Begin = Callable[..., Session]


def _call(session: Session, **given: Any) -> Outcome:
    asked = {"instructions": "Ask for things.", "seeds": SEEDS, "count": 3, "name": "made", **given}
    return session.router.call("generate_data", asked)


def test_rows_are_checked_counted_and_kept_with_their_lineage(begin: Begin) -> None:
    first = "\n".join(
        [
            "```json",
            _row("a cat"),
            json.dumps({"prompt": "x"}),
            json.dumps({"prompt": "", "completion": "y"}),
            json.dumps({"prompt": ["x"], "completion": "y"}),
            _row("A CAT"),
            json.dumps(SEEDS[0]),
            "Sorry, here is more:",
            _row("a dog"),
            "```",
        ]
    )
    brain = Writes([first, json.dumps([json.loads(_row("a bird")), json.loads(_row("a fish"))])])
    session = begin(brain)
    outcome = _call(session)
    assert outcome.ok, outcome.message
    made = outcome.value
    assert (made["rows"], made["rows_before"], made["requests"]) == (3, 10, 2)
    assert (made["tokens"], made["usd"], made["model"]) == (300, pytest.approx(0.3), "writes:test")
    assert made["rejected"] == {
        "has other keys than prompt, completion": 1,
        "'prompt' is empty or no text": 2,
        "repeats a seed or an earlier row": 2,
        "is no object of JSON": 1,
        "is more than was asked for": 1,
    }
    assert made["rows"] + sum(made["rejected"].values()) == made["rows_before"]
    assert made["rejected_examples"]["is no object of JSON"] == ["Sorry, here is more:"]
    rows = session.services.datasets.open("made@1").rows.to_dicts()
    assert [row["prompt"] for row in rows] == ["Name a cat.", "Name a dog.", "Name a bird."]
    lineage = session.services.datasets.info("made@1").lineage
    assert (lineage.operation, lineage.rows_before, lineage.rows_after) == ("generate_data", 10, 3)
    assert lineage.arguments["usd"] == pytest.approx(0.3) and len(lineage.code_sha256) == 64
    spent = session.budget.summary()
    assert (spent["tokens"]["spent"], spent["usd"]["spent"]) == (300, pytest.approx(0.3))
    assert session.tokens() == {"input": 200, "output": 100}
    assert "Name a dog." in brain.asked[1] and "What is two plus one?" in brain.asked[0]


def test_a_rule_and_columns_without_seeds(begin: Begin) -> None:
    reply = "\n".join([_row("a cat"), _row("an elephant")])
    session = begin(Writes([reply] * 3))
    given = {"seeds": None, "columns": {"prompt": "text", "completion": "text"}}
    outcome = _call(session, count=1, where="char_length(prompt) > 12", **given)
    assert outcome.ok and outcome.value["rejected"] == {"does not meet 'char_length(prompt) > 12'": 1}
    nothing = _call(session, seeds=None)
    assert not nothing.ok and "Nothing tells the columns" in nothing.message


@pytest.mark.parametrize("where", ["nocolumn = 1", "SELECT 1", "char_length(prompt)"])
def test_a_rule_that_cannot_be_used_costs_nothing(begin: Begin, where: str) -> None:
    brain = Writes([_row("a cat")])
    outcome = _call(begin(brain), where=where)
    assert not outcome.ok and brain.asked == []


def test_a_model_that_repeats_itself_is_given_up(begin: Begin) -> None:
    brain = Writes([_row("a cat")] * 10)
    outcome = _call(begin(brain), count=50)
    assert outcome.ok and len(brain.asked) == 4
    assert (
        outcome.value["notes"][0] == "1 of 50 rows; others were left out: 3 repeats a seed or an earlier row."
    )


def test_nothing_sound_is_an_error_with_the_reasons(begin: Begin) -> None:
    outcome = _call(begin(Writes(["I cannot do that."] * 5)))
    assert not outcome.ok and outcome.message == "No sound row came back: 3 is no object of JSON."


def test_what_is_held_out_is_not_written_again(begin: Begin) -> None:
    session = begin(Writes(["\n".join([_row("the secret of the held out item"), _row("a dog")])]))
    held = [
        {"input": "Name the secret of the held out item.", "target": "x", "split": s} for s in ("dev", "test")
    ]
    held[1]["input"] = "Another thing that is held out, at some length."
    session.services.evals.register("held", held, ["exact_match"])
    outcome = _call(session, count=1)
    assert outcome.ok and outcome.value["rejected"] == {"holds a row of an evaluation": 1}
    assert outcome.value["rejected_examples"] == {"holds a row of an evaluation": []}
    assert "secret" not in json.dumps(outcome.value)


def test_the_ceiling_stops_it_before_the_next_question(begin: Begin) -> None:
    brain = Writes([_row(f"thing {word}") for word in ("one", "two", "three", "four", "five")])
    session = begin(brain, budget="0.2 usd")
    outcome = _call(session, count=50)
    assert not outcome.ok and "budget" in outcome.message and len(brain.asked) == 2


def test_what_was_paid_for_is_not_paid_again(begin: Begin) -> None:
    """The run is stopped in the third question; when it goes on, it makes the same call."""

    class Stops(Writes):
        def generate(self, messages: list[Any], **given: Any) -> Any:
            if len(self.asked) == 2:
                raise Interrupted("Stopped by the person.")
            return super().generate(messages, **given)

    replies = [_row(word) for word in ("a cat", "a dog", "a bird")]
    session = begin(Stops(replies))
    assert not _call(session).ok
    session.close()
    journal = Journal(session.folder / "journal.sqlite")
    assert [entry.payload["text"] for entry in journal.entries("consulted")] == replies[:2]
    journal.close()
    brain = Writes(replies[2:])
    again = begin(brain, folder=session.folder)
    outcome = _call(again)
    assert outcome.ok, outcome.message
    assert (outcome.value["rows"], outcome.value["requests"], len(brain.asked)) == (3, 3, 1)
    assert (outcome.value["tokens"], outcome.value["usd"]) == (450, pytest.approx(0.45))
    assert again.budget.summary()["usd"]["spent"] == pytest.approx(0.45)
    assert again.tokens() == {"input": 300, "output": 150}
    assert "Name a dog." in brain.asked[0]


def test_a_playbook_cannot_write_data(begin: Begin) -> None:
    class Book(Writes):
        language_model = False

    outcome = _call(begin(Book([])))
    assert not outcome.ok and "no language model" in outcome.message


@pytest.mark.parametrize(
    ("reply", "rows"),
    [
        ('{"a": 1}\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        ('[{"a": 1},\n {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ('```json\n{"a": 1},\n{"a": 2}\n```', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n{"a": ', [{"a": 1}, '{"a":']),
        ("", []),
        ("[" * 100_000, ["[" * 100_000]),
    ],
    ids=["lines", "list", "fence", "cut", "empty", "deep"],
)
def test_replies_of_every_form(reply: str, rows: list[Any]) -> None:
    assert read_rows(reply) == rows


def test_kinds_are_held_to() -> None:
    columns: Any = {"t": "text", "n": "number", "b": "true or false", "m": "messages"}
    writer = Writer("x", columns, [], None, lambda rows: {}, 0)
    good = {"t": "a", "n": 1, "b": False, "m": [{"role": "user", "content": "hi"}]}
    bad = [
        {"t": 1},
        {"n": True},
        {"n": float("nan")},
        {"n": 10**40},
        {"b": 1},
        {"m": []},
        {"m": [{"role": "x"}]},
    ]
    assert writer.take(json.dumps([good, *({**good, **wrong} for wrong in bad)]), 10) == 1
    assert sum(writer.drafts.rejected.values()) == len(bad)
    with pytest.raises(ToolError):
        Writer("x", columns, [], "t > (SELECT 1)", lambda rows: {}, 0)
