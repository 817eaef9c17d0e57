"""What the dataset viewer answers, with what may be missing left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_intern.papers.values import Raw, part, rows, text, texts, whole


@dataclass(frozen=True)
class Valid:
    """What the viewer can do with a dataset."""

    preview: bool = False
    viewer: bool = False
    search: bool = False
    filter: bool = False
    statistics: bool = False


@dataclass(frozen=True)
class SplitName:
    """A split of a subset ("config")."""

    config: str
    split: str

    def __str__(self) -> str:
        return f"{self.config}/{self.split}"


@dataclass(frozen=True)
class Splits:
    """The splits of a dataset; `failed` subsets could not be read, `pending` ones are being read."""

    splits: list[SplitName]
    pending: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Rows:
    """Some rows.

    Attributes:
        features: Column to type, as `datasets` writes types.
        rows: The rows.
        numbers: Of each its number in the split.
        cut: Columns with a cell that was cut, in any of the rows.
        total: Rows of the split, or of all that was found; None where nobody said.
        partial: Only the first part of the split is known to the viewer.
    """

    features: Mapping[str, Any]
    rows: list[dict[str, Any]]
    numbers: list[int]
    cut: frozenset[str] = frozenset()
    total: int | None = None
    partial: bool = False


@dataclass(frozen=True)
class Amount:
    """How large a dataset, a subset or a split is; `config` and `split` say which."""

    rows: int
    bytes: int
    columns: int | None = None
    config: str = ""
    split: str = ""
    estimated_rows: int | None = None


@dataclass(frozen=True)
class Size:
    """How large all is and its parts are."""

    whole: Amount
    configs: list[Amount]
    splits: list[Amount]
    partial: bool = False
    pending: int = 0
    failed: int = 0


@dataclass(frozen=True)
class ColumnStatistics:
    """What the values of a column are like; what does not fit its kind is None or empty.

    Attributes:
        kind: ``int``, ``float``, ``string_text``, ``class_label``, ``bool``, ``datetime``, ``image`` …
        missing: Share of rows without a value.
        low: Least value, shortest text, smallest image.
        high: The other end.
        frequencies: How often each value stands there.
        histogram: Counts, and the edges between them.
    """

    name: str
    kind: str
    missing: float
    low: float | str | None = None
    high: float | str | None = None
    mean: float | str | None = None
    median: float | str | None = None
    deviation: float | str | None = None
    frequencies: Mapping[str, int] = field(default_factory=dict)
    histogram: tuple[list[int], list[Any]] = ((), ())  # type: ignore[assignment]


@dataclass(frozen=True)
class Statistics:
    """What the columns of a split are like, over `examples` rows."""

    examples: int
    columns: list[ColumnStatistics]
    partial: bool = False


@dataclass(frozen=True)
class ParquetFile:
    """A file of rows that the viewer has made."""

    config: str
    split: str
    url: str
    filename: str
    size: int


@dataclass(frozen=True)
class ParquetFiles:
    """All of them."""

    files: list[ParquetFile]
    partial: bool = False
    pending: int = 0
    failed: int = 0


@dataclass(frozen=True)
class ConfigInfo:
    """What is known of a subset. `splits` has the rows of each."""

    config: str
    features: Mapping[str, Any]
    splits: Mapping[str, int]
    description: str = ""
    license: str = ""


@dataclass(frozen=True)
class Info:
    """What is known of a dataset's subsets."""

    configs: list[ConfigInfo]
    partial: bool = False
    pending: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Scanned:
    """What a scan of rows has counted: addresses whose owners object, or personal data."""

    columns: list[str]
    counts: Mapping[str, int]
    rows: int
    full: bool


def valid_of(data: Raw) -> Valid:
    """/is-valid."""
    return Valid(**{name: data.get(name) is True for name in Valid.__dataclass_fields__})


def splits_of(data: Raw) -> Splits:
    """/splits."""
    named = [SplitName(str(r["config"]), str(r["split"])) for r in rows(data.get("splits")) if _names(r)]
    return Splits(named, *_waiting(data))


def rows_of(data: Raw) -> Rows:
    """/first-rows, /rows, /search and /filter."""
    features = {str(f.get("name")): f.get("type") for f in rows(data.get("features"))}
    found = [r for r in rows(data.get("rows")) if isinstance(r.get("row"), dict)]
    cut = frozenset(str(name) for r in found for name in _list(r.get("truncated_cells")))
    numbers = [whole(r.get("row_idx")) or 0 for r in found]
    partial = data.get("partial") is True or data.get("truncated") is True
    return Rows(features, [r["row"] for r in found], numbers, cut, whole(data.get("num_rows_total")), partial)


