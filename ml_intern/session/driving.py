"""Running a session: builds the agent with its kernel, and takes it through the turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml_intern.errors import UsageError
from ml_intern.events import Notice
from ml_intern.router.proxies import keep
from ml_intern.router.recorded import Recorded, Turn
from ml_intern.secrets.masking import mask
from ml_intern.session.services import facts
from ml_intern.session.staying import wait_for_words
from ml_intern.session.undoing import keep_for_undo

if TYPE_CHECKING:
    from ml_intern.agent.executor import KernelExecutor
    from ml_intern.session.session import Session


def drive(session: Session) -> str:
    """The answer to the last of the prompts: the first one, and what the person said after an answer."""
    from ml_intern.agent.agent import InternAgent

    _leave_stopped_cell(session)
    session.agent = InternAgent(
        session.brain,
        _executor(session),
        _system_prompt(session),
        session.settings,
        session.budget,
        session.journal,
        session.recorded,
        session.conversation,
        session.goals(),
    )
    session.agent.claims = session.answers.hold
    return _take_turns(session)


def _leave_stopped_cell(session: Session) -> None:
    """Who stops the run in a cell and then says something else does not want that cell again first."""
    known = session.recorded
    stopped = known.halted is not None and (known.finished or {}).get("status") == "interrupted"
    if stopped and session.inbox.messages(known.heard):
        session.journal.append("left", {"step": known.under_way}, durable=True)
        known.leave_halted()


def _system_prompt(session: Session) -> str:
    from ml_intern.agent.counting import metered
    from ml_intern.agent.instructions import isolation, system_prompt

    told = facts(session.services)
    if session.router.desk.approver is None:
        allowed = ", ".join(session.settings.yes) or "nothing"
        told += (
            "\n- Nobody is there to ask: what a person would be asked about (public publishing, network "
            f"for scripts, deleting, what is over the budget) is denied. Allowed beforehand: {allowed}."
        )
    walls = isolation(session.sandbox, session.walls.limits())

    def prompt(groups: Sequence[str], task: str) -> str:
        return system_prompt(
            list(session.router.specs.values()),
            groups,
            session.settings.tool_tokens,
            task,
            bool(session.settings.planning),
            isolation=walls,
            workspace=session.workspace,
            facts=told,
        )

    # A small window needs its room for the work: what does not fit is named, the last groups first.
    full = list(session.settings.tool_groups)
    room = session.settings.prompt_share * session.brain.context_tokens
    found = prompt(full, session.prompt)
    while metered(found) > room and full:
        full.pop()
        found = prompt(full, "")
    return mask(found)


def _executor(session: Session) -> KernelExecutor:
    """The kernel and what runs cells in it; started where no cell of before has to run again first."""
    from ml_intern.agent.executor import KernelExecutor
    from ml_intern.sandbox.host import KernelHost

    settings, proxies = session.settings, session.proxies()
    keep(session.folder, proxies)
    session.kernel = KernelHost(
        session.sandbox,
        session.walls.mounts(),
        session.walls.limits(),
        proxies,
        lambda name, arguments: executor.call_tool(name, arguments),
        timeout_s=settings.cell_timeout_s,
        grace_s=settings.cell_grace_s,
        output_chars=settings.observation_chars,
    )
    router, known = session.router, session.recorded
    executor = KernelExecutor(
        session.kernel,
        router,
        session.journal,
        settings.observation_chars,
        known,
        router.snapshots,
        session.took_over,
    )
    if known.anything:  # the kernel starts with the first cell that has to run
        said = session.inbox.messages(known.heard) if known.answered else []
        session.emit(
            Notice("info", "Going on with what was said since its answer." if said else _told_of(known))
        )
    else:
        session.kernel.start()
    return executor


def _take_turns(session: Session) -> str:
    """The answer to the last of the prompts: the first one, and what the person said after an answer."""
    if not session.recorded.anything:
        keep_for_undo(session, session.recorded.begun)
    answer = str(session.agent.run(session.prompt))
    while turn := _next_turn(session, answer):
        session.answers.renew(session.settings.answer_checks if session.brain.language_model else 0)
        if not turn.known:
            keep_for_undo(session, turn.step)
        if not session.brain.language_model and not _prepared(session, turn):
            answer = ""
            continue
        answer = str(session.agent.run(turn.prompt, reset=False))
    return answer


def _next_turn(session: Session, answer: str) -> Turn | None:
    """What the person has said since the answer, or says while the session stays."""

    def said() -> Turn | None:
        return session.conversation.next_turn(session.agent.number + 1)

    turn = said()
    return wait_for_words(session, answer, said) if turn is None and session.stays else turn


def _prepared(session: Session, turn: Turn) -> bool:
    """Whether there is a playbook for a further turn.

    A person who is there is told why not and says something else, and so is one who has done so already.

    Raises:
        UsageError: There is none, and nobody to say something else.
    """
    try:
        _prepare(session, turn.prompt)
    except UsageError as error:
        if not (session.stays or turn.known):
            raise
        if not turn.known:
            session.emit(Notice("error", str(error)))
        return False
    return True


def _prepare(session: Session, prompt: str) -> None:
    """A playbook for a further turn.

    Raises:
        UsageError: None understands the prompt, or the one that does may not run in this sandbox.
    """
    trusted = session.brain.trusted
    session.brain.prepare(prompt)
    if trusted and not session.brain.trusted:
        raise UsageError(
            f"{session.brain.label} is your own, and the sandbox was chosen for a playbook of ours.",
            "Begin a session of its own for it.",
        )


def _told_of(recorded: Recorded) -> str:
    """What a run that goes on starts from."""
    if recorded.answered:
        return "The session has come to its end already; this is its result."
    answers, cells = len(recorded.answers), len(recorded.cells)
    told = f"Going on: {answers} answers of the brain and {cells} finished cells are taken from the journal."
    if not recorded.under_way:
        return told
    again = f"Step {recorded.under_way} was under way and runs again from its beginning"
    return f"{told} {again}; calls that ended are not repeated."
