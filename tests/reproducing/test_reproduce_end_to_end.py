"""A published model is made again from its card: the same rows, the same weights, the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.published import BASE, TUNED, publish, write_sources

COMMAND = str(Path(sys.executable).with_name("ml-intern"))


def reproduce(state: Path, here: Path, *words: str, code: int = 0) -> dict[str, Any]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "ml_intern.cli.main", "reproduce", *words, "--state", str(state), "--json"],
        cwd=here, env=env, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_sources(folder)
    return folder


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, here: Path) -> Path:
    folder = tmp_path_factory.mktemp("state")
    before = Path.cwd()
    os.chdir(here)
    try:
        result = publish(folder, BASE, TUNED)
    finally:
        os.chdir(before)
    assert result.exit_code == 0 and [p["repo"] for p in result.published] == ["local/counter"], result.errors
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_weights_come_out_again(state: Path, here: Path) -> None:
    found = reproduce(state, here, "local/counter")
    told = found["reproduction"]
    assert told["reproduced"] and found["status"] == "done", told["says"]
    assert [w["same"] for w in told["weights"]] == [True, True]
    assert all(d["same"] for d in told["data"]) and len(told["data"]) == 3
    verdicts = {n["what"]: n["verdict"] for n in told["numbers"]}
    assert verdicts["test bits_per_byte"] == verdicts["dev bits_per_byte"] == "same"
    assert verdicts["parameters"] == "same"
