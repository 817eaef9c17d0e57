"""The tab with a session's jobs: a table, the log of one, its alerts, and the buttons to end or judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ml_intern import clock
from ml_intern.errors import InternError
from ml_intern.webapp.panels.job_actions import cancel, diagnosis
from ml_intern.webapp.panels.job_folders import JobFolders, JobView, tail
from ml_intern.webapp.panels.job_table import diagnosis_html, job_detail, job_log, job_table
from ml_intern.webapp.panels.markup import note
from ml_intern.webapp.panels.pages import PICKING, QUIET, Page, Pages, Shower, html, key_of

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted

Of = Callable[[gr.Request], "Hosted | None"]

# Who has scrolled up in a log reads there; else it follows the end.
_FOLLOWING = """
let follows = true, job = null;
const end = () => {
  const log = element.querySelector('pre.log');
  if (!log) return;
  if (log.dataset.job !== job) { job = log.dataset.job; follows = true; }
  if (follows) log.scrollTop = log.scrollHeight;
};
element.addEventListener('scroll', (e) => {
  const log = e.target;
  follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 24;
}, true);
watch('value', () => requestAnimationFrame(end));
end();
"""


@dataclass
class _JobsPage(Page):
    """A page with its picked job, what was said of it, and the job that a second click cancels."""

    job: str = ""
    told: str = ""
    sure: str = ""

    def turn_to(self, session: Any) -> None:
        """Another session: its jobs are others."""
        if session != self.session:
            self.job = self.told = self.sure = ""
        super().turn_to(session)


class JobsPanel:
    """See the module."""

    def __init__(self) -> None:
        self._shower = Shower()
        self._folders = JobFolders()
        self._pages: Pages[_JobsPage] = Pages(_JobsPage)
        self.table = html(js=PICKING, elem_id="jobs-table")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                self.detail = html(elem_id="job-detail")
                with gr.Row():
                    self.diagnose = gr.Button("Diagnose", size="sm", interactive=False, min_width=90)
                    self.keep = gr.Button(
                        "End early, keep model", size="sm", interactive=False, min_width=150
                    )
                    self.cancel = gr.Button("Cancel", size="sm", interactive=False, min_width=90)
                self.told = html(elem_id="job-told")
            with gr.Column(scale=3, min_width=320):
                self.log = html(js=_FOLLOWING, elem_id="job-log")
        self.outputs: list[Any] = [
            self.table, self.detail, self.log, self.told, self.diagnose, self.keep, self.cancel
        ]  # fmt: skip

    def refresh(self, hosted: Hosted | None) -> list[Any]:
        """One update for each output; what the page has already is left out."""
        folder = hosted.folder if hosted else None
        page = self._pages.here(folder)
        now = clock.now()
        jobs = self._folders.jobs(folder, now)
        chosen = _chosen(jobs, page)
        text = tail(folder / "jobs" / chosen.id) if folder and chosen else ""
        values = [
            job_table(jobs, chosen.id if chosen else "", now),
            job_detail(chosen) if jobs else "",
            job_log(chosen, text),
            page.told,
            *_buttons(hosted, chosen, page),
        ]
        return page.news(values)

    def wire(self, of: Of) -> None:
        """Make rows and buttons work."""
        self._shower.wire(self._pages, of, self)

        def act(work: Callable[[Hosted, _JobsPage, str], None]) -> Callable[[gr.Request], list[Any]]:
            def acted(request: gr.Request) -> list[Any]:
                return self._act(of(request), work)

            return acted

        def pick(event: gr.EventData, request: gr.Request) -> list[Any]:
            return self._pick(of(request), key_of(event))

        self.table.pick(pick, None, self.outputs, **QUIET)
        self.diagnose.click(act(_diagnose), None, self.outputs, **QUIET)
        self.keep.click(act(_end_early), None, self.outputs, **QUIET)
        self.cancel.click(act(_cancel), None, self.outputs, **QUIET)

    def _pick(self, hosted: Hosted | None, job: str) -> list[Any]:
        page = self._pages.here(hosted.folder if hosted else None)
        page.job, page.told, page.sure = job, "", ""
        return self.refresh(hosted)

    def _act(self, hosted: Hosted | None, work: Callable[[Hosted, _JobsPage, str], None]) -> list[Any]:
        page = self._pages.here(hosted.folder if hosted else None)
        if hosted is not None and hosted.folder is not None:
            chosen = _chosen(self._folders.jobs(hosted.folder, clock.now()), page)
            try:
                if chosen is not None:
                    work(hosted, page, chosen.id)
            except InternError as error:
                page.told, page.sure = note(error.message, "red", error.hint), ""
        return self.refresh(hosted)


def _chosen(jobs: list[JobView], page: _JobsPage) -> JobView | None:
    """The job that was picked; before that the newest one that is not over, or the newest."""
    if not jobs:
        return None
    picked = next((job for job in jobs if job.id == page.job), None)
    return picked or ([job for job in jobs if not job.over] or jobs)[-1]


def _buttons(hosted: Hosted | None, job: JobView | None, page: _JobsPage) -> list[dict[str, Any]]:
    """Diagnose, end early, cancel: what can be done to the job now."""
    runs = job is not None and not job.over
    live = hosted is not None and hosted.session is not None
    sure = runs and job is not None and page.sure == job.id
    words = "Really cancel?" if sure else "Cancel"
    return [
        gr.update(interactive=job is not None),
        gr.update(interactive=runs and live and job is not None and job.status.state == "running"),
        gr.update(interactive=runs, value=words, variant="stop" if sure else "secondary"),
    ]


def _diagnose(hosted: Hosted, page: _JobsPage, job: str) -> None:
    page.job, page.sure = job, ""
    page.told = diagnosis_html(diagnosis(hosted, job))


def _end_early(hosted: Hosted, page: _JobsPage, job: str) -> None:
    page.job, page.sure = job, ""
    page.told = note(cancel(hosted, job, keep_model=True))


def _cancel(hosted: Hosted, page: _JobsPage, job: str) -> None:
    """The first click asks, the second one does it: what a job has done since its checkpoint is lost."""
    page.job = job
    if page.sure != job:
        page.sure = job
        page.told = note(
            f"Click again to cancel {job}. What it did since its last checkpoint is lost.", "amber"
        )
        return
    page.sure = ""
    page.told = note(cancel(hosted, job))
