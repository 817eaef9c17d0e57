"""Policy rules: what they are about, how they are read, what a slip of the pen does."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from support.gated import push, script, shout, spec_of, spend, wipe

from ml_intern.errors import UsageError
from ml_intern.prices import Price
from ml_intern.router.budget import Budget
from ml_intern.router.gate import Gate
from ml_intern.router.policy import idle_rules, policy_rows
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec
from ml_intern.trust import trust


def decide(
    policy: list[dict[str, Any]],
    spec: ToolSpec,
    given: dict[str, Any],
    price: Price | None = None,
    **more: Any,
) -> str:
    arguments = spec.validate(given).model_dump(mode="json")
    return (
        Gate(policy, Budget(), more.pop("yes", ())).decide(spec, arguments, price or Price(), **more).action
    )


def other(name: str, effect: Any, origin: str = "ml_intern") -> ToolSpec:
    def work(ctx: Any, items: list[str] | None = None, nested: dict[str, Any] | None = None) -> None:
        """Work."""

    return ToolSpec(name, work, effect, origin=origin)


DENY: dict[str, Any] = {"action": "deny"}


@pytest.mark.parametrize(
    ("rule", "given", "hit"),
    [
        ({"tool": "work"}, {}, True),
        ({"tool": ["play", "w*"]}, {}, True),
        ({"tool": "play"}, {}, False),
        ({"effect": "compute"}, {}, True),
        ({"effect": ["read", "compute"]}, {}, True),
        ({"effect": "read"}, {}, False),
        ({"where": {"nested.peft.r": 16}}, {"nested": {"peft": {"r": 16}}}, True),
        ({"where": {"nested.peft.r": "1*"}}, {"nested": {"peft": {"r": 16}}}, True),
        ({"where": {"nested.peft.r": 16}}, {"nested": {"peft": 16}}, False),
        ({"where": {"nested.a.b": "x"}}, {"nested": {"a.b": "x"}}, True),
        ({"where": {"nested.on": True}}, {"nested": {"on": True}}, True),
        ({"where": {"nested.on": "true"}}, {"nested": {"on": True}}, True),
        ({"where": {"nested.on": True}}, {"nested": {"on": False}}, False),
        ({"where": {"nested.list.name": "x*"}}, {"nested": {"list": [{"name": "a"}, {"name": "xy"}]}}, True),
        ({"where": {"nested.list.1": "b"}}, {"nested": {"list": ["a", "b"]}}, True),
        ({"where": {"nested.list.9": "b"}}, {"nested": {"list": ["a", "b"]}}, False),
        ({"where": {"items": "/etc/*"}}, {"items": ["a", "/etc/passwd"]}, True),
        ({"where": {"items": ["/etc/*", "/srv/*"]}}, {"items": ["/srv/x"]}, True),
        ({"where": {"items": "/ETC/*"}}, {"items": [" /etc/passwd"]}, True),
        ({"where": {"items": "*"}}, {}, False),
        ({"where": {"items": "*"}}, {"items": []}, False),
        ({"where": {"items": "*", "nested.a": 1}}, {"items": ["a"], "nested": {"a": 2}}, False),
    ],
)
def test_what_a_rule_is_about(rule: dict[str, Any], given: dict[str, Any], hit: bool) -> None:
    found = decide([{**DENY, **rule}], other("work", "compute"), given)
    assert found == ("deny" if hit else "allow")


def test_an_allowing_rule_is_read_narrowly() -> None:
    """Every item has to match, case counts, and what is grave has to be named."""
    deny = {"tool": "work", "action": "deny"}
    allow = {"tool": "work", "where": {"items": "data/*"}, "action": "allow"}
    work = other("work", "compute")
    assert decide([allow, deny], work, {"items": ["data/a", "data/b"]}) == "allow"
    assert decide([allow, deny], work, {"items": ["data/a", "/etc/passwd"]}) == "deny"
    assert decide([allow, deny], work, {"items": ["DATA/a"]}) == "deny"
    everything = [{"action": "allow"}]
    assert decide(everything, spec_of(wipe), {"what": "x"}) == "ask"
    assert decide([{"effect": "destroy", "action": "allow"}], spec_of(wipe), {"what": "x"}) == "allow"
    assert decide(everything, spec_of(script), {"code": "x", "network": True}) == "ask"
    opened = [{"tool": "script", "where": {"network": True}, "action": "allow"}]
    assert decide(opened, spec_of(script), {"code": "x", "network": True}) == "allow"


@pytest.mark.parametrize(
    ("limits", "price", "hit"),
    [
        ({"above_usd": 2}, Price(usd=2), False),
        ({"above_usd": 2}, Price(usd=2.01), True),
        ({"above_usd": 2}, Price(usd=None), True),
        ({"above_gpu_hours": 1}, Price(gpu_hours=1.5), True),
        ({"above_gpu_hours": 1}, Price(usd=9), False),
        ({"above_jobs": 0}, Price(jobs=1), True),
        ({"above_usd": 5, "above_gpu_hours": 1}, Price(gpu_hours=2), True),
    ],
)
def test_prices_in_rules(limits: dict[str, float], price: Price, hit: bool) -> None:
    found = decide([{**DENY, **limits}], spec_of(spend), {}, price)
    assert (found == "deny") == hit


@pytest.mark.parametrize(
    ("wanted", "source", "hit"),
    [
        ("cell", "cell", True),
        ("cell", "cell-3", True),
        ("research", "cell-3", False),
        ("research", "research:2", True),
        ("mcp:files", "mcp:files", True),
        ("mcp:*", "mcp:other", True),
        ("mcp:files", "mcp:other", False),
        (["web", "replay"], "replay", True),
        ("re*", "replay", True),
    ],
)
def test_sources_in_rules(wanted: str | list[str], source: str, hit: bool) -> None:
    found = decide([{**DENY, "source": wanted}], spec_of(spend), {}, source=source)
    assert (found == "deny") == hit


def test_a_rule_about_a_server_is_about_its_tools() -> None:
    theirs = other("files__read", "read", "mcp:files")
    assert decide([{**DENY, "source": "mcp:files"}], theirs, {}) == "deny"
    assert decide([{**DENY, "origin": "mcp:*"}], theirs, {}) == "deny"
    assert decide([{**DENY, "origin": "mcp:other"}], theirs, {}) == "allow"


def test_what_others_call_private_is_asked_about() -> None:
    def send(ctx: Any, private: bool = True) -> None:
        """Send."""

    found = {o: decide([], ToolSpec("send", send, "publish", origin=o), {}) for o in ("ml_intern", "mcp:x")}
    assert found == {"ml_intern": "allow", "mcp:x": "ask"}


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({}, "Policy rule 1: it has no 'action'."),
        ({"action": "perhaps"}, "action = 'perhaps' is not one of allow, ask, deny"),
        ({"action": "alow"}, "did you mean 'allow'"),
        ({"action": "ask", "efect": "read"}, "unknown key 'efect' (did you mean 'effect'?)"),
        ({"action": "ask", "effect": "publsh"}, "did you mean 'publish'"),
        ({"action": "ask", "above_usd": -1}, "above_usd"),
        ({"action": "ask", "above_usd": "much"}, "above_usd"),
        ({"action": "ask", "where": "x"}, "where"),
        ({"action": "ask", "source": "reserch"}, "'reserch' is not one of cell, research, mcp, web, replay"),
        ({"action": "ask", "yes": "sure"}, "yes = 'sure' is not one of"),
    ],
)
def test_a_rule_that_cannot_be_read_is_one_line(rule: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Gate.check([rule], [])
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("Policy rule 1")


def test_rules_come_from_the_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ml-intern.toml").write_text(
        '[[policy]]\ntool = "push"\nwhere = {repo = "me/*", private = false}\naction = "allow"\n'
        '[[policy]]\ntool = "push"\naction = "deny"\nreason = "only mine"\n'
    )
    trust(tmp_path / "ml-intern.toml")
    policy = Settings.load().policy
    assert decide(policy, spec_of(push), {"repo": "me/x", "private": False}) == "allow"
    assert decide(policy, spec_of(push), {"repo": "me/x", "private": True}) == "deny"
    assert decide(policy, spec_of(push), {"repo": "you/x"}) == "deny"


@pytest.mark.parametrize(
    ("yes", "effects"),
    [
        ([], set()),
        (["publish"], {"publish"}),
        (["destroy"], {"destroy"}),
        (["network"], {"network"}),
        (["compute"], set()),
        (["compute", "publish", "read", "write"], {"publish"}),
    ],
)
def test_a_yes_answers_what_it_names_and_nothing_else(yes: list[str], effects: set[str]) -> None:
    asked = {
        "publish": (spec_of(shout), {"text": "x"}),
        "destroy": (spec_of(wipe), {"what": "x"}),
        "network": (spec_of(script), {"code": "x", "network": True}),
    }
    assert {n for n, (s, given) in asked.items() if decide([], s, given, yes=yes) == "allow"} == effects


def test_a_yes_lifts_no_denial() -> None:
    assert decide([DENY], spec_of(shout), {"text": "x"}, yes=["publish"]) == "deny"


def test_an_unknown_price_is_answered_by_the_effect_alone() -> None:
    unknown = Price(usd=None)
    assert decide([], spec_of(spend), {}, unknown) == "ask"
    assert decide([], spec_of(spend), {}, unknown, yes=["publish"]) == "ask"
    assert decide([], spec_of(spend), {}, unknown, yes=["compute"]) == "allow"
    assert decide([{"tool": "spend", "action": "allow"}], spec_of(spend), {}, unknown) == "ask"


def test_rules_that_no_tool_can_meet_are_told() -> None:
    specs = [spec_of(f) for f in (push, spend)]
    policy = [
        {"tool": "psh", "action": "deny"},
        {"tool": "push", "where": {"rpo": "x"}, "action": "deny"},
        {"tool": "push", "where": {"repo": "x"}, "action": "deny"},
    ]
    told = idle_rules(policy, specs)
    assert len(told) == 2 and "did you mean 'push'" in told[0] and "did you mean 'repo'" in told[1]


def test_the_effective_policy_can_be_shown() -> None:
    rows = policy_rows([{"tool": "push", "above_usd": 2, "action": "deny", "reason": "dear"}], ["publish"])
    assert rows[0] == {
        "rule": "policy 1",
        "about": "push, above 2 usd",
        "action": "deny",
        "reason": "dear",
    }
    said = [(row["about"], row["action"]) for row in rows[1:]]
    assert ("effect publish", "allow (--yes publish)") in said and ("effect destroy", "ask") in said


Kind = Literal["read", "write", "compute", "publish", "destroy"]


@pytest.mark.parametrize(("effect", "action"), [("read", "allow"), ("write", "allow"), ("destroy", "ask")])
def test_listing_and_cancelling_never_ask_and_deleting_always_does(effect: Kind, action: str) -> None:
    """Whatever the ceiling says: what is free fits below it, also when nothing is left."""
    budget = Budget({"usd": 0, "jobs": 0, "gpu_hours": 0})
    for yes in ([], ["publish", "compute"]):
        assert Gate([], budget, yes).decide(other("x", effect), {}, Price()).action == action
