"""Imports between the rooms of the house point one way: faces, session, agent, router, services."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ml_intern

HOUSE = Path(ml_intern.__file__).parent
FLOORS: list[set[str]] = [
    {"cli", "webapp", "notebook", "mcp_server", "hosting"},
    {"session"},
    {"agent"},
    {"router"},
]
"""From the top down; every other room is a service below them."""
RUNS_CELLS = {"research"}
"""Its sub-agents are agents of their own, started through a tool."""


def floor_of(room: str) -> int:
    return next((n for n, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def imports_at_start(file: Path) -> set[str]:
    """Rooms that are imported when a file is; what only type checkers see does not count."""
    found: set[str] = set()

    def look(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ml_intern."):
                found.add(str(node.module).split(".")[1])
            elif isinstance(node, ast.ImportFrom) and node.module == "ml_intern":
                found.update(alias.name for alias in node.names)
            for part in ("body", "orelse", "finalbody"):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    look(getattr(node, part, []))

    look(ast.parse(file.read_text(encoding="utf-8")).body)
    return {room for room in found if (HOUSE / room).is_dir()}


ROOMS = sorted(p.name for p in HOUSE.iterdir() if (p / "__init__.py").is_file())


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in RUNS_CELLS])
def test_a_room_imports_nothing_from_a_floor_above_it(room: str) -> None:
    above = {
        f"{file.relative_to(HOUSE)} imports {other}"
        for file in (HOUSE / room).rglob("*.py")
        for other in imports_at_start(file)
        if floor_of(other) < floor_of(room)
    }
    assert not above
