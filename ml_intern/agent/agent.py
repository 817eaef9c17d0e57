"""The loop: ask the brain, take the cell out of its reply, run it, show it what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from smolagents import CodeAgent, LogLevel
from smolagents.agents import ActionOutput
from smolagents.memory import ActionStep, ToolCall
from smolagents.models import ChatMessage
from smolagents.monitoring import AgentLogger
from smolagents.utils import AgentExecutionError, AgentParsingError

from ml_intern.agent.compaction import Compacted, Compactor
from ml_intern.agent.conversation import STOPPED_ANSWER, Conversation
from ml_intern.agent.doomloop import DoomLoop
from ml_intern.agent.executor import CellFailed, KernelExecutor
from ml_intern.agent.goals import Goals
from ml_intern.agent.instructions import look_back, prompt_templates
from ml_intern.agent.pinned import pinned, spill
from ml_intern.agent.view import ContextFull, MessageStep, View, size, text_of
from ml_intern.brains.base import Brain, Ending, answer, finish_reason
from ml_intern.brains.errors import ContextOverflow
from ml_intern.brains.replies import CELL_TAGS, Reply, parse_reply
from ml_intern.errors import InternError, Interrupted, LimitReached
from ml_intern.events import BrainAnswered, ContextCompacted, Event, Notice
from ml_intern.journal.journal import Journal
from ml_intern.router.budget import Budget
from ml_intern.router.recorded import Recorded
from ml_intern.settings import Settings

CORRECTIONS = 2
"""How often in a row a reply without a usable cell is corrected before the run stops."""

STOP_SEQUENCES = ["\nObservation of step"]
"""A model that goes on to invent its own observation is cut there."""


OVERFLOWS = 4
"""How often in a row a provider may say that the prompt is too long, before it is believed for good."""


class NoUsableCell(InternError):
    """The brain kept answering without a cell that can run."""


class Stuck(InternError):
    """The brain did the same again and again, and was told twice."""


class InternAgent(CodeAgent):  # type: ignore[misc]
    """A `CodeAgent` with our executor, our prompts and our view of the memory.

    Attributes:
        plans: It is asked to look at its plan again after every so many steps.
        compact: The person wants the prompt shorter before the brain is asked the next time.
    """

    plans = True

    def __init__(
        self,
        brain: Brain,
        executor: KernelExecutor,
        system_prompt: str,
        settings: Settings,
        budget: Budget,
        journal: Journal,
        recorded: Recorded | None = None,
        conversation: Conversation | None = None,
        goals: Goals | None = None,
        whose: str = "",
    ) -> None:
        self.recorded = recorded or Recorded()
        self.conversation = conversation
        self.number = 0
        self._numbers = self.recorded.numbers
        self.settings = settings
        self.budget = budget
        self.journal = journal
        services = executor.router.services
        self.view = View(
            brain.context_tokens, settings.max_output_tokens, settings.recent_steps, spill(services, whose)
        )
        self.compactor = Compactor(self.view, self._write_summary, lambda: pinned(services))
        self.doomloop = DoomLoop()
        self.goals = goals or Goals(services, budget, wanted=False)
        self.claims: Callable[[str], str] = lambda answer: ""
        executor.hold = lambda answer: self.goals.hold() or self.claims(answer)
        self.corrections = 0
        self.compact = False
        self.cells = 0
        self.tokens = dict(zip(("input", "output"), self.recorded.summary_tokens, strict=True))
        self._summaries = [0, 0]
        self._system_prompt = system_prompt
        super().__init__(
            tools=[],
            model=brain,
            prompt_templates=prompt_templates(system_prompt),
            executor=executor,
            code_block_tags=CELL_TAGS,
            max_steps=settings.max_steps,
            logger=AgentLogger(level=LogLevel.OFF),
        )

    def initialize_system_prompt(self) -> str:
        """The system prompt as it stands; it is rendered once, before the run."""
        return self._system_prompt

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The view of the memory that the brain reads, brought below the window's limit."""
        if self.compact:
            self.compact = False
            done = self.compactor.shorten(self.memory)
            self._note_compaction(done)
            if done is None:
                self._emit(Notice("info", "The context is short already."))
        self._note_compaction(self.compactor.make_room(self.memory))
        return self.view.render(self.memory)

    def _note_compaction(self, done: Compacted | None) -> None:
        if done is not None:
            record = {"how": done.how, "step": self.number, "text": done.text, "last": done.last}
            record |= {"shrunk": self.view.shrunk_to(self.memory), "tokens": self._summaries}
            self._summaries = [0, 0]
            with self.budget.books:
                self.journal.append("compaction", {**record, "budget": self.budget.snapshot()})
            self._emit(ContextCompacted(done.how, done.before, done.after))

    def _step_stream(self, memory_step: ActionStep) -> Generator[ToolCall | ActionOutput]:
        """One step: an answer, its cell, the observation."""
        self._stop_if_asked()
        # Ours, not smolagents': its numbers begin again with each turn.
        memory_step.step_number = self.number = self._next_number()
        known = bool(self.recorded.answers)
        self._listen(live=not known)
        reply = self._recalled(memory_step) if known else self._ask_brain(memory_step)
        if reply.code is None:
            self._correct(reply, known or self.model.foretold)
        self.corrections = 0
        memory_step.code_action = reply.code
        call = ToolCall(name="python_interpreter", arguments=reply.code, id=f"call_{len(self.memory.steps)}")
        yield call
        memory_step.tool_calls = [call]
        yield self._run_cell(reply, memory_step)

    def _next_number(self) -> int:
        if self._numbers:
            return self._numbers.popleft()
        return max(self.number, self.recorded.last) + 1

    def _listen(self, live: bool) -> None:
        """Tell the brain what the person has said since it was asked last."""
        if self.conversation is not None:
            said = self.conversation.messages(self.number, live and self.model.language_model)
            self.memory.steps.extend(map(MessageStep, said))

    def _recalled(self, memory_step: ActionStep) -> Reply:
        """The reply that an earlier process was given and paid for."""
        known = self.recorded.answers.popleft()
        said = answer(known.text, Ending(known.finish), *known.tokens)
        self.tokens["input"] += known.tokens[0]
        self.tokens["output"] += known.tokens[1]
        return self._replied(said, memory_step)

    def _replied(self, said: ChatMessage, memory_step: ActionStep) -> Reply:
        memory_step.model_output_message = said
        memory_step.model_output = text_of(said)
        memory_step.token_usage = said.token_usage
        return parse_reply(text_of(said), CELL_TAGS, finish_reason(said))

    def _restore_summary(self) -> None:
        """Before the first question of this process: what was summarised or shrunk stays so."""
        if self.recorded.summaries:
            self.compactor.restore(self.memory, *self.recorded.summaries[-1])
            self.recorded.summaries.clear()
        if self.recorded.shrunk:
            self.view.restore(self.memory, self.recorded.shrunk)
            self.recorded.shrunk = 0

    def _ask_brain(self, memory_step: ActionStep) -> Reply:
        self.budget.check()
        self._restore_summary()
        began = time.monotonic()
        messages, said = self._generated()
        self._stop_if_asked()
        text = text_of(said)
        usage = said.token_usage
        used = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
        self.view.calibrate(size(messages), used[0])
        step = memory_step.step_number
        line = {"step": step, "text": text, "tokens": used, "finish": finish_reason(said)}
        with self.budget.books:  # one line, so that no crash comes between the answer and its cost
            self._charge(*used)
            self.journal.append("brain", {**line, "budget": self.budget.snapshot()})
        self._emit(BrainAnswered(step, text, used[0], used[1], time.monotonic() - began))
        return self._replied(said, memory_step)

    def _generated(self) -> tuple[list[ChatMessage], ChatMessage]:
        """The prompt and its answer; asked again where the person stopped an answer and nothing else."""
        stop = self.python_executor.router.stop
        while True:
            try:
                with stop.doing("step"):
                    found = self._generate()
                if stop.was_only_this():  # it was asked when the answer was there already
                    self.model.go_on()
                return found
            except Interrupted:
                if self.conversation is None or not stop.was_only_this():
                    raise
                self.model.go_on()
                note = self.conversation.note(self.number, STOPPED_ANSWER)
                self.memory.steps.append(MessageStep(note))
                self._listen(live=True)

    def _generate(self) -> tuple[list[ChatMessage], ChatMessage]:
        """The prompt and its answer; where the provider finds the prompt too long, a shorter one."""
        for tries in range(OVERFLOWS):
            messages = self._shorter(again=tries == 1)
            try:
                return messages, self.model.generate(messages, stop_sequences=STOP_SEQUENCES)
            except ContextOverflow:
                self.view.tighten(size(messages))
        messages = self.write_memory_to_messages()
        return messages, self.model.generate(messages, stop_sequences=STOP_SEQUENCES)

    def _shorter(self, again: bool) -> list[ChatMessage]:
        """The prompt; where nothing can be left out after the provider's first word, once more as it is."""
        try:
            return self.write_memory_to_messages()
        except ContextFull:
            if not again:
                raise
            self._note_compaction(self.compactor.too_little)
            return self.view.render(self.memory)

    def _write_summary(self, messages: list[ChatMessage]) -> str:
        """The brain's summary of its oldest steps; nothing where it is a playbook or gives no answer."""
        if not self.model.language_model:
            return ""
        try:
            said = self.model.generate(messages)
        except Interrupted:
            raise
        except InternError:
            return ""
        if said.token_usage:
            used = said.token_usage.input_tokens, said.token_usage.output_tokens
            self._charge(*used)
            self._summaries = [a + b for a, b in zip(self._summaries, used, strict=True)]
        return text_of(said)

    def _emit(self, event: Event) -> None:
        self.python_executor.router.services.emit(event)

    def _charge(self, input_tokens: int, output_tokens: int) -> None:
        self.tokens["input"] += input_tokens
        self.tokens["output"] += output_tokens
        usd = self.model.price(input_tokens, output_tokens) or 0.0
        self.budget.charge(input_tokens + output_tokens, usd)

    def _correct(self, reply: Reply, known: bool) -> None:
        self.corrections += 1
        if self.corrections > CORRECTIONS and known:
            self.corrections = 0  # who resumes a run that ended so wants it to go on
        if self.corrections > CORRECTIONS:
            raise NoUsableCell(
                f"The brain gave no usable cell {self.corrections} times in a row ({reply.problem}).",
                "Try another model, or a larger max_output_tokens if its replies were cut.",
            )
        # What was said to an earlier process stands in no record; it is not said a second time.
        told = "" if known else self.goals.reminder()
        raise AgentParsingError("\n".join(filter(None, [reply.note, told])), self.logger)

    def _run_cell(self, reply: Reply, memory_step: ActionStep) -> ActionOutput:
        executor: KernelExecutor = self.python_executor
        executor.step = memory_step.step_number
        known = executor.recorded.cells.get(executor.step) is not None
        self.cells += 1
        try:
            output = executor(reply.code or "", reply.note)
        except CellFailed as error:
            seen = memory_step.observations = self._watched(reply, error.message, known)
            self._stop_if_asked()
            raise AgentExecutionError(seen, self.logger) from None
        memory_step.observations = output.logs
        memory_step.action_output = output.output
        if not output.is_final_answer:
            memory_step.observations = self._watched(reply, output.logs, known)
            self._stop_if_asked()
        return ActionOutput(output=output.output, is_final_answer=output.is_final_answer)

    def _watched(self, reply: Reply, observation: str, known: bool) -> str:
        """The observation, with a word about it where the run turns in circles.

        Args:
            reply: What the brain said.
            observation: What came of its cell.
            known: The cell ran in an earlier process, which told the person then.

        Raises:
            Stuck: Words did not help.
        """
        verdict = self.doomloop.see(reply.code or "", observation)
        if verdict is None:
            return "\n".join(filter(None, [observation, self._look_back()]))
        if not known:
            self._emit(Notice("warning", verdict.text))
        if verdict.level == "stop" and (known or self.model.foretold):
            self.doomloop = DoomLoop()  # who resumes a run that was stuck wants it to go on
        elif verdict.level == "stop":
            raise Stuck(verdict.text, "Give the task in other words, or another model.")
        return f"{observation}\n{verdict.text}"

    def _look_back(self) -> str:
        """The word about the plan: of the step alone, so that a run which goes on is told the same."""
        wanted = self.plans and self.model.language_model
        return look_back(self.number, self.settings.planning) if wanted else ""

    def _stop_if_asked(self) -> None:
        # The router's word counts: smolagents takes its own switch back when a run starts.
        if self.python_executor.router.interrupted.is_set():
            raise Interrupted("Stopped by the person.")

    def _finalize_step(self, memory_step: Any) -> None:
        super()._finalize_step(memory_step)
        if isinstance(memory_step, ActionStep):
            # The view rebuilds the messages; a copy in every step costs hundreds of megabytes in a long run.
            memory_step.model_input_messages = None

    def _handle_max_steps_reached(self, task: str) -> Any:
        raise LimitReached(f"The limit of {self.max_steps} steps is reached.", "Raise --max-steps to go on.")
