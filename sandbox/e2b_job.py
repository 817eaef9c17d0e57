"""Runs one command in an E2B sandbox from here, as if it were a process here.

    python -P -s -m ml_intern.sandbox.e2b_job SPEC          what it prints comes out, its exit code is ours
    python -P -s -m ml_intern.sandbox.e2b_job --end MARK [SANDBOX]

A job gets a sandbox of its own: inputs go in, metrics come back every second, other files when they change,
all at the end, and the sandbox is ended. Where this process is killed, the second form ends it, and where
that does not come either, E2B does: the sandbox's time is short, and given anew while this process lives.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.e2b import command
from ml_intern.sandbox.e2b_account import Account
from ml_intern.sandbox.e2b_link import INSIDE, Channel
from ml_intern.sandbox.e2b_mirror import Mirror
from ml_intern.sandbox.e2b_stream import failures

LIFE_S = 300
"""A sandbox whose client is gone ends so soon."""

LOOK_S = 1.0
FAILED = 125


def main(arguments: list[str]) -> int:
    """Run a command, or end one; its exit code."""
    account = Account(os.environ)
    if arguments[0] == "--end":
        end(account, arguments[1], arguments[2] if len(arguments) > 2 else "")
        return 0
    spec = json.loads(arguments[0])
    note = Path(spec["note"])
    note.touch(mode=0o600)
    try:
        code = Client(account, spec).run()
    except InternError as error:
        sys.stdout.write(f"{error}\n")
        code = FAILED
    sys.stdout.flush()
    note.unlink(missing_ok=True)
    return code


def end(account: Account, mark: str, sandbox: str) -> None:
    """End a command: a job's sandboxes, or in a session's sandbox what the mark is on."""
    if not sandbox:
        for found in account.find({"ml-intern": "job", "mark": mark}):
            account.end(found)
        return
    ended: tuple[type[Exception], ...] = (InternError, *failures())
    try:
        box = account.connect(sandbox, LIFE_S)
        box.commands.run(f"{INSIDE} --end {shlex.quote(mark)}", user="root", timeout=10)
    except ended:
        pass  # it ended already


class Client:
    """One command, from the sandbox's beginning to its end."""

    def __init__(self, account: Account, spec: dict[str, Any]) -> None:
        self.account, self.spec = account, spec
        given = spec["mounts"]
        self.mounts = Mounts(
            Path(given["workspace"]),
            *([Path(path) for path in given[name]] for name in ("read_only", "writable", "hidden")),
        )
        self.limits = Limits(**spec["limits"])
        self.own = "sandbox" not in spec
        self.over = threading.Event()

    def run(self) -> int:
        """Run it; what it prints goes to our output as it comes."""
        box = self._sandbox()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            channel, mirror = self._start(box)
            if self.own:
                threading.Thread(target=self._keep, args=(box,), daemon=True).start()
                threading.Thread(target=self._take, args=(mirror,), daemon=True).start()
            self._copy_output(channel)
            channel.over.wait()
            self.over.set()
            mirror.take()
            channel.leave()
            return self._code(channel)
        finally:
            self.over.set()
            if self.own:
                self.account.end(box.sandbox_id)

    def _sandbox(self) -> Any:
        if not self.own:
            return self.account.connect(self.spec["sandbox"], LIFE_S)
        marks = {"ml-intern": "job", "mark": self.spec["mark"], "session": self.spec["session"]}
        return self.account.make(self.spec["template"], LIFE_S, marks, self.limits.network)

    def _start(self, box: Any) -> tuple[Channel, Mirror]:
        mirror = Mirror(self.limits, job=True)
        channel = Channel(box, mirror.heard)
        channel.start(self.spec["mark"])
        if self.own:
            mirror.open(channel, self.mounts)
            mirror.push()
            mirror.settled()
        else:
            channel.request("open", trees={})
        told = command(self.spec["argv"], self.mounts, self.limits, self.spec["env"])
        channel.request("start", **told, every=LOOK_S if self.own else 0)
        return channel, mirror

    @staticmethod
    def _copy_output(channel: Channel) -> None:
        while piece := channel.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    def _take(self, mirror: Mirror) -> None:
        """Metrics and checkpoints come home while the job runs."""
        while not self.over.wait(LOOK_S / 2):
            try:
                mirror.take()
            except InternError as error:
                sys.stdout.write(f"{error}\n")
                self.over.wait(30)

    def _keep(self, box: Any) -> None:
        while not self.over.wait(LIFE_S / 5):
            try:
                box.set_timeout(LIFE_S)
            except failures():
                continue

    @staticmethod
    def _code(channel: Channel) -> int:
        code, reason = channel.end.code, channel.end.reason
        if reason:
            sys.stdout.write(f"The command ended: {reason}.\n")
            return FAILED
        if channel.end.words:
            sys.stdout.write(f"{channel.end.words.rstrip()}\n")
        return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
