"""A whole run whose cells read about papers: kernel, router, journal and tools are the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.loopback import Answer, Loopback
from support.paper_answers import Literature
from support.scripted_runs import cell, play

Serve = Callable[[Answer], Loopback]

CODE = """
graph = citation_graph(id="https://arxiv.org/abs/2401.00000v2", depth=3, max_papers=40)
best = graph.papers[0]
saved = '"direction":"both"' in str(read_file(graph.path))
try:
    citation_graph(id="no paper")
    said = ""
except Exception as error:
    said = str(error)
final_answer(f"{graph.size} papers, best {best.id} at depth {best.depth}; saved: {saved}; {said}")
"""


def test_a_cell_follows_citations(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(Literature(80).answer)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ML_INTERN_WEB_MIRRORS", f'{{"semantic-scholar": "{server.url}"}}')
    played = play([cell(CODE)], tmp_path)
    assert "40 papers, best 2401.000" in played.result.answer
    assert "saved: True" in played.result.answer
    assert "'no paper' is no id of a paper. Give one like 2106.09685" in played.result.answer
