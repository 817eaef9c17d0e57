"""Pictures that a notebook shows: the report's charts, each as one SVG that stands alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import UsageError
from ml_intern.jobs.curves import is_number
from ml_intern.notebook.frames import courses
from ml_intern.reports import drawing
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
    """

    title: str
    svg: str = field(repr=False)

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


def curves(session: Path, metric: str = "loss") -> Figure:
    """A metric of the jobs of a session over their steps, of the newest ones where there are many.

    Raises:
        UsageError: No job tells it.
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
    chosen = dict(list(series.items())[-DRAWN:])
    left = len(series) - len(chosen)
    keys = [(job, drawing.COLOURS[i % len(drawing.COLOURS)]) for i, job in enumerate(chosen)]
    keys += [(f"and {left} older jobs", "none")] if left else []
    return Figure(metric, _alone(metric, keys, drawing.line_chart(metric, chosen)))


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
