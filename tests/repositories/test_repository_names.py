"""Names of repositories, files and lines, as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from ml_intern.errors import ToolError
from ml_intern.repositories.names import Place, clean_path, parse_lines, parse_place, split_anchor

_TRL = ("huggingface", "trl")


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("huggingface/trl", Place(*_TRL)),
        (" huggingface/trl/ ", Place(*_TRL)),
        ("huggingface/trl.git", Place(*_TRL)),
        ("github:huggingface/trl@v1.0", Place(*_TRL, "v1.0")),
        ("git@github.com:huggingface/trl.git", Place(*_TRL)),
        ("ssh://git@github.com/huggingface/trl", Place(*_TRL)),
        ("git+https://github.com/huggingface/trl.git", Place(*_TRL)),
        ("github.com/huggingface/trl", Place(*_TRL)),
        ("http://www.github.com/huggingface/trl/issues/3", Place(*_TRL)),
        ("https://github.com/huggingface/trl/commit/abc1234", Place(*_TRL, "abc1234")),
        ("https://github.com/huggingface/trl/releases/tag/v1.0", Place(*_TRL, "v1.0")),
        ("https://github.com/huggingface/trl/tree/main", Place(*_TRL, tail="main")),
        ("https://github.com/huggingface/trl/blob/main/a%20b.py", Place(*_TRL, tail="main/a b.py")),
        ("https://github.com/huggingface/trl/blob/f/x/a.py#L3", Place(*_TRL, tail="f/x/a.py", lines="3-3")),
        ("https://github.com/huggingface/trl/raw/refs/heads/main/a.py", Place(*_TRL, tail="main/a.py")),
        ("https://raw.githubusercontent.com/huggingface/trl/main/a.py", Place(*_TRL, tail="main/a.py")),
        (
            "https://raw.githubusercontent.com/huggingface/trl/refs/tags/v1/a.py",
            Place(*_TRL, tail="v1/a.py"),
        ),
        ("https://api.github.com/repos/huggingface/trl", Place(*_TRL)),
        (
            "https://api.github.com/repos/huggingface/trl/contents/a/b.py?ref=v1",
            Place(*_TRL, "v1", path="a/b.py"),
        ),
    ],
    ids=lambda given: given.strip()[-40:] if isinstance(given, str) else "",
)
def test_a_repository_in_every_form(given: str, place: Place) -> None:
    assert parse_place(given) == place


@pytest.mark.parametrize(
    "given",
    ["trl", "", "a/b/c", "../etc", "a/..", "a b/c", "https://gitlab.com/a/b", "https://github.com/a",
     "https://github.com.evil.example/a/b", "https://[", "file:///a/b", "-a/b", "a/b\nc", "ü/b"],
    ids=repr,
)  # fmt: skip
def test_what_names_no_repository(given: str) -> None:
    with pytest.raises(ToolError) as failed:
        parse_place(given)
    assert "\n" not in str(failed.value) and "owner/name" in failed.value.hint


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (None, (1, None)),
        ("", (1, None)),
        (7, (7, 7)),
        ("7", (7, 7)),
        ("7-", (7, None)),
        ("7-9", (7, 9)),
        (" L7-L9 ", (7, 9)),
        ("#L7C2-L9C5", (7, 9)),
        ("7:9", (7, 9)),
        ("7, 9", (7, 9)),
        ([7, 9], (7, 9)),
        ([7], (7, 7)),
    ],
    ids=repr,
)
def test_lines(given: Any, lines: tuple[int, int | None]) -> None:
    assert parse_lines(given) == lines


@pytest.mark.parametrize("given", ["0", "5-2", "all", "-3", [1, 2, 3], [], "1.5", "9" * 30], ids=repr)
def test_what_are_no_lines(given: Any) -> None:
    with pytest.raises(ToolError, match="lines"):
        parse_lines(given)


def test_paths() -> None:
    assert clean_path(" /a//./b\\c/ ") == "a/b/c" and clean_path("/") == ""
    with pytest.raises(ToolError, match="leads out"):
        clean_path("a/../../b")
    assert split_anchor("a.py#L3-L4") == ("a.py", "3-4")
    assert split_anchor("docs/#Learn.md") == ("docs/#Learn.md", "")
