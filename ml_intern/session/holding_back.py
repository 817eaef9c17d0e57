"""What may hold an answer back: open goals with budget left, and numbers that nobody measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_intern.agent.goals import Goals, enough_left
from ml_intern.agent.task_time import TaskTime, task_time
from ml_intern.claims.answers import AnswerCheck
from ml_intern.claims.hearing import HELD as CLAIMED

if TYPE_CHECKING:
    from ml_intern.claims.gathering import Heard
    from ml_intern.claims.judging import Review
    from ml_intern.session.session import Session


def goals(session: Session) -> Goals:
    """Who is told to go on: a language model that nobody watches, and that was not told before."""
    told = any(ran.held and CLAIMED not in ran.note for ran in session.recorded.cells.values())
    alone = session.router.desk.approver is None and session.brain.language_model
    return Goals(session.services, session.budget, session.settings.go_on and alone and not told)


def answer_check(session: Session) -> AnswerCheck:
    """Who is told of numbers that nobody measured: a language model, that may do better."""
    begun = session.recorded.turns[-1].step if session.recorded.turns else 0
    cells = session.recorded.cells.values()
    told = sum(ran.held and CLAIMED in ran.note and ran.step >= begun for ran in cells)
    times = session.settings.answer_checks - told if session.brain.language_model else 0

    def room() -> bool:
        agent = session.agent
        return bool(agent.step_number < agent.max_steps) and enough_left(session.budget)

    return AnswerCheck(session.reviewed, times, room)


def reviewed(session: Session, answer: str) -> Review | None:
    """The numbers of an answer, held against what was measured; None where nothing is looked at."""
    if session.brain.vouched:
        return None
    from ml_intern.claims.gathering import evidence_of
    from ml_intern.claims.judging import review

    return review(answer, evidence_of(session.services))


def heard(session: Session) -> Heard:
    """What the person and tools said, for who traces numbers."""
    from ml_intern.claims.hearing import heard as gather

    return gather(session.journal, session.prompt, session.budget.summary())


def time_of_task(session: Session) -> TaskTime | None:
    """What the task says of time. A person who is there has the clock, and may say more meanwhile."""
    if "seconds" in session.budget.caps or session.router.desk.approver is not None:
        return None
    return task_time(session.prompt, session.budget.used("seconds"))
