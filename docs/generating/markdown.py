"""Markdown from docstrings: what is prose there is prose here, and nothing in it is taken for markup."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example|Examples):\s*$")
_ENTRY = re.compile(r"^    (\*{0,2}\w[\w.]*)(?: \([^)]*\))?:\s*(.*)$")
_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)


@dataclass
class Docstring:
    """A docstring taken apart.

    Attributes:
        prose: Its paragraphs, as Markdown.
        sections: The entries of ``Args``, ``Raises`` and so on, by name.
        examples: Code of its examples.
    """

    prose: list[str] = field(default_factory=list)
    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, thing: Any) -> Docstring:
        """The docstring of a function or class; empty where it has none of its own."""
        text = inspect.getdoc(thing) if not isinstance(thing, str) else inspect.cleandoc(thing)
        found, section, prose = cls(), "", list[str]()
        for line in (text or "").split("\n"):
            if heading := _SECTION.match(line):
                section = heading[1]
            elif section and line and not line.startswith(" "):
                section = ""
            if not section:
                prose.append(line)
            elif not heading:
                found._take(section, line)
        found.prose = _paragraphs(prose)
        return found

    def _take(self, section: str, line: str) -> None:
        entries = self.sections.setdefault(section, {})
        if section.startswith("Example"):
            self.examples.append(line.removeprefix("    "))
        elif (entry := _ENTRY.match(line)) is not None:
            entries[entry[1]] = entry[2]
        elif line.strip() and entries:
            last = next(reversed(entries))
            entries[last] = f"{entries[last]} {line.strip()}".strip()
        elif line.strip():
            entries[""] = line.strip()


def _paragraphs(lines: Iterable[str]) -> list[str]:
    """Paragraphs; one that is indented, or follows ``::``, is code, and one of dashes is a list."""
    text = "\n".join(lines).strip()
    return [_paragraph(part) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _paragraph(part: str) -> str:
    if all(line.startswith("    ") for line in part.split("\n")):
        return "```text\n" + inspect.cleandoc("\n" + part) + "\n```"
    if re.match(r"[-*] ", part):
        return prose(re.sub(r"\n(?![-*] )\s*", " ", part))
    return prose(re.sub(r"::$", ":", " ".join(part.split())))


def prose(text: str) -> str:
    """Text in which only backticks mean something."""
    parts = _CODE.split(text)
    for place, part in enumerate(parts):
        parts[place] = code(part.strip("`")) if place % 2 else re.sub(r"([*<\[\\])", r"\\\1", part)
    return "".join(parts)


def code(text: str) -> str:
    """A span of code, also where the text holds a backtick."""
    return f"`{text}`" if "`" not in text else f"`` {text} ``"


def block(text: str, language: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty where it has no rows."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", "|" + " --- |" * len(header), *lines])


def document(title: str, *parts: str) -> str:
    """A page: a title, then what is not empty."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part)])


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop, as it stands in a table."""
    text = text.strip()
    if not text:
        return ""
    shown = text if text.startswith("`") or not text[0].islower() else text[0].upper() + text[1:]
    return shown if shown.endswith((".", "!", "?", "…")) else shown + "."
