"""Credentials are planted everywhere a person keeps them; a run that looks for them finds none and leaks none."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import ScriptedServer

COMMAND = str(Path(sys.executable).with_name("ml-intern"))
pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

ENVIRONMENT = {
    "HF_TOKEN": "hf_" + "pLaNt3d" * 5,
    "OPENAI_API_KEY": "sk-proj-" + "pLaNt3d0penai" * 3,
    "GITHUB_TOKEN": "ghp_" + "pLaNt3d7" * 4,
    "AWS_ACCESS_KEY_ID": "AKIA" + "PLANTEDPLANTED12",
    "AWS_SECRET_ACCESS_KEY": "pLaNt3d/secret+" + "access0" * 4,
    "HTTPS_PROXY": "http://ann:pLaNt3d-proxy-word@127.0.0.1:9",
}
DOTENV = {
    "E2B_API_KEY": "planted-value-of-e2b-1",
    "ANTHROPIC_API_KEY": "planted value with spaces 2",
    "DB_PASSWORD": 'planted\\value"3',
}
PASTED = "github_pat_" + "11PASTED00" * 5
MADE = "hf_" + "m4D3" * 9
"""Made by a cell, of parts: no file has it."""
SAVED = "hf_" + "s4V3d" * 7
SECRETS = {**ENVIRONMENT, **DOTENV, "pasted": PASTED, "made": MADE, "saved": SAVED}

LOOK = """
import glob, os
found = [repr(dict(os.environ))]
places = ["/proc/*/environ", "/proc/*/cmdline", "/proc/*/task/*/environ", "/run/secrets/*", "/etc/shadow"]
for home in ("~", "HOME", "/root"):
    places += [home + "/.[a-z]*", home + "/.cache/huggingface/*", home + "/.config/*/*"]
for root in ("PROJECT", "HOME", "STATE"):
    places += [root + "/.env", root + "/**"]
for place in places:
    for name in glob.glob(os.path.expanduser(place), recursive=True):
        try:
            found.append(open(name, "rb").read(1 << 20).decode("utf-8", "replace"))
        except OSError as error:
            found.append(str(error))
open("FILE", "w").write("\\n".join(found))
print("looked at", len(found) > 3)
"""
TOOLS = """
import json, sys, time
kept = []
for path in ("PROJECT/.env", "HOME/.cache/huggingface/token", "/proc/self/environ", "STATE"):
    try:
        kept.append(read_file(path).text)
    except ToolError as error:
        kept.append(str(error))
notes = read_file("PROJECT/notes.txt").text
assert "[hidden]" in notes and "harmless" in notes
kept += [notes, repr(list_files("PROJECT")), repr(budget_left())]
try:
    read_hub_file("a/b", "c", revision="hf_" + "m4D3" * 9)
except ToolError as error:
    kept.append(str(error))
open("tools.txt", "w").write("\\n".join(kept))
"""
LEAK = """
import sys, time
made = "hf_" + "m4D3" * 9
sys.stdout.write("a token: " + made[:12]); sys.stdout.flush(); time.sleep(0.5)
sys.stdout.write(made[12:] + " and on\\n"); sys.stdout.flush()
notify("the token is " + made)
plan([{"text": "use " + made, "status": "done"}])
e = start_experiment(hypothesis="with " + made, change="token " + made)
kept = {made: made}
try:
    read_file(made)
except ToolError as error:
    print(error)
