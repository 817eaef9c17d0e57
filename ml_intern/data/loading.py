"""The bytes of a file, looked at before they are held: piece by piece, so that a bad file costs no memory.

Every refusal is one line that names the file, and the line where there is one. Archives are never unpacked:
what lies in them, and where its paths lead, is the person's to look at.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import stat
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from ml_intern.errors import ToolError

# Rows are held in memory, at several times the size of their file.
MAX_BYTES = 2 * 2**30
MAX_LINE = 64 * 2**20
"""A longer line is no row that anything here could train on; one of them is held several times over."""
BOMB_BYTES = 256 * 2**20
MAX_RATIO = 200
"""Deflate packs at most 1032 to 1; text that people write packs 3 to 20, logs up to 100 to 1."""
PIECE = 2**20

TABLE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
BINARY_SUFFIXES = (".parquet", ".arrow")
# What people try, and what to make of it instead.
_FOREIGN = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "Save it as CSV."),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".zst", ".bz2", ".xz"), "Unpack it first."),
    **dict.fromkeys((".pdf", ".docx", ".doc", ".epub"), "Save its text as .txt."),
    **dict.fromkeys(
        (".pkl", ".pickle", ".npy", ".npz", ".pt", ".bin"), "Save the rows as JSON lines or Parquet."
    ),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".duckdb"), "Export the table as CSV or Parquet."),
}
# How files begin that are called what they are not: where, what, its name, the suffix it may have.
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive", ".zip"),
    (0, b"\x1f\x8b", "a gzip file", ".gz"),
    (0, b"PAR1", "a Parquet file", ".parquet"),
    (0, b"ARROW1", "an Arrow file", ".arrow"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", ".zst"),
    (0, b"BZh91AY&SY", "a bzip2 file", ".bz2"),
    (0, b"\xfd7zXZ\0", "an xz file", ".xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", ".7z"),
    (0, b"Rar!\x1a\x07", "a rar archive", ".rar"),
    (257, b"ustar", "a tar archive", ".tar"),
    (0, b"%PDF-", "a PDF", ".pdf"),
    (0, b"\x89PNG", "a picture", ".png"),
    (0, b"\xff\xd8\xff", "a picture", ".jpg"),
    (0, b"SQLite format 3\0", "a SQLite database", ".sqlite"),
    (0, b"\x80\x04\x95", "a pickle", ".pkl"),
    (0, b"\x80\x05\x95", "a pickle", ".pkl"),
    (0, b"Obj\x01", "an Avro file", ".avro"),
    (0, b"ORC", "an ORC file", ".orc"),
    (0, b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS", ".lfs"),
)
_PAGE = re.compile(rb"\s*<(?:!doctype html|html)\b", re.I)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def kind_of(path: Path) -> str:
    """The suffix that decides how a file is read; ``.gz`` is looked through."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def check(path: Path, most: int = MAX_BYTES) -> None:
    """Look a file over, one piece at a time.

    Args:
        path: The file.
        most: Bytes that it may have, packed and unpacked.

    Raises:
        ToolError: It is no regular file, too large, packed beyond reason, not what its name says, not text,
            or has a line that is too long to be a row.
    """
    kind = kind_of(path)
    try:
        found = path.stat()
    except (OSError, ValueError):
        refuse(path, "is not a file that can be read")
    if not stat.S_ISREG(found.st_mode):
        refuse(path, "is not a file that can be read")
    for suffix in (path.suffix.lower(), kind):
        if suffix in _FOREIGN:
            refuse(path, f"is a kind of file that cannot be read ({suffix})", _FOREIGN[suffix])
    if found.st_size > most:
        refuse(path, f"is larger than {most >> 30} GiB", "Split it, or take a sample first.")
    with opened(path) as file:
        head = file.read(PIECE)
        _check_head(path, kind, head)
        if kind not in BINARY_SUFFIXES or path.suffix.lower() == ".gz":
            _check_pieces(path, kind, head, file, found.st_size, most)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file as a stream, unpacked where its name ends in ``.gz``.

    Raises:
        ToolError: It cannot be read, or is not whole.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        refuse(path, f"is not a whole gzip file ({error})")
    except OSError as error:
        refuse(path, f"cannot be read: {error.strerror or error}")


