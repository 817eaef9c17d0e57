"""Whether a project's settings may decide what runs on this machine.

A project folder may be somebody else's, or a workspace that cells write in. What its ``ml-intern.toml`` says
about models and limits is taken as it is; what would start programs on the host, open folders, take the walls
away or answer the gate counts only once the person has looked at the file and said so. The word holds for the
file as it was: after a change it is asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import platformdirs

from ml_intern.errors import UsageError

DECIDING = ("sandbox", "yes", "policy", "tools", "mcp_servers", "data_dirs", "state", "docker_image")
"""Keys that need the person's word."""

VARIABLE = "ML_INTERN_TRUST_PROJECT"
"""Set to 1: the word for whatever file there is, for machines where nobody can be asked."""


def deciding_keys(settings: dict[str, Any]) -> list[str]:
    """The keys of a project's settings that need the person's word."""
    needed = [key for key in DECIDING if key in settings]
    # Stronger walls are nobody's harm.
    return [key for key in needed if key != "sandbox" or settings[key] == "none"]


def check_trust(file: Path, settings: dict[str, Any]) -> None:
    """Refuse a project's settings that decide what runs here, unless the person has said yes to this file.

    Raises:
        UsageError: Names the keys and the command that says yes.
    """
    keys = deciding_keys(settings)
    if keys and os.environ.get(VARIABLE) != "1" and _known().get(str(file)) != _digest(file):
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
    fresh.write_text(json.dumps({**_known(), str(file): _digest(file)}, indent=1))
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


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
