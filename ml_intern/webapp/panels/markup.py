"""HTML of the panels: other people's words escaped, colours from Gradio's theme, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ml_intern.reports.words import escape

STATES = {
    "queued": "grey",
    "running": "blue",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "grey",
    "kept": "green",
    "discarded": "grey",
    "crashed": "red",
    "inconclusive": "amber",
    "open": "blue",
    "better": "green",
    "worse": "red",
}

# Gradio puts it into a rule for the component alone; there must be no backslash, no ${ and no {{ in it.
STYLE = """
font-size: 0.875rem; line-height: 1.45; color: var(--body-text-color);
--green: #2f7d57; --red: #c5403b; --blue: #2a6f9e; --amber: #9a6a0f; --grey: #6d6b66;
--soft: color-mix(in srgb, var(--body-text-color) 68%, transparent);
.html-container:has(> &) { padding: 0; }
table.rows { width: 100%; margin: 0; padding: 0; border-collapse: separate; border-spacing: 0;
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; border: 1px solid var(--border-color-primary); border-radius: 8px;
  background: var(--background-fill-primary); }
.scroll.tall { max-height: 26rem; overflow-y: auto; }
table.rows th { position: sticky; top: 0; z-index: 1; text-align: left; font-weight: 600; font-size: 0.75rem;
  color: var(--soft); background: var(--background-fill-secondary); padding: 7px 12px;
  white-space: nowrap; border-bottom: 1px solid var(--border-color-primary); }
table.rows td { padding: 8px 12px; vertical-align: middle;
  border-bottom: 1px solid var(--border-color-primary); }
table.rows tr:last-child td { border-bottom: none; }
table.rows td.num, table.rows th.num { text-align: right; white-space: nowrap; }
table.rows td.wide { min-width: 12rem; }
tr[data-pick] { cursor: pointer; }
tr[data-pick]:hover td { background: var(--background-fill-secondary); }
tr[data-pick]:focus-visible { outline: 2px solid var(--color-accent); outline-offset: -2px; }
tr.picked td { background: var(--color-accent-soft); }
tr.picked td:first-child { box-shadow: inset 3px 0 0 var(--color-accent); }
.name { font-weight: 600; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: 0.8125rem; }
.line { white-space: nowrap; }
.badge { display: inline-block; padding: 1px 8px; border-radius: 999px; font-size: 0.75rem; font-weight: 600;
  color: #fff; white-space: nowrap; }
.badge.green { background: var(--green); } .badge.red { background: var(--red); }
.badge.blue { background: var(--blue); } .badge.amber { background: var(--amber); }
.badge.grey { background: var(--grey); }
.bar { width: 8rem; height: 6px; border-radius: 3px; overflow: hidden; margin-top: 4px;
  background: var(--border-color-primary); }
.bar > span { display: block; height: 100%; border-radius: 3px; background: var(--blue); }
.bar > span.green { background: var(--green); } .bar > span.red { background: var(--red); }
.bar > span.grey { background: var(--grey); }
svg.spark { display: inline-block; vertical-align: middle; margin-left: 10px; }
.empty { padding: 2.25rem 1rem; text-align: center; color: var(--soft);
  border: 1px dashed var(--border-color-primary); border-radius: 8px; }
.note { padding: 8px 12px; margin: 8px 0; border-radius: 6px; border-left: 3px solid var(--blue);
  background: var(--background-fill-secondary); overflow-wrap: anywhere; }
.note.red { border-left-color: var(--red); } .note.amber { border-left-color: var(--amber); }
.note.green { border-left-color: var(--green); }
.note p { margin: 2px 0; }
h4 { margin: 14px 0 6px; font-size: 0.875rem; font-weight: 600; }
h4:first-child { margin-top: 0; }
code { font-family: var(--font-mono); font-size: 0.8125rem; background: var(--background-fill-secondary);
  padding: 1px 5px; border-radius: 4px; overflow-wrap: anywhere; }
pre.log { margin: 0; padding: 10px 12px; max-height: 22rem; min-height: 5rem; overflow: auto;
  font-family: var(--font-mono); font-size: 0.75rem; line-height: 1.5; white-space: pre-wrap;
  overflow-wrap: anywhere; border: 1px solid var(--border-color-primary); border-radius: 8px;
  color: var(--body-text-color); background: var(--background-fill-secondary); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); gap: 14px; }
