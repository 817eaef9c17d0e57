"""The tab with the curves of jobs, drawn while they train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from ml_intern import clock
from ml_intern.webapp.panels.curve_charts import Chosen, choices, curve_charts
from ml_intern.webapp.panels.job_folders import JobFolders
from ml_intern.webapp.panels.pages import QUIET, Page, Pages, Shower, html

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted

# The values under the pointer: from the pixels of the curves back to numbers.
_POINTING = """
const inverse = (told) => {
  const [low, high, start, end, log] = told.split(',').map(Number);
  return (at) => { const v = low + (at - start) / (end - start) * (high - low); return log ? 10 ** v : v; };
};
const show = (v) => Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2)
  : String(Number(v.toPrecision(4)));
const hide = (e) => element.querySelectorAll('.tip').forEach((tip) => tip.remove());
element.addEventListener('pointermove', (e) => {
  const svg = e.target.closest('svg[data-x]');
  hide();
  if (!svg) return;
  const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
  const x = (e.clientX - box.left) * view.width / box.width;
  const y = (e.clientY - box.top) * view.height / box.height;
  let best = null;
  svg.querySelectorAll('g').forEach((g) => {
    const line = g.querySelector('polyline:last-of-type');
    if (!line) return;
    for (const p of line.points) {
      const away = Math.hypot(p.x - x, (p.y - y) / 2);
      if (best === null || away < best.away) best = { away, p, name: g.querySelector('title').textContent };
    }
  });
  if (best === null || best.away > 60) return;
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.textContent = best.name + ' · step ' + Math.round(inverse(svg.dataset.x)(best.p.x)) + ' · '
    + show(inverse(svg.dataset.y)(best.p.y));
  const figure = svg.closest('figure'), around = figure.getBoundingClientRect();
  const left = box.left - around.left + best.p.x * box.width / view.width + 10;
  tip.style.left = Math.min(left, around.width - 190) + 'px';
  tip.style.top = (box.top - around.top + best.p.y * box.height / view.height - 30) + 'px';
  tip.style.display = 'block';
  figure.appendChild(tip);
});
element.addEventListener('pointerleave', hide);
"""


@dataclass
class _CurvesPage(Page):
    """A page with what was chosen in it."""

    chosen: Chosen = field(default_factory=Chosen)

    def turn_to(self, session: Any) -> None:
        """Another session: its jobs are others."""
        if session != self.session:
            self.chosen = Chosen()
        super().turn_to(session)


class CurvesPanel:
    """See the module."""

    def __init__(self) -> None:
        self._shower = Shower()
        self._folders = JobFolders()
        self._pages: Pages[_CurvesPage] = Pages(_CurvesPage)
        with gr.Row():
            self.jobs = gr.Dropdown(
                [], multiselect=True, label="Jobs", info="nothing: the newest", scale=3, min_width=240
            )
            self.metrics = gr.Dropdown(
                [],
                multiselect=True,
                label="Metrics",
                info="nothing: what says how it goes",
                scale=3,
                min_width=240,
            )
            self.smoothing = gr.Slider(
                0, 20, 2, step=1, label="Smoothing, % of the points", scale=2, min_width=180
            )
            self.log = gr.Checkbox(False, label="Log scale", scale=1, min_width=120)
        self.charts = html(js=_POINTING, elem_id="curves")
        self.outputs: list[Any] = [self.jobs, self.metrics, self.charts]

    def refresh(self, hosted: Hosted | None) -> list[Any]:
        """One update for each output; what the page has already is left out."""
        folder = hosted.folder if hosted else None
        page = self._pages.here(folder)
        jobs = self._folders.jobs(folder, clock.now())
        named, metrics = choices(jobs)
        kept = [id for _, id in named if id in page.chosen.jobs]
        wanted = [name for name in metrics if name in page.chosen.metrics]
        return page.news(
            [
                gr.update(choices=named, value=kept),
                gr.update(choices=metrics, value=wanted),
                curve_charts(jobs, page.chosen),
            ],
            lasting=(0, 1),  # a list that is open stays open
        )

    def wire(self, of: Callable[[gr.Request], Hosted | None]) -> None:
        """Make the choices work."""
        self._shower.wire(self._pages, of, self)

        def choose(
            jobs: list[str], metrics: list[str], smoothing: float, log: bool, request: gr.Request
        ) -> Any:
            hosted = of(request)
            folder = hosted.folder if hosted else None
            page = self._pages.here(folder)
            page.chosen = Chosen(tuple(jobs or ()), tuple(metrics or ()), int(smoothing or 0), bool(log))
            return curve_charts(self._folders.jobs(folder, clock.now()), page.chosen)

        controls = [self.jobs, self.metrics, self.smoothing, self.log]
        for control in controls:
            control.input(choose, controls, self.charts, trigger_mode="always_last", **QUIET)
