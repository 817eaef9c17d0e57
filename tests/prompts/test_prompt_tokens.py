"""What the prompts cost, by real tokenizers and by the window's own meter; the strictest counts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.scripted_runs import cell, play

from ml_intern.agent.counting import counters, metered
from ml_intern.agent.prompt_tokens import Table, count
from ml_intern.brains.base import text_of
from ml_intern.cli.main import front
from ml_intern.router.registry import load_tools
from ml_intern.settings import Settings

CEILING = 7_000
"""System prompt and tool help together; the predecessor took 13,900."""

FOR_SUB_AGENTS = 4_000
WHOLE, SUB_AGENT = "the whole system prompt", "a research sub-agent's"
LONGEST_TASK = "Read the papers on arXiv, their citations and their code on GitHub, then fine-tune a model."


def shown(table: Table) -> str:
    return "\n".join(f"{part:<28}" + "".join(f"{n:>8}" for n in row.values()) for part, row in table.items())


@pytest.mark.parametrize("task", ["Train a model.", LONGEST_TASK], ids=["any-task", "about-papers"])
def test_system_prompt_and_tool_help_are_short(task: str) -> None:
    settings = Settings.load()
    table = count(load_tools(settings), settings, task)
    print(shown(table))
    assert max(table[WHOLE].values()) < CEILING, shown(table)
    assert max(table[SUB_AGENT].values()) < FOR_SUB_AGENTS, shown(table)


def test_a_whole_session_is_told_no_more(tmp_path: Path) -> None:
    played = play([cell("final_answer('done')")], tmp_path, prompt=LONGEST_TASK)
    system = text_of(played.session.agent.write_memory_to_messages()[0])
    counted = {name: counter(system) for name, counter in counters().items()}
    print(counted)
    assert "# This session" in system and max(counted.values()) < CEILING, counted


def test_the_parts_are_the_whole() -> None:
    settings = Settings.load()
    table = count(load_tools(settings), settings)
    together = [n for part, row in table.items() if part not in (WHOLE, SUB_AGENT) for n in [row["meter"]]]
    assert sum(together) == table[WHOLE]["meter"] and min(together) > 50


@pytest.mark.skipif(find_spec("litellm") is None, reason="LiteLLM's package brings the vocabularies")
def test_real_tokenizers_count_here() -> None:
    known = counters()
    assert {"meter", "o200k", "anthropic"} <= known.keys()
    text = "def mean(values: list[float]) -> float:\n    return sum(values) / len(values)\n" * 20
    assert known["o200k"]("hello world") == 2, "a vocabulary of bytes would count eleven"
    for name in ("o200k", "anthropic"):
        assert 2.5 < len(text) / known[name](text) < 5.5
    assert known["o200k"]("<|endoftext|> is text like any other") > 1


def test_the_meter_rounds_up() -> None:
    assert [metered("x" * n) for n in (0, 1, 7, 8, 35)] == [0, 1, 2, 3, 10]


def test_the_command_prints_the_table() -> None:
    done = CliRunner().invoke(front, ["tools", "--tokens"])
    assert done.exit_code == 0 and WHOLE in done.output and "tools: datasets" in done.output
    assert "meter" in done.output.splitlines()[0]
