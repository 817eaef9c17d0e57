"""The brain of a session whose cells and calls come from an assistant over MCP: it never answers."""

from __future__ import annotations

from typing import Any

from ml_intern.brains.base import Brain
from ml_intern.errors import NoBrain

LABEL = "mcp:"


class Nobody(Brain):
    """Stands where a brain stands. What needs a language model asks the one that the settings name."""

    label = LABEL
    language_model = False

    def generate(self, messages: list[Any], **_: Any) -> Any:
        """Nothing.

        Raises:
            NoBrain: Always.
        """
        raise NoBrain("This session has no brain: an assistant uses its tools over MCP.")
