"""How like the weights of two models are, whatever the second one's tensors are called and however stored.

The distance is the relative L2 distance of the shared parameters, ``|a - b| / |b|`` over all tensors of
two or more dimensions that are found in both. Vectors are left out: scales of norms are near one in every
model and biases near zero, so that they would make strangers look alike.

Tensors are paired by name and shape where that fits, else by content: by a sample of values at fixed places.
That finds tensors that were renamed or whose layers changed their order, were cast to another type, have a
little noise added, lack a layer, or have a vocabulary that was cut or padded (the rows that both have are
held together). What it does not see: neurons put into another order inside of a layer, and tensors that were
turned round; both leave a model that computes the same, and both need code that somebody wrote for that.

Source of the thresholds: the tests' own simulation (`tests/hub/test_likeness.py`). Two models from different
seeds are 1.3 to 1.5 apart, as uncorrelated values give the root of two; values that were only rounded to
bfloat16 are 0.0017 from what they were, to eight bits (E4M3) 0.03.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_intern.hub.weights import PIECE, Floats, Tensor, rounded, tensors

SAMPLE = 1024
RUNS = 8
"""Values of a tensor by which it is known, and in how many runs they are read."""

RELATED = 0.5
"""A sampled distance below which two tensors are held to come from one another; strangers are 1.4 apart."""

_LEAST = 64
"""Values below which a tensor is too small to be known by its content."""


@dataclass(frozen=True)
class Likeness:
    """How like a model is to another.

    Attributes:
        distance: ``|a - b| / |b|`` over what is shared; 0 is a copy, 1.4 is a stranger; None where nothing is
            shared.
        shared: Share of the first model's parameters that was found in the second.
        renamed: Tensors that have another name there.
        exact: Whether all of the first model is in the second, value by value.
        typical: The distance by samples, the median over all parameters: a few rows of large numbers that
            somebody has put in do not change it.
    """

    distance: float | None
    shared: float
    renamed: int = 0
    exact: bool = False
    typical: float | None = None

    @property
    def nearest(self) -> float | None:
        """The smaller of the two distances."""
        known = [d for d in (self.distance, self.typical) if d is not None and d == d]
        return min(known, default=None)


def likeness(a: Path, b: Path) -> Likeness:
    """Hold the weights of two folders together.

    Args:
        a: The model that is asked about.
        b: The one that it may be a copy of.

    Raises:
        ToolError: A file is no safetensors.
    """
    left, right = _matrices(a), _matrices(b)
    pairs = paired(left, right)
    total = sum(t.size for t in left)
    if not pairs or not total:
        return Likeness(None, 0.0)
    apart = length = 0.0
    shared = 0
    for mine, theirs in pairs:
        square, norm, size = _apart(mine, theirs)
        apart, length, shared = apart + square, length + norm, shared + size
    distance = math.sqrt(apart / length) if length > 0 else (0.0 if apart == 0 else math.inf)
    renamed = sum(mine.name != theirs.name for mine, theirs in pairs)
    exact = apart == 0 and shared == total and _same_vectors(a, b)
    return Likeness(distance, shared / total, renamed, exact, _typical(pairs))


def paired(left: Sequence[Tensor], right: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Which tensor of one model is which of another: by name where that fits, else by content."""
    by_name = {t.name: t for t in right}
    same = [(t, by_name[t.name]) for t in left if t.name in by_name and _fits(t, by_name[t.name])]
    like = [(t, o) for t, o in same if sampled(t, o) < RELATED]
    if len(like) == len(left):
        return like
    sure = {id(t) for t, _ in like}
    taken = {id(o) for _, o in like}
    found = like + _by_content(
        [t for t in left if id(t) not in sure], [o for o in right if id(o) not in taken]
    )
    if len(found) > len(like):
        return found
    # Nothing is like anything: the distance of what has the same name and shape says how far apart they are.
    return like + [(t, o) for t, o in same if id(t) not in sure and id(o) not in taken]


