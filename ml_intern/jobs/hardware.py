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


def gpu_capability() -> float | None:
    """The lowest compute capability of this machine's GPUs; None where there are none or nobody knows."""
    told = _ask(shutil.which("nvidia-smi"), "compute_cap")
    found = [float(word) for word in told.split("; ") if word.replace(".", "", 1).isdigit()]
    return min(found, default=None)


def gpus_of(spec: JobSpec) -> int:
    """How many GPUs a job holds while it runs."""
    told = (spec.config, spec.config.get("trainer") or {})
    return 0 if any(t.get("use_cpu") for t in told) or not gpu_name() else 1


@lru_cache(maxsize=4)
def _ask(program: str | None, fields: str = "name,memory.total") -> str:
    if program is None:
        return ""
    asked = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=_ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(done.stdout.strip().splitlines()) if done.returncode == 0 else ""
