"""The tab with what may be fetched of a session."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ml_intern.errors import UsageError
from ml_intern.webapp.panels.downloading import Download, counter, link_to
from ml_intern.webapp.panels.file_table import file_table
from ml_intern.webapp.panels.ledgers import Ledgers
from ml_intern.webapp.panels.offered import Offer, fetch, offers
from ml_intern.webapp.panels.pages import PICKING, Page, Pages, Shower, html, key_of

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted

LOOK_S = 3.0
"""Between two walks through a workspace, however many pages look on."""


class FilesPanel:
    """See the module."""

    def __init__(self) -> None:
        self._shower = Shower()
        self._ledgers = Ledgers()
        self._pages: Pages[Page] = Pages(Page)
        self._listed: OrderedDict[Path, tuple[float, Sequence[Offer]]] = OrderedDict()
        self._lock = threading.Lock()
        self._download = Download("files")
        self.table = html(js=PICKING, elem_id="files-table")
        self.outputs: list[Any] = [self.table]

    def refresh(self, hosted: Hosted | None) -> list[Any]:
        """One update for each output; what the page has already is left out."""
        folder = hosted.folder if hosted else None
        return self._pages.here(folder).news([file_table(self._offers(folder))])

    def wire(self, of: Callable[[gr.Request], Hosted | None]) -> None:
        """Make the rows work."""
        self._shower.wire(self._pages, of, self)

        def get(event: gr.EventData, request: gr.Request) -> str:
            hosted = of(request)
            return link_to(lambda: _made(hosted.folder if hosted else None, key_of(event)))

        self._download.after(self.table.pick, get)

    def _offers(self, folder: Path | None) -> Sequence[Offer]:
        if folder is None:
            return []
        now = time.monotonic()
        with self._lock:
            known = self._listed.get(folder)
            if known and now - known[0] < LOOK_S:
                return known[1]
        found = offers(folder, self._ledgers.of(folder))
        with self._lock:
            self._listed[folder] = now, found
            while len(self._listed) > 64:
                self._listed.popitem(last=False)
        return found


def _made(folder: Path | None, key: str) -> Path:
    if folder is None:
        raise UsageError("There is no session yet.", "Begin one first.")
    return fetch(folder, key, counter())
