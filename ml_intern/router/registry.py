"""Finds the tools: those that ship, and those in a user's own folders."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import ml_intern.tools
from ml_intern.errors import UsageError
from ml_intern.outside.words import TAKEN
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec, specs_in


def load_tools(settings: Settings, outside: Sequence[ToolSpec] = ()) -> list[ToolSpec]:
    """Every tool of this session, by subject and then in the order of the file.

    Args:
        settings: Names the folders.
        outside: Tools of MCP servers, which come last.

    Raises:
        UsageError: A user's folder is missing, its file does not import, or a name is taken.
    """
    found: list[ToolSpec] = []
    for info in sorted(pkgutil.iter_modules(ml_intern.tools.__path__), key=lambda m: m.name):
        found += specs_in(importlib.import_module(f"ml_intern.tools.{info.name}"))
    found.sort(key=lambda spec: spec.subject)
    for folder in settings.tools:
        found += _user_tools(folder, {spec.name for spec in found})
    found += outside
    names = [spec.name for spec in found]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise UsageError(f"Two tools are named {twice!r}.", "Rename the one in your own folder.")
    return found


def _user_tools(folder: Path, taken: Collection[str]) -> list[ToolSpec]:
    if not folder.is_dir():
        raise UsageError(f"The tools folder {str(folder)!r} does not exist.", "Mend the setting 'tools'.")
    found: list[ToolSpec] = []
    for path in sorted(folder.glob("*.py")):
        found += _tools_of(path, {*taken, *(spec.name for spec in found)})
    return found


def _tools_of(path: Path, taken: Collection[str]) -> list[ToolSpec]:
    """The tools of one file. A smolagents tool whose name is taken gets the file's name before its own."""
    name = f"ml_intern_user_tools.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return []
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}.") from error
    own = [replace(tool, origin="user") for tool in specs_in(module)]
    from ml_intern.outside.smolagents_tools import smolagents_tools

    gone = {*taken, *TAKEN, *(tool.name for tool in own)}
    for tool in smolagents_tools(module):
        own.append(replace(tool, name=f"{path.stem}_{tool.name}") if tool.name in gone else tool)
    return own
