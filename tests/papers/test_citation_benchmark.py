"""The benchmark of citation graphs keeps its promise on requests, which no machine's speed changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from citation_graph import measure


@pytest.mark.thorough
def test_a_graph_takes_a_tenth_of_the_requests() -> None:
    found = measure(papers=200, delay_ms=0)
    assert found["papers_breadth"] == found["papers_best"] == found["papers_one_by_one"] == 200
    assert float(str(found["times_fewer_requests"])) >= 10
