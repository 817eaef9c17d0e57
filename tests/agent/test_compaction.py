"""A run of any length stays within the window, with its task and how things stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from smolagents.memory import ActionStep, AgentMemory, TaskStep
from smolagents.models import ChatMessage
from smolagents.monitoring import Timing

from ml_intern.agent.compaction import Compactor, mechanical
from ml_intern.agent.view import ContextFull, SummaryStep, View, size, text_of


def step(number: int, reply: str = "", observation: str = "") -> ActionStep:
    made = ActionStep(step_number=number, timing=Timing(0.0, 0.0))
    made.model_output = reply or f"I look at {number}.\n<cell>\nlook({number})\n</cell>"
    made.code_action = f"look({number})"
    made.observations = observation or f"saw {number}\n" + "x" * 900
    return made


def memory_of(steps: int) -> AgentMemory:
    memory = AgentMemory("SYSTEM PROMPT")
    memory.steps = [TaskStep(task="train it, and never touch eval.txt"), *(step(n + 1) for n in range(steps))]
    return memory


def text(messages: list[ChatMessage]) -> str:
    return "\n".join(text_of(m) for m in messages)


def test_what_fits_is_left_alone() -> None:
    memory = memory_of(3)
    view = View(8000, 1000, 4)
    assert Compactor(view, lambda m: "never asked", lambda: "").make_room(memory) is None
    assert view.changes == 0


def test_old_observations_shrink_first_and_the_newest_stay() -> None:
    memory = memory_of(30)
    view = View(8000, 1000, 4)
    done = Compactor(view, lambda m: pytest.fail("no summary is needed"), lambda: "").make_room(memory)
    assert done is not None and done.how == "shrunk" and done.after <= view.limit < done.before
    shown = text(view.render(memory))
    assert shown.count("x" * 900) >= 4 and "saw 1\n" in shown


def test_a_hundred_steps_over_the_limit_become_a_summary() -> None:
    memory = memory_of(100)
    view = View(4000, 500, 4)
    asked: list[str] = []

    def write(messages: list[ChatMessage]) -> str:
        asked.append(text(messages))
        return "Done: looked at all of it; job-3 runs."

    done = Compactor(view, write, lambda: "Budget left: 3 usd. Best: exp-2.").make_room(memory)
    assert done is not None and done.how == "summarised" and done.after <= view.limit
    shown = text(view.render(memory))
    assert "SYSTEM PROMPT" in shown and "never touch eval.txt" in shown
    assert "job-3 runs" in shown and "Best: exp-2." in shown and "saw 100" in shown
    assert size(view.render(memory)) == done.after and len(asked[0]) <= view.limit
    assert len(memory.steps) < 10
    assert "never touch eval.txt" in asked[0], "the writer knows what the person wants"


def test_the_request_for_a_summary_fits_itself() -> None:
    memory = memory_of(400)
    view = View(4000, 500, 4)
    longest = []
    Compactor(view, lambda m: longest.append(size(m)) or "short", lambda: "").make_room(memory)  # type: ignore[func-returns-value]
    assert longest and max(longest) <= view.limit


def test_no_id_is_cut_in_two_where_a_long_step_is() -> None:
    memory = memory_of(60)
    for number, made in enumerate(memory.steps[1:]):
        made.observations = " ".join(f"dataset-{number}-{n:03}" for n in range(200))
    asked: list[str] = []
    Compactor(View(4000, 500, 4), lambda m: asked.append(text(m)) or "short", lambda: "").make_room(memory)  # type: ignore[func-returns-value]
    words = [word for word in asked[0].split() if "dataset-" in word]
    assert words and all(re.fullmatch(r"dataset-\d+-\d{3}", word) for word in words)


def test_a_brain_that_cannot_write_gets_a_summary_made_of_lines() -> None:
    memory = memory_of(100)
    view = View(4000, 500, 4)
    done = Compactor(view, lambda m: "", lambda: "").make_room(memory)
    assert done is not None and "earlier lines left out" in done.text and "look(9" in done.text


def test_summaries_follow_each_other_and_the_memory_stays_small() -> None:
    memory = memory_of(0)
    view = View(4000, 500, 4)
    seen: list[str] = []

    def write(messages: list[ChatMessage]) -> str:
        seen.append(text(messages))
        return f"summary number {len(seen)}"

    compactor = Compactor(view, write, lambda: "pinned")
    for number in range(1, 301):
        memory.steps.append(step(number))
        compactor.make_room(memory)
        assert size(view.render(memory)) <= view.limit
        assert len(memory.steps) < 40 and sum(isinstance(s, SummaryStep) for s in memory.steps) <= 1
    assert len(seen) > 3 and "summary number 1" in seen[1]
    assert "never touch eval.txt" in text(view.render(memory))


def test_the_prompt_begins_as_before_unless_a_change_is_told() -> None:
    memory = memory_of(0)
    view = View(4000, 500, 4)
    compactor = Compactor(view, lambda m: "summary", lambda: "")
    before, changes, kept = "", 0, 0
    for number in range(1, 201):
        memory.steps.append(step(number))
        compactor.make_room(memory)
        now = text(view.render(memory))
        if view.changes == changes:
            assert now.startswith(before)
            kept += 1
        before, changes = now, view.changes
    assert kept > 120


def test_one_message_alone_over_the_limit_becomes_a_word_about_it(tmp_path: Path) -> None:
    def spill(name: str, whole: str) -> Path:
        path = tmp_path / f"{name}.txt"
        path.write_text(whole)
        return path

    memory = memory_of(1)
    memory.steps.append(step(2, observation="y" * 100_000))
    view = View(4000, 500, 4, spill)
    assert Compactor(view, lambda m: "", lambda: "").make_room(memory) is None
    shown = text(view.render(memory))
    assert "100000 characters" in shown and str(tmp_path / "observation-2.txt") in shown
    assert (tmp_path / "observation-2.txt").read_text() == "y" * 100_000


def test_a_task_that_alone_is_too_long_is_an_error() -> None:
    memory = memory_of(2)
    memory.steps[0] = TaskStep(task="t" * 100_000)
    with pytest.raises(ContextFull) as failed:
        Compactor(View(4000, 500, 4), lambda m: "", lambda: "").make_room(memory)
    assert failed.value.exit_code == 3 and "window" in str(failed.value)


def test_the_meter_learns_from_the_provider_and_only_downwards() -> None:
    view = View(4000, 500, 4)
    before = view.limit
    view.calibrate(10_000, 1000)
    assert view.limit == before
    view.calibrate(10_000, 5000)
    assert view.limit == 7000
    view.tighten(7000)
    assert view.limit == 5600
    view.tighten(1000)  # a window far smaller than what was said of it
    assert view.limit == 800


def test_mechanical_lines_are_bounded() -> None:
    made = mechanical("", [step(n, observation="z" * 5000) for n in range(500)], 3000)
    assert len(made) <= 3000 and "step 499" in made


def test_a_recorded_summary_can_be_put_back() -> None:
    memory = memory_of(20)
    view = View(100_000, 500, 4)
    Compactor(view, lambda m: "", lambda: "").restore(memory, "SUMMARY AS IT WAS", 15)
    shown = text(view.render(memory))
    assert "SUMMARY AS IT WAS" in shown and "saw 15" not in shown and "saw 16" in shown
