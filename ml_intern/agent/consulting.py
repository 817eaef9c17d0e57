"""Lets a tool ask the session's brain for a text: in the budget, in the journal, and never paid for twice.

Each answer is a line of the journal, with its cost, under the key of the call that asked. A call that is made
again after a crash, or in a replay, is given those answers first and asks only for what comes after them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ml_intern.brains.base import Brain, finish_reason, text_of
from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.router.recorded import Answered
from ml_intern.router.router import Router

NOBODY = "There is no language model here, and writing data needs one."
TAKE_ONE = "Run with --model SCHEME:NAME."
POLL_S = 0.1


@dataclass(frozen=True)
class Said:
    """An answer of the brain.

    Attributes:
        text: What it said; untrusted, as all that a model says.
        finish: Why it ended: ``stop``, ``length``.
        tokens: In and out, as the provider counted them.
        usd: What it cost; None where the price is not known.
        model: Who said it.
    """

    text: str
    finish: str
    tokens: tuple[int, int]
    usd: float | None
    model: str


Ask = Callable[[ToolContext, Sequence[dict[str, str]], int], Said]
"""From a call, messages, and the number of the question within the call, from 0, to an answer."""


class Consulting:
    """The brain as tools may ask it.

    Args:
        router: The session's; its budget and journal are used.
        brain_of: The brain for the asker of a name; None where there is no language model.
        known: What was answered before, by the key of the call without its session.
    """

    def __init__(
        self,
        router: Router,
        brain_of: Callable[[str], Brain | None],
        known: Callable[[], dict[str, list[Answered]]],
    ) -> None:
        self._router, self._brain_of, self._known = router, brain_of, known
        used = [said.tokens for told in router.earlier.recorded.consulted.values() for said in told]
        self.tokens = {"input": sum(pair[0] for pair in used), "output": sum(pair[1] for pair in used)}
        self._lock = threading.Lock()
        self._said: dict[str, list[Said]] = {}

    def ask(self, ctx: ToolContext, messages: Sequence[dict[str, str]], number: int) -> Said:
        """The answer to a question; see `Ask`.

        Raises:
            ToolError: There is no language model.
            BudgetSpent: A ceiling was met before it was asked.
            Interrupted: The person stopped it.
        """
        of = ctx.key.partition(":")[2]
        known = self._before(of)
        if number < len(known):
            return known[number]
        brain = self._brain_of(of)
        if brain is None:
            raise ToolError(NOBODY, TAKE_ONE)
        self._router.budget.check()
        said = self._counted(ctx, of, brain, *answered(brain, messages, ctx.cancelled))
        with self._lock:
            known.append(said)
        return said

    def _before(self, of: str) -> list[Said]:
        """What this call was told already, in an earlier process or before a retry in this one."""
        with self._lock:
            if of not in self._said:
                brain = self._brain_of(of)
                self._said[of] = [
                    Said(k.text, k.finish, k.tokens, brain.price(*k.tokens) if brain else None, _label(brain))
                    for k in self._known().get(of, [])
                ]
            return self._said[of]

    def _counted(
        self, ctx: ToolContext, of: str, brain: Brain, text: str, finish: str, used: tuple[int, int]
    ) -> Said:
        """Pay and write down, in one line: no crash comes between the answer and its cost."""
        usd = brain.price(*used)
        line = {"call": ctx.call, "of": of, "text": text, "finish": finish, "tokens": used}
        budget = self._router.budget
        with budget.books:
            budget.charge(sum(used), usd or 0.0)
            self._router.journal.append("consulted", {**line, "budget": budget.snapshot()})
        with self._lock:
            self.tokens["input"] += used[0]
            self.tokens["output"] += used[1]
        return Said(text, finish, used, usd, brain.label)


def _label(brain: Brain | None) -> str:
    return brain.label if brain else "recorded"


def answered(
    brain: Brain, messages: Sequence[dict[str, str]], cancelled: Callable[[], bool], **how: Any
) -> tuple[str, str, tuple[int, int]]:
    """Ask in a thread of its own, and give the request up once the call is stopped.

    Returns:
        Its text, why that ended, and the tokens in and out.
    """
    found: list[tuple[str, str, tuple[int, int]]] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            said = brain.generate(list(messages), **how)
            usage = said.token_usage
            used = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
            found.append((text_of(said), finish_reason(said), used))
        except Exception as error:  # noqa: BLE001 - the top of a thread: it is raised again where it was asked
            failed.append(error)

    thread = threading.Thread(target=work, name="ml-intern-consulting", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        if cancelled():
            brain.interrupt()
    if failed:
        raise failed[0]
    return found[0]
