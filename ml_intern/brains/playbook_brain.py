"""The brain that is no language model: it answers with the next cell of the playbook that fits a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smolagents.models import ChatMessage

from ml_intern.brains.base import Brain, Ending, answer, role_of, text_of
from ml_intern.brains.playbook import CONNECT, Playbook, PlaybookFailed, choose, list_playbooks
from ml_intern.brains.playbook_cells import fill_cell, fill_prose
from ml_intern.brains.replies import CELL_FAILED
from ml_intern.errors import UsageError
from ml_intern.events import Event, Notice
from ml_intern.tooling import did_you_mean

_TOOL_ERROR = "ToolError: "
_ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit|Denied|Failed|Warning)\b.*$", re.M)


class PlaybookBrain(Brain):
    """Plays a playbook, cell by cell.

    Which cell comes next follows from the messages alone, so a resumed session goes on where it was.

    Args:
        name: The playbook; empty to choose by the sentence.
        folders: The person's own playbooks.
        emit: Where notices go.
    """

    language_model = False

    def __init__(self, name: str, folders: Sequence[Path], emit: Callable[[Event], None]) -> None:
        super().__init__(model_id=name or "playbook")
        self.playbooks = list_playbooks(folders, lambda problem: emit(Notice("warning", problem)))
        self.playbook: Playbook | None = None
        self.prompt = ""
        self.values: dict[str, Any] = {}
        if name:
            self.playbooks = [_named(name, self.playbooks)]
            self.playbook = self.playbooks[0]

    @property
    def label(self) -> str:  # type: ignore[override]
        """``playbook:NAME``; without the name as long as no sentence has chosen one."""
        return f"playbook:{self.playbook.name if self.playbook else ''}"

    @property
    def trusted(self) -> bool:  # type: ignore[override]
        """True when the playbook ships with the product; known once a sentence has chosen it."""
        return self.playbook is not None and self.playbook.shipped

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """Nothing."""
        return 0.0

    def prepare(self, prompt: str) -> None:
        """Find the playbook and its slot values.

        Raises:
            UsageError: No playbook understands the prompt.
        """
        self.playbook, self.values = choose(prompt, self.playbooks)
        self.prompt = prompt
        for index in range(len(self.playbook.cells)):
            self._reply(index)

    def generate(
        self,
        messages: list[Any],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The prose and the code of the next cell.

        Raises:
            PlaybookFailed: The last cell failed.
        """
        if self.playbook is None:
            raise UsageError("No sentence has been given to the playbook brain.", CONNECT)
        run = self._of_this_prompt(messages)
        played = sum(role_of(message) == "assistant" for message in run)
        if played and (wrong := failure_in(run)):
            where = f"cell {played} of the playbook {self.playbook.name!r}"
            if wrong.startswith(_TOOL_ERROR):
                # What a tool refuses is as a rule the person's to mend, and its message says how.
                raise PlaybookFailed(f"{wrong.removeprefix(_TOOL_ERROR)}.", f"(In {where}.)")
            raise PlaybookFailed(
                f"{where.capitalize()} failed: {wrong}.",
                "A playbook cannot mend its own cells; a language model can (--model).",
            )
        return answer(self._reply(played), Ending("stop", self.label), 0, 0)

    def _of_this_prompt(self, messages: list[Any]) -> list[Any]:
        """The messages since the prompt; in a chat, older prompts stand before it."""
        asked = [
            index
            for index, message in enumerate(messages)
            if role_of(message) == "user" and self.prompt.strip() and self.prompt.strip() in text_of(message)
        ]
        tasks = [index for index in asked if not text_of(messages[index]).startswith("Observation")]
        return messages[tasks[-1] :] if tasks else messages

    def _reply(self, index: int) -> str:
        assert self.playbook is not None
        cells = self.playbook.cells
        if index < len(cells):
            where = f"Cell {index + 1} of the playbook {self.playbook.path}"
            prose = fill_prose(cells[index].prose, self.values, f"The prose of {where[0].lower()}{where[1:]}")
            code = fill_cell(cells[index].code, self.values, where, cells[index].line)
        else:
            prose, code = "", f"final_answer({f'The playbook {self.playbook.name} has come to its end.'!r})"
        return f"{prose}\n{self.tags[0]}\n{code}\n{self.tags[1]}".lstrip("\n")


def _named(name: str, playbooks: Sequence[Playbook]) -> Playbook:
    found = next((p for p in playbooks if p.name == name), None)
    if found is None:
        names = [p.name for p in playbooks]
        raise UsageError(
            f"There is no playbook {name!r}{did_you_mean(name, names)}.", f"There are: {', '.join(names)}."
        )
    return found


def failure_in(messages: list[Any]) -> str:
    """The last line of the error, when the newest observation is that of a cell that failed."""
    if role_of(messages[-1]) == "assistant":
        return ""
    seen = re.sub(r"^Observation[^\n]*:\n", "", text_of(messages[-1]).lstrip())
    if not seen.startswith(CELL_FAILED):
        return ""
    errors = _ERROR_LINE.findall(seen)
    lines = [line for line in seen.splitlines() if line.strip()]
    return str(errors[-1] if errors else lines[-1]).strip().rstrip(".")
