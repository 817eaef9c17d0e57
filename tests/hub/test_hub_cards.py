from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from ml_intern.hub.card import CardFacts, loose_words, model_card, tidy
from ml_intern.hub.claims import unresolved
from ml_intern.hub.report import write_report
from ml_intern.ledger import Comparison, Ledger, Measured, Scores
from ml_intern.reports.drawing import interval_chart, line_chart
from ml_intern.secrets.masking import mask

VOID = {"meta", "br", "hr", "img", "link", "input"}


def scores(split: str, value: float, model: str) -> Scores:
    measured = Measured(value=value, low=value - 0.0512, high=value + 0.0487, n=431, higher_is_better=False)
    return Scores(
        eval="statements",
        split=split,  # type: ignore[arg-type]
        model=model,
        primary="bits_per_byte",
        metrics={"bits_per_byte": measured},
        samples=["x = 99 + 1", "```\nbroken"],
        seconds=3.21,
    )


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "20261121-001659-ab12"
    folder.mkdir()
    (folder / "session.json").write_text(
        json.dumps(
            {"id": folder.name, "prompt": "train <b>it</b>", "status": "done", "model": "playbook:pretrain"}
        )
    )
    ledger = Ledger(folder / "ledger.sqlite")
    first = ledger.start("a baseline", "TRL's default learning rate", seed=1)
    second = ledger.start("lr 3e-3 gains 40%", "learning rate 3e-3", parent=first.id, seed=1)
    for i, (e, value) in enumerate([(first, 5.1473), (second, 3.7912)]):
        job = f"run-{i}"
        ledger.attach(e.id, job=job, config={"learning_rate": [2e-5, 3e-3][i], "steps": 160}, seconds=8.37)
        ledger.attach(e.id, data={"train": {"id": "statements@2", "rows": 8123, "sha256": "ab" * 32}})
        ledger.record(e.id, "statements", "dev", scores("dev", value, f"weights{i}"))
        output = folder / "jobs" / job
        output.mkdir(parents=True)
        (output / "status.json").write_text(
            json.dumps({"method": "pretrain", "state": "succeeded", "created": i})
        )
        lines = [json.dumps({"step": s, "loss": 6 / (s + 1)}) + "\n" for s in range(20)]
        (output / "metrics.jsonl").write_text("".join(lines) + '{"step": 20, "lo')
    found = Comparison(
        a=second.id, b=first.id, eval="statements", metric="bits_per_byte", value_a=3.7912, value_b=5.1473,
        difference=-1.3561, low=-1.4, high=-1.3, p=0.0002, n=431, higher_is_better=False, verdict="better",
        method="paired bootstrap", says="exp-2 is better than exp-1: 3.791 against 5.147, difference -1.356",
    )  # fmt: skip
    ledger.record_comparison(found)
    ledger.finish(first.id, "kept", "it learns")
    ledger.finish(second.id, "kept", "lower by 1.356, a quarter")
    ledger.freeze(second.id, "weights1")
    ledger.record(second.id, "statements", "test", scores("test", 3.8101, "weights1"))
    ledger.record_published(second.id, "local/tiny", "http://127.0.0.1:8765/local/tiny", "c" * 40)
    ledger.close()
    return folder


@pytest.fixture
def ledger(session: Path) -> Ledger:
    return Ledger(session / "ledger.sqlite")


@pytest.fixture
def facts(session: Path) -> CardFacts:
    row = {
        "id": "statements@2",
        "rows": 8123,
        "rows_before": 9001,
        "operation": "filter_dataset",
        "sha256": "ab" * 32,
    }
    return CardFacts(
        repo="local/tiny",
        session=session.name,
        parameters=287_744,
        config={"model_type": "llama", "hidden_size": 64},
        lineage=[{**row, "source": "/home/ada/secret place/input.txt"}],
        recipe="pretrain",
        load="HF_ENDPOINT=http://127.0.0.1:8765 python -c pass",
        samples=["x = 99 + 1", "```\n77 tokens"],
    )


def test_every_number_of_a_card_resolves(ledger: Ledger, facts: CardFacts) -> None:
    text = model_card(ledger.get("exp-2"), ledger, facts)
    assert unresolved(text, ledger, facts.numbers()) == []
    assert set(unresolved(text.replace("3.810", "3.710"), ledger, facts.numbers())) == {"3.710", "3.7101"}


def test_a_card_tells_what_matters(ledger: Ledger, facts: CardFacts) -> None:
    text = model_card(ledger.get("exp-2"), ledger, facts)
    for words in (
        "287,744 parameters",
        "| bits_per_byte | test | 3.810 | 3.759 to 3.859 | 431 | lower |",
        "| bits_per_byte | dev | 3.791 |",
        "scored once",
        "`learning_rate` | 0.003",
        "statements@2",
        "| `exp-1` |",
        "kept",
        "difference -1.356",
        "16.7 seconds",
        "torch ",
        "python training/pretrain.py training/config.json",
        "## Limits",
    ):
        assert words in text, words
    assert "/home/ada" not in text and "40%" not in text
    sections = re.findall(r"^## (.*)$", text, re.M)
    assert sections[0] == "Results" and sections[-1] == "Limits" and len(sections) == len(set(sections))


def test_huggingface_hub_reads_the_card(ledger: Ledger, facts: CardFacts) -> None:
    card = ModelCard(model_card(ledger.get("exp-2"), ledger, facts))
    assert card.data.library_name == "transformers" and "ml-intern" in (card.data.tags or [])
    found = {r.dataset_split: r.metric_value for r in card.data.eval_results or []}
    assert found == {"test": 3.8101, "dev": 3.7912}


