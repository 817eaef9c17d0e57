"""Many files in one, in either direction: for each a line of JSON with its size, and its bytes.

Standard library only: used here, and uploaded and used inside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import IO, Any

CHUNK = 1 << 20


def write_bundle(out: IO[bytes], items: Iterable[tuple[dict[str, Any], IO[bytes]]]) -> None:
    """Write files with their headers, each as long as it is now."""
    for header, file in items:
        size = os.fstat(file.fileno()).st_size
        out.write(json.dumps({**header, "size": size}).encode() + b"\n")
        left = size
        while left > 0 and (piece := file.read(min(CHUNK, left))):
            out.write(piece)
            left -= len(piece)
        while left > 0:  # it shrank meanwhile: the next report tells
            out.write(bytes(min(CHUNK, left)))
            left -= CHUNK


def read_bundle(stream: IO[bytes]) -> Iterator[tuple[dict[str, Any], Iterator[bytes]]]:
    """The headers and contents of a bundle, in order.

    Raises:
        ValueError: It is no bundle, or ends too early.
    """
    while line := stream.readline(CHUNK):
        header = json.loads(line)
        if not isinstance(header, dict) or type(header.get("size")) is not int or header["size"] < 0:
            raise ValueError("a header of a bundle has no size")
        content = _pieces(stream, header["size"])
        yield header, content
        for _ in content:  # whoever did not want it
            pass


def _pieces(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0:
        piece = stream.read(min(CHUNK, size))
        if not piece:
            raise ValueError("a bundle ends too early")
        size -= len(piece)
        yield piece
