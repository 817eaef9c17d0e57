"""The report of a session that had something of everything, of one with very much, and of hostile ones."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.told_session import Told, everything, falling, many

from ml_intern.journal.journal import Journal
from ml_intern.ledger import Comparison, Ledger, Measured, Scores
from ml_intern.reports import write_report
from ml_intern.reports.drawing import line_chart
from ml_intern.reports.story import SHOWN

VOID = {"meta", "br", "hr", "img", "link", "input"}
NASTY = '"><script>alert(1)</script>\x00\x1b[31m\u202e`|</svg></td> [x](javascript:alert(1)) &amp;'


class Page(HTMLParser):
    """Demands that every tag is closed where it should be; collects what a page would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "iframe", "object", "embed", "link", "img"):
            self.loads.append(tag)
        self.loads += [f"{n}={v}" for n, v in attrs if n == "src" or n.startswith("on")]
        self.loads += [v for n, v in attrs if n == "href" and v and not v.startswith("http")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def sound(page: str) -> list[str]:
    """The drawings of a page that is whole, loads nothing and runs nothing."""
    parsed = Page(page)
    assert parsed.open == [] and parsed.loads == []
    drawings = re.findall(r"<svg.*?</svg>", page, re.S)
    for drawing in drawings:
        assert ET.fromstring(drawing).get("aria-label")
    return drawings


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything(tmp_path_factory.mktemp("told") / "20261121-130000-abcd")


@pytest.fixture(scope="module")
def text(session: Path) -> str:
    return write_report(session).with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def page(session: Path) -> str:
    return write_report(session).read_text()


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_answer_is_in_three_lines_with_intervals(text: str) -> None:
    best, gain, test = section(text, "What came of it").strip().splitlines()[:3]
    assert "`exp-2`" in best and "0.71 (0.67 to 0.75)" in best
    assert "+0.5 (+0.47 to +0.53)" in gain and "confirmed on new seeds" in gain
    assert "scored once" in test and "0.705 (0.665 to 0.745)" in test


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Experiments", "(not measured: 98.7%)"),
        ("Experiments", "(again, of `exp-2`)"),
        ("Comparisons", "| `exp-2` against `exp-1` | exact_match on calls | +0.5 (+0.47 to +0.53) |"),
        ("Comparisons", "| yes | 1 and 3 | 0.06 | better |"),
        ("Comparisons", "| not tried |"),
        ("Tree of experiments", "    - `exp-3` inconclusive"),
        ("Tree of experiments", "sweep-1, 12 trials `exp-6` to `exp-17`: 12 discarded; best `exp-17`"),
        ("Evaluations", "| dev 500, test 500 | exact_match | 18 |"),
        ("Evaluations", "With 500 items you cannot count on seeing less than"),
        ("Alerts", "`too-fast-1`, step 200, divergence"),
        ("Data", "| `mix@1` | mix_datasets | calls-clean@1, pairs@1 | 8,211 | 9,000 |"),
        ("Contamination", "19 trainings started; sealed are now 1,000 items of 1 evaluation."),
        ("Contamination", "split_dataset left out 7 training rows"),
        ("Contamination", "12 rows that are held out in calls are left out"),
        ("Contamination", "Stopped, launch_training: 3 of 100 training rows hold items"),
        ("Cost", "1.25 dollars, 0.5 GPU hours, 1h 1m of wall time, 120,000 tokens of the brain"),
        ("Cost", "| `exp-2` | 20.5 | 0.00556 | 0.02 |"),
        ("Jobs", "nan: loss is not a number at step 120"),
        ("Denied and failed", "Denied, publish_model: It is public"),
        ("Denied and failed", "Failed, launch_training: learning_rte is no field"),
        ("Papers", "2305.18290"),
        ("Environment", "torch "),
        ("How to reproduce", "ml-intern reproduce local/calls"),
    ],
)
def test_what_is_told(text: str, title: str, words: str) -> None:
    assert words in section(text, title)


def test_places_on_the_machine_are_not_told(text: str, page: str) -> None:
    assert "/home/ada" not in text + page


