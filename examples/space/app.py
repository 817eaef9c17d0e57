"""ML Intern's web app as a Space: state on the persistent disk, logins by Hugging Face."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

DATA = Path("/data")


def words() -> list[str]:
    """The command: on a Space for everybody who may log in, elsewhere for this machine alone."""
    if "SPACE_ID" not in os.environ:
        return ["web"]
    state = DATA if os.access(DATA, os.W_OK) else Path.home()
    return ["web", "--host", "0.0.0.0", "--port", "7860", "--state", str(state / "ml-intern")]


if __name__ == "__main__":
    sys.argv = ["ml-intern", *words(), *sys.argv[1:]]
    runpy.run_module("ml_intern", run_name="__main__")
