"""The users of the web app and their sessions: each user has a folder, and nobody reaches into another's."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.cli.sessions import CARD, SessionCard, list_sessions
from ml_intern.errors import UsageError
from ml_intern.hosting import Hosted
from ml_intern.settings import Settings
from ml_intern.webapp.transcript import Transcript

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")
_KEPT = 40
"""So many sessions that nobody works on stay in memory; the others are read again when somebody looks."""
_LOOK_S = 5.0


@dataclass
class Shown:
    """A session and what pages show of it."""

    hosted: Hosted
    transcript: Transcript = field(default_factory=Transcript)
    used: float = field(default_factory=time.monotonic)

    def read(self) -> Transcript:
        """The transcript with all that has happened by now."""
        after = self.transcript.taken
        self.transcript.take(self.hosted.events(after), after)
        return self.transcript

    @property
    def alive(self) -> bool:
        """Whether a process works on it or waits."""
        return self.hosted.state in ("working", "waiting")


class Home:
    """One user's sessions.

    Args:
        name: The user's; empty for the one person on this machine.
        state: The folder of this user's sessions, datasets and Hub.
        given: Settings that every new session of this user gets.
    """

    def __init__(self, name: str, state: Path, given: Mapping[str, Any]) -> None:
        self.name = name
        self.state = state
        self.uploads = state / "uploads"
        """What was uploaded before there was a session; tools of all this user's sessions read it."""
        self.uploads.mkdir(parents=True, exist_ok=True)
        self.given = {**given, "state": state, "data_dirs": [*given.get("data_dirs", ()), self.uploads]}
        self.lock = threading.RLock()
        self._shown: dict[str, Shown] = {}

    def cards(self) -> list[SessionCard]:
        """The user's sessions, newest first."""
        return list_sessions(self.state)

    def open(self, session: str) -> Shown:
        """A session of this user.

        Raises:
            UsageError: There is none of that id, or it cannot be read.
        """
        with self.lock:
            if (shown := self._shown.get(session)) is not None:
                shown.used = time.monotonic()
                return shown
            folder = self.state / "sessions" / session
            if not _ID.fullmatch(session) or not (folder / CARD).is_file():
                raise UsageError("There is no such session.", "The list shows those that are there.")
            # What it was begun with stands in its card and holds; the server's own is for new ones.
            given = {key: value for key, value in self.given.items() if key not in ("model", "budget")}
            shown = Shown(Hosted(given, folder))
            self._keep(session, shown)
            return shown

    def known(self, session: str) -> Shown | None:
        """A session that is in memory; asking keeps it there."""
        if (shown := self._shown.get(session)) is not None:
            shown.used = time.monotonic()
        return shown

    def begin(self, text: str, given: Mapping[str, Any]) -> Shown:
        """A new session, with its first prompt.

        Raises:
            InternError: It cannot begin like this.
        """
        shown = Shown(Hosted({**self.given, **given}))
        shown.hosted.tell(text)
        with self.lock:
            self._keep(shown.hosted.id, shown)
        return shown

    def all(self) -> list[Shown]:
        """The sessions in memory. Nobody waits here for one that is just being read from the disk."""
        return list(self._shown.values())

    def _keep(self, session: str, shown: Shown) -> None:
        self._shown[session] = shown
        idle = [key for key, one in self._shown.items() if not one.alive and key != session]
        for key in sorted(idle, key=lambda key: self._shown[key].used)[: max(0, len(self._shown) - _KEPT)]:
            del self._shown[key]


class House:
    """All users and their sessions, with what they share: processes.

    Args:
        settings: The server's own.
        given: What was said about settings on the command line; every session gets it.
        apart: Each user has a folder of its own below ``users``; else there is one person.
    """

    def __init__(self, settings: Settings, given: Mapping[str, Any], apart: bool) -> None:
        self.settings = settings
        self.apart = apart
        self._given = dict(given)
        self._homes: dict[str, Home] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._rest, name="web-rest", daemon=True)
        self._watch.start()

    def home(self, user: str | None) -> Home:
        """A user's sessions; None is the one person on this machine.

        Raises:
            UsageError: Nobody is logged in.
        """
        name = (user or "").lower()
        if self.apart and not _ID.fullmatch(name):
            raise UsageError("You are not logged in.", "Load the page again and log in.")
        with self._lock:
            if name not in self._homes:
                self._homes[name] = self._make(name)
            return self._homes[name]

    def _make(self, name: str) -> Home:
        root, all_read = self.settings.state, {"data_dirs": self.settings.data_dirs}
        if not self.apart:
            return Home("", root, {**self._given, **all_read})
        state = root / "users" / name
        closed = [*self.settings.closed_dirs, root]
        own = {"closed_dirs": closed, "web_cache": state / "cache" / "web"}
        return Home(name, state, {**self._given, **all_read, **own})

    @property
    def models(self) -> list[str]:
        """What a user may choose; on a machine of one's own any name may be written, too."""
        return list(dict.fromkeys(filter(None, [self.settings.model or "", *self.settings.app_models])))

    def check_model(self, model: str) -> None:
        """Raises:
        UsageError: Users choose from the server's list: another model could be any path of its disk.
        """
        if model and self.apart and model not in self.models:
            known = ", ".join(self.models) or "only the server's own"
            raise UsageError(f"The model {model!r} is not offered here.", f"Choose: {known}.")

    def make_room(self, but: Shown | None = None) -> None:
        """Let a session begin: one that waits longest gives its process back where too many have one.

        Raises:
            UsageError: All of them work.
        """
        alive = [one for one in self._all() if one.alive and one is not but]
        if len(alive) < self.settings.app_sessions:
            return
        waiting = [one for one in alive if one.hosted.state == "waiting"]
        if not waiting:
            raise UsageError(
                f"{len(alive)} sessions are at work, as many as this server runs at one time.",
                "Wait until one has its answer, or stop one.",
            )
        min(waiting, key=lambda one: one.used).hosted.rest()

    def close(self) -> None:
        """End all sessions; their jobs run on."""
        self._closed.set()
        closing = [threading.Thread(target=one.hosted.close) for one in self._all() if one.alive]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(40)

    def _all(self) -> list[Shown]:
        with self._lock:
            homes = list(self._homes.values())
        return [one for home in homes for one in home.all()]

    def _rest(self) -> None:
        while not self._closed.wait(min(_LOOK_S, self.settings.app_rest_s)):
            for one in self._all():
                if one.hosted.state != "waiting":
                    continue
                last = one.hosted.events(max(0, one.transcript.taken - 1))
                spoke = last[-1].at if last else 0.0
                if time.time() - spoke > self.settings.app_rest_s:
                    one.hosted.rest()
