"""Every client against every fault of a server: it is asked again or told in one line, and never hammered."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from support.loopback import Answer, Loopback, Reply
from support.paper_answers import atom

from ml_intern.documentation.online import fetch_page, searched
from ml_intern.documentation.pages import read_page
from ml_intern.errors import Interrupted, ToolError
from ml_intern.papers.arxiv_api import Arxiv
from ml_intern.papers.hugging_face import HuggingFace
from ml_intern.papers.ids import parse_id
from ml_intern.papers.openalex import OpenAlex
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.sources import fetch_paper_sources
from ml_intern.web.client import Web

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]
ID = parse_id("2401.00001")
TRIES = 2
WORK = {"id": "https://openalex.org/W12345", "display_name": "Médium-sized models", "publication_year": 2024}
PAPER = {"paperId": "a" * 40, "externalIds": {"ArXiv": "2401.00001"}, "title": "Médium-sized models"}
HF = {"id": "2401.00001", "title": "Médium-sized models", "linkedModels": [{"id": "ada/model"}]}
HTML = (
    "<!DOCTYPE html><html><body><main><h1>Médium-sized models</h1>"
    + "<p>words </p>" * 60
    + "</main></body></html>"
)
PDF = b"%PDF-1.5 " + b"x" * 200
SOURCE = gzip.compress(b"\\section{One}" + b"words " * 50, mtime=0)
DOCS = [{"source_page_url": "https://huggingface.co/docs/trl/sft", "heading1": "SFT", "text": "Packing."}]


@dataclass(frozen=True)
class Client:
    """A client's call, what its service answers, and what it answers where it has found nothing.

    Attributes:
        checked: It sees whether an answer is whole in itself; bytes that only a reader can judge it hands on.
    """

    call: Callable[[Web], Any]
    whole: bytes | str | dict[str, Any] | list[Any]
    empty: bytes | str | dict[str, Any] | list[Any] | None = None
    checked: bool = True

    @property
    def body(self) -> bytes:
        return Reply(self.whole).body if isinstance(self.whole, bytes) else _bytes(self.whole)


def _bytes(body: Any) -> bytes:
    import json

    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


def _form(kind: Any) -> Callable[[Web], Any]:
    return lambda web: [(s.kind, s.content) for s in fetch_paper_sources(web, str(ID), kinds=[kind])]


def _page(web: Web) -> Any:
    nothing: Any = None
    return read_page(nothing, None, web, f"{web.base('huggingface', '')}/guide").text


CLIENTS: dict[str, Client] = {
    "arxiv search": Client(lambda web: Arxiv(web).search("words", 5)[0], atom([{"id": "2401.00001"}]), atom([])),
    "arxiv papers": Client(lambda web: Arxiv(web).papers([ID])[0], atom([{"id": "2401.00001"}]), atom([])),
    "arxiv html": Client(_form("html"), HTML, checked=False),
    "arxiv source": Client(_form("latex"), SOURCE, checked=False),
    "arxiv pdf": Client(_form("pdf"), PDF, checked=False),
    "scholar search": Client(
        lambda web: SemanticScholar(web).search("words", 5)[0], {"data": [PAPER]}, {"total": 0}
    ),
    "scholar paper": Client(lambda web: SemanticScholar(web).paper(ID), PAPER),
    "scholar batch": Client(lambda web: SemanticScholar(web).batch(["a"])[0], [PAPER], []),
    "scholar references": Client(
        lambda web: SemanticScholar(web).references("a").links, {"data": [{"citedPaper": PAPER}]}, {"data": None}
    ),
    "scholar citations": Client(
        lambda web: SemanticScholar(web).citations("a").links, {"data": [{"citingPaper": PAPER}]}, {"data": []}
    ),
    "scholar recommend": Client(
        lambda web: SemanticScholar(web).recommend(["a"], [], 5)[0],
        {"recommendedPapers": [PAPER]},
        {"recommendedPapers": []},
    ),
    "scholar snippets": Client(
        lambda web: SemanticScholar(web).snippets("words", 5)[0],
        {"data": [{"snippet": {"text": "A passage."}, "paper": {"corpusId": 5}}]},
        {"data": []},
    ),
    "openalex search": Client(
        lambda web: OpenAlex(web).search("words", 5)[0], {"results": [WORK]}, {"results": []}
    ),
    "openalex works": Client(
        lambda web: OpenAlex(web).works(["W12345"]), {"results": [WORK]}, {"results": None}
    ),
    "hub search": Client(lambda web: HuggingFace(web).search("words", 5)[0], [{"paper": HF}], []),
    "hub day": Client(lambda web: HuggingFace(web).daily(None, 5)[0], [{"paper": HF}], []),
    "hub resources": Client(lambda web: [r.id for r in HuggingFace(web).resources(ID).resources], HF, {}),
    "a page": Client(_page, HTML, checked=False),
    "docs page": Client(
        lambda web: fetch_page(web, "https://huggingface.co/docs/trl").text, HTML, checked=False
    ),
    "docs search": Client(
        lambda web: searched(web, web.base("huggingface", ""), "packing", "trl")[0], DOCS, []
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """An answer that is wrong.

    Attributes:
        of: Makes it of the body that is right.
        passes: A later try may be answered; else it is told at once.
        said: What the error says.
        seen: By clients that check only the size of what came.
    """

    of: Callable[[bytes], Reply]
    said: str
    passes: bool = True
    seen: bool = True


FAULTS: dict[str, Fault] = {
    "a rate limit": Fault(lambda _: Reply(b"slow down", 429), "limits the rate of requests"),
    "a rate limit that says when": Fault(
        lambda _: Reply({"message": "slow down"}, 429, {"Retry-After": "0.1"}), "limits the rate of requests"
    ),
    "a rate limit for an hour": Fault(
        lambda _: Reply({}, 429, {"Retry-After": "3600"}), "asks to wait 3600 s|left alone", passes=False
    ),
    "an error of the server": Fault(lambda _: Reply(b"<html>oops</html>", 500), "status 500"),
    "a gateway without a server": Fault(lambda _: Reply(b"", 502), "status 502"),
    "busy": Fault(lambda _: Reply(b"", 503, {"Retry-After": "0.1"}), "status 503"),
    "cut off": Fault(lambda body: Reply(body[: len(body) // 2], length=len(body)), "gives no answer"),
    "cut off and packed": Fault(
        lambda body: Reply(gzip.compress(body)[:-9], headers={"content-encoding": "gzip"}), "packed answer"
    ),
    "packed as never asked": Fault(
        lambda body: Reply(body, headers={"content-encoding": "br"}), "which nobody asked for", passes=False
    ),
    "malformed": Fault(lambda body: Reply(body[: len(body) // 2]), "cannot be read", seen=False),
    "nothing": Fault(lambda _: Reply(b""), "cannot be read|gives something else|no text", seen=False),
    "another page": Fault(
        lambda _: Reply(b"<html><body>Log in to the hotel's network</body></html>"), "cannot be read", seen=False
    ),
    "another type": Fault(lambda _: Reply(b"3"), "cannot be read", seen=False),
    "refused": Fault(lambda _: Reply({"error": "Forbidden"}, 403), "refuses the request with status 403", False),
    "gone": Fault(lambda _: Reply({"error": "Gone"}, 404), "does not exist", passes=False),
    "to a private address": Fault(
        lambda _: Reply(b"", 308, {"Location": "http://10.0.0.1/"}), "private|not public|10.0.0.1", passes=False
    ),
    "to the metadata of a cloud": Fault(
        lambda _: Reply(b"", 307, {"Location": "http://169.254.169.254/latest"}), "169.254", passes=False
    ),
    "to a file": Fault(lambda _: Reply(b"", 307, {"Location": "file:///etc/passwd"}), "file|http", passes=False),
}  # fmt: skip

EVERY = [(client, fault) for client in CLIENTS for fault in FAULTS]
CORE = {(list(CLIENTS)[n * 5 % len(CLIENTS)], fault) for n, fault in enumerate(FAULTS)}
"""Each fault once, over clients in turn."""


def _is_seen(client: str, fault: str) -> bool:
    return CLIENTS[client].checked or FAULTS[fault].seen


def _cases(wanted: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """The core in each run of the suite, all of them in the long one."""
    made = [
        pytest.param(*case, marks=() if case in CORE else pytest.mark.thorough, id=" - ".join(case))
        for case in wanted
    ]
    return pytest.mark.parametrize(("client", "fault"), made)


def _web(make_web: Make, server: Loopback, **options: Any) -> Web:
    names = ("arxiv", "arxiv-site", "semantic-scholar", "openalex", "huggingface")
    given = {"mirrors": dict.fromkeys(names, server.url), "manners": (), "tries": TRIES, **options}
    return make_web(**given)


@_cases([case for case in EVERY if FAULTS[case[1]].passes and _is_seen(*case)])
def test_a_fault_that_passes_costs_one_more_request(
    client: str, fault: str, serve: Serve, make_web: Make, tmp_path: Any
) -> None:
    asks, wrong = CLIENTS[client], FAULTS[fault]
    good = serve(lambda _: Reply(asks.body))
    expected = asks.call(_web(make_web, good, folder=tmp_path / "good"))
    needed = len(good.asked)
    assert expected
    server = serve(lambda _: wrong.of(asks.body) if len(server.asked) == 1 else Reply(asks.body))
    assert asks.call(_web(make_web, server)) == expected
    assert len(server.asked) == needed + 1


@_cases(EVERY)
def test_a_fault_that_stays_is_told_in_one_line(
    client: str, fault: str, serve: Serve, make_web: Make
) -> None:
    asks, wrong = CLIENTS[client], FAULTS[fault]
    server = serve(lambda _: wrong.of(asks.body))
    web = _web(make_web, server)
    if _is_seen(client, fault):
        with pytest.raises(ToolError, match=wrong.said) as told:
            asks.call(web)
        assert "\n" not in told.value.message and len(told.value.message) < 600
        assert "Traceback" not in told.value.message and "0x" not in told.value.message
    else:
        try:
            asks.call(web)
        except ToolError as error:
            assert "\n" not in error.message
    assert len(server.asked) <= (TRIES + 1 if wrong.passes else 1), server.paths()
    assert server.most_at_once == 1


@pytest.mark.parametrize("client", [name for name, c in CLIENTS.items() if c.empty is not None])
def test_an_empty_page_is_no_error(client: str, serve: Serve, make_web: Make) -> None:
    asks = CLIENTS[client]
    server = serve(lambda _: Reply(_bytes(asks.empty)))
    found = asks.call(_web(make_web, server))
    assert not any(found) and len(server.asked) <= 2


LABELS = ("text/html; charset=utf-16", "application/json; charset=no-such", "text/plain; charset=ascii", "")


some = pytest.mark.parametrize(
    "client",
    [
        pytest.param(name, marks=() if n % 6 == 0 else pytest.mark.thorough, id=name)
        for n, name in enumerate(CLIENTS)
    ],
)


@some
def test_a_wrong_charset_changes_nothing(client: str, serve: Serve, make_web: Make, tmp_path: Any) -> None:
    asks = CLIENTS[client]
    expected = asks.call(_web(make_web, serve(lambda _: Reply(asks.body)), folder=tmp_path / "good"))
    for n, label in enumerate(LABELS):
        server = serve(lambda _, label=label: Reply(asks.body, headers={"content-type": label}))
        found = asks.call(_web(make_web, server, folder=tmp_path / str(n)))
        assert found == expected, label
        assert len(server.asked) <= 2


@some
def test_a_server_that_does_not_answer_is_left_when_the_person_says_so(
    client: str, serve: Serve, make_web: Make
) -> None:
    server = serve(lambda _: Reply(CLIENTS[client].body, delay_s=3600))
    web = _web(make_web, server, stop=lambda: bool(server.asked))
    with pytest.raises(Interrupted):
        CLIENTS[client].call(web)
    assert len(server.asked) == 1
