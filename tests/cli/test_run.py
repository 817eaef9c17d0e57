"""A run seen through pipes: plain lines, `-q`, `--json`, exit codes. The session is a double."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from cli_double import ANSWER
from cli_process import DOUBLE, double, environment


def test_plain_view_tells_the_whole_run(tmp_path: Path) -> None:
    done = double(tmp_path, "training", "train it")
    assert done.returncode == 0
    for told in (
        "playbook:demo", "bubblewrap, no network", "First I look at the data.",
        "inspect_dataset('python-stdlib')",
        "30 more lines (-v shows all)", "job baseline-1 succeeded 160/160", "exp-2 kept",
        "ZeroDivisionError", "published model me/statements", ANSWER,
    ):  # fmt: skip
        assert told in done.stdout
    assert "x20 = 20" not in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("session    20260101-120000-abcd · done")


def test_the_end_says_how_to_reach_the_model_again(tmp_path: Path) -> None:
    state = tmp_path / "my state"
    done = double(tmp_path, "training", "train it", "--state", str(state))
    assert f"ml-intern hub serve --port 8765 --state '{state}'" in done.stdout


def test_verbose_shows_whole_cells(tmp_path: Path) -> None:
    assert "x20 = 20" in double(tmp_path, "training", "train it", "-v").stdout


def test_what_a_cell_prints_cannot_steer_the_terminal(tmp_path: Path) -> None:
    stdout = double(tmp_path, "training", "train it").stdout
    assert "second line" in stdout and "owned" not in stdout and "\x1b" not in stdout


def test_json_is_the_only_thing_on_stdout(tmp_path: Path) -> None:
    done = double(tmp_path, "training", "train it", "--json")
    told = json.loads(done.stdout)
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
        "errors",
    }
    assert keys <= told.keys() and told["answer"] == ANSWER
    assert "a library prints this" in done.stderr and "a child prints this" in done.stderr
    assert "step 1" not in done.stderr


def test_json_with_verbose_tells_events_on_stderr(tmp_path: Path) -> None:
    done = double(tmp_path, "training", "train it", "--json", "-v")
    json.loads(done.stdout)
    assert "step 1" in done.stderr


def test_json_by_environment(tmp_path: Path) -> None:
    told = json.loads(double(tmp_path, "training", "train it", ML_INTERN_JSON="1").stdout)
    assert told["answer"] == ANSWER


def test_quiet_gives_the_answer_only(tmp_path: Path) -> None:
    assert double(tmp_path, "training", "train it", "-q").stdout == ANSWER + "\n"


def test_prompt_from_stdin_and_in_several_words(tmp_path: Path) -> None:
    assert double(tmp_path, "training", "-", "-q", stdin="train it\n").stdout == ANSWER + "\n"
    assert double(tmp_path, "training", "train", "it", "-q").stdout == ANSWER + "\n"
    assert double(tmp_path, "training", "-", "-q", stdin=" \n").returncode == 2


@pytest.mark.parametrize(
    ("scenario", "code", "status", "told"),
    [
        ("no_sentence", 2, "usage", "ml-intern playbooks"),
        ("no_brain", 5, "no_brain", "Nothing answers"),
        ("limit", 3, "limit", "Raise --budget"),
        ("ask", 4, "denied", ""),
        ("defect", 1, "failed", "ZeroDivisionError"),
    ],
)
def test_every_failure_has_its_code_and_one_line(
    tmp_path: Path, scenario: str, code: int, status: str, told: str
) -> None:
    done = double(tmp_path, scenario, "train it", "--json")
    assert done.returncode == code and json.loads(done.stdout)["status"] == status
    assert done.stderr.count("ml-intern: ") == 1 and told in done.stderr
    assert "Traceback" not in done.stderr


def test_verbose_shows_the_traceback(tmp_path: Path) -> None:
    done = double(tmp_path, "defect", "train it", "-v")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_nobody_is_asked_without_a_terminal(tmp_path: Path) -> None:
    done = double(tmp_path, "ask", "train it", stdin="y\n")
    assert (
        done.returncode == 4 and "needs a yes: others can see it" in done.stdout and "  denied" in done.stdout
    )


def test_plain_view_is_never_silent_for_long(tmp_path: Path) -> None:
    go, said = tmp_path / "go", list[float]()
    with subprocess.Popen(
        [sys.executable, str(DOUBLE), "slow", "train it"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path, SLOW_S="100", GO=str(go)),
    ) as process:
        assert process.stdout
        for line in process.stdout:  # the first is the job's own; what follows breaks the silence
            if told := re.match(r"\[ *(\d+\.\d+)s\] job baseline-1 running", line):
                said.append(float(told[1]))
            if any(later - sooner < 7 for sooner, later in pairwise(said)):
                go.touch()
    assert go.exists() and process.returncode == 0, said


def test_a_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    line = f"'{sys.executable}' '{DOUBLE}' slow 'train it' | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        env=environment(tmp_path, SLOW_S="1"),
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0 and "BrokenPipe" not in done.stderr and "Traceback" not in done.stderr
