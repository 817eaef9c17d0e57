"""Forty kinds of bad input: one clear line each, the source untouched, no more memory than the file may take.

Each case makes its files, is opened through the store as a tool does it, and must be refused with its words.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ml_intern.data.sources import read_path, stream_path
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.workspace.files import Files

MEBI = 2**20
ROW = b'{"text": "a row"}\n'
Make = Callable[[Path], object]


def _bytes(content: bytes | str) -> Make:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _long(*parts: tuple[bytes, int]) -> Make:
    """A long file, written in pieces: what makes it holds no memory that would be counted."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            for piece, times in parts:
                for _ in range(times):
                    file.write(piece)

    return make


def _sparse(size: int) -> Make:
    def make(path: Path) -> None:
        path.write_bytes(ROW)
        os.truncate(path, size)

    return make


def _bomb(path: Path) -> None:
    """512 MiB of lines of spaces in half a megabyte: one packed mebibyte, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(ROW) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress((b" " * 1023 + b"\n") * 1024) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(head + block * 512 + packer.flush())


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../escaped.jsonl", ROW)


def _tar(path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("../../escaped.jsonl", "/escaped.jsonl"):
            member = tarfile.TarInfo(name)
            member.size = len(ROW)
            archive.addfile(member, io.BytesIO(ROW))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    path.write_bytes(gzip.compress(packed.getvalue()) if path.suffix == ".gz" else packed.getvalue())


def _parquet(path: Path) -> bytes:
    pl.DataFrame({"text": [f"row {n}" for n in range(1000)]}).write_parquet(path)
    return path.read_bytes()


def _cut_parquet(path: Path) -> None:
    path.write_bytes(_parquet(path)[:-40])


def _torn_parquet(path: Path) -> None:
    whole = bytearray(_parquet(path))
    whole[100:400] = bytes(300)
    path.write_bytes(whole)


def _footer(path: Path) -> None:
    """A footer that claims to be 4 GiB long."""
    path.write_bytes(_parquet(path)[:-8] + struct.pack("<I", 2**32 - 1) + b"PAR1")


def _parquet_bomb(path: Path) -> None:
    """One text of 8 MiB that stands in 300 rows, packed into a few kilobytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["x" * 8 * MEBI]))
    pq.write_table(pa.table({"text": texts}), path, compression="zstd")