finish_experiment(e.id, "discarded", notes="it was " + made)
write_file("config.py", "TOKEN = '" + made + "'")
raise ValueError("failed with " + made)
"""
JOB = """
code = '''LOOK
print("the job has", "hf_" + "m4D3" * 9, flush=True)
raise RuntimeError("in the job: " + "hf_" + "m4D3" * 9)'''
job = launch_script(code, name="look")
job = wait_for_job(job.id, timeout=60)
print(job.state, job.failure.message, job.failure.last_lines)
print(job_logs(job.id).text, diagnose_job(job.id))
"""


@dataclass
class Run:
    code: int
    result: dict[str, Any]
    shown: str
    requests: list[dict[str, Any]]
    state: Path
    workspace: Path


def cell(code: str) -> str:
    return f"Next.\n<cell>\n{code}\n</cell>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = tmp_path_factory.mktemp("secrets")
    places = {name: base / name.lower() for name in ("PROJECT", "HOME", "STATE", "WORKSPACE")}
    for place in places.values():
        place.mkdir()
    project, home, state = places["PROJECT"], places["HOME"], places["STATE"]
    lines = [f"{name}='{value}'" for name, value in DOTENV.items()]
    (project / ".env").write_text(
        "\n".join([*lines, "OPENAI_BASE_URL=https://evil.example/v1"]).replace("\\v", "\\\\v")
    )
    (project / "notes.txt").write_text(
        f"harmless\nHF_TOKEN={ENVIRONMENT['HF_TOKEN']} and {DOTENV['E2B_API_KEY']}\n"
    )
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text(SAVED)

    def filled(code: str, **more: str) -> str:
        for name, value in {**{k: str(v) for k, v in places.items()}, **more}.items():
            code = code.replace(name, value)
        return code

    look = filled(LOOK, FILE="looked.txt")
    replies = [
        cell(look),
        cell(filled(TOOLS)),
        cell(LEAK),
        cell(JOB.replace("LOOK", look.replace("\\", "\\\\"))),
        cell("print(made, kept)"),
        cell("final_answer('the token is ' + made)"),
    ]
    with ScriptedServer(replies) as server:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "OPENAI_BASE_URL": server.url,
            "NO_PROXY": "127.0.0.1",
            "HF_HUB_OFFLINE": "1",
            **ENVIRONMENT,
        }
        command = [COMMAND, f"do it with the token {PASTED}", "--model", "openai:x", "--json", "-vv"]
        command += ["--state", str(state), "--workspace", str(places["WORKSPACE"])]
        done = subprocess.run(
            command, cwd=project, env=env, capture_output=True, text=True, timeout=240, check=False
        )
        lines = done.stdout.strip().splitlines()
        assert lines, done.stderr
        for words in (
            ("sessions",),
            ("jobs", "--json"),
            ("jobs", "--log", "look-1"),
            ("experiments",),
            ("report",),
        ):
            more = subprocess.run(
                [COMMAND, *words, "--state", str(state)],
                cwd=project,
                env=env,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            done.stderr += more.stdout + more.stderr
        return Run(
            done.returncode,
            json.loads(lines[-1]),
            done.stdout + done.stderr,
            server.requests,
            state,
            places["WORKSPACE"],
        )


def found_in(text: str) -> list[str]:
    """The planted credentials that stand in a text, plainly, as JSON or in base64."""
    return [
        name
        for name, value in SECRETS.items()
        if any(
            form in text
            for form in (value, json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode())
        )
    ]


def test_the_run_did_what_it_was_to_do(run: Run) -> None:
    assert run.code == 0, run.shown
    assert run.result["answer"] == "the token is [hidden]" and run.result["steps"] == 6
    assert [job["state"] for job in run.result["jobs"]] == ["failed"]


def test_cells_and_jobs_find_nothing(run: Run) -> None:
    dumps = [run.workspace / "looked.txt", run.workspace / "tools.txt"]
    dumps += run.state.glob("sessions/*/jobs/*/output/looked.txt")
    assert len(dumps) == 3
    for dump in dumps:
        text = dump.read_text()
        assert "PATH" in text or "harmless" in text, "it did look"
        # What a cell makes by itself it may have; the host's it may not.
        assert [name for name in found_in(text) if name != "made"] == [], dump


def test_what_tools_write_holds_none(run: Run) -> None:
    assert (run.workspace / "config.py").read_text() == "TOKEN = '[hidden]'"


def test_nothing_shown_holds_one(run: Run) -> None:
    assert found_in(run.shown) == []
    assert "a token: [hidden] and on" in run.shown
    assert "OPENAI_BASE_URL in it is ignored" in run.shown and "credential in the prompt" in run.shown


def test_nothing_kept_holds_one(run: Run) -> None:
    seen = 0
    for path in run.state.rglob("*"):
        if path.is_file():
            seen += 1
            # What a job prints goes to its log as it is, and is masked by whoever reads it.
            own = ["made"] if path.name == "log.txt" else []
            assert found_in(path.read_bytes().decode("utf-8", "replace")) in ([], own), path
    assert seen > 8


def test_the_model_reads_none_and_the_key_is_only_where_it_belongs(run: Run) -> None:
    assert len(run.requests) >= 6
    for request in run.requests:
        headers = dict(request["headers"])
        assert headers.pop("authorization") == f"Bearer {ENVIRONMENT['OPENAI_API_KEY']}"
        assert found_in(json.dumps(headers)) == []
        assert found_in(json.dumps(request["json"])) == [] and found_in(repr(request["json"])) == []
