"""A folder of a user's own tools, one for each effect that the gate asks about; each leaves a line when it ran."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
from pathlib import Path

from ml_intern import tool
from ml_intern.tooling import Price

RAN = Path({ran!r})


def note(what):
    with RAN.open("a") as file:
        file.write(what + "\\n")
    return what


@tool(effect="destroy")
def forget(ctx, what: str) -> str:
    """Delete something for ever."""
    return note(f"forget {{what}}")


@tool(effect="publish")
def announce(ctx, repo: str, text: str = "", private: bool = True) -> str:
    """Tell others."""
    return note(f"announce {{repo}} {{text}} {{private}}")


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd))
def rent(ctx, usd: float | None = 1.0) -> str:
    """Rent a machine."""
    return note(f"rent {{usd}}")
'''


def write_tools(folder: Path) -> tuple[Path, Path]:
    """Write the tools; their folder, and the file with a line for each call that ran."""
    tools, ran = folder / "own_tools", folder / "ran.txt"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "own.py").write_text(SOURCE.format(ran=str(ran)))
    ran.touch()
    return tools, ran
