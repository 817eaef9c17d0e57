"""What each open page was shown last and what its person picked there."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import gradio as gr
from gradio.context import LocalContext, get_render_context

from ml_intern.webapp.panels.markup import STYLE

MOST_PAGES = 500
AGAIN_S = 5.0
"""After so long a page is told again what it should have."""
QUIET: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None
}  # fmt: skip
"""For every event: no name in an API, no grey veil over the page, and nobody waits for another user."""

# A row is picked by a click, by Enter or by the space bar.
PICKING = """
const pick = (e) => {
  const row = e.target.closest('[data-pick]');
  if (row && element.contains(row)) { e.preventDefault(); trigger('pick', { key: row.dataset.pick }); }
};
element.addEventListener('click', pick);
element.addEventListener('keydown', (e) => { if (e.key === 'Enter' || e.key === ' ') pick(e); });
"""


@dataclass
class Page:
    """One open page.

    Attributes:
        session: The folder of the session that it shows.
        shown: Digests of what its components were given last, and when.
        picked: What its person picked.
    """

    session: Path | None = None
    shown: dict[int, tuple[int, float]] = field(default_factory=dict)
    picked: dict[str, Any] = field(default_factory=dict)

    def news(self, values: Sequence[Any], lasting: Sequence[int] = ()) -> list[Any]:
        """The values for its components, those left out that it has already.

        Answers may overtake each other on their way; so what is not `lasting` is told again now and then.
        """
        found, now = [], time.monotonic()
        for at, value in enumerate(values):
            digest = hash(repr(value))
            known, told = self.shown.get(at, (0, 0.0))
            if known == digest and (at in lasting or now - told < AGAIN_S):
                found.append(gr.skip())
                continue
            found.append(value)
            self.shown[at] = digest, now
        return found

    def turn_to(self, session: Path | None) -> None:
        """Another session was opened in it: nothing of the earlier one stays picked."""
        if session != self.session:
            self.session = session
            self.picked.clear()


P = TypeVar("P", bound=Page)


class Pages(Generic[P]):
    """The open pages, those that were used last."""

    def __init__(self, make: Callable[[], P]) -> None:
        self._make = make
        self._pages: OrderedDict[tuple[str, str], P] = OrderedDict()
        self._lock = threading.Lock()

    def here(self, session: Path | None) -> P:
        """The page that the event at hand comes from."""
        request = LocalContext.request.get(None)
        # Both: a browser names its own page as it likes, and must not be given another person's.
        name = str(getattr(request, "username", None) or "")
        key = name, str(getattr(request, "session_hash", None) or "")
        with self._lock:
            page = self._pages.setdefault(key, self._make())
            self._pages.move_to_end(key)
            if len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        page.turn_to(session)
        return page


class Shower:
    """Gives a page everything again when its tab is opened: Gradio throws away what a hidden tab showed.

    It is made where the panel's components are.
    """

    def __init__(self) -> None:
        block = get_render_context()
        while block is not None and not isinstance(block, gr.Tab):
            block = block.parent
        self._tab = block

    def wire(self, pages: Pages[Any], of: Callable[[gr.Request], Any], panel: Any) -> None:
        """Have `panel.refresh` told in full."""

        def show(request: gr.Request) -> list[Any]:
            hosted = of(request)
            pages.here(hosted.folder if hosted else None).shown.clear()
            return list(panel.refresh(hosted))

        if self._tab is not None:
            self._tab.select(show, None, panel.outputs, **QUIET)


def html(value: str = "", js: str | None = None, **given: Any) -> gr.HTML:
    """HTML in the panels' own style; what it shows must be escaped."""
    return gr.HTML(value, css_template=STYLE, js_on_load=js, apply_default_css=False, **given)


def key_of(event: gr.EventData) -> str:
    """What was picked, as the browser says: it may say anything."""
    told = getattr(event, "_data", None)
    key = told.get("key") if isinstance(told, dict) else None
    return key if isinstance(key, str) else ""
