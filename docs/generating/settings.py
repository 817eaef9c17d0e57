"""The settings reference: every field with its default, its variable, its flag and what it means."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import platformdirs
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generating.commands import variable
from generating.markdown import Docstring, code, document, prose, sentence, table
from ml_intern.cli.arguments import prompt_command
from ml_intern.evals.nearness import Nearness
from ml_intern.jobs.thresholds import Thresholds
from ml_intern.outside.config import McpServer
from ml_intern.router.policy import Rule, policy_rows
from ml_intern.settings import Settings
from ml_intern.tooling import type_name
from ml_intern.trust import deciding_keys

INTRO = """\
Every setting is an environment variable `ML_INTERN_NAME` and a key in `ml-intern.toml`; some are flags,
too. The first that is set counts: the flag (or the argument of `MLIntern`), the variable,
`ml-intern.toml` in the project's folder, `ml-intern.toml` in the user's configuration folder. In a
variable, a list of words is separated by commas or spaces, a list of folders as in `PATH`, and a table is
JSON. Keys that are marked with † decide what may run on the machine: in a project's file they count after
`ml-intern trust`."""

ALERTS = """\
## Thresholds of alerts

The setting `alerts` moves them by name: `alerts = {kl_limit = 3}`."""

NEARNESS = """\
## How near is too near

The setting `contamination` moves these by name: `contamination = {share = 0.7}`. Lengths are letters."""

RULES = """\
## Rules of the gate

Each `[[policy]]` is one rule. Yours come first, then the defaults; the first that matches decides."""

SERVERS = """\
## MCP servers

Each `[mcp_servers.NAME]` is a program that is started, or an address."""


def page() -> str:
    """The whole page."""
    groups = [
        part
        for title, names in grouped().items()
        for part in (f"## {title}", table(("setting", "type", "default", "what"), map(_row, names)))
    ]
    policy = [(prose(row["about"]), code(row["action"]), prose(row["reason"])) for row in policy_rows([])]
    return document(
        "Settings",
        INTRO,
        *groups,
        RULES,
        _keys(Rule),
        "What holds where no rule of yours matches:",
        table(("about", "action", "because"), policy),
        SERVERS,
        _keys(McpServer),
        ALERTS,
        _figures(Thresholds),
        NEARNESS,
        _figures(Nearness),
    )


def grouped() -> dict[str, list[str]]:
    """The names of the settings below the comment that heads them in the code."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in inspect.getsource(Settings).split("\n"):
        if heading := re.fullmatch(r"    # (\w+)", line):
            title = heading[1]
        elif (name := re.match(r"    (\w+): ", line)) and name[1] in Settings.model_fields:
            found.setdefault(title, []).append(name[1])
    return found


def _row(name: str) -> tuple[str, ...]:
    field = Settings.model_fields[name]
    mark = "†" if deciding_keys({name: None}, Settings.model_fields) else ""
    flag = f" Flag {code(flags()[name])}." if name in flags() else ""
    meaning = prose(sentence(field.description or ""))
    return (code(name) + mark, _kind(field), _default(field), meaning + flag)


def _kind(field: FieldInfo) -> str:
    """The type; that nothing may be given is told by the default."""
    return code(type_name(field.annotation).removesuffix(" | None"))


def _default(field: FieldInfo) -> str:
    shown = default_of(field)
    return code(shown) if shown else ""


def flags() -> dict[str, str]:
    """The flag of a prompt that sets a setting, by the setting's name."""
    options = (p for p in prompt_command.params if isinstance(p, click.Option))
    return {variable(o).removeprefix("ML_INTERN_").lower(): o.opts[-1] for o in options if variable(o)}


def default_of(field: FieldInfo) -> str:
    """The default as one writes it in TOML, empty for None; folders of a user begin with ``~``."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    return _home(str(value)) if isinstance(value, Path) else json.dumps(value, ensure_ascii=False)


def _home(path: str) -> str:
    """The usual place of a folder, whatever the variables of this machine say."""
    for usual, here in (
        ("~/.local/state/ml-intern", platformdirs.user_state_path("ml-intern")),
        ("~/.cache/ml-intern", platformdirs.user_cache_path("ml-intern")),
    ):
        path = path.replace(str(here), usual)
    return path


def _keys(model: type[BaseModel]) -> str:
    """The keys of a table in the settings, with the words of the class's docstring."""
    told = Docstring.of(model)
    rows = [
        (code(name), _kind(f), _required(f), prose(sentence(told.sections["Attributes"][name])))
        for name, f in model.model_fields.items()
    ]
    return table(("key", "type", "default", "what"), rows)


def _required(field: FieldInfo) -> str:
    return "(needed)" if field.is_required() else _default(field)


def _figures(kind: type[Any]) -> str:
    """Figures with the docstrings that stand below them in the code."""
    told = attribute_docstrings(kind)
    rows = [
        (code(f.name), code(f"{f.default:g}"), prose(told[f.name].replace("``", "`"))) for f in fields(kind)
    ]
    return table(("name", "default", "what"), rows)


def attribute_docstrings(kind: type[Any]) -> dict[str, str]:
    """The string that stands below each attribute of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    told = {}
    for line, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(line, ast.AnnAssign)
            and isinstance(below, ast.Expr)
            and isinstance(line.target, ast.Name)
        ):
            text = ast.literal_eval(below.value) if isinstance(below.value, ast.Constant) else ""
            told[line.target.id] = " ".join(str(text).split())
    return told
