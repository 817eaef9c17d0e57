"""Numbers of papers that were read: told beside the paper's id they are the paper's, never ours."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ml_intern.claims.evidence import inside
from ml_intern.hub.claims import PAPER_IDS, HasNumbers, claims, unresolved
from ml_intern.papers.ids import try_id

TOLD = "(numbers beside the id of a paper are that paper's)"
MOST = 200

# What `instr` leaves out is never parsed: a long session has a hundred megabytes of results.
_ASKED = """
select json_extract(payload, '$.call'), json_extract(payload, '$.arguments.id') from journal
where kind = 'intent' and (instr(payload, 'read_paper') > 0 or instr(payload, 'extract_recipe') > 0)
and json_extract(payload, '$.tool') in ('read_paper', 'extract_recipe') order by seq"""
_READ = """
select json_extract(payload, '$.call'), json_extract(payload, '$.value') from journal
where kind = 'result' and instr(payload, '"title"') > 0 and json_extract(payload, '$.ok') = 1 order by seq"""
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_OURS = re.compile(r"\b(?:we|us|our|ours|i|my|it|its|this|these|here|now|exp-\d+)\b", re.I)
"""Words by which a sentence may speak of our own model: then nothing is a paper's."""


@dataclass(frozen=True)
class Papers:
    """The papers that a session has read.

    Attributes:
        titles: By id, in the order in which they were read.
        numbers: By the id's key, the numbers of what was read of it.
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, frozenset[float]] = field(default_factory=dict)


def papers_read(path: Path) -> Papers:
    """What a journal tells of them; nothing where it cannot be read."""
    if not path.is_file():
        return Papers()
    try:
        # Without its -wal nobody has it open, and a reader need not leave one behind either.
        still = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True)) as db:
            db.text_factory = lambda data: data.decode("utf-8", "replace")
            asked = {call: str(id or "") for call, id in db.execute(_ASKED)}
            return _collected((asked[call], value) for call, value in db.execute(_READ) if call in asked)
    except sqlite3.Error:
        return Papers()


def _collected(read: Iterable[tuple[str, str]]) -> Papers:
    names: dict[str, tuple[str, str]] = {}
    numbers: dict[str, set[float]] = {}
    for given, value in read:
        id = try_id(given)
        if id is None or (id.key not in names and len(names) >= MOST):
            continue
        try:
            told = json.loads(value)
        except (TypeError, ValueError, RecursionError):
            continue
        names.setdefault(id.key, (str(id), str(told.get("title") or "") if isinstance(told, dict) else ""))
        numbers.setdefault(id.key, set()).update(abs(n) for n, _ in inside(told))
    return Papers(dict(names.values()), {key: frozenset(found) for key, found in numbers.items()})


def loose(
    text: str, ledger: HasNumbers, known: Iterable[float], papers: Papers | None
) -> tuple[list[str], bool]:
    """The numbers of what was said ahead of a measurement that nobody vouches for.

    A number stands where the paper gave it whose id stands in the same sentence, and the sentence does not
    speak of us.

    Returns:
        Each number as it is written, once; and whether some stand by a paper alone.
    """
    known = list(known)
    if papers is None or not any(True for _ in _named(text, papers)):
        return unresolved(text, ledger, known), False
    missing: list[str] = []
    quoted = False
    for sentence in _SENTENCE.split(text):
        found = unresolved(sentence, ledger, known)
        stand = [n for n in found if _of_a_paper(n, sentence, papers)]
        quoted = quoted or bool(stand)
        missing += [n for n in found if n not in stand]
    return list(dict.fromkeys(missing)), quoted


def _named(sentence: str, papers: Papers) -> Iterator[str]:
    """The keys of the papers that were read and stand in a sentence."""
    for match in PAPER_IDS.finditer(sentence):
        id = try_id(match[0].rstrip(").,;:]"))
        if id is not None and id.key in papers.numbers:
            yield id.key


def _of_a_paper(number: str, sentence: str, papers: Papers) -> bool:
    if _OURS.search(sentence):
        return False
    given = {n for key in _named(sentence, papers) for n in papers.numbers[key]}
    return all(any(c.fits(n) or c.fits(n / 100) for n in given) for c in claims(number))
