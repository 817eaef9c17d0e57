from __future__ import annotations

import compileall
import gc
import itertools
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# Tests meet no Hub and no provider but those on loopback, and no account of the person who runs them.
ACCOUNTS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "HF_TOKEN_PATH", "HF_ENDPOINT", "XDG_CACHE_HOME")
for name in (*ACCOUNTS, "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
    os.environ.pop(name, None)
for name in [n for n in os.environ if n.startswith("ML_INTERN_") and n != "ML_INTERN_SCREENSHOTS"]:
    os.environ.pop(name)
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where nothing compiled is kept, each of the hundreds of processes that tests start would compile all sources
# anew. They are compiled once, as in an installed package; what tests write themselves is kept out of it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    for house in ("ml_intern", "tools", "sandbox"):
        compileall.compile_dir(Path(__file__).parents[1] / house, quiet=2)
# pytest's own rewriting of the tests' assertions is kept as well: it takes longer than their imports.
KEEPS_NOTHING, sys.dont_write_bytecode = sys.dont_write_bytecode, False
# A project's settings are the tests' own; tests/test_trust.py looks at others'.
os.environ["ML_INTERN_TRUST_PROJECT"] = "1"

# Each run meets the same examples; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


_HOMES = itertools.count()


QUICK = ("documentation", "documents", "papers", "prompts", "repositories", "viewer", "web")
"""Folders whose files take a moment each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, quick ones last: at the end all processes have something short to do.

    First of all come those whose tests ask for more time than all have: one of them at the end would run alone.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    longest: dict[Path, float] = {}
    for item in items:
        asked = item.get_closest_marker("timeout")
        if asked and asked.args[0] > float(item.config.getini("timeout") or 0):
            longest[item.path] = max(longest.get(item.path, 0), asked.args[0])

    def rank(item: pytest.Item) -> tuple[float, bool, bool]:
        return -longest.get(item.path, 0), item.path not in slow, item.path.parent.name in QUICK

    items.sort(key=rank)


def pytest_collectstart() -> None:
    """What is collected stays to the end: to look for garbage while it grows takes a fifth of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay to the end: no garbage collection need look through them again."""
    sys.dont_write_bytecode = KEEPS_NOTHING
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a state folder and a home of its own."""
    # pytest's own numbering looks through all folders there are, each time.
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_HOMES))
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ML_INTERN_STATE", str(home / "state"))
    return home / "state"
