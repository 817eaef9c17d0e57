"""Text of others as HTML: what a brain, a cell or a fetched page wrote becomes no tag, script or request."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ml_intern.cli.board import clean

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

MOST_CHARS = 20_000
"""Of one text the page shows so much: the whole is in the session's folder."""
LINKS = ("http://", "https://", "mailto:")


def text(value: object) -> str:
    """Plain text, safe in an element and in an attribute."""
    return html.escape(clean(str(value)), quote=True)


def cut(value: str, most: int = MOST_CHARS) -> str:
    """A long text without its middle."""
    if len(value) <= most:
        return value
    half = most // 2
    return f"{value[:half]}\n… {len(value) - most:,} characters are left out here …\n{value[-half:]}"


def markdown(value: str) -> str:
    """Markdown without raw HTML, without images, and with links that lead to web pages only.

    An image is a request that the page makes by itself: an answer could tell a foreign host who reads it.
    """
    return str(_parser().render(cut(clean(value))))


def code(value: str, language: str = "python") -> str:
    """Code with colours, as the content of a `pre`."""
    from pygments import highlight  # type: ignore[import-untyped]
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        return text(value)
    return str(highlight(cut(clean(value)), lexer, HtmlFormatter(nowrap=True)))


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "highlight": _fence}).enable(
        ["table", "strikethrough"]
    )
    parser.validateLink = lambda url: url.strip().lower().startswith(LINKS)  # type: ignore[method-assign]
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("table_open", lambda *_: '<div class="mi-wide"><table>')
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    return parser


def _fence(value: str, language: str, _: str) -> str:
    return code(value, language)


def _image(renderer: Any, tokens: Sequence[Any], place: int, *_: Any) -> str:
    token = tokens[place]
    address = text(token.attrs.get("src", ""))
    return f'<a href="{address}" {_AWAY}>image: {text(token.content) or address}</a>'


def _link(renderer: Any, tokens: Sequence[Any], place: int, *_: Any) -> str:
    return f'<a href="{text(tokens[place].attrs.get("href", ""))}" {_AWAY}>'


_AWAY = 'target="_blank" rel="noopener noreferrer nofollow"'
