"""The report of a session as a path that a notebook shows as the page."""

from __future__ import annotations

from html import escape
from pathlib import PosixPath
from typing import Any


class Report(PosixPath):
    """The path of a report. A notebook shows the page itself, in a frame in which nothing runs."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        page = self.read_text(encoding="utf-8")
        frame = (
            '<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" title="report" '
            f'srcdoc="{escape(page)}" '
            'style="width:100%;height:36rem;border:1px solid rgba(128,128,128,.35);border-radius:6px">'
            "</iframe>"
        )
        return {"text/html": frame, "text/plain": f"{self.parent.parent.name}/report/{self.name}"}
