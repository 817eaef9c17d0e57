"""The graph of a session's data: each dataset below what it was made of, with its rows."""

from __future__ import annotations

from collections.abc import Sequence

from ml_intern.hub.card import tidy
from ml_intern.reports.story import Data
from ml_intern.reports.words import escape

_MOST, _BOX, _HIGH, _GAP, _ACROSS = 24, 190, 44, 36, 14


def graph(data: Sequence[Data]) -> str:
    """Boxes and lines as inline SVG, newest at the bottom; nothing for a single dataset without a source."""
    chosen = list(data)[-_MOST:]
    if not chosen:
        return ""
    roots = list(dict.fromkeys(_source(d) for d in chosen if not d.parents and d.source))
    level = dict.fromkeys((f"source {r}" for r in roots), 0) | _levels(chosen)
    places = _placed(level)
    width = 2 * _ACROSS + max(x for x, _ in places.values()) + _BOX
    height = max(y for _, y in places.values()) + _HIGH + 10
    parts = [line for d in chosen for line in _lines(d, places)]
    parts += [_box(places[f"source {r}"], r, "source") for r in roots]
    parts += [_box(places[d.id], d.id, f"{d.operation}, {d.rows:,} rows") for d in chosen]
    more = f", the newest {_MOST} of {len(data)}" if len(data) > _MOST else ""
    label = f"Where the data comes from: {len(chosen)} datasets of {len(roots)} sources{more}"
    return (
        f"<figure><figcaption>Where the data comes from{more}</figcaption>"
        f'<div class="wide"><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'style="min-width:{min(width, 900)}px;max-width:{width}px" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg></div></figure>"
    )


def _levels(data: Sequence[Data]) -> dict[str, int]:
    """How many steps each dataset is away from its source; names that go in circles stay where they are."""
    level = {d.id: 1 for d in data}
    for _ in data:
        for d in data:
            level[d.id] = max([level[d.id], *(level[p] + 1 for p in d.parents if p in level)])
            level[d.id] = min(level[d.id], len(data))
    return level


def _source(d: Data) -> str:
    return str(tidy(d.source))


def _placed(level: dict[str, int]) -> dict[str, tuple[int, int]]:
    seen: dict[int, int] = {}
    places = {}
    for name, at in level.items():
        column = seen.get(at, 0)
        seen[at] = column + 1
        places[name] = (_ACROSS + column * (_BOX + _ACROSS), 6 + at * (_HIGH + _GAP))
    return places


def _lines(d: Data, places: dict[str, tuple[int, int]]) -> list[str]:
    above = [p for p in d.parents if p in places] or [f"source {_source(d)}"]
    half, bend = _BOX // 2, _GAP // 2
    x, y = places[d.id]
    found = []
    for left, top in (places[name] for name in above if name in places):
        begin, end = f"{left + half} {top + _HIGH}", f"{x + half} {y}"
        curve = f"M{begin} C{left + half} {top + _HIGH + bend} {x + half} {y - bend} {end}"
        found.append(f'<path class="edge" fill="none" d="{curve}"/>')
    return found


def _box(place: tuple[int, int], name: str, told: str) -> str:
    x, y = place
    return (
        f"<g><title>{escape(f'{name}: {told}')}</title>"
        f'<rect class="box" x="{x}" y="{y}" width="{_BOX}" height="{_HIGH}" rx="5"/>'
        f'<text x="{x + 8}" y="{y + 18}" font-weight="bold">{escape(_cut(name, 24))}</text>'
        f'<text x="{x + 8}" y="{y + 35}">{escape(_cut(told, 28))}</text></g>'
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
