"""The real command: what its words mean, and what wrong ones get."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from cli_process import Command, command

from ml_intern.cli.arguments import COMPUTES, SANDBOXES, front, prompt_command
from ml_intern.cli.main import route
from ml_intern.settings import Settings

HEAVY = (
    "torch",
    "transformers",
    "trl",
    "gradio",
    "litellm",
    "smolagents",
    "datasets",
    "polars",
    "pydantic",
    "rich",
)


def one_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("ml-intern: ")]
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    return lines[0]


def test_the_package_runs_as_the_command() -> None:
    words = [sys.executable, "-m", "ml_intern", "sessions", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("Usage: ml-intern sessions")


def test_help_shows_every_option_and_command(tmp_path: Path) -> None:
    done = command(tmp_path, "--help")
    assert done.returncode == 0 and done.stderr == ""
    for option in prompt_command.params:
        assert option.opts[-1] in done.stdout or option.name == "prompt"
    for name in front.commands:
        assert name == "run" or f"\n  {name}" in done.stdout
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("words", [["help"], ["--model", "x", "--help"], ["a prompt", "--help"]])
def test_help_is_the_same_from_anywhere(tmp_path: Path, words: list[str]) -> None:
    assert command(tmp_path, *words).stdout == command(tmp_path, "--help").stdout


def test_each_command_has_help(inside: Command, tmp_path: Path) -> None:
    for name in front.commands:
        if name != "run":
            done = inside(tmp_path, name, "--help")
            assert done.returncode == 0 and f"ml-intern {name}" in done.stdout


def test_version(tmp_path: Path) -> None:
    from ml_intern import __version__

    assert command(tmp_path, "--version").stdout == f"ml-intern {__version__}\n"


@pytest.mark.parametrize("start", ["import ml_intern", "from ml_intern.cli.main import run; run(['--help'])"])
def test_start_imports_nothing_heavy(tmp_path: Path, start: str) -> None:
    import subprocess
    import sys

    told = f"{start}\nimport sys\nsys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stderr == ""


def test_no_prompt_shows_help_and_fails(tmp_path: Path) -> None:
    done = command(tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert "Usage: ml-intern" in done.stderr and "There is no prompt." in one_line(done.stderr)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sesions"], "did you mean 'sessions'?"),
        (["Jobs"], "did you mean 'jobs'?"),
        (["experiment", "1"], "did you mean 'experiments'?"),
        (["--state", "x", "reprot"], "did you mean 'report'?"),
        (["sessions", "99"], "(99). See ml-intern sessions --help."),
        (["jobs", "--logz"], "?) See ml-intern jobs --help."),
        (["tools", "no-such-tool"], "ml-intern tools lists them."),
        (["hub", "serve", "--host", "0.0.0.0", "--port", "0"], "Set ML_INTERN_HUB_TOKEN"),
        (["say hello to Ada", "--state", "/dev/null"], "a file is in its place. Name another one."),
        (["resume"], "There is no unfinished session."),
        (["resume", "3"], "There are no sessions in"),
        (["webb"], "no command 'webb', did you mean 'web'?"),
        (["--modle", "x", "train it"], "'--model'"),
        (["train it", "--max-steps", "0"], "--max-steps"),
        (["train it", "--sandbox", "dokcer"], "'docker'"),
        (["train it", "--yes"], "--yes"),
        (["sessions", "--model", "x"], "--model"),
        (["hub", "srve"], "srve"),
        (["train it", "--budget", "5"], "5 of what?"),
        (["train it", "--budget", "lots"], "lots"),
    ],
)
def test_wrong_words_get_one_line_and_two(
    inside: Command, tmp_path: Path, words: list[str], expected: str
) -> None:
    done = inside(tmp_path, *words)
    assert done.returncode == 2 and done.stdout == ""
    assert expected in one_line(done.stderr)


def test_json_has_the_failure_too(tmp_path: Path) -> None:
    done = command(tmp_path, "train it", "--json", "--modle", "x")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["status"] == "usage" and "--modle" in told["errors"][0] and told["session"] is None


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [("ML_INTERN_MAX_STEPS", "none", "max_steps"), ("ML_INTERN_SANDBOX", "jail", "sandbox")],
)
def test_wrong_environment_names_the_setting(
    tmp_path: Path, variable: str, value: str, expected: str
) -> None:
    done = command(tmp_path, "train it", **{variable: value})
    assert done.returncode == 2 and expected in one_line(done.stderr)


def test_wrong_project_file(tmp_path: Path) -> None:
    (tmp_path / "ml-intern.toml").write_text('sandbx = "local"\n')
    done = command(tmp_path, "sessions")
    assert done.returncode == 2 and "did you mean 'sandbox'" in one_line(done.stderr)
    (tmp_path / "ml-intern.toml").write_text("sandbox = \n")
    done = command(tmp_path, "sessions")
    assert done.returncode == 2 and "ml-intern.toml" in one_line(done.stderr)


def test_choices_are_those_of_the_settings() -> None:
    assert typing.get_args(Settings.model_fields["sandbox"].annotation) == SANDBOXES
    assert typing.get_args(Settings.model_fields["compute"].annotation) == COMPUTES
    shown = {p.name for p in prompt_command.params} - {"prompt", "as_json", "quiet", "verbose", "version"}
    assert "evals" in shown, "--eval may be given again and again, and becomes the setting `eval`"
    assert shown - {"evals"} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    ("words", "routed"),
    [
        (["train a model"], ["run", "train a model"]),
        (["train", "a", "model"], ["run", "train", "a", "model"]),
        (["--json", "train a model", "-q"], ["run", "--json", "train a model", "-q"]),
        (["sessions", "--json"], ["sessions", "--json"]),
        (["--state", "jobs", "sessions"], ["sessions", "--state", "jobs"]),
        (["--state=jobs", "sessions"], ["sessions", "--state=jobs"]),
        (["--model", "report", "train it"], ["run", "--model", "report", "train it"]),
        (["--", "sessions"], ["run", "--", "sessions"]),
        (["--", "resume"], ["run", "--", "resume"]),
        (["export the model to disk"], ["run", "export the model to disk"]),
        (["save", "the", "model", "to", "disk"], ["run", "save", "the", "model", "to", "disk"]),
        (["-"], ["run", "-"]),
        (["help", "jobs"], ["jobs", "--help"]),
        ([], ["run"]),
    ],
)
def test_first_word_is_a_command_or_a_prompt(words: list[str], routed: list[str]) -> None:
    assert route(words) == routed


def test_promised_commands_are_here() -> None:
    names = {"resume", "sessions", "replay", "export", "jobs", "experiments", "report", "hub", "web", "mcp"}
    names |= {"reproduce", "evals", "doctor", "tools", "playbooks", "trust", "say", "stop", "undo"}
    names |= {"chat", "share", "completion"}
    assert set(front.commands) - {"run"} == names