figure { margin: 0 0 14px; padding: 10px 12px 6px; border: 1px solid var(--border-color-primary);
  border-radius: 8px; background: var(--background-fill-primary); position: relative; }
.charts figure { margin: 0; }
figcaption { font-size: 0.8125rem; color: var(--soft); overflow-wrap: anywhere;
  margin-bottom: 4px; }
svg { max-width: 100%; height: auto; color: var(--soft); }
figure svg { display: block; width: 100%; }
svg text { font-size: 12px; fill: currentColor; }
svg .grid { stroke: var(--border-color-primary); }
.key { white-space: nowrap; margin-right: 6px; }
.verdict { color: #fff; border-radius: 999px; padding: 1px 8px; font-size: 0.75rem; font-weight: 600; }
ul.tree, ul.tree ul { padding-left: 1.25rem; margin: 4px 0; list-style: disc; }
ul.tree li { margin: 4px 0; overflow-wrap: anywhere; }
iframe { width: 100%; height: 42rem; border: 1px solid var(--border-color-primary); border-radius: 8px;
  background: #fff; }
a { color: var(--link-text-color); text-decoration: underline; }
button.get { font: inherit; font-size: 0.8125rem; color: var(--link-text-color); background: none;
  border: none; padding: 2px 4px; cursor: pointer; border-radius: 4px; }
button.get:hover { text-decoration: underline; }
button.get:focus-visible { outline: 2px solid var(--color-accent); }
.tip { position: absolute; pointer-events: none; display: none; z-index: 3; padding: 3px 8px;
  font-size: 0.75rem; border-radius: 6px; white-space: nowrap; color: var(--body-text-color);
  background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary); }
"""


def badge(word: str, told: str = "") -> str:
    """A state or a verdict as a word on its colour."""
    return f'<span class="badge {STATES.get(word, "grey")}" title="{escape(told)}">{escape(word)}</span>'


def bar(fraction: float, colour: str = "blue") -> str:
    """How much of something is done."""
    share = 100 * min(1.0, max(0.0, fraction))
    return f'<div class="bar"><span class="{colour}" style="width:{share:.0f}%"></span></div>'


def table(head: Sequence[str], rows: Iterable[str], tall: bool = False) -> str:
    """A table; a heading that begins with ``>`` stands over figures."""
    cells = "".join(
        f'<th class="num">{escape(name[1:])}</th>' if name[:1] == ">" else f"<th>{escape(name)}</th>"
        for name in head
    )
    body = "".join(rows)
    return (
        f'<div class="scroll{" tall" if tall else ""}"><table class="rows"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def pickable(key: str, picked: bool, cells: str) -> str:
    """A row that can be picked by a click or the keyboard."""
    chosen = ' class="picked" aria-selected="true"' if picked else ""
    return f'<tr data-pick="{escape(key)}" tabindex="0"{chosen}>{cells}</tr>'


def empty(text: str) -> str:
    """In the place of what is not there yet."""
    return f'<div class="empty">{escape(text)}</div>'


def note(text: str, colour: str = "blue", more: str = "") -> str:
    """A sentence in a box; `more` stands below it."""
    below = f'<p class="soft">{escape(more)}</p>' if more else ""
    return f'<div class="note {colour}"><p>{escape(text)}</p>{below}</div>'


def sparkline(values: Sequence[float], width: int = 72, height: int = 18) -> str:
    """The course of some values, without axes."""
    known = [v for v in values if math.isfinite(v) and abs(v) < 1e300]
    if len(known) < 2:
        return ""
    step = (len(known) - 1) / (min(len(known), 48) - 1)
    chosen = [known[round(i * step)] for i in range(min(len(known), 48))]
    low, high = min(chosen), max(chosen)
    span = (high - low) or 1.0
    across = (width - 2) / (len(chosen) - 1)
    path = " ".join(
        f"{1 + i * across:.1f},{height - 2 - (v - low) / span * (height - 4):.1f}"
        for i, v in enumerate(chosen)
    )
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg class="spark" {size} aria-hidden="true">'
        f'<polyline fill="none" stroke="currentColor" stroke-width="1.4" points="{path}"/></svg>'
    )
