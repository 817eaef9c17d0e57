"""The rules of the gate: which calls are allowed, asked about or denied, and how a person writes them.

In ``ml-intern.toml``, first match wins, before the defaults::

    [[policy]]
    tool = "launch_*"
    above_gpu_hours = 1
    action = "ask"
    reason = "long trainings are talked about first"
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from ml_intern.errors import ToolError, UsageError
from ml_intern.prices import Price
from ml_intern.tooling import EFFECTS, Effect, ToolSpec, did_you_mean

Action = Literal["allow", "ask", "deny"]
Source = Literal["cell", "research", "mcp", "web", "replay"]
SOURCES: tuple[Source, ...] = ("cell", "research", "mcp", "web", "replay")

NETWORK = "network"
"""The word of `--yes` that opens the network: an effect alone never does."""
OPENING: tuple[Effect, ...] = ("read", "write", "compute", "publish")
"""Effects of tools where an argument ``network`` opens the network: to code, or to an address."""
YES_WORDS: tuple[str, ...] = (*EFFECTS, NETWORK)

Value = bool | int | float | str


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Effects = Annotated[list[Effect], BeforeValidator(_as_list)]
Limit = Annotated[float, Field(ge=0)]
Globs = Annotated[list[str], BeforeValidator(_as_list)]


class Rule(BaseModel):
    """One line of policy. It is about a call when every condition that it names holds.

    A rule that allows is read narrowly, one that asks or denies widely: globs of an allowing rule keep upper
    and lower case apart, all items of a list must match it, it covers what cannot be undone only where it
    names the effect ``destroy``, and an open network only where it names the argument ``network``.

    Attributes:
        tool: Globs over the tool's name, one or a list.
        effect: The effects that the rule is about; nothing means all.
        source: Where the call comes from: cell, research, mcp, web, replay, or a glob such as ``research:2``.
            ``mcp:files`` is about the tools of that server as well.
        origin: Who made the tool: ml_intern, user, smolagents, or a glob such as ``mcp:*``.
        where: Argument to a value, a glob, or a list of which one must match. ``config.peft.r`` looks into
            nested arguments; a list is looked at item by item. An argument that is missing never matches.
        above_usd: The rule holds only for prices above this, in dollars; an unknown price is above.
        above_gpu_hours: The same in GPU-hours.
        above_jobs: The same in jobs. Of several, one is enough.
        action: What is decided.
        reason: Told to the person and to the brain.
        yes: The word of ``--yes`` that answers the rule's question; nothing means the tool's effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: Globs = Field(default_factory=lambda: ["*"])
    effect: Effects = Field(default_factory=list)
    source: Globs = Field(default_factory=list)
    origin: Globs = Field(default_factory=list)
    where: dict[str, Value | list[Value]] = Field(default_factory=dict)
    above_usd: Limit | None = None
    above_gpu_hours: Limit | None = None
    above_jobs: Limit | None = None
    action: Action
    reason: str = ""
    yes: Literal["read", "write", "compute", "publish", "destroy", "network"] | None = None

    @field_validator("source")
    @classmethod
    def _known_sources(cls, sources: list[str]) -> list[str]:
        for source in sources:
            kind = source.partition(":")[0]
            if not any(fnmatchcase(known, kind) for known in SOURCES):
                raise ValueError(
                    f"{source!r} is not one of {', '.join(SOURCES)}{did_you_mean(kind, SOURCES)}"
                )
        return sources

    def matches(
        self, spec: ToolSpec, arguments: Mapping[str, Any], price: Price, source: str = "cell"
    ) -> bool:
        """Whether the rule is about this call."""
        if not any(fnmatchcase(spec.name, glob) for glob in self.tool):
            return False
        if self.effect and spec.effect not in self.effect:
            return False
        if self.origin and not any(fnmatchcase(spec.origin, glob) for glob in self.origin):
            return False
        if self.action == "allow" and not self._says_it(spec, arguments):
            return False
        if self.source and not any(
            _comes_from(s, glob) for s in (source, spec.origin) for glob in self.source
        ):
            return False
        if not all(self._holds(name, wanted, arguments) for name, wanted in self.where.items()):
            return False
        return self._is_above(price)

    def _says_it(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> bool:
        """Whether a rule that allows says so where the call destroys or opens the network."""
        opens = spec.effect in OPENING and arguments.get(NETWORK) is True and NETWORK not in self.where
        return not opens and (spec.effect != "destroy" or "destroy" in self.effect)

    def _holds(self, name: str, wanted: Value | list[Value], arguments: Mapping[str, Any]) -> bool:
        found = list(values_at(arguments, name.split(".")))
        options = wanted if isinstance(wanted, list) else [wanted]
        narrow = self.action == "allow"
        fits = (any(_fits(value, option, narrow) for option in options) for value in found)
        return bool(found) and (all(fits) if narrow else any(fits))

    def _is_above(self, price: Price) -> bool:
        limits = (
            (self.above_usd, price.usd),
            (self.above_gpu_hours, price.gpu_hours),
            (self.above_jobs, price.jobs),
        )
        named = [(limit, amount) for limit, amount in limits if limit is not None]
        return not named or any(amount is None or amount > limit for limit, amount in named)

    def __str__(self) -> str:
        """The rule as a person would say it."""
        said = ["" if self.tool == ["*"] else " or ".join(self.tool), *self._conditions()]
        return ", ".join(filter(None, said)) or "everything else"

    def _conditions(self) -> Iterator[str]:
        if self.effect:
            yield f"effect {' or '.join(self.effect)}"
        for name, wanted in self.where.items():
            options = wanted if isinstance(wanted, list) else [wanted]
            yield f"{name} = {' or '.join(map(str, options))}"
        if self.source:
            yield f"from {' or '.join(self.source)}"
        if self.origin:
            yield f"tools of {' or '.join(self.origin)}"
        limits = {"usd": self.above_usd, "gpu-hours": self.above_gpu_hours, "jobs": self.above_jobs}
        if above := [f"{limit:g} {unit}" for unit, limit in limits.items() if limit is not None]:
            yield f"above {' or '.join(above)}"


DEFAULT_POLICY: tuple[Rule, ...] = (
    Rule(effect=["destroy"], action="ask", reason="it cannot be undone"),
    Rule(
        effect=["read"],
        where={"network": True},
        action="ask",
        reason="what stands in an address reaches its host, and no page gave this one",
        yes="network",
    ),
    Rule(
        effect=list(OPENING),
        where={"network": True},
        action="ask",
        reason="code that the model wrote would reach the network",
        yes="network",
    ),
    Rule(effect=["read", "write"], action="allow"),
    Rule(effect=["compute"], action="allow", reason="within the budget"),
    # What a server or a library calls private is its own affair.
    Rule(effect=["publish"], where={"private": True}, origin=["ml_intern", "user"], action="allow"),
    Rule(effect=["publish"], action="ask", reason="it leaves this machine and others can see it"),
)


RULES = (
    'Mend the rule in ml-intern.toml; one looks so: [[policy]] tool = "publish_*" action = "ask". '
    "docs/reference/settings.md has the keys."
)


def read_policy(policy: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """The rules of the settings.

    Raises:
        UsageError: Names the first rule that cannot be read, and what is wrong with it.
    """
    rules = []
    for number, given in enumerate(policy, 1):
        try:
            rules.append(Rule.model_validate(dict(given)))
        except ValidationError as error:
            raise UsageError(f"Policy rule {number}: {_told(error)}.", RULES) from None
    return rules


def read_yes(words: Sequence[str]) -> frozenset[str]:
    """The words of `--yes`.

    Raises:
        UsageError: Names the one that is not known.
    """
    for word in words:
        if word not in YES_WORDS:
            told = f"--yes {word!r} is not one of {', '.join(YES_WORDS)}{did_you_mean(word, YES_WORDS)}."
            raise UsageError(told)
    return frozenset(words)


def idle_rules(policy: Sequence[Mapping[str, Any]], specs: Sequence[ToolSpec]) -> list[str]:
    """A line for each rule of the settings that no tool can meet: a slip of the pen would go unnoticed."""
    told = []
    for number, rule in enumerate(read_policy(policy), 1):
        meant = [s for s in specs if any(fnmatchcase(s.name, glob) for glob in rule.tool)]
        if not meant:
            guess = did_you_mean(rule.tool[0], [s.name for s in specs]) if rule.tool else ""
            told.append(f"Policy rule {number}: there is no tool {' or '.join(rule.tool)!r}{guess}.")
            continue
        known = {name for spec in meant for name in {p.name for p in spec.parameters}}
        for name in rule.where:
            if (first := name.partition(".")[0]) not in known:
                guess = did_you_mean(first, known)
                told.append(f"Policy rule {number}: no tool that it names takes {first!r}{guess}.")
    return told


def policy_rows(policy: Sequence[Mapping[str, Any]], yes: Sequence[str] = ()) -> list[dict[str, str]]:
    """The whole policy in the order in which it is asked, for people: rule, about, action, reason."""
    words = read_yes(yes)
    own = [(f"policy {n}", rule) for n, rule in enumerate(read_policy(policy), 1)]
    rows = []
    for name, rule in [*own, *(("default", rule) for rule in DEFAULT_POLICY)]:
        answered = rule.yes or (rule.effect[0] if len(rule.effect) == 1 else "")
        action = f"allow (--yes {answered})" if rule.action == "ask" and answered in words else rule.action
        rows.append({"rule": name, "about": str(rule), "action": action, "reason": rule.reason})
    return rows


def source_parts(source: str) -> tuple[str, str]:
    """Kind and rest of a source: ``cell-3`` and ``cell:3`` are the third cell."""
    kind, _, rest = source.replace("-", ":", 1).partition(":") if ":" not in source else source.partition(":")
    return kind, rest


def check_reading(spec: ToolSpec, source: str) -> None:
    """Refuse a sub-agent all that does not read; no rule and no yes changes that.

    Raises:
        ToolError: The call is a sub-agent's and would do something.
    """
    if source_parts(source)[0] == "research" and spec.effect != "read":
        raise ToolError(
            f"{spec.name} was refused: a research sub-agent may only read, and its effect is {spec.effect}.",
            "Read what you need, and say in your answer what should be done.",
        )


def as_price(price: Price) -> Price:
    """The price, with what is no amount (below zero, not a number) taken for unknown."""
    usd, hours = (_amount_or_unknown(value) for value in (price.usd, price.gpu_hours))
    return Price(usd, hours, max(0, price.jobs))


def _amount_or_unknown(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _comes_from(source: str, glob: str) -> bool:
    kind, rest = source_parts(source)
    return fnmatchcase(kind, glob) or fnmatchcase(f"{kind}:{rest}", glob)


def values_at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """What stands at a dotted path; of a list every item, or the one whose number the path says."""
    if isinstance(value, list):
        if path and path[0].isdecimal():
            yield from values_at(value[int(path[0])], path[1:]) if int(path[0]) < len(value) else ()
        else:
            for item in value:
                yield from values_at(item, path)
    elif path:
        # A key may hold dots itself ("model.layers"), so that the longest one is tried first.
        for end in range(len(path), 0, -1):
            key = ".".join(path[:end])
            if isinstance(value, Mapping) and key in value:
                yield from values_at(value[key], path[end:])
                return
    elif value is not None:
        yield value


def _fits(value: Any, wanted: Value, narrow: bool) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return str(value).lower() == str(wanted).lower()
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return value == wanted
    text, glob = str(value), str(wanted)
    return fnmatchcase(text, glob) if narrow else fnmatchcase(text.lower().strip(), glob.lower().strip())


def _told(error: ValidationError) -> str:
    """One line on the first thing that is wrong with a rule."""
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}{did_you_mean(key, Rule.model_fields)}"
    if first["type"] == "missing":
        return f"it has no {key!r}"
    if first["type"] == "literal_error":
        expected = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        guess = did_you_mean(str(first["input"]), expected)
        return f"{key} = {first['input']!r} is not one of {', '.join(expected)}{guess}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"
