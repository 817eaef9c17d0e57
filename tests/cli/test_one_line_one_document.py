"""Every failure is one clear line and a code; with `--json` stdout has one document and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ml_intern.cli.arguments import front
from ml_intern.cli.main import run

SESSION = "20260101-100000-aaaa"


@pytest.fixture
def state(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with one session that has nothing but its card; the person stands in an empty folder."""
    folder = own_state / "sessions" / SESSION
    folder.mkdir(parents=True)
    card = {"id": SESSION, "prompt": "p", "status": "done", "created": "2026", "workspace": str(tmp_path)}
    (folder / "session.json").write_text(json.dumps(card))
    monkeypatch.chdir(tmp_path)
    return own_state


WRONG = [
    ["", "--model", "playbook:"],
    ["do what nobody understands"],
    ["say hello to Ada", "--model", "playbook:none"],
    ["say hello to Ada", "--model", "nonsense"],
    ["say hello to Ada", "--budget", "much"],
    ["say hello to Ada", "--yes", "everything"],
    ["say hello to Ada", "--eval", "no-such-eval"],
    ["say hello to Ada", "--workspace", "/proc/nothing/here"],
    ["train it", "--model", "openai:x", "--base-url", "http://127.0.0.1:9/v1"],
    ["train it", "--sandbox", "cellar"],
    ["resume", "nobody"], ["resume"],
    ["say", "hello"], ["say", "20260202-000000-none", "hello"],
    ["stop"], ["stop", SESSION], ["undo", SESSION], ["undo", "7"],
    ["replay", SESSION], ["replay", "x"],
    ["reproduce", "no/such/card"], ["reproduce", "--data", "x", "no/such/card"],
    ["sessions", "--bogus"], ["sessions", "word"],
    ["jobs", "nobody"], ["jobs", SESSION, "nobody"], ["jobs", "--cancel"],
    ["experiments", "nobody"], ["report", SESSION], ["report", "9"], ["share", "nobody"],
    ["export", SESSION, "--format", "poem"], ["export", "nobody"],
    ["hub"], ["hub", "serve", "--port", "99999"],
    ["tools", "no_such_tool"], ["evals", "no-such-eval"], ["trust"],
    ["doctor", "--variant", "cpu"], ["doctor", "--model", "openai:x", "--base-url", "http://127.0.0.1:9/v1"],
    ["completion", "tcsh"], ["sesions"],
]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=lambda words: "_".join(words)[:50].replace("/", "|"))
def test_a_failure_is_one_line_a_code_and_one_document(
    state: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    code = run([*words, "--json"])
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.strip()]
    assert 0 < code < 255 and len(lines) == 1 and lines[0].startswith("ml-intern: "), err
    assert "Traceback" not in err and "defect" not in err and len(lines[0]) > 20
    document = json.loads(out)
    assert isinstance(document, dict)
    assert document.get("errors") or document.get("ok") is False


RIGHT = [
    ["sessions"], ["jobs"], ["experiments"], ["playbooks"], ["evals"], ["tools"], ["tools", "evaluate"],
    ["say", SESSION, "more"],
]  # fmt: skip


@pytest.mark.parametrize("words", RIGHT, ids=" ".join)
def test_what_goes_well_is_one_document(
    state: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--json"]) == 0
    out, err = capfd.readouterr()
    assert isinstance(json.loads(out), dict) and err == "" and out.count("\n") == 1


def test_each_command_is_looked_at_here() -> None:
    visible = {name for name, command in front.commands.items() if not command.hidden}
    assert visible <= {words[0] for words in (*WRONG, *RIGHT)} | {"chat", "web", "mcp"}


def test_a_damaged_ledger_is_one_line(state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (state / "sessions" / SESSION / "ledger.sqlite").write_bytes(b"no database " * 500)
    for command in ("experiments", "report"):
        assert run([command, "--json"]) != 0
        out, err = capfd.readouterr()
        assert json.loads(out)["errors"] and err.count("ml-intern: ") == 1 and "defect" not in err, err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["look at the data"], "look at the data"),
        (["2 epochs are enough"], "2 epochs are enough"),
        (["look", "at", "it"], "look at it"),
        (["1", "look"], "look"),
    ],
    ids=["one-word", "number", "words", "index"],
)
def test_say_finds_the_session_that_runs(
    state: Path, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, status in (("20260102-100000-runs", "running"), ("20260103-100000-over", "done")):
        folder = state / "sessions" / name
        folder.mkdir()
        card = {"id": name, "status": status, "created": name[:8], "pid": os.getpid()}
        (folder / "session.json").write_text(json.dumps(card))
    assert run(["say", *words, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    meant = "20260103-100000-over" if words[0] == "1" else "20260102-100000-runs"
    assert told["said"] == said and told["session"] == meant