def sampled(a: Tensor, b: Tensor) -> float:
    """The relative distance of two tensors by runs of values that both have.

    The median over the runs: rows that somebody has put in at a few places do not make a copy a stranger.
    """
    size = _common(a, b)
    run = min(size, max(1, SAMPLE // RUNS))
    starts = sorted({round(i * (size - run) / (RUNS - 1)) for i in range(RUNS)})
    pieces = ((a.read(s, s + run), rounded(b.read(s, s + run), a.dtype)) for s in starts)
    return float(np.median([_relative(mine, theirs) for mine, theirs in pieces]))


def _typical(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The median of the sampled distances, each tensor counted by its size."""
    apart = sorted((sampled(mine, theirs), mine.size) for mine, theirs in pairs)
    half, reached = sum(size for _, size in apart) / 2, 0
    for distance, size in apart:
        reached += size
        if reached >= half:
            return distance
    return apart[-1][0]


def _matrices(folder: Path) -> list[Tensor]:
    found = [t for t in tensors(folder) if t.size >= _LEAST]
    return [t for t in found if len(t.shape) >= 2] or found


def _fits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors can be held together: one shape, or one width with another number of rows."""
    return len(a.shape) == len(b.shape) and a.shape[1:] == b.shape[1:] and min(a.shape[0], b.shape[0]) > 0


def _same_vectors(a: Path, b: Path) -> bool:
    """Whether vectors of one name and size are the same: a norm or a bias may be all that was trained."""
    theirs = {t.name: t for t in tensors(b)}
    mine = [
        t for t in tensors(a) if len(t.shape) < 2 and t.name in theirs and theirs[t.name].shape == t.shape
    ]
    return all(_apart(t, theirs[t.name])[0] == 0 for t in mine)


def _common(a: Tensor, b: Tensor) -> int:
    return min(a.size, b.size)


def _by_content(left: Sequence[Tensor], right: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The nearest partner of each tensor among those of its width: each once, the nearest pairs first."""
    near: list[tuple[float, int, int]] = []
    groups: dict[tuple[int, ...], list[int]] = {}
    for j, other in enumerate(right):
        groups.setdefault((len(other.shape), *other.shape[1:]), []).append(j)
    for i, tensor in enumerate(left):
        candidates = groups.get((len(tensor.shape), *tensor.shape[1:]), [])
        near += [(d, i, j) for j in candidates if (d := sampled(tensor, right[j])) < RELATED]
    pairs, used_left, used_right = [], set(), set()
    for _, i, j in sorted(near):
        if i not in used_left and j not in used_right:
            used_left.add(i)
            used_right.add(j)
            pairs.append((left[i], right[j]))
    return pairs


def _relative(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    length = float(np.dot(b, b))
    apart = float(np.dot(a - b, a - b))
    if not math.isfinite(length + apart):
        return math.inf
    if length == 0:
        return 0.0 if apart == 0 else math.inf
    return math.sqrt(apart / length)


def _apart(a: Tensor, b: Tensor) -> tuple[float, float, int]:
    """Squared distance, squared length of the second, and values that both have.

    Where the first is stored in fewer bits, the second is rounded to them: that is no training.
    """
    size = _common(a, b)
    apart = length = 0.0
    for first in range(0, size, PIECE):
        last = min(first + PIECE, size)
        told, known = a.bytes(first, last), b.bytes(first, last)
        theirs = b.floats(known)
        if a.dtype != b.dtype:
            theirs = rounded(theirs, a.dtype)
        length += _square(theirs)
        if a.dtype != b.dtype or told != known:  # most of a copy is the same byte by byte
            apart += _square(a.floats(told) - theirs)
    return apart, length, size


def _square(values: Floats) -> float:
    """The sum of squares, in double precision where it might not fit otherwise; what is not finite is far."""
    total = float(np.dot(values, values))
    if math.isfinite(total):
        return total
    wide = values.astype(np.float64)
    return float(np.dot(wide, wide)) if np.isfinite(wide).all() else math.inf
