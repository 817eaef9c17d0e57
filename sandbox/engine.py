"""The Docker engine of this machine, asked through its command-line client.

Every question has a time limit, and the client sees neither the user's configuration nor the environment: the
one may name proxies with passwords, which the client copies into containers, and plug-ins, which it starts; a
job's supervisor runs it with a home folder that the job can write to.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.errors import Denied
from ml_intern.sandbox.environment import KERNEL

ANSWER_S = 10.0
INSTALL = "Install Docker (apt install docker.io), or say --sandbox local."
SOCKET = "unix:///var/run/docker.sock"
NO_CONFIGURATION = str(KERNEL.parent)
"""A folder without a ``config.json``, which no sandbox can write to."""

NO_ENVIRONMENT = ("/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin")

WHERE, GUARD, OWNER = "ml-intern.where", "ml-intern.guard", "ml-intern.owner"
"""Labels of our containers: the user and system that made them, the process that watches over each, and the
session whose process they end with."""


@dataclass(frozen=True)
class Engine:
    """An engine that answers.

    Attributes:
        program: The client.
        host: The socket, as ``unix://…``.
        info: What the engine says of itself (``docker info``).
    """

    program: str
    host: str
    info: Mapping[str, Any]

    @classmethod
    def find(cls) -> Engine:
        """The engine that the user's client talks to.

        Raises:
            Denied: There is none, or it is another machine's; says what mends it.
        """
        program = shutil.which("docker")
        if program is None:
            raise Denied("The docker client is not installed.", INSTALL)
        host = _address(program)
        if not host.startswith("unix://"):
            scheme = host.partition("://")[0]
            raise Denied(
                f"Docker is reached over {scheme}://, so containers would not see this machine's folders.",
                "Unset DOCKER_HOST or choose a local context (docker context use default).",
            )
        engine = cls(str(Path(program).absolute()), host, {})
        return cls(engine.program, host, engine._describe())

    def argv(self, *words: str) -> list[str]:
        """The command line of a question, without environment and configuration."""
        return [*NO_ENVIRONMENT, self.program, "--config", NO_CONFIGURATION, "--host", self.host, *words]

    def ask(self, *words: str, seconds: float = 0.0) -> subprocess.CompletedProcess[str]:
        """Ask and wait, by default `ANSWER_S`; no answer in time is told as exit code 124."""
        return _run(self.argv(*words), seconds or ANSWER_S)

    def remove(self, *names: str) -> list[str]:
        """The command that ends containers and leaves nothing of them."""
        return self.argv("rm", "--force", "--volumes", *names)

    def sweep(self) -> None:
        """Remove the containers of this user whose guard is gone: both were cut off at once."""
        shown = f'{{{{.Names}}}} {{{{.Label "{GUARD}"}}}}'
        listed = self.ask("ps", "--all", "--filter", f"label={WHERE}={where()}", "--format", shown)
        pairs = [line.split() for line in listed.stdout.splitlines()]
        if left := [pair[0] for pair in pairs if len(pair) == 2 and not _lives(pair[1])]:
            _run(self.remove(*left), ANSWER_S)

    def end_of(self, owner: str) -> None:
        """Remove the containers of a session whose process is gone, and wait until they are."""
        mine = ("--filter", f"label={WHERE}={where()}", "--filter", f"label={OWNER}={owner}")
        deadline = time.monotonic() + ANSWER_S
        while left := self.ask("ps", "--all", "--quiet", *mine).stdout.split():
            _run(self.remove(*left), ANSWER_S)  # fails where its guard is at it already
            if time.monotonic() >= deadline:
                return
            time.sleep(0.1)

    def has(self, option: str) -> bool:
        """A security option such as ``rootless``, ``userns``, ``selinux`` or ``seccomp``."""
        return any(f"name={option}" in text for text in self.info.get("SecurityOptions") or [])

    @property
    def gpus(self) -> list[str]:
        """The arguments that show a container all GPUs; none where the engine knows no way."""
        if "nvidia" in (self.info.get("Runtimes") or {}):
            return ["--gpus", "all"]
        devices = [str(device.get("ID")) for device in self.info.get("DiscoveredDevices") or []]
        return ["--device", "nvidia.com/gpu=all"] if "nvidia.com/gpu=all" in devices else []

    def unbounded(self) -> list[str]:
        """Which limits this engine cannot set."""
        limits = {
            "memory": "MemoryLimit",
            "swap": "SwapLimit",
            "processes": "PidsLimit",
            "CPU time": "CpuCfsQuota",
        }
        return [words for words, name in limits.items() if not self.info.get(name)]

    def _describe(self) -> dict[str, Any]:
        done = self.ask("info", "--format", "{{json .}}")
        info: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        said = " ".join([done.stderr, *(info.get("ServerErrors") or [])]).strip()
        if done.returncode == 124:
            raise Denied(
                f"Docker at {self.host} does not answer.", "Restart it (sudo systemctl restart docker)."
            )
        if "permission denied" in said.lower():
            raise Denied(
                f"You may not use Docker at {self.host}.",
                "Join its group (sudo usermod -aG docker $USER) and log in again, or say --sandbox local.",
            )
        if not info.get("ServerVersion"):
            raise Denied(
                f"No Docker daemon answers at {self.host}.",
                "Start it (sudo systemctl start docker), or say --sandbox local.",
            )
        if info.get("OSType") != "linux":
            raise Denied("This Docker runs no Linux containers.", "Switch it to Linux containers.")
        return info


def where() -> str:
    """This user on this system since it started: a process number means something only here."""
    boot = _read("/proc/sys/kernel/random/boot_id")[:8]
    try:
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        space = 0
    return f"{os.getuid()}-{boot}-{space}"


def _lives(guard: str) -> bool:
    """Whether the process with this number and starting time is still there."""
    number, _, born = guard.partition(".")
    if not number.isdigit():
        return True
    fields = _read(f"/proc/{number}/stat").rpartition(")")[2].split()
    return len(fields) > 19 and fields[19] == born and fields[0] != "Z"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _address(program: str) -> str:
    """Where the user's client would look: the variable, else the context, else the usual socket."""
    given = os.environ.get("DOCKER_HOST", "").strip()
    if given:
        return given
    shown = _run([program, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], ANSWER_S)
    return shown.stdout.strip() if shown.returncode == 0 else SOCKET


def _run(argv: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", "no answer in time")
    except OSError as error:
        return subprocess.CompletedProcess(argv, 126, "", str(error))
