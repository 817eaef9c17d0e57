"""How a repository uses a name, as a cell asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.github_server import FakeRepo, GitHubServer, sha_of
from support.loopback import Loopback, Reply

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.repositories.examples import Wanted, candidates, kind_of
from ml_intern.repositories.excerpts import find
from ml_intern.repositories.github import Entry
from ml_intern.tools import code as tools

Context = Callable[..., ToolContext]


def test_examples_come_before_docs_tests_readme_and_source(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    found = tools.find_examples(make_context(server.url), "acme/trl", "SFTTrainer", limit=10)
    assert [(hit.path, hit.kind) for hit in found.hits] == [
        ("examples/scripts/sft.py", "example"),
        ("examples/notebooks/intro.ipynb", "example"),
        ("docs/source/sft.md", "docs"),
        ("tests/test_sft.py", "test"),
        ("README.md", "readme"),
        ("trl/sft.py", "source"),
    ]
    commit = sha_of(github.repos["acme/trl"].files)
    assert all(f"/blob/{commit}/" in hit.url for hit in found.hits)
    assert found.how == f"8 files of acme/trl at {commit[:12]}" and found.notes == []


def test_the_excerpt_shows_the_call_whole(server: Loopback, make_context: Context) -> None:
    found = tools.find_examples(make_context(server.url), "acme/trl", "SFTTrainer")
    hits = {hit.path: hit for hit in found.hits}
    call = hits["examples/scripts/sft.py"]
    assert "trainer = SFTTrainer(" in call.text and "args=config" in call.text and call.also == [3]
    assert call.url.endswith(f"sft.py#L{call.lines.replace('-', '-L')}")
    snippet = hits["docs/source/sft.md"]
    assert snippet.text.startswith("```python") and snippet.text.endswith("```") and snippet.lines == "5-9"
    assert snippet.url.endswith("sft.md?plain=1#L5-L9")


def test_without_a_keyword_the_examples_are_named(server: Loopback, make_context: Context) -> None:
    found = tools.find_examples(make_context(server.url), "https://github.com/acme/trl")
    assert {hit.path for hit in found.hits} == {"examples/notebooks/intro.ipynb", "examples/scripts/sft.py"}
    assert not [path for path in server.paths() if path.endswith(".py")]


def test_a_ref_and_a_folder_bound_it(server: Loopback, make_context: Context) -> None:
    ctx = make_context(server.url)
    new = tools.find_examples(ctx, "acme/trl", "SFTTrainer", ref="feature/x")
    assert [hit.path for hit in new.hits] == ["examples/new.py"]
    docs = tools.find_examples(ctx, "https://github.com/acme/trl/tree/main/docs", "SFTTrainer")
    assert [hit.path for hit in docs.hits] == ["docs/source/sft.md"]


def test_words_apart_count_where_the_phrase_is_nowhere(server: Loopback, make_context: Context) -> None:
    ctx = make_context(server.url)
    found = tools.find_examples(ctx, "acme/trl", "trainer packing")
    assert [hit.path for hit in found.hits] == ["examples/scripts/sft.py"]
    nothing = tools.find_examples(ctx, "acme/trl", "nowhere at all")
    assert (
        nothing.hits == [] and "None of the 8 files that were read has 'nowhere at all'" in nothing.notes[0]
    )


def test_few_files_are_read_of_many(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    files: dict[str, str | bytes] = {f"src/m{n}.py": "pass\n" for n in range(500)}
    files |= {f"examples/e{n}.py": "pass\n" for n in range(200)}
    files |= {"tests/test_grpo.py": "run(grpo)\n", "README.md": "grpo\n"}
    github.repos["acme/trl"].files = files
    found = tools.find_examples(make_context(server.url), "acme/trl", "grpo")
    assert [hit.path for hit in found.hits] == ["tests/test_grpo.py", "README.md"]
    read = [path for path in server.paths() if not path.startswith("/repos")]
    assert len(read) == 64 and "64 files of 702 were read, the likeliest first" in found.notes[0]


def test_it_stops_when_it_has_enough(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    github.repos["acme/trl"].files = {f"examples/e{n:02}.py": "go(x)\n" for n in range(60)}
    found = tools.find_examples(make_context(server.url), "acme/trl", "go", limit=3)
    assert [hit.path for hit in found.hits] == [f"examples/e0{n}.py" for n in range(3)]
    assert len([path for path in server.paths() if path.endswith(".py")]) == 12


def test_a_tree_that_github_cuts_is_walked(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    files: dict[str, str | bytes] = {f"a/f{n:03}.py": "pass\n" for n in range(60)}
    files |= {"examples/deep/run.py": "wanted(1)\n", "tests/test_a.py": "wanted\n", "zoo/b.py": "wanted(2)\n"}
    github.repos["acme/trl"].files = files
    github.tree_limit = 50
    found = tools.find_examples(make_context(server.url), "acme/trl", "wanted")
    assert [hit.path for hit in found.hits] == ["examples/deep/run.py", "tests/test_a.py"]
    told = " ".join(found.notes)
    assert "too large for GitHub to list: examples/, tests/ and a part of the rest" in told


def test_a_token_lets_the_index_point(
    server: Loopback, github: GitHubServer, make_context: Context, token: str
) -> None:
    files: dict[str, str | bytes] = {f"examples/e{n}.py": "pass\n" for n in range(200)}
    github.repos["acme/trl"].files = {**files, "src/far.py": "needle(1)\n"}
    found = tools.find_examples(make_context(server.url, token=token), "acme/trl", "needle")
    assert [hit.path for hit in found.hits] == ["src/far.py"]


def test_files_that_cannot_be_had_are_counted(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.faults.append(lambda a: Reply(b"no", 404) if a.path.endswith(("sft.py", "README.md")) else None)
    found = tools.find_examples(make_context(server.url), "acme/trl", "SFTTrainer")
    assert "examples/scripts/sft.py" not in {hit.path for hit in found.hits}
    assert found.notes[0].startswith("4 files could not be read")


def test_a_repository_that_is_not_there(server: Loopback, make_context: Context) -> None:
    with pytest.raises(ToolError, match=r"acme/tlr does not exist .* There is: acme/trl"):
        tools.find_examples(make_context(server.url), "acme/tlr", "x")


def test_an_empty_repository(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    github.repos["acme/bare"] = FakeRepo({"logo.png": b"\0"})
    ctx = make_context(server.url)
    assert "no file to show" in tools.find_examples(ctx, "acme/bare").notes[0]
    with pytest.raises(ToolError, match="acme/empty is empty"):
        tools.find_examples(ctx, "acme/empty", "x")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("examples/a.py", "example"),
        ("pkg/Cookbook/b.md", "example"),
        ("docs/source/c.md", "docs"),
        ("docs/examples/c.md", "docs"),
        ("examples/test_a.py", "test"),
        ("pkg/testing/x.py", "test"),
        ("README.md", "readme"),
        ("src/latest.py", "source"),
        ("src/contest/x.py", "source"),
    ],
)
def test_kinds(path: str, kind: str) -> None:
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import Foo\n\n\n\n\n\n\nFoo()\n", (5, 8)),
        ("class Foo:\n" + "    x = 1\n" * 30 + "y = Foo(1)\n", (29, 32)),
        ("y = Foo(\n" + "    1,\n" * 20 + ")\nz\n" * 1, (1, 22)),
        ("y = Foo(\n" + "    1,\n" * 200, (1, 28)),
        ("x\n", None),
        ("", None),
    ],
    ids=["call", "not the class", "long call", "never closed", "nothing", "empty"],
)
def test_excerpts(text: str, lines: tuple[int, int] | None) -> None:
    found = find(text, "Foo", "a.py")
    assert (found and (found.first, found.last)) == lines


def test_a_line_of_a_megabyte_is_no_excerpt() -> None:
    found = find("x" * 1_000_000 + "Foo()\n", "Foo", "a.js")
    assert found is not None and len(found.text) == 400


def test_a_file_that_is_named_so_is_read_before_others_of_its_kind() -> None:
    paths = ["examples/a.py", "examples/grpo.py", "docs/grpo_trainer.md", "tests/test_grpo.py", "pkg/grpo.py"]
    ranked = candidates([Entry(path) for path in paths], Wanted("GRPOTrainer"))
    assert [entry.path for entry in ranked] == [
        "docs/grpo_trainer.md",
        "examples/grpo.py",
        "examples/a.py",
        "tests/test_grpo.py",
        "pkg/grpo.py",
    ]


def test_what_machines_wrote_and_what_is_huge_is_not_read() -> None:
    paths = ["a/node_modules/x.js", "b/x.min.js", "package-lock.json", "vendor/y.go", "logo.png", "ok.py"]
    files = [Entry(path) for path in paths] + [Entry("big.py", 10**7), Entry("big.ipynb", 2 * 10**6)]
    assert [entry.path for entry in candidates(files, Wanted("x"))] == ["big.ipynb", "ok.py"]
    assert [entry.path for entry in candidates(files, Wanted("x", language="Go"))] == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    "text",
    [
        "a b\nthe c\n" * 60_000,
        "Foo(\n" * 100_000,
        "```\nFoo\n" * 60_000,
        "[" * 600_000 + "Foo",
        "Foo " * 150_000,
    ],
    ids=["words", "calls", "fences", "brackets", "one line"],
)
def test_hostile_files_take_no_more_than_their_length(text: str) -> None:
    begun = time.process_time()
    for keyword in ("Foo", "a the zzz", "a the"):
        find(text, keyword, "a.md")
    # Quadratic work would take minutes.
    assert time.process_time() - begun < 60
