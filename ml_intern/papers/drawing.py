"""A citation graph as a picture for reports: years to the right, citations upwards, the best papers named."""

from __future__ import annotations

import math
from html import escape as escaped

from ml_intern.papers.graph import Graph, Node

WIDTH, HEIGHT, EDGE = 720, 420, 46
MOST = 80
NAMED = 12
TITLE_CHARS = 40


def graph_svg(graph: Graph, most: int = MOST) -> str:
    """An SVG of the root and its best papers, the root in red; hovering over a circle tells its title.

    Args:
        graph: Its scores decide which papers are drawn.
        most: Papers that are drawn, the root counted.
    """
    shown = dict([(graph.root, graph.nodes[graph.root]), *graph.ranked()[: most - 1]])
    places = _places(shown)
    lines = [
        _line(places[edge.citing], places[edge.cited])
        for edge in graph.edges
        if edge.citing in places and edge.cited in places
    ]
    circles = [_circle(node, *places[key], root=key == graph.root) for key, node in shown.items()]
    names = [_name(shown[key], *places[key]) for key in list(shown)[: NAMED + 1]]
    about = f"Citations of {graph.nodes[graph.root].paper.title}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(about)}" font-family="sans-serif" font-size="9">'
        f"{''.join([*lines, *_years(shown), *circles, *names])}</svg>"
    )


def escape(text: str) -> str:
    """Other people's words as SVG takes them: XML refuses most control characters."""
    return escaped("".join(c if c.isprintable() else " " for c in text))


def _places(shown: dict[str, Node]) -> dict[str, tuple[float, float]]:
    """Where each paper stands; those of a year are spread, so that they do not hide each other."""
    first, last = _span(shown)
    top = max((math.log1p(node.paper.citations or 0) for node in shown.values()), default=0.0) or 1.0
    found: dict[str, tuple[float, float]] = {}
    for number, (key, node) in enumerate(shown.items()):
        spread = (number * 0.618) % 1 * 0.8
        right = ((node.paper.year or first) + spread - first) / (last - first + 1)
        up = math.log1p(node.paper.citations or 0) / top
        found[key] = (EDGE + right * (WIDTH - 2 * EDGE), HEIGHT - EDGE - up * (HEIGHT - 2 * EDGE))
    return found


def _span(shown: dict[str, Node]) -> tuple[int, int]:
    years = [node.paper.year for node in shown.values() if node.paper.year] or [0]
    return min(years), max(years)


def _years(shown: dict[str, Node]) -> list[str]:
    first, last = _span(shown)
    step = (WIDTH - 2 * EDGE) / (last - first + 1)
    every = max(1, (last - first) // 10)
    return [
        f'<text x="{EDGE + (year - first) * step:.0f}" y="{HEIGHT - 12}" fill="#666">{year}</text>'
        for year in range(first, last + 1, every)
        if first
    ]


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    place = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {place} stroke="#999" stroke-opacity="0.25"/>'


def _circle(node: Node, x: float, y: float, *, root: bool) -> str:
    paper = node.paper
    told = f"{paper.title} ({paper.year or 'year unknown'}), cited {paper.citations or 0} times, {paper.id}"
    size, color = 3 + 5 * node.score, "#c0392b" if root else "#2c6fbb"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" fill="{color}" fill-opacity="0.8">'
        f"<title>{escape(told)}</title></circle>"
    )


def _name(node: Node, x: float, y: float) -> str:
    title = node.paper.title
    short = title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1]}…"
    anchor = "end" if x > WIDTH * 0.7 else "start"
    return f'<text x="{x:.1f}" y="{y - 9:.1f}" text-anchor="{anchor}">{escape(short)}</text>'
