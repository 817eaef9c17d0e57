"""From another terminal: say something to a run, stop its cell, stop it, go on with a word, undo that turn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import ScriptedServer

COMMAND = [sys.executable, "-c", "import sys; from ml_intern.cli.main import run; sys.exit(run())"]
SANDBOX = "local" if shutil.which("bwrap") else "none"
WAIT = "import time\nopen('begun{}', 'w').close()\nprint('waiting')\ntime.sleep(90)"


def cell(code: str) -> str:
    return f"Next.\n<cell>\n{code}\n</cell>"


REPLIES = [
    cell("x = 1\n" + WAIT.format(1)),
    cell(WAIT.format(2)),
    cell("open('made.txt', 'a').write('once')\nfinal_answer(f'first {x}')"),
    cell("x += 1\nopen('made.txt', 'a').write(' twice')\nfinal_answer(f'second {x}')"),
    cell("final_answer(open('made.txt').read() + f' {x}')"),
]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(REPLIES, models=["x"]) as running:
        yield running


class Terminal:
    """Commands on one state folder."""

    def __init__(self, url: str, state: Path, workspace: Path) -> None:
        self.given = ["--model", "openai:x", "--base-url", url, "--sandbox", SANDBOX, "--json"]
        self.state, self.workspace = ["--state", str(state)], workspace

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *words, *self.given, *self.state],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, *words: str) -> str:
        done = subprocess.run(
            [*COMMAND, *words, *self.state], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout

    def until(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.workspace / name).exists():
            assert time.monotonic() < deadline, f"{name} did not come"
            time.sleep(0.05)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def asked(server: ScriptedServer) -> list[str]:
    """The prompts that the brain was given."""
    return [json.dumps(r) for r in server.requests if r["path"].endswith("/chat/completions")]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_run_is_steered_from_another_terminal(server: ScriptedServer, tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    terminal = Terminal(server.url, tmp_path / "state", workspace)
    run = terminal.start("do it", "--workspace", str(workspace))
    terminal.until("begun1")
    assert "is told before" in terminal.do("say", "1", "use", "less memory")
    assert "stop its cell" in terminal.do("stop", "1", "--cell")
    terminal.until("begun2")
    terminal.do("stop", "1")
    stopped = result(run)
    assert stopped["status"] == "interrupted" and len(asked(server)) == 2
    assert "use less memory" in asked(server)[1] and "The person stopped this cell" in asked(server)[1]

    # The interrupted cell runs again from its beginning; this time it alone is stopped.
    (workspace / "begun2").unlink()
    again = terminal.start("resume")
    terminal.until("begun2")
    terminal.do("stop", "--cell")
    assert result(again)["answer"] == "first 1" and len(asked(server)) == 3

    more = result(terminal.start("resume", "--say", "now the second"))
    assert more["answer"] == "second 2" and "Task:\\nnow the second" in asked(server)[3]
    assert (workspace / "made.txt").read_text() == "once twice"
    assert json.loads(terminal.do("undo", "--json"))["prompt"] == "now the second"
    assert (workspace / "made.txt").read_text() == "once"
    last = result(terminal.start("resume", "--say", "what is there?"))
    assert last["answer"] == "once 1" and "now the second" not in asked(server)[4]
    assert last["session"] == stopped["session"]
