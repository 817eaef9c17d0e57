"""What a paper did, with where it says so: data, method, hyperparameters, results.

A language model as the reader answers, and an answer is kept only where its quote stands in the paper.
Without one, tables and patterns tell: less, and nothing that is not written there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from ml_intern.documents import patterns
from ml_intern.documents.model import Document, markdown_table
from ml_intern.documents.reading import NOTE

Part = Literal["data", "method", "hyperparameters", "results"]
PARTS: tuple[Part, ...] = ("data", "method", "hyperparameters", "results")

Reader = Callable[[Sequence[dict[str, str]], int], str]
"""Answers messages; the number counts the questions of a call, from 0."""

MOST_FINDINGS = 60
MOST_CHARS = 24_000
"""Of the paper, in one question to a reader."""

MOST_QUESTIONS = 6
QUOTE_CHARS = 400


@dataclass(frozen=True)
class Finding:
    """Something that the paper says.

    Attributes:
        name: Of what: ``learning rate``, ``GSM8K``, ``accuracy``.
        value: What it says, as it is written.
        section: The heading that it stands under.
        quote: The words, or the row of the table.
        found_by: ``table``, ``text``, or ``reader`` (a language model).
    """

    name: str
    value: str
    section: str
    quote: str
    found_by: str


@dataclass
class Recipe:
    """What a paper did. Each finding has its section and its quote.

    Attributes:
        reader: Who read: ``patterns``, or the language model.
        dropped: Findings of the reader whose quote does not stand in the paper.
        url: Where the paper was read.
    """

    title: str
    data: list[Finding] = field(default_factory=list)
    method: list[Finding] = field(default_factory=list)
    hyperparameters: list[Finding] = field(default_factory=list)
    results: list[Finding] = field(default_factory=list)
    reader: str = "patterns"
    dropped: int = 0
    url: str = ""
    notes: list[str] = field(default_factory=list)
    note: str = NOTE


def extract(document: Document, reader: Reader | None = None, label: str = "a language model") -> Recipe:
    """The recipe of a paper.

    Args:
        document: The paper.
        reader: A language model; nothing: tables and patterns alone.
        label: Who the reader is.
    """
    recipe = Recipe(document.title, url=document.url, notes=list(document.notes))
    if reader is not None:
        _ask(document, reader, recipe)
        recipe.reader = label
    # What patterns find comes behind what was read: they see every table, a reader sees what it was shown.
    for part, finding in _by_patterns(document):
        _add(getattr(recipe, part), finding)
    for part in ("hyperparameters", "results"):
        setattr(recipe, part, _merged(getattr(recipe, part), alike=part == "hyperparameters"))
    return recipe


def _merged(findings: list[Finding], alike: bool) -> list[Finding]:
    """What the reader and a pattern both found in a section comes once: the reader's, with the table named.

    Args:
        findings: Of one part, the reader's first.
        alike: The names must share a word: of settings many have the same number.
    """
    kept = list(findings)
    for place, told in enumerate(f for f in findings if f.found_by == "reader"):
        for way in ("table", "text") if _number(told) is not None else ():
            same = [f for f in kept if f.found_by == way and _number(f) == _number(told)]
            same = [f for f in same if _section(f) == _section(told) and (_shared(f, told) or not alike)]
            if same:
                double = max(same, key=lambda found: _shared(found, told))
                kept.remove(double)
                kept[place] = replace(told, section=max(kept[place].section, double.section, key=len))
    return kept


def _section(finding: Finding) -> str:
    return re.sub(r" \(Table [^()]*\)$", "", finding.section)


def _shared(one: Finding, other: Finding) -> int:
    """How many words the name of one has in common with the name and the quote of the other."""
    return len(set(_folded(one.name).split()) & set(_folded(f"{other.name} {other.quote}").split()))


def _number(finding: Finding) -> float | None:
    """The first number of a value."""
    text = re.sub(
        r"\s*(?:\\?(?:times|cdot)|[×·])\s*10\s*\^?\s*\{?\s*([-−–]?)\s*(\d+)", r"e\1\2", finding.value
    )
    hit = re.search(r"\d*\.?\d+(?:e-?\d{1,3})?", re.sub("[−–]", "-", text).replace(",", ""), re.I)
    return float(hit[0]) if hit else None


def _add(known: list[Finding], finding: Finding) -> None:
    same = (_folded(finding.name), _folded(finding.value))
    if len(known) < MOST_FINDINGS and all((_folded(k.name), _folded(k.value)) != same for k in known):
        known.append(finding)


def _by_patterns(document: Document) -> Iterator[tuple[Part, Finding]]:
    above = _lineage(document)
    for table in document.tables:
        inside = 0 <= table.section < len(above)
        where, heads = document.heading_of(table.section), above[table.section] if inside else ""
        for row in patterns.in_table(table.rows, table.caption):
            title = f"Table {table.number}".strip()
            part: Part = "hyperparameters" if row.kind == "hyperparameters" else "results"
            if part == "results" or patterns.settles(table.caption, heads):
                yield (
                    part,
                    Finding(row.name, row.value, f"{where} ({title})", row.quote[:QUOTE_CHARS], "table"),
                )
    texts = [("Abstract", "Abstract", document.abstract)]
    texts += [(s.heading, heads, s.text) for s, heads in zip(document.sections, above, strict=True)]
    for heading, heads, text in texts:
        for sentence in patterns.sentences(text):
            for hit in patterns.in_sentence(sentence, heads):
                yield hit.kind, Finding(hit.name, hit.value, heading, sentence[:QUOTE_CHARS], "text")


def _lineage(document: Document) -> list[str]:
    """Each section's heading behind those that it stands under."""
    found: list[str] = []
    open_: list[tuple[int, str]] = []
    for section in document.sections:
        open_ = [(level, heading) for level, heading in open_ if level < section.level]
        open_.append((section.level, section.heading))
        found.append(patterns.ABOVE.join(heading for _, heading in open_))
    return found


