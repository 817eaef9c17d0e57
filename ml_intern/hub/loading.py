"""Loads a published model back in a fresh process: empty environment, empty cache, nothing but the Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from pydantic import BaseModel

from ml_intern.hub.client import Hub

TIMEOUT_S = 900
_ROOM = 1.5
_POLL_S = 0.1
# What a process on this machine may need to start at all, and to reach the network.
_KEPT = (
    "PATH LANG LC_ALL LD_LIBRARY_PATH SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE HTTP_PROXY HTTPS_PROXY "
    "ALL_PROXY http_proxy https_proxy all_proxy"
)


class LoadedBack(BaseModel):
    """Whether a model could be loaded from the Hub; `problem` says why not."""

    ok: bool
    parameters: int = 0
    problem: str = ""


def load_back(
    hub: Hub,
    repo: str,
    commit: str,
    timeout_s: float = TIMEOUT_S,
    cancelled: Callable[[], bool] = lambda: False,
) -> LoadedBack:
    """Load a model of a Hub with `AutoModelForCausalLM.from_pretrained` in a child process."""
    if _too_large(hub, repo, commit):
        return LoadedBack(
            ok=False, problem="it is too large for the free memory of this machine, so nobody tried"
        )
    script = Path(__file__).with_name("verify.py")
    with tempfile.TemporaryDirectory(prefix="ml-intern-verify-") as home:
        kept = {k: os.environ[k] for k in _KEPT.split() if k in os.environ}
        env = {
            **kept,
            "HOME": home,
            "HF_HOME": f"{home}/hf",
            "NO_PROXY": "127.0.0.1,localhost",
            **hub.environment(),
        }
        env |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
        argv = [sys.executable, "-I", "-W", "ignore", str(script), repo, commit]
        with (Path(home) / "out").open("w+") as out, (Path(home) / "err").open("w+") as err:
            child = subprocess.Popen(
                argv, env=env, cwd=home, stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )
            stopped = _wait(child, timeout_s, cancelled)
            told = [(file.seek(0), file.read())[1] for file in (out, err)]
    return LoadedBack(ok=False, problem=stopped) if stopped else _read(told[0], told[1], child.returncode)


def _wait(child: subprocess.Popen[bytes], timeout_s: float, cancelled: Callable[[], bool]) -> str:
    """Wait for a process to end; in words, why it was ended before."""
    deadline = time.monotonic() + timeout_s
    try:
        while child.poll() is None:
            if cancelled():
                return "the run was stopped before it was loaded"
            if time.monotonic() > deadline:
                return f"loading took more than {timeout_s:g} seconds"
            time.sleep(_POLL_S)
        return ""
    finally:
        child.kill()
        child.wait()


def _too_large(hub: Hub, repo: str, commit: str) -> bool:
    """Loading needs the weights once, with room for the libraries and the pass."""
    with hub.reach(repo):
        siblings = hub.api.model_info(repo, revision=commit, files_metadata=True).siblings or []
    weights = sum(s.size or 0 for s in siblings if s.rfilename.endswith(".safetensors"))
    return bool(weights * _ROOM > psutil.virtual_memory().available)


def _read(out: str, err: str, code: int) -> LoadedBack:
    try:
        found = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = err.strip().splitlines()
        return LoadedBack(ok=False, problem=last[-1][:300] if last else f"the process ended with {code}")
    if not found["finite"]:
        return LoadedBack(
            ok=False, parameters=found["parameters"], problem="its outputs are not finite numbers"
        )
    return LoadedBack(ok=True, parameters=found["parameters"])
