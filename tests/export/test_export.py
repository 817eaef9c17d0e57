"""A session's record in other forms, each read back by what is made for reading it."""

from __future__ import annotations

import ast
import itertools
import json
from pathlib import Path

import pytest

from ml_intern.brains.playbook import load_playbook
from ml_intern.brains.playbook_cells import fill_cell
from ml_intern.errors import UsageError
from ml_intern.export import FORMATS, export
from ml_intern.journal.journal import Journal

CELL = 'source = "notes.txt"\nprint(f"{{source}} {source}")\nfor _ in range(2):\n    inspect_dataset("notes.txt")'


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "20261121-100000-ab12"
    folder.mkdir()
    card = {"id": folder.name, "prompt": "look at notes.txt", "model": "openai:m", "status": "done"}
    (folder / "session.json").write_text(json.dumps(card))
    journal = Journal(folder / "journal.sqlite")
    for number, (code, ok, saw) in enumerate(
        [
            ("1/0", False, "ZeroDivisionError"),
            (CELL, True, "{source} notes.txt"),
            ("final_answer('ok')", True, ""),
        ],
        1,
    ):
        text = f"Step {number}, look.\n<cell>\n{code}\n</cell>"
        journal.append("brain", {"step": number, "text": text, "tokens": [10, 5], "finish": "stop"})
        journal.append("cell", {"step": number, "code": code})
        if number == 2:
            call = {
                "call": "call-1",
                "key": "k",
                "tool": "inspect_dataset",
                "effect": "read",
                "arguments": {"source": "notes.txt"},
            }
            journal.append("intent", call)
            journal.append("result", {"call": "call-1", "ok": True, "value": {"rows": 3}, "message": ""})
            journal.append(
                "refusal", {"call": "call-2", "tool": "delete_all", "arguments": {}, "message": "no"}
            )
        journal.append(
            "cell_done", {"step": number, "ok": ok, "observation": saw, "final": number == 3, "answer": "ok"}
        )
    journal.append("finished", {"answer": "ok", "status": "done"})
    journal.close()
    return folder


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_the_same_each_time_and_changes_nothing(session: Path, form: str) -> None:
    before = {path: path.read_bytes() for path in session.iterdir() if path.name in ("session.json",)}
    assert export(session, form) == export(session, form)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_notebook_is_one(session: Path) -> None:
    notebook = json.loads(export(session, "notebook"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]) for cell in code] == ["1/0", CELL, "final_answer('ok')"]
    assert code[0]["outputs"][0]["name"] == "stderr" and len({c["id"] for c in notebook["cells"]}) == 8


def test_a_script_parses_and_names_the_tools(session: Path) -> None:
    script = export(session, "script")
    ast.parse(script)
    assert "delete_all, inspect_dataset" in script and "#> ZeroDivisionError" in script


def test_markdown_has_fences_longer_than_those_inside(session: Path, tmp_path: Path) -> None:
    journal = Journal(session / "journal.sqlite")
    journal.append("brain", {"step": 4, "text": "x", "tokens": [1, 1], "finish": "stop"})
    journal.append("cell", {"step": 4, "code": "print('````')"})
    journal.close()
    assert "`````python\nprint('````')\n`````" in export(session, "markdown")


def test_a_trace_is_a_chain_of_messages(session: Path) -> None:
    lines = [json.loads(line) for line in export(session, "trace").splitlines()]
    assert [line["type"] for line in lines] == ["user", *["assistant", "user"] * 3, "assistant"]
    assert all(now["parentUuid"] == before["uuid"] for before, now in itertools.pairwise(lines))
    used = lines[3]["message"]["content"][-1]
    assert used["type"] == "tool_use" and used["input"]["code"] == CELL
    assert lines[2]["message"]["content"][0]["is_error"] is True


def test_a_playbook_can_be_played_with_another_value(session: Path, tmp_path: Path) -> None:
    path = tmp_path / "looking.md"
    path.write_text(export(session, "playbook", name="looking", slots={"file": "notes.txt"}))
    playbook = load_playbook(path)
    found = playbook.match("look at other.txt")
    assert found is not None and found[1] == {"file": "other.txt"}
    code = [fill_cell(cell.code, found[1], "here") for cell in playbook.cells]
    assert len(code) == 2 and code[0].strip() == CELL.replace('"notes.txt"', "'other.txt'")


def test_a_slot_must_stand_in_the_prompt(session: Path) -> None:
    with pytest.raises(UsageError, match="does not hold"):
        export(session, "playbook", slots={"file": "missing.txt"})
    with pytest.raises(UsageError, match="did you mean 'notebook'"):
        export(session, "notebok")


def test_a_damaged_journal_gives_what_can_be_read(session: Path, tmp_path: Path) -> None:
    data = (session / "journal.sqlite").read_bytes()
    (session / "journal.sqlite").write_bytes(data[: len(data) // 2])
    for extra in session.glob("journal.sqlite-*"):
        extra.unlink()
    try:
        assert "look at notes.txt" in export(session, "markdown")
    except UsageError as error:
        assert "cannot be read" in str(error)
    with pytest.raises(UsageError, match="no journal"):
        export(tmp_path, "markdown")