def _ask(document: Document, reader: Reader, recipe: Recipe) -> None:
    """Show the reader the paper in pieces, the likeliest sections first, and keep what it can prove."""
    for number, piece in enumerate(_pieces(document)[:MOST_QUESTIONS]):
        messages = [
            {"role": "system", "content": _prompt()["system"]},
            {"role": "user", "content": _prompt()["request"].replace("{{ text }}", piece)},
        ]
        for part, finding in _told(reader(messages, number), document):
            if finding is None:
                recipe.dropped += 1
            else:
                _add(getattr(recipe, part), finding)


def _pieces(document: Document) -> list[str]:
    """The paper's text, with method and experiments first, and without what it tells of others' work."""
    ranked: list[tuple[int, str]] = [(-1, f"## Abstract\n\n{document.abstract}")] if document.abstract else []
    for index, (section, heads) in enumerate(zip(document.sections, _lineage(document), strict=True)):
        text = "\n\n".join([section.text, *_untold(document, index, section.text)]).strip()
        rank = patterns.rank(heads, text)
        if rank is not None and text:
            ranked.append((rank, f"## {section.heading}\n\n{text}"))
    pieces: list[str] = []
    for _, text in sorted(ranked, key=lambda found: found[0]):
        for start in range(0, len(text), MOST_CHARS):
            part = text[start : start + MOST_CHARS]
            if pieces and len(pieces[-1]) + len(part) + 2 <= MOST_CHARS:
                pieces[-1] += f"\n\n{part}"
            else:
                pieces.append(part)
    return pieces


def _untold(document: Document, index: int, text: str) -> Iterator[str]:
    """The tables of a section that its text does not show."""
    for table in document.tables:
        shown = markdown_table(table.rows)
        if table.section == index and shown and shown not in text:
            yield f"Table {table.number}: {table.caption}\n\n{shown}"


def _told(reply: str, document: Document) -> Iterator[tuple[Part, Finding | None]]:
    """The findings of a reply; None for one whose quote is not in the paper."""
    for row in _rows(reply):
        part = row.get("part")
        texts = [row.get(key) for key in ("name", "value", "quote")]
        if part not in PARTS or not all(isinstance(text, str) and text.strip() for text in texts):
            continue
        name, value, quote = (" ".join(str(text).split()) for text in texts)
        where = _where(document, quote)
        proven = where is not None and (_folded(value) in _folded(quote) or part in ("method", "data"))
        yield (
            part,
            Finding(name[:100], value[:300], where or "", quote[:QUOTE_CHARS], "reader") if proven else None,
        )


def _rows(reply: str) -> list[dict[str, Any]]:
    """The objects of a reply: one JSON object a line, or a list of them."""
    found: list[dict[str, Any]] = []
    for text in [reply, *reply.splitlines()]:
        try:
            value = json.loads(text.strip().strip("`").rstrip(","))
        except (ValueError, RecursionError):
            continue
        rows = value if isinstance(value, list) else [value]
        found += [row for row in rows if isinstance(row, dict)]
        if text is reply and found:
            break
    return found[:200]


def _where(document: Document, quote: str) -> str | None:
    """The heading under which a quote stands, white space and quotation marks apart."""
    wanted = _folded(quote)
    if len(wanted) < 8:
        return None
    for heading, text in [("Abstract", document.abstract), *((s.heading, s.text) for s in document.sections)]:
        if wanted in _folded(text):
            return heading
    return None


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


@lru_cache(maxsize=1)
def _prompt() -> dict[str, str]:
    import yaml

    text = resources.files("ml_intern.prompts").joinpath("recipe.yaml").read_text(encoding="utf-8")
    loaded: dict[str, str] = yaml.safe_load(text)
    return loaded
