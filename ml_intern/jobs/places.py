"""Which place a job goes to: as it was asked, or chosen, with the reason."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ml_intern.durations import show_duration
from ml_intern.errors import InternError, ToolError
from ml_intern.jobs.estimate import CPU_TFLOPS, Workload
from ml_intern.jobs.flavors import Flavor, flavor, flavors, taken, told
from ml_intern.jobs.hardware import gpu_name
from ml_intern.jobs.model import Place
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.hub.client import Hub
    from ml_intern.settings import Settings

HERE = ("auto", "local", "cpu", "gpu")
REMOTE = ("docker", "slurm", "hf-jobs")
_FITS = 0.9
"""Of a GPU's memory: the rest is the driver's, and the activations'."""

ON_CPU = "so it runs on the CPU"
_INSTALL_S, _LEAST_S, _MARGIN = 600.0, 900.0, 2.0


def read_place(settings: Settings, hub: Hub | None, hardware: str) -> Place:
    """The place that a word names: ``docker``, ``slurm:PARTITION``, ``hf-jobs:FLAVOR``, a flavor alone.

    Raises:
        ToolError: There is no such place; one line with the nearest.
    """
    kind, _, detail = hardware.partition(":")
    if hardware in HERE or hardware == "docker":
        return Place(compute="docker" if hardware == "docker" else "local")
    if kind == "slurm":
        return _on_cluster(settings, detail or None)
    if kind == "hf-jobs" or (not detail and kind in flavors()):
        return _rented(settings, hub, detail if kind == "hf-jobs" else kind)
    known = [*HERE, *REMOTE, *flavors()]
    raise ToolError(
        f"There is no hardware {hardware!r}{did_you_mean(hardware, known)}.",
        "list_hardware() shows what there is: auto, cpu, gpu, docker, slurm:PARTITION, hf-jobs:FLAVOR.",
    )


def choose(settings: Settings, hub: Hub | None, work: Workload, usd_left: float | None) -> Place:
    """The place for a job that named none, with the reason in `why`.

    In this order: what the setting `compute` says; a GPU of this machine that fits; the configured cluster;
    HF Jobs, where a flavor is set and the budget has room; this machine's CPU.
    """
    if settings.compute != "auto":
        place = read_place(settings, hub, settings.compute)
        return place.model_copy(update={"why": f"the setting compute says {settings.compute}"})
    no = []
    gpu = gpu_name()
    if gpu and _fits(work, gpu_gigabytes(gpu)):
        return Place(why=f"this machine's GPU fits it ({gpu})")
    no.append(f"its GPU is too small, {work.gigabytes:.0f} GB are needed" if gpu else "there is no GPU here")
    for name, asked in (("slurm", settings.slurm_partition), ("hf-jobs", settings.hf_flavor)):
        if not asked:
            continue
        try:
            place = read_place(settings, hub, name)
            _affordable(place, usd_left)
        except InternError as error:
            no.append(f"not {name}: {error.message.rstrip('.')}")
            continue
        return place.model_copy(update={"why": "; ".join(no)})
    return Place(why="; ".join([*no, ON_CPU]))


def smaller_plan(work: Workload, timeout_s: float) -> str:
    """What a training on this CPU could be instead, where it would not end in time; else nothing."""
    seconds = work.seconds_on(CPU_TFLOPS * (os.cpu_count() or 1))
    if seconds is None or seconds < timeout_s / 2:
        return ""
    share = timeout_s / 2 / seconds
    times = show_duration(seconds), show_duration(timeout_s)
    said = f"on this CPU the training would take about {times[0]}, and it may take {times[1]}"
    fewer = f"max_steps={max(1, int(work.steps * share))}" if work.steps else f"{share:.1%} of the rows"
    size = f"a model of {(work.parameters or 0) * share / 1e6:.1f}M parameters"
    return f"{said}: {fewer} would fit, or {size}; nothing was changed"


def sized_timeout(place: Place, work: Workload, most_s: float) -> float:
    """Seconds to ask of a rented machine: twice the estimate and the time to install, at most `most_s`."""
    machine = flavors().get(place.flavor or "")
    seconds = work.seconds_on(machine.tflops * max(1, machine.gpus)) if machine else None
    return most_s if seconds is None else min(most_s, max(_LEAST_S, _MARGIN * seconds + _INSTALL_S))


def memory_mb(place: Place, settings: Settings) -> float:
    """What a training may use there, where that is known: a GPU's memory, or a job's of this machine."""
    machine = flavors().get(place.flavor or "")
    if machine is not None:
        return 1024 * (machine.gpu_gb * machine.gpus or machine.memory_gb)
    gpu = gpu_gigabytes(gpu_name()) if place.compute in ("local", "docker") else 0.0
    return max(settings.job_memory_mb, gpu * 1024)


def known_flavors(hub: Hub | None) -> tuple[Mapping[str, Flavor], str]:
    """Machines with their prices, and how fresh these are."""
    if hub is not None and not hub.embedded and hub.token:
        found = _live(hub.endpoint, hub)
        if found is not None:
            return found, "as the Hub says"
    return flavors(), f"as of {taken()}"


def gpu_gigabytes(told_by_driver: str) -> float:
    """Memory of the smallest GPU in the driver's words: ``NVIDIA H100, 81559 MiB; …``."""
    sizes = [
        float(n) * (1 / 1024 if u[0] == "M" else 1)
        for n, u in re.findall(r"([\d.]+)\s*(MiB|GiB|GB|MB)", told_by_driver)
    ]
    return min(sizes, default=0.0)


def _fits(work: Workload, gigabytes: float) -> bool:
    return work.gigabytes is None or not gigabytes or work.gigabytes <= _FITS * gigabytes


def _affordable(place: Place, usd_left: float | None) -> None:
    """Whether there is money for a quarter of an hour at least.

    Raises:
        ToolError: There is not.
    """
    least = (place.usd_per_hour or 0.0) * _LEAST_S / 3600
    if usd_left is not None and least > usd_left:
        raise ToolError(f"it costs {place.usd_per_hour:g} usd an hour, and {usd_left:g} usd are left")


def _on_cluster(settings: Settings, partition: str | None) -> Place:
    from ml_intern.jobs.backends.slurm import find_partition

    found = find_partition(partition or settings.slurm_partition)
    gpus = settings.slurm_gpus if settings.slurm_gpus is not None else min(1, found.gpus)
    return Place(compute="slurm", partition=found.name, account=settings.slurm_account, gpus=gpus)


def _rented(settings: Settings, hub: Hub | None, name: str) -> Place:
    name = name or settings.hf_flavor or ""
    known, _ = known_flavors(hub)
    if not name:
        raise ToolError(
            "HF Jobs needs a flavor.",
            'Say hardware="hf-jobs:a10g-small", or set hf_flavor; list_hardware() shows them.',
        )
    if hub is None or not hub.token:
        raise ToolError("HF Jobs needs a token, and there is none.", "Set HF_TOKEN, or run: hf auth login.")
    machine = flavor(name, known)
    return Place(
        compute="hf-jobs",
        flavor=name,
        gpus=machine.gpus,
        namespace=settings.hf_namespace,
        usd_per_hour=machine.usd_per_hour,
    )


@lru_cache(maxsize=4)
def _live(endpoint: str, hub: Any) -> Mapping[str, Flavor] | None:
    """The Hub's own list, asked once a process; None where it does not say."""
    import httpx

    try:
        with hub.reach("the machines of HF Jobs"):
            return told(hub.api.list_jobs_hardware())
    except (httpx.HTTPError, OSError, InternError, KeyError, TypeError, ValueError):
        return None
