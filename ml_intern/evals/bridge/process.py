"""Runs lm-eval's own process: once with the Hub, to fetch a task's documents; else without any network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_intern.errors import Interrupted, ToolError

CHILD = Path(__file__).with_name("child.py")
TIMEOUT_S = 3600.0
_POLL_S = 0.1
_WRONG = 3
# What a process on this machine may need to start at all, and to reach the network.
_KEPT = (
    "PATH LANG LC_ALL LD_LIBRARY_PATH PYTHONPATH SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE HTTP_PROXY"
    " HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy"
)
INSTALL = "pip install 'ml-intern[lm-eval]'"


def installed() -> bool:
    """Whether lm-eval is there."""
    return importlib.util.find_spec("lm_eval") is not None


def run(
    request: Mapping[str, Any],
    cache: Path,
    online: Mapping[str, str] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """What lm-eval's process answers.

    Args:
        request: See `ml_intern.evals.bridge.child`.
        cache: Where it keeps what it downloads.
        online: Variables that lead to the Hub; None: there is no way to it.
        cancelled: Ends it.
        timeout_s: Ends it as well.

    Raises:
        ToolError: It failed. What it was asked about is not told, only of what kind the error is.
        Interrupted: The person stopped it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="call-", dir=cache) as place:
        home, output = Path(place), Path(place, "answer.json")
        (home / "request.json").write_text(json.dumps({**request, "output": str(output)}))
        with (home / "err").open("w+") as err:
            child = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", str(CHILD), str(home / "request.json")],
                env=_environment(home, cache, online),
                cwd=Path.cwd(),  # a task of the person's own names its files from there
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
            )
            _wait(child, timeout_s, cancelled)
            err.seek(0)
            said = err.read()
        if child.returncode:
            raise _failure(child.returncode, said)
        answer: dict[str, Any] = json.loads(output.read_text())
        return answer


def _environment(home: Path, cache: Path, online: Mapping[str, str] | None) -> dict[str, str]:
    kept = {k: os.environ[k] for k in _KEPT.split() if k in os.environ}
    network = dict(online) if online is not None else {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return {
        **kept,
        "HOME": str(home),
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **network,
    }


def _wait(child: subprocess.Popen[bytes], timeout_s: float, cancelled: Callable[[], bool]) -> None:
    deadline = time.monotonic() + timeout_s
    try:
        while child.poll() is None:
            if cancelled():
                raise Interrupted("lm-eval was interrupted; nothing was recorded.")
            if time.monotonic() > deadline:
                raise ToolError(f"lm-eval took more than {timeout_s:g} seconds.")
            time.sleep(_POLL_S)
    finally:
        child.kill()
        child.wait()


def _failure(code: int, said: str) -> ToolError:
    """An error of lm-eval may quote a document, so of others than our own only the kind is told."""
    last = said.strip().splitlines()[-1] if said.strip() else ""
    if code == _WRONG and last.startswith("WRONG "):
        return ToolError(f"{last.removeprefix('WRONG ')}.")
    kind = last.split(":")[0] if last.split(":")[0].replace(".", "").isidentifier() else f"exit code {code}"
    return ToolError(f"lm-eval failed with {kind}.")
