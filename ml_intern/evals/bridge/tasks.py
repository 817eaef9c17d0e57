"""A task of lm-eval by name becomes a sealed evaluation: its documents go to the guard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError, UsageError
from ml_intern.evals.bridge import process
from ml_intern.evals.bridge.metrics import PREFIX, knows
from ml_intern.evals.model import LmEval
from ml_intern.evals.named import Brought

if TYPE_CHECKING:
    from ml_intern.evals.model import EvalInfo
    from ml_intern.evals.store import Evals
    from ml_intern.hub.client import Hub

_NAME = re.compile(r"[\w.+-]+")


def place_of(said: str) -> tuple[str, str]:
    """Task and folder of what stands behind ``lm-eval:``: a name, a YAML file, a folder, or folder/name.

    Raises:
        UsageError: It is none of these.
    """
    if _NAME.fullmatch(said) and Path(said).suffix not in (".yaml", ".yml"):
        return said, ""
    path = Path(said).expanduser().absolute()
    if path.is_file():
        return str(path), str(path.parent)
    if path.is_dir():
        return _only(path), str(path)
    if path.parent.is_dir() and _NAME.fullmatch(path.name):
        return path.name, str(path.parent)
    raise UsageError(
        f"lm-eval:{said} is neither a task's name nor a YAML file or folder.",
        "Write lm-eval:NAME, lm-eval:FILE.yaml or lm-eval:FOLDER/NAME.",
    )


def _only(folder: Path) -> str:
    found = sorted(p for p in folder.rglob("*.y*ml") if p.is_file())
    if len(found) != 1:
        names = ", ".join(p.name for p in found[:8]) or "none"
        raise UsageError(
            f"The folder {str(folder)!r} has {len(found)} YAML files ({names}).",
            "Name one: lm-eval:FOLDER/NAME.",
        )
    return str(found[0])


def check_task(said: str) -> None:
    """Whether the task may be asked for at all.

    Raises:
        UsageError: lm-eval is not installed, or nothing is called so.
    """
    place_of(said)
    if not process.installed():
        raise UsageError("lm-eval is not installed.", f"{process.INSTALL} brings it.")


@dataclass
class BroughtTask(Brought):
    """A task whose documents were brought to the host.

    Attributes:
        order: Task and position of each row, which the host alone keeps.
    """

    order: list[tuple[str, int]] = field(default_factory=list)

    def seal(self, evals: Evals) -> EvalInfo:
        """Hand the rows over, and keep beside them which document each one is."""
        folder = folder_of(evals.folder, self.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "order.json").write_text(json.dumps(self.order))
        (folder / "files.json").write_text(json.dumps([str(path) for path in self.files]))
        return super().seal(evals)


def folder_of(evals: Path, name: str) -> Path:
    """What belongs to a task and is shown to nobody: documents' positions, requests."""
    return evals / "lm_eval" / name


def cache_of(state: Path) -> Path:
    """Where lm-eval keeps what it downloads, in the intern's own state, which no cell and no job sees."""
    return state / "cache" / "lm-eval"


def of_task(hub: Hub, said: str, name: str, metric: str | None = None) -> BroughtTask:
    """A task's documents, ready to be sealed.

    Raises:
        UsageError: It cannot be loaded, is of a kind that is not run here, or has no metric of a kind that is
            known here.
    """
    task, folder = place_of(said)
    with hub.reach("the task's documents"):
        online = hub.environment()
    request = {"mode": "documents", "task": task, "folder": folder}
    try:
        found = process.run(request, cache_of(hub.storage.parent), online)
    except ToolError as error:
        raise UsageError(f"lm-eval:{said} cannot be used: {error.message}", _hint(error.message)) from None
    scorers = _scorers(said, found)
    wanted = next((s for s in scorers if metric in (s, s.removeprefix(PREFIX))), scorers[0])
    rows = [_row(row, several=len({r["task"] for r in found["rows"]}) > 1) for row in found["rows"]]
    left = f" Not taken: {', '.join(found['left_out'])}." if found["left_out"] else ""
    return BroughtTask(
        name,
        rows,
        {
            "scorers": scorers,
            "primary": wanted,
            "input": "input",
            "target": "target",
            "slice_by": "slice" if "slice" in rows[0] else None,
            "repositories": found["repositories"],
            "lm_eval": LmEval(
                task=task, folder=found["folder"], version=found["version"], shots=found["shots"]
            ),
        },
        f"{name}: {len(rows)} documents of lm-eval {found['version']}'s task are sealed, scored by"
        f" {', '.join(scorers)}.{left}",
        order=[(row["task"], row["index"]) for row in found["rows"]],
        files=[Path(f) for f in [*found["files"], *found["yaml"]]],
    )


def _row(row: dict[str, Any], several: bool) -> dict[str, Any]:
    made = {"input": row["text"], "target": row["target"], "also": row["also"]}
    return made | ({"slice": row["task"]} if several else {})


def _scorers(said: str, found: dict[str, Any]) -> list[str]:
    """The metrics by our names. One whose direction is not known here is left out, not guessed."""
    kept = [f"{PREFIX}{m}" for m, up in found["metrics"].items() if knows(f"{PREFIX}{m}", up)]
    found["left_out"] += [m for m, up in found["metrics"].items() if not knows(f"{PREFIX}{m}", up)]
    if not kept:
        raise UsageError(
            f"lm-eval:{said} has no metric that is a mean over its documents.",
            f"Intervals and paired comparisons need one; it has {_words(found['left_out'])}.",
        )
    return kept


def _words(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _hint(message: str) -> str:
    if "runs programs" in message:
        return "Use --eval humaneval or --eval mbpp: there programs run in the sandbox."
    if any(word in message for word in ("Connection", "Timeout", "Offline", "HfHubHTTP", "DatasetNotFound")):
        return "Is the Hub reachable (HF_ENDPOINT, HF_TOKEN), and does it have the task's dataset?"
    return ""
