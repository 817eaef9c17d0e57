"""The subcommands that look at what is there, on a state folder with a real ledger and a job's folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from cli_process import REAL, Command, command, environment

from ml_intern.cli.sessions import find_session, list_sessions
from ml_intern.errors import UsageError
from ml_intern.ledger import Ledger


def make_session(state: Path, name: str, created: str, status: str = "done") -> Path:
    folder = state / "sessions" / name
    folder.mkdir(parents=True)
    card = {
        "id": name,
        "prompt": f"train {name}",
        "status": status,
        "model": "playbook:demo",
        "created": created,
    }
    (folder / "session.json").write_text(json.dumps(card | {"exit_code": 0}))
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    make_session(state, "20260101-100000-aaaa", "2026-01-01T10:00:00+00:00")
    make_session(state, "20260102-100000-bbbb", "2026-01-02T10:00:00+00:00", "limit")
    newest = make_session(state, "20260102-110000-cccc", "2026-01-02T11:00:00+00:00")
    ledger = Ledger(newest / "ledger.sqlite")
    ledger.start("a higher rate learns faster", "learning rate 3e-3", seed=7)
    ledger.close()
    job = newest / "jobs" / "baseline-1"
    job.mkdir(parents=True)
    spec = {"name": "baseline", "method": "pretrain"}
    status = {
        "id": "baseline-1",
        "name": "baseline",
        "method": "pretrain",
        "state": "succeeded",
        "created": 1.0,
    }
    (job / "spec.json").write_text(json.dumps(spec))
    (job / "status.json").write_text(json.dumps(status | {"started": 1.0, "ended": 9.0}))
    (job / "metrics.jsonl").write_text('{"step": 20, "total_steps": 160, "loss": 2.5}\n')
    (job / "log.txt").write_text("first\n\x1b[31mlast\x1b[0m\n")
    return state


def test_sessions_are_newest_first(inside: Command, tmp_path: Path, state: Path) -> None:
    done = command(tmp_path, "sessions", "--state", str(state))
    rows = done.stdout.splitlines()
    assert [row.split()[1][-4:] for row in rows[1:]] == ["cccc", "bbbb", "aaaa"]
    told = json.loads(inside(tmp_path, "--state", str(state), "sessions", "--json").stdout)
    assert [s["index"] for s in told["sessions"]] == [1, 2, 3] and told["sessions"][1]["status"] == "limit"


def test_no_sessions_yet(inside: Command, tmp_path: Path) -> None:
    done = command(tmp_path, "sessions", ML_INTERN_STATE=str(tmp_path / "none"))
    assert done.returncode == 0 and "No sessions yet" in done.stdout
    assert not (tmp_path / "none").exists()
    done = inside(tmp_path, "jobs", ML_INTERN_STATE=str(tmp_path / "none"))
    assert done.returncode == 2 and "There are no sessions" in done.stderr


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (None, "cccc"), ("1", "cccc"), ("3", "aaaa"), ("20260101", "aaaa"), ("20260102-10", "bbbb"),
        ("20260102-100000-bbbb", "bbbb"),
    ],
)  # fmt: skip
def test_session_by_index_or_prefix(state: Path, reference: str | None, found: str) -> None:
    assert find_session(state, reference).id.endswith(found)


def test_session_by_path(tmp_path: Path, state: Path) -> None:
    elsewhere = shutil.copytree(state / "sessions" / "20260101-100000-aaaa", tmp_path / "copy")
    assert find_session(state, str(elsewhere)).folder == elsewhere


@pytest.mark.parametrize(
    ("reference", "told"), [("20260102", "2 sessions begin"), ("4", "no session"), ("x", "no session")]
)
def test_session_that_is_not_clear(state: Path, reference: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        find_session(state, reference)


def test_damaged_card_is_shown_as_such(state: Path) -> None:
    (state / "sessions" / "20260101-100000-aaaa" / "session.json").write_text('{"id": ')
    assert [card.status for card in list_sessions(state)] == ["done", "limit", "damaged"]


def test_jobs(inside: Command, tmp_path: Path, state: Path) -> None:
    where = ("--state", str(state))
    assert "baseline-1  pretrain  succeeded" in command(tmp_path, "jobs", *where).stdout
    told = json.loads(inside(tmp_path, "jobs", "1", *where, "--json").stdout)
    assert told["jobs"][0]["metrics"]["loss"] == 2.5
    assert "has no jobs" in inside(tmp_path, "jobs", "2", *where).stdout
    assert inside(tmp_path, "jobs", "--log", "baseline-1", *where).stdout == "first\nlast\n"
    wrong = inside(tmp_path, "jobs", "--log", "baselin-1", *where)
    assert wrong.returncode == 2 and "did you mean 'baseline-1'" in wrong.stderr


def test_experiments(inside: Command, tmp_path: Path, state: Path) -> None:
    where = ("--state", str(state))
    done = command(tmp_path, "experiments", *where)
    assert "exp-1" in done.stdout and "learning rate 3e-3" in done.stdout
    told = json.loads(inside(tmp_path, "experiments", *where, "--json").stdout)
    assert told["experiments"][0]["hypothesis"] == "a higher rate learns faster"
    assert "has no experiments" in inside(tmp_path, "experiments", "2", *where).stdout


def test_report(inside: Command, tmp_path: Path, state: Path) -> None:
    done = command(tmp_path, "report", "--state", str(state))
    assert done.returncode == 0
    assert "learning rate 3e-3" in Path(done.stdout.strip()).read_text()
    done = inside(tmp_path, "report", "3", "--state", str(state))
    assert done.returncode == 2 and "no experiments to report on" in done.stderr


def test_tools(inside: Command, tmp_path: Path) -> None:
    done = command(tmp_path, "tools")
    assert done.returncode == 0 and "launch_training" in done.stdout and "publish" in done.stdout
    assert "evaluate(" in inside(tmp_path, "tools", "evaluate").stdout
    wrong = inside(tmp_path, "tools", "evalute")
    assert wrong.returncode == 2 and "did you mean 'evaluate'" in wrong.stderr
    told = json.loads(inside(tmp_path, "tools", "--json").stdout)
    assert {"name", "effect", "signature", "schema"} <= told["tools"][0].keys()


def test_playbooks(inside: Command, tmp_path: Path) -> None:
    done = command(tmp_path, "playbooks")
    assert done.returncode == 0 and "pretrain a small model on {source}" in done.stdout
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "broken.md").write_text("no front matter")
    (tmp_path / "ml-intern.toml").write_text('playbooks = ["own"]\n')
    done = inside(tmp_path, "playbooks")
    assert done.returncode == 0 and "broken.md" in done.stderr and "pretrain" in done.stdout


@pytest.mark.thorough
def test_doctor_tells_what_is_there_but_no_secret(tmp_path: Path) -> None:
    done = command(tmp_path, "doctor", "--json", OPENAI_API_KEY="sk-very-secret-value")
    told = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert told["python"]["mark"] == told["libraries"]["mark"] == told["endpoint key"]["mark"] == "ok"
    assert told["brain"]["mark"] == "missing" and "--base-url" in told["brain"]["mend"]
    assert "secret" not in done.stdout + done.stderr
    plain = command(tmp_path, "doctor")
    assert plain.returncode == 0 and "hf auth login" in plain.stdout


def test_doctor_fails_where_something_needed_is_missing(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = command(tmp_path, "doctor", "--state", str(locked / "state"))
    assert done.returncode == 1 and "cannot be written" in done.stdout


def test_hub_serve(tmp_path: Path) -> None:
    argv = [*REAL, "hub", "serve", "--port", "0", "--root", str(tmp_path / "hub")]
    process = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    assert process.stdout
    endpoint = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
    models = json.load(urllib.request.urlopen(f"{endpoint}/api/models"))
    assert models == []
    process.send_signal(2)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0 and err == ""


def test_hub_serve_says_when_the_address_cannot_be_had(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = command(tmp_path, "hub", "serve", "--port", port)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and port in done.stderr
    done = command(tmp_path, "hub", "serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2 and "token" in done.stderr
