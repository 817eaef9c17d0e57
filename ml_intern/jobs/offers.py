"""All places where jobs can run from here, with what they have and cost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError
from ml_intern.jobs.hardware import gpu_name
from ml_intern.jobs.places import known_flavors

if TYPE_CHECKING:
    from ml_intern.hub.client import Hub
    from ml_intern.settings import Settings


def offers(settings: Settings, hub: Hub | None) -> Iterator[dict[str, Any]]:
    """One row a place: what ``hardware`` takes as its name, and what stands there."""
    yield _here("local")
    if _has_docker():
        yield {**_here("docker"), "note": f"in containers of the image {settings.docker_image}"}
    yield from _partitions()
    wanted = settings.hf_flavor is not None or settings.compute == "hf-jobs"
    if hub is not None and (wanted or not hub.embedded) and hub.token:
        yield from _rented(hub)


def _here(name: str) -> dict[str, Any]:
    gpu = gpu_name()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "name": name,
        "kind": "gpu" if gpu else "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory, 1),
        "gpu": gpu or "none",
    }


def _has_docker() -> bool:
    if shutil.which("docker") is None:
        return False
    from ml_intern.sandbox.engine import Engine

    try:
        Engine.find()
    except InternError:
        return False
    return True


def _partitions() -> Iterator[dict[str, Any]]:
    from ml_intern.durations import show_duration
    from ml_intern.jobs.backends.squeue import partitions

    if shutil.which("sinfo") is None:
        return
    try:
        found = partitions()
    except InternError:
        return
    for row in found:
        limit = "no time limit" if row.limit_s is None else f"at most {show_duration(row.limit_s)}"
        yield {
            "name": f"slurm:{row.name}",
            "kind": "gpu" if row.gpus else "cpu",
            "cores": row.cpus,
            "memory_gb": round(row.memory_mb / 1024, 1),
            "gpu": f"{row.gpus} x {row.gpu or 'GPU'} a node" if row.gpus else "none",
            "note": f"{row.nodes} nodes, {limit}{'' if row.up else ', closed now'}",
        }


def _rented(hub: Hub) -> Iterator[dict[str, Any]]:
    known, fresh = known_flavors(hub)
    for row in known.values():
        yield {
            "name": f"hf-jobs:{row.name}",
            "kind": "gpu" if row.gpus else "cpu",
            "cores": row.cores,
            "memory_gb": row.memory_gb,
            "gpu": f"{row.gpus} x {row.gpu}, {row.gpu_gb:g} GB each" if row.gpus else "none",
            "usd_per_hour": row.usd_per_hour,
            "note": f"price {fresh}",
        }
