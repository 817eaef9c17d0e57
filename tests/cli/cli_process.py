"""Runs the command line as a process of its own, with nothing of this machine's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

DOUBLE = Path(__file__).with_name("cli_double.py")
REAL = [sys.executable, "-c", "import sys; from ml_intern.cli.main import run; sys.exit(run())"]

Command = Callable[..., subprocess.CompletedProcess[str]]

TRUSTED = {"ML_INTERN_TRUST_PROJECT": "1"}


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without settings, tokens and endpoints; a home of its own."""
    ours = ("ML_INTERN_", "HF_", "HUGGING_FACE_", "OPENAI_", "XDG_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return (
        kept
        | {
            "HOME": str(home),
            "COLUMNS": "100",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "OMP_NUM_THREADS": "1",
        }
        | TRUSTED
        | more
    )


def command(home: Path, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run `ml-intern` with these words; the environment grows by `more`."""
    return _run([*REAL, *words], home, stdin, more)


def double(
    home: Path, scenario: str, *words: str, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """The same with a session that plays a scenario."""
    return _run([sys.executable, str(DOUBLE), scenario, *words], home, stdin, more)


def _run(argv: list[str], home: Path, stdin: str, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        cwd=home,
        env=environment(home, **more),
        timeout=120,
    )