def test_the_page_is_whole_and_reads_in_the_dark_and_on_a_phone(page: str) -> None:
    drawings = sound(page)
    assert len(drawings) == 5  # intervals, three curves, the graph of the data
    assert "prefers-color-scheme:dark" in page and "width=device-width" in page
    assert page.count('<div class="wide"><table>') == page.count("<table>")


def test_curves_have_axes_a_legend_and_their_alerts(page: str) -> None:
    loss = next(d for d in sound(page) if ">loss, log scale</text>" in d)
    assert ">step</text>" in loss and "step 200, too-fast-1: divergence" in loss
    caption = page.split(loss)[0].rpartition("<figcaption>")[2]
    assert "too-fast-1" in caption and "more that are not drawn" in caption and "an alert" in caption


def test_a_dense_curve_is_smoothed_over_itself() -> None:
    dense = line_chart("loss", {"a": [(float(n), falling(n)) for n in range(500)]})
    sparse = line_chart("loss", {"a": [(float(n), falling(n)) for n in range(20)]})
    assert dense.count("<polyline") == 2 and sparse.count("<polyline") == 1


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.thorough)])
def test_very_many_experiments_stay_readable(tmp_path: Path, count: int) -> None:
    path = write_report(many(tmp_path / "many", count))
    text, page = path.with_suffix(".md").read_text(), path.read_text()
    sound(page)
    rows = re.findall(r"^\| `exp-\d+` \|", section(text, "Experiments"), re.M)
    assert len(rows) == SHOWN and "| `exp-1` |" in text
    left = count - SHOWN
    assert f"And {left} more experiments ({left} discarded)" in text and f"And {left} more jobs" in text
    assert len(page) < 400_000 and len(text) < 100_000


@pytest.mark.thorough  # Deeper than Python's own stack.
def test_a_long_chain_of_experiments_is_drawn(tmp_path: Path) -> None:
    told = Told(tmp_path / "chain")
    parent = None
    for n in range(1200):
        parent = told.ledger.start("h", f"step {n}", parent).id
    sound(write_report(told.close()).read_text())


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    told = Told(tmp_path / "hostile")
    told.seal()
    row = told.experiment(NASTY, told.job("run-1", "sft", falling, 20), 0.5, "kept", notes=NASTY)
    told.ledger.record_published(row.id, "local/x", f"http://h/{NASTY}", "c" * 40)
    told.dataset("d@1", NASTY, f"/x/{NASTY}", 10, 9)
    told.journal(
        (NASTY, False, {"message": NASTY, "denied": True}), ("read_paper", True, {"arguments": {"id": NASTY}})
    )
    folder = told.close()
    card = {"id": NASTY, "prompt": NASTY, "status": NASTY, "model": NASTY, "created": NASTY}
    (folder / "session.json").write_text(json.dumps(card))
    status = {"method": NASTY, "state": NASTY, "failure": {"kind": NASTY, "message": NASTY}}
    (folder / "jobs" / "run-1" / "status.json").write_text(json.dumps(status))
    (folder / "reproduction.json").write_text(
        json.dumps({"card": NASTY, "says": NASTY, "numbers": [{"what": NASTY, "verdict": NASTY}, 3]})
    )
    path = write_report(folder)
    sound(path.read_text())
    assert (
        "<script" not in path.read_text()
        and "\x1b" not in path.read_text() + path.with_suffix(".md").read_text()
    )


