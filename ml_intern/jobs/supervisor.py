"""Watches over one job: waits for a slot, starts it, ends it on time, says how it went.

    python -S -s -m ml_intern.jobs.supervisor JOB_FOLDER

It is a process of its own, in a session of its own, so a job goes on when the agent is killed. It uses the
standard library only: without site-packages it starts in a few hundredths of a second. The lock on ``alive``
comes open from whoever started it and is free again the moment it dies, however it dies; that is how others
know a living job from a lost one.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ml_intern.jobs.curves import newest_step
from ml_intern.jobs.early import StopRule
from ml_intern.jobs.failures import TAIL_BYTES, classify
from ml_intern.jobs.peak import Peak
from ml_intern.jobs.recovery import NEARLY, apply, newest_checkpoint, next_step
from ml_intern.jobs.slots import GPU_HERE, Queue
from ml_intern.sandbox import tree
from ml_intern.sandbox.growth import Growth
from ml_intern.sandbox.walk import Found, walk
from ml_intern.secrets.masking import mask
from ml_intern.workspace.room import Room

_POLL_S = 0.05
# The first words are what a full disk's error says, and so its class is the same.
_TOO_MUCH = (
    "Disk quota exceeded: the job's folder grew by more than {} (setting job_disk_mb); it was stopped."
)
_END_S = 60.0
_LEAST_S = 1.0
_FULL_BYTES = 1 << 20
"""With less than this left on the disk of its folder, a job that failed is taken to have filled it."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(folder: Path) -> None:
    """Run the job in `folder` to its end."""
    plan = json.loads((folder / "launch.json").read_text())
    told_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told_to_stop.append(number))
    # Orphans of the job become ours, so that none escapes when the job is ended.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    update_status(folder, supervisor=os.getpid())
    gpus = plan.get("gpus", [])
    kind = "gpu" if gpus else "cpu"
    place, priority = Path(plan["slots_folder"]), plan.get("priority", 0)
    queue = Queue(place, plan["slots"], priority, kind, plan.get("takes", 1))
    try:
        while not queue.try_enter():
            if _cancelled(folder) or told_to_stop:
                _finish(folder, "cancelled", None)
                return
            time.sleep(_POLL_S)
        if _cancelled(folder):
            _finish(folder, "cancelled", None)
        else:
            _run(folder, with_gpus(plan, gpus, queue.held), told_to_stop)
    finally:
        queue.leave()


def update_status(folder: Path, **changes: Any) -> dict[str, Any]:
    """Change fields of ``status.json``; readers see the old file or the new one, never half of one."""
    path = folder / "status.json"
    status: dict[str, Any] = _read(path) | changes
    try:
        _replace(path, status)
    except OSError:
        if not _room_of(folder).give_up():
            raise
        _replace(path, status)  # a job that has filled the disk ends with a word all the same
    return status


def _replace(path: Path, status: dict[str, Any]) -> None:
    fresh = path.with_suffix(f".{os.getpid()}.new")
    fresh.write_text(json.dumps(status, indent=1))
    fresh.replace(path)


def _room_of(folder: Path) -> Room:
    return Room(folder / "room", 0)


def _read(path: Path) -> dict[str, Any]:
    """The status; where something has spoilt the file, what the specification tells: the job ends told."""
    spec, job = _object(path.with_name("spec.json")), path.parent.name
    known = {"id": job, "name": spec.get("name", job), "method": spec.get("method", "unknown")}
    return _object(path) or known | {"experiment": spec.get("experiment")}


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def end_tree() -> None:
    """End every process below this one: the job, what it started, and the orphans that became ours."""
    for _ in range(500):
        left = tree.below(os.getpid())
        if not left:
            return
        tree.kill(left)
        time.sleep(0.01)


def settle(output: Path) -> None:
    """Make what a job left safe and readable for others: the host, and jobs that run as other users.

    A link that leads out of the folder would make the host read, publish or change a file that the job itself
    could not reach; it is removed, and so is everything that is neither a file nor a folder.
    """
    root = os.path.realpath(output)
    for found in filter(None, walk(output)):
        mode, place = found.status.st_mode, {"dir_fd": found.folder}
        if stat.S_ISDIR(mode):
            _quietly(os.chmod, found.name, stat.S_IMODE(mode) & 0o777 | 0o755, **place)
        elif stat.S_ISREG(mode):
            _quietly(os.chmod, found.name, stat.S_IMODE(mode) & 0o777 | 0o644, **place)
        elif not stat.S_ISLNK(mode) or _leads_out(found, root):
            _quietly(os.unlink, found.name, **place)


