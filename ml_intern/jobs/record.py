"""What the ledger is told of a training: what was asked when it starts, what it cost when it has ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.jobs.curves import is_number
from ml_intern.jobs.launch import recipe_files
from ml_intern.jobs.model import FINISHED, JobSpec, JobStatus
from ml_intern.jobs.preflight import ALIASES
from ml_intern.ledger.configurations import differences

if TYPE_CHECKING:
    from ml_intern.jobs.local import Jobs
    from ml_intern.ledger import Ledger

_FACTS = ("parameters", "steps", "tokens_seen", "epochs", "final_loss", "train_seconds", "expert_share")


def record_start(ledger: Ledger, spec: JobSpec, job: str) -> None:
    """Attach a job to its experiment: configuration, data with its hash, seed, hash of the recipe."""
    if spec.experiment is None:
        return
    ledger.attach(spec.experiment, job=job, seed=spec.config["seed"], **_told(spec), base=base_of(spec))


def base_of(spec: JobSpec) -> dict[str, str]:
    """What a job begins from: the model as it was asked for, and the host's own hashes of it now."""
    from ml_intern.evals.templates import hashes
    from ml_intern.hub.weights import weights_hash

    asked = spec.config.get("model")
    given = [Path(asked)] if isinstance(asked, str) and Path(asked).is_absolute() else list(spec.inputs)
    folder = next((f for f in given if f.is_dir() and any(f.glob("*.safetensors"))), None)
    if folder is None:
        return {}
    return {
        "model": str(spec.config.get("model_ref") or folder.name),
        "weights": weights_hash(folder),
        **hashes(folder),
    }


def _told(spec: JobSpec) -> dict[str, Any]:
    """What decides a training but for its seed. A field has its full name, whichever was used."""
    config = spec.config
    asked = {ALIASES.get(name, name): value for name, value in config["asked"].items()}
    return {
        "config": {"method": spec.method, "model": config["model"], **asked},
        "data": {"train": {"id": config["dataset"], "rows": config["rows"], "sha256": config["data_sha256"]}},
        "code_hash": recipe_hash(spec.method),
    }


def demand_same(ledger: Ledger, spec: JobSpec) -> None:
    """Refuse a training that is to run a configuration again, and is another one.

    Raises:
        ToolError: Names what differs, or says that the experiment has no training of its own.
    """
    row = ledger.get(spec.experiment) if spec.experiment is not None else None
    if row is not None and row.inference is not None:
        raise ToolError(
            f"{row.id} is a way of answering with the weights of {row.inference.model}; it trains nothing.",
            "Open another experiment for the training.",
        )
    if row is None or row.replicates is None:
        return
    of = ledger.get(row.replicates)
    if "recoveries" in of.config:
        return  # Its config says what a recovery made of it, not what was asked.
    found = differences(of, row.model_copy(update=_told(spec)))
    found.pop("seed", None)
    if found:
        told = ", ".join(f"{name}: {how}" for name, how in found.items())
        raise ToolError(
            f"{row.id} runs {of.id} again on another seed, and this differs from it ({told}).",
            "Launch it as confirm_experiment said, or open another experiment.",
        )


def record_end(ledger: Ledger, jobs: Jobs, status: JobStatus) -> None:
    """Attach what a finished job cost and made. Saying it again changes nothing."""
    if status.experiment is None or status.state not in FINISHED:
        return
    if jobs.spec(status.id).method in ("generate", "score"):
        return
    result = read_result(Path(status.output))
    seconds = status.ran_s
    rate = jobs.spec(status.id).place.usd_per_hour or 0.0
    base = result.get("base_model_sha256")
    ledger.attach(
        status.experiment,
        job=status.id,
        seconds=round(seconds, 3),
        usd=round(rate * seconds / 3600, 6),
        facts={name: float(result[name]) for name in _FACTS if result.get(name) is not None}
        | _held_out(result),
        config=_differing(status, base),
    )


def _held_out(result: Mapping[str, Any]) -> dict[str, float]:
    """What was measured on the rows that were set apart: ``held_out_loss``, and the same at the start."""
    measured = result.get("held_out")
    found: dict[str, float] = {}
    for name, value in measured.items() if isinstance(measured, dict) else ():
        known = value if isinstance(value, dict) else {}
        for when, suffix in (("end", ""), ("start", "_at_start")):
            if is_number(known.get(when)):
                found[f"held_out_{name}{suffix}"] = float(known[when])
    return found


def _differing(status: JobStatus, base: str | None) -> dict[str, Any] | None:
    """What was not as it was asked: a recovery changes fields, an early end the steps. The ledger says so."""
    found: dict[str, Any] = {"base_model_sha256": base} if base else {}
    for recovery in status.recoveries:
        found |= recovery.changes
    if status.recoveries:
        found["recoveries"] = [f"{r.kind} at step {r.step}: {r.action}" for r in status.recoveries]
    if status.stopped:
        found["stopped_early"] = status.stopped
    return found or None


def read_result(output: Path) -> dict[str, Any]:
    """``result.json`` of a job; empty where it made none or what is there is no JSON object."""
    try:
        found = json.loads((output / "result.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=16)
def recipe_hash(method: str) -> str:
    """One hash over a recipe and what it shares with the others."""
    digest = hashlib.sha256()
    for file in recipe_files(method):
        digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()
