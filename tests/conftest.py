from __future__ import annotations

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
for name in [n for n in os.environ if n.startswith("ML_INTERN_")]:
    os.environ.pop(name)
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A project's settings are the tests' own; tests/test_trust.py looks at others'.
os.environ["ML_INTERN_TRUST_PROJECT"] = "1"

# Each run meets the same examples; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


_HOMES = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: at the end all processes have something short to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay to the end: no garbage collection need look through them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a state folder and a home of its own."""
    # pytest's own numbering looks through all folders there are, each time.
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_HOMES))
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ML_INTERN_STATE", str(home / "state"))
    return home / "state"
