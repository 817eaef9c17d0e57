"""Ctrl-C while the command line is still being imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli_process import environment

START = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored
from ml_intern.cli.entry import run
raise SystemExit(run())
"""
CLICK = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""
"""In place of the package: the signal comes in the middle of the imports, however fast the machine is."""


def test_it_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(CLICK)
    words, env = [sys.executable, "-c", START], environment(tmp_path)
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nml-intern: Interrupted.\n")
