"""A cell in a real kernel calls MCP tools: proxies, help, errors, interrupts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outside_kit import Make, Start, hostile, tracker

from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.host import CallReply, CellResult, KernelHost

Run = Callable[[str], CellResult]


@pytest.fixture
def run(start: Start, make: Make, tmp_path: Path) -> Iterator[Run]:
    servers = start(
        {
            "tracker": tracker(effects={"list_issues": "read", "wait": "read", "create-issue": "publish"}),
            "odd": hostile("names"),
            "bites": hostile("schemas", effects={"*": "read"}),
        }
    )
    specs = servers.specs()
    router = make(specs)

    def call(name: str, arguments: dict[str, object]) -> CallReply:
        outcome = router.call(name, arguments, source="cell-1")
        return CallReply(outcome.ok, outcome.value, outcome.message, outcome.hint)

    mounts = Mounts(tmp_path / "workspace", read_only=[], hidden=[])
    kernel = KernelHost(
        BareSandbox(),
        mounts,
        Limits(2048, 64, 256),
        [s.proxy() for s in specs],
        call,
        timeout_s=60,
        grace_s=5,
    )
    kernel.start()
    yield kernel.run
    kernel.close()


def test_a_cell_calls_it_by_position_and_by_name(run: Run) -> None:
    done = run(
        "a = tracker__list_issues('open', limit=1)\nb = tracker__list_issues(state='closed')\n(a[0].title, b)"
    )
    assert done.ok and done.value == "('first', [])"


def test_help_and_signature_are_those_of_a_function(run: Run) -> None:
    done = run("import inspect\nhelp(tracker__list_issues)\nprint(inspect.signature(tracker__list_issues))")
    assert done.ok and "| List the issues." in done.output and "limit: 'int' = 10" in done.output


def test_errors_are_tool_errors_that_a_cell_can_catch(run: Run) -> None:
    code = "def told(f, **k):\n    try: f(**k)\n    except ToolError as e: return str(e)\n"
    done = run(
        code + "print(told(tracker__list_issues, stat='x'))\nprint(told(tracker__create_issue, title='x'))"
    )
    assert "did you mean 'state'" in done.output and "not allowed" in done.output


def test_names_that_a_cell_has_keep_their_meaning(run: Run) -> None:
    done = run("print(len('abc')); bites__odd(self=1)\nfinal_answer('mine')")
    assert done.final and done.answer == "mine" and done.output.startswith("3")


def test_time_in_a_call_is_not_the_cells(run: Run) -> None:
    began = time.monotonic()
    assert run("tracker__wait(seconds=1.0)").value == "'waited'"
    assert time.monotonic() - began < 100
