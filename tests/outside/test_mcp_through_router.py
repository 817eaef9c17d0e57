"""MCP tools take the way of every tool: validate, price, gate, budget, journal. Real servers, real router."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outside_kit import Loopback, Make, Start, hostile, tracker

from ml_intern.events import ApprovalNeeded, ToolProgress
from ml_intern.router.router import Answer, Router
from ml_intern.tooling import tool

EFFECTS = {
    "create-*": "publish",
    "list_issues": "read",
    "count": "read",
    "wait": "read",
    "work": "read",
    "ask": "read",
}


def kinds(router: Router) -> list[str]:
    return [entry.kind for entry in router.journal.entries()]


def test_a_tool_is_listed_with_its_names_types_and_marked_words(start: Start) -> None:
    specs = {s.name: s for s in start({"my-tracker": tracker(effects=EFFECTS)}).specs()}
    spec = specs["my_tracker__list_issues"]
    assert spec.signature == "my_tracker__list_issues(state: 'open' | 'closed' = 'open', limit: int = 10)"
    assert spec.summary == "MCP server 'my-tracker' says: \"List the issues. Newest last.\""
    assert "| Newest last." in spec.help and "not instructions" in spec.help
    assert (spec.effect, spec.origin) == ("read", "mcp:my-tracker")
    assert specs["my_tracker__create_issue"].effect == "publish"
    assert specs["my_tracker__environment"].effect == "destroy"
    assert [p["name"] for p in spec.proxy()["parameters"]] == ["state", "limit"]
    assert spec.json_schema()["properties"]["limit"]["anyOf"][0]["type"] == "integer"


@tool(effect="read")
def native(ctx: Any) -> int:
    """A native tool."""
    return 1


def test_a_call_returns_small_values_and_is_journaled_as_a_native_one(start: Start, make: Make) -> None:
    router = make([*start({"tracker": tracker(effects=EFFECTS)}).specs(), native.__tool__])  # type: ignore[attr-defined]
    assert router.call("native", {}).value == 1
    own = kinds(router)
    assert router.call("tracker__list_issues", {"limit": 1}).value == [
        {"id": 1, "title": "first", "state": "open"}
    ]
    assert router.call("tracker__count", {}).value == 1
    assert "result" in own and kinds(router) == own * 3
    intent = [e for e in router.journal.entries() if e.kind == "intent"][1].payload
    assert intent["tool"] == "tracker__list_issues" and intent["arguments"] == {"limit": 1}


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("tracker__list_isues", {}, "did you mean 'tracker__list_issues'"),
        ("tracker__list_issues", {"stat": "open"}, "did you mean 'state'"),
        ("tracker__list_issues", {"state": "opn"}, "did you mean 'open'"),
        ("tracker__list_issues", {"limit": "many"}, "limit"),
        ("tracker__create_issue", {}, "missing argument 'title'"),
    ],
)
def test_wrong_calls_never_reach_the_server(
    start: Start, make: Make, name: str, given: dict[str, Any], told: str
) -> None:
    router = make(start({"tracker": tracker(effects=EFFECTS)}).specs())
    outcome = router.call(name, given)
    assert not outcome.ok and told in outcome.message
    assert kinds(router) == ["refusal"]


def test_publishing_is_asked_about_denied_headless_and_allowed_by_yes(start: Start, make: Make) -> None:
    specs = start({"tracker": tracker(effects=EFFECTS)}).specs()
    given = {"title": "mine"}

    headless = make(specs)
    denied = headless.call("tracker__create_issue", given)
    assert denied.denied and "--yes publish" in denied.message and headless.denied
    asked: list[ApprovalNeeded] = []

    def approver(question: ApprovalNeeded) -> Answer:
        asked.append(question)
        return Answer(True, arguments={"title": "edited"})

    assert make(specs, approver=approver).call("tracker__create_issue", given).value == "issue 2"
    assert asked[0].arguments == given and asked[0].effect == "publish"
    assert make(specs, yes=["publish"]).call("tracker__create_issue", given).value == "issue 3"
    listed = make(specs).call("tracker__list_issues", {}).value
    assert [one["title"] for one in listed] == ["first", "edited", "mine"]


def test_an_argument_named_private_opens_no_way_round_the_question(start: Start, make: Make) -> None:
    router = make(start({"tracker": tracker(effects=EFFECTS)}).specs())
    assert router.call("tracker__create_issue", {"title": "x", "private": True}).denied
    assert router.call("tracker__count", {}).value == 1


def test_what_nobody_declared_is_asked_about_whatever_the_server_says(start: Start, make: Make) -> None:
    router = make(start({"tracker": tracker()}).specs(), yes=["publish", "compute"])
    assert router.call("tracker__create_issue", {"title": "x"}).denied  # its annotation says: read only
    assert router.call("tracker__count", {}).denied


def test_a_policy_rule_and_a_yes_open_what_is_undeclared(start: Start, make: Make) -> None:
    specs = start({"tracker": tracker()}).specs()
    rule = {"tool": "tracker__count", "effect": ["destroy"], "action": "allow"}
    router = make(specs, policy=[rule])
    assert router.call("tracker__count", {}).ok and router.call("tracker__environment", {}).denied
    assert make(specs, yes=["destroy"]).call("tracker__environment", {}).ok


def test_a_declared_price_is_spent_and_an_unknown_one_is_asked_about(start: Start, make: Make) -> None:
    entry = tracker(effects={"*": "compute"}, prices={"count": 2.0})
    router = make(start({"paid": entry}).specs(), budget="5 usd")
    assert router.call("paid__count", {}).ok and router.call("paid__count", {}).ok
    third = router.call("paid__count", {})
    assert third.denied and "1 of 5 left" in third.message and router.budget.used("usd") == 4
    unknown = router.call("paid__list_issues", {})
    assert unknown.denied and "price" in unknown.message


def test_the_process_gets_path_and_what_its_entry_names(start: Start, make: Make, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    env = {
        "PATH": os.environ["PATH"],
        "HF_TOKEN": "x",
        "A_TOKEN": "first-secret-1",
        "B_TOKEN": "second-secret-2",
    }
    one = tracker(env={"TOKEN": "A_TOKEN"}, effects={"*": "read"})
    two = tracker(env=["B_TOKEN"], effects={"*": "read"})
    router = make(start({"one": one, "two": two}, **env).specs())
    found = {name: router.call(f"{name}__environment", {}).value for name in ("one", "two")}
    assert set(found["one"]) - {"LC_CTYPE"} == {"PATH", "TOKEN"}
    assert set(found["two"]) - {"LC_CTYPE"} == {"PATH", "B_TOKEN"}
    # Neither token comes into the cell, also where the server itself tells it.
    assert "secret" not in str(found)


def test_the_process_really_holds_its_token(start: Start, make: Make) -> None:
    script = "import os, sys; sys.exit(3 if os.environ['TOKEN'] == 'first-secret-1' else 4)"
    entry = {**tracker(env={"TOKEN": "A_TOKEN"}), "args": ["-c", script]}
    servers = start({"one": entry}, A_TOKEN="first-secret-1")
    assert servers.specs() == [] and "cannot be used" in servers.problems[0]


def test_a_token_goes_to_its_own_address_only(
    start: Start, make: Make, serve: Callable[..., Loopback]
) -> None:
    one, two = serve("token-of-one"), serve("token-of-two")
    env = {"ONE": "token-of-one", "TWO": "token-of-two", "HF_TOKEN": "hf_" + "b" * 34}
    servers = start(
        {
            "one": {"url": one.url, "token": "ONE", "effects": {"*": "read"}},
            "two": {"url": two.url, "token": "TWO", "effects": {"*": "read"}},
        },
        **env,
    )
    router = make(servers.specs())
    assert router.call("one__count", {}).value == 1 and router.call("two__count", {}).value == 1
    assert one.seen and two.seen
    assert {h["authorization"] for h in one.seen} == {"Bearer token-of-one"}
    assert {h["authorization"] for h in two.seen} == {"Bearer token-of-two"}
    assert "hf_" not in str(one.seen + two.seen)


@pytest.mark.parametrize("variable", ["HF_TOKEN", "OPENAI_API_KEY", "GITHUB_TOKEN"])
def test_the_key_of_a_known_service_goes_to_no_other_host(
    start: Start, serve: Callable[..., Loopback], variable: str
) -> None:
    server = serve()
    for entry in ({"token": variable}, {"headers": {"X-Key": variable}}):
        servers = start({"thief": {"url": server.url, **entry}}, **{variable: "a-key-of-the-person-1"})
        assert servers.specs() == [] and server.seen == []
        assert f"{variable} belongs to another host" in servers.problems[0]


def test_a_redirect_to_another_host_is_not_followed(start: Start, serve: Callable[..., Loopback]) -> None:
    thief, honest = serve(), serve("token-of-one")
    honest.redirect = thief.url
    servers = start({"one": {"url": honest.url, "token": "ONE"}}, ONE="token-of-one")
    assert servers.specs() == [] and thief.seen == []
    assert len(servers.problems) == 1 and "elsewhere" in servers.problems[0]


def test_a_server_that_refuses_the_token_or_is_away_is_one_line(
    start: Start, make: Make, serve: Callable[..., Loopback]
) -> None:
    server = serve("right")
    servers = start(
        {
            "wrong": {"url": server.url, "token": "ONE"},
            "away": {"url": "http://127.0.0.1:9/mcp"},
            "unset": {"url": server.url, "token": "NOT_SET"},
            "good": {"url": server.url, "token": "TWO", "effects": {"*": "read"}},
        },
        ONE="wrong-token",
        TWO="right",
    )
    began = time.monotonic()
    router = make(servers.specs())
    assert time.monotonic() - began < 100
    assert len(servers.problems) == 3 and all("\n" not in line for line in servers.problems)
    assert "NOT_SET, which is not set" in "".join(servers.problems) and "wrong-token" not in "".join(
        servers.problems
    )
    server.stop()
    gone = router.call("good__count", {})
    assert not gone.ok and "MCP server 'good'" in gone.message and "\n" not in gone.message


def test_a_call_is_stopped_with_the_run_and_the_server_is_told(
    start: Start, make: Make, tmp_path: Path
) -> None:
    router = make(start({"tracker": tracker(effects=EFFECTS)}).specs())
    left = tmp_path / "stopped"
    begun = tmp_path / "stopped.begun"

    def stop() -> None:
        while not begun.exists():
            time.sleep(0.02)
        router.interrupted.set()

    threading.Thread(target=stop, daemon=True).start()
    began = time.monotonic()
    outcome = router.call("tracker__wait", {"seconds": 600, "file": str(left)})
    assert not outcome.ok and time.monotonic() - began < 100
    late = time.monotonic() + 100
    while not left.exists() and time.monotonic() < late:
        time.sleep(0.05)
    assert left.exists()


def test_calls_run_side_by_side(start: Start, make: Make) -> None:
    router = make(start({"tracker": tracker(effects=EFFECTS)}).specs())
    began = time.monotonic()
    calls = [threading.Thread(target=router.call, args=("tracker__wait", {"seconds": 5})) for _ in range(8)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert time.monotonic() - began < 8 * 5
    assert sum(e.payload["ok"] for e in router.journal.entries() if e.kind == "result") == 8


def test_what_a_server_says_of_a_running_call_is_passed_on_bounded(start: Start, make: Make) -> None:
    router = make(start({"tracker": tracker(effects=EFFECTS)}).specs())
    assert router.call("tracker__work", {"steps": 500}).value == "worked"
    told = [event for event in router.services.events if isinstance(event, ToolProgress)]  # type: ignore[attr-defined]
    assert told and len(told) < 500
    assert told[0].fraction == pytest.approx(1 / 500)
    assert told[0].message.startswith("MCP server 'tracker' says: step") and "\x1b" not in told[0].message
    assert len(told[0].message) < 300


def test_a_server_gets_neither_the_person_nor_a_model(start: Start, make: Make) -> None:
    router = make(start({"tracker": tracker(effects=EFFECTS)}).specs())
    for what in ("person", "model", "roots"):
        outcome = router.call("tracker__ask", {"what": what})
        assert outcome.ok and str(outcome.value).startswith("declined"), what


def test_one_that_asks_with_its_answer_is_told_no(start: Start, make: Make) -> None:
    router = make(start({"h": hostile("asks", effects={"*": "read"})}).specs())
    outcome = router.call("h__say", {"text": "a"})
    assert not outcome.ok and "asked for more" in outcome.message
