"""``ml-intern evals``: which benchmarks there are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cli_process


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Where the package is found by a path and not installed, the process has to find it as well.
    return cli_process.command(home, *words, PYTHONPATH=os.environ.get("PYTHONPATH", ""), COLUMNS="200")


def test_benchmarks_are_listed_shown_and_guessed(inside: cli_process.Command, tmp_path: Path) -> None:
    listed = command(tmp_path, "evals").stdout
    assert "gsm8k" in listed and "Idavidrein/gpqa" in listed and "gated" in listed
    shown = json.loads(inside(tmp_path, "evals", "ARC_Easy", "--json").stdout)
    assert [row["name"] for row in shown["evals"]] == ["arc-easy"]
    assert "allenai/ai2_arc:test" in shown["evals"][0]["closed"]
    assert "\n" in shown["evals"][0]["prompt"]
    wrong = inside(tmp_path, "evals", "gsm8")
    assert wrong.returncode == 2 and "did you mean 'gsm8k'" in wrong.stderr


def test_an_unknown_evaluation_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    said = command(tmp_path, "say hello to you", "--eval", "wikitext-2", "--eval", "wikitxt-2")
    assert said.returncode == 2 and "did you mean 'wikitext-2'" in said.stderr
    assert said.stderr.count("\n") == 1 and not list(tmp_path.rglob("sessions/*"))
