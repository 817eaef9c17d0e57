"""Decides on each call: allow, ask or deny; by effect, arguments and price, never by a list of tool names."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Any

from ml_intern.prices import Price
from ml_intern.router.budget import Budget
from ml_intern.router.policy import (
    DEFAULT_POLICY,
    NETWORK,
    OPENING,
    Action,
    Rule,
    read_policy,
    read_yes,
    values_at,
)
from ml_intern.tooling import ToolSpec

TARGETS = ("repo", "repo_id", "namespace", "private")
"""Arguments that say where something goes: an "always" for one repository is none for another."""

_SAID_CHARS = 80


@dataclass(frozen=True)
class Decision:
    """What the gate says, and why.

    Attributes:
        action: Allow, ask or deny.
        reason: Told to the person and to the brain.
        rule: What decided: ``policy 2``, ``default``, ``budget``, ``price``, ``--yes publish``, ``always``.
        yes: The word of ``--yes`` that would have allowed it; empty where none does.
    """

    action: Action
    reason: str = ""
    rule: str = ""
    yes: str = ""


@dataclass(frozen=True)
class Standing:
    """An "always": what a person allowed for the rest of the session.

    It covers the same tool, asked about by the same rule, with the same values where the rule looks at them
    and where the arguments say where something goes, at no higher price.
    """

    tool: str
    rule: str
    arguments: tuple[tuple[str, str], ...]
    price: Price

    def covers(self, other: Standing) -> bool:
        """Whether a call that would be `other` needs no further question."""
        same = (self.tool, self.rule, self.arguments) == (other.tool, other.rule, other.arguments)
        return same and no_dearer(other.price, self.price)

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        return {**asdict(self), "arguments": [list(pair) for pair in self.arguments]}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Standing:
        """What the journal has kept."""
        arguments = tuple((str(name), str(value)) for name, value in given["arguments"])
        return cls(str(given["tool"]), str(given["rule"]), arguments, Price(**given["price"]))

    def __str__(self) -> str:
        said = [f"{name} = {shorten(value, _SAID_CHARS)}" for name, value in self.arguments]
        limits = [
            f"{self.price.usd:g} usd" if self.price.usd else "",
            f"{self.price.gpu_hours:g} gpu-hours" if self.price.gpu_hours else "",
        ]
        dear = f", up to {' and '.join(filter(None, limits))} a call" if any(limits) else ""
        return f"{self.tool}{' with ' if said else ''}{', '.join(said)}{dear}"


class Gate:
    """Applies the policy of the settings, then the defaults, then the price.

    Args:
        policy: Rules of the settings, see `Rule`.
        budget: Whose ceiling no rule and no yes lifts.
        yes: Effects, and ``network``, that a person has allowed beforehand.
    """

    def __init__(self, policy: Sequence[dict[str, Any]], budget: Budget, yes: Sequence[str] = ()) -> None:
        own = [(f"policy {n}", rule) for n, rule in enumerate(read_policy(policy), 1)]
        defaults = [(f"default {n}", rule) for n, rule in enumerate(DEFAULT_POLICY, 1)]
        self.rules: list[tuple[str, Rule]] = [*own, *defaults]
        self.budget = budget
        self.yes = read_yes(yes)
        self._always: list[Standing] = []
        self._lock = threading.Lock()

    @staticmethod
    def check(policy: Sequence[dict[str, Any]], yes: Sequence[str]) -> None:
        """Refuse rules and words that cannot be read.

        Raises:
            UsageError: Names the rule or the word.
        """
        read_policy(policy)
        read_yes(yes)

    def decide(
        self, spec: ToolSpec, arguments: Mapping[str, Any], price: Price, source: str = "cell"
    ) -> Decision:
        """Allow, ask or deny one call.

        Args:
            spec: The tool.
            arguments: As JSON has them, validated.
            price: What the call is expected to spend.
            source: Where it comes from; only a rule that names sources looks at it.
        """
        name, rule = self._first(spec, arguments, price, source)
        if rule.action == "deny":
            return Decision("deny", rule.reason or f"the policy denies {spec.name}", name)
        if short := self.budget.shortfall(price):
            return Decision("ask", f"it {short}", "budget")
        unknown = price.usd is None or price.gpu_hours is None
        if unknown and spec.effect not in self.yes:
            return Decision("ask", "its price is not known", "price", spec.effect)
        if self._boundless(price) and name.startswith("default") and spec.effect not in self.yes:
            told = f"it costs up to {price.usd:g} usd, and the budget has no ceiling in dollars"
            return Decision("ask", told, "price", spec.effect)
        if rule.action == "allow":
            return Decision("allow", rule=name)
        return self._answered(rule, Decision("ask", _reason(rule, spec), name), spec, arguments, price)

    def _boundless(self, price: Price) -> bool:
        return bool(price.usd) and "usd" not in self.budget.caps

    def _first(
        self, spec: ToolSpec, arguments: Mapping[str, Any], price: Price, source: str
    ) -> tuple[str, Rule]:
        last = ("default", Rule(action="ask"))
        return next((r for r in self.rules if r[1].matches(spec, arguments, price, source)), last)

    def _answered(
        self, rule: Rule, asked: Decision, spec: ToolSpec, arguments: Mapping[str, Any], price: Price
    ) -> Decision:
        """What a rule asks, unless a person has answered it already."""
        word = rule.yes or spec.effect
        if word in self.yes:
            return Decision("allow", rule=f"--yes {word}")
        standing = self.footprint(spec, arguments, price, asked.rule)
        with self._lock:
            if standing is not None and any(known.covers(standing) for known in self._always):
                return Decision("allow", rule="always")
        return Decision("ask", asked.reason, asked.rule, word)

    def standing(
        self, spec: ToolSpec, arguments: Mapping[str, Any], price: Price, decision: Decision
    ) -> Standing | str:
        """What "always" would cover for a call that is asked about, or why it is asked about each time."""
        if spec.effect == "destroy":
            return "what cannot be undone is asked about each time"
        if decision.rule == "budget":
            return "a price above the budget is asked about each time"
        if spec.effect in OPENING and arguments.get(NETWORK) is True:
            return "what opens the network is asked about each time"
        found = self.footprint(spec, arguments, price, decision.rule)
        return found or "a price that is not known is asked about each time"

    def allow_always(self, standing: Standing) -> None:
        """Ask no more about calls that it covers."""
        with self._lock:
            self._always.append(standing)

    @property
    def always(self) -> list[Standing]:
        """What a person allowed for the rest of the session."""
        with self._lock:
            return list(self._always)

    def permit(self, words: Sequence[str]) -> None:
        """Take other words of ``--yes`` for those that were given.

        Raises:
            UsageError: Names a word that is not known.
        """
        self.yes = read_yes(words)

    def revoke(self) -> None:
        """Ask again about everything that was allowed for the rest of the session."""
        with self._lock:
            self._always.clear()

    def footprint(
        self, spec: ToolSpec, arguments: Mapping[str, Any], price: Price, rule: str
    ) -> Standing | None:
        """What a yes to a call speaks of; None where it speaks of this one call alone."""
        if spec.effect == "destroy" or price.usd is None or price.gpu_hours is None:
            return None
        if spec.effect in OPENING and arguments.get(NETWORK) is True:
            return None  # another script is another danger
        known_rule = dict(self.rules).get(rule)
        names = set(known_rule.where) if known_rule else set()
        if spec.effect == "publish":
            # A tool that does not say in such words where it publishes is allowed for these arguments alone.
            known = [n for n in TARGETS if n in arguments]
            names |= set(known) if set(known) - {"private"} else set(arguments)
        looked_at = ((n, list(values_at(arguments, n.split(".")))) for n in sorted(names))
        shown = tuple((n, ", ".join(map(str, v)) or "None") for n, v in looked_at)
        # By its words: a number may mean another rule when the session goes on with another file.
        return Standing(spec.name, str(known_rule or rule), shown, price)


def no_dearer(price: Price, than: Price) -> bool:
    """Whether a price is known and no part of it is above another."""
    pairs = ((price.usd, than.usd), (price.gpu_hours, than.gpu_hours), (price.jobs, than.jobs))
    return all(a is not None and b is not None and a <= b + 1e-9 for a, b in pairs)


def _reason(rule: Rule, spec: ToolSpec) -> str:
    return rule.reason or f"the policy asks about {spec.effect}"