def size_of(data: Raw) -> Size:
    """/size of a dataset, or of one subset."""
    size = part(data, "size")
    configs = [
        *rows(size.get("configs")),
        *([size["config"]] if isinstance(size.get("config"), dict) else []),
    ]
    of_all = size.get("dataset") if isinstance(size.get("dataset"), dict) else {}
    parts = [_amount(row) for row in configs]
    total = _amount(of_all) if of_all else parts[0] if parts else Amount(0, 0)
    splits = [_amount(row) for row in rows(size.get("splits"))]
    return Size(total, parts, splits, data.get("partial") is True, *_waiting(data))


def statistics_of(data: Raw) -> Statistics:
    """/statistics."""
    columns = [_column(row) for row in rows(data.get("statistics"))]
    return Statistics(whole(data.get("num_examples")) or 0, columns, data.get("partial") is True)


def parquet_of(data: Raw) -> ParquetFiles:
    """/parquet."""
    files = [_file(row) for row in rows(data.get("parquet_files")) if _names(row)]
    return ParquetFiles(files, data.get("partial") is True, *_waiting(data))


def info_of(data: Raw, config: str = "") -> Info:
    """/info: of all subsets by their names, or of the one that was asked for."""
    found = part(data, "dataset_info")
    single = "features" in found and ("config_name" in found or "splits" in found)
    each = {config or text(found.get("config_name")) or "default": found} if single else found
    configs = [_config(str(name), row) for name, row in each.items() if isinstance(row, dict)]
    return Info(configs, data.get("partial") is True, *_waiting(data))


def scanned_of(data: Raw) -> Scanned:
    """/opt-in-out-urls and /presidio-entities."""
    columns = texts(data.get("urls_columns")) or texts(data.get("scanned_columns"))
    named = {k.removeprefix("num_"): whole(v) for k, v in data.items() if k.startswith("num_")}
    counts = {name: count for name, count in named.items() if count is not None}
    return Scanned(columns, counts, whole(data.get("num_scanned_rows")) or 0, data.get("full_scan") is True)


def _file(row: Raw) -> ParquetFile:
    where = str(row["config"]), str(row["split"])
    return ParquetFile(*where, text(row.get("url")), text(row.get("filename")), whole(row.get("size")) or 0)


def _amount(row: Raw) -> Amount:
    size = whole(row.get("num_bytes_original_files")) or whole(row.get("num_bytes_parquet_files")) or 0
    return Amount(
        rows=whole(row.get("num_rows")) or 0,
        bytes=size,
        columns=whole(row.get("num_columns")),
        config=text(row.get("config")),
        split=text(row.get("split")),
        estimated_rows=whole(row.get("estimated_num_rows")),
    )


def _column(row: Raw) -> ColumnStatistics:
    known = part(row, "column_statistics")
    drawn = part(known, "histogram")
    share = known.get("nan_proportion")
    return ColumnStatistics(
        name=text(row.get("column_name")),
        kind=text(row.get("column_type")),
        missing=float(share) if isinstance(share, int | float) else 0.0,
        low=_value(known.get("min")),
        high=_value(known.get("max")),
        mean=_value(known.get("mean")),
        median=_value(known.get("median")),
        deviation=_value(known.get("std")),
        frequencies={str(k): n for k, v in part(known, "frequencies").items() if (n := whole(v)) is not None},
        histogram=([whole(n) or 0 for n in _list(drawn.get("hist"))], _list(drawn.get("bin_edges"))),
    )


def _config(name: str, row: Raw) -> ConfigInfo:
    splits = part(row, "splits")
    counts = {k: whole(v.get("num_examples")) or 0 for k, v in splits.items() if isinstance(v, dict)}
    features = row.get("features")
    return ConfigInfo(
        config=name,
        features=features if isinstance(features, dict) else {},
        splits=counts,
        description=text(row.get("description")),
        license=text(row.get("license")),
    )


def _waiting(data: Raw) -> tuple[int, int]:
    return len(_list(data.get("pending"))), len(_list(data.get("failed")))


def _names(row: Raw) -> bool:
    return isinstance(row.get("config"), str) and isinstance(row.get("split"), str)


def _value(value: Any) -> float | str | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
