"""Tools are told in groups: in full what most sessions need, by name the rest, which help() tells in a cell."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from support.scripted_runs import cell, play

from ml_intern.agent.counting import metered
from ml_intern.agent.groups import grouped, unknown
from ml_intern.agent.instructions import research_prompt, system_prompt
from ml_intern.outside.spec import OutsideSpec
from ml_intern.router.registry import load_tools
from ml_intern.session.session import Session
from ml_intern.settings import TOOL_GROUPS, Settings
from ml_intern.tooling import ToolSpec

FACTS = {"isolation": "none", "workspace": "/w", "facts": "none"}


@pytest.fixture(scope="module")
def tools() -> list[ToolSpec]:
    return load_tools(Settings())


def server(name: str, count: int) -> list[ToolSpec]:
    """The tools of an MCP server, each with an argument and a line of its own words."""
    return [
        OutsideSpec(
            name=f"{name}__tool_{n}",
            function=lambda ctx, given: None,
            effect="read",
            subject=f"mcp:{name}",
            origin=f"mcp:{name}",
            schema={"type": "object", "properties": {"issue": {"type": "integer"}}, "required": ["issue"]},
            description=f"Do the thing number {n} with an issue of the tracker, and say what became of it.",
            speaker=f"MCP server {name!r}",
        )
        for n in range(count)
    ]


def test_core_groups_are_told_in_full_and_reading_groups_by_name(tools: list[ToolSpec]) -> None:
    told = system_prompt(tools, **FACTS)
    assert "- launch_training(method: 'pretrain'" in told and "- JobStatus: id" in told
    assert "- read_paper(" not in told and "- Recipe:" not in told
    [line] = [line for line in told.splitlines() if line.startswith("- papers, ")]
    assert "citations" in line and "read_paper" in line and "extract_recipe" in line
    assert "- publish_model(" in told and "- read_hub_file(" not in told


def test_every_tool_is_told_one_way_or_the_other(tools: list[ToolSpec]) -> None:
    groups = grouped(tools, TOOL_GROUPS, 0)
    told = [spec.name for group in groups for spec in (*group.shown, *group.folded)]
    assert sorted(told) == sorted(spec.name for spec in tools)
    prompt = system_prompt(tools, **FACTS)
    assert [spec.name for spec in tools if spec.name not in prompt] == []
    assert [group.name for group in groups if not group.about] == [], (
        "say in prompts/groups.yaml what it is for"
    )


def test_the_setting_decides(tools: list[ToolSpec]) -> None:
    told = system_prompt(tools, ["papers", "plan"], **FACTS)
    assert "- read_paper(" in told and "- plan(" in told
    assert "- launch_training(" not in told and "- notify(" not in told and "notify" in told


@pytest.mark.parametrize(
    ("task", "papers"),
    [
        ("Read the papers on length control, then train.", True),
        ("What does arXiv:2305.18290 say?", True),
        ("Fine-tune on newspapers in two minutes.", False),
        ("Train the best model.", False),
    ],
    ids=["papers", "arxiv", "part-of-a-word", "other"],
)
def test_a_task_about_papers_gets_them_in_full(tools: list[ToolSpec], task: str, papers: bool) -> None:
    assert ("- read_paper(" in system_prompt(tools, task=task, **FACTS)) is papers


def test_many_tools_from_outside_fold_by_themselves(tools: list[ToolSpec]) -> None:
    few, many = server("few", 3), server("many", 120)
    alone = metered(system_prompt(tools, room=1000, **FACTS))
    told = system_prompt([*tools, *few, *many], room=1000, **FACTS)
    assert "- few__tool_2(issue: int)" in told and "- many__tool_0(" not in told
    assert "- mcp:many: many__tool_0, " in told and "more" in told
    assert metered(told) - alone < 600


def test_what_the_settings_name_never_folds(tools: list[ToolSpec]) -> None:
    many = server("many", 40)
    told = system_prompt([*tools, *many], [*TOOL_GROUPS, "mcp:many"], room=0, **FACTS)
    assert "- many__tool_39(issue: int)" in told
    told = system_prompt([*tools, *many], [*TOOL_GROUPS, "many__tool_7"], room=0, **FACTS)
    assert "- many__tool_7(issue: int)" in told and "- many__tool_8(" not in told


def test_sub_agents_are_told_in_full_what_reads(tools: list[ToolSpec]) -> None:
    reads = [spec for spec in tools if spec.effect == "read"]
    told = research_prompt(
        reads, isolation="none", workspace="/w", scratch="/s", steps=3, sentences=9, facts="-"
    )
    assert "- read_paper(" in told and "- Recipe: " in told and "- search_docs(" in told
    assert "- job_logs(" not in told and "job_logs" in told and "launch_training" not in told


def test_a_slip_in_the_setting_is_told(own_state: Path) -> None:
    tools = load_tools(Settings())
    assert unknown([*TOOL_GROUPS, "code"], tools) == []
    [line] = unknown(["paper"], tools)
    assert "'paper' (did you mean 'papers'?)" in line
    settings = Settings.load(state=own_state, sandbox="none", model="playbook:", tool_groups=["paper"])
    session = Session.create(settings, "say hello to the world")
    assert any("'paper'" in event.text for event in session.run() if event.kind == "Notice")


def test_a_brief_signature_has_the_arguments_and_defaults_of_the_whole_one(tools: list[ToolSpec]) -> None:
    for spec in tools:
        brief = re.sub(r"one of the \w+", "str", spec.brief)
        [made] = ast.parse(f"def {brief}: ...").body
        assert isinstance(made, ast.FunctionDef)
        told = [arg.arg for arg in made.args.args]
        known = spec.proxy()["parameters"]
        assert told == [p["name"] for p in known], spec.name
        defaults = [ast.literal_eval(d) for d in made.args.defaults]
        assert defaults == [p["default"] for p in known if "default" in p], spec.name
        assert len(spec.brief) <= len(spec.signature)


# In a cell


def observed(folder: Path, *codes: str, **settings: Any) -> list[str]:
    """What the brain reads of each cell."""
    played = play([*map(cell, codes), cell("final_answer('done')")], folder, **settings)
    told = played.brain.prompts[-1].split("Observation of step ")[1:]
    return [text.split("\n", 1)[1].split("\nassistant: ")[0] for text in told]


def test_help_of_a_group_has_signatures_and_fields(tmp_path: Path) -> None:
    papers, one, by_name, groups, own = observed(
        tmp_path,
        "help('papers')",
        "help(read_paper)",
        "help('read_paper')",
        "help()",
        "help(len)",
    )
    assert "- read_paper(id, section=None, offset=0) -> PaperPage" in papers
    assert "- PaperPage: title, " in papers and "- Paper: id, title, " in papers
    assert "Variables:" not in papers
    assert one == by_name and 'Number ("4.1")' in one and "Heading: number, title" in one
    assert "- papers: search_papers, " in groups and "- jobs: list_jobs" in groups
    assert "Return the number of items" in own


def test_a_wrong_call_of_a_folded_tool_shows_its_signature(tmp_path: Path) -> None:
    argument, name, other = observed(
        tmp_path, "read_paper('2401.00001', sectoin='1')", "search_paper('x')", "unheard_of('x')"
    )
    assert "did you mean 'section'?" in argument and "Signature: read_paper(id: str" in argument
    assert "Did you mean search_papers(query: str" in name
    assert "NameError" in other and "Did you mean" not in other


def test_a_cell_may_name_something_help(tmp_path: Path) -> None:
    first, second, third = observed(tmp_path, "x = 1", "help = 3", "print(help + x)")
    assert "help" not in first and "help: int 3" in second and third.startswith("4")


@pytest.mark.parametrize("window", [10_000, 12_000, 128_000])
def test_a_small_window_keeps_its_room_for_the_work(window: int, tmp_path: Path) -> None:
    played = play([cell("print(inspect_dataset); final_answer('end')")], tmp_path, window=window)
    assert played.result.answer == "end"
    told = played.session.agent.system_prompt
    assert ("- list_jobs(" in told) == (window == 128_000) and "list_jobs" in told
    assert metered(told) <= (0.4 * window if window < 128_000 else 7_000)
