"""The ledger and the courses of jobs as pandas tables. pandas is imported when somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.jobs.curves import is_number, rows

if TYPE_CHECKING:
    import pandas

    from ml_intern.ledger import Experiment

_TYPES = {
    "id": "string",
    "change": "string",
    "hypothesis": "string",
    "parent": "string",
    "verdict": "string",
    "seed": "Int64",
    "replicates": "string",
}
_LAST = {"cost": "Float64", "seconds": "float64", "job": "string", "notes": "string"}


def experiments(ledger: Sequence[Experiment]) -> pandas.DataFrame:
    """A row for each experiment, oldest first; the columns are there also where no row is.

    Returns:
        ``id, change, hypothesis, parent, verdict, seed, replicates``; for each metric of the dev split
        ``NAME, NAME_low, NAME_high`` (value and 95 % interval), then those of the test split as
        ``test_NAME…``; ``cost`` in dollars (missing where a price is not known), ``seconds``, ``job`` (its
        newest) and ``notes``.
    """
    import pandas

    measured = _measured(ledger)
    table = [
        {
            **{name: getattr(e, name) for name in _TYPES},
            **{column: _value(e, split, name, end) for column, (split, name, end) in measured.items()},
            "cost": e.cost.usd,
            "seconds": e.cost.seconds,
            "job": e.jobs[-1] if e.jobs else None,
            "notes": e.notes,
        }
        for e in ledger
    ]
    types = {**_TYPES, **dict.fromkeys(measured, "float64"), **_LAST}
    return pandas.DataFrame(table, columns=list(types)).astype(types)


def metrics(session: Path) -> pandas.DataFrame:
    """What the jobs of a session have told: a row for each step of each job, a column for each metric."""
    import pandas

    table = [
        {"job": job, "step": row["step"], **{k: float(v) for k, v in row.items() if _is_metric(k, v)}}
        for job, found in courses(session)
        for row in found
    ]
    columns = list(dict.fromkeys(["job", "step", *(name for row in table for name in row)]))
    types = dict.fromkeys(columns, "float64") | {"job": "string", "step": "int64"}
    return pandas.DataFrame(table, columns=columns).astype(types)


def courses(session: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The jobs of a session, oldest first, with the rows of their metrics."""
    paths = [path for path in session.glob("jobs/*/metrics.jsonl") if path.is_file()]
    for path in sorted(paths, key=lambda path: (path.stat().st_ctime, path.parent.name)):
        yield path.parent.name, rows(path)


def _is_metric(name: str, value: Any) -> bool:
    return name not in ("step", "total_steps", "job") and is_number(value)


def _measured(ledger: Sequence[Experiment]) -> dict[str, tuple[str, str, str]]:
    """Columns of measured values, with split, metric and end of the interval; no name is taken twice."""
    found: dict[str, tuple[str, str, str]] = {}
    for split in ("dev", "test"):
        for name in dict.fromkeys(name for e in ledger for name in getattr(e, split)):
            for end in ("value", "low", "high"):
                column = f"{'test_' if split == 'test' else ''}{name}{'' if end == 'value' else f'_{end}'}"
                while column in found or column in _TYPES or column in _LAST:
                    column = f"{split}_{column}"
                found[column] = (split, name, end)
    return found


def _value(e: Experiment, split: str, name: str, end: str) -> float | None:
    measured = getattr(e, split).get(name)
    return None if measured is None else getattr(measured, end)
