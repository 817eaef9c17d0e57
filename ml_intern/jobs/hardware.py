"""What this machine has for jobs. Nothing here imports torch."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from typing import TYPE_CHECKING

from ml_intern.jobs.model import JobSpec, Place

if TYPE_CHECKING:
    from ml_intern.settings import Settings

_ASK_S = 10.0


def gpu_name() -> str:
    """The GPUs of this machine in words; empty where there are none."""
    return _ask(shutil.which("nvidia-smi"))


def gpu_count() -> int:
    """How many GPUs this machine has."""
    return len([name for name in gpu_name().split(";") if name.strip()])


def slots_here(settings: Settings) -> int:
    """Jobs that may run at one time: one a GPU where there are any, else as many as the CPU bears."""
    return settings.job_slots or gpu_count() or settings.slots


def gpus_at(place: Place) -> int:
    """How many GPUs there are for a job at a place."""
    return place.gpus if place.away else gpu_count()


def gpus_of(spec: JobSpec) -> int:
    """How many GPUs a job holds while it runs."""
    if spec.place.away:
        return spec.place.gpus
    told = (spec.config, spec.config.get("trainer") or {})
    if any(t.get("use_cpu") for t in told) or not gpu_name():
        return 0
    return min(processes_of(spec), gpu_count())


def processes_of(spec: JobSpec) -> int:
    """How many processes train together; each takes a slot, with a GPU or a share of the CPU."""
    return max(1, int(spec.config.get("processes") or 1))


@lru_cache(maxsize=4)
def _ask(program: str | None) -> str:
    if program is None:
        return ""
    asked = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=_ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(done.stdout.strip().splitlines()) if done.returncode == 0 else ""
