"""The loop of one sub-agent: the session's own loop, with fewer steps and a word when they come to an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smolagents.memory import ActionStep

from ml_intern.agent.agent import InternAgent
from ml_intern.agent.compaction import mechanical
from ml_intern.agent.instructions import last_step_note
from ml_intern.agent.view import SummaryStep
from ml_intern.brains.replies import Reply
from ml_intern.errors import LimitReached

SO_FAR_CHARS = 2000


class ResearchAgent(InternAgent):
    """An `InternAgent` that answers one question.

    Attributes:
        count: Told of the input and output tokens of each answer that was paid for.
    """

    plans = False
    count: Callable[[int, int], None] = staticmethod(lambda given, said: None)

    def so_far(self) -> str:
        """What it had found when it ended without an answer, a line a step."""
        earlier = "\n".join(step.text for step in self.memory.steps if isinstance(step, SummaryStep))
        steps = [step for step in self.memory.steps if isinstance(step, ActionStep)]
        return mechanical(earlier, [s for s in steps if s.model_output], SO_FAR_CHARS)

    def _charge(self, input_tokens: int, output_tokens: int) -> None:
        super()._charge(input_tokens, output_tokens)
        self.count(input_tokens, output_tokens)

    def _watched(self, reply: Reply, observation: str, known: bool) -> str:
        seen = super()._watched(reply, observation, known)
        return f"{seen}\n{last_step_note()}" if self.step_number == self.max_steps - 1 else seen

    def _handle_max_steps_reached(self, task: str) -> Any:
        raise LimitReached(f"the limit of {self.max_steps} steps is reached.")
