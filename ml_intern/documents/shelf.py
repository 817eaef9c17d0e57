"""Papers that were read lately, so that the next section costs neither a request nor a second reading."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from ml_intern.documents.model import Document

MOST = 6
"""Documents that are kept; the one that was longest unused goes first."""


class Shelf:
    """Documents by name. Two who want the same one at the same time wait for one reading."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._reading: dict[str, threading.Lock] = {}

    def taken(self, name: str, read: Callable[[], Document]) -> Document:
        """The document of a name, read where it is not here. What cannot be read is not kept."""
        with self._lock:
            turn = self._reading.setdefault(name, threading.Lock())
        with turn:
            with self._lock:
                if name in self._kept:
                    self._kept.move_to_end(name)
                    return self._kept[name]
            document = read()
            with self._lock:
                self._kept[name] = document
                while len(self._kept) > self._most:
                    gone, _ = self._kept.popitem(last=False)
                    self._reading.pop(gone, None)
        return document


SHELF = Shelf()
"""Of this process."""
