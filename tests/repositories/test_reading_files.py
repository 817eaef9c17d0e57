"""Files of a repository as a cell reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.github_server import GitHubServer, sha_of
from support.loopback import Loopback

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.tools import code as tools

Context = Callable[..., ToolContext]


def test_a_file_comes_with_its_commit(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    got = tools.read_repo_file(make_context(server.url), "acme/trl", "examples/scripts/sft.py")
    commit = sha_of(github.repos["acme/trl"].files)
    assert (got.repo, got.commit, got.license) == ("acme/trl", commit, "Apache-2.0")
    assert got.text.startswith('"""Train a model."""') and got.next_lines is None
    assert got.url == f"https://github.com/acme/trl/blob/{commit}/examples/scripts/sft.py#L1-L12"
    assert got.notes == [] and "data" in got.note


@pytest.mark.parametrize(
    ("repo", "path", "lines"),
    [
        ("acme/trl", "/trl//long.py#L10-L12", None),
        ("https://github.com/acme/trl/blob/v1.0/trl/long.py?plain=1#L10C1-L12C5", "", None),
        ("acme/trl", "https://github.com/acme/trl/blame/main/trl/long.py", [10, 12]),
    ],
    ids=["path", "url", "path as url"],
)
def test_lines_and_names_in_several_forms(
    repo: str, path: str, lines: Any, server: Loopback, make_context: Context
) -> None:
    got = tools.read_repo_file(make_context(server.url), repo, path, lines)
    assert (got.text, got.lines) == ("value_10 = 10\nvalue_11 = 11\nvalue_12 = 12", "10-12")
    assert got.url.endswith("/trl/long.py#L10-L12")


def test_long_files_are_paged(server: Loopback, make_context: Context) -> None:
    ctx = make_context(server.url)
    seen, lines = "", None
    for _ in range(10):
        got = tools.read_repo_file(ctx, "acme/trl", "trl/long.py", lines)
        assert len(got.text) <= 16_000
        seen += got.text + "\n"
        if got.next_lines is None:
            break
        lines = got.next_lines
    assert seen == "".join(f"value_{n} = {n}\n" for n in range(1, 1201))
    assert len([a for a in server.asked if a.path.endswith("long.py")]) == 1


@pytest.mark.parametrize("ref", ["v1.0", "feature/x"])
def test_refs(ref: str, server: Loopback, github: GitHubServer, make_context: Context) -> None:
    repo = github.repos["acme/trl"]
    files = repo.at(ref)
    assert files is not None
    path = next(iter(files))
    ctx = make_context(server.url)
    assert tools.read_repo_file(ctx, "acme/trl", path, ref=ref).commit == sha_of(files)
    by_url = tools.read_repo_file(ctx, f"https://github.com/acme/trl/blob/{ref}/{path}")
    assert (by_url.commit, by_url.path) == (sha_of(files), path)
    by_commit = tools.read_repo_file(ctx, "acme/trl", path, ref=sha_of(files)[:10])
    assert by_commit.commit == sha_of(files)


def test_notebooks_come_without_outputs(server: Loopback, make_context: Context) -> None:
    got = tools.read_repo_file(make_context(server.url), "acme/trl", "examples/notebooks/intro.ipynb")
    assert got.text.splitlines()[:2] == ["# %% cell 1 (markdown)", "# Intro"]
    assert "t.train()" in got.text and "OUTPUT" not in got.text
    assert "#L" not in got.url and "notebook" in got.notes[0]


def test_folders_are_listed(server: Loopback, make_context: Context) -> None:
    ctx = make_context(server.url)
    root = tools.read_repo_file(ctx, "acme/trl")
    assert root.entries[:2] == ["docs/", "examples/"] and "empty.py (0 bytes)" in root.entries
    got = tools.read_repo_file(ctx, "https://github.com/acme/trl/tree/main/examples")
    assert got.entries[0] == "notebooks/" and got.url.endswith("/examples") and "/tree/" in got.url
    assert tools.read_repo_file(ctx, "acme/trl", "empty.py").total_lines == 0


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("examples/data.bin", "binary .60 bytes"),
        ("examples/weights.safetensors", "Git LFS: git holds a pointer to a file of 1,234,567 bytes"),
        ("examples/script/sft.py", "There is: .*examples/scripts/sft.py"),
        ("trl/../../etc/passwd", "leads out of the repository"),
    ],
    ids=["binary", "lfs", "misspelt", "outside"],
)
def test_what_cannot_be_read_is_told(path: str, said: str, server: Loopback, make_context: Context) -> None:
    with pytest.raises(ToolError, match=said):
        tools.read_repo_file(make_context(server.url), "acme/trl", path)


@pytest.mark.parametrize(
    ("repo", "ref", "said"),
    [
        ("acme/trll", "", "acme/trll does not exist on GitHub, or is private. There is: acme/trl"),
        ("nobody/trl", "", "nobody/trl does not exist.* There is: acme/trl"),
        ("trl", "", "'trl' names no repository on GitHub. There is: acme/trl"),
        ("https://gitlab.com/a/b", "", "is not on github.com"),
        ("acme/trl", "feature/y", "no branch, tag or commit 'feature/y'. There is: feature/x"),
        ("acme/empty", "", "acme/empty is empty"),
        ("acme/secret", "", "does not exist on GitHub, or is private"),
    ],
    ids=["misspelt", "owner", "bare", "elsewhere", "ref", "empty", "private"],
)
def test_names_that_are_not_there(
    repo: str, ref: str, said: str, server: Loopback, make_context: Context
) -> None:
    with pytest.raises(ToolError, match=said):
        tools.read_repo_file(make_context(server.url), repo, "a.py", ref=ref)


def test_a_line_that_is_not_there(server: Loopback, make_context: Context) -> None:
    with pytest.raises(ToolError, match="has 1200 lines, there is no line 9999"):
        tools.read_repo_file(make_context(server.url), "acme/trl", "trl/long.py", "9999-")


def test_a_renamed_repository_is_followed(server: Loopback, make_context: Context) -> None:
    got = tools.read_repo_file(make_context(server.url), "acme/old", "trl/sft.py")
    assert got.repo == "acme/trl" and "github.com/acme/trl/blob" in got.url
    assert got.notes == ["acme/old is called acme/trl now."]


def test_a_private_file_comes_with_a_token(server: Loopback, make_context: Context, token: str) -> None:
    ctx = make_context(server.url, token=token)
    assert tools.read_repo_file(ctx, "acme/secret", "a.py").text == "hidden = 1"
    big = tools.read_repo_file(ctx, "acme/secret", "big.txt", "500000")
    assert (big.text, big.total_lines) == ("x", 600_000)


def test_a_submodule_is_told(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    github.repos["acme/trl"].submodules = {"third": "https://github.com/a/b.git"}
    with pytest.raises(ToolError, match=r"another repository. Read it there: https://github.com/a/b.git"):
        tools.read_repo_file(make_context(server.url), "acme/trl", "third")


def test_a_line_without_end_is_cut_and_told(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.repos["acme/trl"].files = {"min.js": "x" * 50_000 + "\nend\n"}
    ctx = make_context(server.url)
    got = tools.read_repo_file(ctx, "acme/trl", "min.js")
    assert len(got.text) == 16_000 and got.next_lines == "2-2" and "50,000" in got.notes[0]
    assert tools.read_repo_file(ctx, "acme/trl", "min.js", "2-2").text == "end"


@pytest.mark.thorough
def test_a_file_that_is_too_large_is_refused(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.repos["acme/trl"].files = {"data.json": b"[1," * 3_400_000}
    with pytest.raises(ToolError, match=r"data.json is too large to read.*10 MB.*github.com/acme/trl/blob/"):
        tools.read_repo_file(make_context(server.url), "acme/trl", "data.json")


def test_strange_file_names_are_found(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    name = "a b/c#d?e%20 ü.py"
    github.repos["acme/trl"].files = {name: "x = 1\r\ny = 2\x0c\nz = 3"}
    got = tools.read_repo_file(make_context(server.url), "acme/trl", name, 2)
    assert (got.text, got.total_lines) == ("y = 2\x0c", 3)
    assert got.url.endswith("/a%20b/c%23d%3Fe%2520%20%C3%BC.py#L2")
    assert tools.read_repo_file(make_context(server.url), got.url).text == "y = 2\x0c"
