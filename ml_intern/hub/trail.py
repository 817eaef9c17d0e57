"""What somebody needs to do an experiment again: its trainings with those of its base models, data and evals.

Written to ``ml_intern.json`` of a repository when a model is published, and read by ``ml-intern reproduce``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.evals.model import BESIDE, WEIGHTS, fingerprint
from ml_intern.hub.card import tidy
from ml_intern.jobs.record import read_result, recipe_hash

if TYPE_CHECKING:
    from ml_intern.data.store import DatasetStore
    from ml_intern.evals.store import Evals
    from ml_intern.jobs.local import Jobs
    from ml_intern.ledger import Experiment, Ledger

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FOUND_AGAIN = {
    "model", "model_ref", "data", "dataset", "data_sha256", "rows", "asked", "estimated_memory_mb",
}  # fmt: skip
"""Of a recipe's config what stands elsewhere, or is another thing on another machine."""


def trainings(experiment: Experiment, jobs: Jobs, ledger: Ledger) -> list[dict[str, Any]]:
    """The jobs behind an experiment's model, those of its base models first, each as it was asked."""
    last = _job_of(experiment, jobs)
    found: dict[str, dict[str, Any]] = {}
    if last:
        _collect(last, jobs, ledger, found, [])
    return list(found.values())


def datasets_of(trained: Iterable[dict[str, Any]]) -> list[str]:
    """Ids of all the datasets that trainings read."""
    return list(dict.fromkeys(id for t in trained for id in t.get("datasets", ())))


def evals_of(experiment: Experiment, ledger: Ledger, evals: Evals | None) -> list[dict[str, Any]]:
    """The evaluations that an experiment was scored on, by the hash of their items; none of the items."""
    found: dict[str, dict[str, Any]] = {}
    known = {info.name: info for info in evals.list()} if evals is not None else {}
    for scored in ledger.scores(experiment=experiment.id):
        info = known.get(scored.eval)
        row = found.setdefault(scored.eval, {"name": scored.eval, "splits": []})
        row["splits"] = sorted({*row["splits"], scored.split})
        if info is not None:
            row |= {
                "sha256": info.sha256,
                "rows": info.rows,
                "scorers": info.scorers,
                "primary": info.primary,
                "asking": info.asking.model_dump(mode="json"),
            }
    return list(found.values())


def sealing_datasets(evals: Iterable[dict[str, Any]], data: DatasetStore) -> list[str]:
    """Ids of the datasets whose making sealed these evaluations: a split of the same source."""
    names = {row["name"] for row in evals}
    return [
        info.id
        for info in data.list()
        if info.lineage.operation == "split_dataset" and info.lineage.arguments.get("eval") in names
    ]


