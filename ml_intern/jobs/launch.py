"""How a job's folder is made and what its supervisor is told."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ml_intern.jobs.hardware import gpu_count, gpus_of, processes_of, slots_here
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.jobs.slots import GPU_HERE
from ml_intern.sandbox import tree
from ml_intern.sandbox.base import Launch, Limits, Mounts, Sandbox
from ml_intern.sandbox.process import run_quietly
from ml_intern.settings import Settings
from ml_intern.workspace.room import Room

RECIPES = Path(__file__).parent / "recipes"
ROOM_BYTES = 64 << 10
MAX_LOG_BYTES = 512 * 2**20
_MUST_MAKE = {
    method: ["result.json", "model/config.json"] for method in ("pretrain", "sft", "dpo", "reward", "grpo")
}


def recipes() -> list[str]:
    """The recipes there are."""
    return sorted(p.stem for p in RECIPES.glob("[!_]*.py"))


def recipe_files(method: str) -> list[Path]:
    """A recipe and the neighbours that recipes share: all that it needs to run elsewhere."""
    return [RECIPES / f"{method}.py", *sorted(RECIPES.glob("_[!_]*.py"))]


def make_folder(folder: Path, spec: JobSpec) -> None:
    """Make a job's folder beside its place and rename it: it is whole or not there."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _write_folder(fresh, folder, spec)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)  # half a folder must not take the room that is left
        raise
    fresh.rename(folder)


def _write_folder(fresh: Path, folder: Path, spec: JobSpec) -> None:
    for name in ("output", "checkpoints"):
        (fresh / name).mkdir(parents=True)
    for name in ("log.txt", "metrics.jsonl", "alive"):
        (fresh / name).touch()
    if spec.method == "script":
        (fresh / "script.py").write_text(spec.config["code"])
    places = {
        "output_dir": str(folder / "output"),
        "checkpoint_dir": str(folder / "checkpoints"),
        "metrics_file": str(folder / "metrics.jsonl"),
    }
    (fresh / "config.json").write_text(json.dumps({**spec.config, **places}, indent=1, default=str))
    (fresh / "spec.json").write_text(spec.model_dump_json(indent=1))
    (fresh / "status.json").write_text(json.dumps(first_status(folder.name, spec)))
    room_of(fresh).take()


def room_of(folder: Path) -> Room:
    """What a job's folder keeps for its end: a job that fills the disk must not take its own status."""
    return Room(folder / "room", ROOM_BYTES)


def first_status(job: str, spec: JobSpec) -> dict[str, Any]:
    """A job that waits."""
    status = JobStatus(
        id=job,
        name=spec.name,
        method=spec.method,
        state="queued",
        experiment=spec.experiment,
        created=time.time(),
    )
    return status.model_dump(mode="json")


def launch_plan(
    folder: Path, spec: JobSpec, sandbox: Sandbox | None, settings: Settings, given: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the supervisor reads from a file, and what it is told in its environment alone.

    The file has the command with its walls, the limits and the queue; the environment what may be secret.

    Args:
        folder: The job's.
        spec: What was asked.
        sandbox: The walls; None for none.
        settings: Limits, slots and the state folder.
        given: The GPUs that another queue has chosen, as CUDA_VISIBLE_DEVICES; None leaves it to the slots.
    """
    gpus = gpu_count() if given is None and gpus_of(spec) else 0
    chosen = GPU_HERE if gpus else given
    env = _environment(folder, spec) | ({"CUDA_VISIBLE_DEVICES": chosen} if chosen else {})
    start = Launch(_argv(folder, spec, sys.executable))
    if sandbox is not None:
        # The job's folder itself is not shown: a job cannot write its own status or read its own limits.
        mounts = Mounts(
            workspace=folder / "output",
            read_only=[folder / "config.json", folder / "script.py", RECIPES, *spec.inputs],
            writable=[folder / "checkpoints", folder / "metrics.jsonl"],
            hidden=[settings.state, *settings.closed_dirs],
        )
        start = sandbox.launch(_argv(folder, spec, sandbox.python), mounts, _limits(spec, settings), env)
    plan = {
        "argv": start.argv,
        "end": start.end,
        "pass_on": sorted(start.env),
        "method": spec.method,
        "env": {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder / "output"),
            **env,
        },
        "cwd": str(folder / "output"),
        "timeout_s": spec.timeout_s,
        "slots": slots_here(settings) if gpus else settings.slots,
        "takes": processes_of(spec),
        "slots_folder": str(settings.state / "slots"),
        "must_make": _MUST_MAKE.get(spec.method, []),
        "max_log_bytes": MAX_LOG_BYTES,
        "growth_mb": settings.job_disk_mb,
        "priority": spec.priority,
        "gpus": [str(number) for number in range(gpus)],
        "restarts": spec.restarts,
        "stop_when": spec.stop_when,
        "alerts": settings.alerts,
        "memory_mb": settings.job_memory_mb if sandbox is not None else None,
        "estimated_memory_mb": spec.config.get("estimated_memory_mb"),
    }
    return plan, start.env


def _limits(spec: JobSpec, settings: Settings) -> Limits:
    return Limits(
        memory_mb=settings.job_memory_mb,
        file_mb=settings.job_file_mb,
        growth_mb=settings.job_disk_mb,
        network=spec.network,
        gpus=gpus_of(spec) > 0,
    )


def mark(folder: Path) -> str:
    """A word in the environment of all of a job's processes, by which strays are known."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def end_left_over(folder: Path, sandbox: Sandbox | None) -> None:
    """End what a job left when its supervisor is no more: its container, and processes with its mark."""
    if (folder / "launch.json").exists():
        env = {**os.environ, **(sandbox.launcher_env() if sandbox else {})}
        run_quietly(json.loads((folder / "launch.json").read_text()).get("end", []), env)
    tree.kill(tree.marked(f"ML_INTERN_JOB={mark(folder)}"))


def _argv(folder: Path, spec: JobSpec, python: str) -> list[str]:
    if spec.method == "script":
        return [python, str(folder / "script.py"), *map(str, spec.config.get("args", []))]
    return [python, str(RECIPES / f"{spec.method}.py"), str(folder / "config.json")]


def _environment(folder: Path, spec: JobSpec) -> dict[str, str]:
    """What a job's process finds beside what the sandbox sets; no credential, nothing of the shell."""
    threads = str(max(1, spec.threads))
    return {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "0" if spec.network else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "ML_INTERN_JOB": mark(folder),
        "ML_INTERN_METRICS": str(folder / "metrics.jsonl"),
        "ML_INTERN_SEED": str(spec.config.get("seed", 0)),
    }