def _parquet_rows(path: Path) -> None:
    """200 million rows of nothing, packed into a few kilobytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"a": pa.nulls(20_000_000, pa.int8())})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(10):
            writer.write_table(table)


def _link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "outside" / "secret.jsonl")


def _folder_of_links(path: Path) -> None:
    path.mkdir()
    (path / "a.jsonl").symlink_to(path.parent.parent / "outside" / "secret.jsonl")
    (path / "more").symlink_to(path.parent.parent / "outside")


def _cycle(path: Path) -> None:
    path.symlink_to(path.name)


def _nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth + "\n"


# name of the source, what makes it, what the one line says
CASES: list[tuple[str, Make, str]] = [
    ("latin.jsonl", _bytes(ROW + '{"text": "größer"}\n'.encode("latin-1")), "line 2: byte 0xf6 is not UTF-8"),
    ("cp1252.csv", _bytes("text,n\n“quoted”,1\n".encode("cp1252")), "line 2: byte 0x93 is not UTF-8"),
    ("no-mark.jsonl", _bytes('{"text": "a"}\n'.encode("utf-16-le")), "line 1: null byte"),
    ("utf32.jsonl", _bytes('{"text": "a"}\n'.encode("utf-32")), "null byte"),
    ("half.jsonl", _bytes('{"text": "ä"}'.encode()[:-3]), "line 1: byte 0xc3 is not UTF-8"),
    ("mark.jsonl", _bytes(ROW + b"\xef\xbb\xbf" + ROW), "line 2: not JSON (a byte order mark"),
    ("zeros.jsonl", _bytes(ROW * 3 + b'{"text": "a\0b"}\n'), "line 4: null byte"),
    ("ragged.csv", _bytes("a,b,c\n1,2,3\n1,2\n"), "line 3: 2 fields, but the header has 3"),
    ("open.csv", _bytes('a,b\n1,"never closed\n' + "2,3\n" * 1000), "line 2: unexpected end of data"),
    ("quote.csv", _bytes('a,b\n1,"x"y\n'), "line 2: "),
    ("twice.csv", _bytes("a,b,a\n1,2,3\n"), "two columns called 'a'"),
    ("wide.csv", _bytes(",".join(f"c{n}" for n in range(5000)) + "\n"), "5000 columns, more than 4096"),
    ("mixed.jsonl", _bytes('{"a": [1]}\n{"a": {"b": 1}}\n'), "column 'a' mixes kinds of values"),
    (
        "nested.jsonl",
        _bytes('{"a": {"b": [null, 1]}}\n{"a": {"b": [null, [null]]}}\n'),
        "mixes kinds of values inside (a.b.[])",
    ),
    (
        "keys.jsonl",
        _bytes(ROW + b'{"text": "a", "text": "b"}\n'),
        "line 2: not JSON (the key 'text' stands tw",
    ),
    ("nan.jsonl", _bytes(ROW + b'{"text": NaN}\n'), "line 2: not JSON (NaN is no value of JSON"),
    ("infinity.json", _bytes('[{"a": -Infinity}]'), "-Infinity is no value of JSON"),
    ("huge.jsonl", _bytes('{"a": 1e999}\n'), "the number 1e999 is too large"),
    ("digits.jsonl", _bytes('{"a": ' + "9" * 40 + "}\n"), "a whole number of 40 digits"),
    ("million.jsonl", _bytes('{"a": ' + "9" * MEBI + "}\n"), "a whole number of 1048576 digits"),
    ("deep.jsonl", _bytes(_nested(100)), "nested more than 64 deep"),
    ("abyss.jsonl", _bytes('{"a":' + "[" * 200_000 + "\n"), "line 1: not JSON"),
    ("names.jsonl", _bytes("".join(f'{{"k{n}": 1}}\n' for n in range(5000))), "5000 columns, more than 4096"),
    ("cut.jsonl", _bytes(ROW + b'{"text": "a'), "line 2: not JSON"),
    ("cut.json", _bytes('[{"a": 1},\n{"a": '), "line 2: not JSON"),
    ("single.jsonl", _bytes("{'text': 'a'}\n"), "line 1: not JSON"),
    ("lists.jsonl", _bytes("[1, 2]\n"), "expected an object, found a list"),
    ("empty.jsonl", _bytes(""), "is empty"),
    ("blank.csv", _bytes("\n \n\t\n"), "is empty"),
    ("header.csv", _bytes("a,b\n"), "has no rows. Its columns are: a, b"),
    (
        "long.jsonl",
        _long((b'{"text": "', 1), (b"x" * MEBI, 100), (b'"}\n', 1)),
        "line 1 is longer than 64 MiB",
    ),
    ("long.csv", _long((b"a,b\n1,", 1), (b"y" * MEBI, 100)), "line 2 is longer than 64 MiB"),
    ("long.txt", _long((b"fine\n" * 3, 1), (b"z" * MEBI, 100)), "line 4 is longer than 64 MiB"),
    ("sparse.jsonl", _sparse(1024 * MEBI), "line 2: null byte"),
    ("larger.jsonl", _sparse(3 * 1024 * MEBI), "is larger than 2 GiB"),
    ("bomb.jsonl.gz", _bomb, "unpacks to more than 200 times its size"),
    ("bomb.parquet", _parquet_bomb, "unpacks to 2.3 GiB, more than 2 GiB"),
    ("rows.parquet", _parquet_rows, "unpacks to 3.0 GiB, more than 2 GiB"),
    ("cut.jsonl.gz", _bytes(gzip.compress(ROW * 1000)[:-10]), "is not a whole gzip file"),
    ("torn.jsonl.gz", _bytes(gzip.compress(os.urandom(5000))[:60] + bytes(100)), "is not a whole gzip file"),
    ("plain.jsonl.gz", _bytes(ROW), "is not a whole gzip file"),
    ("cut.parquet", _cut_parquet, "is not a whole Parquet file"),
    ("torn.parquet", _torn_parquet, "is not a whole Parquet file"),
    ("footer.parquet", _footer, "is not a whole Parquet file"),
    ("csv.parquet", _bytes("a,b\n1,2\n"), "is not a whole Parquet file"),
    ("parquet.csv", lambda path: _parquet(path), "is a Parquet file by its content, not .csv"),
    ("packed.jsonl", _bytes(gzip.compress(ROW)), "is a gzip file by its content, not .jsonl"),
    ("packed.txt", _bytes(bz2.compress(ROW)), "is a bzip2 file by its content, not .txt"),
    ("archive.zip", _zip, "Unpack it first"),
    ("archive.jsonl", _zip, "is a zip archive by its content"),
    ("archive.tar", _tar, "Unpack it first"),
    ("archive.tar.gz", _tar, "Unpack it first"),
    ("archive.jsonl.gz", _tar, "is a tar archive by its content"),
    ("rows.pkl", _bytes(b"\x80\x04\x95"), "Save the rows as JSON lines"),
    ("pickle.jsonl", _bytes(b"\x80\x04\x95\x10cposix\nsystem\n"), "is a pickle by its content"),
    ("table.xlsx", _zip, "Save it as CSV"),
    ("page.csv", _bytes("<!DOCTYPE html>\n<html><body>404, not found</body></html>\n"), "is a web page"),
    ("pointer.parquet", _bytes("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS"),
    ("folder.jsonl", lambda path: path.mkdir(), "The folder 'folder.jsonl' is empty"),
    ("pipe.jsonl", lambda path: os.mkfifo(path), "is not a file that can be read"),
    ("link.jsonl", _link, "outside of what tools may read"),
    ("links", _folder_of_links, "is empty"),
    ("cycle.jsonl", _cycle, "There is no dataset or file"),
    ("../outside/secret.jsonl", lambda path: None, "outside of what tools may read"),
    ("line\nbreak.jsonl", _bytes("oops\n"), "'line\\nbreak.jsonl' line 1: not JSON"),
]


def _state(folder: Path) -> dict[str, Any]:
    """Everything below a folder: names, links, sizes, times, and the bytes of small files."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        small = path.is_file() and not path.is_symlink() and stat.st_size < MEBI
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ino) + (
            (path.read_bytes(),) if small else ()
        )
    return found


