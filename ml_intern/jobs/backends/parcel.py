"""What goes to a rented machine and what comes back: files of a folder in a private repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.jobs import launch
from ml_intern.jobs.folder import read_json
from ml_intern.jobs.hardware import processes_of
from ml_intern.jobs.model import FOREIGN, JobSpec

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

    from ml_intern.hub.client import Hub

RESULT = "run.json"
CARRIER = Path(__file__).with_name("carrier.py")
PACKAGES = (
    *("huggingface_hub", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers"),
    *("math-verify", "bitsandbytes"),
)
"""What recipes import; a job gets the versions that are installed here."""

_HERE = "@HERE@"


def check(spec: JobSpec, most_mb: float) -> None:
    """Whether the inputs may go and are not too large.

    Raises:
        ToolError: A file has a credential in it, or there is too much.
    """
    from ml_intern.hub.scanning import refuse_credentials

    size = sum(file.stat().st_size for path in spec.inputs for file, _ in _files(path))
    if size > most_mb * 2**20:
        raise ToolError(
            f"The job's inputs are {size / 2**30:.1f} GB, more than may go to a rented machine.",
            "Raise job_disk_mb, or use less.",
        )
    for path in spec.inputs:
        if path.is_dir():
            refuse_credentials(path)


def packages() -> list[str]:
    """The arguments of ``uv run`` that install what is installed here."""
    found = []
    for name in PACKAGES:
        try:
            found += ["--with", f"{name}=={metadata.version(name).partition('+')[0]}"]
        except metadata.PackageNotFoundError:
            continue
    return found


def send(hub: Hub, repo: str, name: str, folder: Path, spec: JobSpec, seconds: float) -> str:
    """Upload a job as one commit into a private repository; the address of its carrier.

    Raises:
        ToolError: The repository is there and everybody could read it.
    """
    from ml_intern.hub.target import check_visibility

    hub.api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    check_visibility(repo, hub.api.repo_info(repo, repo_type="dataset"), private=True)
    operations = [_add(f"{name}/{path}", source) for path, source in contents(folder, spec, seconds)]
    commit = hub.api.create_commit(repo, operations, commit_message=f"Job {name}", repo_type="dataset")
    return f"{hub.endpoint}/datasets/{repo}/resolve/{commit.oid}/{name}/carrier.py"


def contents(folder: Path, spec: JobSpec, seconds: float) -> Iterator[tuple[str, Path | bytes]]:
    """Paths in the job's remote folder with what lies there."""
    places = {str(path): f"{_HERE}/inputs/{n}-{path.name}" for n, path in enumerate(spec.inputs)}
    places |= {str(folder): _HERE}
    config = json.loads((folder / "config.json").read_text())
    yield "carrier.py", CARRIER
    yield "config.json", json.dumps(_moved(config, places), indent=1).encode()
    yield "plan.json", json.dumps(_plan(folder, spec, seconds, places)).encode()
    if spec.method == "script":
        yield "script.py", str(_moved((folder / "script.py").read_text(), places)).encode()
    else:
        for file in launch.recipe_files(spec.method):
            yield f"recipes/{file.name}", file
    for number, path in enumerate(spec.inputs):
        for file, below in _files(path):
            yield f"inputs/{number}-{path.name}{below}", file
    for file, below in _files(folder / "checkpoints"):
        yield f"checkpoints{below}", file


def collect(api: HfApi, repo: str, name: str, folder: Path, most_mb: float) -> None:
    """Download what a job has pushed, and put it in its folder.

    Raises:
        ToolError: It is more than a job may add to the disk.
    """
    from ml_intern.jobs.supervisor import settle

    tree = api.list_repo_tree(repo, path_in_repo=name, repo_type="dataset", recursive=True)
    size = sum(getattr(entry, "size", 0) or 0 for entry in tree)
    if size > most_mb * 2**20:
        raise ToolError(f"The job has made {size / 2**30:.1f} GB, more than job_disk_mb allows.")
    fresh = folder / ".arriving"
    shutil.rmtree(fresh, ignore_errors=True)
    patterns = [f"{name}/{part}" for part in (RESULT, "output/*", "checkpoints/*")]
    api.snapshot_download(repo, repo_type="dataset", allow_patterns=patterns, local_dir=fresh)
    for part in ("output", "checkpoints"):
        if (fresh / name / part).is_dir():
            shutil.copytree(fresh / name / part, folder / part, dirs_exist_ok=True)
    if (fresh / name / RESULT).is_file():
        (fresh / name / RESULT).replace(folder / RESULT)
    shutil.rmtree(fresh, ignore_errors=True)
    settle(folder / "output")


def missing(folder: Path, spec: JobSpec) -> list[str]:
    """What the job was to make and has not."""
    wanted = launch._MUST_MAKE.get(spec.method, [])
    return [name for name in wanted if not (folder / "output" / name).exists()]


def _plan(folder: Path, spec: JobSpec, seconds: float, places: Mapping[str, str]) -> dict[str, Any]:
    recipe = f"{_HERE}/recipes/{spec.method}.py"
    program = ["@PYTHON@", recipe, f"{_HERE}/config.json"]
    if spec.method == "script":
        arguments = [str(_moved(str(word), places)) for word in spec.config.get("args", [])]
        program = ["@PYTHON@", f"{_HERE}/script.py", *arguments]
    env = launch._environment(folder, spec)
    return {
        "argv": program,
        "env": {name: str(_moved(value, places)) for name, value in env.items()},
        "seconds": seconds,
        # Processes that train together meet on the machine's loopback, which the filter closes as well.
        "network": spec.network or (processes_of(spec) > 1 and spec.method not in FOREIGN),
        "foreign": spec.method in FOREIGN,
    }


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    """The same with the paths of the rented machine; longer paths first, one may begin with another."""
    if isinstance(value, dict):
        return {name: _moved(item, places) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, places) for item in value]
    if isinstance(value, str):
        for path in sorted(places, key=len, reverse=True):
            value = value.replace(path, places[path])
    return value


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """The plain files of an input with their paths below it; links and hidden folders stay here."""
    if path.is_file():
        yield path, ""
    for file in sorted(path.rglob("*")) if path.is_dir() else ():
        below = file.relative_to(path)
        if file.is_file() and not file.is_symlink() and not any(p.startswith(".") for p in below.parts):
            yield file, f"/{below.as_posix()}"


def _add(path: str, source: Path | bytes) -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(path, str(source) if isinstance(source, Path) else source)


def result(folder: Path) -> dict[str, Any]:
    """What the carrier says of the run; empty where it could not."""
    return read_json(folder / RESULT)
