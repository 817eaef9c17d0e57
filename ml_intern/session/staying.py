"""A session between two turns: its answer is told, and it waits for the person's next words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ml_intern.events import TurnFinished
from ml_intern.router.recorded import Turn
from ml_intern.session.ending import checked, renew_report, standing

if TYPE_CHECKING:
    from ml_intern.session.session import Session

LOOK_S = 0.2
"""How soon a word from another process is heard."""


def wait_for_words(session: Session, answer: str, next_turn: Callable[[], Turn | None]) -> Turn | None:
    """Tell the answer of a turn and wait. Wall time is not counted meanwhile.

    Args:
        session: One that stays.
        answer: Of the turn that is over.
        next_turn: What the person has said since, if anything.

    Returns:
        The next turn; None where the person leaves or stops the session.
    """
    told = checked(session, answer)
    renew_report(session, told)
    session.write_card("waiting", None)
    session.wall_time.stop()
    session.answered = standing(session, told)
    session.emit(TurnFinished(session.agent.number, told))
    try:
        while not (turn := next_turn()):
            if session.leaving.wait(LOOK_S) or session.router.interrupted.is_set():
                return None
        return turn
    finally:
        session.answered = None
        session.wall_time.start()
        session.write_card("running", None)
