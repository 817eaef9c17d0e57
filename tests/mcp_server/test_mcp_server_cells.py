"""Cells of an assistant, and sessions that go on: the kernel again as it was, and nothing done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest
from mcp_kit import Place, client, person, run, server_of, text_of

from ml_intern.errors import UsageError
from ml_intern.mcp_server.asking import Asking
from ml_intern.mcp_server.seats import Seat
from ml_intern.mcp_server.session import ToolSession
from ml_intern.session.session import Session

Seats = Callable[..., Seat]


def test_a_cell_runs_with_the_tools_and_stays_behind_the_gate(seat_for: Seats, place: Place) -> None:
    answers = person({"allow": True}, {"allow": False, "reason": "once is enough"})

    async def work() -> None:
        async with client(server_of(seat_for(), cells=True), elicitation_callback=answers) as mcp:
            assert "run_cell" in {tool.name for tool in (await mcp.list_tools()).tools}
            first = await mcp.call_tool("run_cell", {"code": "x = measure('a', 0.5)\nprint(x.name, x.score)"})
            assert text_of(first).startswith("a 0.5")
            again = await mcp.call_tool("run_cell", {"code": "x.parts"})
            assert "Out: [1, 2]" in text_of(again)
            broken = await mcp.call_tool("run_cell", {"code": "y = 1\n1/0"})
            assert broken.is_error and "line 2" in text_of(broken) and "ZeroDivisionError" in text_of(broken)
            asking = "announce('me/x', private=False)"
            assert not (await mcp.call_tool("run_cell", {"code": asking})).is_error
            refused = await mcp.call_tool("run_cell", {"code": asking})
            assert refused.is_error and "once is enough" in text_of(refused)
            no_code = await mcp.call_tool("run_cell", {"codes": "1"})
            assert no_code.is_error and "code" in text_of(no_code)
            ended = await mcp.call_tool("run_cell", {"code": "final_answer('done')"})
            assert "Final answer: done" in text_of(ended)

    run(work())
    assert place.lines == ["announce me/x  False"]


def test_a_cancelled_cell_stops_and_leaves_other_calls_alone(seat_for: Seats, place: Place) -> None:
    async def work() -> None:
        async with client(server_of(seat_for(), cells=True)) as mcp, anyio.create_task_group() as tasks:
            await mcp.call_tool("run_cell", {"code": "x = 1"})
            ended: list[str] = []

            async def beside() -> None:
                ended.append(text_of(await mcp.call_tool("linger", {"steps": 60})))

            tasks.start_soon(beside)
            await asyncio.to_thread(place.until, "linger begins")
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as inner:

                    async def stop_it() -> None:
                        while place.lines.count("linger begins") < 2:
                            await anyio.sleep(0.02)
                        scope.cancel()

                    inner.start_soon(stop_it)
                    await mcp.call_tool("run_cell", {"code": "linger()"})
            await asyncio.to_thread(place.until, "linger was stopped")
            assert "Out: 1" in text_of(await mcp.call_tool("run_cell", {"code": "x"}))
        assert ended == ["lingered"]

    run(work())
    assert place.lines.count("linger was stopped") == 1


def test_a_session_goes_on_with_its_kernel(seat_for: Seats, place: Place) -> None:
    seat = seat_for(yes=["publish"])

    async def before() -> None:
        async with client(server_of(seat, cells=True)) as mcp:
            await mcp.call_tool("run_cell", {"code": "x = announce('me/x', private=False)"})

    async def after() -> None:
        async with client(server_of(seat, cells=True)) as mcp:
            assert "announce me/x" in text_of(await mcp.call_tool("run_cell", {"code": "print(x)"}))
            # A tool is called anew: what it said before is no answer to this call.
            assert not (await mcp.call_tool("announce", {"repo": "me/x", "private": False})).is_error

    run(before())
    seat.close()
    run(after())
    assert place.lines == ["announce me/x  False"] * 2


@pytest.mark.thorough
def test_it_goes_on_with_sessions_of_its_own_kind_only(seat_for: Seats, place: Place) -> None:
    seat = seat_for()
    session = seat.session()
    with pytest.raises(UsageError, match="mcp --resume"):
        Session.resume(session.folder)
    other = Session.create(place.settings(model="playbook:"), "say hello to Ada")
    list(other.run())
    other.close()
    with pytest.raises(UsageError, match="has a brain of its own"):
        ToolSession.opened(place.settings(), Asking(), other.folder)


@pytest.mark.thorough
def test_a_session_in_use_is_told(seat_for: Seats) -> None:
    one, two = seat_for(name="work"), seat_for(name="work")

    async def work() -> None:
        await asyncio.to_thread(one.session)
        async with client(server_of(two)) as mcp:
            told = await mcp.call_tool("count", {})
            assert told.is_error and "in use by process" in text_of(told)
            await asyncio.to_thread(one.close)
            assert not (await mcp.call_tool("count", {})).is_error

    run(work())


@pytest.mark.thorough
def test_wall_time_counts_while_calls_run_and_is_a_ceiling(seat_for: Seats) -> None:
    seat = seat_for(budget="3s")

    async def work() -> None:
        async with client(server_of(seat)) as mcp:
            await mcp.call_tool("count", {})
            session = seat.session()
            spent = session.budget.used("seconds")
            await asyncio.sleep(0.3)
            assert session.budget.used("seconds") == spent
            late = await mcp.call_tool("linger", {})
            assert late.is_error
            told = await mcp.call_tool("count", {})
            assert told.is_error and "larger --budget" in text_of(told)

    run(work())
