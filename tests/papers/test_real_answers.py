"""Real answers of arXiv and Semantic Scholar, recorded by others, where they are at hand: all are read.

They lie in a sibling folder of the checkout, or where PAPER_RECORDINGS says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import yaml
from support.loopback import Answer, Asked, Loopback, Reply

from ml_intern.papers import semantic_scholar as s2
from ml_intern.papers.arxiv_api import Arxiv
from ml_intern.papers.ids import PaperId, parse_id, try_id
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.values import an_object
from ml_intern.web.client import Web
from ml_intern.web.errors import BadAnswer, Missing, WebError

DATA = Path(os.environ.get("PAPER_RECORDINGS") or Path(__file__).parents[3] / "shared" / "data")

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]


@dataclass(frozen=True)
class Recording:
    """One answer, and the request it was given to."""

    name: str
    method: str
    url: str
    asked: bytes
    status: int
    body: str

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


class Replay:
    """Answers requests with recordings: the same method, path, parameters that count, and body."""

    IGNORED = frozenset({"fields", "limit"})

    def __init__(self, recordings: list[Recording]) -> None:
        self._known = {self._key(r.method, r.path, r.query, r.asked): r for r in recordings}

    def __call__(self, asked: Asked) -> Reply:
        found = self._known.get(self._key(asked.method, asked.path, asked.query, asked.body))
        if found is None:
            return Reply({"error": f"nothing recorded for {asked.path} {dict(asked.query)}"}, status=418)
        return Reply(found.body.encode(), found.status)

    def _key(self, method: str, path: str, query: Any, body: bytes) -> str:
        counted = {
            k: v for k, v in query.items() if k not in self.IGNORED and not (k == "offset" and v == "0")
        }
        return json.dumps(
            [method, unquote(path).rstrip("/"), counted, json.loads(body or b"null")], sort_keys=True
        )


def _at_hand(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"the recordings {name} are not at hand")
    return DATA / name


def _of_arxiv() -> list[Recording]:
    found = []
    for path in sorted(_at_hand("arxiv_api").glob("*.json")):
        made = json.loads(path.read_text(encoding="utf-8"))
        found.append(Recording(path.stem, "GET", made["url"], b"", made["status_code"], made["body"]))
    return found


def _of_semantic_scholar() -> list[Recording]:
    found = []
    for path in sorted(_at_hand("semantic_scholar").glob("*.yaml")):
        for made in yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)["interactions"]:
            asked, answer = made["request"], made["response"]
            status = answer["status_code"] if "status_code" in answer else answer["status"]["code"]
            body = answer["content"] if "content" in answer else answer["body"]["string"]
            given = (asked["body"] or "").encode()
            found.append(Recording(path.stem, asked["method"], asked["uri"], given, status, body))
    return found


def test_every_answer_of_arxiv_is_read(serve: Serve, make_web: Make) -> None:
    recordings = _of_arxiv()
    server = serve(Replay(recordings))
    arxiv = Arxiv(make_web(mirrors={"arxiv": server.url}, manners=()))
    papers = 0
    for recording in recordings:
        asked = recording.query
        if recording.status != 200:
            with pytest.raises(WebError, match="incorrect id format for abc"):
                arxiv._results(int(asked["max_results"]), id_list=asked["id_list"].split(","))
            continue
        page = _page_of(arxiv, server, asked)
        assert len(page) == recording.body.count("<entry>"), recording.name
        for paper in page:
            assert paper.title and paper.authors and paper.year and paper.abstract and paper.pdf
            assert try_id(paper.id) is not None and paper.url.endswith(tuple(f"v{n}" for n in range(30)))
        papers += len(page)
    assert (len(recordings), papers) == (20, 221)


def _page_of(arxiv: Arxiv, server: Loopback, asked: dict[str, str]) -> list[Any]:
    """The papers of one page, through the package's own offset."""
    import arxiv as package

    from ml_intern.papers.arxiv_api import _paper, _Session

    client = package.Client(page_size=int(asked["max_results"]), delay_seconds=0, num_retries=0)
    client._session = _Session(arxiv._web)
    client.query_url_format = f"{server.url}/api/query?{{}}"
    ids = [id for id in asked["id_list"].split(",") if id]
    count, start = int(asked["max_results"]), int(asked["start"])
    search = package.Search(query=asked["search_query"], id_list=ids, max_results=start + count)
    return [_paper(result) for result in client.results(search, offset=start)]


def test_old_ids_versions_and_missing_papers_of_arxiv(serve: Serve, make_web: Make) -> None:
    server = serve(_any_size(_of_arxiv()))
    arxiv = Arxiv(make_web(mirrors={"arxiv": server.url}, manners=()))
    assert arxiv.paper(parse_id("https://arxiv.org/abs/astro-ph/0601001")).id == "astro-ph/0601001"
    assert arxiv.paper(parse_id("quant-ph/0201082v1")).id == "quant-ph/0201082"
    assert arxiv.paper(parse_id("2104.12255v1")).url.endswith("v1")
    for gone in ("0000.0000", "0808.05394"):
        with pytest.raises(Missing, match="arXiv has no paper"):
            arxiv.paper(PaperId("arxiv", gone))


