"""No path to a tool avoids the gate: the same answer for every source, and nobody but the router calls a tool."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.gated import CALLS, build, lines

import ml_intern
from ml_intern.router.registry import load_tools
from ml_intern.router.router import Router
from ml_intern.settings import Settings
from ml_intern.tooling import tool

Make = Callable[..., Router]
HOUSE = Path(ml_intern.__file__).parent
SOURCES = ("cell", "cell-7", "mcp:files", "web", "replay")
READERS = ("research", "research:2", "research-2")
"""Sub-agents: below what the gate allows, they may only read."""

REQUESTS: list[tuple[str, dict[str, Any], str]] = [
    ("echo", {"text": "x"}, "allow"),
    ("cancel", {"job": "x"}, "allow"),
    ("spend", {"usd": 1}, "allow"),
    ("spend", {"usd": 7}, "deny"),
    ("spend", {"usd": None}, "deny"),
    ("push", {"repo": "me/x"}, "allow"),
    ("push", {"repo": "me/x", "private": False}, "deny"),
    ("script", {"code": "x", "network": True}, "deny"),
    ("wipe", {"what": "x"}, "deny"),
    ("nothing", {}, "wrong"),
    ("echo", {"txt": "x"}, "wrong"),
]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *given, **more: build(tmp_path, *given, **more)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("name", "given", "wanted"), REQUESTS)
def test_every_source_meets_the_same_gate(
    make: Make, source: str, name: str, given: dict[str, Any], wanted: str
) -> None:
    router = make(budget="5 usd")
    outcome = router.call(name, given, source=source)
    assert (outcome.ok, outcome.denied) == (wanted == "allow", wanted == "deny")
    assert bool(CALLS) == (wanted == "allow")
    kind = "refusal" if wanted == "wrong" else "decision"
    assert lines(router, kind)[0]["source"] == source


@pytest.mark.parametrize("source", READERS)
@pytest.mark.parametrize(("name", "given", "wanted"), REQUESTS)
@pytest.mark.parametrize("yes", [[], ["write", "compute", "publish", "destroy", "network"]])
def test_a_sub_agent_reads_and_nothing_else(
    make: Make, source: str, name: str, given: dict[str, Any], wanted: str, yes: list[str]
) -> None:
    router = make(budget="5 usd", yes=yes)
    outcome = router.call(name, given, source=source)
    assert outcome.ok == bool(CALLS) == (name == "echo" and wanted == "allow") and not outcome.denied
    decided = [line["source"] for line in lines(router, "decision")]
    refused = [line["source"] for line in lines(router, "refusal")]
    assert decided + refused == [source] and bool(refused) != outcome.ok
    assert not lines(router, "question")


def test_a_rule_that_denies_reading_is_met_by_a_sub_agent_too(make: Make) -> None:
    rules = [{"tool": "echo", "source": "research:2", "action": "deny", "reason": "not this one"}]
    router = make(policy=rules)
    assert router.call("echo", {"text": "x"}, source="research:2").denied
    assert router.call("echo", {"text": "x"}, source="research:1").ok


@pytest.mark.parametrize("source", SOURCES)
def test_the_decision_is_the_same_line_but_for_its_source(make: Make, source: str, tmp_path: Path) -> None:
    def told(source: str, folder: str) -> list[dict[str, Any]]:
        (tmp_path / folder).mkdir(exist_ok=True)
        router = build(tmp_path / folder, budget="5 usd")
        for name, given, _ in REQUESTS:
            router.call(name, given, source=source)
        return [{k: v for k, v in row.items() if k != "source"} for row in lines(router, "decision")]

    assert told(source, "a") == told("cell", "b")


def test_every_decision_leaves_a_line(make: Make) -> None:
    router = make(budget="5 usd", policy=[{"tool": "echo", "action": "deny", "reason": "quiet"}])
    router.call("spend", {"usd": 3, "hours": 1}, source="cell-1")
    router.call("echo", {"text": "x"}, source="research:1")
    router.call("wipe", {"what": "x"}, source="mcp:files")
    router.call("spend", {"usd": 4}, source="web")
    router.call("spend", {"us": 4}, source="replay")
    spent, quiet, wiped, dear = lines(router, "decision")
    assert (spent["decision"], spent["rule"], spent["effect"], spent["source"]) == (
        "allow",
        "default 5",
        "compute",
        "cell-1",
    )
    assert spent["price"] == {"usd": 3.0, "gpu_hours": 1.0, "jobs": 1} and spent["left"] == {"usd": 2.0}
    assert (quiet["decision"], quiet["rule"], quiet["reason"]) == ("deny", "policy 1", "quiet")
    assert (wiped["decision"], wiped["rule"]) == ("ask", "default 1")
    assert (dear["decision"], dear["rule"], dear["left"]) == ("ask", "budget", {"usd": 2.0})
    refused = lines(router, "refusal")
    assert [r["tool"] for r in refused] == ["echo", "wipe", "spend", "spend"]
    assert [r["denied"] for r in refused] == [True, True, True, False]
    assert [a["allowed"] for a in lines(router, "answer")] == [False, False]
    assert {line["call"] for line in lines(router, "intent")} == {spent["call"]}


def test_the_audit_holds_no_credentials(make: Make) -> None:
    secret = "hf_" + "b" * 34
    router = make()
    for name in ("echo", "shout", "nothing"):
        router.call(name, {"text": secret})
    router.call("wipe", {"what": secret, "txt": secret})
    assert len(lines(router, "refusal")) == 3
    assert secret.encode() not in router.journal.path.read_bytes()


def test_a_refusal_is_found_again_by_its_key_unless_the_run_was_stopped(make: Make) -> None:
    router = make()
    router.call("wipe", {"what": "x"}, source="cell-1")
    router.interrupted.set()
    router.call("wipe", {"what": "x"}, source="cell-1")
    refused, stopped = lines(router, "refusal")
    assert refused["key"].startswith("s1:") and refused["denied"] and "--yes destroy" in refused["message"]
    assert "key" not in stopped


def test_a_tool_gets_the_credentials_that_it_declares(make: Make) -> None:
    seen: list[Any] = []

    @tool(effect="read", needs=["github"])
    def look(ctx: Any) -> None:
        """Look."""
        seen.append(tuple(ctx.needs))

    assert make(tools=[look]).call("look", {}).ok and seen == [("github",)]


# Hostile calls


def test_thousands_of_forbidden_calls_are_refused_and_cost_little(make: Make) -> None:
    router = make()
    for n in range(2000):
        assert router.call("wipe", {"what": f"file-{n % 7}"}, source="cell-1").denied
    assert CALLS == [] and len(router.denied) == 1
    assert len(lines(router, "refusal")) == 2000
    assert router.journal.path.stat().st_size < 4_000_000


def test_fifty_threads_at_once(make: Make) -> None:
    router = make(budget="20 usd, 20 jobs")
    outcomes: list[Any] = []

    def work(n: int) -> None:
        outcomes.append(router.call("spend", {"usd": 1}, source=f"cell-{n}"))
        outcomes.append(router.call("wipe", {"what": "x"}, source=f"cell-{n}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(o.ok for o in outcomes) == 20 and len(outcomes) == 100
    assert router.budget.used("usd") == 20 and router.budget.reserved("usd") == 0
    ids = [row["call"] for row in lines(router, "refusal")] + [row["call"] for row in lines(router, "intent")]
    assert len(ids) == len(set(ids)) == 100


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"code": "x" * 5_000_000}, "longer than 4 MB"),
        ({"code": "x", "config": {"a": ["y" * 1000] * 5000}}, "longer than 4 MB"),
        ({"code": "x", "config": deep(150)}, "nested deeper than 100"),
        ({"code": "x", "config": deep(100_000)}, "nested deeper than 100"),
        ({"code": "half \ud800"}, "half a character"),
        ({"code": "x", "config": {"\udfff": 1}}, "half a character"),
    ],
)
def test_absurd_arguments_are_refused(make: Make, given: dict[str, Any], told: str) -> None:
    router = make()
    outcome = router.call("script", given)
    assert told in outcome.message and CALLS == []
    assert len(lines(router, "refusal")) == 1 and router.journal.path.stat().st_size < 500_000
    assert router.call("echo", {"text": "on"}).ok


def test_a_name_that_is_no_name_is_refused_shortly(make: Make) -> None:
    router = make()
    outcome = router.call("x" * 1_000_000, {})
    assert not outcome.ok and len(outcome.message) < 300
    assert len(lines(router, "refusal")[0]["tool"]) == 100


def test_a_price_that_cannot_be_told_is_not_zero(make: Make) -> None:
    router = make(budget="5 usd")
    outcome = router.call("riddle", {})
    assert outcome.denied and "price is not known" in outcome.message and CALLS == []
    assert lines(router, "tool_bug")


@pytest.mark.parametrize("usd", [-5, float("nan"), float("inf"), float("-inf")])
def test_a_price_that_is_no_price_is_asked_about(make: Make, usd: float) -> None:
    router = make(budget="5 usd")
    assert router.call("spend", {"usd": usd}).denied
    assert router.budget.used("usd") == 0 and router.budget.left()["usd"] == 5


def test_what_was_set_aside_for_a_call_that_fails_is_given_back(make: Make) -> None:
    router = make(budget="5 usd")
    for _ in range(3):
        outcome = router.call("crash", {"usd": 4})
        assert not outcome.ok and "MemoryError" in outcome.message
    assert router.budget.used("usd") == 0


# The architecture


@cache
def modules() -> list[tuple[Path, ast.Module]]:
    """All of the house, read once."""
    return [(path.relative_to(HOUSE), ast.parse(path.read_text())) for path in sorted(HOUSE.rglob("*.py"))]


def texts(tree: ast.AST) -> Iterator[str]:
    """Every name and every text in the code."""
    for node in ast.walk(tree):
        yield from (value for _, value in ast.iter_fields(node) if isinstance(value, str))


def uses(tree: ast.AST, attribute: str) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == attribute:
            yield node


def test_nobody_but_the_router_calls_a_tool() -> None:
    """`ToolSpec.call` and `ToolSpec.function` are what runs a tool; the router is the one who may."""
    found: set[str] = set()
    for path, tree in modules():
        calls = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
        for func in calls:
            if isinstance(func, ast.Attribute) and func.attr in ("call", "function"):
                found.add(f"{path}: {ast.unparse(func)}")
    runs = {f for f in found if "spec" in f.partition(": ")[2] or f.endswith(".function")}
    # What a declaration does with its own function is its own affair; `ToolSpec.call` is how it is asked.
    own = {"tooling.py: self.function", "outside/spec.py: self.function"}
    assert runs - own == {"router/router.py: call.spec.call"}, sorted(found)


def test_the_function_of_a_tool_is_read_only_where_it_is_declared() -> None:
    readers = {str(path) for path, tree in modules() for _ in uses(tree, "function")}
    assert readers <= {"tooling.py", "outside/spec.py"}, readers
    markers = {str(path) for path, tree in modules() if any("__tool__" in text for text in texts(tree))}
    assert markers <= {"tooling.py"}, markers


def test_nobody_imports_a_tool_to_call_it_by_hand(tmp_path: Path) -> None:
    tools = {spec.name for spec in load_tools(Settings.load(state=tmp_path))}
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ml_intern.tools"):
                taken = {alias.name for alias in node.names} & tools
                assert not taken, f"{path} imports {taken}"


def test_no_tool_calls_another_tool(tmp_path: Path) -> None:
    tools = {spec.name for spec in load_tools(Settings.load(state=tmp_path))}
    for path in sorted((HOUSE / "tools").glob("*.py")):
        tree = ast.parse(path.read_text())
        called = {
            n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert not called & tools, f"{path.name} calls {called & tools}"


def functions(path: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((HOUSE / path).read_text())
    return {f.name: f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}


def callers(path: str, method: str) -> list[str]:
    found = [
        (name, n.func) for name, f in functions(path).items() for n in ast.walk(f) if isinstance(n, ast.Call)
    ]
    return [name for name, func in found if isinstance(func, ast.Attribute) and func.attr == method]


def test_the_router_asks_the_gate_before_it_runs_anything() -> None:
    """`_run` is reached with what the gate's consent has answered; or, where an earlier process had asked the
    gate and had set the price aside, after the policy and the budget of today were asked again."""
    assert callers("router/router.py", "_run") == ["call"]
    body = ast.unparse(functions("router/router.py")["call"])
    asked = ["call = self.consent.again(call)", "call = self.consent.given(Call.of(", "self._run(call)"]
    assert sorted(asked, key=body.index) == asked
    early = ["check_reading(", "self._taken_up(", *asked]
    assert sorted(early, key=body.index) == early, "a sub-agent is refused before all else"
    between = ast.unparse(functions("router/router.py")["call"]).partition(asked[1])[2].partition(asked[2])[0]
    assert "call =" not in between


def test_consent_is_the_policy_and_the_budget() -> None:
    """Each way through `Consent` passes the gate's decision and sets the price aside."""
    asks = {name: ast.unparse(f) for name, f in functions("router/consent.py").items()}
    for way in ("given", "again", "_asked"):
        assert "self._decide(call)" in asks[way] and "self._reserve(call, " in asks[way], way
        returned = [line.strip() for line in asks[way].splitlines() if line.strip().startswith("return ")]
        assert set(returned) <= {"return call", "return self._asked(call)"}, way
    assert "self._gate.decide(" in asks["_decide"] and "self._budget.reserve(" in asks["_reserve"]
    assert set(callers("router/router.py", "given") + callers("router/router.py", "again")) == {"call"}
