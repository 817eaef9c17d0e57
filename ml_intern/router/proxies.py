"""What the cells of a session could call, kept beside its journal.

A replay with recorded results needs no tool to be there: neither the server it came from, nor the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = "tools.json"

Proxy = dict[str, Any]
"""What a kernel makes a function of: name, parameters, help."""


def keep(folder: Path, proxies: Iterable[Proxy]) -> None:
    """Write down what cells can call from now on, beside what they could call before."""
    known = {**kept(folder), **{proxy["name"]: proxy for proxy in proxies}}
    fresh = folder / f"{FILE}.new"
    fresh.write_text(json.dumps([*known.values()], default=str), encoding="utf-8", errors="backslashreplace")
    fresh.replace(folder / FILE)


def kept(folder: Path) -> dict[str, Proxy]:
    """What cells could call, by name; nothing where that was not written down."""
    try:
        rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {str(row["name"]): row for row in rows}
    except (OSError, ValueError, TypeError, LookupError):
        return {}
