"""What becomes of an outside tool's call that a crash cut off: read again, told, or made again where declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from outside_kit import Make, Start, tracker

from ml_intern.errors import UsageError
from ml_intern.outside.config import read_entry
from ml_intern.router.recorded import Recorded
from ml_intern.router.registry import load_tools
from ml_intern.router.router import Router
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec

SERVER = tracker(
    effects={"count": "read", "create-*": "publish", "environment": "write"}, repeatable=["environ*"]
)


def again(make: Make, specs: list[ToolSpec], name: str, given: dict[str, Any]) -> Router:
    """A router whose earlier process was killed before it wrote down what came of this call."""
    router = make(specs, yes=["publish", "destroy"])
    assert router.call(name, given, "cell-1").ok
    kept = [entry for entry in router.journal.entries() if entry.kind != "result"]
    router.journal.close()
    router = make(specs, yes=["publish", "destroy"])
    router.earlier.recorded = Recorded.of(kept)
    return router


def test_what_a_server_may_have_done_is_told(start: Start, make: Make) -> None:
    router = again(make, start({"tracker": SERVER}).specs(), "tracker__create_issue", {"title": "second"})
    outcome = router.call("tracker__create_issue", {"title": "second"}, "cell-1")
    assert not outcome.ok and "Nobody knows whether tracker__create_issue" in outcome.message
    assert router.call("tracker__count", {}, "cell-1").value == 2


@pytest.mark.parametrize(("name", "effect"), [("count", "read"), ("environment", "write")])
def test_reading_and_what_the_settings_name_is_done_again(
    start: Start, make: Make, name: str, effect: str
) -> None:
    specs = start({"tracker": SERVER}).specs()
    assert next(s for s in specs if s.name == f"tracker__{name}").effect == effect
    router = again(make, specs, f"tracker__{name}", {})
    assert router.call(f"tracker__{name}", {}, "cell-1").ok


def test_the_names_are_words() -> None:
    with pytest.raises(UsageError, match=r"mcp_servers\.x\.repeatable"):
        read_entry("x", {"command": "true", "repeatable": "all"})


TOOLS = '''
from pathlib import Path

from smolagents import tool


def ran(what):
    with Path({ran!r}).open("a") as file:
        file.write(what)
    return what


@tool
def send(text: str) -> str:
    """Sends it.

    Args:
        text: What.
    """
    return ran(text)


@tool
def store(text: str) -> str:
    """Stores it.

    Args:
        text: What.
    """
    return ran(text)


send.effect = store.effect = "write"
store.repeatable = "the same text is stored"
'''


@pytest.mark.parametrize(("name", "times"), [("send", 1), ("store", 2)])
def test_a_smolagents_tool_says_whether_it_may_be_called_again(
    make: Make, tmp_path: Path, name: str, times: int
) -> None:
    pytest.importorskip("smolagents")
    folder, ran = tmp_path / "tools", tmp_path / "ran.txt"
    folder.mkdir()
    (folder / "own.py").write_text(TOOLS.format(ran=str(ran)))
    specs = [s for s in load_tools(Settings.load(tools=[folder])) if s.origin == "smolagents"]
    outcome = again(make, specs, name, {"text": "x"}).call(name, {"text": "x"}, "cell-1")
    assert ran.read_text() == "x" * times and outcome.ok == (times == 2)