def _any_size(recordings: list[Recording]) -> Answer:
    by_ids = {r.query["id_list"]: r for r in recordings}
    return lambda asked: Reply(by_ids[asked.query["id_list"]].body)


@pytest.mark.thorough
def test_every_answer_of_semantic_scholar_is_read(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    recordings = _of_semantic_scholar()
    server = serve(Replay([]))
    seen: dict[str, int] = {}
    for recording in recordings:
        kind = _kind(recording)
        seen[kind] = seen.get(kind, 0) + 1
        # One at a time: some differ only in the fields that were asked for.
        server.answer = Replay([recording])
        web = make_web(
            mirrors={"semantic-scholar": server.url}, manners=(), folder=tmp_path / str(sum(seen.values()))
        )
        service = SemanticScholar(web)
        if recording.status >= 400:
            with pytest.raises(WebError) as told:
                _ask(service, web, server, recording, kind)
            said = json.loads(recording.body)["error"].rstrip(".")
            assert said in told.value.message and told.value.status == recording.status
        else:
            found = list(_ask(service, web, server, recording, kind))
            expected = recording.body.count('"paperId": "') if kind not in ("snippet", "other") else 0
            assert len(found) == expected or kind in ("snippet", "other"), recording.name
    assert sum(seen.values()) == len(recordings) == 96
    assert set(seen) == {"search", "bulk", "match", "paper", "batch", "references", "citations", "recommend",
                         "snippet", "other"}  # fmt: skip


def _kind(recording: Recording) -> str:
    """Which client reads it; authors and data sets have none here."""
    path = recording.path
    if "/author" in path or path.startswith("/datasets/"):
        return "other"
    if path.startswith("/recommendations/"):
        return "recommend"
    last = path.rstrip("/").rpartition("/")[2]
    named = {"search": "search", "bulk": "bulk", "match": "match", "batch": "batch"}
    if "/snippet/" in path:
        return "snippet"
    return named.get(last) or (last if last in ("references", "citations") else "paper")


def _ask(
    service: SemanticScholar, web: Web, server: Loopback, recording: Recording, kind: str
) -> Iterator[Any] | list[Any]:
    """What the client makes of a recording, papers in a list."""
    query = {k: v for k, v in recording.query.items() if k not in ("fields", "limit")}
    id = recording.path.removeprefix("/graph/v1/paper/").rpartition("/")[0]
    given = json.loads(recording.asked or b"null")
    url = f"{server.url}{recording.path}"
    if kind == "search":
        return service.search(query.pop("query"), 100, **query)[0]
    if kind == "snippet":
        return service.snippets(query["query"], 2)[0]
    if kind == "batch":
        rows, _ = service.batch(given["ids"])
        return [paper for row in rows if row and (paper := s2.paper_of(row))]
    if kind in ("references", "citations"):
        page = getattr(service, kind)(unquote(id), int(query.get("offset", 0)))
        assert page.next is None or page.next > 0
        return list(page.links)
    if kind == "recommend" and recording.method == "POST":
        page = web.ask_json(url, given, parse=an_object)
        return s2.papers_in(page.data["recommendedPapers"])
    if kind == "other":
        page = web.ask_json(url, given, query) if recording.method == "POST" else web.get_json(url, query)
        assert page.data
        return []
    page = web.get_json(url, query, parse=an_object)
    if kind == "paper":
        paper = s2.paper_of(page.data)
        return [paper] if paper else []
    return s2.papers_in(page.data.get("data") or page.data.get("recommendedPapers"))


def test_the_samples_of_semantic_scholar_are_read() -> None:
    folder = _at_hand("semantic_scholar")
    samples = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
               for name in ("Paper", "PaperWithNullValues", "Citation", "Reference")}  # fmt: skip
    turing = s2.paper_of(samples["Paper"])
    assert turing and turing.title == "Computing Machinery and Intelligence" and turing.year == 1950
    assert turing.id == "10.1093/MIND/LIX.236.433" and turing.tldr and turing.influential == 530
    assert len(s2.papers_in(samples["Paper"]["citations"])) == len(samples["Paper"]["citations"])
    bare = s2.paper_of(samples["PaperWithNullValues"])
    assert bare and bare.authors == [] and bare.citations is None
    for name, end in (("Citation", "citingPaper"), ("Reference", "citedPaper")):
        [link] = s2.links_of({"data": [samples[name]]}, end).links
        assert link.contexts and link.intents and link.paper.title


def test_a_recording_that_is_cut_is_explained(serve: Serve, make_web: Make) -> None:
    whole = next(r for r in _of_semantic_scholar() if _kind(r) == "search")
    server = serve(lambda asked: Reply(whole.body[: len(whole.body) // 2]))
    with pytest.raises(BadAnswer, match="cannot be read"):
        SemanticScholar(make_web(mirrors={"semantic-scholar": server.url}, manners=())).search("turing", 5)