@pytest.mark.parametrize(
    ("source", "make", "told"), CASES, ids=[ascii(name).strip("'") for name, _, _ in CASES]
)
def test_bad_input_is_one_clear_line(tmp_path: Path, source: str, make: Make, told: str) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    (outside / "secret.jsonl").write_text(json.dumps({"text": "not for you"}) + "\n")
    make(work / source)
    store = DatasetStore(tmp_path / "datasets", Files(work, work))
    before = _state(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ToolError) as caught:
            store.open(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    said = str(caught.value)
    assert told in said
    assert "\n" not in said and len(said) < 400 and "not for you" not in said
    assert _state(tmp_path) == before
    assert peak < 64 * MEBI, f"{peak / MEBI:.0f} MiB"


def test_there_are_as_many_as_the_docs_say() -> None:
    assert len(CASES) == len({name for name, _, _ in CASES}) >= 40


def _whole_files() -> dict[str, bytes]:
    """One sound file of each kind."""
    chat = [{"role": "user", "content": "hi"}]
    rows = pl.DataFrame(
        [{"text": f"row {n} ä", "n": n, "m": chat, "x": None if n % 3 else 1.5} for n in range(99)]
    )
    found = {"a.jsonl": rows.write_ndjson().encode(), "a.csv": rows.drop("m").write_csv().encode()}
    found["a.jsonl.gz"] = gzip.compress(found["a.jsonl"], mtime=0)
    found["a.json"] = json.dumps(rows.to_dicts()).encode()
    for name, write in (("a.parquet", rows.write_parquet), ("a.arrow", rows.write_ipc)):
        packed = io.BytesIO()
        write(packed)
        found[name] = packed.getvalue()
    return found


def _spoiled(whole: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, left out, put in or doubled."""
    data = bytearray(whole)
    odd = [b"\0", b'"', b"[[[[", b"\n", b"\xff\xff\xff\xff", b"1e400", b"NaN", b"\\ud800", b"9" * 50, b",,,"]
    for _ in range(draw.randint(1, 6)):
        at, kind = draw.randrange(max(1, len(data))), draw.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del data[at : at + draw.randint(1, 40)]
        elif kind == 2:
            data[at:at] = draw.choice(odd)
        else:
            data += data[at : at + draw.randint(1, 50)]
    return bytes(data)


SPOILED = int(os.environ.get("SPOILED_FILES", "40"))
"""Files of each kind; `SPOILED_FILES=2000` looks longer."""


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz", "a.json", "a.parquet", "a.arrow"])
def test_a_spoiled_file_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """Whole or in pieces: it may be sound by luck, but it never brings the process down."""
    whole, draw, path = _whole_files()[name], random.Random(name), tmp_path / name
    path.write_bytes(whole)
    assert read_path(path, name).rows.height == 99
    for _ in range(SPOILED):
        path.write_bytes(_spoiled(whole, draw))
        for read in (_read_whole, _read_in_pieces):
            try:
                read(path)
            except ToolError as error:
                assert "\n" not in str(error) and len(str(error)) < 500


def _read_whole(path: Path) -> None:
    read_path(path, path.name).rows.write_ndjson()


def _read_in_pieces(path: Path) -> None:
    if stream := stream_path(path, path.name):
        for piece in stream.pieces():
            piece.write_ndjson()