def _leads_out(link: Found, root: str) -> bool:
    try:
        end = os.path.realpath(f"/proc/self/fd/{link.folder}/{link.name}")
    except (OSError, RecursionError):  # nested deeper than a path may be long: nobody could follow it
        return True
    return not end.startswith(root + os.sep)


def with_gpus(plan: dict[str, Any], gpus: list[str], slots: list[int]) -> dict[str, Any]:
    """The plan with the GPUs of its slots in the place of the placeholder; without GPUs as it is."""
    if not gpus:
        return plan
    # Where there are more slots than GPUs, two slots may mean one GPU: others fill up.
    mine = list(dict.fromkeys([*(gpus[slot % len(gpus)] for slot in slots), *gpus]))[: len(slots)]
    told = ",".join(mine)
    env = {name: told if value == GPU_HERE else value for name, value in plan["env"].items()}
    return {**plan, "argv": [part.replace(GPU_HERE, told) for part in plan["argv"]], "env": env}


def _run(folder: Path, plan: dict[str, Any], told_to_stop: list[int]) -> None:
    """Run it, and again where what failed can be mended; all tries share one time limit and one quota."""
    began = time.monotonic()
    growth = Growth([folder], plan["growth_mb"], lambda: _of_the_job(plan))
    peak, deadline = Peak(lambda: _of_the_job(plan)), began + plan["timeout_s"]
    update_status(folder, started=time.time())
    while True:
        end, code = _try(folder, plan, told_to_stop, growth, peak, deadline)
        ran_s, memory = time.monotonic() - began, _memory(plan, peak)
        if end == "cancelled":
            return _finish(folder, "cancelled", code, ran_s, memory=memory)
        if code == 0 and end == "ended" and _made_all(folder, plan):
            return _finish(folder, "succeeded", code, ran_s, memory=memory)
        failure = _failure(folder, plan, code, timed_out=end == "timeout")
        out_of_time = time.monotonic() > deadline - _LEAST_S
        if end != "ended" or out_of_time or not _mended(folder, plan, failure, peak):
            return _finish(folder, "failed", code, ran_s, memory=memory, failure=failure)


