"""A Docker engine for tests, and a small image made from the running Python: nothing is fetched.

An engine that runs already is used and left alone. Else root starts one of its own, with its own folders and
socket, and stops it at the end. The image holds the interpreter, its standard library, the shared libraries
of both and a few programs; `sandbox_image` makes it in seconds and finds it again by its content.

The image looks for packages where this Python has them (a ``.pth`` file says so): whoever mounts that folder
read-only, at the same path, has torch and all the rest inside. `packages` gives the folders.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

READY_S = 30.0
ASK_S = 10.0
IMPORT_S = 300.0

OWN = Path(tempfile.gettempdir()) / f"ml-intern-test-engine-{os.getuid()}"
"""Where an engine of our own lives; other processes of the same test run find it there."""

PROGRAMS = (
    "sh", "bash", "cat", "ls", "id", "env", "sleep", "echo", "true", "false", "mkdir", "rm", "ln", "cp", "mv", "dd",
    "head", "tail", "touch", "chmod", "chown", "kill", "ps", "mount", "umount", "unshare", "setsid", "nohup",
    "hostname", "ulimit", "df", "du", "find", "grep", "stat", "sync", "mknod", "yes", "test", "pwd", "uname",
)  # fmt: skip
LIBRARIES = (
    "libgcc_s", "libstdc++", "libgomp", "libquadmath", "libgfortran", "libnss_files", "libnss_dns", "libz.", "libpthread",
    "libdl.", "librt.", "libutil.", "libm.", "libc.", "libresolv", "libanl.",
)  # fmt: skip
LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "site-packages",
    "dist-packages",
}

_held: list[io.TextIOWrapper] = []


def engine_problem() -> str:
    """Why no engine can be used here; nothing where one can."""
    if shutil.which("docker") is None:
        return "the docker client is not installed"
    if _answers():
        return ""
    if os.environ.get("DOCKER_HOST"):
        return f"no Docker engine answers at {os.environ['DOCKER_HOST']}"
    if os.geteuid() != 0:
        return "no Docker engine answers, and only root can start one"
    if shutil.which("dockerd") is None:
        return "no Docker engine answers, and dockerd is not installed"
    return _start()


def ensure_engine() -> None:
    """Skip the test, with the reason, where no engine can be used."""
    import pytest

    if problem := engine_problem():
        pytest.skip(problem)


def sandbox_image() -> str:
    """The tag of a small image with this Python; made where the engine does not have it yet."""
    tag = f"ml-intern-test:{_content()}"
    if _ask("image", "inspect", tag).returncode == 0:
        return tag
    settings = ("ENV PATH=/usr/local/bin:/usr/bin:/bin", "LABEL ml-intern.python=python3", 'CMD ["python3"]')
    argv = ["docker", "import", *(part for text in settings for part in ("--change", text)), "-", tag]
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            _pack(tar)
        file.seek(0)
        done = subprocess.run(argv, stdin=file, capture_output=True, text=True, timeout=IMPORT_S, check=False)
    assert done.returncode == 0, done.stderr
    return tag


def packages() -> list[Path]:
    """The folders of installed packages, for `Mounts.read_only`: imports in the image find them there."""
    return list(dict.fromkeys(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")))


# The engine


def _ask(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["docker", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", "no answer")


def _answers() -> bool:
    done = _ask("version", "--format", "{{.Server.Version}}")
    return done.returncode == 0 and bool(done.stdout.strip())


@functools.cache
def _start() -> str:
    """Start an engine, or use that of another process of this test run; why there is none."""
    OWN.mkdir(exist_ok=True)
    OWN.chmod(0o711)  # ordinary users pass to the socket, which has rights of its own
    if OWN.stat().st_uid != os.getuid():
        return f"{OWN} is somebody else's"
    with (OWN / "starting").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        users = (OWN / "users").open("w")
        fcntl.flock(users, fcntl.LOCK_SH)
        _held.append(users)  # held to the end of this process: who started the engine waits for it
        os.environ["DOCKER_HOST"] = f"unix://{OWN}/docker.sock"
        problem = "" if _answers() else _launch()
        if problem:
            os.environ.pop("DOCKER_HOST")
        return problem


def _launch() -> str:
    folders = {"data-root": "data", "exec-root": "run", "pidfile": "pid"}
    words = [f"--{name}={OWN / place}" for name, place in folders.items()]
    dies_with_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    argv = [*dies_with_us, "dockerd", f"--host=unix://{OWN}/docker.sock", *words]
    daemon = _lasting(argv)
    atexit.register(_stop, daemon)
    deadline = time.monotonic() + READY_S
    while not _answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            _stop(daemon)
            said = (OWN / "log").read_text(errors="replace").strip().splitlines()
            return f"dockerd did not start: {said[-1] if said else 'it said nothing'}"
        time.sleep(0.1)
    return ""


def _lasting(argv: list[str]) -> subprocess.Popen[bytes]:
    """Start it from a thread that stays: the kernel ends it with the thread that started it, not the process."""
    started: Queue[subprocess.Popen[bytes]] = Queue()

    def stay() -> None:
        with (OWN / "log").open("wb") as log:
            daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        started.put(daemon)
        daemon.wait()

    threading.Thread(target=stay, name="docker engine", daemon=True).start()
    return started.get()


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    for users in _held:
        users.close()
    with (OWN / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(READY_S)
        for folder in ("data", "run"):
            shutil.rmtree(OWN / folder, ignore_errors=True)


# The image


@functools.cache
def _files() -> dict[str, Path]:
    """Files of the image by their place in it: the interpreter, its library, programs, shared libraries."""
    interpreter = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = {"usr/local/bin/python3": interpreter}
    for name in ("stdlib", "platstdlib"):
        folder = Path(
            sysconfig.get_path(name, vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})
        )
        found |= {f"usr/local/lib/{version}/{path.relative_to(folder)}": path for path in _library(folder)}
    for name in PROGRAMS:
        if path := shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin"):
            found[f"bin/{name}"] = Path(path).resolve()
    return found | {str(path).lstrip("/"): path for path in _shared(list(found.values()))}


def _library(folder: Path) -> Iterator[Path]:
    """The files of the standard library, compiled ones too: the image is read-only and starts faster with them."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not LEFT_OUT.intersection(parts) and not parts[0].startswith("config-") and path.is_file():
            yield path


