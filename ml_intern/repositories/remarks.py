"""What a reader should know of an answer: its age, waits, what was left out. Each is said once."""

from __future__ import annotations

import re
import threading

from ml_intern.web.page import Page

MOST = 8
_AGE = re.compile(r"(, )\d+ \w+( old)$")


class Remarks:
    """Remarks, in the order in which they came. Threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, str] = {}
        self._waits: list[str] = []
        self._counted: dict[str, tuple[int, str]] = {}
        self._aged: dict[str, tuple[float, int, str]] = {}

    def add(self, text: str) -> None:
        """Say something."""
        self.put(text, text)

    def put(self, key: str, text: str) -> None:
        """Say something in the place of what was said under a key."""
        with self._lock:
            self._said[key] = text

    def count(self, key: str, text: str) -> None:
        """That another file met the same fate; told once, with how many there were."""
        with self._lock:
            self._counted[key] = (self._counted.get(key, (0, ""))[0] + 1, text)

    def waited(self, text: str) -> None:
        """A wait or a retry."""
        with self._lock:
            self._waits.append(text)

    def add_age(self, page: Page) -> None:
        """That a page is an older copy; many that are so for one reason are told together."""
        if not page.note:
            return
        reason = _AGE.sub("", page.note)
        with self._lock:
            age, count, note = self._aged.get(reason, (-1.0, 0, ""))
            oldest = page.note if page.age_s > age else note
            self._aged[reason] = (max(age, page.age_s), count + 1, oldest)

    def all(self) -> list[str]:
        """All of it, bounded."""
        with self._lock:
            aged = [
                note if count == 1 else f"{note} (so of {count} pages, the oldest)"
                for _, count, note in self._aged.values()
            ]
            counted = [f"{count} file{'s' * (count > 1)} {said}" for count, said in self._counted.values()]
            waits = (
                [f"It was slowed {len(self._waits)} times, at last: {self._waits[-1]}."]
                if self._waits
                else []
            )
            found = [*self._said.values(), *counted, *waits, *aged]
        rest = [f"And {len(found) - MOST} more remarks."] if len(found) > MOST else []
        return found[:MOST] + rest
