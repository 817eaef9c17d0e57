"""One text out of a paper's files: the main one with what it includes, without comments and dead branches."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

MOST_CHARS = 8_000_000
DEEPEST = 12

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*(?:\n[ \t]*)?")
_INCLUDE = re.compile(
    r"\\(?:input|include|subfile|subfileinclude)\s*(?:\{\s*([^{}]+?)\s*\}|\s+([^\s{}\\]+))"
    r"|\\(?:import|subimport)\s*\{\s*([^{}]*?)\s*\}\s*\{\s*([^{}]+?)\s*\}"
)
_BIBLIOGRAPHY = re.compile(r"\\(?:bibliography\s*\{[^{}]*\}|printbibliography\b(?:\[[^\]]*\])?)")
_CONDITION = re.compile(r"\\(else|fi|newif\s*\\if[a-zA-Z]+|if[a-zA-Z]*|[a-zA-Z]+(?:true|false))(?![a-zA-Z])")
_COMMENTED = ("\\begin{comment}", "\\end{comment}")


def main_file(files: Mapping[str, str]) -> str:
    """The path of the file that the others belong to; "" where there is none."""

    def worth(path: str) -> tuple[bool, bool, bool, bool, int]:
        text = without_comments(files[path][:200_000])
        return (
            "\\begin{document}" in text,
            "\\documentclass" in text or "\\documentstyle" in text,
            "\\title" in text or "\\maketitle" in text,
            posixpath.basename(path).lower() in ("main.tex", "ms.tex", "paper.tex", "article.tex"),
            len(text),
        )

    sources = [path for path in files if path.lower().endswith((".tex", ".ltx", ".latex"))]
    return max(sources or list(files), key=worth, default="")


def assembled(files: Mapping[str, str]) -> tuple[str, list[str]]:
    """The whole text, and what was missing."""
    top = main_file(files)
    missing: list[str] = []
    text = _with_included(files, top, posixpath.dirname(top), (top,), missing)
    text = _BIBLIOGRAPHY.sub(lambda _: _bibliography(files, top), text)
    return alive(text), missing


def _with_included(
    files: Mapping[str, str], path: str, folder: str, above: tuple[str, ...], missing: list[str]
) -> str:
    text = without_comments(files.get(path, ""))[:MOST_CHARS]
    if len(above) > 1 and "\\begin{document}" in text:  # a subfile has a frame of its own
        text = text.partition("\\begin{document}")[2].partition("\\end{document}")[0]
    parts, last, size = [], 0, 0
    for hit in _INCLUDE.finditer(text):
        name = hit[1] or hit[2] or posixpath.join(hit[3] or "", hit[4] or "")
        found = _path(files, name.strip("\"' "), folder)
        parts.append(text[last : hit.start()])
        last = hit.end()
        if found is None:
            missing.append(name)
        elif found not in above and len(above) < DEEPEST and size < MOST_CHARS:
            inner = _with_included(files, found, folder, (*above, found), missing)
            parts.append(inner)
            size += len(inner)
    return "".join([*parts, text[last:]])[:MOST_CHARS]


def _path(files: Mapping[str, str], name: str, folder: str) -> str | None:
    for base in dict.fromkeys((folder, "")):
        path = posixpath.normpath(posixpath.join(base, name))
        for full in (f"{path}.tex", path):
            if full in files:
                return full
    return None


def _bibliography(files: Mapping[str, str], top: str) -> str:
    """The finished bibliography that lies beside the main file."""
    own = posixpath.splitext(top)[0] + ".bbl"
    others = [path for path in files if path.endswith(".bbl")]
    found = own if own in files else others[0] if len(others) == 1 else ""
    return without_comments(files.get(found, ""))


def without_comments(text: str) -> str:
    """Comments out, with the end of their line, as TeX has it."""
    parts = text.replace("\r\n", "\n").replace("\r", "\n").split(_COMMENTED[0])
    kept = [parts[0], *(part.partition(_COMMENTED[1])[2] for part in parts[1:])]
    return _COMMENT.sub(lambda hit: hit[1], "".join(kept))


def alive(text: str) -> str:
    """Without the branches of conditions that do not hold; what nobody sets is false, as `newif` has it."""
    parts: list[str] = []
    flags: dict[str, bool] = {"true": True}
    stack: list[bool] = []
    dead = last = 0  # how many of the stack do not hold
    for hit in _conditions(text):
        if not dead:
            parts.append(text[last : hit.start()])
        last = hit.end()
        word = hit[1]
        if word == "else" and stack:
            stack[-1] = not stack[-1]
            dead += -1 if stack[-1] else 1
        elif word == "fi" and stack:
            dead -= not stack.pop()
        elif word.startswith("newif"):
            flags.setdefault(word.rpartition("\\if")[2], False)
        elif word.startswith("if"):
            stack.append(flags.get(word[2:], False))
            dead += not stack[-1]
        elif word not in ("else", "fi") and not dead:
            parts += _switched(hit, flags)
    return "".join(parts if dead else [*parts, text[last:]])


def _switched(hit: re.Match[str], flags: dict[str, bool]) -> list[str]:
    """`\\shorttrue` sets a flag; what sets none is text."""
    value = hit[1].endswith("true")
    name = hit[1][: -4 if value else -5]
    if name not in flags:
        return [hit[0]]
    flags[name] = value
    return []


def _conditions(text: str) -> Iterable[re.Match[str]]:
    named = set(re.findall(r"\\newif\s*\\if([a-zA-Z]+)", text))
    known = {
        "",
        "true",
        "false",
        "x",
        "num",
        "dim",
        "odd",
        "vmode",
        "hmode",
        "mmode",
        "cat",
        "defined",
        "case",
        *named,
    }
    for hit in _CONDITION.finditer(text):
        if not (hit[1].startswith("if") and hit[1][2:] not in known):
            yield hit
