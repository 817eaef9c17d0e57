"""What a Slurm cluster says of itself and of jobs, asked through its own programs, each within a time limit.

submitit asks ``sacct`` alone and keeps the answers: without accounting it calls every state unknown.
"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ml_intern.errors import ToolError

ANSWER_S = 15.0
GONE = "GONE"
"""Slurm does not know the job any more."""
SILENT = "SILENT"
"""Slurm did not answer."""

WAITING = frozenset({
    "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT",
    "SUSPENDED",
})  # fmt: skip
ACTIVE = WAITING | {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING"}

_LIMIT = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)|(?:(\d+)-)(\d+)")
_NOT_HERE = 'Start ml-intern on a login node of the cluster, or use hardware="local".'


@dataclass(frozen=True)
class Partition:
    """A partition as ``sinfo`` shows it; of several kinds of nodes the largest.

    Attributes:
        name: Its name.
        up: Whether it takes jobs.
        default: Whether it is taken where none is named.
        limit_s: The longest that a job may take; None: no limit.
        nodes: How many.
        cpus: Of a node.
        memory_mb: Of a node.
        gpus: Of a node.
        gpu: Their type, where Slurm knows it.
    """

    name: str
    up: bool
    default: bool
    limit_s: float | None
    nodes: int
    cpus: int
    memory_mb: int
    gpus: int
    gpu: str


def need_slurm() -> None:
    """Whether this machine can reach a cluster.

    Raises:
        ToolError: A program of Slurm's is missing.
    """
    missing = [name for name in ("sbatch", "squeue", "sinfo", "scancel") if shutil.which(name) is None]
    if missing:
        raise ToolError(f"There is no {missing[0]} on this machine, so there is no Slurm cluster.", _NOT_HERE)


def partitions() -> list[Partition]:
    """The partitions of the cluster.

    Raises:
        ToolError: There is no Slurm here, or it does not answer.
    """
    need_slurm()
    done = ask("sinfo", "--noheader", "--format=%P|%a|%l|%D|%c|%m|%G")
    if done.returncode:
        raise ToolError(f"The Slurm cluster does not answer: {first_line(done.stderr)}.", _NOT_HERE)
    found: dict[str, Partition] = {}
    for line in done.stdout.splitlines():
        row = _partition(line.split("|"))
        known = found.get(row.name)
        found[row.name] = row if known is None else _both(known, row)
    return list(found.values())


def state_of(job: str) -> str:
    """The state of a job in Slurm's words; `GONE` where nobody knows it, `SILENT` where nobody answers."""
    done = ask("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%T")
    if done.returncode == 0 and done.stdout.strip():
        return done.stdout.split()[0]
    if done.returncode and "invalid job id" not in done.stderr.lower():
        return SILENT
    if shutil.which("sacct"):
        told = ask("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State")
        if told.returncode == 0 and told.stdout.strip():
            return told.stdout.split()[0]
    shown = ask("scontrol", "--oneliner", "show", "job", job)
    state = re.search(r"\bJobState=(\w+)", shown.stdout)
    return state[1] if state else GONE


def named(name: str) -> list[str]:
    """Ids of the jobs with this name, also of those that have ended, as far as Slurm still knows them."""
    queued = ask("squeue", "--noheader", "--array", f"--name={name}", "--format=%i").stdout.split()
    if queued:
        return queued
    past = ask("sacct", "--noheader", "--parsable2", "--allocations", f"--name={name}", "--format=JobID")
    return past.stdout.split() if past.returncode == 0 else []


def check_account(account: str) -> None:
    """Whether the person may use an account; where the cluster keeps no accounts every name passes.

    Raises:
        ToolError: No; names those that there are.
    """
    if shutil.which("sacctmgr") is None:
        return
    user = getpass.getuser()
    done = ask("sacctmgr", "--noheader", "--parsable2", "show", "assoc", f"user={user}", "format=account")
    known = sorted(set(done.stdout.split()))
    if done.returncode == 0 and account not in known:
        told = f"there are {', '.join(known)}" if known else f"{user} has none"
        raise ToolError(f"You have no account {account!r} on this cluster; {told}.", "Set slurm_account.")


def ask(*words: str, seconds: float = ANSWER_S) -> subprocess.CompletedProcess[str]:
    """Run a program of Slurm's; no answer in time is told as exit code 124."""
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"{words[0]} gave no answer in {seconds:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]}: {error.strerror}")


def first_line(said: str) -> str:
    """What a program complained of, in one line without its own name."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line).strip() for line in said.splitlines()]
    return next((line.rstrip(".") for line in lines if line), "it gave no reason")


def _partition(row: Sequence[str]) -> Partition:
    name, up, limit, nodes, cpus, memory, gres = (*row, *[""] * 7)[:7]
    gpu = re.search(r"gpu(?::([a-zA-Z][\w.-]*))?:(\d+)", gres)
    return Partition(
        name=name.rstrip("*"),
        up=up == "up",
        default=name.endswith("*"),
        limit_s=seconds_of(limit),
        nodes=_number(nodes),
        cpus=_number(cpus),
        memory_mb=_number(memory),
        gpus=int(gpu[2]) if gpu else 0,
        gpu=(gpu[1] or "") if gpu else "",
    )


def _both(a: Partition, b: Partition) -> Partition:
    larger = max(a, b, key=lambda p: (p.gpus, p.cpus, p.memory_mb))
    return Partition(**{**vars(larger), "nodes": a.nodes + b.nodes, "default": a.default or b.default})


def _number(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def seconds_of(limit: str) -> float | None:
    """A time limit as Slurm writes it: ``MINUTES:SECONDS``, ``HOURS:…`` and ``DAYS-…``; None: no limit."""
    found = _LIMIT.fullmatch(limit.strip())
    if found is None:
        return None
    days, hours, minutes, seconds, whole_days, rest = (int(part or 0) for part in found.groups())
    return float(((days + whole_days) * 24 + hours + rest) * 3600 + minutes * 60 + seconds)


class Recently:
    """Answers of `state_of` that are a moment old: who waits for a job asks ten times a second."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._known: dict[str, tuple[float, str]] = {}

    def state_of(self, job: str) -> str:
        """The state, at the most this old."""
        asked, state = self._known.get(job, (-1e9, ""))
        if time.monotonic() - asked > self._seconds:
            state = state_of(job)
            self._known[job] = (time.monotonic(), state)
        return state

    def forget(self, job: str) -> None:
        """Ask again next time."""
        self._known.pop(job, None)