def _try(
    folder: Path,
    plan: dict[str, Any],
    told_to_stop: list[int],
    growth: Growth,
    peak: Peak,
    deadline: float,
) -> tuple[str, int | None]:
    """Run it once: how it ended, as `_watch` says it, and its exit code."""
    with (folder / "log.txt").open("ab") as log:
        try:
            job = subprocess.Popen(
                plan["argv"],
                cwd=plan["cwd"],
                env=plan["env"] | {name: os.environ[name] for name in plan["pass_on"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        except OSError as error:
            log.write(f"The job's process cannot start: {error}\n".encode())
            return "not started", None
    update_status(folder, state="running", pid=job.pid)
    with _noticing_the_end(job.pid) as ended:
        end = _watch(folder, plan, job, ended, told_to_stop, growth, peak, deadline)
    end_tree()
    _end_elsewhere(plan["end"])
    settle(folder / "output")
    return end, job.wait()


def _memory(plan: dict[str, Any], peak: Peak) -> dict[str, float | None]:
    """What `ml_intern.jobs.memory.MemoryUse` has."""
    used, estimated = peak.mb(), plan.get("estimated_memory_mb")
    error = round(estimated / used - 1, 3) if estimated and used else None
    return {"peak_mb": used, "estimated_mb": estimated, "error": error}


def _mended(folder: Path, plan: dict[str, Any], failure: dict[str, Any], peak: Peak) -> bool:
    """Change what mends a failure, write it down, and say whether another try is worth it."""
    past = _read(folder / "status.json").get("recoveries") or []
    if len(past) >= plan.get("restarts", 0) or _cancelled(folder):
        return False
    config = json.loads((folder / "config.json").read_text())
    kind = failure["kind"]
    full = plan.get("memory_mb") and peak.mb() >= NEARLY * plan["memory_mb"]
    checkpoint = newest_checkpoint(folder / "checkpoints")
    cause = "out_of_memory" if kind == "killed" and full else kind
    step = next_step(cause, config, plan["method"], past, checkpoint)
    if step is None:
        return False
    if step.changes:
        apply(folder / "config.json", step.changes)
    recovery = {
        "kind": cause,
        "message": failure["message"],
        "step": newest_step(folder / "metrics.jsonl"),
        "checkpoint": checkpoint,
        "action": step.action,
        "changes": step.changes,
        "at": time.time(),
    }
    _tell(folder / "log.txt", f"Try {len(past) + 2}, after {cause}: {step.action}.", "")
    update_status(folder, recoveries=[*past, recovery])
    return True


def _of_the_job(plan: dict[str, Any]) -> set[int]:
    """The job's processes: below this one, or, in a container, known by their mark."""
    marked = tree.marked(f"ML_INTERN_JOB={plan['env']['ML_INTERN_JOB']}")
    return tree.below(os.getpid()).union(marked, *(tree.below(pid) for pid in marked))


def _end_elsewhere(argv: list[str]) -> None:
    """A container or a remote sandbox lives on when the process that started it is killed."""
    if argv:
        env = {"PATH": os.environ.get("PATH", os.defpath)} | dict(os.environ)
        try:
            subprocess.run(argv, env=env, capture_output=True, check=False, timeout=_END_S)
        except (OSError, subprocess.TimeoutExpired):
            pass  # It may have ended already; a later look at the job tries again.


def _watch(
    folder: Path,
    plan: dict[str, Any],
    job: subprocess.Popen[bytes],
    ended: list[int],
    told_to_stop: list[int],
    growth: Growth,
    peak: Peak,
    deadline: float,
) -> str:
    """Wait: "ended", "cancelled", "timeout", "stopped", "log" or "disk"."""
    log, rule = folder / "log.txt", StopRule(folder, plan)
    while job.poll() is None:
        peak.look()
        if told := rule.told():
            update_status(folder, stopped=told)
        if _cancelled(folder):
            return "cancelled"
        if told_to_stop:
            return _tell(log, "The supervisor was told to stop.", "stopped")
        if time.monotonic() > deadline:
            return "timeout"
        if log.stat().st_size > plan["max_log_bytes"]:
            return _tell(log, f"The log grew over {plan['max_log_bytes']} bytes; the job was stopped.", "log")
        if growth.over():
            return _tell(log, _TOO_MUCH.format(growth.told), "disk")
        select.select(ended, [], [], _POLL_S)
    if told := rule.told():  # It heeded the word before this look.
        update_status(folder, stopped=told)
    return "ended"


@contextmanager
def _noticing_the_end(pid: int) -> Iterator[list[int]]:
    """What becomes readable when the process ends; nothing where the system has no such thing."""
    try:
        opened = [os.pidfd_open(pid)]
    except (AttributeError, OSError):
        opened = []
    try:
        yield opened
    finally:
        for number in opened:
            os.close(number)


def _tell(log: Path, text: str, end: str) -> str:
    with suppress(OSError), log.open("a") as file:  # on a full disk the end counts, not the words
        file.write(f"\n{text}\n")
    return end


def _made_all(folder: Path, plan: dict[str, Any]) -> bool:
    missing = [name for name in plan["must_make"] if not (folder / "output" / name).exists()]
    if missing:
        _tell(folder / "log.txt", f"The job ended without making {', '.join(missing)}.", "")
    return not missing


def _finish(folder: Path, state: str, code: int | None, seconds: float = 0.0, **more: Any) -> None:
    """The last word; `seconds` is how long the job ran, by a clock that nobody can set."""
    told = {"state": state, "exit_code": code, "ended": time.time(), "seconds": round(seconds, 3)}
    update_status(folder, **told, **more)
    _room_of(folder).give_up()


def _failure(folder: Path, plan: dict[str, Any], code: int | None, timed_out: bool) -> dict[str, Any]:
    timeout = plan["timeout_s"] if timed_out else None
    log = _last_try(_tail(folder / "log.txt")) + _full_disk(folder)
    return classify(mask(log), code, timeout_s=timeout, method=plan["method"])


def _full_disk(folder: Path) -> str:
    """What the job itself could not write into its log any more."""
    disk = os.statvfs(folder)
    left = disk.f_bavail * disk.f_frsize
    return f"\n{os.strerror(errno.ENOSPC)}: {left} bytes are left.\n" if left < _FULL_BYTES else ""


def _last_try(log: str) -> str:
    """Of a log the part of its last try: what an earlier one died of is no cause of this one's end."""
    found = list(re.finditer(r"^Try \d+, after \w+: .*$", log, re.M))
    return log[found[-1].end() :] if found else log


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


def _cancelled(folder: Path) -> bool:
    return (folder / "cancel").exists()


def _quietly(call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    try:
        call(*arguments, **options)
    except OSError:
        pass  # It is gone already.


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
