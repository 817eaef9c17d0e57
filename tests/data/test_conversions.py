"""TRL's formats, from each to each: what is meant stays, what is lost is told, and TRL itself agrees."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from ml_intern.data.formats import detect, pairs, reformat
from ml_intern.errors import ToolError


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _model(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


ASKED, GOOD, BAD = [_user("2+2?")], [_model("4")], [_model("5")]
SOURCES: dict[str, list[dict[str, Any]]] = {
    "pair": [{"prompt": "2+2=", "completion": "4"}],
    "pair chat": [{"prompt": ASKED, "completion": GOOD}],
    "messages": [{"messages": [*ASKED, *GOOD]}],
    "sharegpt": [{"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]}],
    "preference": [{"prompt": "2+2=", "chosen": "4", "rejected": "5"}],
    "preference chat": [{"prompt": ASKED, "chosen": GOOD, "rejected": BAD}],
    "preference whole": [{"chosen": [*ASKED, *GOOD], "rejected": [*ASKED, *BAD]}],
    "preference text": [{"chosen": "2+2= 4", "rejected": "2+2= 5"}],
    "judged": [
        {"prompt": "2+2=", "completion": "4", "label": True},
        {"prompt": "2+2=", "completion": "5", "label": False},
    ],
}
CHAT = {"pair chat", "messages", "sharegpt", "preference chat", "preference whole"}
TEXT = {
    "prompt_completion": {"prompt": "2+2=", "completion": "4"},
    "conversational": {"messages": [_user("2+2="), *GOOD]},
    "language_modeling": {"text": "2+2=4"},
    "preference": {"prompt": "2+2=", "chosen": "4", "rejected": "5"},
}
TALK = {
    "prompt_completion": {"prompt": ASKED, "completion": GOOD},
    "conversational": {"messages": [*ASKED, *GOOD]},
    "language_modeling": {"text": "2+2?\n4"},
    "preference": {"prompt": ASKED, "chosen": GOOD, "rejected": BAD},
}


def _first(source: str, target: Any) -> dict[str, Any]:
    rows, _ = reformat(pl.DataFrame(SOURCES[source]), target)
    assert rows.height == 1
    found: dict[str, Any] = rows.to_dicts()[0]
    return found


@pytest.mark.parametrize("target", ["prompt_completion", "conversational", "language_modeling"])
@pytest.mark.parametrize("source", list(SOURCES))
def test_what_is_taught_is_the_good_answer(source: str, target: str) -> None:
    found, wanted = _first(source, target), (TALK if source in CHAT else TEXT)[target]
    if source == "preference text":  # the space is the answer's, as TRL splits it
        wanted = {
            "prompt_completion": {"prompt": "2+2=", "completion": " 4"},
            "conversational": {"messages": [_user("2+2="), _model(" 4")]},
            "language_modeling": {"text": "2+2= 4"},
        }[target]
    assert found == wanted
    assert "5" not in str(found)


@pytest.mark.parametrize("source", [name for name in SOURCES if "preference" in name or name == "judged"])
def test_preferences_from_each_of_their_forms(source: str) -> None:
    found = _first(source, "preference")
    wanted = (
        SOURCES[source][0]
        if source == "preference text"
        else (TALK if source in CHAT else TEXT)["preference"]
    )
    assert found == wanted


@pytest.mark.parametrize("source", ["preference", "preference chat", "preference whole"])
def test_preferences_become_judged_answers_and_come_back(source: str) -> None:
    judged, _ = reformat(pl.DataFrame(SOURCES[source]), "unpaired_preference")
    assert [row["label"] for row in judged.to_dicts()] == [True, False]
    assert detect(judged).name == "unpaired_preference"
    back, notes = reformat(judged, "preference")
    assert back.to_dicts() == [(TALK if source in CHAT else TEXT)["preference"]]
    assert notes == ["2 of 2 answers have a partner of the other kind; the rest is left out."]


@pytest.mark.parametrize("source", list(SOURCES))
def test_prompts_alone_are_no_other_format(source: str) -> None:
    rows, _ = reformat(pl.DataFrame(SOURCES[source]), "prompt_only")
    asked = {"preference text": "2+2="}.get(source, ASKED if source in CHAT else "2+2=")
    assert rows["prompt"].to_list()[0] == asked
    assert "grpo" in detect(rows).methods


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "sharegpt"])
def test_auto_keeps_a_format_of_trl(source: str) -> None:
    rows = pl.DataFrame(SOURCES[source])
    made, _ = reformat(rows, "auto")
    assert detect(made).name == detect(rows).name and made.height == rows.height


def test_what_is_left_out_is_told() -> None:
    _, notes = reformat(pl.DataFrame(SOURCES["preference"]), "prompt_completion")
    assert notes == ["The preferred answers were taken; the rejected ones were left out."]
    _, notes = reformat(pl.DataFrame(SOURCES["judged"]), "language_modeling")
    assert notes == ["1 answers that were judged bad were left out."]
    _, notes = reformat(pl.DataFrame(SOURCES["messages"]), "language_modeling")
    assert "Roles were left out" in notes[0]
    rows = [*SOURCES["judged"], {"prompt": "3+3=", "completion": "6", "label": True}]
    made, notes = reformat(pl.DataFrame(rows), "preference")
    assert made.height == 1 and notes[0].startswith("2 of 3 answers")


@pytest.mark.parametrize(
    ("rows", "target", "told"),
    [
        ([{"prompt": "a", "completions": ["b"], "labels": [True]}], "auto", "stepwise format already"),
        (
            [{"prompt": "a", "completion": "b", "label": False}],
            "prompt_completion",
            "No answer was judged good",
        ),
        ([{"prompt": "a", "completion": "b", "label": True}], "preference", "No prompt has a good and a bad"),
        ([{"chosen": "abc", "rejected": "xyz"}], "prompt_only", "begin with a common prompt"),
        ([{"prompt": "a"}], "prompt_completion", "which column is the completion"),
        ([{"text": "a"}], "preference", "which column is the chosen"),
    ],
)
def test_what_cannot_be_converted(rows: list[dict[str, Any]], target: Any, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        reformat(pl.DataFrame(rows), target)


def test_a_conversation_that_ends_with_a_question_has_no_answer() -> None:
    rows = pl.DataFrame({"messages": [[*ASKED, *GOOD, _user("and?")], [*ASKED, *GOOD]]})
    assert pairs(rows) == [None, (ASKED, GOOD)]
    made, notes = reformat(rows, "prompt_completion")
    assert made.height == 1 and "1 rows without" in notes[0]
    assert reformat(rows, "prompt_only")[0]["prompt"].to_list() == [[*ASKED, *GOOD, _user("and?")], ASKED]


def test_an_input_is_not_lost_on_the_way_to_a_text() -> None:
    rows = pl.DataFrame([{"instruction": "Add", "input": "1 1", "output": "2"}])
    assert reformat(rows, "language_modeling")[0].to_dicts() == [{"text": "Add\n1 1\n2"}]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["preference whole", "preference text"])
def test_trl_splits_the_prompt_off_in_the_same_place(source: str) -> None:
    from trl.data_utils import extract_prompt, is_conversational, unpair_preference_dataset

    theirs = extract_prompt(dict(SOURCES[source][0]))
    judged, _ = reformat(pl.DataFrame(SOURCES[source]), "unpaired_preference")
    prompt = reformat(pl.DataFrame(SOURCES[source]), "prompt_only")[0]["prompt"].to_list()[0]
    assert (prompt, judged["completion"].to_list()) == (
        theirs["prompt"],
        [theirs["chosen"], theirs["rejected"]],
    )
    assert is_conversational(theirs) == detect(judged).conversational
    from datasets import Dataset

    unpaired = unpair_preference_dataset(Dataset.from_list([theirs]))
    assert [unpaired[n] for n in range(2)] == judged.select(unpaired.column_names).to_dicts()
