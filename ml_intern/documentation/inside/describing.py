"""One name's reference: signature, parameters, members, where it stands, what is deprecated."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

from ml_intern.documentation.inside import texts
from ml_intern.documentation.inside.names import Found, lineage, names_of
from ml_intern.documentation.inside.sources import Module, module, package_path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Row = dict[str, str]
WARNINGS = ("FutureWarning", "DeprecationWarning", "PendingDeprecationWarning")


def describe(found: Found) -> dict[str, Any]:
    """All that the source tells of a name. JSON-able."""
    told = _told(found)
    told.setdefault("parameters", [])
    told.setdefault("members", [])
    told["deprecated"] = list(dict.fromkeys(told.get("deprecated", [])))
    return {
        "name": found.name,
        "file": str(found.module.path),
        "line": getattr(found.node, "lineno", 1),
        "package": found.module.name.partition(".")[0],
        "how": "source",
        **told,
    }


def _told(found: Found) -> dict[str, Any]:
    node = found.node
    if node is None:
        return _module(found.module)
    if isinstance(node, ast.ClassDef):
        return _class(found, node)
    if isinstance(node, Function):
        return _function(node, method=len(found.way) > 1)
    return _value(found, node)


def _module(of: Module) -> dict[str, Any]:
    return {
        "kind": "module",
        "signature": of.name,
        "doc": texts.clean(of.doc),
        "members": [{"name": name, "kind": "", "summary": ""} for name in of.public()],
    }


def _function(node: Function, method: bool) -> dict[str, Any]:
    doc = texts.clean(ast.get_docstring(node))
    marks = [ast.unparse(d) for d in node.decorator_list]
    kind = "property" if any("property" in m for m in marks) else "method" if method else "function"
    bound = method and "staticmethod" not in marks
    rows = arguments(node, texts.parameters(doc), bound)
    returns = f" -> {texts.shown(node.returns)}" if node.returns else ""
    called = node.name if kind == "property" else f"{node.name}({', '.join(map(written, rows))})"
    return {
        "kind": kind,
        "signature": called + returns,
        "doc": texts.prose(doc),
        "parameters": [r for r in rows if r["name"] not in ("*", "/")],
        "deprecated": [*texts.deprecated(doc), *_marked(node), *_warned(node)],
        "generated": any("docstring" in mark for mark in marks) or (method and not doc),
    }


def arguments(node: Function, told: dict[str, str], bound: bool) -> list[Row]:
    """The parameters of a function, `self` left out."""
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(a.defaults)) + list(a.defaults)
    rows = [_row(arg, value, told) for arg, value in zip(plain, defaults, strict=True)]
    if a.posonlyargs:
        rows.insert(len(a.posonlyargs), {"name": "/", "type": "", "default": "", "help": ""})
    rows = rows[1:] if bound and plain else rows
    if a.vararg:
        rows.append(_row(a.vararg, None, told, "*"))
    elif a.kwonlyargs:
        rows.append({"name": "*", "type": "", "default": "", "help": ""})
    rows += [_row(arg, value, told) for arg, value in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return rows + ([_row(a.kwarg, None, told, "**")] if a.kwarg else [])


def _row(arg: ast.arg, default: ast.expr | None, told: dict[str, str], star: str = "") -> Row:
    return {
        "name": star + arg.arg,
        "type": texts.shown(arg.annotation),
        "default": texts.shown(default),
        "help": told.get(arg.arg, ""),
    }


def written(row: Row) -> str:
    """A parameter as a signature has it."""
    kind = f": {row['type']}" if row["type"] else ""
    equals = (" = " if kind else "=") + row["default"] if row["default"] else ""
    return row["name"] + kind + equals


def _class(found: Found, node: ast.ClassDef) -> dict[str, Any]:
    line = lineage(found)
    doc = texts.clean(ast.get_docstring(node))
    told = _inherited_docs(line)
    kind = _kind(line)
    rows = fields(line, told) if kind == "dataclass" else [] if kind == "enum" else constructor(line, told)
    bases = ", ".join(map(texts.shown, node.bases))
    gone = texts.deprecated(doc) + _marked(node)
    for part in node.body:
        if isinstance(part, Function) and part.name in ("__init__", "__post_init__"):
            gone += _warned(part)
    return {
        "kind": kind,
        "signature": f"class {node.name}({bases})" if bases else f"class {node.name}",
        "doc": texts.prose(doc),
        "parameters": rows,
        "members": members(line, kind),
        "deprecated": gone,
        "generated": not doc or any("docstring" in ast.unparse(d) for d in node.decorator_list),
    }


def _inherited_docs(line: list[Found]) -> dict[str, str]:
    told: dict[str, str] = {}
    for owner in reversed(line):
        assert isinstance(owner.node, ast.ClassDef)
        told |= texts.parameters(texts.clean(ast.get_docstring(owner.node)))
        first = next((n for n in owner.node.body if isinstance(n, Function) and n.name == "__init__"), None)
        if first:
            told |= texts.parameters(texts.clean(ast.get_docstring(first)))
    return told


def _kind(line: list[Found]) -> str:
    for owner in line:
        assert isinstance(owner.node, ast.ClassDef)
        if any("dataclass" in ast.unparse(d) for d in owner.node.decorator_list):
            return "dataclass"
        bases = [ast.unparse(b).rpartition(".")[2] for b in owner.node.bases]
        if any("Enum" in base or base in ("Flag", "IntFlag") for base in bases):
            return "enum"
        if any(base in ("BaseModel", "BaseSettings", "TypedDict", "NamedTuple") for base in bases):
            return "dataclass"
    return "class"


def fields(line: list[Found], told: dict[str, str]) -> list[Row]:
    """The fields of a dataclass: those that it declares itself first, then what it inherits."""
    rows: dict[str, Row] = {}
    for owner in line:
        for part in owner.node.body if isinstance(owner.node, ast.ClassDef) else []:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                name, kind = part.target.id, texts.shown(part.annotation)
                if name not in rows and not name.startswith("_") and "ClassVar" not in kind:
                    rows[name] = field(part, told.get(name, ""), owner.way[-1])
    return list(rows.values())


def field(part: ast.AnnAssign, told: str, owner: str) -> Row:
    """A field of a dataclass with its default and its help."""
    default, text = texts.shown(part.value), ""
    if isinstance(part.value, ast.Call) and ast.unparse(part.value.func).rpartition(".")[2] in (
        "field",
        "Field",
    ):
        named = {k.arg: k.value for k in part.value.keywords if k.arg}
        first = part.value.args[0] if part.value.args else None
        default = texts.shown(named.get("default", first))
        if "default_factory" in named:
            default = f"{texts.shown(named['default_factory'])}()"
        text = _help(named.get("metadata")) or texts.constant(named.get("description"))
    if told and len(told) > len(text):
        text = told
    assert isinstance(part.target, ast.Name)
    return {
        "name": part.target.id,
        "type": texts.shown(part.annotation),
        "default": default,
        "help": " ".join(text.split()),
        "of": owner,
    }


def _help(metadata: ast.expr | None) -> str:
    if not isinstance(metadata, ast.Dict):
        return ""
    for key, value in zip(metadata.keys, metadata.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == "help":
            return texts.constant(value)
    return ""


def constructor(line: list[Found], told: dict[str, str]) -> list[Row]:
    """The parameters of `__init__`, and what the docstring names beside them (`**kwargs` that are read)."""
    rows: list[Row] = []
    for owner in line:
        parts = owner.node.body if isinstance(owner.node, ast.ClassDef) else []
        first = next(
            (n for n in parts if isinstance(n, Function) and n.name in ("__init__", "__new__")), None
        )
        if first:
            rows = [r for r in arguments(first, told, bound=True) if r["name"] not in ("*", "/")]
            break
    known = {row["name"].lstrip("*") for row in rows}
    more = (
        [name for name in told if name not in known] if not rows or rows[-1]["name"].startswith("**") else []
    )
    return rows + [{"name": name, "type": "", "default": "", "help": told[name]} for name in more]


def members(line: list[Found], kind: str) -> list[Row]:
    """What a class offers: the values of an enumeration; else its methods and properties, its own first."""
    found: dict[str, Row] = {}
    for owner in line:
        for part in owner.node.body if isinstance(owner.node, ast.ClassDef) else []:
            for name in names_of(part):
                known = name.startswith("_") or name in found
                row = None if known else _member(part, name, kind)
                if row:
                    found[name] = {**row, "of": owner.way[-1]}
    return list(found.values())


def _member(part: ast.stmt, name: str, kind: str) -> Row | None:
    if isinstance(part, Function):
        told = _function(part, method=True)
        return {"name": name, "kind": told["kind"], "summary": texts.summary(told["doc"])[:200]}
    if kind == "enum" and isinstance(part, ast.Assign):
        return {"name": name, "kind": "value", "summary": texts.shown(part.value)}
    return None


def _value(found: Found, node: ast.stmt) -> dict[str, Any]:
    """A field, a value of an enumeration, or a constant."""
    name = found.way[-1]
    owner = Found(found.module, found.way[:-1], found.module.defined.get(found.way[0]))
    if isinstance(node, ast.AnnAssign) and isinstance(owner.node, ast.ClassDef):
        told = _inherited_docs(lineage(owner)).get(name, "")
        row = field(node, told, found.way[-2])
        return {
            "kind": "field",
            "signature": written(row),
            "doc": row["help"],
            "deprecated": _of(row["help"]),
        }
    if isinstance(node, ast.ImportFrom | ast.Import):
        return {"kind": "name", "signature": name, "doc": ""}
    value = texts.shown(getattr(node, "value", None), 2000)
    return {"kind": "constant", "signature": f"{name} = {value}", "doc": ""}


def _of(text: str) -> list[str]:
    return [text] if "deprecated" in text.lower() else []


def _marked(node: ast.ClassDef | Function) -> list[str]:
    """What decorators say of going away."""
    return [ast.unparse(d) for d in node.decorator_list if "deprecat" in ast.unparse(d).lower()]


def _warned(node: Function) -> list[str]:
    """What the function itself warns of."""
    found = []
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("warn") and call.args:
            kinds = " ".join(ast.unparse(a) for a in [*call.args[1:], *(k.value for k in call.keywords)])
            if any(kind in kinds for kind in WARNINGS) and (text := texts.constant(call.args[0])):
                found.append(" ".join(text.split()))
    return found


def version_of(package: str) -> str:
    """The installed version of what a package belongs to; "" where nobody says."""
    from importlib import metadata

    if name := distribution_of(package):
        return metadata.version(name)
    top = module(package)
    node = top.defined.get("__version__") if top else None
    return texts.constant(getattr(node, "value", None))


@lru_cache(maxsize=256)
def distribution_of(package: str) -> str:
    """The distribution that an installed package came in; "" for one that merely lies there."""
    from importlib import metadata

    try:
        return str(metadata.distribution(package).metadata["Name"])
    except metadata.PackageNotFoundError:
        place = package_path(package)
    if place is not None and place.parent.name in ("site-packages", "dist-packages"):
        return next(iter(metadata.packages_distributions().get(package, [])), "")  # it reads all of them
    return ""
