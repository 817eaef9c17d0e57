"""What an open page is told without asking: news at once, nothing while nothing happens, and an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_intern.settings import Settings
from ml_intern.webapp import stream
from ml_intern.webapp.house import House
from ml_intern.webapp.pages import Pages
from ml_intern.webapp.panels import changes
from ml_intern.webapp.panels.changes import stamp_of
from ml_intern.webapp.stream import Streams

requests = pytest.importorskip("starlette.requests", reason="starlette is not installed")

WAIT_S = 120
"""Ceiling; every wait ends with what it waits for."""


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    state = tmp_path / "state"
    house = House(Settings.load(state=state), {"model": "playbook:", "state": state}, apart=False)
    yield Pages(house)
    house.close()


def asked(where: dict[str, Any], site: str = "same-origin") -> Any:
    """A page's request for its stream."""
    from urllib.parse import urlencode

    query = urlencode({"where": json.dumps(where)}).encode()
    headers = [(b"sec-fetch-site", site.encode())]
    return requests.Request(
        {"type": "http", "method": "GET", "path": "/news", "query_string": query, "headers": headers}
    )


class Page:
    """An open page that writes down what it hears."""

    def __init__(self, lines: AsyncIterator[Any]) -> None:
        self._lines = lines
        self.heard: list[dict[str, Any]] = []

    async def until(self, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Listen until a message is what it waits for."""
        while True:
            line = await asyncio.wait_for(anext(self._lines), WAIT_S)
            if line.startswith("data: "):
                self.heard.append(json.loads(line.removeprefix("data: ")))
                if enough(self.heard[-1]):
                    return self.heard[-1]


async def opened(streams: Streams, **where: Any) -> Page:
    answer: Any = await streams.answer(asked(where))
    assert (answer.status_code, answer.media_type) == (200, "text/event-stream")
    return Page(answer.body_iterator)


def told(news: dict[str, Any]) -> str:
    return "".join(html for _, _, html in news.get("items", []))


def test_a_page_hears_what_happens_and_then_nothing(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BEAT_S", 0.5)
    shown = pages.house.home(None).begin("say hello to Ada", {})

    async def listen() -> None:
        page = await opened(Streams(pages), session=shown.hosted.id)
        await page.until(lambda news: news.get("state") == "waiting")
        assert "Hello, Ada!" in "".join(map(told, page.heard))
        so_far = len(page.heard)
        for _ in range(4):  # only that the server is there
            assert await asyncio.wait_for(anext(page._lines), WAIT_S) == ":\n\n"
        assert len(page.heard) == so_far
        await asyncio.to_thread(shown.hosted.tell, "say hello to Grace")
        await page.until(lambda news: "Hello, Grace!" in told(news))
        versions = [version for news in page.heard for _, version, _ in news["items"]]
        assert versions == sorted(set(versions)), "nothing is told twice"

    asyncio.run(listen())


def test_a_page_hears_of_other_sessions_in_its_list(pages: Pages) -> None:
    async def listen() -> None:
        page = await opened(Streams(pages))
        first = await page.until(lambda news: True)
        assert first["state"] == "new" and "hello to Ada" not in first["rows"]
        await asyncio.to_thread(pages.house.home(None).begin, "say hello to Ada", {})
        await page.until(lambda news: "hello to Ada" in news.get("rows", ""))

    asyncio.run(listen())


def test_a_stream_ends_with_the_server_and_when_its_time_is_over(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen(streams: Streams) -> None:
        page = await opened(streams)
        await page.until(lambda news: True)
        if streams is leaving:
            streams.end()
        with pytest.raises(StopAsyncIteration):
            await page.until(lambda news: False)

    leaving = Streams(pages)
    asyncio.run(listen(leaving))
    assert asyncio.run(leaving.answer(asked({}))).status_code == 503
    monkeypatch.setattr(stream, "LIFE_S", 1.0)
    asyncio.run(listen(Streams(pages)))


def test_a_session_that_is_not_there_sends_the_page_elsewhere(pages: Pages) -> None:
    async def listen() -> None:
        page = await opened(Streams(pages), session="../../etc")
        told = await page.until(lambda news: True)
        assert told["session"] == "" and "no such session" in told["error"]
        with pytest.raises(StopAsyncIteration):
            await page.until(lambda news: False)

    asyncio.run(listen())


def test_another_page_gets_no_stream_and_there_is_an_end_of_streams(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = Streams(pages)
    assert asyncio.run(streams.answer(asked({}, "cross-site"))).status_code == 403
    monkeypatch.setattr(stream, "MOST", 1)

    async def listen() -> None:
        page = await opened(streams)
        await page.until(lambda news: True)
        assert (await streams.answer(asked({}))).status_code == 503
        await page._lines.aclose()  # type: ignore[attr-defined]
        assert (await streams.answer(asked({}))).status_code == 200

    asyncio.run(listen())


@pytest.mark.parametrize("tab", ["Jobs", "Curves", "Experiments", "Files"])
def test_an_open_tab_is_drawn_anew_after_a_change_alone(
    tab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(changes.SPACING_S, tab, 0.0)
    job = tmp_path / "jobs" / "job-1"
    job.mkdir(parents=True)
    first = stamp_of(tab, tmp_path, 1)
    assert stamp_of(tab, tmp_path, 1) == first
    (job / "metrics.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "ledger.sqlite").write_text("a row")
    assert stamp_of(tab, tmp_path, 2) != first

    async def looks() -> list[bool]:
        panel = changes.PanelChanges(tab)
        return [await panel.changed(tmp_path, happened) for happened in (2, 2)]

    assert asyncio.run(looks()) == [True, False]


def test_no_tab_of_the_session_itself_is_drawn_anew(tmp_path: Path) -> None:
    assert not asyncio.run(changes.PanelChanges("Session").changed(tmp_path, 1))
    assert stamp_of("Jobs", None) == ()
