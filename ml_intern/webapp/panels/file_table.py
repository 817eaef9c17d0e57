"""What may be fetched of a session, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from ml_intern.reports.words import escape
from ml_intern.webapp.panels.handing_out import human_size
from ml_intern.webapp.panels.markup import empty, pickable, table
from ml_intern.webapp.panels.offered import MOST_FILES, Offer

_PARTS = (("Models", ("model",)), ("Report and record", ("report", "export")), ("Workspace", ("zip", "file")))


def file_table(found: Sequence[Offer]) -> str:
    """All offers, by what they are; a click fetches one."""
    if not found:
        return empty("Nothing to fetch yet. Files, models and the report of the session appear here.")
    parts = []
    for title, kinds in _PARTS:
        rows = [_row(offer) for offer in found if offer.kind in kinds]
        if rows:
            parts.append(f"<h4>{title}</h4>" + table(("Name", "What it is", ">Size", ""), rows, tall=True))
    if sum(offer.kind == "file" for offer in found) >= MOST_FILES:
        parts.append(f'<p class="soft">The first {MOST_FILES} files; workspace.zip has more.</p>')
    return "".join(parts)


def _row(offer: Offer) -> str:
    size = "" if offer.size is None else human_size(offer.size)
    cells = (
        f'<td><span class="name">{escape(offer.name)}</span></td><td class="soft">{escape(offer.told)}</td>'
        f'<td class="num">{size}</td><td class="num"><button class="get" tabindex="-1">Download</button></td>'
    )
    return pickable(offer.key, False, cells)