def test_a_card_without_measurements_says_so(tmp_path: Path, facts: CardFacts) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    made = ledger.start("h", "c")
    text = model_card(made, ledger, facts)
    assert "nothing was measured" in text and "model-index" not in text
    assert unresolved(text, ledger, facts.numbers()) == []


def test_words_of_the_brain_cannot_break_out(tmp_path: Path, facts: CardFacts) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    nasty = "a | b\n\n```\n<script>alert()</script>\n# Title [x](javascript:y) hf_abcdefghijklmnopqrstuvwx"
    made = ledger.start(nasty, nasty)
    ledger.finish(made.id, "inconclusive", nasty)
    text = model_card(ledger.get(made.id), ledger, facts)
    assert "\n# Title" not in text and "hf_abcdef" not in text
    assert text.count("\n```\n") % 2 == 0
    assert "<script>" not in text.replace("\\<script", "")


def test_notes_with_invented_numbers_are_found(ledger: Ledger, facts: CardFacts) -> None:
    assert loose_words(ledger, facts.numbers()) == {}
    ledger.finish("exp-1", "kept", "reaches 93.7% and 3.791")
    assert loose_words(ledger, facts.numbers()) == {"the notes of exp-1": ["93.7%"]}


def test_what_a_training_wrote_on_its_way_may_be_told_rounded(ledger: Ledger, facts: CardFacts) -> None:
    ledger.finish("exp-1", "kept", "diverged: the loss was 537 at step 5, then 689.2")
    assert loose_words(ledger, facts.numbers()) == {"the notes of exp-1": ["537", "689.2"]}
    known = replace(facts, curves=[5.0, 537.471802, 689.178662])
    assert loose_words(ledger, known.numbers()) == {}


def test_places_on_the_machine_are_shortened() -> None:
    told = {
        "a": ["/home/ada/x/y.txt", "~/z/q.jsonl:train"],
        "b": "python-stdlib",
        "c": "a/b",
        "d": "http://x.y/a/b/c",
        "e": 3,
        "/home/ada/x/part.jsonl": 2,
    }
    assert tidy(told) == {
        "a": ["y.txt", "q.jsonl:train"],
        "b": "python-stdlib",
        "c": "a/b",
        "d": "http://x.y/a/b/c",
        "e": 3,
        "part.jsonl": 2,
    }


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a1B2" * 8,
        "ghp_" + "x" * 36,
        "github_pat_" + "x" * 40,
        "AKIA" + "ABCDEFGH12345678",
        "sk-proj-" + "a" * 30,
        "Authorization: Bearer " + "abc.def-123" * 3,
        "https://ada:pass" + "word@example.org/x",
    ],
)
def test_secrets_are_masked(secret: str) -> None:
    hidden = mask(f"before {secret} after")
    assert "[hidden]" in hidden and hidden.startswith("before ") and hidden.endswith(" after")
    assert secret.rpartition(" ")[2] not in hidden


def test_names_that_only_sound_secret_stay() -> None:
    text = "tokenizer.pad_token = tokenizer.eos_token; hf_hub_download; https://example.org:80/a@b; sk-learn"
    assert mask(text) == text


class Pages(HTMLParser):
    """Checks that every tag is closed where it should be, and collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "iframe", "object", "embed", "link"):
            self.loads.append(tag)
        self.loads += [f"{n}={v}" for n, v in attrs if n == "src" or n.startswith("on")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def test_a_report_is_one_valid_page(session: Path) -> None:
    path = write_report(session)
    page = path.read_text()
    parsed = Pages()
    parsed.feed(page)
    parsed.close()
    assert parsed.open == [] and parsed.loads == []
    drawings = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(drawings) == 2
    for drawing in drawings:
        ET.fromstring(drawing)
    assert "<b>it" not in page and "train" in page
    text = path.with_suffix(".md").read_text()
    for words in (
        "exp-2",
        "3.791",
        "local/tiny",
        "difference -1.356",
        "run-1",
        "learning rate 3e-3",
        "16.7 seconds",
    ):
        assert words in text and words.split()[0] in page, words
    assert not (session / "report" / ".new").exists()


def test_a_report_goes_where_it_is_asked_to(session: Path, tmp_path: Path) -> None:
    assert write_report(session, tmp_path / "else") == tmp_path / "else" / "report.html"
    assert write_report(session, tmp_path / "else").exists()


def test_a_session_without_anything_has_a_report(tmp_path: Path) -> None:
    assert "None." in write_report(tmp_path).with_suffix(".md").read_text()


def test_curves_bear_what_trainings_produce() -> None:
    nan, inf = float("nan"), float("inf")
    drawn = line_chart("loss", {"a": [(0, nan), (1, 2.0), (2, inf)], "b": [], "<c>": [(0, 1.0), (1, 1.0)]})
    svg = re.search(r"<svg.*</svg>", drawn)
    assert svg and ET.fromstring(svg[0]) is not None and "nan" not in drawn and "&lt;c&gt;" in drawn
    assert line_chart("loss", {"a": [(0, nan)]}) == ""
    many = line_chart("loss", {"a": [(float(i), float(i % 7)) for i in range(100_000)]})
    assert len(many) < 20_000
    assert interval_chart("m", [], "m") == ""


def test_front_matter_is_yaml_whatever_the_names(ledger: Ledger, facts: CardFacts) -> None:
    head = model_card(ledger.get("exp-2"), ledger, facts).split("---")[1]
    assert yaml.safe_load(head)["model-index"][0]["name"] == "tiny"
