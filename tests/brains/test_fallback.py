"""When a brain is gone for good, the next one goes on."""

from __future__ import annotations

from typing import Any

import pytest

from ml_intern.brains.base import Brain, Ending, answer
from ml_intern.brains.errors import ContextOverflow
from ml_intern.brains.factory import build_brain
from ml_intern.brains.fallback import FallbackBrain
from ml_intern.errors import Interrupted, NoBrain
from ml_intern.events import Event, Notice
from ml_intern.settings import Settings


class Plays(Brain):
    def __init__(self, label: str, *answers: str | Exception, window: int = 1000) -> None:
        super().__init__()
        self.label, self.context_tokens = label, window
        self._answers = list(answers)

    def prepare(self, prompt: str) -> None:
        if prompt == f"no {self.label}":
            raise NoBrain(f"{self.label} is away.")

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        return float(len(self.label))

    def generate(self, messages: list[Any], **_: Any) -> Any:
        played = self._answers.pop(0)
        if isinstance(played, Exception):
            raise played
        return answer(played, Ending("stop"), 1, 1)


def test_the_next_takes_over_and_stays() -> None:
    told: list[Event] = []
    first = Plays("a", "one", NoBrain("a is down."), window=4000)
    brain = FallbackBrain([first, Plays("bb", "two", "three", window=2000)], told.append)
    assert (brain.label, brain.context_tokens) == ("a", 2000)
    assert [brain.generate([]).content for _ in range(3)] == ["one", "two", "three"]
    assert (brain.label, brain.price(1, 1)) == ("bb", 2.0)
    [notice] = told
    assert isinstance(notice, Notice) and "bb goes on" in notice.text and "a is down" in notice.text


def test_the_last_one_s_error_is_the_error() -> None:
    brain = FallbackBrain(
        [Plays("a", NoBrain("a is down.")), Plays("b", NoBrain("b is down."))], lambda e: None
    )
    with pytest.raises(NoBrain, match="b is down"):
        brain.generate([])


@pytest.mark.parametrize("error", [ContextOverflow("too long"), Interrupted("stopped")])
def test_what_is_no_outage_is_not_passed_on(error: Exception) -> None:
    brain = FallbackBrain([Plays("a", error), Plays("b", "never")], lambda e: None)
    with pytest.raises(type(error)):
        brain.generate([])
    assert brain.label == "a"


def test_a_brain_that_is_away_at_the_start_is_skipped() -> None:
    brain = FallbackBrain([Plays("a"), Plays("b", "here")], lambda e: None)
    brain.prepare("no a")
    assert brain.generate([]).content == "here"


def test_it_is_trusted_only_if_all_are() -> None:
    shipped = Plays("playbook")
    shipped.trusted, shipped.language_model = True, False
    brain = FallbackBrain([Plays("a"), shipped], lambda e: None)
    assert not brain.trusted and brain.language_model


def test_the_settings_name_those_that_take_over() -> None:
    settings = Settings.load(
        model="openai:a", base_url="http://127.0.0.1:9/v1", fallback_models=["playbook:"], context_tokens=8000
    )
    told: list[Event] = []
    brain = build_brain(settings, told.append, {})
    assert isinstance(brain, FallbackBrain) and brain.label == "openai:a"
    brain.prepare("say hello to you")
    assert brain.label.startswith("playbook") and "goes on" in str(told[-1])
