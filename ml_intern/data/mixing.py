"""Put datasets together by weight."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ml_intern.data.results import MixedPart
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl


def shares(
    sizes: Mapping[str, int], weights: Mapping[str, float], rows: int | None, upsample: bool
) -> dict[str, int]:
    """Rows to take of each part.

    Args:
        sizes: Rows that each part has.
        weights: Parts of the mixture by weight; they need not add up to 1.
        rows: Rows of the mixture. Nothing means as many as the parts have, or, without upsampling, as many as
            the weights allow.
        upsample: Whether rows may be repeated.

    Raises:
        ToolError: A weight is not positive, or a part is too small and may not be repeated.
    """
    if bad := [name for name, weight in weights.items() if not weight > 0]:
        raise ToolError(f"The weight of {bad[0]!r} is {weights[bad[0]]:g}.", "Weights are above 0.")
    total = sum(weights.values())
    if rows is None:
        rows = (
            sum(sizes.values())
            if upsample
            else int(min(sizes[n] * total / w for n, w in weights.items()) + 1e-9)
        )
    wanted = {name: round(rows * weight / total) for name, weight in weights.items()}
    for name, count in wanted.items():
        if count > sizes[name] and not upsample:
            raise ToolError(
                f"{name!r} has {sizes[name]} rows, {count} are wanted.",
                "Ask for fewer, or set upsample=True.",
            )
        if count == 0:
            raise ToolError(
                f"{name!r} would get no row of {rows}.", "Raise its weight or the number of rows."
            )
    return wanted


def mix(parts: Mapping[str, pl.DataFrame], wanted: Mapping[str, int], seed: int) -> pl.DataFrame:
    """The mixture, in random order. Where a part is repeated, its rows come equally often, or once more.

    Raises:
        ToolError: The parts have different columns.
    """
    import polars as pl

    columns = common_columns(parts)
    drawn = [
        rows.select(columns)[_draw(rows.height, wanted[name], f"{seed} {name}")]
        for name, rows in parts.items()
    ]
    try:
        mixed = pl.concat(drawn, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise ToolError(f"The parts do not go together: {str(error).splitlines()[0]}.") from None
    order = list(range(mixed.height))
    random.Random(seed).shuffle(order)
    return mixed[order]


def counted(sizes: Mapping[str, int], wanted: Mapping[str, int]) -> list[MixedPart]:
    """What is taken of each part, and how often its rows are repeated."""
    total = sum(wanted.values())
    return [
        MixedPart(
            source=name,
            available=sizes[name],
            rows=count,
            different=min(count, sizes[name]),
            most=-(-count // sizes[name]),
            share=round(count / total, 4),
        )
        for name, count in wanted.items()
    ]


def told(part: MixedPart) -> str:
    """One part in a sentence."""
    if part.most < 2:
        return f"{part.source}: {part.rows} of {part.available} rows, {part.share:.1%} of the mixture."
    again = part.rows - part.different
    return (
        f"{part.source}: {part.available} rows became {part.rows}, {part.share:.1%} of the mixture:"
        f" {again} are repeats, a row stands there up to {part.most} times."
    )


def common_columns(parts: Mapping[str, pl.DataFrame]) -> list[str]:
    """The columns that all parts have.

    Raises:
        ToolError: There are none, or what one part is made of another one lacks.
    """
    first, *others = parts.values()
    common = [name for name in first.columns if all(name in rows.columns for rows in others)]
    content = {"text", "messages", "prompt", "chosen"} & set(common)
    alike = all(set(rows.columns) == set(common) for rows in parts.values())
    if not common or not (content or alike):
        shown = "; ".join(f"{name} has {', '.join(rows.columns)}" for name, rows in parts.items())
        raise ToolError(
            f"The parts have different columns: {shown}.", "Bring them into one format with reformat_dataset."
        )
    return common


def _draw(size: int, count: int, seed: str) -> list[int]:
    rounds, rest = divmod(count, size)
    return [*range(size)] * rounds + random.Random(seed).sample(range(size), rest)
