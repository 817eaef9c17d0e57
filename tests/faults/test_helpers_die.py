"""What a run leans on dies in mid-run: a job's supervisor, the embedded Hub, an MCP server."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from provider import Handler, Provider, good
from scripted_run import Run, said, told_to

from ml_intern.hub.server import ServerThread

Start = Callable[..., Provider]
TRACKER = Path(__file__).parents[1] / "outside" / "tracker_server.py"


def then(event: Callable[[], object]) -> Callable[[Handler, dict[str, Any]], None]:
    """An answer before which something happens."""

    def play(handler: Handler, body: dict[str, Any]) -> None:
        event()
        good(handler, body)

    return play


def test_a_job_s_supervisor_is_killed(provider: Start, run: Run) -> None:
    cells = (
        "job = launch_script('import time\\ntime.sleep(600)', name='long')",
        "status = wait_for_job(job.id)\nprint(status.state, status.failure.kind, status.failure.hint)",
        "again = launch_script('print(1)', name='long')\nfinal_answer(f'{status.failure.kind} {wait_for_job(again.id).state}')",
    )

    def kill() -> None:
        [path] = run.settings["state"].glob("sessions/*/jobs/long-1/status.json")
        deadline = time.monotonic() + 60
        while (status := json.loads(path.read_text()))["state"] != "running" and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(status["supervisor"], signal.SIGKILL)

    server = provider([None, then(kill)], texts=[said(cell) for cell in cells])
    result = run.begin(server)
    assert (result.answer, result.exit_code) == ("lost succeeded", 0)
    assert "failed lost resume_job goes on with it" in told_to(server, 2)


def test_the_embedded_hub_dies(provider: Start, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ServerThread] = []
    begin = ServerThread.__init__

    def noted(self: ServerThread, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        made.append(self)

    monkeypatch.setattr(ServerThread, "__init__", noted)
    cells = (
        "print(search_models('x'))",
        "print(search_models('y'))",
        "final_answer(len(search_models('z')))",
    )
    server = provider([None, then(lambda: made[-1].stop())], texts=[said(cell) for cell in cells])
    result = run.begin(server)
    assert (result.answer, result.exit_code) == ("0", 0)
    assert len(made) == 2 and made[0].port == made[1].port


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="the package mcp is not installed")
def test_an_mcp_server_dies(provider: Start, run: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    start = f"import os, runpy\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\nrunpy.run_path({str(TRACKER)!r}, run_name='__main__')"
    servers = {"tracker": {"command": sys.executable, "args": ["-c", start], "effects": {"*": "read"}}}
    cells = (
        "print(tracker__list_issues(limit=1)[0].title)",
        "try:\n    print(tracker__list_issues(limit=1)[0].title)\nexcept ToolError as error:\n    print('told:', error)",
        "final_answer(tracker__list_issues(limit=1)[0].title)",
    )

    def kill() -> None:
        os.kill(int(pids.read_text().split()[-1]), signal.SIGKILL)

    server = provider([None, then(kill)], texts=[said(cell) for cell in cells])
    result = run.begin(server, mcp_servers=servers)
    assert (result.answer, result.exit_code) == ("first", 0)
    # Its death is noticed by the call, which is then told of it, or before: the call goes to a new server.
    seen = told_to(server, 2)
    assert "did not carry out the call" in seen or "first" in seen, seen
    assert len(pids.read_text().split()) == 2
