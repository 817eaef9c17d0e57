"""The playbook that reads papers without a language model, from the sentence to its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.loopback import Answer, Asked, Loopback, Reply
from support.made_papers import as_html, made
from support.paper_answers import Literature

from ml_intern import MLIntern

Serve = Callable[[Answer], Loopback]


def world(asked: Asked) -> Reply:
    """Papers that cite each other; all but one can be read."""
    literature = Literature(20)
    if asked.path == "/graph/v1/paper/search":
        return Reply({"total": 3, "data": [literature.paper(n) for n in (0, 3, 5)]})
    if asked.path.startswith("/html/") and not asked.path.endswith("00003"):
        return Reply(as_html(made(1)), headers={"content-type": "text/html"})
    return literature.answer(asked)


def test_papers_are_searched_followed_and_read(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(world).url
    monkeypatch.chdir(tmp_path)
    names = ("semantic-scholar", "arxiv", "arxiv-site", "huggingface", "openalex")
    intern = MLIntern(
        model="playbook:survey",
        sandbox="none",
        state=tmp_path / "state",
        web_cache=tmp_path / "web",
        web_mirrors=dict.fromkeys(names, url),
    )
    result = intern.run("survey papers about sparse attention from 3 papers")
    assert result.status == "done" and "No text of 1 could be had." in result.answer
    told = Path(result.answer.rpartition(" ")[2]).read_text()
    assert told.startswith("# What papers say about sparse attention")
    assert "- hyperparameters: Batch size" in told and "Not read: " in told
