"""The tensors of a model folder, read in pieces: no more than a few megabytes are in memory at one time."""

from __future__ import annotations

import builtins
import hashlib
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_intern.errors import ToolError

Floats = npt.NDArray[np.float32]

PIECE = 1 << 20
"""Values that are read at one time."""

_HEADER_LIMIT = 100_000_000
_WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor of floats stands in its file.

    Attributes:
        name: As its file calls it.
        file: The file.
        start: First byte.
        dtype: As safetensors writes it: ``F32``, ``BF16`` …
        shape: Its shape.
    """

    name: str
    file: Path
    start: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Values in it."""
        return math.prod(self.shape)

    def read(self, first: int, last: int) -> Floats:
        """The values from one position to another, row by row."""
        return self.floats(self.bytes(first, last))

    def bytes(self, first: int, last: int) -> builtins.bytes:
        """The same as they stand in the file."""
        width = _WIDTH[self.dtype]
        with self.file.open("rb") as opened:
            opened.seek(self.start + first * width)
            return opened.read((last - first) * width)

    def floats(self, data: builtins.bytes) -> Floats:
        """What bytes of it say."""
        return _floats(data, self.dtype)

    def pieces(self, size: int | None = None) -> Iterator[Floats]:
        """All values in order, or the first `size` of them."""
        end = self.size if size is None else min(size, self.size)
        for first in range(0, end, PIECE):
            yield self.read(first, min(first + PIECE, end))


def tensors(folder: Path) -> list[Tensor]:
    """The tensors of floats in a folder's safetensors files.

    Raises:
        ToolError: A file is not what it seems.
    """
    found: list[Tensor] = []
    for file in sorted(folder.glob("*.safetensors")):
        try:
            found += _in_file(file)
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise ToolError(f"{file.name} cannot be read as safetensors: {error}.") from None
    return found


def _in_file(file: Path) -> Iterator[Tensor]:
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > _HEADER_LIMIT:
            raise ValueError("the header is too long")
        header: dict[str, Any] = json.loads(opened.read(length))
    total = file.stat().st_size
    for name, told in header.items():
        if name == "__metadata__" or told["dtype"] not in _WIDTH:
            continue
        first, last = told["data_offsets"]
        shape = tuple(int(n) for n in told["shape"])
        whole = last - first == math.prod(shape) * _WIDTH[told["dtype"]] and 8 + length + last <= total
        if not whole or first < 0 or min(shape, default=0) < 0:
            raise ValueError(f"the tensor {name[:60]} is not where the header says")
        yield Tensor(name, file, 8 + length + first, told["dtype"], shape)


def _floats(data: bytes, dtype: str) -> Floats:
    if dtype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    if dtype.startswith("F8"):
        return _eight_bits(dtype)[np.frombuffer(data, np.uint8)]
    kind = {"F64": np.float64, "F32": np.float32, "F16": np.float16}[dtype]
    with np.errstate(over="ignore"):
        return np.frombuffer(data, kind).astype(np.float32, copy=False)


def rounded(values: Floats, dtype: str) -> Floats:
    """Values as they are once a file has kept them in another type; of types with many bits as they are."""
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        nearest = bits + 0x7FFF + ((bits >> 16) & 1)  # to the nearest, halves to the even one
        return (nearest & np.uint32(0xFFFF0000)).view(np.float32)
    return values


@lru_cache(maxsize=2)
def _eight_bits(dtype: str) -> Floats:
    """What each byte says as a float of eight bits (OCP FP8: E4M3 or E5M2)."""
    exponents, fractions = (4, 3) if dtype == "F8_E4M3" else (5, 2)
    bits = np.arange(256)
    sign = np.where(bits >> 7, -1.0, 1.0)
    exponent, fraction = (bits >> fractions) & ((1 << exponents) - 1), bits & ((1 << fractions) - 1)
    bias = (1 << (exponents - 1)) - 1
    normal = (1 + fraction / 2**fractions) * 2.0 ** (exponent - bias)
    small = fraction / 2**fractions * 2.0 ** (1 - bias)
    found: Floats = (sign * np.where(exponent == 0, small, normal)).astype(np.float32)
    return found


def weights_hash(folder: Path) -> str:
    """One hash over the weights of a folder, the same that a recipe takes of its base; kept while they stay.

    Returns:
        sha256 over all safetensors files in the order of their names; empty where there are none.
    """
    files = sorted(f for f in folder.glob("*.safetensors") if f.is_file())
    seen = []
    for file in files:
        stat = file.stat()
        seen.append((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return _hashed(tuple(seen)) if seen else ""


@lru_cache(maxsize=64)
def _hashed(files: tuple[tuple[str, int, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, *_ in files:
        with Path(name).open("rb") as opened:
            while piece := opened.read(1 << 22):
                digest.update(piece)
    return digest.hexdigest()
