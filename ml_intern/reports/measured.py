"""What a session has measured and spent, as JSON: for who checks a text against it, or draws it anew.

No item of a sealed evaluation is in it, and nothing that a model wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_intern.ledger import Ledger
from ml_intern.reports.story import Data, Job, read_story


def measured(folder: Path) -> dict[str, Any]:
    """The session's ledger and what belongs to it; every key is there, also where nothing was measured.

    Args:
        folder: The session's folder. Nothing is written into it.

    Returns:
        ``experiments``, ``comparisons`` and those that were ``replaced``, ``best`` (an id or None),
        ``scorings`` (each with its `voting` where there were several samples), ``jobs`` (each with the
        ``last`` value of its metrics), ``datasets``, ``spent`` by unit and ``answer``.
    """
    if not (folder / "ledger.sqlite").is_file():
        lists = ("experiments", "comparisons", "replaced", "scorings", "jobs", "datasets")
        return {**{name: [] for name in lists}, "best": None, "spent": {}, "answer": ""}
    story = read_story(folder)
    return {
        "experiments": [e.model_dump(mode="json") for e in story.experiments],
        "comparisons": [c.model_dump(mode="json") for c in story.comparisons],
        "replaced": [c.model_dump(mode="json") for c in story.replaced],
        "best": story.best.id if story.best else None,
        "scorings": _scorings(folder),
        "jobs": [_job(job, story.metrics.get(job.id, ())) for job in story.jobs],
        "datasets": [_data(data) for data in story.data],
        "spent": {name: value for name, value in story.record.spent.items() if value},
        "answer": story.record.answer,
    }


def _scorings(folder: Path) -> list[dict[str, Any]]:
    ledger = Ledger(folder / "ledger.sqlite")
    try:
        return [s.model_dump(mode="json", exclude={"samples"}) for s in ledger.scores()]
    finally:
        ledger.close()


def _job(job: Job, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for row in rows:
        last.update(row)
    return {"id": job.id, "method": job.method, "state": job.state, "seconds": job.seconds, "last": last}


def _data(data: Data) -> dict[str, Any]:
    told = ("id", "rows", "rows_before", "operation", "parents", "sha256")
    return {name: getattr(data, name) for name in told}
