"""What stands in the pages as code can be typed: commands parse, Python compiles, its imports exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator

import click
import pytest
from support.doc_pages import PAGES, ROOT, Block, blocks

from ml_intern import Settings
from ml_intern.cli.arguments import front
from ml_intern.cli.main import route
from ml_intern.router.policy import read_policy

ALL = [block for page in PAGES for block in blocks(page)]
OWN = re.compile(r"(.*/)?ml-intern$")
TARGETS = re.compile(r"^([a-z]+):", re.MULTILINE)


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


def where(block: Block) -> str:
    return f"{block.page}:{block.line}"


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block; what a pipe, a list or a redirection begins is not its."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;()"):
                yield words
                words = []
            else:
                words.append(word)


def own_commands(text: str) -> Iterator[list[str]]:
    """The words behind each `ml-intern` that begins a command."""
    for words in commands(text):
        while words and re.fullmatch(r"\w+=.*|do|then|else|\d?[<>]+", words[0]):
            words = words[1:]
        if words and OWN.match(words[0]):
            yield words[1 : next((i for i, w in enumerate(words) if set(w) <= set("<>") and w), None)]


def parse(words: list[str]) -> None:
    """Parse the words as the command line does, and run nothing.

    Raises:
        click.ClickException, UsageError: As it would say.
    """
    name, *rest = route(words)
    command = front.commands.get(name)
    while isinstance(command, click.Group) and rest:
        command, rest = command.commands.get(rest[0]), rest[1:]
    assert command is not None, f"no command {name!r}"
    try:
        command.make_context(name, rest)
    except click.exceptions.Exit:
        pass


SHELL = [(block, words) for block in of("sh", "bash") for words in own_commands(block.text)]


@pytest.mark.parametrize("block", of("sh", "bash"), ids=where)
def test_commands_parse(block: Block) -> None:
    for words in own_commands(block.text):
        parse(words)


@pytest.mark.parametrize("block", of("sh", "bash"), ids=where)
def test_make_targets_and_scripts_are_there(block: Block) -> None:
    targets = set(TARGETS.findall((ROOT / "Makefile").read_text()))
    for words in commands(block.text):
        if words and words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets
        if words and words[0].endswith("python") and words[1:] and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file()


@pytest.mark.parametrize("block", of("python"), ids=where)
def test_python_compiles_and_its_imports_exist(block: Block) -> None:
    if "reference/" in block.page:
        return  # signatures
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "ml_intern":
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            assert all(importlib.util.find_spec(name.split(".")[0]) for name in names)


@pytest.mark.parametrize("block", of("toml"), ids=where)
def test_settings_are_settings(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_intern.outside.config import read_entry

    given = tomllib.loads(block.text)
    if "project" in given:
        return
    settings = Settings.load(**given)
    read_policy(settings.policy)
    for name, entry in settings.mcp_servers.items():
        read_entry(name, entry)


@pytest.mark.parametrize("block", of("json"), ids=where)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


def test_a_wrong_option_is_seen() -> None:
    words = list(own_commands('FOO=1 .venv/bin/ml-intern "x y" --modle a | head -1 && ls > ml-intern'))
    assert words == [["x y", "--modle", "a"]]
    with pytest.raises(click.ClickException):
        parse(words[0])


def test_there_is_something_to_check() -> None:
    assert len(SHELL) > 20 and len(of("python")) > 5 and len(of("toml")) > 3
