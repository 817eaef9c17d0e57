"""Pictures that a notebook shows: the report's charts, each as one SVG that stands alone."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import UsageError
from ml_intern.jobs.curves import is_number
from ml_intern.notebook.frames import courses
from ml_intern.reports import drawing
from ml_intern.reports.story import shown
from ml_intern.reports.words import escape
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.ledger import Experiment

INK = "#767c85"
"""In the middle between black and white: read on both."""
DRAWN = 8
"""Curves of a picture, as many as can be told apart."""
_WIDTH = 640
_LETTER = 6.6
"""Width of a letter of the legend, nearly."""
_STYLE = (
    f"text{{font:12px system-ui,sans-serif;fill:{INK}}}.grid{{stroke:{INK};stroke-opacity:.3}}"
    ".title{font-weight:600}"
)


@dataclass(frozen=True)
class Figure:
    """A picture. A notebook draws it; `save` writes it as an SVG file.

    Attributes:
        title: What it shows.
        svg: The picture, with everything that it needs.
        left_out: Jobs that tell the same metric and are not drawn.
    """

    title: str
    svg: str = field(repr=False)
    left_out: int = 0

    def save(self, path: str | Path) -> Path:
        """Write the SVG file; its path."""
        target = Path(path)
        target.write_text(self.svg, encoding="utf-8")
        return target

    def _repr_svg_(self) -> str:
        return self.svg


def intervals(ledger: Sequence[Experiment], metric: str | None = None) -> Figure:
    """The experiments with their intervals on the dev split.

    Raises:
        UsageError: Nothing was measured, or not this metric.
    """
    known = list(dict.fromkeys(name for e in ledger for name in e.dev))
    first = next((e.primary for e in reversed(ledger) if e.primary), known[0] if known else None)
    name = metric or first
    if name is None or name not in known:
        raise _missing("experiment has been measured", name, known)
    title = f"dev {name} with 95 % intervals"
    verdicts = dict.fromkeys(e.verdict for e in ledger if name in e.dev)
    keys = [(verdict, drawing.VERDICTS.get(verdict, INK)) for verdict in verdicts]
    return Figure(title, _alone(title, keys, drawing.interval_chart(title, ledger, name)))


def curves(
    session: Path,
    metric: str = "loss",
    ledger: Sequence[Experiment] = (),
    best: Experiment | None = None,
    jobs: Sequence[str] | None = None,
) -> Figure:
    """A metric of the jobs of a session over their steps; of many jobs those that `that_matter` names.

    Args:
        session: The session's folder.
        metric: Which of those that jobs tell.
        ledger: The experiments that the jobs are of.
        best: The best of them.
        jobs: The jobs to draw, `DRAWN` at most.

    Raises:
        UsageError: No job tells it, or not one of these, or they are too many.
    """
    table = dict(courses(session))
    series = {
        job: [(float(r["step"]), float(r[metric])) for r in found if is_number(r.get(metric))]
        for job, found in table.items()
    }
    series = {job: points for job, points in series.items() if points}
    if not series:
        known = {k for found in table.values() for r in found for k, v in r.items() if is_number(v)}
        raise _missing("job has told", metric, sorted(known - {"step", "total_steps"}))
    if jobs is None:
        jobs = that_matter(list(series), ledger, best)
    elif len(jobs) > DRAWN:
        raise UsageError(f"A picture tells {DRAWN} jobs apart, not {len(jobs)}.", "Draw several pictures.")
    for job in jobs:
        if job not in series:
            raise _missing(f"curve of {metric} is there of the job", job, list(series))
    left = len(series) - len(set(jobs))
    keys = [(job, drawing.COLOURS[i % len(drawing.COLOURS)]) for i, job in enumerate(jobs)]
    keys += [(f"and {left} job{'s' * (left > 1)} that are not drawn", "none")] if left else []
    chart = drawing.line_chart(metric, {job: series[job] for job in jobs})
    return Figure(metric, _alone(metric, keys, chart), left)


def that_matter(
    jobs: Sequence[str], ledger: Sequence[Experiment], best: Experiment | None = None, most: int = DRAWN
) -> list[str]:
    """The jobs whose curves tell the story, in their order, where there are more than a picture can hold.

    First those of variants, of very many variants those that a report would show; then those of no
    experiment, such as a base model's; last the same configurations on other seeds. Among equals the newest.
    """
    of = {job: e for e in ledger for job in e.jobs}
    variants = [e for e in ledger if e.replicates is None and not {*e.jobs}.isdisjoint(jobs)]
    first = {e.id for e in shown(variants, best, most)}

    def weight(at: int) -> tuple[int, int]:
        if (e := of.get(jobs[at])) is None:
            return 1, at
        return (0 if e.replicates else 3 if e.id in first else 2), at

    chosen = set(heapq.nlargest(most, range(len(jobs)), key=weight))
    return [job for at, job in enumerate(jobs) if at in chosen]


def _missing(what: str, name: str | None, known: list[str]) -> UsageError:
    if not known:
        return UsageError(f"No {what} yet.")
    told = f"Known: {', '.join(known[:12])}."
    return UsageError(f"No {what} {name!r}{did_you_mean(name or '', known)}.", told)


def _alone(title: str, keys: Sequence[tuple[str, str]], figure: str) -> str:
    """The chart of a figure of the report, with its legend, as one SVG."""
    chart = figure[figure.index("<svg") : figure.rindex("</svg>") + len("</svg>")]
    found = re.search(r'viewBox="0 0 \d+ (\d+)"', chart)
    height = int(found[1]) if found else _WIDTH
    legend, top = _legend(title, keys)
    inner = chart.replace("<svg ", f'<svg y="{top}" width="{_WIDTH}" height="{height}" ', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height + top}" width="{_WIDTH}" '
        f'height="{height + top}" role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f"{legend}{inner}</svg>"
    )


def _legend(title: str, keys: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """Title and names in lines above the chart; with the height that they take."""
    parts = [f'<text class="title" x="8" y="16">{escape(title)}</text>']
    x, y = 8.0, 34
    for name, colour in keys:
        shown = name if len(name) <= 60 else f"{name[:59]}…"
        width = 30 + _LETTER * len(shown)
        if x > 8 and x + width > _WIDTH:
            x, y = 8.0, y + 17
        parts.append(f'<rect x="{x:.0f}" y="{y - 9}" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15:.0f}" y="{y}">{escape(shown)}</text>')
        x += width
    return "".join(parts), y + 8
