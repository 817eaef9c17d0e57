"""Rate limits, damaged answers, foreign hosts, no network: told in one line, and nothing leaks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
from support.github_server import GitHubServer
from support.loopback import Answer, Asked, Loopback, Reply

from ml_intern.context import ToolContext
from ml_intern.errors import Interrupted, ToolError
from ml_intern.tools import code as tools
from ml_intern.web.errors import Blocked, Throttled

Context = Callable[..., ToolContext]
Serve = Callable[[Answer], Loopback]


def _used_up(seconds: float) -> Reply:
    reset = str(int(time.time() + seconds))
    headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    return Reply({"message": "API rate limit exceeded for 127.0.0.1."}, 403, headers)


def test_an_allowance_that_is_used_up_is_told_and_left_alone(
    server: Loopback, github: GitHubServer, make_context: Context, token: str
) -> None:
    github.faults.append(lambda a: None if a.headers.get("authorization") else _used_up(1800))
    with pytest.raises(Throttled, match=r"status 403.*asks to wait 1[78]\d\d s.*Set GITHUB_TOKEN"):
        tools.list_repos(make_context(server.url), "acme")
    with pytest.raises(Throttled, match=r"left alone for another 1[78]\d\d s.*Set GITHUB_TOKEN"):
        tools.read_repo_file(make_context(server.url), "acme/trl", "trl/sft.py")
    assert len(server.asked) == 1
    # A token has an allowance of its own.
    assert tools.list_repos(make_context(server.url, token=token), "acme").total == 5


def test_the_last_request_of_an_allowance_is_followed_by_none(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.remaining = 0
    assert tools.list_repos(make_context(server.url), "acme").total == 5
    with pytest.raises(Throttled, match="left alone"):
        tools.list_repos(make_context(server.url), "zeta")
    assert len(server.asked) == 1


def test_a_short_wait_is_waited_and_told(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    left = iter([Reply({"message": "You have exceeded a secondary rate limit"}, 403, {"retry-after": "1"})])
    github.faults.append(lambda a: next(left, None))
    told: list[object] = []
    found = tools.list_repos(make_context(server.url, told=told), "acme")
    first, second = server.asked
    assert found.total == 5 and second.at - first.at >= 0.9
    assert "It was slowed 1 times, at last: 127.0.0.1 answered with status 403" in found.notes[0]
    assert told


def test_a_secondary_limit_without_a_wait_is_told(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.faults.append(lambda a: Reply({"message": "You have exceeded a secondary rate limit."}, 403))
    with pytest.raises(Throttled, match=r"secondary rate limit.*Ask again in a minute"):
        tools.list_repos(make_context(server.url), "acme")
    told: list[object] = []
    with pytest.raises(Interrupted, match="Stopped while waiting"):  # of the minute that GitHub asks for
        tools.list_repos(make_context(server.url, told=told, stop=lambda: bool(told)), "zeta")
    assert "waiting" in str(told) and len(server.asked) == 1


def test_little_that_is_left_is_told(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    github.remaining = 3
    found = tools.list_repos(make_context(server.url), "acme")
    assert (
        found.notes[0].startswith("GitHub allows 3 more requests until ") and "GITHUB_TOKEN" in found.notes[0]
    )


def test_a_search_that_is_limited_falls_back(
    server: Loopback, github: GitHubServer, make_context: Context, token: str
) -> None:
    github.faults.append(lambda a: Reply({"message": "slow"}, 429) if a.path == "/search/code" else None)
    found = tools.search_code(make_context(server.url, token=token, tries=0), "SFTTrainer")
    assert found.hits and "limits the rate of requests (status 429)" in found.notes[0]
    assert "acme/trl" in found.how


def test_a_refusal_is_no_rate_limit(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    github.faults.append(lambda a: Reply({"message": "Resource protected by organization SAML"}, 403))
    with pytest.raises(ToolError, match="refuses the request with status 403: Resource protected"):
        tools.list_repos(make_context(server.url), "acme")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"full_name": "ac',
        pytest.param(b"[]", marks=pytest.mark.thorough),
        pytest.param(b"<html>", marks=pytest.mark.thorough),
    ],
    ids=["cut", "list", "html"],
)
def test_an_answer_that_cannot_be_read(
    body: bytes, server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    once = iter([Reply(body)])
    github.faults.append(lambda a: next(once, None))
    assert tools.read_repo_file(make_context(server.url), "acme/trl", "trl/sft.py").total_lines == 2
    github.faults[:] = [lambda a: Reply(body)]
    with pytest.raises(ToolError, match="cannot be read"):
        tools.read_repo_file(make_context(server.url), "acme/other", "a.py")


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"full_name": 7, "default_branch": None, "license": []},
        {"full_name": "x", "license": {"spdx_id": 3}},
    ],
    ids=["empty", "types", "name"],
)
def test_strange_answers_are_no_crash(
    strange: object, server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.faults.append(lambda a: Reply(strange) if a.path.startswith(("/repos", "/search")) else None)
    ctx = make_context(server.url, tries=0)
    for call in (
        lambda: tools.find_examples(ctx, "acme/trl", "x"),
        lambda: tools.search_code(ctx, "x"),
        lambda: tools.read_repo_file(ctx, "acme/trl", "trl/sft.py"),
    ):
        try:
            call()
        except ToolError as error:
            assert "\n" not in str(error)


def test_slow_answers_are_given_up(
    server: Loopback, github: GitHubServer, make_context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_intern.web.fetching.SILENCE_S", 0.2)
    github.faults.append(lambda a: Reply([], delay_s=60))
    with pytest.raises(ToolError, match="gives no answer"):
        tools.list_repos(make_context(server.url, tries=1), "acme")
    assert len(server.asked) == 2


def test_a_person_can_stop_it(server: Loopback, github: GitHubServer, make_context: Context) -> None:
    github.faults.append(lambda a: Reply(status=429, headers={"retry-after": "50"}))
    with pytest.raises(Interrupted):
        tools.find_examples(make_context(server.url, stop=lambda: bool(server.asked)), "acme/trl", "x")


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        pytest.param("http://10.1.2.3/x", marks=pytest.mark.thorough),
        pytest.param("file:///etc/passwd", marks=pytest.mark.thorough),
    ],
)
def test_no_redirect_leads_inside(
    target: str, server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.faults.append(lambda a: Reply(status=302, headers={"location": target}))
    with pytest.raises(Blocked):
        tools.list_repos(make_context(server.url), "acme")


def test_the_token_goes_to_github_alone(
    server: Loopback, github: GitHubServer, serve: Serve, make_context: Context, token: str
) -> None:
    other = serve(lambda asked: Reply(github.about("acme/trl")))
    hops = itertools.count()

    def elsewhere(asked: Asked) -> Reply | None:
        if asked.path != "/repos/acme/trl":
            return None
        next(hops)
        return Reply(status=301, headers={"location": f"{other.url}/repositories/1"})

    github.faults.append(elsewhere)
    got = tools.read_repo_file(make_context(server.url, token=token), "acme/trl", "trl/sft.py")
    assert got.total_lines == 2 and other.asked
    assert all(token not in str(asked.headers) for asked in other.asked)
    assert all(asked.headers["authorization"] == f"Bearer {token}" for asked in server.asked)


def test_a_mirror_gets_no_token_that_is_not_its_own(
    server: Loopback, make_context: Context, token: str
) -> None:
    ctx = make_context(server.url, environment={"GITHUB_TOKEN": token})
    found = tools.search_code(ctx, "SFTTrainer")
    assert found.hits and "with a token only" in found.notes[0]
    tools.find_examples(ctx, "acme/trl", "SFTTrainer")
    tools.list_repos(ctx, "acme")
    assert all(token not in str(asked.headers) for asked in server.asked)


def test_offline_the_cache_answers_and_says_so(server: Loopback, make_context: Context) -> None:
    online = make_context(server.url)
    before = tools.find_examples(online, "acme/trl", "SFTTrainer")
    tools.list_repos(online, "acme")
    asked = len(server.asked)
    offline = make_context(server.url, offline=True)
    after = tools.find_examples(offline, "acme/trl", "SFTTrainer")
    assert after.hits == before.hits
    assert "offline: this is a copy from the cache" in after.notes[0]
    assert tools.list_repos(offline, "acme").total == 5
    one = tools.read_repo_file(offline, "acme/trl", "trl/sft.py")
    assert one.text.startswith("class SFTTrainer") and "pages, the oldest" in one.notes[0]
    with pytest.raises(ToolError, match="cannot be asked offline, and the cache does not hold"):
        tools.read_repo_file(offline, "acme/other", "a.py")
    assert len(server.asked) == asked


def test_a_limit_in_the_middle_leaves_what_was_found(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.repos["acme/trl"].files = {f"examples/e{n:02}.py": "go(x)\n" for n in range(40)}
    limited = Reply(status=429, headers={"retry-after": "900"})
    github.faults.append(lambda a: limited if a.path.endswith(("e05.py", "e11.py")) else None)
    found = tools.find_examples(make_context(server.url), "acme/trl", "go", limit=30)
    assert found.hits and any("Reading stopped early: " in note for note in found.notes)
    assert len([path for path in server.paths() if path.endswith(".py")]) <= 12


def test_a_page_that_fails_leaves_what_was_found(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    github.page = 2
    github.faults.append(lambda a: Reply(status=500) if a.query.get("page") == "3" else None)
    found = tools.list_repos(make_context(server.url, tries=0), "acme")
    assert found.total == 4 and "There are more, which could not be had" in found.notes[0]


def test_an_older_copy_stands_in_where_github_fails(
    server: Loopback, github: GitHubServer, make_context: Context
) -> None:
    no_store = {"cache-control": "max-age=0"}
    github.faults.append(lambda a: Reply([github.about("acme/trl")], headers=no_store))
    tools.list_repos(make_context(server.url), "acme")
    github.faults[:] = [lambda a: Reply(status=502)]
    found = tools.list_repos(make_context(server.url, tries=0), "acme")
    assert found.total == 1 and "status 502: this is a copy from the cache" in found.notes[-1]
