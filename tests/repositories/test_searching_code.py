"""Search of code with and without a token, and what an owner has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.github_server import FakeRepo, GitHubServer
from support.loopback import Loopback, Reply

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.tooling import specs_in
from ml_intern.tools import code as tools

Context = Callable[..., ToolContext]


def test_with_a_token_the_index_is_asked(server: Loopback, make_context: Context, token: str) -> None:
    found = tools.search_code(make_context(server.url, token=token), "SFTTrainer", "python")
    assert found.how == "GitHub's search of code" and found.notes == []
    asked = server.asked[0]
    assert (asked.path, asked.query["q"]) == ("/search/code", "SFTTrainer language:python")
    assert asked.headers["authorization"] == f"Bearer {token}"
    hit = next(hit for hit in found.hits if hit.path == "examples/scripts/sft.py")
    assert "trainer = SFTTrainer(" in hit.text and hit.url.endswith("/examples/scripts/sft.py#L5-L12")


def test_what_is_there_twice_comes_once(
    server: Loopback, github: GitHubServer, make_context: Context, token: str
) -> None:
    github.repos["zeta/copy"] = FakeRepo({"run.py": github.repos["zeta/models"].files["examples/run.py"]})
    found = tools.search_code(make_context(server.url, token=token), "SFTConfig")
    assert [hit.repo for hit in found.hits] == ["acme/trl"]


def test_a_hit_that_cannot_be_read_keeps_its_fragment(
    server: Loopback, github: GitHubServer, make_context: Context, token: str
) -> None:
    github.faults.append(lambda a: None if a.path.startswith("/search") else Reply(b"", 404))
    found = tools.search_code(make_context(server.url, token=token), "SFTConfig")
    assert found.hits[0].lines == "" and found.hits[0].text.startswith('"""Train a model."""')
    assert "could not be read, so its lines are not told" in found.notes[0]


def test_without_a_token_likely_repositories_are_read(server: Loopback, make_context: Context) -> None:
    found = tools.search_code(make_context(server.url), "SFTTrainer", "python")
    assert [hit.repo for hit in found.hits[:2]] == ["acme/trl", "zeta/models"]
    assert found.how == "7 files of acme/trl, zeta/models"
    assert found.notes == ["GitHub searches code for those with a token only. Set GITHUB_TOKEN for that."]
    assert server.asked[0].query["q"] == "SFTTrainer in:name,description,readme language:python"
    assert not any(hit.path.endswith(".md") for hit in found.hits)
    assert "/search/code" not in server.paths()


def test_without_a_token_a_named_repository_is_read(server: Loopback, make_context: Context) -> None:
    found = tools.search_code(make_context(server.url), "SFTTrainer repo:acme/trl path:docs in:file")
    assert [hit.path for hit in found.hits] == ["docs/source/sft.md"]
    assert "Left out of the query: in." in found.notes
    with pytest.raises(ToolError, match="acme/nothing does not exist"):
        tools.search_code(make_context(server.url), "SFTTrainer repo:acme/nothing")


def test_without_a_token_the_longest_word_is_a_second_try(server: Loopback, make_context: Context) -> None:
    found = tools.search_code(make_context(server.url), "SFTTrainer(packing=True)")
    asked = [a.query["q"] for a in server.asked if a.path == "/search/repositories"]
    assert [q.partition(" in:")[0] for q in asked] == ["SFTTrainer packing True", "SFTTrainer"]
    assert "acme/trl" in found.how and found.hits == []


def test_a_token_that_is_refused_is_told_and_done_without(server: Loopback, make_context: Context) -> None:
    found = tools.search_code(make_context(server.url, token="ghp_" + "wrong" * 8), "SFTTrainer")
    assert [hit.repo for hit in found.hits[:2]] == ["acme/trl", "zeta/models"]
    assert found.notes[0] == "GitHub refuses the token (status 401), so it was asked without. Renew it."
    sent = [a for a in server.asked if a.headers.get("authorization")]
    assert len(sent) == 1


def test_a_query_that_github_does_not_take(server: Loopback, make_context: Context, token: str) -> None:
    with pytest.raises(ToolError, match=r"does not take the question: Validation Failed; ERROR_TYPE_QUERY"):
        tools.search_code(make_context(server.url, token=token), "((x")
    with pytest.raises(ToolError, match="has no word to look for"):
        tools.search_code(make_context(server.url), "repo:acme/trl")


def test_nothing_found_is_no_error(server: Loopback, make_context: Context, token: str) -> None:
    found = tools.search_code(make_context(server.url, token=token), "nowhere")
    assert found.hits == [] and "Nothing was found" in found.notes[0]
    assert tools.search_code(make_context(server.url), "nowhere").how == "no repository fits these words"


def test_repositories_come_page_after_page(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.page = 2
    found = tools.list_repos(make_context(server.url), "acme")
    first, *_, last = found.repositories
    assert (first.name, last.name, found.total) == ("acme/trl", "acme/fork", 5)
    assert [a.query.get("page", "1") for a in server.asked] == ["1", "2", "3"]
    assert (first.stars, first.license, first.pushed) == (900, "Apache-2.0", "2026-05-17")


@pytest.mark.parametrize("owner", ["@acme", "https://github.com/acme", "github.com/orgs/acme", "acme/trl"])
def test_owners_in_every_form(owner: str, server: Loopback, make_context: Context) -> None:
    found = tools.list_repos(make_context(server.url), owner, limit=2)
    assert len(found.repositories) == 2 and found.notes == ["2 of 5 are shown; ask for more with limit."]


def test_an_owner_that_is_not_there(server: Loopback, make_context: Context) -> None:
    with pytest.raises(ToolError, match=r"knows no user or organisation 'acmee'. There is: acme"):
        tools.list_repos(make_context(server.url), "acmee")
    with pytest.raises(ToolError, match="is no owner's name"):
        tools.list_repos(make_context(server.url), "../x y")


def test_pages_do_not_lead_to_other_hosts(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    link = {"link": '<http://10.1.2.3/users/acme/repos?page=2>; rel="next"'}
    github.faults.append(lambda a: Reply([github.about("acme/trl")], headers=link))
    found = tools.list_repos(make_context(server.url), "acme")
    assert found.total == 1 and found.notes == ["There are more, on a host that was not asked."]


def test_the_tools_only_read() -> None:
    specs = {spec.name: spec for spec in specs_in(tools)}
    assert set(specs) == {"search_code", "find_examples", "read_repo_file", "list_repos", "web_search"}
    assert {spec.effect for spec in specs.values()} == {"read"}
    assert {spec.subject for spec in specs.values()} == {"code"}
    assert {name for name, spec in specs.items() if "github" in spec.needs} == set(specs) - {"web_search"}
