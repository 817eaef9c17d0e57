"""What a docstring says: of the thing, of each parameter, and of what will go away."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap

SECTIONS = ("Args", "Arguments", "Parameters", "Params", "Attributes", "Keyword Args", "Keyword Arguments",
            "Other Parameters")  # fmt: skip
_HEAD = re.compile(
    rf"^(?:{'|'.join(SECTIONS)}):?[ \t]*\n(?:-{{3,}}[ \t]*\n)?", re.M
)  # fmt: skip
_GOOGLE = re.compile(r"^([*\w]+)[ \t]*(\([^\n]*\))?[ \t]*:(?: +|$)(.*)$")
_NUMPY = re.compile(r"^([*\w]+)(?: *: *(.*))?$")
_DEPRECATED = re.compile(
    r"<Deprecated[^>]*>(.*?)</Deprecated>|^[ \t]*\.\. deprecated::([^\n]*(?:\n[ \t]+[^\n]+)*)", re.S | re.M
)


def parameters(doc: str) -> dict[str, str]:
    """What a docstring says of each parameter, in Google's, Hugging Face's or NumPy's manner."""
    found: dict[str, str] = {}
    for head in _HEAD.finditer(doc):
        underlined = "---" in head[0]
        lines = _below(doc[head.end() :], doc[: head.start()].rpartition("\n")[2], underlined)
        found |= _entries(lines, _NUMPY if underlined else _GOOGLE)
    return found


def _below(rest: str, indent: str, underlined: bool) -> list[str]:
    """The lines of a section: up to the next heading, which stands as far left as its own."""
    lines = rest.splitlines()
    end = len(lines)
    for place, line in enumerate(lines):
        left = len(line) - len(line.lstrip()) <= len(indent)
        below = lines[place + 1].strip() if place + 1 < len(lines) else ""
        if line.strip() and left and (not underlined or (below and set(below) <= {"-"})):
            end = place
            break
    return textwrap.dedent("\n".join(lines[:end])).splitlines()


def _entries(lines: list[str], shape: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        entry = shape.match(line) if line[:1].strip() else None
        if entry:
            name = entry[1].lstrip("*")
            found[name] = [entry[3]] if shape is _GOOGLE else []
        elif line[:1].strip():
            name = ""
        elif name:
            found[name].append(line.strip())
    return {name: " ".join(" ".join(text).split()) for name, text in found.items()}


def prose(doc: str) -> str:
    """A docstring without its list of parameters."""
    head = _HEAD.search(doc)
    if not head:
        return doc.strip()
    rest = doc[head.end() :].splitlines()
    kept = len(rest)
    for place, line in enumerate(rest):
        if line.strip() and not line[:1].isspace() and place:
            kept = place
            break
    return (doc[: head.start()].rstrip() + "\n\n" + "\n".join(rest[kept:])).strip()


def summary(doc: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(prose(doc).split("\n\n", 1)[0].split())


def deprecated(doc: str) -> list[str]:
    """What a docstring says will go away."""
    return [" ".join((a or b).split()) for a, b in _DEPRECATED.findall(doc)]


def constant(node: ast.expr | None) -> str:
    """A text that the source writes out, also in pieces; "" for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return constant(node.left) + constant(node.right)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(constant, node.values))
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    return ""


def shown(node: ast.expr | None, most: int = 300) -> str:
    """An expression as it is written, not too long."""
    if node is None:
        return ""
    text = ast.unparse(node)
    return text if len(text) <= most else text[: most - 1] + "…"


def clean(doc: str | None) -> str:
    """A docstring without its indentation."""
    return inspect.cleandoc(doc) if doc else ""
