"""From a name to what it stands for, as imports would find it, without importing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_intern.documentation.inside.sources import (
    DEFINITIONS,
    Module,
    files_below,
    module,
    package_path,
)

FAVOURED = (
    "trl", "transformers", "datasets", "peft", "accelerate", "tokenizers", "huggingface_hub", "trackio",
    "evaluate", "safetensors", "torch", "optuna", "numpy", "pandas", "polars", "sklearn", "smolagents",
)  # fmt: skip
"""Where a bare name is looked for, in this order."""

DEEPEST = 12


@dataclass(frozen=True)
class Found:
    """A definition: the module it stands in, the way down to it, its node (None: the module itself)."""

    module: Module
    way: tuple[str, ...]
    node: ast.stmt | None

    @property
    def name(self) -> str:
        """Where it is defined, dotted."""
        return ".".join([self.module.name, *self.way])


def resolve(name: str) -> Found | None:
    """What a dotted name stands for."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        top = module(".".join(parts[:count]))
        if top is not None:
            return walk(top, parts[count:])
    return None


def walk(start: Module, way: list[str], depth: int = 0) -> Found | None:
    """Go down from a module by names."""
    if not way:
        return Found(start, (), None)
    first = attribute(start, way[0], depth)
    if first is None or len(way) == 1:
        return first
    if first.node is None:
        return walk(first.module, way[1:], depth + 1)
    found: Found | None = first
    for part in way[1:]:
        found = member(found, part) if found else None
    return found


def attribute(where: Module, name: str, depth: int = 0) -> Found | None:
    """What a module calls by that name, through its imports."""
    if depth > DEEPEST:
        return None
    if name in where.defined and not (name in where.taken and _is_stub(where.defined[name])):
        return Found(where, (name,), where.defined[name])
    if name in where.taken:
        return _imported(*where.taken[name], depth)
    if name in where.lazy:
        return _imported(where.lazy[name], name, depth)
    if where.path.name == "__init__.py" and (below := module(f"{where.name}.{name}")):
        return Found(below, (), None)
    for source in where.starred:
        if (other := module(source)) and (found := attribute(other, name, depth + 1)):
            return found
    if "define_import_structure" in where.taken:
        return next(defining(where.name, name), None)
    return None


def _is_stub(node: ast.stmt) -> bool:
    """`X = None` where an import failed is not what X is."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)


def _imported(source: str, name: str, depth: int) -> Found | None:
    where = module(source)
    if where is None:
        return None
    if not name:
        return Found(where, (), None)
    return attribute(where, name, depth + 1)


def member(of: Found, name: str) -> Found | None:
    """An attribute of a class, its own or one that it inherits."""
    for owner in lineage(of):
        for part in owner.node.body if isinstance(owner.node, ast.ClassDef) else []:
            if name in names_of(part):
                return Found(owner.module, (*owner.way, name), part)
    return None


def names_of(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, DEFINITIONS):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [t.id for t in targets if isinstance(t, ast.Name)]


def lineage(of: Found, depth: int = 0) -> list[Found]:
    """A class and the classes it inherits from, nearest first; those without source are left out."""
    if not isinstance(of.node, ast.ClassDef) or depth > DEEPEST:
        return []
    found = [of]
    for base in of.node.bases:
        parts = _dotted(base).split(".")
        above = walk(of.module, parts) if parts[0] else None
        if above and above.name != of.name and above.module.name != "enum":
            found += lineage(above, depth + 1)
    last = {item.name: place for place, item in enumerate(found)}
    return [item for place, item in enumerate(found) if last[item.name] == place]


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _dotted(node.value)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def defining(package: str, name: str) -> Iterator[Found]:
    """Where a package defines a name at the top of a module; likelier places first."""
    wanted = re.compile(
        rf"^(?:class|(?:async )?def) {re.escape(name)}\b|^{re.escape(name)} *[:=]".encode(), re.M
    )
    places = [(dotted, file) for dotted, file in files_below(package) if wanted.search(_bytes(file))]
    for dotted, _ in sorted(places, key=lambda place: _unlikely(*place)):
        where = module(dotted)
        if where and name in where.defined:
            yield Found(where, (name,), where.defined[name])


def _unlikely(dotted: str, file: Path) -> tuple[bool, int, str]:
    private = any(part.startswith("_") for part in dotted.split("."))
    return private or "experimental" in dotted or "deprecated" in dotted, dotted.count("."), dotted


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def anywhere(name: str) -> list[Found]:
    """What a name without its package may stand for, the likeliest first."""
    first, *rest = name.split(".")
    tops = [top for package in FAVOURED if package_path(package) and (top := module(package))]
    quick = (
        attribute(top, first)
        for top in tops
        if "define_import_structure" not in top.taken or first in top.lazy
    )
    found = [below for hit in quick if hit and hit.node and (below := _down(hit, rest))]
    if found:
        return list({hit.name: hit for hit in found}.values())
    for top in tops:
        found = [below for hit in defining(top.name, first) if (below := _down(hit, rest))]
        if found:
            return found
    return []


def _down(hit: Found | None, rest: list[str]) -> Found | None:
    for part in rest:
        hit = member(hit, part) if hit else None
    return hit


def known_names(package: str) -> set[str]:
    """All classes and functions at the top of a package's modules, for telling near misses."""
    definition = re.compile(rb"^(?:class|(?:async )?def) ([A-Za-z]\w*)", re.M)
    return {name.decode() for _, file in files_below(package) for name in definition.findall(_bytes(file))}
