"""A download that begins with one click: the server makes the file, then the browser fetches it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gradio.utils import get_upload_folder

from ml_intern.errors import InternError
from ml_intern.reports.words import escape
from ml_intern.secrets.masking import mask
from ml_intern.webapp.panels.handing_out import Counter, human_size
from ml_intern.webapp.panels.markup import note
from ml_intern.webapp.panels.pages import QUIET, html

# The link is there for whoever's browser asks before it fetches; a new one is followed by itself.
_FETCH = """
let last = null;
watch('value', () => {
  const link = element.querySelector('a[data-fetch]');
  if (link && link.href !== last) { last = link.href; link.click(); }
});
"""


class Download:
    """The line that tells of the newest download of a page."""

    def __init__(self, name: str) -> None:
        self.told = html(js=_FETCH, elem_id=f"{name}-download")

    def after(self, event: Callable[..., Any], tell: Callable[..., str]) -> None:
        """When the event comes, tell what `link_to` says, and have the browser fetch it."""
        event(tell, None, self.told, **QUIET)


def counter() -> Counter:
    """Hands out through Gradio's cache."""
    return Counter(Path(get_upload_folder()))


def link_to(make: Callable[[], Path | None]) -> str:
    """A link to a file that is made now, or why there is none."""
    try:
        path = make()
    except InternError as error:
        return note(mask(error.message), "red", error.hint)
    if path is None:
        return ""
    # Relative to the page: the app may be mounted anywhere.
    address = escape(f"gradio_api/file={quote(str(path))}")
    named = f'<a data-fetch href="{address}" download="{escape(path.name)}">{escape(path.name)}</a>'
    return f'<div class="note green"><p>{named} ({human_size(path.stat().st_size)})</p></div>'
