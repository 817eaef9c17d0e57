"""What a paper did, from its tables and sentences, and from a reader that is not believed without a quote."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from ml_intern.documents.model import Document, Section, Table
from ml_intern.documents.recipe import MOST_CHARS, PARTS, Recipe, extract

METHOD = (
    "We fine-tune the model with LoRA and then apply GRPO. We use AdamW with a cosine learning rate schedule and a "
    "peak learning rate of $2\\times10^{-5}$. The batch size is set to 128, and we train for 3 epochs on 8 A100 GPUs. "
    "Warmup ratio is 0.03 and weight decay is 0.1. The LoRA rank is 16. We set the KL coefficient to 0.04."
)
DATA = "We train on the UltraChat dataset with 200k examples. GSM8K has 7,473 training problems."
RESULTS = "Our model reaches an accuracy of 87.2% on GSM8K. This is more than the baseline."


@pytest.fixture
def document() -> Document:
    sections = [
        Section("1", "Related Work", 1, "Others use a learning rate of 5 and reach an accuracy of 99%."),
        Section("2", "Data", 1, DATA),
        Section("3", "Training details", 1, METHOD),
        Section("4", "Results", 1, RESULTS),
    ]
    tables = [
        Table(
            "1",
            "Hyperparameters.",
            [["Setting", "SFT", "GRPO"], ["Learning rate", "2e-5", "1e-6"], ["Max. tokens", "1", "2"]],
            2,
        ),
        Table("2", "Accuracy of all models.", [["Model", "GSM8K", "MATH"], ["Ours", "87.2", "40.1"]], 3),
        Table("3", "Runs.", [["Run", "Learning rate", "Accuracy"], ["a", "1e-4", "0.5"]], 3),
    ]
    return Document("html", "A paper", sections=sections, tables=tables)


def _told(recipe: Recipe, part: str) -> dict[str, str]:
    return {f.name: f.value for f in reversed(getattr(recipe, part))}


def test_settings_from_sentences_and_tables(document: Document) -> None:
    told = _told(extract(document), "hyperparameters")
    wanted = {
        "learning rate": "2\\times10^{-5}",
        "batch size": "128",
        "epochs": "3",
        "optimizer": "AdamW",
        "schedule": "cosine",
        "hardware": "8 A100",
        "warm-up": "0.03",
        "weight decay": "0.1",
        "LoRA rank": "16",
        "KL coefficient": "0.04",
        "Learning rate / SFT": "2e-5",
        "Learning rate / GRPO": "1e-6",
        "Learning rate / a": "1e-4",
    }
    assert {name: told.get(name) for name in wanted} == wanted


def test_data_method_and_results(document: Document) -> None:
    recipe = extract(document)
    assert _told(recipe, "data") == {"UltraChat": "200k examples", "GSM8K": "7,473 training problems"}
    assert {"LoRA", "GRPO"} >= set(_told(recipe, "method").values()) > set()
    results = _told(recipe, "results")
    assert results["accuracy"] == "87.2%" and results["Ours / MATH"] == "40.1"
    assert results["a / Accuracy"] == "0.5"


def test_everything_has_its_section_and_its_words(document: Document) -> None:
    recipe = extract(document)
    texts = {s.heading: " ".join(s.text.split()) for s in document.sections}
    found = [finding for part in PARTS for finding in getattr(recipe, part)]
    assert found and all(f.section and f.quote for f in found)
    for finding in (f for f in found if f.found_by == "text"):
        assert finding.quote in texts[finding.section]
    assert all("Related" not in f.section for f in found)
    by_table = [f for f in found if f.found_by == "table"]
    assert {f.section for f in by_table} == {
        "3 Training details (Table 1)",
        "4 Results (Table 2)",
        "4 Results (Table 3)",
    }


def test_a_reader_is_believed_where_its_quote_stands(document: Document) -> None:
    rows = [
        {
            "part": "hyperparameters",
            "name": "beta",
            "value": "0.04",
            "quote": "We set the KL coefficient to 0.04.",
        },
        {
            "part": "results",
            "name": "accuracy",
            "value": "99.9%",
            "quote": "Our model reaches an accuracy of 99.9%",
        },
        {
            "part": "results",
            "name": "accuracy",
            "value": "95",
            "quote": "Our model reaches an accuracy of 87.2%",
        },
        {"part": "secrets", "name": "x", "value": "y", "quote": "We train on the UltraChat dataset"},
        {
            "part": "data",
            "name": "UltraChat",
            "value": "chat data",
            "quote": "we train on the  ultrachat dataset",
        },
        "no object",
    ]
    asked: list[str] = []

    def reader(messages: Sequence[dict[str, str]], number: int) -> str:
        asked.append(messages[-1]["content"])
        return "Here it is:\n" + "\n".join(map(json.dumps, rows)) if number == 0 else ""

    recipe = extract(document, reader, "brain:x")
    by_reader = [f for part in PARTS for f in getattr(recipe, part) if f.found_by == "reader"]
    assert [(f.name, f.section) for f in by_reader] == [
        ("UltraChat", "2 Data"),
        ("beta", "3 Training details"),
    ]
    assert recipe.dropped == 2 and recipe.reader == "brain:x"
    assert METHOD in asked[0] and "Others use a learning rate" not in asked[0]


@pytest.mark.parametrize("reply", ["", "nothing", "[[[[", '{"part": 3}', "[1, null]", "{" * 5000])
def test_a_reply_that_is_no_answer_changes_nothing(document: Document, reply: str) -> None:
    assert _told(extract(document, lambda *_: reply), "data") == _told(extract(document), "data")


def test_a_long_paper_is_shown_in_pieces() -> None:
    sections = [Section(str(n), "Results", 1, f"Part {n}. " + "word " * 5000) for n in range(1, 9)]
    sizes: list[int] = []

    def reader(messages: Sequence[dict[str, str]], number: int) -> str:
        sizes.append(len(messages[-1]["content"]))
        return ""

    extract(Document("html", sections=sections), reader)
    assert 1 < len(sizes) <= 6 and max(sizes) < MOST_CHARS + 2000


@pytest.mark.parametrize(
    ("sentence", "settings"),
    [
        ("Dropout above 0.1 lowered accuracy by 4 points.", {}),
        ("Batch sizes from 32 to 256 were compared, and up to 30 epochs.", {}),
        ("A weight decay of 0.3 hurts performance.", {}),
        ("We train for 900 steps and evaluate every 50 steps.", {"steps": "900"}),
        (
            "It has 4 layers, width 128 and 4 heads, 5% warmup, a learning rate of $10^{-4}$.",
            {"layers": "4", "hidden size": "128", "heads": "4", "warm-up": "5%", "learning rate": "10^{-4}"},
        ),
    ],
)
def test_a_setting_is_what_was_used(sentence: str, settings: dict[str, str]) -> None:
    paper = Document("html", sections=[Section("1", "Method", 1, sentence)])
    assert _told(extract(paper), "hyperparameters") == settings


def test_what_did_not_help_gives_no_settings() -> None:
    parts = [("4", "Results", 1, "Fine."), ("4.1", "What did not help", 2, "We used a dropout of 0.1.")]
    rows = [["Run", "Dropout"], ["a", "0.3"]]
    tables = [Table("1", "Runs.", rows, 1)]
    paper = Document("html", sections=[Section(*part) for part in parts], tables=tables)
    assert extract(paper).hyperparameters == []


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("Voting raises the accuracy of small models by 1 to 3 points at 16 samples.", None),
        ("We see an accuracy gain of 4.2 there.", None),
        ("We gain 3 points accuracy.", None),
        ("The accuracy is 71.3 ± 0.4 with less compute.", "71.3"),
    ],
)
def test_a_difference_is_no_result(sentence: str, value: str | None) -> None:
    told = _told(extract(Document("html", abstract=sentence)), "results")
    assert told.get("accuracy") == value


def test_the_reader_sees_every_section_with_the_method_first() -> None:
    rows = [["Setting", "Accuracy"], ["loss on answers", "83.5"]]
    heads = [
        "1 Introduction",
        "2 Related Work",
        "2.1 Old",
        "3 Method",
        "3.1 Worked steps",
        "4 Results",
        "4.1 Odd",
    ]
    sections = [
        Section(head.partition(" ")[0], head.partition(" ")[2], head.count(".") + 1, f"Words of {head}.")
        for head in heads
    ]
    paper = Document("html", sections=sections, tables=[Table("1", "All.", rows, 6)])
    asked: list[str] = []

    def reader(messages: Sequence[dict[str, str]], number: int) -> str:
        asked.append(messages[-1]["content"])
        return ""

    extract(paper, reader)
    places = [asked[0].find(f"Words of {head}.") for head in heads]
    assert places[1] == places[2] == -1, "the work of others stays out"
    assert 0 < places[3] < places[4] < places[5] < places[6] < places[0]
    assert "| loss on answers | 83.5 |" in asked[0]


def test_what_the_reader_and_a_table_tell_comes_once() -> None:
    rows = [["Setting", "Accuracy"], ["loss on answers", "83.5"], ["two lines", "83.5"]]
    text = "Accuracy is below.\n\n| loss on answers | 83.5 |"
    paper = Document(
        "html", sections=[Section("4", "Results", 1, text)], tables=[Table("1", "All.", rows, 0)]
    )
    told = {"part": "results", "name": "accuracy, loss on answers", "value": "83.5"}
    told["quote"] = "| loss on answers | 83.5 |"
    results = extract(paper, lambda *_: json.dumps(told)).results
    assert [(f.name, f.section, f.found_by) for f in results] == [
        ("accuracy, loss on answers", "4 Results (Table 1)", "reader"),
        ("two lines / Accuracy", "4 Results (Table 1)", "table"),
    ]
