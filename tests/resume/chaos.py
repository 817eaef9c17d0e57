"""Starts the scripted children, and compares what came of them with the run that nobody disturbs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

SAME = ("answer", "status", "steps", "tokens", "spent", "reserved", "plan", "jobs")
CHILD = Path(__file__).parent / "resumed_child.py"
ROOT = Path(__file__).parents[2]


def start(state: Path, child: Path = CHILD, **env: str) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ML_INTERN_")}
    paths = os.pathsep.join([str(ROOT), kept.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(child), str(state)],
        env={**kept, "PYTHONPATH": paths, **env},
        cwd=state,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """What a process said at its end; None where it was killed."""
    out, err = process.communicate(timeout=240)
    if process.returncode == -signal.SIGKILL:
        return None
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def done(state: Path) -> list[dict[str, Any]]:
    return lines_of(state / "ran.jsonl")


def check(state: Path, found: dict[str, Any], whole: dict[str, Any]) -> None:
    assert {name: found[name] for name in SAME} == {name: whole[name] for name in SAME}
    keys = Counter(line["key"] for line in done(state))
    assert max(keys.values()) == 1 and len(keys) == whole["works"]
    assert len(list(state.glob("sessions/*/jobs/*/spec.json"))) == 1
