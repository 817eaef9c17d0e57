"""ML Intern: one sentence in, a trained, measured, published model out.

from ml_intern import MLIntern
result = MLIntern().run("train the best small model of Python statements you can, and publish it")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_intern.api import MLIntern
    from ml_intern.errors import ToolError
    from ml_intern.result import RunResult
    from ml_intern.router.approval import Answer
    from ml_intern.settings import Settings
    from ml_intern.tooling import tool

__all__ = ["Answer", "MLIntern", "RunResult", "Settings", "ToolError", "tool"]
__version__ = "0.1.0"

_HOMES = {
    "Answer": "router.approval",
    "MLIntern": "api",
    "RunResult": "result",
    "Settings": "settings",
    "ToolError": "errors",
    "tool": "tooling",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import ml_intern` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ml_intern' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ml_intern.{_HOMES[name]}"), name)
