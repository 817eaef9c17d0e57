"""Walls in the cloud: an E2B sandbox with the internet off, the same kernel, the same paths."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_intern
from ml_intern.errors import InternError
from ml_intern.sandbox.base import KernelFiles, Launch, Limits, Mounts, mark_of
from ml_intern.sandbox.e2b_account import HOME, Account, told
from ml_intern.sandbox.e2b_files import E2BFiles
from ml_intern.sandbox.e2b_link import Channel
from ml_intern.sandbox.e2b_mirror import SHOWN_BYTES, Mirror
from ml_intern.sandbox.e2b_process import E2BProcess
from ml_intern.sandbox.e2b_stream import failures
from ml_intern.sandbox.environment import FIXED

if TYPE_CHECKING:
    from e2b_code_interpreter import Sandbox

PYTHON = "python3"
KEPT = 0.3
"""Of its time, so much passes before a sandbox in use is given its whole time anew."""


class E2BSandbox:
    """Runs code in an E2B sandbox of its own, made when it is first needed and ended by `stop`.

    The workspace is copied: `push` and `pull` exchange what changed. The key and the addresses stay here.

    Args:
        env: Holds E2B_API_KEY, and E2B_API_URL, E2B_SANDBOX_URL and E2B_DOMAIN where they differ.
        template: What the sandbox is made from; nothing: the code interpreter's own.
        timeout_s: So long after the last sign of life from here it ends.

    Raises:
        Denied: There is no key, or E2B does not take it, or cannot be reached.
    """

    name = "e2b"
    isolated = True
    python = PYTHON

    def __init__(self, env: Mapping[str, str], *, template: str | None = None, timeout_s: int = 3600) -> None:
        self.account = Account(env)
        self.account.check()
        self.template, self.timeout_s = template, timeout_s
        self._session = secrets.token_hex(4)
        self._lock = threading.RLock()
        self._box: Sandbox | None = None
        self._paused = False
        self._channels: list[Channel] = []
        self._mirrors: dict[Path, Mirror] = {}
        self._expected: E2BFiles | None = None
        self._adopt: dict[str, Any] = {}
        self._commanding: set[int] = set()
        self._stopped = threading.Event()

    def describe(self) -> str:
        """What contains the code, and what E2B does not bound."""
        return (
            f"E2B: a machine of its own (template {self.template or 'code-interpreter-v1'}), no internet, no"
            " credentials; memory, CPUs and disk in all are what the template has, limits hold for each"
            f" process; read-only files above {SHOWN_BYTES >> 20} MB are not copied"
        )

    # The kernel

    def start_kernel(self, mounts: Mounts, limits: Limits) -> E2BProcess:
        """Start the kernel, or take over the one that was attached to.

        Raises:
            Denied: E2B refuses the sandbox.
            InternError: It fails otherwise.
        """
        with self._lock:
            box = self._ensure()
            mirror = self._mirrors.setdefault(mounts.workspace.absolute(), Mirror(limits))
            files, self._expected = self._expected, None
            channel = Channel(box, mirror.heard)
            adopt, self._adopt = self._adopt, {}
            with told(self.account):
                channel.adopt(int(adopt["kernel"])) if adopt else channel.start()
            old = mirror.channel
            self._channels = [c for c in self._channels if not c.ended.is_set()] + [channel]
            mirror.open(channel, mounts)
            if old is not None and old.over.is_set() and not old.ended.is_set():
                old.leave()
            if files:
                files.started(channel)
                mirror.output = str(files.output)
            if adopt:
                self._take_over(channel, mirror)
            else:
                mirror.push()
                channel.request("start", lazy=True, **self._kernel(mounts, limits, files))
            mirror.settled()
            return E2BProcess(channel)

    def _kernel(self, mounts: Mounts, limits: Limits, files: E2BFiles | None) -> dict[str, Any]:
        return {
            **command([PYTHON, "-I", f"{HOME}/kernel.py"], mounts, limits, {}),
            "output": str(files.output) if files else "",
            "frames": True,
        }

    def _take_over(self, channel: Channel, mirror: Mirror) -> None:
        """A cell of the host that is no more may still wait for an answer: stop it, take its files out."""
        frame = json.dumps({"type": "interrupt", "id": -1}).encode() + b"\n"
        channel.write(frame)
        mirror.pull(ask=True)
        mirror.push()

    def kernel_files(self, mounts: Mounts) -> KernelFiles:
        """Files inside the sandbox."""
        return E2BFiles(self, mounts.workspace, str(self._adopt.get("output") or ""))

    def expect(self, files: E2BFiles) -> None:
        """The next kernel writes to these."""
        self._expected = files

    # Files

    def push(self, mounts: Mounts) -> None:
        """Bring in what the host changed; where nothing changed, nothing is sent."""
        mirror = self._reached(mounts)
        if mirror is not None:
            mirror.push(mounts)

    def pull(self, mounts: Mounts) -> None:
        """Take out what changed inside.

        Asks the sandbox, unless the kernel's last frame came with what changed.
        """
        commanded = (
            threading.get_ident() in self._commanding
        )  # `run_in_sandbox` launches and pulls on one thread
        self._commanding.discard(threading.get_ident())
        mirror = self._reached(mounts)
        if mirror is not None:
            mirror.pull(ask=commanded)

    def _reached(self, mounts: Mounts) -> Mirror | None:
        """The workspace's mirror, where a link to it stands; a paused sandbox is resumed."""
        if self._paused:
            self.resume()
        mirror = self._mirrors.get(mounts.workspace.absolute())
        stands = mirror and mirror.channel and not mirror.channel.ended.is_set()
        return mirror if stands else None

    # Commands and jobs

    def launch(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> Launch:
        """A client here that runs `argv` there: in this session's sandbox, else in one of its own.

        A sandbox of its own is what a job gets, and what needs the network: it is off for the session's.
        """
        mark = secrets.token_hex(8)
        note = Path(tempfile.gettempdir()) / f"ml-intern-e2b-{mark}"
        spec: dict[str, Any] = {"mark": mark, "note": str(note)}
        if self._reached(mounts) and self._box and not limits.network:
            self._commanding.add(threading.get_ident())
            spec["sandbox"] = self._box.sandbox_id
        else:
            spec |= {"template": self.template, "session": self._session}
        spec["mounts"] = {
            "workspace": str(mounts.workspace.absolute()),
            "read_only": [str(p.absolute()) for p in mounts.read_only],
            "writable": [str(p.absolute()) for p in mounts.writable],
            "hidden": [str(p.absolute()) for p in mounts.hidden],
        }
        spec["limits"] = {name: getattr(limits, name) for name in Limits.__dataclass_fields__}
        spec["argv"], spec["env"] = list(argv), dict(env or {})
        # Neither the working folder nor the home of a job is a place to import from: the job writes there.
        program = [sys.executable, "-P", "-s", "-m", "ml_intern.sandbox.e2b_job"]
        end = [*program, "--end", mark, *([spec["sandbox"]] if "sandbox" in spec else [])]
        # A client that ended by itself removed its note, and nothing is left to end.
        quick = ["/bin/sh", "-c", 'test ! -e "$0" || { "$@" && rm -f "$0"; }', str(note), *end]
        return Launch([*program, json.dumps(spec)], quick, self.launcher_env())

    def launcher_env(self) -> dict[str, str]:
        """The key and the addresses, and where the client finds its packages."""
        return {**self.account.env, "PYTHONPATH": _paths()}

    # Life

    def attachment(self) -> dict[str, Any]:
        """What another process needs to go on with this sandbox and its kernel; no credential.

        Raises:
            InternError: No kernel runs.
        """
        live = [(c, m) for m in self._mirrors.values() if (c := m.channel) and not c.ended.is_set()]
        if self._box is None or not live:
            raise InternError("There is no E2B sandbox with a kernel to attach to.")
        channel, mirror = live[-1]
        return {
            "sandbox": self._box.sandbox_id,
            "kernel": channel.pid,
            "output": mirror.output,
            "session": self._session,
        }

    def own(self, session: Path, workspace: Path) -> None:
        """From now on its sandboxes carry the session's mark."""
        self._session = mark_of(session)

    def recover(self, kernel: Mapping[str, Any]) -> bool:
        """End the sandboxes of a dead process, but for the one whose kernel is taken over.

        Jobs have sandboxes of their own, and clients that live on.
        """
        kept = str(kernel.get("sandbox", ""))
        for found in self.account.find({"ml-intern": "session", "session": self._session}):
            if found != kept:
                self.account.end(found)
        if not kept:
            return False
        try:
            self._adopt_from(kernel)
        except InternError:
            return False  # its time was over
        return True

    def running(self) -> dict[str, Any]:
        """The sandbox and its kernel: they live on when this process ends."""
        try:
            return self.attachment()
        except InternError:
            return {}

    def _adopt_from(self, attachment: Mapping[str, Any]) -> None:
        self._box = self.account.connect(str(attachment["sandbox"]), self.timeout_s)
        self._session = str(attachment.get("session") or self._session)
        self._adopt = dict(attachment)
        self._keep()

    @classmethod
    def attach(
        cls,
        attachment: Mapping[str, Any],
        env: Mapping[str, str],
        *,
        template: str | None = None,
        timeout_s: int = 3600,
    ) -> E2BSandbox:
        """The sandbox that an earlier host used, resumed if it is paused; its kernel is the next started.

        Raises:
            InternError: It is gone.
        """
        made = cls(env, template=template, timeout_s=timeout_s)
        made._adopt_from(attachment)
        return made

    def pause(self) -> None:
        """Freeze the sandbox with all that runs in it; it costs no time until it is resumed."""
        with self._lock:
            if self._box is None or self._paused:
                return
            for channel in self._channels:
                channel.hold()
            self._paused = True
            with told(self.account):
                self._box.pause()

    def resume(self) -> None:
        """Go on where `pause` stopped; variables and files are as they were."""
        with self._lock:
            if self._box is None or not self._paused:
                return
            self._box = self.account.connect(self._box.sandbox_id, self.timeout_s)
            self._paused = False
            for channel in self._channels:
                channel.sandbox = self._box
                channel.release()

    def stop(self) -> None:
        """End the sandbox and all in it."""
        with self._lock:
            self._stopped.set()
            box, self._box = self._box, None
            for channel in self._channels:
                channel.close("the sandbox was stopped")
            self._channels.clear()
            self._mirrors.clear()
        if box is not None:
            self.account.end(box.sandbox_id)

    def beside(self) -> E2BSandbox:
        """Another sandbox: all that runs in one can write to all its files.

        Raises:
            Denied: E2B does not take the key any more.
        """
        made = E2BSandbox(self.account.env, template=self.template, timeout_s=self.timeout_s)
        made._session = self._session  # who goes on after a crash ends it with the others
        return made

    def _ensure(self) -> Sandbox:
        """The sandbox; a new one where there is none or the last one is gone."""
        self._stopped.clear()
        if self._paused:
            self.resume()
        if self._box is not None and not self._lives():
            self._box = None
            for mirror in self._mirrors.values():
                mirror.renewed()
        if self._box is None:
            metadata = {"ml-intern": "session", "session": self._session}
            self._box = self.account.make(self.template, self.timeout_s, metadata)
            self._keep()
        return self._box

    def _lives(self) -> bool:
        """Whether the sandbox runs, as far as is known: asked where no link into it stands."""
        if self._box is None:
            return False
        if any(not channel.ended.is_set() for channel in self._channels):
            return True
        with told(self.account):
            try:
                return bool(self._box.is_running(request_timeout=10))
            except failures():
                return False

    def _keep(self) -> None:
        threading.Thread(target=self._keep_alive, args=(self._box,), name="e2b time", daemon=True).start()

    def _keep_alive(self, box: Sandbox) -> None:
        """Give the sandbox its time anew while this process lives."""
        while not self._stopped.wait(self.timeout_s * KEPT) and self._box is not None:
            if self._box.sandbox_id != box.sandbox_id:
                return
            try:
                if not self._paused:
                    self._box.set_timeout(self.timeout_s)
            except failures():
                continue  # the link tells when it is gone


def command(argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str]) -> dict[str, Any]:
    """What the other end is told of a command."""
    bounds = {"NPROC": limits.processes, "FSIZE": limits.file_bytes, "DATA": limits.memory_mb << 20}
    return {
        "argv": list(argv),
        "cwd": str(mounts.workspace.absolute()),
        "env": {**FIXED, **env},
        "limits": bounds,
        "frames": False,
    }


def _paths() -> str:
    """Where this process finds its packages: the client looks in no folder that a job could write to."""
    own = str(Path(ml_intern.__file__).parent.parent)
    here = str(Path.cwd())
    found = [path for path in sys.path if path and path != here and os.path.isdir(path)]  # noqa: PTH112
    return os.pathsep.join(dict.fromkeys([*found, own]))
