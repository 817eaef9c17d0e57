"""The stream of an open page: it is told what is new without asking, and nothing while nothing happens.

A page that asks each second costs a request and a search for news each second, for each page that somebody
has left open. So each visible page holds one request open, and the server looks by itself: a comparison.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ml_intern.webapp.pages import Pages
from ml_intern.webapp.panels.changes import PanelChanges
from ml_intern.webapp.where import Where

if TYPE_CHECKING:
    from fastapi import Request, Response

    from ml_intern.webapp.door import Who

LOOK_S = 0.25
"""So often the server compares; news are on the page a little later."""
SPACING_S = 0.5
"""Of a session that prints without end a page hears so often at most."""
WORKING_S = 1.0
"""A session that works is read so often also where nothing happened: what it has spent grows."""
RESTING_S = 5.0
"""All else, as sessions that another process began, is looked for so often."""
BEAT_S = 15.0
"""Something is sent so often: proxies end what is silent, and the page notices when the server is gone."""
LIFE_S = 60.0
"""Then the page asks again, and is checked again: logins end, and the tabs tell themselves anew."""
MOST = 500
"""Streams at one time."""
_DRAWN = ("epoch", "version", "list")
_SAME = ("state", "status", "list", "question", "error", "session")


class Streams:
    """Tells all open pages.

    Args:
        pages: Knows what is new.
        who: The user of a request; without it there is one person.
    """

    def __init__(self, pages: Pages, who: Who | None = None) -> None:
        self._pages = pages
        self._who = who
        self._open = 0
        self._ending = False

    def end(self) -> None:
        """Let all streams come to their end, as the server does: an open one would hold it up."""
        self._ending = True

    async def answer(self, request: Request) -> Response:
        """One page's stream. The page names what it has drawn, as with everything else that it asks."""
        from starlette.responses import PlainTextResponse, StreamingResponse

        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return PlainTextResponse("This request comes from another page.", 403)
        if self._open >= MOST or self._ending:
            return PlainTextResponse("Try again in a moment.", 503, {"retry-after": "5"})
        user = self._who(request.scope) if self._who else None
        where = Where.of(request.query_params.get("where"))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._tell(user, where), 200, headers, "text/event-stream")

    async def _tell(self, user: str | None, where: Where) -> AsyncIterator[str]:
        self._open += 1
        try:
            async for told in self._news(user, where):
                yield f"data: {json.dumps(told)}\n\n" if told else ":\n\n"
        finally:
            self._open -= 1

    async def _news(self, user: str | None, where: Where) -> AsyncIterator[dict[str, Any]]:
        """What the page is told; nothing in it: it only hears that the server is there."""
        begun = spoke = time.monotonic()
        looked, mark, last = 0.0, None, dict[str, Any]()
        panel = PanelChanges(where.tab)
        yield {}
        while not self._ending and (now := time.monotonic()) - begun < LIFE_S:
            told: dict[str, Any] = {}
            seen = self._pages.mark(user, where.session)
            every = WORKING_S if last.get("state") in (None, "working") else RESTING_S
            if now - looked >= (SPACING_S if seen != mark else every):
                looked, mark = now, seen
                told = await asyncio.to_thread(self._pages.told, user, where)
                where = replace(where, **{key: told[key] for key in _DRAWN if key in told})
                told, last = (told if _differs(told, last) else {}), told
            if await panel.changed(self._pages.folder(user, where.session), mark):
                told = {**told, "panel": True}
            if told or now - spoke > BEAT_S:
                spoke = now
                yield told
            if told.get("session", where.session) != where.session:
                return  # the page goes elsewhere
            await asyncio.sleep(LOOK_S)


def _differs(told: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    return bool(told["items"] or told["reset"]) or any(told.get(key) != last.get(key) for key in _SAME)
