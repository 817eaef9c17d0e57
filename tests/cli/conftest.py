from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cli_process import Command, environment

from ml_intern.cli import main


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`cli_process.command` in this process, for words that start nothing: their time is that of the imports.

    Of each command one call at least runs as a process of its own.
    """

    def run(home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        own = environment(home, **more)
        with monkeypatch.context() as patch:
            patch.chdir(home)
            for name in os.environ.keys() - own.keys():
                patch.delenv(name)
            for name, value in own.items():
                patch.setenv(name, value)
            code = main.run(words)
        told = capsys.readouterr()
        return subprocess.CompletedProcess([*words], code, told.out, told.err)

    return run
