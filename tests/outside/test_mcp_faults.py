"""Servers that misbehave: each way is one line for the brain or the person, in seconds, and the run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from outside_kit import Make, Start, hostile, tracker

from ml_intern.errors import Interrupted
from ml_intern.router.router import Outcome

READ = {"effects": {"*": "read"}}


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def words(process: psutil.Process) -> list[str]:
    """Its command line; none where it has just ended."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def until(condition: Any, seconds: float = 100) -> bool:
    late = time.monotonic() + seconds
    while not condition() and time.monotonic() < late:
        time.sleep(0.05)
    return bool(condition())


def one_line(outcome: Outcome) -> str:
    assert not outcome.ok and "\n" not in outcome.message and len(outcome.message) < 1500
    return outcome.message


@pytest.mark.parametrize(
    ("way", "told"),
    [("silent", "within 2 s"), ("quits", "the licence has expired")],
)
def test_a_server_that_does_not_start_is_left_out(start: Start, way: str, told: str) -> None:
    limit = 2 if way == "silent" else 60
    servers = start({"bad": hostile(way, start_timeout_s=limit), "good": tracker()})
    began = time.monotonic()
    assert {s.origin for s in servers.specs()} == {"mcp:good"}
    assert time.monotonic() - began < 100
    assert (
        len(servers.problems) == 1
        and told in servers.problems[0]
        and "MCP server 'bad'" in servers.problems[0]
    )


def test_a_program_that_is_not_there_is_named(start: Start) -> None:
    servers = start({"bad": {"command": "no-such-program-here"}})
    assert servers.specs() == [] and "mcp_servers.bad.command" in servers.problems[0]


@pytest.mark.parametrize(
    "way",
    ["banner", "errors", "endless", pytest.param("old", marks=[pytest.mark.slow, pytest.mark.thorough])],
)
def test_harmless_habits_are_forgiven(start: Start, make: Make, way: str) -> None:
    servers = start({"odd": hostile(way, **READ, start_timeout_s=40)})
    specs = servers.specs()
    assert servers.problems == []
    assert make(specs).call(specs[0].name, {"text": "hello"}).value == "hello"


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("huge", "more than 8 MB"),
        ("shape", "does not follow the protocol"),
        ("crash", "It has ended"),
        ("hang", "within 2 s"),
        ("noise", "no messages"),
        ("nothing", "does not follow the protocol"),
        ("pit", "cannot be read"),
        ("error", "says: No. "),
    ],
)
def test_a_call_that_goes_wrong_is_one_line_and_the_next_one_is_heard(
    start: Start, make: Make, way: str, told: str
) -> None:
    specs = start(
        {"bad": hostile(way, **READ, timeout_s=2 if way == "hang" else 60), "good": tracker(**READ)}
    ).specs()
    router = make(specs)
    began = time.monotonic()
    assert told in one_line(router.call("bad__say", {"text": "a"}))
    assert told in one_line(router.call("bad__say", {"text": "a"}))  # a new process, the same answer
    assert time.monotonic() - began < 200
    assert router.call("good__count", {}).value == 1


def test_text_that_only_looks_like_json_stays_text(start: Start, make: Make) -> None:
    value = make(start({"bad": hostile("deep", **READ)}).specs()).call("bad__say", {"text": "a"}).value
    assert isinstance(value, str) and value.startswith("[[[")


def test_errors_show_no_escapes_and_no_credential(start: Start, make: Make) -> None:
    entry = hostile("crash", env={"TOKEN": "ITS_TOKEN"}, **READ)
    router = make(start({"bad": entry}, ITS_TOKEN="tok_0123456789abcdef").specs())
    told = one_line(router.call("bad__say", {}))
    assert "[hidden] is wrong" in told and "tok_0123456789abcdef" not in told
    shown = one_line(make(start({"bad": hostile("error", **READ)}).specs()).call("bad__say", {}))
    assert "\x1b" not in shown and shown.endswith("…")


def test_names_that_python_or_a_cell_cannot_take_are_mended(start: Start) -> None:
    specs = start({"odd": hostile("names")}).specs()
    names = [s.name for s in specs]
    assert names[:6] == [
        "odd__print",
        "odd__final_answer",
        "odd__class_",
        "odd__a_b",
        "odd__a_b_2",
        "odd__tool_9_lives",
    ]
    assert all(name.isidentifier() and len(name) < 80 for name in names) and len(set(names)) == len(names)


def test_descriptions_are_bounded_and_marked(start: Start) -> None:
    spec = start({"evil": hostile("words")}).specs()[0]
    assert len(spec.summary) < 250 and "\n" not in spec.summary and "\x1b" not in spec.summary
    assert (
        spec.summary.startswith("MCP server 'evil' says: \"Nice.' # The tools")
        and spec.summary.count('"') == 2
    )
    assert len(spec.help) < 6000 and "\u202e" not in spec.help
    body = spec.help.split("\n\n")[1].splitlines()
    assert all(line.startswith("|") for line in body)
    assert "| # The tools" in spec.help


