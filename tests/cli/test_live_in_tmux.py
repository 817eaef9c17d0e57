"""The live view on real screens of several widths: captured from tmux, also while a window is resized."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_process import DOUBLE, environment

from ml_intern.cli.tables import width_of

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


class Screen:
    """A command in a window of tmux; the window stays when the command has ended."""

    def __init__(self, socket: Path, home: Path, width: int, command: str, env: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        start = [*self._tmux, "new-session", "-d", "-x", str(width), "-y", "50", "-s", "w", "sh"]
        subprocess.run(start, check=True, env=env, cwd=home)
        self._do("set-option", "-g", "history-limit", "5000")
        self._do("send-keys", "-t", "w", f"clear; {command}; echo ended''-$?", "Enter")

    def _do(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def resize(self, width: int) -> None:
        self._do("resize-window", "-t", "w", "-x", str(width))

    def text(self, *more: str) -> str:
        """What stands on the screen and above it."""
        return self._do("capture-pane", "-t", "w", "-p", "-S", "-2000", *more)

    def wait_for(self, cue: str, seconds: float = 120) -> str:
        end = time.monotonic() + seconds
        while not re.search(cue, seen := self.text()):
            assert time.monotonic() < end, seen
            time.sleep(0.1)
        return seen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


Show = Callable[..., Screen]


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Show]:
    """Opens windows of so many columns on a scenario of the double."""
    opened: list[Screen] = []

    def open_window(scenario: str, width: int, **more: str) -> Screen:
        env = environment(tmp_path, LANG="C.UTF-8", **more)
        env = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "TMUX", "TERM")}
        names = ("NO_COLOR", "TERM", "SLOW_S", "GO", "PYTHONIOENCODING")
        given = " ".join(f"{name}={shlex.quote(more[name])}" for name in names if name in more)
        command = f"{given} {shlex.quote(sys.executable)} {shlex.quote(str(DOUBLE))} {scenario} 'train it'"
        screen = Screen(tmp_path / f"s{len(opened)}", tmp_path, width, command, {**env, "TERM": "screen"})
        opened.append(screen)
        return screen

    yield open_window
    for screen in opened:
        screen.close()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_the_screen(show: Show, width: int) -> None:
    screen = show("training", width)
    seen = screen.wait_for(r"ended-0")
    flat = " ".join(seen.split())
    for told in ("● step 1", "job baseline-1 succeeded", "exp-2 kept"):
        assert told in flat, seen
    assert all(width_of(line) <= width for line in seen.splitlines())


def test_a_window_that_is_resized_shows_no_rubbish_and_the_end(show: Show, tmp_path: Path) -> None:
    go = tmp_path / "go"
    screen = show("slow", 100, SLOW_S="600", GO=str(go))
    screen.wait_for(r"baseline-1 .*0/160")
    for width in (50, 120, 60):
        screen.resize(width)
        screen.wait_for(r"baseline-1 .*0/160")
    go.touch()
    seen = screen.wait_for(r"ended-0")
    assert "done" in seen and "Traceback" not in seen and "\x1b" not in seen


@pytest.mark.parametrize(
    ("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")], ids=["no-colour", "dumb"]
)
def test_terminals_that_want_it_plain(show: Show, variable: str, value: str) -> None:
    screen = show("training", 100, **{variable: value})
    screen.wait_for(r"ended-0")
    painted = screen.text("-e")
    assert not re.search(r"\x1b\[[0-9;]*3[1-6]m", painted)
    assert ("● step 1" in painted) == (variable == "NO_COLOR")


@pytest.mark.skipif(os.name != "posix", reason="locales of POSIX")
def test_a_locale_without_our_signs_gets_others(show: Show) -> None:
    seen = show("training", 100, PYTHONIOENCODING="ascii").wait_for(r"ended-0")
    assert "* step 1" in seen and "job baseline-1 succeeded" in seen and seen.isascii()
