"""The story of a paper: what is quoted stands in the library, and the verdict is the ledger's."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from ml_intern import MLIntern

STORY = Path(__file__).resolve().parents[2] / "examples" / "reproduce_paper"
PAGE = STORY / "library" / "html" / "2405.14394.html"
VERDICTS = {"better": "held", "worse": "did not hold", "inconclusive": "is inconclusive at this size"}


def claim() -> str:
    """What the README quotes of the paper: the second of its quotations, after the sentence."""
    quotes = re.findall(r"(?:^> .*\n)+", (STORY / "README.md").read_text(encoding="utf-8"), flags=re.M)
    return " ".join(quotes[1].replace("> ", "").split())


def test_the_quoted_claim_stands_in_the_library() -> None:
    [found, *_] = json.loads((STORY / "library/graph/v1/paper/search.json").read_text(encoding="utf-8"))[
        "data"
    ]
    assert claim() in found["abstract"]
    assert found["abstract"] in PAGE.read_text(encoding="utf-8")


def test_the_verdict_is_the_ledgers() -> None:
    """The answer says of few examples what the comparison over all seeds found, and quotes the claim."""
    ledger = json.loads((STORY / "results" / "small" / "ledger.json").read_text(encoding="utf-8"))
    few = next(e["id"] for e in ledger["experiments"] if e["parent"])
    comparison = [c for c in ledger["comparisons"] if c["b"] == few][-1]
    assert (comparison["seeds_a"], comparison["seeds_b"]) == (3, 3)
    said = ledger["answer"].splitlines()[0]
    assert f"few examples {VERDICTS[comparison['verdict']]}: " in said
    assert f"{comparison['difference']:+.3f}" in said and claim() in ledger["answer"]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_paper_is_found_and_read_from_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runpy.run_path(str(STORY.parent / "run.py"))
    story = runner["Story"].read(STORY, "small")
    (tmp_path / "playbook.md").write_text(
        "---\nname: reading\nsummary: Reads.\nsentences: ['read']\n---\n```python\n"
        "found = search_papers('loss over instructions').papers[0]\nrecipe = extract_recipe(found.id)\n"
        "final_answer(read_paper(found.id, 'abstract').text + str([(f.name, f.value) for f in recipe.hyperparameters]))\n"
        "```\n"
    )
    monkeypatch.chdir(tmp_path)
    with runner["served"](story) as mirrors:
        given: dict[str, Any] = {
            "playbooks": [tmp_path],
            "state": tmp_path / "state",
            "web_cache": tmp_path / "web",
        }
        result = MLIntern("playbook:", **given, **mirrors).run("read")
    assert claim() in " ".join(result.answer.split())
    assert "('Learning rate', '2e-5')" in result.answer
