"""A session with sub-agents plays again, is exported, and is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from research_kit import Talks, of_json, play, told

from ml_intern.cli.live import LiveView
from ml_intern.cli.plain import PlainView
from ml_intern.export import export
from ml_intern.session.replaying import Replay

ASK = "found = research_many(['<a> what is alpha', '<b> two'], steps=2)"
TELL = "import json\nfinal_answer(json.dumps([f.answer for f in found]))"
READ = "text = read_file('alpha.txt').text\nprint(text)"
SAY = "final_answer(text.strip())"


@pytest.fixture
def recorded(begin: Any) -> tuple[Path, Talks, list[Any]]:
    brain = Talks([ASK, TELL], a=[READ, SAY], b=["b = 1\nprint('half')", "b = 2"])
    run = begin(brain)
    result, events = play(run)
    assert of_json(result)[0] == "alpha is 1" and "half" in of_json(result)[1]
    return run.folder, brain, events


def test_a_replay_with_recorded_results_asks_nobody(recorded: tuple[Path, Talks, list[Any]]) -> None:
    folder, brain, _ = recorded
    asked = len(brain.asked)
    result, events = play(Replay.of(folder, False, None, sandbox="none"))
    assert of_json(result)[0] == "alpha is 1" and result.status == "done"
    assert len(brain.asked) == asked and not told(events, "ResearchStarted")
    assert any("told the same in every step" in e.text for e in told(events, "Notice"))


def test_a_live_replay_plays_the_sub_agents_with_live_tools(
    recorded: tuple[Path, Talks, list[Any]], tmp_path: Path
) -> None:
    folder, brain, _ = recorded
    asked = len(brain.asked)
    # The replay's own workspace is empty, so that the file is found in the project.
    (tmp_path / "alpha.txt").write_text("alpha is 8\n")
    result, events = play(Replay.of(folder, True, None, sandbox="none"))
    assert of_json(result)[0] == "alpha is 8" and len(brain.asked) == asked
    ended = {e.research: e.ok for e in told(events, "ResearchFinished")}
    assert ended == {"research:1": True, "research:2": False}
    assert all(e.model.startswith("replay of") for e in told(events, "ResearchStarted"))


def test_markdown_tells_what_each_did(recorded: tuple[Path, Talks, list[Any]]) -> None:
    text = export(recorded[0], "markdown")
    assert "### research:1: <a> what is alpha" in text and "### research:2: <b> two" in text
    assert text.count("#### Step 1") == 2 and "No answer: the limit of 2 steps is reached" in text
    assert text.index("## Step 1") < text.index("### research:1") < text.index("\n## Step 2")


def test_notebook_script_and_playbook_hold_the_sessions_own_cells(
    recorded: tuple[Path, Talks, list[Any]],
) -> None:
    notebook = json.loads(export(recorded[0], "notebook"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    words = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    assert code == [ASK, TELL]
    assert any("**research:1**" in text and "- read_file(path='alpha.txt'" in text for text in words)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) == len(set(ids))
    for form in ("script", "playbook"):
        text = export(recorded[0], form)
        assert ASK in text and "read_file('alpha.txt')" not in text


def test_the_trace_has_them_as_side_chains(recorded: tuple[Path, Talks, list[Any]]) -> None:
    rows = [json.loads(line) for line in export(recorded[0], "trace").splitlines()]
    side = [row for row in rows if row["isSidechain"]]
    assert [row["message"]["content"] for row in side if row["parentUuid"] is None] == [
        "<a> what is alpha",
        "<b> two",
    ]
    assert len({row["uuid"] for row in rows}) == len(rows) and len(rows) - len(side) == 6
    known = {row["uuid"] for row in side}
    assert all(row["parentUuid"] in known for row in side if row["parentUuid"] is not None)


def test_the_plain_view_has_a_line_for_what_matters(recorded: tuple[Path, Talks, list[Any]]) -> None:
    shown: list[str] = []
    view = PlainView(shown.append)
    for event in recorded[2]:
        view.show(event)
    view.close()
    text = "\n".join(shown)
    assert "→ research:1: <a> what is alpha" in text and "research:1 → read_file(" in text
    assert "✓ research:1" in text and "✗ research:2" in text and "limit of 2 steps" in text
    assert text.count("step 1 ") == 1 and "half" not in text
    assert view.board.step == 2 and view.board.research == {} and view.board.output_tokens == 5 * 6


def test_so_has_the_live_view(recorded: tuple[Path, Talks, list[Any]], tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w+") as out:
        view = LiveView(out)
        for event in recorded[2]:
            view.show(event)
        view.close()
        out.seek(0)
        text = out.read()
    assert "→ research:1" in text and "✗ research:2" in text and text.count("● step 1") == 1
