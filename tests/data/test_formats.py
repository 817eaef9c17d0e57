"""TRL's formats: seen, and reached."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from ml_intern.data.formats import detect, reformat
from ml_intern.errors import ToolError

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    ("row", "name", "methods"),
    [
        ({"text": "a"}, "language_modeling", ("pretrain", "sft")),
        ({"messages": CHAT}, "conversational", ("sft",)),
        ({"prompt": "a", "completion": "b"}, "prompt_completion", ("sft", "grpo")),
        ({"prompt": "a"}, "prompt_only", ("grpo",)),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference", ("dpo", "reward")),
        ({"chosen": CHAT, "rejected": CHAT}, "preference", ("dpo", "reward")),
        ({"prompt": "a", "completion": "b", "label": True}, "unpaired_preference", ("kto", "sft")),
        ({"prompt": "a", "completions": ["b"], "labels": [True]}, "stepwise", ("prm",)),
        ({"question": "a", "answer": "b"}, "unknown", ()),
        ({"messages": "not a list"}, "unknown", ()),
        ({"text": 1}, "unknown", ()),
    ],
)
def test_formats_are_seen(row: dict[str, Any], name: str, methods: tuple[str, ...]) -> None:
    found = detect(pl.DataFrame([row]))
    assert (found.name, found.methods) == (name, methods)
    assert bool(found.hint) == (name == "unknown")


def _made(
    rows: list[dict[str, Any]], target: Any, mapping: dict[str, str] | None = None, **more: int
) -> list[dict[str, Any]]:
    return reformat(pl.DataFrame(rows), target, mapping, **more)[0].to_dicts()


def test_questions_become_prompts_and_say_so() -> None:
    rows, notes = reformat(pl.DataFrame([{"question": "1+1?", "answer": "2"}]), "prompt_completion")
    assert rows.to_dicts() == [{"prompt": "1+1?\n", "completion": "2"}]
    assert "'question'" in notes[0]


def test_instructions_with_an_optional_input() -> None:
    rows = [
        {"instruction": "Add", "input": "1 1", "output": "2"},
        {"instruction": "Greet", "input": "", "output": "Hello"},
    ]
    assert _made(rows, "prompt_completion") == [
        {"prompt": "Add\n1 1\n", "completion": "2"},
        {"prompt": "Greet\n", "completion": "Hello"},
    ]


def test_a_mapping_of_columns_and_templates() -> None:
    rows = [{"q": "1+1", "a": 2, "file": "x"}]
    mapping = {"prompt": "Q: {q}\nA:", "completion": " {a}"}
    assert _made(rows, "prompt_completion", mapping) == [
        {"prompt": "Q: 1+1\nA:", "completion": " 2", "file": "x"}
    ]
    assert _made(rows, "language_modeling", {"text": "{q} is {a}"}) == [{"text": "1+1 is 2", "file": "x"}]


def test_a_template_fills_in_values_once() -> None:
    pair = {"prompt": "1+1=", "completion": " 2"}
    assert _made([pair], "language_modeling") == [{"text": "1+1= 2"}], "as the pair itself is joined"
    assert _made([{"question": "1+1?", "answer": "2"}], "language_modeling") == [{"text": "1+1?\n2"}]
    assert _made([{"a": "{b}", "b": "x"}], "language_modeling", {"text": "{a}"}) == [{"text": "{b}"}]


def test_conversations_of_every_dialect() -> None:
    shared = [{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}]
    for rows in ([{"messages": CHAT}], shared, [{"question": "Hi", "answer": "Hello"}]):
        assert _made(rows, "conversational") == [{"messages": CHAT}]
    assert _made([{"messages": CHAT}], "prompt_completion") == [{"prompt": CHAT[:1], "completion": CHAT[1:]}]
    mapping = {"prompt": "q", "completion": "a"}
    assert _made([{"q": "Hi", "a": "Hello"}], "conversational", mapping) == [{"messages": CHAT}]


def test_auto_is_what_suits() -> None:
    assert _made([{"body": "x", "id": 1}], "auto") == [{"text": "x"}]
    assert _made([{"question": "1", "answer": "2"}], "auto") == [{"prompt": "1\n", "completion": "2"}]
    assert _made([{"prompt": "1", "completion": "2"}], "auto") == [{"prompt": "1", "completion": "2"}]
    assert _made([{"conversations": CHAT}], "auto") == [{"messages": CHAT}]


def test_rows_that_lack_a_value_are_left_out_and_counted() -> None:
    rows = pl.DataFrame([{"question": "1", "answer": "2"}, {"question": "3", "answer": None}])
    made, notes = reformat(rows, "prompt_completion")
    assert made.height == 1
    assert any("1 rows without" in note for note in notes)


def test_broken_messages_are_left_out() -> None:
    rows = pl.DataFrame({"messages": [CHAT, [{"role": "user", "content": None}], []]})
    made, notes = reformat(rows, "conversational")
    assert made.height == 1
    assert "2 rows" in notes[0]


def test_text_is_cut_and_keeps_its_origin() -> None:
    rows = [{"text": "one two\n\nthree", "file": "a"}, {"text": None, "file": "b"}]
    assert _made(rows, "paragraphs") == [{"text": "one two", "file": "a"}, {"text": "three", "file": "a"}]
    assert [r["text"] for r in _made(rows, "chunks", size=5)] == ["one t", "wo\n\nt", "hree"]


@pytest.mark.parametrize(
    ("rows", "target", "mapping", "told"),
    [
        (
            [{"a": "x", "b": "y"}],
            "prompt_completion",
            None,
            "Nothing tells which column is the prompt: the columns are a, b",
        ),
        ([{"a": "x", "b": "y"}], "language_modeling", None, "mapping={'text': 'a'}"),
        ([{"question": "x"}], "prompt_completion", None, "which column is the completion"),
        ([{"a": "x"}], "prompt_completion", {"prompt": "a"}, "which column is the completion"),
        ([{"a": "x"}], "language_modeling", {"txt": "a"}, "did you mean 'text'?"),
        ([{"question": "x"}], "language_modeling", {"text": "qestion"}, "did you mean 'question'?"),
        ([{"question": "x"}], "language_modeling", {"text": "Q {qestion}"}, "did you mean 'question'?"),
        ([{"text": "", "id": 1}], "language_modeling", None, "No row has text"),
        ([{"text": "# only\n"}], "statements", None, "has no statements"),
        ([{"a": 1, "b": 2}], "chunks", None, "which column is the text"),
    ],
)
def test_what_cannot_be_reformatted(rows: list[dict[str, Any]], target: Any, mapping: Any, told: str) -> None:
    with pytest.raises(ToolError) as caught:
        _made(rows, target, mapping)
    assert told in str(caught.value)
    assert "?." not in str(caught.value)


def test_pairs_are_found_by_their_usual_names():
    rows = pl.DataFrame({"question": ["a"], "better": ["b"], "worse": ["c"], "id": [1]})
    made, notes = reformat(rows, "preference")
    assert made.to_dicts() == [{"prompt": "a\n", "chosen": "b", "rejected": "c"}]
    assert "'better'" in notes[0]
    assert detect(made).methods == ("dpo", "reward")


def test_a_preference_needs_no_prompt_and_takes_a_mapping():
    rows = pl.DataFrame({"x": ["b"], "y": ["c"]})
    made, _ = reformat(rows, "preference", {"chosen": "{x}!", "rejected": "y"})
    assert made.to_dicts() == [{"chosen": "b!", "rejected": "c"}]
    with pytest.raises(ToolError, match="which column is the chosen"):
        reformat(rows, "preference")


def test_prompts_keep_what_rewards_read():
    rows = pl.DataFrame({"question": ["a", None], "answer": [3, 4]})
    made, notes = reformat(rows, "prompt_only", {"prompt": "Q: {question}"})
    assert made.select("prompt", "answer").to_dicts() == [{"prompt": "Q: a", "answer": 3}]
    assert any("1 rows without prompt" in note for note in notes)
