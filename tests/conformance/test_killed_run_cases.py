"""Behaviour 17: the real command is killed with -9 and resumed; nothing is lost, nothing happens twice.

Kills at every line of the journal and at random moments are in tests/resume.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import ScriptedServer
from support.scripted_runs import cell

from ml_intern.journal.reading import JOURNAL, whole

REAL = [sys.executable, "-c", "import sys; from ml_intern.cli.main import run; sys.exit(run())"]
CELLS = [
    cell(
        "x = 20\nplan([{'text': 'train', 'status': 'done'}, {'text': 'look', 'status': 'done'}])\n"
        "e = start_experiment('more rows help', 'rows')"
    ),
    cell(
        "job = launch_script('import time\\nfor n in range(100):\\n    print(n, flush=True)\\n    time.sleep(0.05)',"
        " name='training')\nopen('made.txt', 'a').write('once\\n')"
    ),
    cell("x += 22\nprint(read_file('made.txt').text)"),
    cell(
        "job = wait_for_job(job.id)\n"
        "seen = [x, job.state, open('made.txt').read().count('once'), e.id, len(list_experiments())]\n"
        "final_answer(str(seen))"
    ),
]
ANSWER = "[42, 'succeeded', 1, 'exp-1', 1]"
USED = {"prompt_tokens": 100, "completion_tokens": 10}


def start(url: str, *words: str) -> subprocess.Popen[str]:
    given = ["--sandbox", "none", "--json", *words]
    if words[:1] != ("resume",):
        given += ["--model", "openai:m", "--base-url", url, "--budget", "5 jobs, 10k tokens, 10m"]
    else:
        given = ["resume", *words[1:], "--sandbox", "none", "--json"]
    return subprocess.Popen([*REAL, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("answered", [2, pytest.param(3, marks=pytest.mark.thorough)])
def test_a_killed_run_ends_as_if_nobody_had_killed_it(
    answered: int, scripted_server: Callable[..., ScriptedServer], own_state: Path
) -> None:
    """Killed with -9 after so many answers, with a job that runs: the same answer, one job, one experiment."""
    replies: list[Any] = [{"text": text, "usage": USED} for text in CELLS]
    server = scripted_server([*replies[:answered], {"delay": 60, "text": "", "stay": True}])
    first = start(server.url, "count")
    deadline = time.monotonic() + 90
    while len(server.chats) <= answered and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(server.chats) == answered + 1, first.communicate()[1]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    [folder] = (own_state / "sessions").iterdir()
    before = whole(folder / JOURNAL)

    server.replies[:] = replies[answered:]
    out, err = start(server.url, "resume").communicate(timeout=120)
    result = json.loads(out)
    assert (result["status"], result["answer"], result["errors"]) == ("done", ANSWER, []), err
    assert len(server.chats) == len(CELLS) + 1  # the question that was cut off, and no other, was asked twice
    assert result["tokens"] == {"input": 400, "output": 40}
    assert result["budget"]["tokens"]["spent"] == 440 and result["budget"]["jobs"]["spent"] == 1
    assert [job["state"] for job in result["jobs"]] == ["succeeded"] and len(result["experiments"]) == 1
    assert json.loads((folder / "notes.json").read_text())["plan"][1] == {"text": "look", "status": "done"}
    assert whole(folder / JOURNAL)[: len(before)] == before