def _shared(files: list[Path]) -> set[Path]:
    """The shared libraries that programs and modules need, and those that packages expect of a system."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    lines = [line.strip() for line in cache.splitlines() if "=>" in line]
    here = [line for line in lines if "x86-64" in line or "AArch64" in line]
    expected = [Path(line.split("=> ")[1]) for line in here if line.startswith(LIBRARIES)]
    seen = expected + [path for path in files if ".so" in path.name or path.parent.name in ("bin", "sbin")]
    told = subprocess.run(["ldd", *map(str, seen)], capture_output=True, text=True, check=False).stdout
    needed = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", told, re.MULTILINE)
    return {*expected, *map(Path, needed)}


def _content() -> str:
    """A short hash that changes when a file of the image, or this recipe for it, changes."""
    told = [Path(__file__).read_text(), *map(str, packages())]
    for place, path in sorted(_files().items()):
        status = path.stat()
        told.append(f"{place} {path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _pack(tar: tarfile.TarFile) -> None:
    for folder, mode in (
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
        ("home", 0o755),
        ("proc", 0o755),
        ("etc", 0o755),
    ):
        _add(tar, folder, None, mode)
    for place, path in _files().items():
        _add(tar, place, path, 0o755 if os.access(path, os.X_OK) else 0o644)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    listed = "".join(f"{folder}\n" for folder in packages())
    texts = {
        "etc/passwd": "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        f"usr/local/lib/{version}/site-packages/beside.pth": listed,
    }
    for place, text in texts.items():
        entry = tarfile.TarInfo(place)
        entry.size, entry.mode = len(text.encode()), 0o644
        tar.addfile(entry, io.BytesIO(text.encode()))


def _add(tar: tarfile.TarFile, place: str, path: Path | None, mode: int) -> None:
    entry = tarfile.TarInfo(place)
    entry.mode = mode
    if path is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
        return
    status = path.stat()
    entry.size, entry.mtime = (
        status.st_size,
        status.st_mtime,
    )  # compiled files are checked against the source's time
    with path.open("rb") as file:
        tar.addfile(entry, file)
