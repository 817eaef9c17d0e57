"""What hides an item from a reader's eye and not from a machine's.

Two ways to meet it. What swaps letter for letter (rot13, backwards) is done to the items, once. What packs
text into other characters (base64, hexadecimal, gzip or zlib below them, HTML's entities, ``\\u0041``) is
undone in the few training rows that look like it, several layers deep, within bounds: a row may be a bomb.
What is encrypted, or packed in another way, is not found.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ml_intern.evals import letters

if TYPE_CHECKING:
    import polars as pl

DEEPEST = 3
MOST_CHARS = 1 << 20
"""What one row may unpack to, all its parts together."""
LOOKED_AT = 4096
"""Characters that decide whether bytes are text."""
RUN = 32
"""Characters without a break that may be base64 or hexadecimal: 16 or 24 of what is inside."""

_LOOKS_PACKED = rf"[A-Za-z0-9+/_=-]{{{RUN}}}"
_PACKED = re.compile(rf"(?:[A-Za-z0-9+/_-]{{{RUN},}}\s{{0,2}})+[A-Za-z0-9+/_-]*={{0,2}}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_URL_SAFE = str.maketrans("-_", "+/")


def swapped(text: str) -> Iterator[tuple[str, str]]:
    """Each way of swapping letters, in words, and an item written in it."""
    yield "in rot13", codecs.encode(text, "rot13")
    yield "backwards", text[::-1]


def unpacked(texts: pl.Series, data: bytes) -> tuple[pl.Series, list[int]]:
    """What is packed in some texts, and for each finding the position of its text.

    Args:
        texts: The texts.
        data: The same as `letters.joined` gives them, which is quicker to look through.
    """
    import polars as pl

    # Most texts have blanks everywhere; the dear look for a pattern is for the few that have not.
    bare = np.unique(np.searchsorted(letters.ends(data), letters.unbroken(data)))
    suspect = set(bare[texts.gather(bare).str.contains(_LOOKS_PACKED).to_numpy()].tolist())
    for sign in ("&", "\\"):
        if sign.encode() in data:
            suspect.update(texts.str.contains(sign, literal=True).arg_true().to_list())
    found, rows = list[str](), list[int]()
    for row in sorted(suspect):
        for text in unpack(texts[row]):
            found.append(text)
            rows.append(row)
    return pl.Series("text", found, dtype=pl.String), rows


def unpack(text: str) -> list[str]:
    """The texts that are packed in a text, those that are packed in them, and so on."""
    found, layer, left = list[str](), [text], MOST_CHARS
    for _ in range(DEEPEST):
        layer = [inner for outer in layer for inner in _inside(outer)]
        for inner in layer:
            found.append(inner[:left])
            left -= len(found[-1])
    return [text for text in found if text]


def _inside(text: str) -> Iterator[str]:
    if "&" in text and (plain := html.unescape(text)) != text:
        yield plain
    if "\\u" in text and _ESCAPE.search(text):
        yield _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text)
    for match in _PACKED.finditer(text):
        run = "".join(match[0][: 2 * MOST_CHARS].split())
        for data in _bytes_of(run):
            if (inner := _text_of(data)) is not None:
                yield inner
                break


def _bytes_of(run: str) -> Iterator[bytes]:
    """What a run of characters may stand for; letters that stuck to its front shift base64."""
    if len(run) % 2 == 0 and re.fullmatch(r"[0-9a-fA-F]+", run):
        yield bytes.fromhex(run)
    run = run.rstrip("=").translate(_URL_SAFE)
    for shift in range(4):
        whole = run[shift : shift + (len(run) - shift) // 4 * 4]
        rest = run[shift + len(whole) :]
        try:
            yield base64.b64decode(whole + (rest + "=" * (4 - len(rest)) if len(rest) > 1 else ""))
        except binascii.Error:
            continue


def _text_of(data: bytes) -> str | None:
    """Bytes as text, where they are text."""
    if data[:2] == b"\x1f\x8b" or (
        data[:1] == b"\x78" and len(data) > 1 and (data[0] << 8 | data[1]) % 31 == 0
    ):
        try:
            data = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data, MOST_CHARS)
        except zlib.error:
            return None
    text = data.decode(errors="replace")
    begin = text[:LOOKED_AT]
    odd = sum(c == "\ufffd" or not (c.isprintable() or c.isspace()) for c in begin)
    return text if text and odd * 10 <= len(begin) else None
