"""Has the sandbox answer questions about what is installed in it.

The readers in `inside` travel on the command line: they work in a container or a remote machine that has
nothing of ML Intern, no file of theirs lies where a cell could change it, and what they read is what cells
would import. The answer is untrusted: it is bounded, parsed and checked, and nothing of it is run.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError

Run = Callable[[list[str], float], subprocess.CompletedProcess[str]]
"""Runs a command behind the walls: argv, seconds."""

MODULES = ("sources", "names", "texts", "describing", "live", "extracting", "asked")
PACKAGE = "ml_intern.documentation.inside"
MOST_BYTES = 64 << 20
"""An answer is never unpacked beyond this."""

START = """
import sys
sys.path[:] = [p for p in sys.path if p not in ("", ".")]
import base64, json, types, zlib
packed = sys.argv.pop(1)
for name, text in json.loads(zlib.decompress(base64.b64decode(packed))):
    made = sys.modules[name] = types.ModuleType(name)
    made.__path__ = []
    exec(compile(text, name, "exec"), made.__dict__)
sys.modules[name].main()
"""


@lru_cache(maxsize=1)
def _sources() -> str:
    """The readers, for a command line."""
    folder = Path(__file__).parent / "inside"
    parents = ["ml_intern", "ml_intern.documentation", PACKAGE]
    modules: list[tuple[str, str]] = [(name, "") for name in parents]
    modules += [
        (f"{PACKAGE}.{name}", (folder / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES
    ]
    return base64.b64encode(zlib.compress(json.dumps(modules).encode(), 9)).decode()


def ask(run: Run, python: str, question: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """One question and its answer.

    Raises:
        ToolError: The sandbox gave none.
    """
    mark = f"answer-{secrets.token_hex(8)}"
    argv = [python, "-c", START, _sources(), json.dumps({**question, "mark": mark})]
    try:
        done = run(argv, timeout_s)
    except subprocess.TimeoutExpired:
        raise ToolError(f"Reading what is installed took longer than {timeout_s:.0f} s.") from None
    line = next((text for text in done.stdout.splitlines() if text.startswith(f"{mark} ")), "")
    if not line:
        last = done.stdout.strip().splitlines()[-1:] or ["it said nothing"]
        raise ToolError(f"The sandbox did not tell what is installed: {last[0][:300]}.")
    return _unpacked(line.removeprefix(mark).strip())


def _unpacked(text: str) -> dict[str, Any]:
    unpack = zlib.decompressobj()
    try:
        plain = unpack.decompress(base64.b64decode(text, validate=True), MOST_BYTES)
        answer = json.loads(plain)
    except (ValueError, zlib.error, RecursionError):
        raise ToolError("The sandbox's answer cannot be read.") from None
    if not isinstance(answer, dict):
        raise ToolError("The sandbox's answer cannot be read.")
    return answer
