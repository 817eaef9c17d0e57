"""Carries one job on a rented machine: fetches what it needs, runs it, brings back what it made.

    python carrier.py REPOSITORY FOLDER

It runs where ml_intern is not installed: the standard library and huggingface_hub are all that it uses. Its
token is for the private repository alone. The job itself runs without it, as another user where that can be,
and without a network unless one was asked for. A credential that cannot be kept from code which a model wrote
is a reason not to run it.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

METRICS = "@@ml-intern-metrics "
"""Begins a line of the log that is a line of ``metrics.jsonl``: so metrics arrive while the job runs."""

NOBODY = 65_534
KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
_POLL_S = 0.1
_PAUSES = (0.5, 1, 2, 4, 8, 15, 30)
_END_S = 5.0
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 4, 22, 36, 38

# Of each machine: its number in the filter, `socket`, and the first number of a second table of calls (x32).
_CALLS = {"x86_64": (0xC000003E, 41, 0x40000000), "aarch64": (0xC00000B7, 198, 0)}
_IO_URING, _AF_UNIX = 425, 1
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # EACCES


class Refused(Exception):
    """The job cannot be run here as it was promised."""


def main(repository: str, folder: str) -> int:
    """Run the job whose files are in `folder` of a dataset repository; its exit code."""
    token = os.environ.pop("HF_TOKEN", "")
    # From here on no other process of this user reads this one's memory or first environment.
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    place = Path(tempfile.mkdtemp(prefix="ml-intern-"))
    place.chmod(0o755)
    wanted: dict[str, Any] = {"repo_type": "dataset", "allow_patterns": [f"{folder}/*"], "local_dir": place}
    got = persist(lambda: api.snapshot_download(repository, **wanted))
    here = Path(got) / folder
    plan = json.loads((here / "plan.json").read_text())
    started = time.time()
    try:
        code, why = run(here, plan, token)
    except Refused as refused:
        say(str(refused))
        code, why = 1, "refused"
    result = {"exit_code": code, "why": why, "started": started, "ended": time.time()}
    (here / "run.json").write_text(json.dumps(result))
    _only_plain_files(here)
    result_of: dict[str, Any] = {
        "repo_id": repository,
        "repo_type": "dataset",
        "folder_path": here,
        "path_in_repo": folder,
        "allow_patterns": ["run.json", "metrics.jsonl", "output/**", *newest_checkpoint(here, code)],
        "commit_message": f"Result of {folder}",
    }
    persist(lambda: api.upload_folder(**result_of))
    return code if code is not None and code >= 0 else 1


def persist(call: Callable[[], Any]) -> Any:
    """Ask the Hub again where it is gone for a moment: what the job has made must not be lost by that."""
    import httpx

    for pause in (*_PAUSES, None):
        try:
            return call()
        except (httpx.HTTPError, OSError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 503)
            if pause is None or (status < 500 and status != 429):
                raise
            time.sleep(pause)


def run(here: Path, plan: dict[str, Any], token: str) -> tuple[int | None, str]:
    """Run the job and pass its lines on: its exit code, and why it ended."""
    prepare(here)
    user = another_user(here)
    if user is None and plan["foreign"] and readable_elsewhere(token):
        raise Refused("This machine would show the script a credential, so it was not run.")
    log_read, log_write = os.pipe()
    job = subprocess.Popen(
        [_here(word, here) for word in plan["argv"]],
        cwd=here / "output",
        env=environment(here, plan),
        stdin=subprocess.DEVNULL,
        stdout=log_write,
        stderr=log_write,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        preexec_fn=None if plan["network"] else close_network,
    )
    os.close(log_write)
    told_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told_to_stop.append(number))
    reader = threading.Thread(target=pass_on, args=(log_read,), daemon=True)
    reader.start()
    why = watch(job, here, plan["seconds"], told_to_stop)
    end_all()
    code = job.wait()
    reader.join(_END_S)
    return code, why


def watch(job: subprocess.Popen[bytes], here: Path, seconds: float, told_to_stop: list[int]) -> str:
    """Wait for the end and tell the metrics meanwhile: "ended", "timeout" or "stopped".

    The machine's time runs since it was started, and installing the libraries has taken some of it.
    """
    deadline, offset = time.monotonic() + seconds - age(seconds), 0
    while True:
        over = job.poll() is not None
        offset = tell_metrics(here / "metrics.jsonl", offset)
        if over:
            return "ended"
        if time.monotonic() > deadline or told_to_stop:
            return "timeout" if not told_to_stop else "stopped"
        time.sleep(_POLL_S)


def age(most: float) -> float:
    """Seconds since the container's first process was started; 0 where that is none of the job's."""
    try:
        ticks = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
        seconds = float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
    return seconds if 0 <= seconds < most else 0.0


def tell_metrics(path: Path, offset: int) -> int:
    """Print whole lines from an offset on; where to read on."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return offset
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.decode("utf-8", "replace").splitlines():
        say(METRICS + line)
    return offset + len(whole)