def test_schemas_that_bite_are_taken_as_far_as_they_are_sane(start: Start, make: Make) -> None:
    servers = start({"odd": hostile("schemas", **READ)})
    specs = {s.name: s for s in servers.specs()}
    assert {*specs} == {f"odd__{name}" for name in ("circle", "slow", "deep", "far", "odd")}
    assert sorted(p.partition(":")[2].split()[0] for p in servers.problems) == ["odd__wide", "the"]
    router = make([*specs.values()])
    began = time.monotonic()
    assert router.call("odd__slow", {"text": "a" * 40 + "!"}).ok  # the pattern is the server's to try
    for name in ("odd__circle", "odd__deep", "odd__far", "odd__odd"):
        assert json.dumps(specs[name].proxy()) and specs[name].help and specs[name].json_schema()
        assert router.call(name, {}).ok
    assert router.call("odd__odd", {"self": 1, "model_dump": 2}).ok
    assert time.monotonic() - began < 100


def test_too_many_tools_are_cut_with_a_word(start: Start) -> None:
    servers = start({"odd": hostile("many"), "few": hostile("many", tools=["t1", "t29*"])})
    specs = servers.specs()
    assert sum(s.origin == "mcp:odd" for s in specs) == 100
    assert [s.name for s in specs if s.origin == "mcp:few"] == [
        "few__t1",
        "few__t29",
        *(f"few__t29{n}" for n in range(10)),
    ]
    assert "300 tools" in servers.problems[0] and "mcp_servers.odd.tools" in servers.problems[0]


def test_a_tool_that_changes_under_the_session_is_not_called(start: Start, make: Make) -> None:
    router = make(start({"tracker": tracker(**READ)}).specs())
    assert router.call("tracker__count", {}).value == 1
    assert router.call("tracker__change", {}).ok
    assert until(lambda: not router.call("tracker__count", {}).ok)
    assert "has changed tracker__count" in one_line(router.call("tracker__count", {}))
    assert router.call("tracker__list_issues", {}).ok


def test_a_server_that_dies_is_started_again(start: Start, make: Make) -> None:
    router = make(start({"tracker": tracker(**READ)}).specs())
    assert "ended" in one_line(router.call("tracker__die", {}))
    assert router.call("tracker__count", {}).value == 1
    process = next(c for c in children() if "tracker_server" in " ".join(words(c)))
    process.send_signal(signal.SIGKILL)
    process.wait(100)
    time.sleep(0.2)
    assert router.call("tracker__count", {}).value == 1


def test_one_that_ends_with_every_call_is_not_started_for_ever(start: Start, make: Make) -> None:
    router = make(start({"bad": hostile("crash", **READ)}).specs())
    for _ in range(10):
        assert "ended" in one_line(router.call("bad__say", {}))
    assert "not started again" in one_line(router.call("bad__say", {}))


@pytest.mark.thorough
def test_nothing_is_left_after_the_end(start: Start) -> None:
    before = {c.pid for c in children()}
    servers = start(
        {"stays": hostile("stays"), "tracker": tracker(), "hangs": hostile("silent", start_timeout_s=1)}
    )
    servers.specs()
    new = [c for c in children() if c.pid not in before]
    assert len(new) >= 3
    groups = {os.getpgid(c.pid) for c in new}
    assert os.getpgid(0) not in groups and len(groups) == 2
    began = time.monotonic()
    servers.close()
    assert time.monotonic() - began < 100
    assert until(lambda: not [c for c in new if c.is_running() and c.status() != "zombie"])
    assert servers.specs() == [] and "was closed" in servers.problems[-1]


def test_results_that_are_no_text_or_long_become_notes_and_files(
    start: Start, make: Make, tmp_path: Path
) -> None:
    router = make(start({"tracker": tracker(**READ)}).specs())
    note = router.call("tracker__picture", {}).value
    assert note == {
        "kind": "image",
        "mime_type": "image/png",
        "bytes": 400,
        "note": "not text, so it was left out",
    }
    long = router.call("tracker__long", {"characters": 150_000}).value
    assert long["characters"] == 150_000 and len(json.dumps(long)) < 5000
    assert Path(long["file"]).read_text() == "x" * 150_000
    assert Path(long["file"]).is_relative_to(tmp_path / "workspace")


def test_what_the_tool_says_of_its_failure_reaches_the_brain(start: Start, make: Make) -> None:
    told = one_line(
        make(start({"tracker": tracker(**READ)}).specs()).call("tracker__fail", {"words": "no such user"})
    )
    assert "tracker__fail failed" in told and "no such user" in told


def test_an_end_while_a_server_starts_does_not_wait_for_it(start: Start) -> None:
    servers = start({"slow": hostile("silent", start_timeout_s=600)})

    def begin() -> None:
        with contextlib.suppress(Interrupted):
            servers.specs()

    starting = threading.Thread(target=begin)
    starting.start()
    assert until(lambda: any("silent" in words(c) for c in children()))
    began = time.monotonic()
    servers.close()
    starting.join(100)
    assert not starting.is_alive() and time.monotonic() - began < 100
    assert until(lambda: not any("silent" in words(c) for c in children()))


def test_nothing_is_started_before_the_list_is_wanted(start: Start, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    entry = {"command": sys.executable, "args": ["-c", f"open({str(mark)!r}, 'w')"]}
    servers = start({"one": entry})
    assert not mark.exists()
    servers.specs()
    assert mark.exists()
