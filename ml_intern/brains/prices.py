"""What `models.toml` knows of a model: its window and its price."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from typing import Any

_DATE = re.compile(r"-20\d\d-?\d\d-?\d\d$")


@dataclass(frozen=True)
class Facts:
    """What is known of a model. Prices are dollars per million tokens; None is unknown, not free.

    Attributes:
        context_tokens: Tokens that a prompt may hold.
        input_usd: Price of the prompt.
        output_usd: Price of the reply.
        as_of: Day on which the prices were read.
    """

    context_tokens: int | None = None
    input_usd: float | None = None
    output_usd: float | None = None
    as_of: str = ""

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """Dollars for an exchange, or None when a price is missing."""
        if self.input_usd is None or self.output_usd is None:
            return None
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1e6


FREE = Facts(input_usd=0.0, output_usd=0.0)
"""Runs on the person's own machine: nobody sends a bill."""


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """The whole of `models.toml`."""
    return tomllib.loads(
        resources.files("ml_intern.brains").joinpath("models.toml").read_text(encoding="utf-8")
    )


def lookup(name: str, provider: str = "") -> Facts:
    """What is known of a model.

    Args:
        name: The model's name, without the scheme.
        provider: Who sends the bill (``openai``, ``anthropic``, ...). Prices of another provider do not
            apply; the window does, since it is the model's own.
    """
    plain = name.lower().rsplit("/", 1)[-1]
    undated = _DATE.sub("", plain)
    for entry in table()["models"]:
        if not (fnmatchcase(plain, entry["pattern"]) or fnmatchcase(undated, entry["pattern"])):
            continue
        if entry.get("provider") != provider:
            return Facts(context_tokens=entry["context"])
        return Facts(entry["context"], entry.get("input"), entry.get("output"), table()["as_of"])
    return Facts()
