"""A terminal of a fixed size whose screen can be read: a tmux server of its own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex

MISSING = "" if shutil.which("tmux") else "tmux is not installed"
LOOK_S = 0.05
LONGEST_S = 120.0


class Pane:
    """One command in a pane; `close` ends it and its server.

    Args:
        argv: The command.
        cwd: Its folder.
        env: Its whole environment.
        width: Columns.
        height: Rows.
    """

    def __init__(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], width: int = 100, height: int = 40
    ) -> None:
        self._socket = f"ml-intern-test-{os.getpid()}"
        self._folder = tempfile.mkdtemp(prefix="tmux-")
        self._said = cwd / f"exit-{token_hex(4)}"
        kept = {k: v for k, v in env.items() if k not in ("TMUX", "TMUX_PANE", "COLUMNS", "LINES")}
        self._env = {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TMUX_TMPDIR": self._folder}
        # The shell waits at the end, so that the last screen can still be read; a Ctrl-C must not end it.
        line = f"trap : INT; {shlex.join(argv)}; echo $? > {shlex.quote(str(self._said))}; read -r _"
        size = ["-x", str(width), "-y", str(height)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(cwd), "/bin/sh", "-c", line)
        self._tmux("set-option", "-g", "history-limit", "20000")

    def type(self, text: str) -> None:
        """Type letters as they are."""
        self._tmux("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, Tab, C-c, M-Enter."""
        self._tmux("send-keys", *keys)

    def enter(self, text: str) -> None:
        """Type a line and press Enter."""
        self.type(text)
        self.press("Enter")

    def screen(self, colours: bool = False) -> str:
        """What is on the screen now."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def all(self) -> str:
        """The screen with all that has scrolled away; lines that were too wide are whole."""
        shown = self._tmux("capture-pane", "-p", "-J", "-S", "-")
        return "\n".join(line.rstrip() for line in shown.splitlines())

    def wait(self, pattern: str, seconds: float = LONGEST_S, where: str = "all") -> re.Match[str]:
        """Look until the text is there."""
        end = time.monotonic() + seconds
        while True:
            shown = self.all() if where == "all" else self.screen()
            if found := re.search(pattern, shown, re.M):
                return found
            assert time.monotonic() < end, f"{pattern!r} did not come:\n{shown}"
            time.sleep(LOOK_S)

    def wait_gone(self, pattern: str, seconds: float = LONGEST_S) -> None:
        """Look until the text is not on the screen any more."""
        end = time.monotonic() + seconds
        while re.search(pattern, shown := self.screen(), re.M):
            assert time.monotonic() < end, f"{pattern!r} stayed:\n{shown}"
            time.sleep(LOOK_S)

    def pid(self) -> int:
        """Of the command."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        done = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", shell], capture_output=True, text=True, check=True
        )
        return int(done.stdout.split()[0])

    def ended(self, seconds: float = LONGEST_S) -> int:
        """Wait for the command's end; its exit code."""
        end = time.monotonic() + seconds
        while not (self._said.exists() and (code := self._said.read_text().strip())):
            assert time.monotonic() < end, self.all()
            time.sleep(LOOK_S)
        return int(code)

    def close(self) -> None:
        """End the command and the server."""
        subprocess.run(
            ["tmux", "-L", self._socket, "kill-server"], capture_output=True, env=self._env, check=False
        )
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *words], capture_output=True, text=True, env=self._env, check=False
        )
        assert done.returncode == 0, f"tmux {words}: {done.stderr}"
        return done.stdout
