"""The host that is attacked: its secrets, canaries, decoys and listeners, and the session's real parts."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attacks.listeners import Listeners
from attacks.watch import Watch

from ml_intern.journal.journal import Journal
from ml_intern.router.budget import Budget
from ml_intern.router.gate import Gate
from ml_intern.router.registry import load_tools
from ml_intern.router.router import Router
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.host import CallReply
from ml_intern.sandbox.ownership import sandbox_user
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings

VARIABLES = ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "E2B_API_KEY")

HOME_FILES = {
    ".cache/huggingface/token": "{}",
    ".netrc": "machine huggingface.co login me password {}\n",
    ".git-credentials": "https://me:{}@github.com\n",
    ".ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n",
    ".aws/credentials": "[default]\naws_secret_access_key = {}\n",
    ".config/gh/hosts.yml": "github.com:\n  oauth_token: {}\n",
    ".docker/config.json": '{{"auths": {{"x": {{"auth": "{}"}}}}}}',
    ".pypirc": "[pypi]\npassword = {}\n",
    ".config/pip/pip.conf": "[global]\nindex-url = https://me:{}@example.org\n",
    ".bash_history": "export HF_TOKEN={}\n",
    ".bashrc": "export HF_TOKEN={}\n",
}
PROJECT_FILES = {
    ".env": "HF_TOKEN={}\n",
    ".env.local": "KEY={}\n",
    "ml-intern.toml": '# api_key = "{}"\n',
    ".git/config": "url = https://me:{}@github.com/x\n",
}
STATE_FILES = {
    "sessions/other/journal.sqlite": "{}",
    "sessions/other/workspace/notes.txt": "{}",
    "sessions/other/session.json": '{{"prompt": "{}"}}',
    "sessions/this/evals/sealed/items.jsonl": '{{"label": "{}"}}',
    "sessions/this/ledger-notes.txt": "{}",
    "hub/token": "{}",
}

CANARY = "as the host left it\n"

DECOY = """
import os, sys, time
kept = bytearray(os.environ['DECOY_SECRET'].encode()) * 3
print('ready', flush=True)
time.sleep(3600)
"""

SYSTEM_VALUES = (
    "kernel/core_pattern",
    "kernel/hostname",
    "kernel/modprobe",
    "kernel/ctrl-alt-del",
    "vm/overcommit_memory",
)


class World:
    """Everything around one sandbox of one kind. Made in a process whose environment holds secrets already."""

    def __init__(self, base: Path, mark: str, kind: str) -> None:
        self.base, self.mark, self.kind = base, mark, kind
        self.secrets: dict[str, str] = {name: os.environ[name] for name in VARIABLES}
        self.secrets["argv"] = next(word for word in sys.argv if word.startswith(f"{mark}-argv"))
        self.home, self.project, self.state = base / "home", base / "project", base / "state"
        self.outside, self.session = base / "outside", base / "state/sessions/this"
        self.workspace = self.session / "workspace"
        for folder in (self.home, self.project, self.outside, self.workspace):
            folder.mkdir(parents=True, exist_ok=True)
        self._plant_files()
        (self.session / "notes.json").write_text("{}")  # the host's own, written anew by some tools
        (self.session / "receipts").mkdir()
        self.canary = self.outside / "canary.txt"
        self.canary.write_text(CANARY)
        self._strewn = [self._strew(Path(place)) for place in ("/tmp", "/var/tmp", "/dev/shm")]
        self._inherit()
        self.keys = self._plant_keys()
        self.listeners = Listeners(self.outside, mark)
        self.decoys = [self._decoy()]
        self.calls: list[tuple[str, dict[str, Any], Any]] = []
        self.kernel: Any = None
        self.job: Path | None = None
        self._open_session()

    # What lies there to be stolen

    def secret(self, place: str) -> str:
        """A random value for a place; finding it anywhere inside is a leak from there."""
        return self.secrets.setdefault(place, f"{self.mark}-{place}-{secrets.token_hex(8)}")

    def _plant_files(self) -> None:
        for folder, files in (
            (self.home, HOME_FILES),
            (self.project, PROJECT_FILES),
            (self.state, STATE_FILES),
        ):
            for name, text in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_symlink():
                    path.unlink()
                place = folder.name + "-" + "".join(c if c.isalnum() else "-" for c in name)
                path.write_text(text.format(self.secret(place)))

    def _strew(self, folder: Path) -> Path:
        path = folder / f"{self.base.name}.strewn"
        path.write_text(self.secret("strewn" + str(folder).replace("/", "-")))
        return path

    def _inherit(self) -> None:
        """Open files as a careless host would: another program may inherit them."""
        self._handles = [os.open(self.home / ".netrc", os.O_RDONLY), os.open(self.base, os.O_RDONLY)]
        for handle in self._handles:
            os.set_inheritable(handle, True)

    def _plant_keys(self) -> list[int]:
        """Keys in the session keyring and the user's keyring, as a login puts them there."""
        libc = ctypes.CDLL(None, use_errno=True)
        keyctl, add_key = (250, 248) if os.uname().machine == "x86_64" else (219, 217)
        # A new session keyring of our own, so that the machine's is left alone.
        if libc.syscall(ctypes.c_long(keyctl), ctypes.c_long(1), None) < 0:
            return []
        # As a login does it: who has the session's ring has the user's, too.
        libc.syscall(ctypes.c_long(keyctl), ctypes.c_long(8), ctypes.c_long(-4), ctypes.c_long(-3))
        keys = []
        for place, ring in (("session-keyring", -3), ("user-keyring", -4)):
            value = self.secret(place).encode()
            key = libc.syscall(
                ctypes.c_long(add_key),
                b"user",
                f"{self.mark}:{place}".encode(),
                value,
                ctypes.c_long(len(value)),
                ctypes.c_long(ring),
            )
            if key > 0:
                libc.syscall(ctypes.c_long(keyctl), ctypes.c_long(15), ctypes.c_long(key), ctypes.c_long(900))
                keys.append(key)
        return keys

    def _decoy(self, user: int | None = None) -> subprocess.Popen[bytes]:
        """A living process of the host with secrets in its words, its environment and its memory."""
        word = self.secret("decoy-argv")
        argv = [sys.executable, "-I", "-S", "-c", DECOY, word]
        extra: dict[str, Any] = {}
        if user is not None:  # who may not even enter the folder of this Python
            argv = ["/bin/sh", "-c", "echo ready; read line", word]
            extra = {"user": user, "group": user, "extra_groups": []}
        decoy = subprocess.Popen(
            argv,
            env={"DECOY_SECRET": self.secret("decoy-memory")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            preexec_fn=_die_with_parent,
            **extra,
        )
        assert decoy.stdout
        decoy.stdout.readline()
        return decoy

    # The session

    def _open_session(self) -> None:
        os.chdir(self.project)
        toml = self.project / "ml-intern.toml"
        assert toml.exists()
        rules = [
            {
                "tool": "write_file",
                "where": {"path": "*forbidden*"},
                "action": "deny",
                "reason": "a test says so",
            }
        ]
        self.settings = Settings(
            state=self.state, policy=rules, hub="embedded", job_slots=2, job_memory_mb=1024
        )
        self.sandbox = make_sandbox(self.kind)
        self.services = assemble(
            "this", self.session, self.workspace, self.settings, self.sandbox, lambda event: None
        )
        self.services.run_in_sandbox = lambda argv, seconds: run_in_sandbox(
            self.sandbox, self.mounts(), Limits(memory_mb=512), argv, seconds
        )
        self.journal = Journal(self.session / "journal.sqlite")
        self.journal.append("note", {"said": self.secret("journal")})
        budget = Budget({})
        self.router = Router(
            load_tools(self.settings), self.services, Gate(rules, budget, []), budget, self.journal
        )
        (self.session / "datasets/rows").mkdir(parents=True)
        (self.session / "datasets/rows/data.jsonl").write_text('{"text": "a row"}\n')
        other = self.session / "jobs/other-1"
        (other / "output").mkdir(parents=True)
        (other / "output/result.json").write_text("{}")
        (self.session / "evals/jobs/hidden-1/output").mkdir(parents=True)
        (self.session / "evals/jobs/hidden-1/output/labels.txt").write_text(self.secret("evals-job"))
        if os.geteuid() == 0 and self.kind != "none":
            # Of the very user that the sandbox runs as: the system's own rules between users do not guard it.
            self.decoys.append(self._decoy(sandbox_user(self.workspace)[0]))
        walls = self.kind not in ("none", "e2b")
        self.watch = Watch(self.base, walls, os.geteuid() == 0)
        self.system = self._system_values()
        tops = (self.base, self.session, self.session / "datasets/rows", self.session / "jobs/other-1/output")
        self._tops = {folder: {path.name for path in folder.iterdir()} | {"results.json"} for folder in tops}

    def mounts(self) -> Mounts:
        """As a session makes them."""
        shown = [self.session / "datasets", self.session / "jobs"]
        return Mounts(self.workspace, read_only=[*shown, *packages(self.kind)], hidden=[self.state])

    def on_call(self, name: str, arguments: dict[str, Any]) -> CallReply:
        """Through the real router, gate and tools."""
        outcome = self.router.call(name, arguments, source="cell-1")
        self.calls.append((name, arguments, outcome))
        return CallReply(outcome.ok, outcome.value, outcome.message, outcome.hint)

    def facts(self, name: str) -> dict[str, Any]:
        """What the attacker knows: all but the secrets themselves."""
        return {
            "name": name,
            "mark": self.mark,
            "base": str(self.base),
            "home": str(self.home),
            "project": str(self.project),
            "state": str(self.state),
            "session": str(self.session),
            "workspace": str(self.workspace),
            "outside": str(self.outside),
            "canary": str(self.canary),
            "jobs": str(self.session / "jobs"),
            "strewn": [str(path) for path in self._strewn],
            "decoys": [decoy.pid for decoy in self.decoys],
            "host": os.getpid(),
            "parent": os.getppid(),
            "keys": self.keys,
            "listeners": self.listeners.open,
            "sandboxed": "sandboxed-" + self.base.name[-8:],
            "home_files": list(HOME_FILES),
            "project_files": list(PROJECT_FILES),
            "state_files": list(STATE_FILES),
            "system": {name: value for name, value in self.system.items() if value},
        }

    def renew_sandbox(self) -> None:
        """A fresh one, where an attack left the old one of no use."""
        self.sandbox.stop()
        self.sandbox = make_sandbox(self.kind)
        self.services.jobs.sandbox = self.sandbox

    def renew(self) -> None:
        """Put everything back, so that the next attack is judged alone."""
        self._plant_files()
        for path in self.outside.iterdir():
            if path.name not in ("canary.txt", "host.socket"):
                _remove(path)
        for folder, names in self._tops.items():
            for path in folder.iterdir():
                if path.name not in names and ".sqlite" not in path.name:
                    _remove(path)
        self.canary.write_text(CANARY)
        self.workspace.mkdir(exist_ok=True)
        self.workspace.chmod(0o755)
        for path in self.workspace.iterdir():
            if path.name != ".ml-intern" or path.is_symlink():
                _remove(path)
        self.renew_decoys()

    # What must be as it was

    def guarded(self) -> dict[str, tuple[Any, ...]]:
        """Every file that no attack may change: the secrets, the canaries, other sessions, this one's data."""
        roots = [self.home, self.project, self.outside, self.state / "sessions/other", self.state / "hub"]
        roots += [
            self.session / name
            for name in ("datasets", "jobs/other-1", "evals/jobs/hidden-1", "evals/sealed")
        ]
        found = {str(path): _state(path) for root in roots for path in [root, *_below(root)]}
        # New things beside them count, too.
        for folder in (self.base, self.session):
            found[f"{folder}/*"] = tuple(sorted(p.name for p in folder.iterdir() if ".sqlite" not in p.name))
        return found

    def dead_decoys(self) -> list[int]:
        """Decoys that an attack ended or stopped."""
        return [d.pid for d in self.decoys if d.poll() is not None or _stopped(d.pid)]

    def renew_decoys(self) -> None:
        """Replace those that are gone, so that the next attack is judged alone."""
        for number, decoy in enumerate(self.decoys):
            if decoy.poll() is not None:
                self.decoys[number] = self._decoy(sandbox_user(self.workspace)[0] if number else None)
            else:
                decoy.send_signal(signal.SIGCONT)

    def changed_system(self) -> list[str]:
        """Settings of the machine that are not what they were."""
        now = self._system_values()
        return [name for name, value in self.system.items() if now[name] != value]

    def _system_values(self) -> dict[str, str]:
        return {name: _text(Path("/proc/sys", name)) for name in SYSTEM_VALUES}

    def leaks(self, data: bytes) -> list[str]:
        """The places whose secrets stand in some bytes."""
        return [place for place, value in self.secrets.items() if value.encode() in data]

    def marked(self) -> list[int]:
        """Living processes with the sandbox's word among their words."""
        word = f"sandboxed-{self.base.name[-8:]}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if word in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def close(self) -> None:
        """Take the decoys, keys and strewn files away."""
        for decoy in self.decoys:
            decoy.kill()
            decoy.wait()
        libc = ctypes.CDLL(None)
        keyctl = 250 if os.uname().machine == "x86_64" else 219
        for key in self.keys:
            libc.syscall(ctypes.c_long(keyctl), ctypes.c_long(9), ctypes.c_long(key), ctypes.c_long(-4))
        for path in self._strewn:
            path.unlink(missing_ok=True)
        self.journal.close()


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        # Not shutil: folders without end are one of the attacks.
        subprocess.run(["chmod", "-R", "u+rwX", str(path)], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", str(path)], capture_output=True, check=False)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def make_sandbox(kind: str) -> Sandbox:
    """The sandbox of a kind, as the product makes it."""
    if kind == "none":
        from ml_intern.sandbox.bare import BareSandbox

        return BareSandbox("a control")
    if kind == "docker":
        from ml_intern.sandbox.docker import DockerSandbox

        return DockerSandbox(os.environ["ATTACKS_IMAGE"])
    if kind == "e2b":
        from ml_intern.sandbox.e2b import E2BSandbox

        return E2BSandbox(os.environ)
    from ml_intern.sandbox.local import LocalSandbox

    return LocalSandbox()


def packages(kind: str) -> list[Path]:
    """Docker's small image finds installed packages where this Python has them."""
    if kind != "docker":
        return []
    from support.docker_engine import packages as folders

    return folders()


def _below(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        yield from (Path(place, name) for name in (*folders, *files))


def _state(path: Path) -> tuple[Any, ...]:
    try:
        found = path.lstat()
    except OSError:
        return ("gone",)
    if stat.S_ISREG(found.st_mode):
        body = hashlib.sha256(path.read_bytes()).hexdigest()
        return (oct(found.st_mode), found.st_uid, found.st_nlink, found.st_mtime_ns, body)
    return (oct(found.st_mode), found.st_uid)


def _stopped(pid: int) -> bool:
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return bool(fields) and fields[0] in "TtZX"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def tell(path: Path, found: Any) -> None:
    """Write results so that a reader never sees half of them."""
    fresh = path.with_suffix(f".{time.time_ns()}")
    fresh.write_text(json.dumps(found, indent=1, ensure_ascii=False))
    fresh.replace(path)
