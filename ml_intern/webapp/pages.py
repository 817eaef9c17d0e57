"""What a page asks and what it is told: plain data, apart from how it is drawn."""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_intern.errors import InternError, UsageError
from ml_intern.events import ApprovalNeeded
from ml_intern.hosting import Hosted
from ml_intern.router.approval import Answer
from ml_intern.secrets.masking import mask
from ml_intern.webapp.house import Home, House, Shown
from ml_intern.webapp.session_list import SessionList, live_of
from ml_intern.webapp.status import question_of, status_html
from ml_intern.webapp.where import News, Where

_PAGES = 2_000
"""Open pages that are remembered; the oldest is forgotten, and says by itself what it looks at."""


class Pages:
    """Answers the pages of all users; each call names the user, and nothing of another's can be reached."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._server = secrets.token_hex(8)
        """A page that was made by another process of the server has to be loaded again."""
        self._open: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lists: dict[str, SessionList] = {}

    def look(self, user: str | None, page: str, where: Where) -> News:
        """What is new since the page last asked."""
        return self._news(user, page, where, where.session, "")

    def mark(self, user: str | None, session: str) -> object:
        """Another value after something happened in a session; cheap enough for each page at each moment."""
        home = self.house.home(user)
        others = live_of(home)
        if (shown := home.known(session)) is None:
            return others
        transcript = shown.transcript
        happened = transcript.taken + len(shown.hosted.events(transcript.taken))
        return others, id(shown), transcript.epoch, happened, shown.hosted.state

    def told(self, user: str | None, where: Where) -> dict[str, Any]:
        """What is new, for a page that listens: `look` without what only an asking page is told."""
        return self._payload(user, where, where.session, "")[0]

    def folder(self, user: str | None, session: str) -> Path | None:
        """Where a session that is shown lies."""
        shown = self.house.home(user).known(session)
        return shown.hosted.folder if shown else None

    def act(self, user: str | None, page: str, where: Where, deed: Callable[[Home], str]) -> News:
        """Do something, and tell what is new then.

        Args:
            user: Who asks.
            page: Which page; its server-side name.
            where: What it shows.
            deed: Does it, and names the session that the page shall show then.
        """
        error, session = "", where.session
        try:
            session = deed(self.house.home(user))
        except InternError as failure:
            error = one_line(failure)
        self._lists.pop(user or "", None)
        return self._news(user, page, where, session, error)

    def hosted(self, user: str | None, page: str, session: str | None = None) -> Hosted | None:
        """The session that a page shows; None where it shows none.

        Args:
            user: Whose page.
            page: Its server-side name.
            session: What it says that it shows; nothing: what it showed when it asked last.
        """
        if session is not None:
            self._remember(user, page, session)
        session = self._open.get((user or "", page), "")
        try:
            return self.house.home(user).open(session).hosted if session else None
        except InternError:
            return None

    # Deeds

    def say(self, home: Home, session: str, words: str, given: Mapping[str, str]) -> str:
        """A prompt, a word to a session that works, or the next turn; the session's id."""
        words = words.strip()
        if not words:
            raise UsageError("There is nothing to send.", "Write what is to be done.")
        self.house.check_model(given.get("model", ""))
        if not session:
            self.house.make_room()
            return home.begin(words, {key: value for key, value in given.items() if value}).hosted.id
        shown = home.open(session)
        if not shown.alive:
            self.house.make_room(shown)
        shown.hosted.tell(words)
        return session

    def go_on(self, home: Home, session: str) -> str:
        """Resume."""
        shown = home.open(session)
        if not shown.alive:
            self.house.make_room(shown)
        shown.hosted.go_on()
        return session

    def stop(self, home: Home, session: str, what: str) -> str:
        """Stop the step or the run."""
        if not home.open(session).hosted.stop("run" if what == "run" else "step"):
            raise UsageError("There is nothing to stop at this moment.")
        return session

    def undo(self, home: Home, session: str) -> str:
        """Take the last turn back."""
        shown = home.open(session)
        shown.hosted.undo()
        shown.transcript.clear()
        return session

    def set(self, home: Home, session: str, given: Mapping[str, str]) -> str:
        """Another model or budget for a session, from its next turn on."""
        self.house.check_model(given.get("model", ""))
        from ml_intern.router.budget import parse_budget

        parse_budget(given.get("budget", ""))
        shown = home.open(session)
        if shown.hosted.works:
            raise UsageError("The session works.", "Stop it first, or wait for its answer.")
        shown.hosted.rest()
        shown.hosted.given.update({key: value for key, value in given.items() if value})
        return session

    def answer(self, home: Home, session: str, call: str, answer: Answer) -> str:
        """Answer a question of the gate."""
        home.open(session).hosted.answer(call, answer)
        return session

    # What is told

    def _news(self, user: str | None, page: str, where: Where, session: str, error: str) -> News:
        payload, shown, question = self._payload(user, where, session, error)
        self._remember(user, page, payload["session"])
        settings = self._settings(shown) if payload["fresh"] else None
        return News(json.dumps(payload), question, payload["anew"], settings)

    def _payload(
        self, user: str | None, where: Where, session: str, error: str
    ) -> tuple[dict[str, Any], Shown | None, ApprovalNeeded | None]:
        payload: dict[str, Any] = {"n": time.time_ns(), "asked": where.session, "session": session}
        payload["server"] = self._server
        shown: Shown | None = None
        try:
            home = self.house.home(user)
            shown = home.open(session) if session else None
            payload |= self._lists.setdefault(home.name, SessionList()).news(home, where.list, session)
        except InternError as failure:
            error = error or one_line(failure)
            payload["session"] = session = ""
        payload |= {"error": error, "fresh": where.fresh or session != where.session}
        payload |= _drawn(shown, where if session == where.session else Where(question=where.question))
        question = question_of(shown)
        payload["question"] = question.call if question else ""
        payload["anew"] = payload["question"] != where.question
        return payload, shown, question

    def _settings(self, shown: Shown | None) -> dict[str, str]:
        own = self.house.settings
        if shown is None or shown.hosted.folder is None:
            return {"model": own.model or "", "budget": own.budget}
        from ml_intern.session.resuming import read_card

        try:
            saved = read_card(shown.hosted.folder).get("settings") or {}
        except InternError:
            saved = {}
        given = shown.hosted.given
        return {key: str(given.get(key) or saved.get(key) or "") for key in ("model", "budget")}

    def _remember(self, user: str | None, page: str, session: str) -> None:
        key = (user or "", page)
        self._open[key] = session
        self._open.move_to_end(key)
        while len(self._open) > _PAGES:
            self._open.popitem(last=False)


def one_line(failure: InternError) -> str:
    """A failure as the page shows it."""
    return mask(" ".join(str(failure).split()))[:2000]


def _drawn(shown: Shown | None, where: Where) -> dict[str, Any]:
    if shown is None:
        return {
            "state": "new",
            "status": status_html(None),
            "epoch": 0,
            "version": 0,
            "items": [],
            "reset": where.epoch != 0,
        }
    transcript = shown.read()
    reset = where.epoch != transcript.epoch
    items = transcript.since(0 if reset else where.version)
    return {
        "state": shown.hosted.state,
        "status": status_html(shown),
        "epoch": transcript.epoch,
        "version": transcript.version,
        "items": [[item.id, item.version, item.html] for item in items],
        "reset": reset,
    }
