"""The whole way: ``ml-intern.toml`` names a server, a language model on the wire writes a cell that calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from outside_kit import HERE
from support.openai_server import ScriptedServer

from ml_intern.journal.journal import Journal
from ml_intern.settings import Settings

pytest.importorskip("mcp", reason="the package mcp is not installed")
COMMAND = str(Path(sys.executable).with_name("ml-intern"))
SANDBOX = "local" if shutil.which("bwrap") else "none"

SETTINGS = f"""
[mcp_servers.tracker]
command = {json.dumps(sys.executable)}
args = [{json.dumps(str(HERE / "tracker_server.py"))}]
env = ["TRACKER_TOKEN"]
effects = {{ "list_*" = "read", "create-*" = "publish", "environment" = "read" }}
"""


def intern(
    folder: Path, cells: list[str], *options: str, settings: str = SETTINGS
) -> tuple[int, dict[str, Any], str]:
    (folder / "ml-intern.toml").write_text(settings)
    replies = [f"Next.\n<cell>\n{code}\n</cell>" for code in cells]
    env = {**os.environ, "TRACKER_TOKEN": "tracker-secret-77", "OTHER_TOKEN": "other-secret-88"}
    env["ML_INTERN_TRUST_PROJECT"] = "1"
    with ScriptedServer(replies) as server:
        command = [
            COMMAND,
            "do it",
            "--model",
            "openai:x",
            "--base-url",
            server.url,
            "--sandbox",
            SANDBOX,
            "--json",
        ]
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=folder,
            env=env,
        )
        told = json.dumps(server.chats)
    assert "Traceback" not in done.stderr, done.stderr
    lines = done.stdout.strip().splitlines()
    result = json.loads(lines[-1]) if lines else {}
    return done.returncode, {**result, "told": told}, done.stderr


def test_a_cell_calls_an_mcp_tool(tmp_path: Path) -> None:
    code, result, told = intern(tmp_path, ["final_answer(tracker__list_issues(limit=1)[0].title)"])
    assert code == 0 and result["answer"] == "first", told
    # The brain was shown the tool, marked as somebody else's words.
    assert "tracker__list_issues(state: 'open' | 'closed'" in result["told"]
    assert "MCP server 'tracker' says:" in result["told"]


@pytest.mark.thorough
def test_its_publishing_tool_is_denied_headless_and_allowed_by_yes(tmp_path: Path) -> None:
    cell = "try:\n    said = tracker__create_issue(title='x', private=True)\nexcept ToolError as e:\n    said = str(e)\nfinal_answer(said)"
    code, result, _ = intern(tmp_path, [cell])
    assert code == 4 and "--yes publish" in result["answer"]
    code, result, _ = intern(tmp_path, [cell], "--yes", "publish")
    assert code == 0 and result["answer"] == "issue 2"


@pytest.mark.thorough
def test_the_server_sees_its_own_token_and_the_cell_none(tmp_path: Path) -> None:
    cell = "import os\nfound = tracker__environment()\nfinal_answer(f'{sorted(found)} {found} {dict(os.environ)}')"
    code, result, _ = intern(tmp_path, [cell])
    assert code == 0 and "'TRACKER_TOKEN'" in result["answer"] and "OTHER_TOKEN" not in result["answer"]
    assert "secret-77" not in str(result) and "secret-88" not in str(result)


@pytest.mark.thorough
def test_a_server_that_does_not_start_is_a_notice_and_the_run_goes_on(tmp_path: Path) -> None:
    settings = '[mcp_servers.gone]\ncommand = "no-such-program-here"\n'
    code, result, _ = intern(tmp_path, ["final_answer('done')"], settings=settings)
    assert code == 0 and result["answer"] == "done"
    journal = Settings.load().state / "sessions" / result["session"] / "journal.sqlite"
    assert any("mcp_servers.gone.command" in str(entry.payload) for entry in Journal(journal).entries())


def test_a_bad_entry_ends_in_one_line(tmp_path: Path) -> None:
    code, _, told = intern(tmp_path, [], settings='[mcp_servers.gone]\ncomand = "x"\n')
    assert code == 2 and "mcp_servers.gone.comand" in told and "did you mean 'command'" in told
    assert len(told.strip().splitlines()) == 1
