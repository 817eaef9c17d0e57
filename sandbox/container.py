"""The command line of one container: its walls, its limits, what it sees of the host, and who ends it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.engine import GUARD, NO_CONFIGURATION, NO_ENVIRONMENT, OWNER, WHERE, Engine, where
from ml_intern.sandbox.environment import KERNEL, clean_environment
from ml_intern.sandbox.image import Image

HOME = "/home/intern"
TEMPORARY = "/tmp"
ENTRY = KERNEL.with_name("entry.py")
ENTRY_INSIDE = "/opt/ml-intern/entry.py"
KERNEL_INSIDE = "/opt/ml-intern/kernel.py"
OPEN_FILES = 16_384
TAKEN = (
    "/", "/bin", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/run", "/sbin", "/sys", "/tmp",
    "/usr", "/var", "/var/tmp", HOME, "/opt/ml-intern",
)  # fmt: skip
"""Folders of the image that a folder of the host must not cover."""

THE_ENGINES_OWN = ("PATH", "LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES")
"""Variables that the image and the engine know better than this host."""

# Starts the client and waits for it. The client's end is not the container's, so when the process that wanted
# the container dies, however it dies, the guard is told (setpriv) and removes the container. Twice with a
# pause: the first try may come before the engine has made it. The label names the guard for `Engine.sweep`.
# Arguments: the container's name as $0, then client, configuration, host, and what follows "docker run".
WATCH = """
program=$1 configuration=$2 host=$3
shift 3
set -f
born=$(read -r line < /proc/$$/stat; set -- ${line##*) }; echo "${20}")
over() {
  trap '' TERM INT HUP
  kill -9 $! 2> /dev/null
  for pause in 1 0; do
    "$program" --config "$configuration" --host "$host" rm --force --volumes "$0" > /dev/null 2>&1
    sleep $pause
  done
  exit 143
}
trap over TERM INT HUP
exec 3<&0 < /dev/null
"$program" --config "$configuration" --host "$host" run --label "LABEL=$$.$born" "$@" <&3 3<&- &
exec 3<&-
wait $!
exit $?
""".replace("LABEL", GUARD)


@dataclass(frozen=True)
class Container:
    """A container that is to be started.

    Attributes:
        engine: Who runs it.
        image: What it is made from.
        mounts: What it sees of the host.
        limits: What it may use.
        user: User and group id inside.
        owner: Mark of the session whose process it ends with; empty for a job.
        name: Under which it is ended.
    """

    engine: Engine
    image: Image
    mounts: Mounts
    limits: Limits
    user: tuple[int, int]
    owner: str = ""
    name: str = field(default_factory=lambda: f"ml-intern-{secrets.token_hex(6)}")

    def argv(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, kernel: bool = False
    ) -> list[str]:
        """The host's command line that runs a command inside.

        Args:
            command: The command.
            env: Variables beside the usual ones.
            kernel: It speaks over standard input and output; else the one is nothing, and the other takes
                the errors, too: the engine carries the two apart and would lose their order.
        """
        words = [*self._walls(), *self._bounds(), *self._folders(), *self._variables(env)]
        words += ["--interactive"] if kernel else []
        entry = ["-I", "-S", ENTRY_INSIDE, self.image.filter(), "apart" if kernel else "together"]
        run = [*words, "--entrypoint", self.image.python, self.image.id, *entry, *command]
        client = [self.engine.program, NO_CONFIGURATION, self.engine.host]
        return [*NO_ENVIRONMENT, *_told_of_death(), "/bin/sh", "-c", WATCH, self.name, *client, *run]

    def _walls(self) -> list[str]:
        user, group = self.user
        words = [
            f"--name={self.name}",
            "--rm",
            "--pull=never",
            "--no-healthcheck",
            f"--label={WHERE}={where()}",
            *([f"--label={OWNER}={self.owner}"] if self.owner else []),
        ]
        words += ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--ipc=private"]
        words += [f"--user={user}:{group}", "--hostname=sandbox", "--log-driver=none"]
        # What bars a container from the host's folders, or gives its users other numbers, bars the workspace.
        words += ["--userns=host"] if self.engine.has("userns") else []
        words += ["--security-opt=label=disable"] if self.engine.has("selinux") else []
        return words + ([] if self.limits.network else ["--network=none"])

    def _bounds(self) -> list[str]:
        limits = self.limits
        words = [f"--memory={limits.memory_mb}m", f"--memory-swap={limits.memory_mb}m", "--oom-score-adj=500"]
        words += [f"--pids-limit={limits.processes}", f"--shm-size={limits.disk_mb}m", "--ulimit=core=0"]
        words += [f"--ulimit=fsize={limits.file_bytes}", f"--ulimit=nofile={OPEN_FILES}"]
        if limits.cpus is not None:
            words.append(f"--cpus={min(limits.cpus, float(self.engine.info.get('NCPU') or limits.cpus)):g}")
        return words + (self.engine.gpus if limits.gpus else [])

    def _variables(self, env: Mapping[str, str] | None) -> list[str]:
        inside = clean_environment(HOME, TEMPORARY, env)
        inside = {k: v for k, v in inside.items() if k not in THE_ENGINES_OWN or k in (env or {})}
        if not self.limits.gpus:
            inside["NVIDIA_VISIBLE_DEVICES"] = "void"  # where every container gets them by default
        return [f"--env={name}={value}" for name, value in inside.items()]

    def _folders(self) -> list[str]:
        private = f"rw,exec,nosuid,nodev,mode=1777,size={self.limits.disk_mb}m"
        # A volume of the image would lie on the host's disk, without a limit.
        folders = dict.fromkeys((TEMPORARY, "/var/tmp", HOME, *self.image.volumes))
        words = [f"--tmpfs={folder}:{private}" for folder in folders]
        own = ((KERNEL, KERNEL_INSIDE), (ENTRY, ENTRY_INSIDE))
        binds = [_bind(str(path), inside, read_only=True) for path, inside in own]
        binds += [_mount(path, kind) for path, kind in _visible(self.mounts)]
        words += [part for bind in binds for part in ("--mount", bind)]
        return [*words, f"--workdir={os.path.normpath(self.mounts.workspace.absolute())}"]


def check_mounts(mounts: Mounts) -> None:
    """Refuse what cannot be shown in a container.

    Raises:
        InternError: The workspace is not there, or a path would cover a folder of the image.
    """
    if not mounts.workspace.is_dir():
        raise InternError(f"The folder {str(mounts.workspace)!r} is not there.", "Make it first.")
    for path, _ in _visible(mounts):
        if path in TAKEN or path.startswith(("/proc/", "/sys/", "/dev/")):
            raise InternError(
                f"{path!r} cannot be shown in a container: the image has its own {path!r}.",
                "Choose another folder (--workspace DIR).",
            )


def _visible(mounts: Mounts) -> list[tuple[str, str]]:
    """Paths inside with what lies there, upper ones first; of two rules for one path the later counts."""
    rules: dict[str, str] = {}
    for kind, paths in (
        ("hidden", mounts.hidden),
        ("read", mounts.read_only),
        ("write", [*mounts.writable, mounts.workspace]),
    ):
        rules |= dict.fromkeys(_both_names(paths), kind)
    laid: dict[str, str] = {}
    for path, kind in sorted(rules.items(), key=lambda rule: (len(Path(rule[0]).parts), rule[0])):
        above = _above(path, laid)
        # Of the host nothing is there but what is shown: only below that is there something to hide.
        if kind == above or (kind == "hidden" and not above):
            continue
        laid[path] = kind
    return list(laid.items())


def _above(path: str, laid: Mapping[str, str]) -> str:
    """What the nearest folder above already makes of a path."""
    return next((laid[str(folder)] for folder in Path(path).parents if str(folder) in laid), "")


def _both_names(paths: Iterable[Path]) -> Iterable[str]:
    """Each path as it was given and as it is without links: code may use either name."""
    for path in paths:
        if path.exists():
            yield from dict.fromkeys((os.path.normpath(path.absolute()), str(path.resolve())))


def _mount(path: str, kind: str) -> str:
    if kind == "hidden":
        return _csv("type=tmpfs", f"target={path}", "readonly", "tmpfs-mode=0755", "tmpfs-size=4096")
    return _bind(os.path.realpath(path), path, read_only=kind == "read")


def _bind(source: str, target: str, read_only: bool) -> str:
    parts = ["type=bind", f"source={source}", f"target={target}", "bind-propagation=rprivate"]
    return _csv(*parts, *(["readonly"] if read_only else []))


def _csv(*fields: str) -> str:
    """One line of comma-separated values, as the client reads it: a path may hold commas and quotes."""
    return ",".join('"' + text.replace('"', '""') + '"' for text in fields)


@cache
def _told_of_death() -> tuple[str, ...]:
    """What makes the system tell the guard when the process that started it is gone."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    known = subprocess.run([setpriv, "--help"], capture_output=True, text=True, check=False).stdout
    return (setpriv, "--pdeathsig", "TERM") if "--pdeathsig" in known else ()
