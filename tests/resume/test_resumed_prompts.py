"""What the brain reads after a resume is what it would have read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from narrow import narrow

from ml_intern.agent import instructions
from ml_intern.agent.view import text_of
from ml_intern.brains.base import Brain, Ending, answer
from ml_intern.journal.journal import Journal
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

_WORDS = "north east south west up down left right red green blue black white warm cold"
WORDS = _WORDS.split()


ROOM, OUTPUT = 9_000, 100


class Reader(Brain):
    """Keeps what it was asked in each step."""

    label = "reader"

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[int, str] = {}

    def generate(self, messages: list[Any], **given: Any) -> Any:
        if "stop_sequences" not in given:
            return answer("What was done.", Ending("stop"), 100, 10)
        seen = re.findall(r"^Observation of step (\d+):", text_of(messages[-1]), re.M)
        step = int(seen[-1]) if seen else 0
        self.read[step] = "\n".join(map(text_of, messages[1:]))  # the first says when the process began
        code = f"print('{WORDS[step]} ' * 200)" if step < len(WORDS) else "final_answer('done')"
        return answer(f"Next.\n<cell>\n{code}\n</cell>", Ending("stop"), 10, 10)


def play(state: Path, max_steps: int, folder: Path | None = None) -> tuple[Path, Reader, dict[str, int]]:
    settings = Settings.load(
        state=state, max_steps=max_steps, recent_steps=2, max_output_tokens=OUTPUT, sandbox="none"
    )
    brain = Reader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instructions, "system_prompt", instructions.system_prompt)  # put back at the end
        narrow(brain, ROOM, OUTPUT)
        session = Session(settings, "do it", brain, BareSandbox("test"), None, folder=folder)
        for _ in session.run():
            pass
    tokens = session.result().tokens
    session.close()
    return session.folder, brain, tokens


@pytest.mark.parametrize("cut", [6, 9, 13])
def test_the_prompts_after_a_resume(own_state: Path, cut: int) -> None:
    whole, undisturbed, spent = play(own_state, 30)
    first, _, _ = play(own_state, cut)
    _, resumed, again = play(own_state, 30, first)
    assert min(resumed.read) == cut and max(resumed.read) == len(WORDS)
    for step, text in resumed.read.items():
        assert text.replace(first.name, whole.name) == undisturbed.read[step], step
    lines = list(Journal(whole / "journal.sqlite").entries("compaction"))
    assert {line.payload["how"] for line in lines} == {"shrunk", "summarised"}, "the window is not narrow"
    assert again == spent and spent["input"] > 10 * len(undisturbed.read)
