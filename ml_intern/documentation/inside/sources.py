"""Modules as their source has them: where they lie, what they define, what they take from others."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
from functools import lru_cache
from pathlib import Path

MOST_BYTES = 4 << 20
"""A longer source file is a table of data, and parsing it takes seconds."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Module:
    """A module that was parsed and not run.

    Attributes:
        name: Dotted.
        path: The source file.
        tree: What was parsed.
        defined: Classes, functions and assigned names at its top, also below `if` and `try`.
        taken: Names that it takes from elsewhere: the module, and the name there ("" for the module itself).
        starred: Modules that it takes everything from.
        lazy: Names that a lazy module offers, with the module that has them.
    """

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree
        self.defined: dict[str, ast.stmt] = {}
        self.taken: dict[str, tuple[str, str]] = {}
        self.starred: list[str] = []
        self.lazy: dict[str, str] = {}
        self._read(tree.body)

    @property
    def package(self) -> str:
        """What relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def doc(self) -> str:
        """Its docstring."""
        return ast.get_docstring(self.tree) or ""

    @property
    def listed(self) -> list[str] | None:
        """`__all__`, where it is written out."""
        node = self.defined.get("__all__")
        value = getattr(node, "value", None)
        if isinstance(value, (ast.List, ast.Tuple)):
            return [e.value for e in value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
        return None

    def public(self) -> list[str]:
        """The names that it offers."""
        if self.listed is not None:
            return list(dict.fromkeys([*self.listed, *self.lazy]))
        names = [n for n in self.defined if n not in self.taken]
        if self.path.name == "__init__.py":
            own = f"{self.name.partition('.')[0]}."
            names += [n for n, (source, _) in self.taken.items() if source.startswith(own)] + [*self.lazy]
        return [n for n in dict.fromkeys(names) if not n.startswith("_")]

    def absolute(self, level: int, module: str | None) -> str:
        """What an import names, without dots in front."""
        if not level:
            return module or ""
        parts = self.package.split(".")
        base = parts[: len(parts) - level + 1]
        return ".".join([*base, module] if module else base)

    def _read(self, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, DEFINITIONS):
                self.defined[node.name] = node
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.taken[alias.asname or alias.name.partition(".")[0]] = (alias.name, "")
            elif isinstance(node, ast.ImportFrom):
                self._read_from(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                self._read_assigned(node)
            else:
                self._read_below(node)

    def _read_from(self, node: ast.ImportFrom) -> None:
        source = self.absolute(node.level, node.module)
        for alias in node.names:
            if alias.name == "*":
                self.starred.append(source)
            else:
                self.taken[alias.asname or alias.name] = (source, alias.name)

    def _read_assigned(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                self.defined.setdefault(target.id, node)
            named = target.value if isinstance(target, ast.Subscript) else target
            if isinstance(named, ast.Name) and named.id == "_import_structure" and node.value:
                self._read_lazy(target, node.value)

    def _read_lazy(self, target: ast.expr, value: ast.expr) -> None:
        """`_import_structure = {"sft": ["SFTConfig"]}` and `_import_structure["sft"] = ["SFTConfig"]`."""
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(target, ast.Subscript):
            pairs = [(target.slice, value)]
        elif isinstance(value, ast.Dict):
            pairs = list(zip(value.keys, value.values, strict=True))
        for key, names in pairs:
            if isinstance(key, ast.Constant) and isinstance(names, ast.List):
                source = f"{self.package}.{key.value!s}"
                if "dummy" not in source:
                    self.lazy.update(
                        (str(e.value), source) for e in names.elts if isinstance(e, ast.Constant)
                    )

    def _read_below(self, node: ast.stmt) -> None:
        for part in ("body", "orelse", "finalbody"):
            below = getattr(node, part, None)
            if isinstance(node, (ast.If, ast.Try, ast.With)) and below:
                self._read(below)


@lru_cache(maxsize=1)
def search_path() -> tuple[str, ...]:
    """Where packages are looked for: as a cell would, and then in the folder it works in."""
    here = str(Path.cwd())
    return (*dict.fromkeys(p for p in sys.path if p and p != here), here)


@lru_cache(maxsize=256)
def package_path(top: str) -> Path | None:
    """The folder of a package, or the file of a module, of that name; nothing is imported."""
    for folder in search_path():
        for found in (Path(folder) / top / "__init__.py", Path(folder) / f"{top}.py"):
            if found.is_file():
                return found.parent if found.name == "__init__.py" else found
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


@lru_cache(maxsize=4096)
def file_of(name: str) -> Path | None:
    """The source file of a module; None where it has none or is none."""
    top, *rest = name.split(".")
    place = package_path(top)
    if place is None or not all(part.isidentifier() for part in rest):
        return None
    if not rest:
        return place / "__init__.py" if place.is_dir() else place
    below = place.joinpath(*rest)
    for file in (below / "__init__.py", below.with_name(below.name + ".py")):
        if file.is_file():
            return file
    return None


@lru_cache(maxsize=2048)
def module(name: str) -> Module | None:
    """The module of that name, parsed; None where there is no source that can be."""
    file = file_of(name)
    return parsed(name, file) if file else None


def parsed(name: str, file: Path) -> Module | None:
    """A file, parsed; None where it cannot be."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        return Module(name, file, ast.parse(file.read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def files_below(top: str) -> list[tuple[str, Path]]:
    """The modules of a package with their files, tests and conversion scripts left out."""
    place = package_path(top)
    if place is None:
        return []
    if place.is_file():
        return [(top, place)]
    found = []
    for parent, folders, names in os.walk(place):
        folders[:] = sorted(f for f in folders if f.isidentifier() and not LEFT_OUT.fullmatch(f))
        dotted = ".".join([top, *Path(parent).relative_to(place).parts])
        for name in sorted(names):
            stem = name.removesuffix(".py")
            if name.endswith(".py") and not LEFT_OUT.fullmatch(stem):
                found.append((dotted if stem == "__init__" else f"{dotted}.{stem}", Path(parent, name)))
    return found


LEFT_OUT = re.compile(
    r"tests?|testing|_?vendor\w*|convert_\w+|modular_\w+|dummy_\w+|__main__|conftest|__pycache__"
)
