from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")
from mcp_kit import Http, Place

from ml_intern.mcp_server.seats import Seat


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


@pytest.fixture
def seat_for(place: Place) -> Iterator[Callable[..., Seat]]:
    """``seat_for(budget="1 jobs")`` makes the seat of a client, which ends with the test."""
    made: list[Seat] = []

    def make(folder: Path | None = None, name: str = "", **settings: Any) -> Seat:
        made.append(Seat(place.settings(**settings), folder, name))
        return made[-1]

    yield make
    for seat in made:
        seat.close()


@pytest.fixture
def http(place: Place) -> Iterator[Callable[..., Http]]:
    made: list[Http] = []

    def start(**more: Any) -> Http:
        server = {n: more.pop(n) for n in ("token", "cells") if n in more}
        made.append(Http(place.settings(**more), **server))
        return made[-1]

    yield start
    for server in made:
        server.stop()
