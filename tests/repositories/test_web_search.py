"""The web, searched through smolagents' tool over our own way to pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from support.loopback import Answer, Asked, Loopback, Reply

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.tools import code as tools

Context = Callable[..., ToolContext]
Serve = Callable[[Answer], Loopback]


def lite(*rows: tuple[str, str, str], sponsored: bool = False) -> str:
    """DuckDuckGo's plain page."""
    made = []
    for title, url, snippet in rows:
        href = f"//duckduckgo.com/l/?uddg={quote(url, safe='')}&amp;rut=abc"
        if sponsored and not made:
            href = "https://duckduckgo.com/y.js?ad_domain=shop.example"
        shown = url.removeprefix("https://")[:30]
        made.append(
            f'<tr><td>1.&nbsp;</td><td><a rel="nofollow" href="{href}" class=\'result-link\'>{title}</a></td></tr>'
            f"<tr><td></td><td class='result-snippet'>{snippet}</td></tr>"
            f"<tr><td></td><td><span class='link-text'>{shown}</span></td></tr>"
        )
    return f"<html><body><form action='/lite/'></form><table>{''.join(made)}</table></body></html>"


def feed(*rows: tuple[str, str, str]) -> str:
    """Bing's feed."""
    items = "".join(
        f"<item><title>{t}</title><link>{u}</link><description>{d}</description></item>" for t, u, d in rows
    )
    return f'<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel><title>Bing</title>{items}</channel></rss>'


ROWS = (
    (
        "GRPO Trainer",
        "https://huggingface.co/docs/trl/main/en/grpo_trainer?x=1&y=2",
        "How to <b>train</b> &amp; more",
    ),
    ("Second", "https://example.org/b", "b"),
)


def _engines(duck: Any, bing: Any = None) -> Answer:
    return lambda asked: (
        duck if asked.path == "/lite/" else bing if asked.path == "/search" else Reply(status=404)
    )


def test_results_come_with_title_url_and_snippet(serve: Serve, make_context: Context) -> None:
    server = serve(_engines(Reply(lite(*ROWS), headers={"content-type": "text/html"})))
    found = tools.web_search(make_context(server.url), "grpo trainer")
    assert [hit.model_dump() for hit in found.hits] == [
        {"title": "GRPO Trainer", "url": ROWS[0][1], "snippet": "How to train & more"},
        {"title": "Second", "url": "https://example.org/b", "snippet": "b"},
    ]
    assert found.engine == "DuckDuckGo" and found.notes == [] and "data of others" in found.note
    assert server.asked[0].query == {"q": "grpo trainer"}
    assert server.asked[0].headers["user-agent"].startswith("ml-intern/")


def test_advertisements_and_the_rest_are_left_out(serve: Serve, make_context: Context) -> None:
    server = serve(_engines(Reply(lite(*ROWS, sponsored=True))))
    ctx = make_context(server.url)
    assert [hit.title for hit in tools.web_search(ctx, "a").hits] == ["Second"]
    many = serve(_engines(Reply(lite(*[("t", f"https://e.org/{n}", "s") for n in range(20)]))))
    assert len(tools.web_search(make_context(many.url), "a", limit=3).hits) == 3


@pytest.mark.parametrize(
    ("duck", "told"),
    [
        (Reply("<div class='anomaly-modal__title'>", 202), "asks whether a person is there"),
        (
            Reply("<form id='challenge-form' action='//duckduckgo.com/anomaly.js'>"),
            "asks whether a person is",
        ),
        (Reply(lite()), "DuckDuckGo gave no results"),
        (Reply(status=500), "DuckDuckGo: 127.0.0.1 answers with status 500"),
        (Reply(status=403), "DuckDuckGo: 127.0.0.1 refuses the request with status 403"),
    ],
    ids=["202", "riddle", "nothing", "500", "403"],
)
def test_the_second_engine_stands_in(duck: Reply, told: str, serve: Serve, make_context: Context) -> None:
    server = serve(
        _engines(
            duck, Reply(feed(*[(t, u.replace("&", "&amp;"), d.replace("<", "&lt;")) for t, u, d in ROWS]))
        )
    )
    found = tools.web_search(make_context(server.url, tries=0), "grpo")
    assert (found.engine, found.hits[0].url) == ("Bing", ROWS[0][1])
    assert found.hits[0].snippet == "How to train & more"
    assert told in found.notes[0]


def test_where_nobody_answers_it_is_told(serve: Serve, make_context: Context) -> None:
    server = serve(_engines(Reply(status=500), Reply("<rss><channel>")))
    with pytest.raises(ToolError, match=r"No search engine answers \(.*500; .*cannot be read.*read_docs"):
        tools.web_search(make_context(server.url, tries=0), "grpo")
    empty = serve(_engines(Reply(lite()), Reply(feed())))
    found = tools.web_search(make_context(empty.url), "grpo")
    assert found.hits == [] and found.notes == ["DuckDuckGo gave no results.", "Bing gave no results."]


def test_a_feed_cannot_reach_for_files(serve: Serve, make_context: Context) -> None:
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd"><!ENTITY a "x">]>'
        "<rss><channel><item><title>&e;&a;T</title><link>https://e.org</link></item>"
        "<item><title>T</title><link>javascript:alert(1)</link></item></channel></rss>"
    )
    server = serve(_engines(Reply(lite()), Reply(bomb)))
    found = tools.web_search(make_context(server.url), "x")
    assert len(found.hits) == 1 and "root:" not in found.hits[0].title


def test_offline_an_earlier_search_is_remembered(serve: Serve, make_context: Context) -> None:
    asked: list[Asked] = []

    def answer(one: Asked) -> Reply:
        asked.append(one)
        return Reply(lite(*ROWS))

    server = serve(answer)
    tools.web_search(make_context(server.url), "grpo")
    offline = make_context(server.url, offline=True)
    found = tools.web_search(offline, "grpo")
    assert found.hits[1].title == "Second" and "offline: this is a copy" in found.notes[0]
    with pytest.raises(ToolError, match="offline"):
        tools.web_search(offline, "another")
    assert len(asked) == 1
