"""Hosted sessions whose brain is a scripted server, in plain processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from support.openai_server import ScriptedServer

from ml_intern.events import BudgetChanged, CellOutput, Event, JobChanged, ToolProgress
from ml_intern.hosting import Hosted

LONG_S = 120.0

E = TypeVar("E", bound=Event)


def cell(code: str) -> str:
    """A reply with one cell."""
    return f"Next.\n<cell>\n{code}\n</cell>"


def lasting(events: list[Event]) -> list[Event]:
    """Those that the journal keeps, too."""
    passing = CellOutput | ToolProgress | JobChanged | BudgetChanged
    return [event for event in events if not isinstance(event, passing)]


def settings(server: ScriptedServer, state: Path, **given: Any) -> dict[str, Any]:
    """Of a session with that server as its brain."""
    own = {"model": "openai:x", "base_url": server.url, "sandbox": "none", "state": state}
    return {**own, "api_key": "none", "web_cache": state / "web", "brain_retries": 0, **given}


@contextmanager
def hosting(
    *codes: str | dict[str, Any], state: Path, **given: Any
) -> Iterator[tuple[Hosted, ScriptedServer]]:
    """A hosted session and its brain, which writes these cells."""
    replies = [cell(code) if isinstance(code, str) else code for code in codes]
    with ScriptedServer(replies) as server:
        hosted = Hosted(settings(server, state, **given))
        try:
            yield hosted, server
        finally:
            hosted.close()


def say(hosted: Hosted, text: str) -> str:
    """Tell it something, wait until nothing is done; the last answer."""
    hosted.tell(text)
    idle(hosted)
    return answers(hosted)[-1]


def idle(hosted: Hosted) -> None:
    """Wait for it."""
    assert hosted.wait_idle(LONG_S), [event.kind for event in hosted.events()]


def until(hosted: Hosted, kind: type[E], nth: int = 1) -> E:
    """The nth event of a kind, once it is there."""
    seen = 0
    while True:
        found = [event for event in hosted.events() if isinstance(event, kind)]
        if len(found) >= nth:
            return found[nth - 1]
        seen = len(hosted.events())
        news = hosted.wait(seen, LONG_S)
        assert news or hosted.state == "working", f"{hosted.state}: no {kind.__name__} came"


def answers(hosted: Hosted) -> list[str]:
    """The answers of the turns."""
    return [event.answer for event in hosted.events() if event.kind == "TurnFinished"]  # type: ignore[attr-defined]


def told(hosted: Hosted, kind: type[E]) -> list[E]:
    """The events of a kind."""
    return [event for event in hosted.events() if isinstance(event, kind)]
