"""A language model on the wire: its replies are cells, they run in the sandbox, the result is one JSON object."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).parents[1] / "support" / "openai_server.py"
COMMAND = str(Path(sys.executable).with_name("ml-intern"))
SANDBOX = "local" if shutil.which("bwrap") else "none"

Serve = Callable[[list[Any]], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server that plays replies; its URL."""
    running: list[subprocess.Popen[str]] = []

    def start(replies: list[Any]) -> str:
        script = tmp_path / "replies.jsonl"
        script.write_text("".join(json.dumps(reply) + "\n" for reply in replies))
        server = subprocess.Popen(
            [sys.executable, str(SERVER), str(script), "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        running.append(server)
        assert server.stdout is not None
        return server.stdout.readline().strip().split()[-1]

    yield start
    for server in running:
        server.kill()
        server.wait()


def cell(code: str) -> str:
    return f"Next.\n<cell>\n{code}\n</cell>"


def intern(url: str, *options: str, prompt: str = "do it") -> tuple[int, dict[str, Any], str]:
    command = [
        COMMAND,
        prompt,
        "--model",
        "openai:x",
        "--base-url",
        url,
        "--sandbox",
        SANDBOX,
        "--json",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    lines = done.stdout.strip().splitlines()
    return done.returncode, json.loads(lines[-1]) if lines else {}, done.stderr


def test_replies_become_cells_and_the_result_one_object(serve: Serve) -> None:
    url = serve(
        [
            cell("x = 20\nprint('hello', x)"),
            cell(
                "left = budget_left()\nplan([{'text': 'count', 'status': 'done'}])\nfinal_answer(f'{x * 2 + 2} of {len(left)}')"
            ),
        ]
    )
    code, result, _ = intern(url)
    assert code == 0
    assert (result["status"], result["answer"], result["steps"]) == ("done", "42 of 5", 2)
    assert result["tokens"]["input"] > 0 and result["tokens"]["output"] > 0
    keys = {
        "session",
        "status",
        "answer",
        "steps",
        "tokens",
        "cost",
        "budget",
        "experiments",
        "jobs",
        "published",
    }
    assert keys <= set(result) and result["errors"] == []


@pytest.mark.thorough
def test_errors_come_back_and_the_run_goes_on(serve: Serve) -> None:
    url = serve(
        [
            cell("open('nothing.txt')"),
            "I have no idea.",
            cell("try:\n    inspect_dataset(sorce='x')\nexcept ToolError as error:\n    said = str(error)"),
            cell("final_answer(said)"),
        ]
    )
    code, result, _ = intern(url)
    assert code == 0 and "did you mean 'source'" in result["answer"]


@pytest.mark.thorough
def test_three_replies_without_a_cell_end_the_run(serve: Serve) -> None:
    code, result, _ = intern(serve(["Hm."] * 5))
    assert code == 1 and result["status"] == "failed" and "no usable cell" in result["errors"][0]


@pytest.mark.thorough
def test_the_step_limit_is_an_exit_code(serve: Serve) -> None:
    code, result, _ = intern(serve([cell(f"print({n})") for n in range(5)]), "--max-steps", "2")
    assert code == 3 and result["status"] == "limit" and result["steps"] == 2


@pytest.mark.thorough
def test_the_token_budget_is_an_exit_code(serve: Serve) -> None:
    code, result, told = intern(serve([cell(f"print({n})") for n in range(5)]), "--budget", "20 tokens")
    assert code == 3 and "20 tokens" in result["errors"][0], told


@pytest.mark.skipif(SANDBOX == "none", reason="bubblewrap is not installed")
def test_cells_have_no_keys_and_no_network(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    probe = (
        "import os, socket\n"
        "found = [k for k, v in os.environ.items() if 'very-secret' in v]\n"
        "try:\n    socket.create_connection(('127.0.0.1', {port}), timeout=2); net = 'open'\n"
        "except OSError:\n    net = 'closed'\n"
        "final_answer(f'{{found}} {{net}}')"
    )
    url = serve([cell("pass"), cell("pass")])
    port = url.rsplit(":", 1)[1].split("/")[0]
    url = serve([cell(probe.format(port=port))])
    assert intern(url)[1]["answer"] == "[] closed"


@pytest.mark.thorough
def test_what_a_run_needs_and_may_not_do_is_told_and_coded(serve: Serve) -> None:
    refused = (
        "open('rows.jsonl', 'w').write('{\"text\": \"a row\"}\\n')\n"
        "filter_dataset('rows.jsonl', where='1 = 1', name='x')\n"
        "try:\n    publish_dataset('x', repo='mine/x', private=False)\nexcept ToolError as error:\n    print(error)"
    )
    code, result, _ = intern(serve([cell(refused), cell("final_answer('not published')")]))
    assert code == 4 and result["status"] == "denied" and result["answer"] == "not published"
    assert "--yes publish" in result["errors"][0]


def test_an_unreachable_model_ends_in_seconds() -> None:
    began = time.monotonic()
    code, _, told = intern("http://127.0.0.1:9/v1")
    assert code == 5 and "127.0.0.1:9" in told and len(told.strip().splitlines()) == 1
    assert time.monotonic() - began < 100


@pytest.mark.thorough
def test_without_bubblewrap_a_models_cells_need_a_word_and_our_own_do_not(tmp_path: Path) -> None:
    bare = {**os.environ, "PATH": str(Path(sys.executable).parent)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *words], capture_output=True, text=True, env=bare, timeout=60, check=False
        )

    ours = run("say hello to Ann")
    assert ours.returncode == 0 and "Hello, Ann!" in ours.stdout
    assert "NOT ISOLATED" in ours.stdout + ours.stderr
    folder = tmp_path / "mine"
    folder.mkdir()
    own = (Path(__file__).parents[2] / "prompts" / "playbooks" / "hello.md").read_text()
    (folder / "mine.md").write_text(
        own.replace("name: hello", "name: mine").replace("say hello to", "wave at")
    )
    bare["ML_INTERN_PLAYBOOKS"] = str(folder)
    theirs = run("wave at Ann")
    assert theirs.returncode == 4 and "--sandbox none" in theirs.stderr
    assert run("wave at Ann", "--sandbox", "none").returncode == 0


def test_ctrl_c_stops_the_cell_and_the_run(serve: Serve) -> None:
    url = serve(
        [cell("import time\nprint('sleeping', flush=True)\ntime.sleep(60)"), cell("final_answer('no')")]
    )
    command = [COMMAND, "do it", "--model", "openai:x", "--base-url", url, "--sandbox", SANDBOX]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.stdout is not None
    seen = ""
    for line in run.stdout:
        seen += line
        if "sleeping" in line and "print" not in line:
            break
    run.send_signal(signal.SIGINT)
    rest = run.communicate(timeout=60)[0]
    assert run.returncode == 130, seen + rest
