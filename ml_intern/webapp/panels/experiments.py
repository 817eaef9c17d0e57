"""The tab with a session's experiments: table, intervals, tree, comparison, and the report of the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ml_intern.errors import InternError
from ml_intern.reports.words import escape
from ml_intern.webapp.panels.downloading import Download, counter, link_to
from ml_intern.webapp.panels.experiment_table import (
    experiment_detail,
    experiment_table,
    find,
    intervals,
    tree,
)
from ml_intern.webapp.panels.ledgers import Ledgers
from ml_intern.webapp.panels.markup import note
from ml_intern.webapp.panels.offered import report_of
from ml_intern.webapp.panels.pages import PICKING, QUIET, Page, Pages, Shower, html, key_of

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted


@dataclass
class _ExperimentsPage(Page):
    """A page with its picked experiment and the report that it shows."""

    experiment: str = ""
    report: str = ""

    def turn_to(self, session: Any) -> None:
        """Another session: its experiments are others."""
        if session != self.session:
            self.experiment = self.report = ""
        super().turn_to(session)


class ExperimentsPanel:
    """See the module."""

    def __init__(self) -> None:
        self._shower = Shower()
        self._ledgers = Ledgers()
        self._pages: Pages[_ExperimentsPage] = Pages(_ExperimentsPage)
        self.table = html(js=PICKING, elem_id="experiments-table")
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=320):
                self.detail = html(elem_id="experiment-detail")
            with gr.Column(scale=1, min_width=320):
                self.intervals = html(elem_id="experiment-intervals")
                self.tree = html(elem_id="experiment-tree")
        with gr.Row():
            self.show = gr.Button("Show the report", size="sm", min_width=140, scale=0)
            self.get = gr.Button("Download the report", size="sm", min_width=160, scale=0)
        self._download = Download("report")
        self.report = html(elem_id="report")
        self.outputs: list[Any] = [
            self.table, self.detail, self.intervals, self.tree, self.report, self.show, self.get
        ]  # fmt: skip

    def refresh(self, hosted: Hosted | None) -> list[Any]:
        """One update for each output; what the page has already is left out."""
        folder = hosted.folder if hosted else None
        page = self._pages.here(folder)
        found = self._ledgers.of(folder)
        known = found.experiments
        picked = find(known, page.experiment) or (known[-1] if known else None)
        return page.news(
            [
                experiment_table(found, picked.id if picked else ""),
                experiment_detail(found, picked) if picked else "",
                intervals(found),
                tree(found),
                page.report,
                gr.update(interactive=folder is not None),
                gr.update(interactive=folder is not None),
            ]
        )

    def wire(self, of: Callable[[gr.Request], Hosted | None]) -> None:
        """Make rows and buttons work."""
        self._shower.wire(self._pages, of, self)

        def pick(event: gr.EventData, request: gr.Request) -> list[Any]:
            hosted = of(request)
            self._pages.here(hosted.folder if hosted else None).experiment = key_of(event)
            return self.refresh(hosted)

        def show(request: gr.Request) -> list[Any]:
            hosted = of(request)
            page = self._pages.here(hosted.folder if hosted else None)
            try:
                page.report = framed(report_of(hosted.folder if hosted else None))
            except InternError as error:
                page.report = note(error.message, "red", error.hint)
            return self.refresh(hosted)

        def get(request: gr.Request) -> str:
            hosted = of(request)
            folder = hosted.folder if hosted else None
            return link_to(lambda: counter().text("report.html", report_of(folder)))

        self.table.pick(pick, None, self.outputs, **QUIET)
        self.show.click(show, None, self.outputs, **QUIET)
        self._download.after(self.get.click, get)


def framed(page: str) -> str:
    """A page in a frame of its own: it runs nothing, loads nothing and cannot reach what is around it."""
    return f'<iframe title="Report" sandbox="" referrerpolicy="no-referrer" srcdoc="{escape(page)}"></iframe>'
