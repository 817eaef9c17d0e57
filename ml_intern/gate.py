"""Decides on each call: allow, ask or deny; by effect, arguments and price, never by a list of tool names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml_intern.budget import Budget
from ml_intern.errors import UsageError
from ml_intern.tooling import EFFECTS, Effect, Price, ToolSpec, did_you_mean

Action = Literal["allow", "ask", "deny"]


class Rule(BaseModel):
    """One line of policy; the first rule that matches decides.

    Attributes:
        tool: Glob over the tool's name.
        effect: The effects that the rule is about; nothing means all.
        where: Argument name to glob over its value, written as text.
        above_usd: The rule holds only for prices above this, in dollars.
        action: What is decided.
        reason: Told to the person and to the brain.
    """

    model_config = ConfigDict(extra="forbid")

    tool: str = "*"
    effect: list[Effect] = Field(default_factory=list)
    where: dict[str, str] = Field(default_factory=dict)
    above_usd: float | None = None
    action: Action
    reason: str = ""

    def matches(self, spec: ToolSpec, arguments: dict[str, Any], price: Price) -> bool:
        """Whether the rule is about this call."""
        if not fnmatchcase(spec.name, self.tool) or (self.effect and spec.effect not in self.effect):
            return False
        if any(not fnmatchcase(str(arguments.get(name)), glob) for name, glob in self.where.items()):
            return False
        return self.above_usd is None or price.usd is None or price.usd > self.above_usd


DEFAULT_POLICY: tuple[Rule, ...] = (
    Rule(effect=["read", "write"], action="allow"),
    Rule(effect=["compute"], action="allow"),
    Rule(effect=["publish"], where={"private": "True"}, action="allow"),
    Rule(effect=["publish"], action="ask", reason="it leaves this machine and others can see it"),
    Rule(effect=["destroy"], action="ask", reason="it cannot be undone"),
    Rule(action="ask"),
)


@dataclass(frozen=True)
class Decision:
    """What the gate says, and why."""

    action: Action
    reason: str = ""


class Gate:
    """Applies the policy of the settings, then the defaults, then the price."""

    def __init__(self, policy: Sequence[dict[str, Any]], budget: Budget, yes: Sequence[str] = ()) -> None:
        self.rules = [*_read_policy(policy), *DEFAULT_POLICY]
        self.budget = budget
        self.yes = _read_effects(yes)
        self.always: set[str] = set()

    @staticmethod
    def check(policy: Sequence[dict[str, Any]], yes: Sequence[str]) -> None:
        """Refuse rules and effects that cannot be read.

        Raises:
            UsageError: Names the rule or the effect.
        """
        _read_policy(policy)
        _read_effects(yes)

    def decide(self, spec: ToolSpec, arguments: dict[str, Any], price: Price) -> Decision:
        """Allow, ask or deny one call."""
        rule = next(r for r in self.rules if r.matches(spec, arguments, price))
        if rule.action == "deny":
            return Decision("deny", rule.reason or f"the policy denies {spec.name}")
        if short := self.budget.shortfall(price):
            return Decision("ask", f"it {short}")
        if price.usd is None or price.gpu_hours is None:
            return Decision("ask", "its price is not known")
        if rule.action == "ask" and spec.effect not in self.yes and spec.name not in self.always:
            return Decision("ask", rule.reason or f"the policy asks about {spec.effect}")
        return Decision("allow")


def _read_policy(policy: Sequence[dict[str, Any]]) -> list[Rule]:
    rules = []
    for number, given in enumerate(policy, 1):
        try:
            rules.append(Rule.model_validate(given))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(p) for p in first["loc"])
            raise UsageError(f"Policy rule {number}, {where}: {first['msg'].lower()}.") from None
    return rules


def _read_effects(names: Sequence[str]) -> frozenset[str]:
    for name in names:
        if name not in EFFECTS:
            raise UsageError(
                f"--yes {name!r} is not one of {', '.join(EFFECTS)}{did_you_mean(name, EFFECTS)}."
            )
    return frozenset(names)
