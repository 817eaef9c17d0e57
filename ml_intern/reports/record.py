"""What the journal tells a report: what was refused or failed, what was read, what was spent."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.papers.ids import try_id

MOST = 200
_GUARDED = re.compile(r"hold items of|held-out item|held out|sealed evaluation|is an evaluation's")
_PAPERS = ("read_paper", "extract_recipe", "citation_graph", "find_paper_resources")
"""Tools whose `id` is a paper's; their results have its title."""

_REFUSED = """
select json_extract(payload, '$.tool'), json_extract(payload, '$.message'), json_extract(payload, '$.denied')
from journal where kind = 'refusal' order by seq limit ?"""
# What `instr` leaves out is never parsed: a long session has a hundred megabytes of results.
_FAILED = """
select json_extract(payload, '$.call'), json_extract(payload, '$.message'), json_extract(payload, '$.denied')
from journal where kind = 'result' and instr(payload, 'false') > 0 and json_extract(payload, '$.ok') = 0
order by seq limit ?"""
_SPENT = """
select json_extract(payload, '$.budget.spent') from journal
where kind in ('result', 'finished') and json_extract(payload, '$.budget.spent') is not null
order by seq desc limit 1"""
_ANSWER = """
select coalesce(json_extract(payload, '$.answer'), '') from journal where kind = 'finished'
order by seq desc limit 1"""
_CALLED = """
select json_extract(payload, '$.call'), json_extract(payload, '$.tool'),
       json_extract(payload, '$.arguments.id')
from journal where kind = 'intent' order by seq"""
_TITLES = """
select json_extract(payload, '$.call'),
       coalesce(json_extract(payload, '$.value.title'), json_extract(payload, '$.value.root.title'))
from journal where kind = 'result' and instr(payload, '"title"') > 0 and json_extract(payload, '$.ok') = 1
order by seq"""
_NOTES = """
select json_extract(payload, '$.call'), json_extract(payload, '$.value.notes'),
       json_extract(payload, '$.value.dropped_duplicates')
from journal where kind = 'result'
and (instr(payload, 'held out') > 0 or instr(payload, 'dropped_duplicates') > 0)
order by seq limit ?"""


@dataclass(frozen=True)
class Refused:
    """A call that came to nothing: with `denied` the gate or a person said no."""

    tool: str
    message: str
    denied: bool


@dataclass
class Record:
    """What the journal tells.

    Attributes:
        refused: Calls that were denied, refused or failed, oldest first, repeated ones once.
        guarded: Those of them that the guard of the sealed evaluations stopped.
        dropped: Rows that were left out since they are held out, in words.
        papers: Titles of the papers that were read, by their ids.
        spent: By unit: ``usd``, ``tokens``, ``gpu_hours``, ``seconds``, ``jobs``.
        cells: Cells that ran.
        answer: The last one, with its marks; empty while the session has not ended.
    """

    refused: list[Refused] = field(default_factory=list)
    guarded: list[Refused] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    papers: dict[str, str] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    cells: int = 0
    answer: str = ""


def read_record(path: Path) -> Record:
    """Read a journal without changing it; what cannot be read is left out."""
    if not path.is_file():
        return Record()
    try:
        # Without its -wal nobody has it open, and a reader need not leave one behind either.
        still = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True)) as db:
            db.text_factory = lambda data: data.decode("utf-8", "replace")
            return _collected(db)
    except sqlite3.Error:
        return Record()


def _collected(db: sqlite3.Connection) -> Record:
    called = {str(call): (str(tool or ""), id) for call, tool, id in db.execute(_CALLED)}
    wrong = db.execute(_FAILED, (MOST,)).fetchall()
    failed = [(called.get(str(call), ("",))[0], told, no) for call, told, no in wrong]
    rows = [*db.execute(_REFUSED, (MOST,)), *failed]
    refused = list(dict.fromkeys(Refused(str(t or ""), str(m or ""), bool(d)) for t, m, d in rows))
    found = Record(
        refused=[r for r in refused if not _GUARDED.search(r.message)],
        guarded=[r for r in refused if _GUARDED.search(r.message)],
        papers=_papers(called, {str(call) for call, *_ in wrong}, dict(db.execute(_TITLES))),
        cells=int(db.execute("select count(*) from journal where kind = 'cell_done'").fetchone()[0]),
    )
    noted = [(called.get(str(call), ("",))[0], *told) for call, *told in db.execute(_NOTES, (MOST,))]
    found.dropped = list(dict.fromkeys(words for row in noted for words in _words(*row)))
    spent = db.execute(_SPENT).fetchone()
    ended = db.execute(_ANSWER).fetchone()
    found.answer = str(ended[0]) if ended else ""
    told = _json(spent[0]) if spent else None
    if isinstance(told, dict):
        found.spent = {str(k): float(v) for k, v in told.items() if isinstance(v, int | float)}
    return found


def _papers(called: dict[str, tuple[str, Any]], failed: set[str], titles: dict[Any, Any]) -> dict[str, str]:
    """Papers that a tool has found, each once, whatever its version and however it was written."""
    found: dict[str, tuple[str, str]] = {}
    for call, (tool, given) in called.items():
        id = try_id(str(given)) if given and tool in _PAPERS and call not in failed else None
        if id is not None and len(found) < MOST:
            known = found.get(id.key, (str(id), ""))
            found[id.key] = (known[0], known[1] or str(titles.get(call) or ""))
    return dict(found.values())


def _words(tool: str, notes: str | None, dropped: Any) -> list[str]:
    told = _json(notes)
    found = [str(n) for n in told if "held out" in str(n)] if isinstance(told, list) else []
    if isinstance(dropped, int) and dropped > 0:
        found.append(f"{tool} left out {dropped} training rows that repeat a held-out one.")
    return found


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
