"""Whether a project's settings may decide what runs on this machine.

A project folder may be somebody else's, or a workspace that cells write in. What its ``ml-intern.toml`` says
about steps, waits and lengths is taken as it is; all else (what starts programs on the host, opens folders,
spends, names who answers, takes walls away or answers the gate) counts only once the person has looked at the
file and said so. The word holds for the file and for the code in its tools folders as they were: after a
change it is asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import platformdirs

from ml_intern.errors import UsageError

HARMLESS = frozenset({
    "alerts", "brain_retries", "brain_stream", "cell_grace_s", "cell_timeout_s", "connect_timeout_s",
    "context_tokens", "dev_queries", "eval_chat", "eval_tokens", "job_timeout", "max_output_tokens",
    "max_steps", "metric", "most_samples", "observation_chars", "offline", "planning", "recent_steps",
    "request_timeout_s", "research_parallel", "research_steps", "tool_groups", "tool_retries", "tool_tokens",
})  # fmt: skip
"""Keys that need no word; one that is not named here needs it, so that a new one does."""

VARIABLE = "ML_INTERN_TRUST_PROJECT"
"""Set to 1: the word for whatever file there is, for machines where nobody can be asked."""


def deciding_keys(settings: dict[str, Any], known: Collection[str]) -> list[str]:
    """The keys of a project's settings that need the person's word; unknown ones are refused elsewhere."""
    # Other walls on this machine are nobody's harm; none, or another machine, may be.
    return [
        key
        for key in settings
        if key in known
        and key not in HARMLESS
        and not (key == "sandbox" and settings[key] in ("local", "docker"))
    ]


def check_trust(file: Path, settings: dict[str, Any], known: Collection[str]) -> None:
    """Refuse a project's settings that decide what runs here, unless the person has said yes to this file.

    Raises:
        UsageError: Names the keys and the command that says yes.
    """
    keys = deciding_keys(settings, known)
    if not keys or os.environ.get(VARIABLE) == "1":
        return
    if _known().get(str(file)) != _digest(file, settings):
        raise UsageError(
            f"{file.name} in this folder sets {', '.join(keys)}, which decides what may run on this machine.",
            "Look at the file; if it is yours, run: ml-intern trust",
        )


def trust(file: Path) -> None:
    """Remember that the person said yes to this file as it is now.

    Raises:
        UsageError: There is no such file.
    """
    if not file.is_file():
        raise UsageError(f"There is no {file.name} in {file.parent}.", "Run it in the project's folder.")
    store = _store()
    store.parent.mkdir(parents=True, exist_ok=True)
    fresh = store.with_suffix(".new")
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file.name} cannot be read: {error}.") from None
    fresh.write_text(json.dumps({**_known(), str(file): _digest(file, settings)}, indent=1))
    fresh.replace(store)


def _store() -> Path:
    # Not below the setting `state`: the project's own file could name a folder of its own there.
    return Path(platformdirs.user_state_path("ml-intern")) / "trusted.json"


def _known() -> dict[str, str]:
    try:
        known = json.loads(_store().read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _digest(file: Path, settings: dict[str, Any]) -> str:
    """Of the file, and of the code that it brings onto the host."""
    found = hashlib.sha256(file.read_bytes())
    folders = settings.get("tools", [])
    for folder in folders if isinstance(folders, list) else [folders]:
        for code in sorted((file.parent / str(folder)).glob("*.py")):
            found.update(f"{code.name}\0".encode("utf-8", "replace") + code.read_bytes())
    for folder in _task_folders(file.parent, settings.get("eval")):
        for code in sorted(f for pattern in ("*.py", "*.y*ml") for f in folder.glob(pattern)):
            found.update(f"{code.name}\0".encode("utf-8", "replace") + code.read_bytes())
    return found.hexdigest()


def _task_folders(project: Path, evals: Any) -> list[Path]:
    """Where a project's own tasks of lm-eval lie: they may name functions, which the host runs."""
    words = [
        w.strip() for said in (evals if isinstance(evals, list) else [evals]) for w in str(said).split(",")
    ]
    paths = [project / w.removeprefix("lm-eval:") for w in words if w.startswith("lm-eval:")]
    return [path if path.is_dir() else path.parent for path in paths]
