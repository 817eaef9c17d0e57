"""The forms in which a known secret may stand in a text: escaped, quoted, encoded."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

SHORTEST_LINE = 16
"""Of a secret of several lines, a line shorter than this is no secret by itself (``-----END``)."""
SHORTEST_ENCODED = 14
"""An encoded part shorter than this could be a part of something else."""
_MARKDOWN = re.compile(r"([|`<>\[\]\\*_])")


def forms(value: str) -> set[str]:
    """The value and what it looks like elsewhere."""
    found = {value, *_escaped(value), *_encoded(value.encode("utf-8", "surrogatepass"))}
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        found |= {line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----")}
    return found


def _escaped(value: str) -> Iterator[str]:
    """As a string of JSON or Python, once and twice over, in a URL, in HTML and in Markdown."""
    for ascii_only in (True, False):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield from (once, json.dumps(once, ensure_ascii=ascii_only)[1:-1])
    yield repr(value)[1:-1]
    text = value.encode("utf-8", "replace")
    for coded in (quote(text), quote(text, safe=""), quote_plus(text)):
        yield from (coded, re.sub("%[0-9A-F]{2}", lambda m: m[0].lower(), coded))
    yield html.escape(value)
    yield _MARKDOWN.sub(r"\\\1", value)


def _encoded(data: bytes) -> Iterator[str]:
    """In hexadecimal digits and in base64, there also in the midst of something longer, as ``user:token``."""
    if 2 * len(data) >= SHORTEST_ENCODED:
        yield from (data.hex(), data.hex().upper())
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # Characters that also hold bits of the neighbours say nothing for sure.
        begin = (0, 2, 3)[before]
        end = len(whole) - (0 if (before + len(data)) % 3 == 0 else 1)
        part = whole[begin:end]
        if len(part) >= SHORTEST_ENCODED:
            yield from (part, part.translate(_URL_SAFE))


_URL_SAFE = str.maketrans("+/", "-_")
