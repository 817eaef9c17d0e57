"""The models that a model says it comes from, as the host has seen them go into its jobs.

A recipe is the host's code: what it was launched with is what it trained. A script is not: it may copy what
it was given, or something else. So each base says whether only scripts stand between it and the model. What
cells and scripts have written themselves is no base where it is somebody's copy (`ml_intern.hub.origin`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_intern.errors import ToolError
from ml_intern.jobs.local import Jobs


@dataclass(frozen=True)
class Model:
    """A model that is at hand, and what it is called.

    Attributes:
        name: As the person knows it: a Hub id, a job, a path below the workspace.
        folder: Where it is.
        scripted: Of a base: whether nothing but scripts stands between it and the model.
    """

    name: str
    folder: Path
    scripted: bool = False


def declared(jobs: Jobs, model: Path) -> list[Model]:
    """The models that a model says it comes from: its job's base, that one's own, and so on.

    Args:
        jobs: The session's.
        model: The folder of the model, in its job's output.
    """
    found: dict[Path, Model] = {}
    waiting, seen = [(job_of(jobs, model), True)], set()
    while waiting:
        job, scripted = waiting.pop(0)
        if not job or (job, scripted) in seen:
            continue
        seen.add((job, scripted))
        try:
            spec = jobs.spec(job)
        except ToolError:
            continue
        scripted = scripted and spec.method == "script"
        asked, inputs = spec.config.get("model"), spec.inputs if spec.method == "script" else []
        for folder in _given(asked, inputs):
            first = isinstance(asked, str) and folder == Path(asked)
            name = str((first and spec.config.get("model_ref")) or known_as(jobs, folder))
            before = found.get(folder)
            found[folder] = Model(
                before.name if before else name,
                folder,
                scripted or (before is not None and before.scripted),
            )
            waiting.append((job_of(jobs, folder), scripted))
    return [*found.values()]


def known_as(jobs: Jobs, folder: Path) -> str:
    """What a person calls the model in a folder: a Hub id, a job, else the folder's name."""
    if downloaded(jobs, folder):
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    if job := job_of(jobs, folder):
        inner = folder.relative_to(jobs.folder).as_posix()
        return job if inner == f"{job}/output/model" else inner
    return folder.name


def job_of(jobs: Jobs, folder: Path) -> str:
    """The job in whose output or checkpoints a folder lies; nothing where it lies elsewhere."""
    try:
        job, place, *inner = folder.relative_to(jobs.folder).parts
    except ValueError:
        return ""
    return job if place in ("output", "checkpoints") and inner else ""


def downloaded(jobs: Jobs, folder: Path) -> bool:
    """Whether the host has fetched a folder from the Hub; no cell and no job writes there."""
    return folder.parent.name == "plain" and jobs.settings.state / "cache" / "hub" in folder.parents


def by_recipe(jobs: Jobs, folder: Path) -> bool:
    """Whether a folder's weights are what a recipe has made in this session."""
    job = job_of(jobs, folder)
    try:
        return bool(job) and jobs.spec(job).method != "script"
    except ToolError:
        return False


def made_by_the_agent(jobs: Jobs, workspace: Path, folder: Path) -> bool:
    """Whether a cell or a script has written a folder: it may be a copy of anything."""
    if workspace in (folder, *folder.parents):
        return True
    return bool(job_of(jobs, folder)) and not by_recipe(jobs, folder)


def handed_on(jobs: Jobs, model: Path) -> Iterator[Path]:
    """The results of scripts that another script was given, but for runs of the script that made `model`."""
    specs = {job.id: jobs.spec(job.id) for job in jobs.list() if job.method == "script"}
    made = specs.get(job_of(jobs, model))
    for path in {path for spec in specs.values() for path in spec.inputs}:
        by = specs.get(job_of(jobs, path))
        if by is not None and (made is None or by.config.get("code") != made.config.get("code")):
            yield path


def _given(model: object, inputs: Iterable[Path]) -> Iterator[Path]:
    """The folders with weights that a job was given, its model first."""
    first = [Path(model)] if isinstance(model, str) and Path(model).is_absolute() else []
    for path in dict.fromkeys([*first, *inputs]):
        if path.is_dir() and any(path.glob("*.safetensors")):
            yield path