def load(path: Path) -> bytes:
    """All bytes of a file that was found to be sound.

    Raises:
        ToolError: See `check`.
    """
    check(path)
    with opened(path) as file:
        return file.read()


def sha256_of(path: Path) -> str:
    """sha256 of what the file holds, unpacked."""
    found = hashlib.sha256()
    with opened(path) as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def decode(path: Path, data: bytes, notes: list[str], first_line: int = 1) -> str:
    """Bytes to text: UTF-8, UTF-16 with its mark, and for Python files the encoding that they declare."""
    if data[:2] in _UTF16 and first_line == 1:
        encoding = "utf-16"
    elif path.suffix in (".py", ".pyi"):
        encoding = _declared(path, data)
    else:
        encoding = "utf-8-sig" if first_line == 1 else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        wrong = f"byte 0x{data[error.start]:02x} is not {encoding.removesuffix('-sig').upper()}"
        refuse(path, f"line {line}: {wrong}", "Convert the file, for example: iconv -f latin1 -t utf-8.")
    if encoding == "utf-16":
        notes.append(f"{path.name} was read as UTF-16.")
    if "\0" in text:
        refuse(path, _zero(first_line + text.count("\n", 0, text.index("\0"))))
    return text


def is_utf16(path: Path) -> bool:
    """Whether a file begins with the mark of UTF-16."""
    with opened(path) as file:
        return file.read(2) in _UTF16


def refuse(path: Path, what: str, hint: str = "") -> NoReturn:
    """Raise the one line that names the file and what is wrong."""
    name = path.name if path.name.isprintable() else ascii(path.name)
    raise ToolError(" ".join(f"{name} {what}.".split()), hint) from None


def _check_head(path: Path, kind: str, head: bytes) -> None:
    if not head.strip():
        # A file of white space alone goes on to be read, and is found to be empty there.
        return
    for at, sign, name, suffix in _MAGIC:
        if head[at : at + len(sign)] == sign and kind != suffix:
            hint = "Download the data itself." if suffix == ".lfs" else f"If it is, call it {suffix}."
            refuse(path, f"is {name} by its content, not {kind or 'text'}", hint)
    if kind in TABLE_SUFFIXES and _PAGE.match(head):
        refuse(path, "is a web page by its content, no table", "Look at what was downloaded.")


def _check_pieces(path: Path, kind: str, head: bytes, file: BinaryIO, packed: int, most: int) -> None:
    """Null bytes, lines and the size of what is unpacked, one piece after the other."""
    wide = head[:2] in _UTF16
    rows = kind != ".json"  # A JSON document may stand on one line.
    line, since, total = 1, 0, 0
    piece = head
    while piece:
        total += len(piece)
        if total > BOMB_BYTES and total > MAX_RATIO * packed and path.suffix.lower() == ".gz":
            refuse(
                path,
                f"unpacks to more than {MAX_RATIO} times its size",
                "If you trust it, unpack it yourself.",
            )
        if total > most:
            refuse(path, f"unpacks to more than {most >> 30} GiB", "Split it, or take a sample first.")
        if not wide and (at := piece.find(b"\0")) >= 0:
            refuse(path, _zero(line + piece.count(b"\n", 0, at)))
        last = piece.rfind(b"\n")
        since = since + len(piece) if last < 0 else len(piece) - last - 1
        line += piece.count(b"\n")
        if rows and since > MAX_LINE:
            refuse(
                path,
                f"line {line} is longer than {MAX_LINE >> 20} MiB",
                "Is it one row? Cut it into several.",
            )
        piece = file.read(PIECE)


def _zero(line: int) -> str:
    return f"line {line}: null byte; the file is not text"


def _declared(path: Path, data: bytes) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError as error:
        refuse(path, f"line 1: {error.msg or error}")
