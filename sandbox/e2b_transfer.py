"""Files over E2B's own way for files: small ones together, large ones each by itself and never in memory."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from ml_intern.errors import InternError
from ml_intern.sandbox.e2b_bundle import read_bundle, write_bundle
from ml_intern.sandbox.e2b_link import Channel
from ml_intern.sandbox.e2b_stream import Reply, failures
from ml_intern.sandbox.e2b_tree import INLINE

BUNDLE_BYTES = 64 << 20
"""Smaller files go together; a larger one goes by itself."""

INLINE_PUSH = 512 << 10
WAIT_S = 600.0

Key = tuple[int, str]
"""A mirrored folder's number, and a path in it."""

Item = tuple[dict[str, Any], IO[bytes]]
"""What is told of a file, and the file."""


def upload(channel: Channel, place: str, items: list[Item] | Iterator[Item], alone: bool) -> Reply:
    """Bring files in by way of a path inside that is root's own.

    Args:
        channel: The link.
        place: The path.
        items: The files.
        alone: There is only one, and it may be large.
    """
    try:
        if alone:
            header, file = next(iter(items))
            channel.sandbox.files.write(place, file, user="root")
            return channel.request("place", file=place, header=header)
        with tempfile.TemporaryFile() as bundle:
            write_bundle(bundle, items)
            bundle.seek(0)
            channel.sandbox.files.write(place, bundle, user="root")
        return channel.request("unpack", file=place)
    except failures() as error:
        raise InternError(f"Files cannot be sent into the E2B sandbox: {_first(error)}") from None


def download(
    channel: Channel, place: str, wanted: list[Key], total: int
) -> Iterator[tuple[Key, int, Iterable[bytes]]]:
    """Bring files out: for each its key, time of change and bytes. Nothing that was not asked for.

    Raises:
        InternError: It is more than was said, or no bundle.
    """
    most = total + total // 4 + len(wanted) * 8192 + (1 << 20)  # they may have grown meanwhile
    try:
        size = channel.request("pack", file=place, paths=wanted).value(WAIT_S)
        if type(size) is not int or size > most:
            raise InternError("Files of the E2B sandbox grew while they were fetched.", "Try again.")
        with _received(channel, place, most) as pieces:
            yield from (_one if total > BUNDLE_BYTES else _several)(wanted, pieces)
    except failures() as error:
        raise InternError(f"Files cannot be fetched from E2B: {_first(error)}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InternError("What the E2B sandbox sent is no bundle of files.") from None
    finally:
        channel.request("drop", lazy=True, file=place)


def _several(wanted: list[Key], pieces: Iterator[bytes]) -> Iterator[tuple[Key, int, Iterable[bytes]]]:
    left: dict[Any, Key] = {key: key for key in wanted}
    with tempfile.TemporaryFile() as bundle:
        bundle.writelines(pieces)
        bundle.seek(0)
        for header, content in read_bundle(bundle):
            key, mtime = (header.get("tree"), header.get("path")), header.get("mtime")
            if type(key[0]) is int and key in left and type(mtime) is int:
                yield left.pop(key), mtime, [b"".join(content)]


def _one(wanted: list[Key], pieces: Iterator[bytes]) -> Iterator[tuple[Key, int, Iterable[bytes]]]:
    """A bundle of one file, whose header is taken off on the way."""
    head = b""
    while b"\n" not in head and len(head) < BUNDLE_BYTES and (piece := next(pieces, b"")):
        head += piece
    line, _, first = head.partition(b"\n")
    if head:
        told = json.loads(line)
        yield wanted[0], int(told["mtime"]), _whole(itertools.chain([first], pieces), int(told["size"]))


def _whole(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        size -= len(piece)
        yield piece
    if size:
        raise InternError("A file of the E2B sandbox did not come whole.", "Try again.")


@contextmanager
def _received(channel: Channel, place: str, most: int) -> Iterator[Iterator[bytes]]:
    """The bytes of a file inside, as they come; more than was said is an error."""

    def bounded(pieces: Iterable[bytes]) -> Iterator[bytes]:
        size = 0
        try:
            for piece in pieces:
                size += len(piece)
                if size > most:
                    raise InternError("The E2B sandbox sent more than it had said.")
                yield piece
        except failures() as error:
            raise InternError(f"Files cannot be fetched from E2B: {_first(error)}") from None

    with channel.sandbox.files.read(place, format="stream", user="root") as stream:
        yield bounded(stream)


def divide(
    changed: list[tuple[int, str, int]],
) -> tuple[list[tuple[int, str]], list[tuple[int, str, int]]]:
    """What fits into a message, and what goes over E2B's files."""
    small: list[tuple[int, str]] = []
    large: list[tuple[int, str, int]] = []
    room = INLINE_PUSH
    for number, path, size in sorted(changed, key=lambda entry: entry[2]):
        fits = size <= min(INLINE, room)
        if fits:
            room -= size
            small.append((number, path))
        else:
            large.append((number, path, size))
    return small, large


def parts(sized: list[tuple[int, str, int]]) -> Iterator[list[tuple[int, str]]]:
    """Bundles of a moderate size; a large file by itself."""
    part: list[tuple[int, str]] = []
    size = 0
    for number, path, more in sorted(sized, key=lambda entry: entry[2]):
        if part and size + more > BUNDLE_BYTES:
            yield part
            part, size = [], 0
        part.append((number, path))
        size += more
    if part:
        yield part


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
