"""A Slurm cluster, through submitit: the job's folder on the shared disk is the same folder on the node.

What has to be known of a job stands in ``slurm.json`` of its folder: the name under which it was submitted,
written before, and Slurm's number, written after. A process that finds the name alone asks Slurm for it, so a
crash in between submits nothing twice.
"""

from __future__ import annotations

import math
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_intern
from ml_intern.errors import ToolError
from ml_intern.jobs.backends.base import Site, ended, failure
from ml_intern.jobs.backends.node import HISTORY, NodeJob, held
from ml_intern.jobs.backends.squeue import (
    ACTIVE,
    GONE,
    SILENT,
    WAITING,
    Partition,
    Recently,
    ask,
    check_account,
    first_line,
    named,
    need_slurm,
    partitions,
)
from ml_intern.jobs.folder import read_json, read_spec, read_status, write_json, write_status
from ml_intern.jobs.model import FailureClass, JobSpec, Place
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.settings import Settings

NOTE = "slurm.json"
MACHINERY = ".slurm"
"""Folder beside the jobs where submitit keeps its scripts and what they print."""

_SPARE_S = 120.0
"""For the start of the job and its last words: the supervisor's own limit comes first."""
_WARNING_S = 90
_STARTS = 1_000
_GRACE_S = 5.0

# The variables of whoever submits are not sent along, but Slurm may read the person's login scripts on the
# node. So the batch script begins again with what it needs alone: none of its processes holds a credential.
_CLEAN = """
if [ -z "$ML_INTERN_CLEAN" ]; then
  kept=()
  while IFS= read -r -d '' pair; do
    case $pair in SLURM*|PATH=*|LD_LIBRARY_PATH=*|CUDA_VISIBLE_DEVICES=*|TMPDIR=*) kept+=("$pair") ;; esac
  done < <(env -0)
  exec env -i ML_INTERN_CLEAN=1 LANG=C.UTF-8 "${kept[@]}" /bin/bash "$0"
fi
""".strip()

_KINDS: dict[str, tuple[FailureClass, str]] = {
    "TIMEOUT": ("timeout", "Slurm ended the job at its time limit."),
    "DEADLINE": ("timeout", "Slurm ended the job at its deadline."),
    "OUT_OF_MEMORY": ("out_of_memory", "Slurm ended the job: it used more memory than it had asked for."),
    "NODE_FAIL": ("lost", "The node of the job was lost, and Slurm did not start it again."),
    "BOOT_FAIL": ("lost", "The node of the job did not start."),
    "PREEMPTED": ("killed", "Slurm took the node for another job."),
}


