"""The report of a session: what was asked, tried, measured, concluded, spent and published.

Made from the session's folder alone, so it can be written during a run, after it, and after a crash: `story`
reads the folder, `sections` says it as Markdown, `page` adds the pictures and makes one HTML file of it.
"""

from __future__ import annotations

from pathlib import Path

from ml_intern.hub.objects import write_atomic
from ml_intern.reports.page import report_html
from ml_intern.reports.sections import report_markdown
from ml_intern.reports.story import Story, read_story
from ml_intern.secrets.masking import mask

__all__ = ["Story", "read_story", "report_html", "report_markdown", "write_report"]


def write_report(session: Path, to: Path | None = None, answer: str = "") -> Path:
    """Write ``report.md`` and ``report.html``; the path of the HTML file, which needs no other file.

    Args:
        session: The session's folder.
        to: Where the report goes; ``report`` in the session's folder when it is not said.
        answer: The answer of a session that is about to end; else the journal has it.
    """
    target = to or session / "report"
    target.mkdir(parents=True, exist_ok=True)
    story = read_story(session, answer)
    write_atomic(target / "report.md", mask(report_markdown(story)).encode())
    write_atomic(target / "report.html", mask(report_html(story)).encode())
    return target / "report.html"
