"""Reads a body within bounds: so many bytes, compressed or not, and so much time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

from ml_intern.web.errors import BadAnswer, TooLarge

ACCEPTED = "gzip, deflate"
"""What is asked for. Of these a bomb is seen while it unpacks; brotli's decoder has no such limit."""
_PIECE = 1 << 20
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_GZIP_MAGIC = b"\x1f\x8b"


class Truncated(ValueError):
    """A compressed body that ends in the middle."""


def read_bounded(
    chunks: Iterable[bytes], encoding: str, limit: int, where: str, look: Callable[[], None]
) -> bytes:
    """A body, unpacked.

    Args:
        chunks: As they come from the wire.
        encoding: Content-Encoding.
        limit: Bytes, unpacked, that are taken.
        where: For messages.
        look: Called with each chunk; raises where the time is up.

    Raises:
        TooLarge: It is longer.
        BadAnswer: It is packed in a way that was not asked for.
        Truncated: It ends in the middle, or is damaged.
    """
    found = bytearray()
    for piece in _unpacked(chunks, encoding.strip().lower(), where):
        look()
        found += piece
        if len(found) > limit:
            raise TooLarge(
                f"The answer of {where} is longer than {limit / 1e6:.3g} MB.", "Ask for a part of it."
            )
    return bytes(found)


def _unpacked(chunks: Iterable[bytes], encoding: str, where: str) -> Iterator[bytes]:
    if encoding in ("", "identity"):
        yield from chunks
    elif encoding in ("gzip", "x-gzip", "deflate"):
        yield from _inflated(chunks)
    else:
        raise BadAnswer(f"{where} packs its answer as {encoding[:40]!r}, which nobody asked for.")


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of at most a megabyte each, however much a chunk unpacks to."""
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
    begun = False
    try:
        for chunk in chunks:
            while chunk:
                if unpack.eof:
                    if not chunk.startswith(_GZIP_MAGIC):
                        return  # filling after the end
                    unpack = zlib.decompressobj(_GZIP_OR_ZLIB)  # gzip may hold several members
                begun = True
                yield unpack.decompress(chunk, _PIECE)
                chunk = unpack.unconsumed_tail or unpack.unused_data
    except zlib.error as error:
        raise Truncated(f"the packed answer is damaged: {error}") from None
    if begun and not unpack.eof:
        raise Truncated("the packed answer ends in the middle")