def pass_on(descriptor: int) -> None:
    """Print what the job prints, line by line, so that no line of ours falls into one of its."""
    with os.fdopen(descriptor, "rb") as lines:
        for line in lines:
            say(line.decode("utf-8", "replace").rstrip("\n"))


_saying = threading.Lock()


def say(line: str) -> None:
    """One whole line."""
    with _saying:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def prepare(here: Path) -> None:
    """Put this machine's paths in the place of the mark, and make the folders that a job has."""
    for name in ("output", "checkpoints"):
        (here / name).mkdir(exist_ok=True)
    (here / "metrics.jsonl").touch()
    for name in ("config.json", "script.py"):
        if (here / name).exists():
            (here / name).write_text(_here((here / name).read_text(), here))


def environment(here: Path, plan: dict[str, Any]) -> dict[str, str]:
    """What the job's process finds: nothing of this one's but where programs and libraries are."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {name: _here(value, here) for name, value in plan["env"].items()}
    return {"LANG": "C.UTF-8", **kept, "HOME": str(here / "output"), "TMPDIR": "/tmp", **own}


def another_user(here: Path) -> int | None:
    """A user without rights for the job, who may write where it writes; None where that cannot be."""
    if os.geteuid() != 0:
        return None
    for folder in (Path(sys.prefix), Path(sys.base_prefix), here):
        for above in folder.resolve().parents:
            if not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o011)
    try:
        trial = subprocess.run(
            [sys.executable, "-c", "import huggingface_hub"], user=NOBODY, group=NOBODY, extra_groups=[],
            env=environment(here, {"env": {}}), capture_output=True, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    if trial.returncode:
        return None
    for place in (here / "output", here / "checkpoints", here / "metrics.jsonl"):
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return NOBODY


def readable_elsewhere(token: str) -> bool:
    """Whether another process of this user has the token in its environment, for all to read."""
    for entry in Path("/proc").glob("[0-9]*"):
        if token and entry.name != str(os.getpid()):
            try:
                if token.encode() in (entry / "environ").read_bytes():
                    return True
            except OSError:
                continue
    return False


def close_network() -> None:
    """Let this process and all that come of it open no socket but those between processes of this machine.

    A filter of system calls, which no process can take off again; it needs no rights.

    Raises:
        OSError: It cannot be set here.
    """
    machine = os.uname().machine
    if machine not in _CALLS:
        raise OSError(f"no filter is known for {machine}")
    number, socket, second = _CALLS[machine]
    jump, at_least, load, answer = 0x15, 0x35, 0x20, 0x06
    rules = [
        (load, 0, 0, 4),  # which machine's calls
        (jump, 0, 7, number),
        (load, 0, 0, 0),  # which call
        (at_least, 5, 0, second or 0xFFFFFFFF),
        (jump, 4, 0, _IO_URING),
        (jump, 0, 2, socket),
        (load, 0, 0, 16),  # its first argument, the family
        (jump, 0, 1, _AF_UNIX),
        (answer, 0, 0, _ALLOW),
        (answer, 0, 0, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1) or _prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(program)):
        raise OSError("the system takes no filter of system calls")


def end_all() -> None:
    """End every process below this one; orphans of the job have become ours."""
    for _ in range(200):
        left = _children(os.getpid())
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    """All processes below one, those that have ended apart."""
    below: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if int(parent) == pid and state != "Z":
            below += [int(entry.name), *_children(int(entry.name))]
    return below


def newest_checkpoint(here: Path, code: int | None) -> list[str]:
    """What of the checkpoints goes back: the newest of a training that did not get to its end."""
    found = [path for path in (here / "checkpoints").glob("checkpoint-*") if path.is_dir()]
    if code == 0 or not found:
        return []
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return [f"checkpoints/{newest.name}/**"]


def _only_plain_files(here: Path) -> None:
    """Nothing goes back that leads elsewhere: a link could lead to what the job itself could not read."""
    for root, folders, files in os.walk(here):
        for name in [*folders, *files]:
            path = Path(root, name)
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                path.unlink()
    shutil.rmtree(here / "output" / ".cache", ignore_errors=True)


def _here(text: str, here: Path) -> str:
    return text.replace("@HERE@", str(here)).replace("@PYTHON@", sys.executable)


def _prctl(option: int, value: int, pointer: Any = 0) -> int:
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, value, pointer, 0, 0))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
