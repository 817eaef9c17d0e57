"""A project's settings do not decide what runs on the machine before the person has said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_intern.errors import UsageError
from ml_intern.settings import Settings
from ml_intern.trust import trust

DECIDING = [
    'yes = ["publish"]',
    'sandbox = "none"',
    'tools = ["own"]',
    '[[policy]]\naction = "allow"',
    '[mcp_servers.x]\ncommand = "touch"',
    'data_dirs = ["/"]',
    'state = "."',
    'workspace = "/etc"',
    'base_url = "http://example.invalid/v1"',
    'budget = ""',
    'model = "openai:dear"',
    'sandbox = "e2b"',
    'playbooks = ["own"]',
    'notify = ["http://elsewhere.example/"]',
    'share_traces = "stranger/traces"',
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "person"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "person"))
    monkeypatch.delenv("ML_INTERN_TRUST_PROJECT", raising=False)
    return tmp_path / "ml-intern.toml"


@pytest.mark.parametrize("line", DECIDING)
def test_what_decides_is_refused_with_the_command_that_says_yes(file: Path, line: str) -> None:
    file.write_text(line)
    with pytest.raises(UsageError, match="ml-intern trust") as refused:
        Settings.load()
    assert line.split()[0].strip("[]").split(".")[0] in str(refused.value)
    trust(file)
    Settings.load()


def test_a_changed_file_is_asked_about_again(file: Path) -> None:
    file.write_text('yes = ["publish"]')
    trust(file)
    file.write_text('yes = ["publish", "destroy"]')
    with pytest.raises(UsageError, match="ml-intern trust"):
        Settings.load()


def test_limits_and_other_walls_need_no_word(file: Path) -> None:
    file.write_text('sandbox = "docker"\nmax_steps = 4\njob_timeout = "2h"\n')
    assert Settings.load().sandbox == "docker"


def test_code_in_a_tools_folder_counts_as_the_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    file.write_text('tools = ["own"]')
    trust(file)
    Settings.load()
    (tmp_path / "own/evil.py").write_text("print('attacked')")
    with pytest.raises(UsageError, match="ml-intern trust"):
        Settings.load()


def test_the_persons_own_file_and_flags_need_no_word(file: Path, tmp_path: Path) -> None:
    own = tmp_path / "person" / "ml-intern"
    own.mkdir(parents=True)
    (own / "ml-intern.toml").write_text('yes = ["publish"]')
    assert Settings.load().yes == ["publish"] and Settings.load(sandbox="none").sandbox == "none"


def test_a_machine_without_anybody_says_it_by_a_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('yes = ["publish"]')
    monkeypatch.setenv("ML_INTERN_TRUST_PROJECT", "1")
    assert Settings.load().yes == ["publish"]


def test_there_must_be_a_file(file: Path) -> None:
    with pytest.raises(UsageError, match="There is no"):
        trust(file)
