"""Pieces of HTML that stand in a notebook: no scripts, nothing loaded, readable on light and on dark pages.

Colours are those of the page around or in the middle between black and white, so no theme has to be known;
where a page drops the style sheet, headings, lists and tables remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ml_intern.cli.board import clean
from ml_intern.reports import words
from ml_intern.secrets.masking import mask

STYLE = (
    ".mli{font:14px/1.5 system-ui,-apple-system,sans-serif;max-width:62rem;overflow-wrap:anywhere;"
    "border-left:3px solid rgba(128,128,128,.35);padding:.1rem 0 .1rem .9rem}"
    ".mli p{margin:.4em 0}.mli h4{font-size:1em;font-weight:600;margin:1.1em 0 .3em}"
    ".mli .soft{opacity:.72;font-size:.92em}.mli .num{font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".mli pre,.mli code{background:rgba(128,128,128,.12);color:inherit;border-radius:4px;font-size:12.5px}"
    ".mli pre{padding:.5em .7em;margin:.4em 0;overflow:auto;max-height:24em;white-space:pre-wrap}"
    ".mli code{padding:.05em .3em}.mli pre code{background:none;padding:0}"
    ".mli .wide{overflow-x:auto}"
    # Notebooks have rules of their own for tables: these are more special.
    ".mli div.wide table{border-collapse:collapse;margin:.3em 0;font-size:13px;border:0;overflow-wrap:normal}"
    ".mli div.wide td,.mli div.wide th{border:0;border-bottom:1px solid rgba(128,128,128,.3);"
    "padding:.25em 1.1em .25em 0;text-align:left;vertical-align:top;background:none;max-width:26rem}"
    ".mli div.wide tr{background:none}.mli div.wide th{font-weight:600;opacity:.72}"
    ".mli td code{white-space:nowrap}.mli a{color:#2a7fb8}"
    ".mli .tag,.mli .verdict{color:#fff;border-radius:4px;padding:.05em .45em;font-size:.86em;"
    "white-space:nowrap}"
    ".mli .bar{display:inline-block;width:9em;height:.55em;border-radius:.3em;"
    "background:rgba(128,128,128,.25);overflow:hidden;vertical-align:middle}"
    ".mli .bar span{display:block;height:100%;background:#2a7fb8}"
    ".mli figure{margin:.6em 0;max-width:640px}.mli figcaption{font-size:.92em}"
    ".mli svg{max-width:100%;height:auto}.mli svg text{font-size:12px;fill:currentColor;opacity:.8}"
    ".mli svg .grid{stroke:rgba(128,128,128,.35)}.mli .key{white-space:nowrap}"
    ".mli .warn{border-left:3px solid #c08a1e;padding-left:.6em}"
    ".mli .bad{border-left:3px solid #c5403b;padding-left:.6em}"
    ".mli .ask{border:1px solid #c08a1e;border-radius:6px;padding:.3em .8em;margin:.6em 0}"
    ".mli details{margin:.5em 0}.mli summary{cursor:pointer}"
    ".mli ul{margin:.3em 0;padding-left:1.2em}"
)
TAGS = {
    "done": "#3f7d5c",
    "failed": "#c5403b",
    "denied": "#c5403b",
    "no_brain": "#c5403b",
    "limit": "#a87212",
    "interrupted": "#a87212",
    "asks": "#a87212",
}


def block(parts: Iterable[str]) -> str:
    """The pieces as one output, without the credentials that a text may hold."""
    return mask(f'<div class="mli"><style>{STYLE}</style>{"".join(parts)}</div>')


def esc(text: Any, limit: int = 0) -> str:
    """Somebody's words: no mark-up, no escape sequences, not longer than the limit."""
    flat = clean(str(text))
    return words.escape(flat if not limit or len(flat) <= limit else f"{flat[: limit - 1]}…")


def tag(word: str) -> str:
    """A state as a word on its colour."""
    return f'<span class="tag" style="background:{TAGS.get(word, "#2a6f9e")}">{esc(word)}</span>'


def markdown(text: str) -> str:
    """Markdown as HTML. Raw HTML in it is shown and not obeyed, and no picture is fetched."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table").disable("image")
    page = str(reader.render(words.plain(clean(text))))
    return page.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    first = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="wide"><table>{first}<tbody>{body}</tbody></table></div>'


def link(url: str, shown: str) -> str:
    """A link, where the address is one of the web; else the words alone."""
    if urlsplit(url).scheme not in ("http", "https"):
        return esc(shown)
    return f'<a href="{words.escape(words.address(url))}" target="_blank" rel="noopener">{esc(shown)}</a>'


def spark(values: Sequence[float], width: int = 120, height: int = 22) -> str:
    """The course of some values as a small picture."""
    if len(values) < 2:
        return ""
    step = max(1, len(values) // width)
    shown = values[::step]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    points = " ".join(
        f"{i * (width - 4) / (len(shown) - 1) + 2:.1f},{height - 3 - (v - low) / span * (height - 6):.1f}"
        for i, v in enumerate(shown)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="from {shown[0]:.4g} to {shown[-1]:.4g}"><polyline fill="none" stroke="#2a7fb8" '
        f'stroke-width="1.6" points="{points}"/></svg>'
    )


def bar(share: float) -> str:
    """How much of something is done."""
    return f'<span class="bar"><span style="width:{100 * min(1.0, max(0.0, share)):.0f}%"></span></span>'
