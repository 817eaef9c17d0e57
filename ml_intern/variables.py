"""Variables of the environment that begin like settings: a misspelt ceiling must not be silently none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ml_intern.errors import UsageError

PREFIX = "ML_INTERN_"
OTHERS = frozenset([
    "clean", "complete", "hub_token", "job", "json", "kernel", "limits", "mcp_token", "metrics", "owner",
    "quiet", "seed", "trust_project", "verbose",
])  # fmt: skip
"""What is read without being a setting: flags of commands, tokens, what jobs and kernels are told."""
LIKE = 0.8
"""Of `difflib`'s ratio: one letter too many, missing or swapped. Other names may belong to other programs."""


def check_spelling(environment: Mapping[str, str], settings: Iterable[str]) -> None:
    """Refuse a variable that is nearly a setting.

    Args:
        environment: Usually `os.environ`.
        settings: The names of the fields, in small letters.

    Raises:
        UsageError: One is misspelt.
    """
    known = list(settings)
    for variable in environment:
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name in known or name in OTHERS:
            continue
        if close := difflib.get_close_matches(name, known, n=1, cutoff=LIKE):
            meant = PREFIX + close[0].upper()
            raise UsageError(f"{variable} is no setting (did you mean {meant}?).", "Rename or unset it.")
