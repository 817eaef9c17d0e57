"""Numbers of papers that were read may stand beside the paper's id, and are never a score of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_intern.claims.gathering import Heard, ToolTold, gathered
from ml_intern.claims.notes import loose_numbers
from ml_intern.claims.papers import TOLD, Papers, loose, papers_read
from ml_intern.claims.reading import numbers_in
from ml_intern.hub.card import CardFacts, model_card
from ml_intern.hub.publishing import check_card
from ml_intern.journal.journal import Journal
from ml_intern.ledger import Ledger, Measured, Scores

TABLE = {"title": "Tiny Transformers", "text": "| Setting | Accuracy |\n| plain | 71.2 |\n| worked | 91.4 |"}
CLEAN = {"title": "Clean | Data", "text": "After removal of near duplicates 88.9 % is left."}


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    journal = Journal(tmp_path / "journal.sqlite")
    for call, id, value, ok in (
        ("1", "arXiv:2401.10001v2", TABLE, True),
        ("2", "2403.70007", CLEAN, True),
        ("3", "2401.10001", {**TABLE, "text": "Section 3: 3,200 steps."}, True),
        ("4", "2404.80008", {"title": "gone", "text": "99.9"}, False),
    ):
        arguments = {"id": id, "section": None}
        journal.append("intent", {"call": call, "tool": "read_paper", "arguments": arguments})
        journal.append("result", {"call": call, "ok": ok, "value": value})
    journal.close()
    return papers_read(tmp_path / "journal.sqlite")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def test_papers_are_known_once_with_what_was_read_of_them(papers: Papers, tmp_path: Path) -> None:
    assert papers.titles == {"2401.10001v2": "Tiny Transformers", "2403.70007": "Clean | Data"}
    assert {71.2, 91.4, 3200} <= papers.numbers["arxiv:2401.10001"]
    assert papers_read(tmp_path / "none.sqlite") == Papers()


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Worked lines beat plain (2401.10001: 71.2 to 91.4; 88.9 after dedup in 2403.70007).", []),
        ("By arXiv:2401.10001v1 accuracy rises to 91.4 %.", []),
        ("By 2401.10001 it is 93.1.", ["93.1"]),
        ("By 2401.10001 accuracy is 88.9.", ["88.9"]),
        ("See 2401.10001. Accuracy is 91.4.", ["91.4"]),
        ("By 2404.80008 accuracy is 99.9.", ["99.9"]),
        ("We reach 91.4 as in 2401.10001.", ["91.4"]),
        ("It has an accuracy of 91.4 (2401.10001).", ["91.4"]),
        ("exp-1 has 91.4, see 2401.10001.", ["91.4"]),
    ],
)
def test_a_number_stands_beside_the_paper_that_gives_it(
    text: str, missing: list[str], papers: Papers, ledger: Ledger
) -> None:
    assert loose(text, ledger, [], papers) == (missing, not missing)
    assert loose(text, ledger, [], None)[0]


def test_a_card_tells_whose_the_numbers_are(papers: Papers, ledger: Ledger) -> None:
    one = ledger.start("worked lines help (2401.10001: 71.2 to 91.4)", "worked lines as in 2403.70007")
    ledger.start("We reach 91.4 (2401.10001).", "a copy")
    facts = CardFacts(repo="local/tiny", session="s", parameters=5, papers=papers)
    card = model_card(one, ledger, facts)
    assert f"- Hypothesis: worked lines help (2401.10001: 71.2 to 91.4) {TOLD}\n" in card
    assert "- Change: worked lines as in 2403.70007\n" in card
    assert "not repeated here" in model_card(ledger.get("exp-2"), ledger, facts)


def test_a_card_lists_what_was_read_and_no_title_or_id_is_a_number(ledger: Ledger) -> None:
    row = ledger.start("it learns", "a baseline")
    titles = {"2401.10001v2": "40 Points From | One Trick", "CorpusId:77": "", "10.1145/3292500.3330701": "B"}
    facts = CardFacts(repo="local/tiny", session="s", parameters=5, papers=Papers(titles))
    check_card(row, ledger, facts)
    card = model_card(row, ledger, facts)
    told = card.split("## Papers\n")[1].split("\n## ")[0]
    assert "- 40 Points From \\| One Trick, [2401.10001v2](<https://arxiv.org/abs/2401.10001v2>)\n" in told
    assert told.count("\n- ") == 3
    assert "## Papers" not in model_card(row, ledger, CardFacts("local/tiny", "s", 5))


def row(id: str, *parents: str) -> dict[str, object]:
    return {"id": id, "rows": 5, "operation": "made", "source": "s.jsonl", "parents": parents}


@pytest.mark.parametrize(
    ("lineage", "told"),
    [
        ([row("b@1", "a@1"), row("a@1")], "Newest first; each was made from the one below it.\n\n| "),
        ([row("c@1"), row("a@1")], "Newest first. Made from another one of these: none.\n\n| "),
        (
            [row("c@1", "a@1", "x@1"), row("b@1", "a@1"), row("a@1")],
            "Newest first. Made from another one of these: `c@1` from `a@1`, `b@1` from `a@1`.\n\n| ",
        ),
        ([row("a@1")], "## Data\n\n| "),
    ],
    ids=["a chain", "apart", "a tree", "one"],
)
def test_a_card_says_what_was_made_from_what(
    lineage: list[dict[str, object]], told: str, ledger: Ledger
) -> None:
    made = ledger.start("it learns", "a baseline")
    facts = CardFacts(repo="local/tiny", session="s", parameters=5, lineage=lineage)
    assert told in model_card(made, ledger, facts)


@pytest.mark.parametrize(
    "notes",
    [
        "exp-1 reaches an accuracy of 91.4.",
        "It solves 91.4 % of them.",
        "accuracy 91.4 as in 2401.10001, on our dev split",
    ],
)
def test_a_number_of_a_paper_is_no_score_of_ours(notes: str, ledger: Ledger) -> None:
    row = ledger.start("it learns", "a baseline")
    right = Measured(value=0.124, low=0.1, high=0.2, n=109, higher_is_better=True)
    made = Scores(eval="e", split="dev", model="m", primary="accuracy", metrics={"accuracy": right})
    ledger.record(row.id, "e", "dev", made)
    read = ToolTold("read_paper", {"id": "2401.10001"}, TABLE)
    evidence = gathered(ledger, heard=Heard(told=[read]))
    assert loose_numbers(notes, evidence)
    assert not loose_numbers("The paper 2401.10001 gives an accuracy of 91.4.", evidence)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("as in 2401.10001v2", 0),
        ("as in arXiv:0704.0001", 0),
        ("a perplexity of 1234.5678", 1),
        ("a reward of 2499.1234", 1),
    ],
)
def test_a_number_does_not_hide_behind_the_form_of_an_id(text: str, numbers: int) -> None:
    assert len(numbers_in(text)) == numbers
