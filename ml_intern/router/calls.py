"""One call on its way through the router, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ml_intern.context import ToolContext
from ml_intern.errors import InternError, ToolError
from ml_intern.prices import Price
from ml_intern.router.policy import as_price
from ml_intern.secrets.masking import mask_all
from ml_intern.tooling import ToolSpec

MOST_ARGUMENT_CHARS = 4 << 20
DEEPEST_ARGUMENT = 100
FLATTER = "Pass flatter data, or write it to a file in the workspace and pass its path."
KEPT_OF_REFUSED = 20_000
"""Characters of a refused call's arguments that the journal keeps."""


@dataclass(frozen=True)
class Outcome:
    """What came of a call: a value, or an error with a hint. `stopped`: a run that goes on makes it again."""

    ok: bool
    value: Any = None
    message: str = ""
    hint: str = ""
    denied: bool = False
    stopped: bool = False


@dataclass(frozen=True)
class Call:
    """A call whose arguments are validated and whose price is known, as far as it can be."""

    spec: ToolSpec
    ctx: ToolContext
    source: str
    arguments: BaseModel
    price: Price

    @classmethod
    def of(
        cls,
        spec: ToolSpec,
        ctx: ToolContext,
        source: str,
        given: Mapping[str, Any],
        told: Callable[[str, Exception], object],
    ) -> Call:
        """Validate the arguments and ask for the price.

        Args:
            spec: The tool.
            ctx: The call's context.
            source: Where the call comes from.
            given: Arguments by name.
            told: Takes a defect of a tool's own price function, whose price is then unknown.

        Raises:
            ToolError: The arguments are wrong.
        """
        check_size(spec.name, given)
        arguments = spec.validate(given)
        if spec.prepare is not None:
            arguments = spec.prepare(ctx, arguments)
        spec = spec.for_call(arguments)
        price = Price()
        if spec.price is not None:
            try:
                price = as_price(spec.price(ctx, arguments))
            except InternError:
                raise
            except Exception as error:  # noqa: BLE001 - the border to a tool's own code; unknown is not free
                told(spec.name, error)
                price = Price(usd=None, gpu_hours=None, jobs=1)
        return cls(spec, ctx, source, arguments, price)

    @property
    def id(self) -> str:
        """The call, for people."""
        return self.ctx.call

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.ctx.key

    @property
    def shown(self) -> dict[str, Any]:
        """The arguments as JSON has them: what the gate looks at and what is written down."""
        return self.arguments.model_dump(mode="json", fallback=str, warnings=False)

    def record(self) -> dict[str, Any]:
        """What every line of the journal on this call begins with."""
        origin = {} if self.spec.origin == "ml_intern" else {"origin": self.spec.origin}
        name = {"call": self.id, "tool": self.spec.name, "effect": self.spec.effect}
        return {**name, "source": self.source, **origin}


def check_size(name: str, given: Mapping[str, Any]) -> None:
    """Refuse what no tool should be handed.

    Raises:
        ToolError: The arguments are too long or too deep.
    """
    if _deeper_than(given, DEEPEST_ARGUMENT):
        raise ToolError(f"The arguments of {name} are nested deeper than {DEEPEST_ARGUMENT} levels.", FLATTER)
    if _size(given) > MOST_ARGUMENT_CHARS:
        raise ToolError(
            f"The arguments of {name} are longer than {MOST_ARGUMENT_CHARS >> 20} MB.",
            "Write large data to a file in the workspace and pass its path.",
        )
    if not _is_text(json.dumps(dict(given), ensure_ascii=False, default=str)):
        raise ToolError(
            f"The arguments of {name} hold half a character (a lone surrogate).", "Mend the text."
        )


def _deeper_than(value: Any, levels: int) -> bool:
    """Level by level: a recursion would meet its own limit on what it is to refuse."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for item in level
            if isinstance(item, Mapping | list | tuple)
            for inner in (item.values() if isinstance(item, Mapping) else item)
        ]
        if not level:
            return False
    return True


def _size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_size(k) + _size(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value)) + len(value)
    return 8


def body_of(source: str, name: str, given: Mapping[str, Any]) -> str:
    """The text from which a call's key is made: the same for the same call, whatever is in it."""
    try:
        return json.dumps([source, name, given], sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        return json.dumps([source, name, "arguments that JSON has no words for"])


def bounded(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they are, or their beginning: a cell may refuse itself as often as it likes."""
    try:
        given = mask_all(given)  # before it is cut: half of a credential is not known for one
        text = json.dumps(dict(given), default=str)
    except (TypeError, ValueError, RecursionError):
        return {"shortened": "arguments that JSON has no words for"}
    whole = len(text) <= KEPT_OF_REFUSED and _is_text(
        json.dumps(dict(given), ensure_ascii=False, default=str)
    )
    return dict(given) if whole else {"shortened": text[:KEPT_OF_REFUSED]}


def _is_text(text: str) -> bool:
    """Whether a disk can hold it: JSON from a cell may spell half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def show_price(price: Price) -> str:
    """A price in words."""
    parts = [
        "usd not known" if price.usd is None else f"{price.usd:.2f} usd" if price.usd else "",
        "gpu-hours not known"
        if price.gpu_hours is None
        else f"{price.gpu_hours:g} gpu-hours"
        if price.gpu_hours
        else "",
    ]
    return ", ".join(filter(None, parts)) or "free"


def summarise(value: Any, limit: int = 200) -> str:
    """A result in one line for people."""
    text = json.dumps(mask_all(value), ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"
