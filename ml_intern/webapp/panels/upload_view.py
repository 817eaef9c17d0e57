"""What was uploaded, as HTML."""

from __future__ import annotations

from ml_intern.reports.words import escape
from ml_intern.webapp.panels.handing_out import human_size
from ml_intern.webapp.panels.markup import note, table
from ml_intern.webapp.panels.uploading import Preview, Uploaded


def uploaded_html(found: Uploaded, where: str) -> str:
    """A file that was taken in: its name, what to say next, how it begins."""
    rows = f", {found.preview.count:,} rows" if found.preview.count is not None else ""
    parts = [note(f"{found.name} ({human_size(found.size)}{rows}) is in {where}.", "green")]
    if found.sentences:
        said = "".join(f"<p><code>{escape(one)}</code></p>" for one in found.sentences)
        which = '<p class="soft">MODEL: a folder or a Hub id.</p>' if "MODEL" in said else ""
        parts.append(f"<h4>Say next</h4>{said}{which}")
    if found.preview.problem:
        parts.append(note(found.preview.problem, "amber"))
    return "".join(parts) + _begins(found.preview)


def _begins(found: Preview) -> str:
    if found.columns:
        rows = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in found.rows]
        # A heading must not begin with the mark that stands for figures.
        return "<h4>The first rows</h4>" + table([f" {name[:60]}" for name in found.columns], rows)
    if found.lines:
        return f'<h4>How it begins</h4><pre class="log">{escape(chr(10).join(found.lines))}</pre>'
    return ""