def write_bases(folder: Path, trained: Sequence[Mapping[str, Any]]) -> None:
    """The configurations of base models, each with the places that its follower's names: see `by_hand`."""
    for job in trained:
        name, base = job["name"], job["model"]
        start = f"{base['job']}/model" if base.get("job") else base.get("hub") or base.get("path")
        places = {"output_dir": name, "checkpoint_dir": f"{name}/checkpoints"}
        config = {
            **job["recipe_config"],
            "model": base.get("scratch") or start,
            "data": f"{job['dataset']}.jsonl",
            **places,
            "metrics_file": f"{name}/metrics.jsonl",
        }
        text = json.dumps(tidy(config), indent=2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def by_hand(trained: Sequence[Mapping[str, Any]], recipe: str) -> str:
    """The commands that train without ML Intern, base models first, and which rows each of them reads."""
    bases = [
        f"python training/{t['method']}.py training/{t['name']}.json  # rows of {t['dataset']} in "
        f"{t['dataset']}.jsonl"
        for t in trained[:-1]
    ]
    rows = (
        f"rows of {trained[-1]['dataset']} in data.jsonl" if trained else "the newest dataset in data.jsonl"
    )
    return "\n".join([*bases, f"python training/{recipe}.py training/config.json  # {rows}"])


def _job_of(experiment: Experiment, jobs: Jobs) -> str | None:
    """The job that made the weights which were measured; the newest where nothing was."""
    made = [job for job in reversed(experiment.jobs) if _model(jobs, job)]
    same = (job for job in made if experiment.model and _fingerprint(jobs, job) == experiment.model)
    return next(same, made[0] if made else None)


def _collect(
    job: str, jobs: Jobs, ledger: Ledger, found: dict[str, dict[str, Any]], above: Sequence[str]
) -> None:
    if job in found or job in above:
        return
    for base in _bases(job, jobs):
        _collect(base, jobs, ledger, found, [*above, job])
    found[job] = _told(job, jobs, ledger)


def _bases(job: str, jobs: Jobs) -> list[str]:
    """The jobs of this session whose models a job read: its base, its judges."""
    return [name for path in jobs.spec(job).inputs if (name := _job_at(path, jobs))]


def _job_at(path: Path, jobs: Jobs) -> str:
    """The job that a path lies in; nothing where it lies elsewhere."""
    path = Path(path)
    return path.relative_to(jobs.folder).parts[0] if jobs.folder in path.parents else ""


def _told(job: str, jobs: Jobs, ledger: Ledger) -> dict[str, Any]:
    spec, status = jobs.spec(job), jobs.status(job)
    config, result = spec.config, read_result(Path(status.output))
    row = ledger.get(spec.experiment) if spec.experiment else None
    model = _model(jobs, job)
    return {
        "name": job,
        "experiment": spec.experiment,
        "method": spec.method,
        "model": _base(spec.config, jobs),
        "base_sha256": result.get("base_model_sha256") or "",
        "dataset": config.get("dataset") or "",
        "datasets": _datasets(spec.inputs, config),
        "config": config.get("asked") or {},
        "seed": config.get("seed", 0),
        "code_sha256": (row.code_hash if row else "") or recipe_hash(spec.method),
        "threads": max(1, spec.threads // max(1, int(config.get("processes") or 1))),
        "compute": spec.place.words,
        "on_cpu": bool((config.get("trainer") or {}).get("use_cpu")),
        "seconds": round(status.ran_s, 3),
        "steps": status.step,
        "stop_when": spec.stop_when,
        "changed": {name: value for r in status.recoveries for name, value in r.changes.items()},
        "fingerprint": _fingerprint(jobs, job),
        "files": files_of(model) if model else {},
        "recipe_config": {k: v for k, v in config.items() if k not in _FOUND_AGAIN},
    }


def _base(config: dict[str, Any], jobs: Jobs) -> dict[str, Any]:
    """What a training started from: nothing, a job of this session, a model of the Hub, or a folder."""
    asked, place = config.get("model_ref"), config.get("model")
    if not isinstance(place, str) or place.startswith("scratch:"):
        return {"scratch": asked if asked is not None else place}
    path = Path(place)
    if job := _job_at(path, jobs):
        return {"job": job}
    if path.parent.name in ("plain", "snapshots") and _COMMIT.fullmatch(path.name):
        return {"hub": str(asked).partition("@")[0], "revision": path.name}
    return {"path": path.name}


def _datasets(inputs: Iterable[Path], config: dict[str, Any]) -> list[str]:
    """The datasets of the session that a job read: ``…/datasets/NAME/VERSION/data.jsonl``."""
    found = [config["dataset"]] if config.get("dataset") else []
    for path in map(Path, inputs):
        if path.name == "data.jsonl" and path.parent.name.isdigit():
            found.append(f"{path.parent.parent.name}@{path.parent.name}")
    return list(dict.fromkeys(found))


def _model(jobs: Jobs, job: str) -> Path | None:
    try:
        return jobs.model_path(job)
    except ToolError:
        return None


def _fingerprint(jobs: Jobs, job: str) -> str:
    try:
        return fingerprint(jobs.model_path(job))
    except ToolError:
        return ""


def files_of(model: Path) -> dict[str, str]:
    """sha256 of each file that decides what a model writes, so that it can be told which one differs."""
    named = sorted({p for pattern in (*WEIGHTS, *BESIDE) for p in model.glob(pattern) if p.is_file()})
    return {path.name: _sha256(path) for path in named}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