@pytest.mark.parametrize("journal", [b"", b"no journal", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_broken_journal_costs_only_what_it_told(tmp_path: Path, journal: bytes) -> None:
    told = Told(tmp_path / "broken")
    told.experiment("c", told.job("run-1", "sft", falling, 20), 0.5, "kept")
    folder = told.close()
    (folder / "journal.sqlite").write_bytes(journal)
    text = write_report(folder).with_suffix(".md").read_text()
    assert "`exp-1`" in text and "## Denied" not in text


def test_metrics_that_no_rule_can_read_do_not_cost_the_report(tmp_path: Path) -> None:
    told = Told(tmp_path / "odd")
    told.experiment("c", told.job("run-1", "sft", falling, 20), 0.5, "kept")
    rows = [{"step": n, "loss": v} for n, v in enumerate([1e308, -1e308, "x", None, [1], {}, True, 1e-320])]
    folder = told.close()
    (folder / "jobs" / "run-1" / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    sound(write_report(folder).read_text())


def test_a_report_does_not_change_the_session(session: Path) -> None:
    before = {
        p: p.stat().st_mtime_ns for p in session.rglob("*") if p.is_file() and p.parent.name != "report"
    }
    write_report(session)
    after = {p: p.stat().st_mtime_ns for p in session.rglob("*") if p.is_file() and p.parent.name != "report"}
    ledger = {p for p in after if p.name.startswith("ledger.sqlite")}
    assert {p: t for p, t in before.items() if p not in ledger} == {
        p: t for p, t in after.items() if p not in ledger
    }
    assert Ledger(session / "ledger.sqlite").list()


@pytest.mark.parametrize(
    ("change", "hypothesis", "told"),
    [
        ("2 epochs, learning rate 3e-4", "it learns more", ""),
        ("accuracy 0.931", "it learns", "0.931"),
        ("2 epochs", "it reaches an accuracy of 0.93", "0.93"),
        ("2 epochs", "it is 12.4 points better", "12.4"),
    ],
    ids=["settings", "a score as the change", "a score", "a gain"],
)
def test_what_was_hoped_is_marked_and_settings_are_not(
    tmp_path: Path, change: str, hypothesis: str, told: str
) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.start(hypothesis, change)
    ledger.close()
    page = write_report(tmp_path).read_text()
    text = (tmp_path / "report" / "report.md").read_text()
    assert ("not measured: " in page) == ("not measured: " in text) == bool(told)
    assert f"(not measured: {told})" in text or not told


def test_the_mark_stands_beside_the_words_with_the_numbers(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.start("it reaches an accuracy of 0.931", "worked lines")
    ledger.close()
    text = write_report(tmp_path).with_suffix(".md").read_text()
    assert "not measured" not in section(text, "Experiments")
    told = "`exp-1` open: worked lines. it reaches an accuracy of 0.931 **(not measured: 0.931)**"
    assert told in section(text, "Tree of experiments")


def test_what_was_held_against_the_best_is_told(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    one, two = ledger.start("it learns", "a baseline"), ledger.start("more", "worked lines", parent="exp-1")
    for id, value in ((one.id, 0.9), (two.id, 0.1)):
        right = Measured(value=value, low=value - 0.05, high=value + 0.05, n=109, higher_is_better=True)
        made = Scores(eval="e", split="dev", model=id, primary="exact", metrics={"exact": right})
        ledger.record(id, "e", "dev", made)
    for metric, apart, verdict in (("exact", -0.8, "worse"), ("numeric", 0.3, "better")):
        found = Comparison(
            a=one.id, b=two.id, eval="e", metric=metric, value_a=0.5, value_b=0.5, difference=apart, low=apart,
            high=apart, p=0.01, n=109, higher_is_better=True, verdict=verdict, method="t", says="",  # type: ignore[arg-type]
        )  # fmt: skip
        ledger.record_comparison(found)
    ledger.finish(one.id, "kept", "a baseline")
    ledger.close()
    told = section(write_report(tmp_path).with_suffix(".md").read_text(), "What came of it")
    assert "- `exp-2` against it: exact on e -0.8 (-0.8 to -0.8); worse (p 0.01)." in told
    assert "- `exp-2` against it: numeric on e +0.3 " in told and "compared with no other" not in told


def test_the_answer_is_a_quotation_that_makes_nothing_of_its_own(tmp_path: Path) -> None:
    assert "agent's answer" not in write_report(tmp_path).with_suffix(".md").read_text()
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append("finished", {"answer": "an older one"})
    journal.append("finished", {"answer": f"## Best\n\n- it is 0.9 [not verified]\n{NASTY}"})
    journal.close()
    path = write_report(tmp_path)
    told = section(path.with_suffix(".md").read_text(), "The agent's answer")
    assert (
        "own words" in told and "> \\## Best" in told.replace("\\#\\#", "\\##") and "an older one" not in told
    )
    assert "> - it is 0.9 \\[not verified\\]" in told
    sound(path.read_text())
    again = write_report(tmp_path, answer="the newest").with_suffix(".md").read_text()
    assert "> the newest" in again and "0.9" not in section(again, "The agent's answer")
