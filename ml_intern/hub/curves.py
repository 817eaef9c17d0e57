"""Pictures as inline SVG: learning curves, measured values with their intervals, the tree of experiments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from ml_intern.ledger import Experiment

COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#cb912f", "#d44c47", "#787774")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 260, 64, 36, 16, 16
_POINTS = 400
_VERDICTS = {"kept": "#448361", "discarded": "#787774", "crashed": "#d44c47", "inconclusive": "#cb912f"}

Series = Mapping[str, Sequence[tuple[float, float]]]


def line_chart(title: str, series: Series) -> str:
    """Curves over steps. `series` gives (step, value) by name; values that are not finite are left out."""
    clean = {
        n: [(x, y) for x, y in pts if math.isfinite(x) and math.isfinite(y)] for n, pts in series.items()
    }
    clean = {n: _thin(pts) for n, pts in clean.items() if pts}
    if not clean:
        return ""
    xs = [x for pts in clean.values() for x, _ in pts]
    ys = [y for pts in clean.values() for _, y in pts]
    x_axis, y_axis = (
        _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT),
        _Axis(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP),
    )
    parts = [*_grid(x_axis, y_axis)]
    for i, (name, pts) in enumerate(clean.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in pts)
        mark = (
            f'<circle cx="{x_axis.at(pts[0][0]):.1f}" cy="{y_axis.at(pts[0][1]):.1f}" r="3" fill="{colour}"/>'
        )
        drawn = f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"/>'
        parts.append(f"<g><title>{escape(name)}</title>{drawn if len(pts) > 1 else mark}</g>")
    legend = "".join(
        f'<span style="color:{COLOURS[i % len(COLOURS)]}">■ {escape(n)}</span> ' for i, n in enumerate(clean)
    )
    return f"<figure><figcaption>{escape(title)}: {legend}</figcaption>{_svg(_HEIGHT, title, parts)}</figure>"


def interval_chart(title: str, experiments: Sequence[Experiment], metric: str) -> str:
    """The dev value of each experiment with its 95 % interval, one row an experiment."""
    rows = [(e, e.dev[metric]) for e in experiments if metric in e.dev]
    rows = [(e, m) for e, m in rows if all(math.isfinite(v) for v in (m.value, m.low, m.high))]
    if not rows:
        return ""
    axis = _Axis(min(m.low for _, m in rows), max(m.high for _, m in rows), 110, _WIDTH - _RIGHT)
    height = 34 + 24 * len(rows)
    parts = [
        f'<text x="{axis.at(t):.1f}" y="{height - 6}" text-anchor="middle">{_tick(t)}</text>'
        for t in axis.ticks()
    ]
    for i, (e, m) in enumerate(rows):
        y, colour = 18 + 24 * i, _VERDICTS.get(e.verdict, COLOURS[0])
        parts.append(
            f'<g><title>{escape(f"{e.id}: {m}")}</title><text x="8" y="{y + 4}">{escape(e.id)}</text>'
            f'<line x1="{axis.at(m.low):.1f}" x2="{axis.at(m.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="3"/><circle cx="{axis.at(m.value):.1f}" cy="{y}" r="5" fill="{colour}"/></g>'
        )
    return f"<figure><figcaption>{escape(title)}</figcaption>{_svg(height, title, parts)}</figure>"


def tree(experiments: Sequence[Experiment]) -> str:
    """The experiments as nested lists, each below the one it was held against."""
    known = {e.id for e in experiments}

    def branch(parent: str | None) -> str:
        children = [e for e in experiments if (e.parent if e.parent in known else None) == parent]
        return (
            f"<ul>{''.join(f'<li>{_node(e)}{branch(e.id)}</li>' for e in children)}</ul>" if children else ""
        )

    return branch(None)


def _node(e: Experiment) -> str:
    colour = _VERDICTS.get(e.verdict, COLOURS[0])
    score = f" · {escape(e.primary or '')} {e.score.value:.4g}" if e.score else ""
    badge = f'<span class="verdict" style="background:{colour}">{escape(e.verdict)}</span>'
    return f"<strong>{escape(e.id)}</strong> {badge}{score}<br>{escape(e.change)}"


class _Axis:
    """From values to pixels, with a little air at both ends."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        air = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        self.low, self.high = low - air, high + air
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, about five of them."""
        raw = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(s * unit for s in (1, 2, 5, 10) if s * unit >= raw)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step) + 1)]


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    lines = []
    for t in y_axis.ticks():
        y = y_axis.at(t)
        lines.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e6ea"/>'
        )
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(t)}</text>')
    for t in x_axis.ticks():
        x, y = x_axis.at(t), _HEIGHT - _BOTTOM + 18
        lines.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{_tick(t)}</text>')
    return lines


def _tick(value: float) -> str:
    return f"{value:.6g}"


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most a few hundred points, first and last among them."""
    if len(points) <= _POINTS:
        return list(points)
    step = (len(points) - 1) / (_POINTS - 1)
    return [points[round(i * step)] for i in range(_POINTS)]


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
