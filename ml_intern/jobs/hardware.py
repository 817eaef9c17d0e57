"""What this machine has for jobs. Nothing here imports torch."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache

from ml_intern.jobs.model import JobSpec

_ASK_S = 10.0


def gpu_name() -> str:
    """The GPUs of this machine in words; empty where there are none."""
    return _ask(shutil.which("nvidia-smi"))


def gpu_count() -> int:
    """How many GPUs this machine has."""
    return len(gpu_name().split("; ")) if gpu_name() else 0


def gpus_of(spec: JobSpec) -> int:
    """How many GPUs a job holds while it runs."""
    told = (spec.config, spec.config.get("trainer") or {})
    return 0 if any(t.get("use_cpu") for t in told) or not gpu_name() else 1


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
