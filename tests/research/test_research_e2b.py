"""In E2B a sub-agent gets a sandbox of its own: within one, everything can be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from research_kit import Talks, of_json, play
from support.e2b_server import E2BServer

from ml_intern.sandbox.e2b import E2BSandbox

pytestmark = pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())

SPOIL = """
from pathlib import Path
work = Path({work!r})
seen = (work / "alpha.txt").read_text().strip()
try:
    (work / "alpha.txt").write_text("spoiled")
    (work / "new.txt").write_text("spoiled")
except OSError:
    pass
final_answer(seen + " / " + read_file("alpha.txt").text.strip())
"""
TELL = "import json\nfinal_answer(json.dumps([found, open('alpha.txt').read()]))"


@pytest.mark.thorough
def test_what_it_writes_never_comes_out(begin: Any, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with E2BServer() as server:
        sandbox = E2BSandbox(server.env)
        brain = Talks(["found = research('<a> look')", TELL], a=[SPOIL.format(work=str(work))])
        found, text = of_json(play(begin(brain, sandbox=sandbox))[0])
    assert found["answer"] == "alpha is 1 / alpha is 1" and text == "alpha is 1\n"
    assert (work / "alpha.txt").read_text() == "alpha is 1\n" and not (work / "new.txt").exists()
