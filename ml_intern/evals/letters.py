"""Texts as streams of letters, in which near copies meet: no case, no digits, no signs, no white space.

GPT-4's report compares benchmarks with training data in this way (OpenAI 2023, appendix C: spaces and symbols
taken out, substrings of 50 characters); here digits go too, so that an item with other numbers stays itself.
A stream is bytes, a row ends in a zero byte, and `windows` hashes every 16 bytes of it, which numpy does at
memory speed on machine words: no tokens, no language, no Python objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

WINDOW = 16
"""Letters in a window, two machine words; some four English words."""
STRIDE = 8
"""Letters between the windows that are looked at first: whatever shares 23 letters with an item is met."""
CELL = "\x01"
"""Stands between the texts of a row; no letter."""

Hashes: TypeAlias = NDArray[np.uint64]
Places: TypeAlias = NDArray[np.int64]

_ROW = "\x00"
_LOWER = bytes(c | 32 if 65 <= c <= 90 else c for c in range(256))
_NO_LETTER = bytes(c for c in range(1, 128) if not chr(c).isalpha())
_MIX = tuple(np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xFF51AFD7ED558CCD))
_BLANKS, _ONES, _TOPS = (np.uint64(c * 0x0101010101010101) for c in (0x20, 0x01, 0x80))
_29, _31 = np.uint64(29), np.uint64(31)
# What looks like a Latin letter and is none, the commonest of Unicode's confusables: Cyrillic, then Greek.
_LOOKS = dict(zip("асеіјорѕухԁһкмтвнαορυικντβ", "aceijopsyxdhkmtbhaopuikvtb", strict=True))


def streams(texts: pl.Series) -> bytes:
    """The letters of texts, each text's behind the other's and ended by a zero byte.

    Letters of other alphabets stay as their bytes in UTF-8, without accents.
    """
    return of(joined(texts))


def joined(texts: pl.Series) -> bytes:
    """Texts in plain letters as bytes, each behind the other and ended by a zero byte."""
    return raw(plain(texts))


def raw(texts: pl.Series) -> bytes:
    """Texts as bytes, each behind the other and ended by a zero byte, of which they have none themselves."""
    import polars as pl

    ended = pl.select(pl.concat_str([texts.fill_null(""), pl.lit(_ROW)])).to_series()
    # Arrow's own buffer of all texts: nothing is decoded or copied text by text.
    _, offsets, buffer = ended.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    last = int(np.frombuffer(offsets, np.int64, 1, texts.len() * 8)[0])
    data = bytes(memoryview(buffer)[:last]) if last else b""
    if len(data) - np.count_nonzero(np.frombuffer(data, np.uint8)) != texts.len():
        return raw(texts.str.replace_all(_ROW, CELL, literal=True))
    return data


def of(data: bytes) -> bytes:
    """The letters, and the zero bytes, of bytes as `joined` gives them."""
    return data.translate(_LOWER, _NO_LETTER)


def unbroken(data: bytes) -> Places:
    """Places of 16 bytes without a blank; every run of 31 bytes without one has such a place."""
    words = np.frombuffer(data, "<u8", len(data) // 16 * 2) ^ _BLANKS
    blank = (words - _ONES) & ~words & _TOPS
    found: Places = np.flatnonzero((blank[::2] | blank[1::2]) == 0) * 16
    return found


def plain(texts: pl.Series) -> pl.Series:
    """Texts with whatever is not ASCII brought to its plainest letters; what is ASCII is left as it is."""
    import polars as pl

    texts = texts.fill_null("")
    foreign = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if not foreign.len():
        return texts
    found = texts.gather(foreign).to_frame("text")
    # Signs and combining marks fall away; ASCII stays, as it says where cells and words end.
    letters = pl.col("text").str.normalize("NFKD").str.to_lowercase()
    letters = letters.str.replace_many(list(_LOOKS), list(_LOOKS.values()))
    return texts.scatter(
        foreign, found.select(letters.str.replace_all(r"[^\p{L}\x00-\x7f]+", "")).to_series()
    )


def windows(data: bytes) -> Hashes:
    """Hashes of every eighth window."""
    words = np.frombuffer(data, "<u8", len(data) // STRIDE)
    return _mixed(words[:-1], words[1:])


def all_windows(data: bytes) -> Hashes:
    """Hashes of the windows at every letter."""
    words = every_eight(data)
    return _mixed(words[:-STRIDE], words[STRIDE:])


def every_eight(data: bytes) -> Hashes:
    """The eight bytes from each place on, as one number each."""
    # A view whose items overlap; a copy of it is six times as fast as eight views laid side by side.
    return np.ndarray((max(0, len(data) - 7),), "<u8", data, strides=(1,)).copy()


def _mixed(first: Hashes, second: Hashes) -> Hashes:
    low, high = first * _MIX[0], second * _MIX[1]
    high ^= high >> _29
    low += high
    low *= _MIX[2]
    low ^= low >> _31
    return low


def ends(data: bytes) -> Places:
    """Where each text of a stream ends."""
    found: Places = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
    return found


def cells(frame: pl.DataFrame) -> pl.Series:
    """All texts of each row in one, nested ones too: columns, messages, structs."""
    import polars as pl

    parts = [flat for name in frame.columns if (flat := _flat(frame[name])) is not None]
    if not parts:
        return pl.Series("text", [""] * frame.height, dtype=pl.String)
    named = [part.rename(str(n)) for n, part in enumerate(parts)]
    return pl.DataFrame(named).select(pl.concat_str(pl.all(), separator=CELL, ignore_nulls=True)).to_series()


def _flat(column: pl.Series) -> pl.Series | None:
    """A column's texts, one for each row; None where it can have none."""
    import polars as pl

    kind: Any = column.dtype
    if kind == pl.String:
        return column
    if kind in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if kind == pl.Binary:
        return column.cast(pl.String, strict=False)
    if kind == pl.Struct:
        return cells(column.struct.unnest())
    if isinstance(kind, pl.Array):
        return _flat(column.arr.to_list())
    if isinstance(kind, pl.List):
        return _flat_list(column)
    if kind == pl.Object:
        return column.map_elements(str, return_dtype=pl.String)
    return None


def _flat_list(column: pl.Series) -> pl.Series | None:
    import polars as pl

    lengths = column.list.len().fill_null(0)
    # Lists of nothing are left out first: what explode() makes of them differs from version to version.
    flat = _flat(column.filter(lengths > 0).explode())
    if flat is None:
        return None
    rows = np.repeat(np.arange(column.len()), lengths.to_numpy())
    joined = pl.DataFrame({"row": rows, "text": flat}).group_by("row", maintain_order=True)
    every = pl.DataFrame({"row": np.arange(column.len())})
    found = every.join(joined.agg(pl.col("text").str.join(CELL)), on="row", how="left", maintain_order="left")
    return found["text"]
