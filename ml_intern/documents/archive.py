"""The files of a paper's source: what arXiv sends is a tar, a gzip of one file, or a PDF."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import PurePosixPath

from ml_intern.errors import ToolError

MOST_BYTES = 64 << 20
"""Of all texts together, unpacked."""

MOST_FILES = 2_000
MOST_UNPACKED = 256 << 20
"""Of the archive's stream; pictures are passed over, and they are unpacked on the way."""

KEPT = (".tex", ".bbl", ".bib", ".ltx", ".latex", ".txt", ".tikz", ".cls", ".sty", "")


def files(data: bytes) -> dict[str, str]:
    """The texts of an archive by their paths. Nothing is written to a disk.

    Raises:
        ToolError: It is no archive, or it is a bomb.
    """
    plain = _unzipped(data) if data[:2] == b"\x1f\x8b" else data
    if plain[:5] == b"%PDF-":
        raise ToolError("The source is a PDF.", "Read it as a PDF.")
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            return _members(archive)
    except tarfile.TarError:
        pass
    if b"\0" in plain[:4096]:
        raise ToolError("The source is neither a tar archive nor TeX.")
    return {"main.tex": _text(plain)}


def _unzipped(data: bytes) -> bytes:
    """All of it, unless it is a bomb: the size that a gzip names is not believed."""
    found = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            while chunk := stream.read(1 << 20):
                found += chunk
                if len(found) > MOST_UNPACKED:
                    raise ToolError(f"The source unpacks to more than {MOST_UNPACKED >> 20} MB.")
    except (OSError, EOFError, zlib.error) as error:
        raise ToolError(f"The source is a broken gzip: {error}.") from None
    return bytes(found)


def _members(archive: tarfile.TarFile) -> dict[str, str]:
    found: dict[str, str] = {}
    size = 0
    for count, member in enumerate(archive):
        if count >= MOST_FILES:
            break
        path = PurePosixPath(member.name)
        outside = path.is_absolute() or ".." in path.parts
        if not member.isreg() or outside or path.suffix.lower() not in KEPT:
            continue  # links and devices too: a text is a text, and it lies in the archive
        size += member.size
        if size > MOST_BYTES:
            raise ToolError(f"The texts of the source are larger than {MOST_BYTES >> 20} MB.")
        stream = archive.extractfile(member)
        if stream is not None:
            found[str(path)] = _text(stream.read(member.size))
    return found


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
