"""Pictures as inline SVG: learning curves with their alerts, measured values with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ml_intern.jobs.curves import level
from ml_intern.ledger import Experiment
from ml_intern.reports.words import escape

COLOURS = ("#2a7fb8", "#d9730d", "#4a9a6b", "#9b6fc4", "#cf5a9a", "#c08a1e", "#d44c47", "#8a8880")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 280, 76, 48, 14, 14
_POINTS = 400
_DENSE = 120
"""From so many points on a curve is drawn as the median of its neighbours, with itself pale behind."""
_DECADES = 3.0
"""A curve over more powers of ten is drawn on a logarithmic axis: a run that diverged hides all others."""
_MARKS = 12
_LARGEST, _SMALLEST = 1e300, 1e-300
VERDICTS = {
    "kept": "#3f7d5c",
    "discarded": "#6d6b66",
    "crashed": "#c5403b",
    "inconclusive": "#a87212",
    "open": "#2a6f9e",
}

Series = Mapping[str, Sequence[tuple[float, float]]]
Marks = Sequence[tuple[float, str]]


def line_chart(
    title: str,
    series: Series,
    marks: Marks = (),
    left_out: int = 0,
    log: bool | None = None,
    half: int | None = None,
) -> str:
    """Curves over steps, with a legend, the names of the axes, and a dashed line at each alert.

    Args:
        title: The metric.
        series: (step, value) by name; values that are not finite, or nearly so, are left out.
        marks: Steps with words.
        left_out: Curves that are not drawn, to be told.
        log: Whether the values are on a logarithmic axis where they can be; None: by their range.
        half: Neighbours on each side whose median is drawn over a curve; None: by its length; 0: none.
    """
    clean = {
        n: [(x, y) for x, y in pts if abs(x) < _LARGEST and abs(y) < _LARGEST] for n, pts in series.items()
    }
    clean = {n: _thin(pts) for n, pts in clean.items() if pts}
    if not clean:
        return ""
    xs = [x for pts in clean.values() for x, _ in pts]
    ys = [y for pts in clean.values() for _, y in pts]
    x_axis = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    by_powers = _wide(ys) if log is None else log and min(ys) > 0
    y_axis = _Axis(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP, by_powers)
    parts = [*_grid(x_axis, y_axis), *_names("step", f"{title}, log scale" if y_axis.log else title)]
    for i, (name, pts) in enumerate(clean.items()):
        parts.append(_drawn(name, pts, COLOURS[i % len(COLOURS)], x_axis, y_axis, half))
    parts += _marked(marks, x_axis)
    label = f"{title} over steps of {', '.join(clean)}"
    axes = f' data-x="{x_axis.told()}" data-y="{y_axis.told()}"'
    return _figure(title, _legend(clean, left_out, bool(marks)), _svg(_HEIGHT, label, parts, axes))


def interval_chart(title: str, experiments: Sequence[Experiment], metric: str) -> str:
    """The dev value of each experiment with its 95 % interval, one row an experiment."""
    rows = [(e, e.dev[metric]) for e in experiments if metric in e.dev]
    rows = [(e, m) for e, m in rows if all(math.isfinite(v) for v in (m.value, m.low, m.high))]
    if not rows:
        return ""
    start = 28 + 7 * max(len(e.id) for e, _ in rows)
    axis = _Axis(min(m.low for _, m in rows), max(m.high for _, m in rows), start, _WIDTH - _RIGHT)
    height = 52 + 24 * len(rows)
    parts = [
        f'<text x="{axis.at(t):.1f}" y="{height - 26}" text-anchor="middle">{_tick(t)}</text>'
        f'<line class="grid" x1="{axis.at(t):.1f}" x2="{axis.at(t):.1f}" y1="6" y2="{height - 42}"/>'
        for t in axis.ticks()
    ]
    up = "higher is better" if rows[0][1].higher_is_better else "lower is better"
    parts.append(
        f'<text x="{(start + _WIDTH) / 2:.0f}" y="{height - 6}" text-anchor="middle">'
        f"{escape(metric)}, {up}</text>"
    )
    for i, (e, m) in enumerate(rows):
        y, colour = 18 + 24 * i, VERDICTS.get(e.verdict, COLOURS[0])
        parts.append(
            f"<g><title>{escape(f'{e.id}: {m}, {e.verdict}')}</title>"
            f'<text x="8" y="{y + 4}">{escape(e.id)}</text>'
            f'<line x1="{axis.at(m.low):.1f}" x2="{axis.at(m.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="3"/><circle cx="{axis.at(m.value):.1f}" cy="{y}" r="5" fill="{colour}"/></g>'
        )
    verdicts = dict.fromkeys(e.verdict for e, _ in rows)
    legend = " ".join(badge(v) for v in verdicts)
    label = f"{title} of {len(rows)} experiments"
    return _figure(title, legend, _svg(height, label, parts))


def badge(verdict: str) -> str:
    """A verdict as a word on its colour."""
    colour = VERDICTS.get(verdict, COLOURS[0])
    return f'<span class="verdict" style="background:{colour}">{escape(verdict)}</span>'


def _drawn(
    name: str,
    points: Sequence[tuple[float, float]],
    colour: str,
    x_axis: _Axis,
    y_axis: _Axis,
    half: int | None = None,
) -> str:
    """One curve; a dense one as the median of its neighbours over itself."""
    x, y = points[0]
    if len(points) == 1:
        inner = f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3" fill="{colour}"/>'
    elif half == 0 or (half is None and len(points) < _DENSE):
        inner = _polyline(points, colour, 1.8, 1.0, x_axis, y_axis)
    else:
        inner = _polyline(points, colour, 1.0, 0.3, x_axis, y_axis)
        inner += _polyline(_smooth(points, half), colour, 2.0, 1.0, x_axis, y_axis)
    return f"<g><title>{escape(name)}</title>{inner}</g>"


def _polyline(
    points: Sequence[tuple[float, float]],
    colour: str,
    width: float,
    opacity: float,
    x_axis: _Axis,
    y_axis: _Axis,
) -> str:
    path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in points)
    return (
        f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}" '
        f'points="{path}"/>'
    )


def _smooth(points: Sequence[tuple[float, float]], half: int | None = None) -> list[tuple[float, float]]:
    """Medians of neighbours: one wild batch moves nothing."""
    half = half or max(2, len(points) // 50)
    return [(x, level(points[max(0, at - half) : at + half + 1])) for at, (x, _) in enumerate(points)]


def _marked(marks: Marks, axis: _Axis) -> list[str]:
    found = []
    for step, words in list(dict.fromkeys(marks))[:_MARKS]:
        if axis.low <= step <= axis.high:
            x = f"{axis.at(step):.1f}"
            found.append(
                f"<g><title>{escape(f'step {_tick(step)}, {words}')}</title>"
                f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#d44c47" '
                f'stroke-dasharray="4 3"/><text x="{x}" y="{_TOP + 10}" text-anchor="middle">⚠</text></g>'
            )
    return found


def _legend(series: Series, left_out: int, marked: bool) -> str:
    keys = [
        f'<span class="key"><span style="color:{COLOURS[i % len(COLOURS)]}">■</span> {escape(n)}</span>'
        for i, n in enumerate(series)
    ]
    keys += [f"and {left_out} more that are not drawn"] if left_out > 0 else []
    keys += ["⚠ an alert"] if marked else []
    return " ".join(keys)


def _figure(title: str, legend: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}: {legend}</figcaption>{svg}</figure>"


def _wide(values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    return low > 0 and math.log10(high) - math.log10(low) > _DECADES


class _Axis:
    """From values to pixels, with a little air at both ends."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self.log, self.start, self.end = log, start, end
        low, high = (math.log10(low), math.log10(high)) if log else (low, high)
        air = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        self.low, self.high = low - air, high + air

    def at(self, value: float) -> float:
        inner = math.log10(value) if self.log else value
        return self.start + (inner - self.low) / (self.high - self.low) * (self.end - self.start)

    def told(self) -> str:
        """From pixels to values, for a page that shows what lies under the pointer."""
        return f"{self.low!r},{self.high!r},{self.start!r},{self.end!r},{int(self.log)}"

    def ticks(self) -> list[float]:
        """Round values, about five of them."""
        if self.log:
            low, high = math.ceil(self.low), math.floor(self.high)
            return [10.0**n for n in range(low, high + 1, max(1, (high - low) // 5))]
        raw = max((self.high - self.low) / 5, _SMALLEST)
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(s * unit for s in (1, 2, 5, 10) if s * unit >= raw)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step) + 1)]


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    lines = []
    for t in y_axis.ticks():
        y = y_axis.at(t)
        lines.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(t)}</text>'
        )
    for t in x_axis.ticks():
        if t >= 0:
            x, y = x_axis.at(t), _HEIGHT - _BOTTOM + 18
            lines.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{_tick(t)}</text>')
    return lines


def _names(x: str, y: str) -> list[str]:
    """What the axes show."""
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    return [
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(x)}</text>",
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        f"{escape(y)}</text>",
    ]


def _tick(value: float) -> str:
    return f"{value:.6g}"


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most a few hundred points, first and last among them."""
    if len(points) <= _POINTS:
        return list(points)
    step = (len(points) - 1) / (_POINTS - 1)
    return [points[round(i * step)] for i in range(_POINTS)]


def _svg(height: int, title: str, parts: Sequence[str], axes: str = "") -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}"{axes}>{"".join(parts)}</svg>'
    )
