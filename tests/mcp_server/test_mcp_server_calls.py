"""Our tools through the official SDK's client: lists, results, errors, progress, cancelling, questions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import MCPError
from mcp_kit import MODES, Place, client, person, run, server_of, text_of

from ml_intern.journal.journal import Journal
from ml_intern.mcp_server.seats import Seat

Seats = Callable[..., Seat]
ONE = ["auto", pytest.param("legacy", marks=pytest.mark.thorough)]
PUBLIC = {"repo": "me/news", "text": "all", "private": False}


def journal(seat: Seat, kind: str) -> list[dict[str, Any]]:
    session = seat.there()
    assert session is not None
    return [entry.payload for entry in session.journal.entries(kind)]


@pytest.mark.parametrize("mode", MODES)
def test_tools_are_listed_and_their_results_are_typed(mode: str, seat_for: Seats) -> None:
    async def work() -> None:
        async with client(server_of(seat_for()), mode) as mcp:
            tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}
            assert {"launch_training", "publish_model", "read_paper", "measure"} <= tools.keys()
            assert "run_cell" not in tools
            measure = tools["measure"]
            assert measure.input_schema["properties"]["name"]["description"] == "What."
            assert measure.input_schema["required"] == ["name"]
            assert measure.output_schema and measure.output_schema["properties"].keys() == {
                "name",
                "score",
                "parts",
            }
            assert "Args:" not in (measure.description or "")
            # The client holds what comes against the schema; a NaN would not be JSON at all.
            known = await mcp.call_tool("measure", {"name": "a", "score": 0.5})
            assert known.structured_content == {"name": "a", "score": 0.5, "parts": [1, 2]}
            assert json.loads(text_of(known)) == known.structured_content
            unknown = await mcp.call_tool("measure", {"name": "a"})
            assert unknown.structured_content == {"name": "a", "score": None, "parts": [1, 2]}
            assert (await mcp.call_tool("count", {})).structured_content == {"result": [1, 2, 3]}

    run(work())


def test_hints_follow_from_the_effects(seat_for: Seats) -> None:
    async def work() -> None:
        async with client(server_of(seat_for())) as mcp:
            told = {t.name: t.annotations for t in (await mcp.list_tools()).tools}
            shown = {
                name: (hints.read_only_hint, hints.destructive_hint, hints.open_world_hint)
                for name, hints in told.items()
                if hints is not None
            }
            assert shown["list_jobs"] == (True, False, False)
            assert shown["read_paper"] == (True, False, True)
            assert shown["write_file"] == (False, True, False)
            assert shown["launch_training"][:2] == (False, False)
            assert shown["publish_model"][0] is False and shown["publish_model"][2] is True
            assert shown["hub_branches"] == (False, True, True)

    run(work())


def test_only_the_tools_that_are_wanted_are_offered(seat_for: Seats) -> None:
    async def work() -> None:
        async with client(server_of(seat_for(), wanted=("jobs", "meas*"))) as mcp:
            names = {tool.name for tool in (await mcp.list_tools()).tools}
            assert {"list_jobs", "measure"} <= names and "publish_model" not in names
            refused = await mcp.call_tool("announce", PUBLIC)
            assert refused.is_error and "not offered" in text_of(refused)

    run(work())


def test_errors_say_what_to_do(seat_for: Seats) -> None:
    async def work() -> None:
        async with client(server_of(seat_for())) as mcp:
            failed = await mcp.call_tool("fail", {})
            assert failed.is_error and text_of(failed) == "It did not work.\nTry something else."
            misspelt = await mcp.call_tool("measure", {"nam": "a"})
            assert misspelt.is_error and "did you mean 'name'" in text_of(misspelt)
            unknown = await mcp.call_tool("mesure", {})
            assert unknown.is_error and "did you mean 'measure'" in text_of(unknown)
            cells = await mcp.call_tool("run_cell", {"code": "1"})
            assert cells.is_error and "--cells" in text_of(cells)

    run(work())


def test_a_long_text_says_where_the_rest_is(seat_for: Seats) -> None:
    async def work() -> None:
        async with client(server_of(seat_for())) as mcp:
            text = text_of(await mcp.call_tool("long_text", {}))
            assert len(text) < 70_000
            path = text.rpartition("read_file('")[2].partition("'")[0]
            assert Path(path).read_text() == "word " * 40_000
            page = await mcp.call_tool("read_file", {"path": path})
            assert not page.is_error

    run(work())


@pytest.mark.parametrize("mode", MODES)
def test_progress_grows_and_a_cancelled_call_stops(mode: str, seat_for: Seats, place: Place) -> None:
    seen: list[tuple[float, str]] = []

    async def work() -> None:
        async def report(progress: float, total: float | None, message: str | None) -> None:
            seen.append((progress, message or ""))

        async with client(server_of(seat_for()), mode) as mcp:
            done = await mcp.call_tool("linger", {"steps": 3}, progress_callback=report)
            assert text_of(done) == "lingered"
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def stop_it() -> None:
                        while place.lines.count("linger begins") < 2:
                            await anyio.sleep(0.02)
                        scope.cancel()

                    tasks.start_soon(stop_it)
                    await mcp.call_tool("linger", {})
            await asyncio.to_thread(place.until, "linger was stopped")
            # The others go on.
            assert not (await mcp.call_tool("count", {})).is_error

    run(work())
    numbers = [progress for progress, _ in seen]
    assert numbers == sorted(set(numbers)) and numbers
    assert "step 2" in [message for _, message in seen]


@pytest.mark.parametrize("mode", MODES)
def test_a_publication_asks_and_is_done_as_the_person_says(mode: str, seat_for: Seats, place: Place) -> None:
    asked: list[Any] = []
    edited = {"allow": True, "reason": "fine", "arguments": '{"text": "less", "private": true}'}
    answers = person({"allow": True}, {"allow": False, "reason": "not today"}, "decline", edited, asked=asked)
    seat = seat_for()

    async def work() -> None:
        async with client(server_of(seat), mode, elicitation_callback=answers) as mcp:
            assert not (await mcp.call_tool("announce", PUBLIC)).is_error
            refused = await mcp.call_tool("announce", PUBLIC)
            assert refused.is_error and "not today" in text_of(refused)
            declined = await mcp.call_tool("announce", PUBLIC)
            assert declined.is_error and "the person said no" in text_of(declined)
            assert not (await mcp.call_tool("announce", PUBLIC)).is_error
            # What needs no question is not asked about.
            assert not (await mcp.call_tool("announce", {**PUBLIC, "private": True})).is_error

    run(work())
    assert place.lines == [
        "announce me/news all False",
        "announce me/news less True",
        "announce me/news all True",
    ]
    assert len(asked) == 4
    assert "me/news" in asked[0].message and "publish" in asked[0].message
    assert asked[0].requested_schema["properties"].keys() >= {"allow", "reason", "arguments"}
    answered = journal(seat, "answer")
    assert [line["by"] for line in answered] == ["person"] * 4
    assert [line["allowed"] for line in answered] == [True, False, False, True]


@pytest.mark.parametrize("mode", ONE)
def test_arguments_that_are_none_are_asked_for_again(mode: str, seat_for: Seats, place: Place) -> None:
    asked: list[Any] = []
    answers = person({"allow": True, "arguments": "less"}, {"allow": True}, asked=asked)

    async def work() -> None:
        async with client(server_of(seat_for()), mode, elicitation_callback=answers) as mcp:
            assert not (await mcp.call_tool("announce", PUBLIC)).is_error

    run(work())
    assert "no JSON object" in asked[1].message
    assert place.lines == ["announce me/news all False"]


@pytest.mark.parametrize("mode", ONE)
def test_a_client_without_forms_is_told_how_to_allow_it(mode: str, seat_for: Seats, place: Place) -> None:
    async def work() -> None:
        async with client(server_of(seat_for()), mode) as mcp:
            denied = await mcp.call_tool("announce", PUBLIC)
            assert denied.is_error
            assert "ml-intern mcp --yes publish" in text_of(denied)

    run(work())
    assert place.lines == []


def test_yes_given_at_the_start_is_enough(seat_for: Seats, place: Place) -> None:
    async def work() -> None:
        async with client(server_of(seat_for(yes=["publish"]))) as mcp:
            assert not (await mcp.call_tool("announce", PUBLIC)).is_error

    run(work())
    assert place.lines == ["announce me/news all False"]


def test_the_budget_is_a_ceiling_for_all_calls(seat_for: Seats, place: Place) -> None:
    async def work() -> None:
        async with client(server_of(seat_for(budget="2 usd, 5 jobs"))) as mcp:
            assert not (await mcp.call_tool("rent", {"usd": 1.5})).is_error
            over = await mcp.call_tool("rent", {"usd": 1.0})
            assert over.is_error and "usd" in text_of(over)
            assert not (await mcp.call_tool("rent", {"usd": 0.5})).is_error
            session = json.loads((await mcp.read_resource("ml-intern://session")).contents[0].text)
            assert session["budget_left"]["usd"] == 0.0 and session["budget_left"]["jobs"] == 3.0

    run(work())
    assert place.lines == ["rent 1.5", "rent 0.5"]


def test_what_is_journaled_is_what_a_cell_would_have_left(seat_for: Seats) -> None:
    seat = seat_for()

    async def work() -> None:
        async with client(server_of(seat)) as mcp:
            await mcp.call_tool("write_file", {"path": "a.txt", "content": "hello"})
            await mcp.call_tool("announce", PUBLIC)

    run(work())
    (intent,) = journal(seat, "intent")
    assert intent["tool"] == "write_file" and intent["source"].startswith("mcp")
    assert [line["ok"] for line in journal(seat, "result")] == [True]
    assert [line["denied"] for line in journal(seat, "refusal")] == [True]
    assert isinstance(seat.there().journal, Journal)  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ONE)
def test_many_calls_at_a_time_and_their_questions_one_by_one(
    mode: str, seat_for: Seats, place: Place
) -> None:
    asked: list[Any] = []
    answers = person(*[{"allow": True}] * 4, asked=asked)

    async def work() -> None:
        async with client(server_of(seat_for()), mode, elicitation_callback=answers) as mcp:
            calls = [mcp.call_tool("announce", {**PUBLIC, "repo": f"me/{n}"}) for n in range(4)]
            calls += [mcp.call_tool("measure", {"name": str(n)}) for n in range(12)]
            results = await asyncio.gather(*calls)
            assert not any(result.is_error for result in results)
            told = [result.structured_content["name"] for result in results[4:] if result.structured_content]
            assert told == [str(n) for n in range(12)]

    run(work())
    assert sorted(place.lines) == [f"announce me/{n} all False" for n in range(4)] and len(asked) == 4


def test_what_only_repeats_stands_in_the_structured_result_alone(seat_for: Seats) -> None:
    async def work() -> None:
        async with client(server_of(seat_for())) as mcp:
            given = {"hypothesis": "a smaller rate is better", "change": "rate 1e-4"}
            opened = await mcp.call_tool("start_experiment", given)
            shown, whole = json.loads(text_of(opened)), opened.structured_content
            assert whole and whole["hypothesis"] == given["hypothesis"] and "environment" in whole
            # What was just said, what is empty and what only reproducing needs is not said again.
            assert shown.keys() == {"id", "seed", "verdict", "frozen", "not_shown"}, shown
            assert {"hypothesis", "change"} <= {*shown["not_shown"]}
            assert len(text_of(opened)) < len(json.dumps(whole)) / 2

    run(work())


def test_a_prompt_without_what_it_needs_asks_for_it(seat_for: Seats) -> None:
    async def work() -> None:
        async with client(server_of(seat_for())) as mcp:
            with pytest.raises(MCPError, match=r"needs source \(source: examples"):
                await mcp.get_prompt("finetune", {"model": "some/model"})
            filled = await mcp.get_prompt("finetune", {"model": "some/model", "source": "rows.jsonl"})
            [said] = filled.messages
            assert isinstance(said.content, types.TextContent)
            assert """start, source = 'some/model', 'rows.jsonl'""" in said.content.text

    run(work())
