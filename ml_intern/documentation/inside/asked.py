"""What the host asks for, and the answer on standard output: one marked line of JSON."""

from __future__ import annotations

import base64
import difflib
import importlib.util
import itertools
import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

from ml_intern.documentation.inside import describing, extracting, live
from ml_intern.documentation.inside.names import FAVOURED, Found, anywhere, defining, known_names, resolve
from ml_intern.documentation.inside.sources import files_below, package_path

NEAREST = 8

USUAL = 5
"""So many of the favoured packages are searched for names like a wrong one."""


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer one question of the host."""
    if question["ask"] == "reference":
        return reference(question["name"], question.get("imported", False))
    if question["ask"] == "versions":
        return {name: stamp(name) for name in question["names"]}
    return extracting.extract(question["library"], question["start"], question["most_bytes"])


def stamp(name: str) -> dict[str, str]:
    """The version of an installed package, and what changes with its files; nothing where it is not there."""
    if not package_path(name):
        return {}
    seen = [file.stat() for _, file in files_below(name)]
    state = f"{len(seen)}-{sum(s.st_size for s in seen)}-{max((s.st_mtime_ns for s in seen), default=0)}"
    return {"version": describing.version_of(name) or "unknown", "state": state}


def reference(name: str, imported: bool) -> dict[str, Any]:
    """The reference of a name, or the nearest names.

    Args:
        name: Dotted, or without its package.
        imported: Import it instead of reading its source.
    """
    found = resolve(name)
    hits: list[Found] = []
    if found is None and not _importable(name):
        hits = anywhere(name)
        found = hits[0] if hits else None
    if imported:
        told = live.describe(hits[0].name if hits else name)
    else:
        told = describing.describe(found) if found else None
    if told is None and not imported and _may_hide(name):
        return {"missing": name, "importable": True}
    if told is None:
        return {"missing": name, "near": nearest(name)}
    version = describing.version_of(told["package"])
    return {**told, "asked": name, "others": [hit.name for hit in hits[1:]], "version": version}


def _may_hide(name: str) -> bool:
    """Whether importing may show what the source does not: the package is compiled, in part at the least."""
    place = package_path(name.partition(".")[0])
    return _importable(name) and (place is None or next(place.rglob("*.so"), None) is not None)


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def nearest(name: str) -> list[str]:
    """Names like a wrong one, as they can be asked for."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        found = resolve(".".join(parts[:count]))
        if found is None:
            continue
        told = describing.describe(found)
        known = [row["name"] for row in [*told["parameters"], *told["members"]]]
        close = [".".join([*parts[:count], near]) for near in _close(parts[count], known)]
        if close or found.node is not None or count > 1:
            return close
        deeper = _close(parts[1], sorted(known_names(parts[0])))
        return [hit.name for near in deeper for hit in itertools.islice(defining(parts[0], near), 1)]
    everywhere = {name for package in FAVOURED[:USUAL] for name in known_names(package)}
    return _close(parts[0], sorted({*everywhere, *FAVOURED}))


def _close(word: str, known: list[str]) -> list[str]:
    lowered = {name.lower(): name for name in reversed(known)}
    near = difflib.get_close_matches(word.lower(), lowered, n=NEAREST, cutoff=0.6)
    return [lowered[name] for name in near]


def main() -> None:
    """Read the question from the command line, write the answer."""
    question = json.loads(sys.argv[1])
    sys.setrecursionlimit(4000)
    sys.path.append(
        str(Path.cwd())
    )  # as a cell has it, but last: nothing there stands in for what is installed
    out = os.dup(1)
    os.dup2(2, 1)  # what an imported package prints is not part of the answer
    text = json.dumps(answer(question)).encode("utf-8", "replace")
    packed = base64.b64encode(zlib.compress(text, 6)).decode()
    with os.fdopen(out, "w") as stream:
        stream.write(f"\n{question['mark']} {packed}\n")
