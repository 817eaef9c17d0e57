"""Searching what is installed: a made-up library for the rules, two real ones for the order."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from ml_intern.context import ToolContext
from ml_intern.documentation import library as documentation
from ml_intern.documentation.library import named_in
from ml_intern.documentation.words import asked_words, pieces
from ml_intern.errors import ToolError
from ml_intern.tools.docs import search_docs

SOURCE = '''
class PackingCollator:
    """Puts several short examples into one sequence."""

    def collate(self, rows):
        """Join the rows."""


class _PackingHelper:
    """Puts several short examples into one sequence."""


def save_everything(folder):
    """Write all that was made to a folder."""
'''


def _names(ctx: ToolContext, query: str, library: str | None = None) -> list[str]:
    return [hit.name for hit in search_docs(ctx, query, library).hits]


@pytest.fixture
def package(desk: ToolContext) -> Path:
    file = desk.files.workspace / "packlib.py"
    file.write_text(SOURCE)
    return file


@pytest.fixture(scope="module")
def kept(shelf: ToolContext) -> Path:
    file = shelf.files.workspace / "packlib.py"
    file.write_text(SOURCE)
    return file


def test_a_symbol_is_found_by_what_it_does_public_ones_first(shelf: ToolContext, kept: Path) -> None:
    names = _names(shelf, "put short examples into one sequence", "packlib")
    assert names[0] == "packlib.PackingCollator" and "packlib._PackingHelper" in names[1:]


def test_parts_of_a_name_are_enough(shelf: ToolContext, kept: Path) -> None:
    assert _names(shelf, "packing collator", "packlib")[0] == "packlib.PackingCollator"
    assert _names(shelf, "save everything", "packlib")[0] == "packlib.save_everything"


def test_a_hit_says_where_it_stands(shelf: ToolContext, kept: Path) -> None:
    hit = search_docs(shelf, "save everything", "packlib").hits[0]
    line = SOURCE.splitlines().index("def save_everything(folder):") + 1
    assert hit.where == f"{kept}:{line}" and hit.summary == "Write all that was made to a folder."


def test_the_index_is_kept_and_follows_the_source(desk: ToolContext, package: Path) -> None:
    assert _names(desk, "save everything", "packlib") == ["packlib.save_everything"]
    again = _another_session(desk)
    assert _names(again, "save everything", "packlib") == ["packlib.save_everything"]
    assert not again.services.notes["told"]
    package.write_text(SOURCE.replace("save_everything", "keep_everything"))
    os.utime(package, (1, 1))
    later = _another_session(desk)
    assert _names(later, "everything", "packlib") == ["packlib.keep_everything"]
    assert later.services.notes["told"]


def _another_session(ctx: ToolContext) -> ToolContext:
    from dataclasses import replace

    from ml_intern.documentation.library import Documentation

    told: list[object] = []
    docs = Documentation(ctx.services.folder / "cache", "tests")
    services = replace(ctx.services, docs=docs, emit=told.append, notes={"told": told})
    return ToolContext(services, "call-2", "key-2")


def test_a_broken_index_is_made_anew(desk: ToolContext, package: Path) -> None:
    folder = desk.services.folder / "cache"
    folder.mkdir()
    (folder / "docs-1.sqlite").write_bytes(b"this is no database" * 500)
    assert _names(desk, "save everything", "packlib") == ["packlib.save_everything"]


@pytest.mark.parametrize("query", ['"', "a OR", "(", "NEAR(x", "*", "名前", "the of", "x" * 500])
def test_any_question_may_be_asked(shelf: ToolContext, kept: Path, query: str) -> None:
    hits = search_docs(shelf, query, "packlib").hits
    assert all(hit.where.startswith(f"{kept}:") for hit in hits)


def test_a_library_that_is_missing_is_named(desk: ToolContext) -> None:
    with pytest.raises(ToolError, match="'no_such_library' is not installed"):
        search_docs(desk, "anything", "no_such_library")


def test_source_that_cannot_be_parsed_is_passed_over(desk: ToolContext) -> None:
    folder = desk.files.workspace / "halflib"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .good import useful_thing\n")
    (folder / "good.py").write_text('def useful_thing():\n    """Does a useful thing."""\n')
    (folder / "bad.py").write_text("def broken(:\n")
    (folder / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (folder / "README.md").write_text(
        "# Halflib\n\nText.\n\n## Bananas\n\nHow bananas are peeled by halflib.\n"
    )
    assert _names(desk, "useful thing", "halflib") == ["halflib.useful_thing"]
    assert _names(desk, "peel bananas", "halflib")[0] == "halflib/README.md#Bananas"


def test_names_are_taken_apart() -> None:
    assert pieces("lr_scheduler_type") == ["lr", "scheduler", "type"]
    assert pieces("HTMLParser2DPOTrainer") == ["html", "parser", "2", "dpo", "trainer"]
    assert asked_words("How do I use the SFTTrainer?") == ["sft", "trainer", "sfttrainer"]


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("packing in trl", ["trl"]),
        ("the beta of GRPO in TRL and target modules in `peft`?", ["trl", "peft"]),
        ("datasets.Dataset.map with several processes", ["datasets"]),
        ("callbacks of the Transformers library", ["transformers"]),
        ("accelerate training on several datasets", []),
        ("attention in transformers-like models", []),
        ("in trlx", []),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:12],
)
def test_a_question_may_name_the_library(question: str, names: list[str]) -> None:
    assert named_in(question) == names


def test_a_library_that_the_question_names_is_read_alone(
    desk: ToolContext, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.files.workspace / "otherlib.py").write_text('def peel():\n    """Peel a banana."""\n')
    monkeypatch.setattr(documentation, "USUAL", ("otherlib", "packlib"))
    monkeypatch.setattr(documentation, "named_in", lambda question: ["packlib"])
    assert list(search_docs(desk, "save everything in packlib").searched) == ["packlib"]
    monkeypatch.setattr(documentation, "named_in", lambda question: ["no_such_library"])
    both = search_docs(desk, "peel a banana")
    assert list(both.searched) == ["otherlib", "packlib"] and both.hits[0].name == "otherlib.peel"


@pytest.mark.thorough
@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
def test_questions_about_the_installed_trl(desk: ToolContext) -> None:
    assert "trl.DPOConfig" in _names(
        desk, "train on preference pairs with chosen and rejected answers", "trl"
    )
    assert "trl.SFTConfig.assistant_only_loss" in _names(desk, "loss only on the assistant's messages", "trl")
    assert "trl.GRPOConfig.beta" in _names(desk, "KL coefficient of GRPO", "trl")


@pytest.mark.thorough
@pytest.mark.skipif(find_spec("peft") is None, reason="PEFT is not installed")
def test_questions_about_the_installed_peft(desk: ToolContext) -> None:
    names = _names(desk, "merge the adapter into the base model", "peft")
    assert any(name.endswith((".merge_and_unload", ".merge_adapter")) for name in names)