class OnSlurm:
    """Jobs on the cluster that this machine's Slurm programs reach."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._recently = Recently()

    # Before anything starts

    def check(self, spec: JobSpec) -> None:
        """Whether the cluster would take the job: its programs, partition, account and size.

        Raises:
            ToolError: No; says which of them, and what there is.
        """
        need_submitit()
        partition = find_partition(spec.place.partition)
        if spec.place.account:
            check_account(spec.place.account)
        options = _options(spec.place, self._parameters([spec], partition))
        done = ask("sbatch", "--test-only", *options, "--wrap=true")
        if done.returncode:
            raise ToolError(
                f"Slurm would not take the job: {first_line(done.stderr)}.",
                "list_hardware() shows the partitions with their limits.",
            )

    # What a backend does

    def submit(self, folders: Sequence[Path]) -> None:
        """Submit jobs, several as one array."""
        fresh = [folder for folder in folders if not self._finds(folder)]
        if not fresh:
            return
        specs = [read_spec(folder) for folder in fresh]
        name = f"{fresh[0].name}-{secrets.token_hex(3)}"
        for index, folder in enumerate(fresh):
            (folder / HISTORY).unlink(missing_ok=True)  # One that is resumed has its whole time again.
            write_json(folder / NOTE, {"name": name, "index": index, "of": len(fresh), "id": None})
        try:
            ids = self._submit(name, fresh, specs)
        except ToolError:
            for folder in fresh:
                (folder / NOTE).unlink()
            raise
        for folder, id in zip(fresh, ids, strict=True):
            write_json(folder / NOTE, {**read_json(folder / NOTE), "id": id})

    def submitted(self, folder: Path) -> bool:
        """Whether Slurm has been given the job."""
        note = read_json(folder / NOTE)
        return note.get("id") is not None or (bool(note) and self._finds(folder))

    def status(self, folder: Path) -> dict[str, Any]:
        """What the supervisor on the node has written, corrected by what Slurm knows.

        A job that was put back into the queue waits again, whatever its last start has left in the file.
        """
        raw = self._known(folder)
        return raw | {"seconds": held(folder, raw)}

    def _known(self, folder: Path) -> dict[str, Any]:
        raw = read_status(folder)
        id = read_json(folder / NOTE).get("id")
        if raw["state"] in ("succeeded", "cancelled") or id is None or raw.get("settled"):
            return raw
        state = self._recently.state_of(id)
        if state == SILENT:
            return raw
        if state in ACTIVE:
            raw = read_status(folder)
            back = {"ended": None, "failure": None, "exit_code": None}
            if state in WAITING:
                return raw | back | {"state": "queued"}
            return raw | back | {"state": "running"} if raw["state"] == "failed" else raw
        return self._settle(folder, id, state)

    def fetch(self, folder: Path) -> None:
        """Log and metrics are written in place, on the shared disk."""

    def collect(self, folder: Path) -> None:
        """What the job makes is made in place."""

    def cancel(self, folder: Path) -> None:
        """Leave the queue; a job that runs ends itself, and is ended by Slurm where it does not."""
        id = read_json(folder / NOTE).get("id")
        if id is None:
            write_status(folder, read_status(folder) | ended("cancelled"))
            return
        deadline = time.monotonic() + _GRACE_S
        while self._recently.state_of(id) in ACTIVE - WAITING and time.monotonic() < deadline:
            if self._known(folder)["state"] == "cancelled":
                return
            time.sleep(0.1)
        ask("scancel", id)
        self._recently.forget(id)

    # Small parts

    def _finds(self, folder: Path) -> bool:
        """Whether Slurm knows the job from an earlier submission and has not ended it; writes its number."""
        note = read_json(folder / NOTE)
        if not note:
            return False
        if note["id"] is None:
            ids = named(note["name"])
            wanted = [id for id in ids if note["of"] == 1 or id.endswith(f"_{note['index']}")]
            if not wanted:
                return False
            note["id"] = wanted[0]
            write_json(folder / NOTE, note)
        return self._recently.state_of(note["id"]) in ACTIVE

    def _submit(self, name: str, folders: Sequence[Path], specs: Sequence[JobSpec]) -> list[str]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = self._executor(name, folders[0].parent / MACHINERY, specs)
        settings = for_nodes(self.site.settings)
        try:
            with executor.batch():
                jobs = [executor.submit(NodeJob(folder, settings)) for folder in folders]
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            why = first_line(str(error).partition("stderr:")[2] or str(error))
            raise ToolError(
                f"Slurm did not take the job: {why}.", "list_hardware() shows the partitions."
            ) from None
        return [str(job.job_id) for job in jobs]

    def _executor(self, name: str, folder: Path, specs: Sequence[JobSpec]) -> Any:
        from submitit import SlurmExecutor

        folder.mkdir(parents=True, exist_ok=True)
        executor = SlurmExecutor(folder, _STARTS, python=f"exec {shlex.quote(sys.executable)}")
        place = specs[0].place
        root = Path(ml_intern.__file__).parents[1]
        size = self._parameters(specs, find_partition(place.partition))
        executor.update_parameters(
            job_name=name,
            time=size["time"],
            cpus_per_task=size["cpus-per-task"],
            mem=size["mem"],
            array_parallelism=max(1, len(specs)),
            setup=[*_CLEAN.splitlines(), f"export PYTHONPATH={shlex.quote(str(root))}"],
            # In place of the batch shell and without srun: so Slurm's warning reaches submitit itself, and a
            # job that was put back does not depend on the steps of its earlier start.
            use_srun=False,
            additional_parameters={
                "signal": f"B:USR2@{min(_WARNING_S, size['time'] * 60 // 4)}",
                "export": "NIL",
                "requeue": True,
                "chdir": str(folder),
                **_named(place),
                **self.site.settings.slurm_options,
            },
        )
        return executor

    def _parameters(self, specs: Sequence[JobSpec], partition: Partition) -> dict[str, Any]:
        """Size and time of the largest: tasks of an array are all alike."""
        seconds = max(spec.timeout_s for spec in specs) + _SPARE_S
        limit = partition.limit_s or math.inf
        return {
            "time": max(1, math.floor(limit / 60) if seconds > limit else math.ceil(seconds / 60)),
            "cpus-per-task": max(spec.threads for spec in specs),
            "mem": f"{self.site.settings.job_memory_mb}M",
        }

    def _settle(self, folder: Path, id: str, state: str) -> dict[str, Any]:
        """Slurm has ended the job: write down how, where the supervisor could not."""
        with self.site.locked():
            raw = read_status(folder)
            if raw["state"] in ("succeeded", "cancelled"):
                return raw
            if (folder / "cancel").exists():
                raw |= ended("cancelled", failure=None)
            elif raw["state"] != "failed" or state in _KINDS:
                _bring_words(folder, id)
                kind, told = _KINDS.get(state, ("lost", _gone(state)))
                raw |= ended("failed", failure=failure(folder, kind, told, "Launch it again, or resume it."))
            raw["settled"] = True
            write_status(folder, raw)
            return raw


def need_submitit() -> None:
    """Whether submitit is installed.

    Raises:
        ToolError: It is not.
    """
    need_slurm()
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ToolError(
            "Jobs on a cluster need submitit, which is not installed.", "pip install 'ml-intern[slurm]'"
        ) from None


def find_partition(name: str | None) -> Partition:
    """The partition of that name, or the cluster's default.

    Raises:
        ToolError: There is none; names those that there are.
    """
    known = partitions()
    found = [p for p in known if (p.name == name if name else p.default)]
    names = [p.name for p in known]
    there = f"Partitions: {', '.join(names) or 'none'}."
    if not found and name:
        raise ToolError(f"The cluster has no partition {name!r}{did_you_mean(name, names)}.", there)
    if not found:
        raise ToolError("The cluster has no default partition.", f"Name one. {there}")
    if not found[0].up:
        raise ToolError(f"The partition {found[0].name!r} takes no jobs now.", there)
    return found[0]


def for_nodes(settings: Settings) -> Settings:
    """The settings that a job needs, and no more: they lie on the shared disk."""
    wanted = {n: v for n, v in settings if n == "state" or n.startswith(("job_", "sandbox", "alerts"))}
    return type(settings).model_construct(**wanted)


def _named(place: Place) -> dict[str, Any]:
    """The options of sbatch that say where a job goes."""
    given = {"partition": place.partition, "account": place.account, "gpus-per-node": place.gpus or None}
    return {name: value for name, value in given.items() if value is not None}


def _options(place: Place, parameters: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in {**parameters, **_named(place)}.items()]


def _bring_words(folder: Path, id: str) -> None:
    """What the batch script complained of, where the job's own log is empty."""
    if (folder / "log.txt").stat().st_size:
        return
    errors = folder.parent / MACHINERY / f"{id}_0_log.err"
    if errors.exists():
        with errors.open("rb") as source, (folder / "log.txt").open("ab") as log:
            shutil.copyfileobj(source, log)


def _gone(state: str) -> str:
    if state == GONE:
        return "Slurm does not know the job any more, and it has left no result."
    return (
        f"Slurm says {state}, and the job has left no result: the node may not see its folder "
        "(--state must name a disk that all nodes share)."
    )
