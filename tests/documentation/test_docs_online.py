"""Hugging Face's documentation from a server on loopback, and what comes where there is no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.loopback import Answer, Asked, Loopback, Reply

from ml_intern.context import ToolContext
from ml_intern.documentation.online import guides
from ml_intern.documentation.pages import read_page
from ml_intern.errors import ToolError
from ml_intern.tools.docs import read_docs, search_docs
from ml_intern.web.client import Web

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]
HF = "https://huggingface.co"
INDEX = f"""# TRL
## Docs
- [SFT Trainer]({HF}/docs/trl/v1.16.0/sft_trainer.md)
- [Reducing Memory Usage]({HF}/docs/trl/v1.16.0/reducing_memory_usage.md)
- [GRPO Trainer]({HF}/docs/trl/v1.16.0/grpo_trainer.md)
- [bad](javascript:alert)
"""
PAGE = (
    "# SFT Trainer\n\n"
    + "Words of the beginning.\n\n" * 20
    + "## Packing[[packing]]\n\nShort examples are joined.\n\n"
    "## Quick start, in a line!\n\nHere.\n\n### trl.SFTTrainer[[trl.SFTTrainer]]\n\nA class.\n"
)
HTML = "<!DOCTYPE html><html><head><title>A guide</title></head><body><nav>Menu</nav><main><h1>Guide</h1><p>"
HTML += "Text of the guide. " * 30 + "</p></main></body></html>"
ROWS = [
    {
        "source_page_url": f"{HF}/docs/trl/sft_trainer{end}",
        "heading1": "SFT",
        "heading2": "Packing",
        "text": "<b>x</b>",
    }
    for end in ("#packing", "#other", "2")
]
BAD_ROWS = [None, 3, {"source_page_url": "javascript:x"}, {"text": "no address"}]


def _hub(asked: Asked) -> Any:
    if asked.path == "/api/docs/search":
        return [*BAD_ROWS, *ROWS] if "packing" in asked.query["q"] else []
    if asked.path == "/docs/trl/llms.txt":
        return Reply(INDEX, headers={"content-type": "text/plain"})
    if asked.path == "/docs/trl/v1.16.0/sft_trainer.md":
        return Reply(PAGE, headers={"content-type": "text/markdown"})
    if asked.path == "/docs/hub/guide":
        return Reply(HTML, headers={"content-type": "text/html"})
    return Reply({"error": "not found"}, 404)


def _web(make_web: Make, server: Loopback, **options: Any) -> Web:
    return make_web(**{"mirrors": {"huggingface": server.url}, "manners": (), "tries": 0, **options})


def _at(ctx: ToolContext, web: Web) -> ToolContext:
    return replace(ctx, services=replace(ctx.services, web=web))


def test_passages_are_searched_for_and_a_page_comes_once(serve: Serve, make_web: Make) -> None:
    server = serve(_hub)
    found, notes = guides(_web(make_web, server), "Packing", ["trl"], 5)
    assert [hit.name.rpartition("/")[2] for hit in found] == ["sft_trainer#packing", "sft_trainer2"]
    assert found[0].signature == "SFT › Packing" and found[0].version == "newest" and notes == []
    assert [asked.query for asked in server.asked] == [{"q": "packing", "product": "trl"}]


@pytest.mark.parametrize(
    "broken", [None, b"", b"<html>", b"{}", b"[[]]"], ids=["empty", "nothing", "html", "{}", "[[]]"]
)
def test_where_the_search_gives_nothing_titles_are_compared(
    broken: bytes | None, serve: Serve, make_web: Make
) -> None:
    server = serve(
        lambda asked: Reply(broken) if broken is not None and asked.path.startswith("/api") else _hub(asked)
    )
    found, _ = guides(_web(make_web, server), "less memory", ["trl"], 5)
    assert [hit.name for hit in found] == [f"{HF}/docs/trl/v1.16.0/reducing_memory_usage"]
    assert guides(_web(make_web, server), "bananas", ["trl"], 5)[0] == []


def test_a_page_is_read_as_its_markdown(desk: ToolContext, serve: Serve, make_web: Make) -> None:
    server = serve(_hub)
    ctx = _at(desk, _web(make_web, server))
    for url in (f"{HF}/docs/trl/v1.16.0/sft_trainer", f"{HF}/docs/trl/v1.16.0/sft_trainer.md?x=1"):
        page = read_docs(ctx, url)
        assert page.text == PAGE and page.headings[0] == "SFT Trainer"
    assert set(server.paths()) == {"/docs/trl/v1.16.0/sft_trainer.md"}


@pytest.mark.parametrize(
    ("anchor", "first"),
    [
        ("packing", "## Packing"),
        ("quick-start-in-a-line", "## Quick start"),
        ("trl.SFTTrainer", "### trl.SFTTrainer"),
        ("no-such-heading", "# SFT Trainer"),
    ],
)
def test_a_page_begins_at_the_heading_that_is_named(
    anchor: str, first: str, desk: ToolContext, serve: Serve, make_web: Make
) -> None:
    ctx = _at(desk, _web(make_web, serve(_hub)))
    assert read_docs(ctx, f"{HF}/docs/trl/v1.16.0/sft_trainer#{anchor}").text.startswith(first)


def test_a_page_without_markdown_is_read_from_its_html(
    desk: ToolContext, serve: Serve, make_web: Make
) -> None:
    server = serve(_hub)
    page = read_docs(_at(desk, _web(make_web, server)), f"{HF}/docs/hub/guide")
    assert page.title == "A guide" and "Text of the guide." in page.text and "Menu" not in page.text
    assert server.paths() == ["/docs/hub/guide.md", "/docs/hub/guide"]
    with pytest.raises(ToolError, match=r"/docs/trl/nowhere does not exist") as told:
        read_docs(_at(desk, _web(make_web, server)), f"{HF}/docs/trl/nowhere")
    assert "search_docs('nowhere', online=True)" in told.value.hint and f"{HF}/docs/trl." in told.value.hint


def test_other_pages_of_the_network(desk: ToolContext, serve: Serve, make_web: Make) -> None:
    def answer(asked: Asked) -> Reply:
        kind = "image/png" if asked.path.endswith(".bin") else "text/html"
        return Reply(b"\x00\x01" if asked.path.endswith(".bin") else HTML, headers={"content-type": kind})

    server = serve(answer)
    web = _web(make_web, server)
    assert read_page(desk.files, None, web, f"{server.url}/guide").title == "A guide"
    with pytest.raises(ToolError, match="is not text"):
        read_page(desk.files, None, web, f"{server.url}/x.bin")


def _with_package(desk: ToolContext) -> None:
    (desk.files.workspace / "trlike.py").write_text('def pack_rows(rows):\n    """Packing of rows."""\n')


def test_offline_the_cache_answers_else_what_is_installed(
    desk: ToolContext, serve: Serve, make_web: Make
) -> None:
    _with_package(desk)
    server = serve(_hub)
    url = f"{HF}/docs/trl/v1.16.0/sft_trainer"
    read_docs(_at(desk, _web(make_web, server)), url)
    count = len(server.asked)
    ctx = _at(desk, _web(make_web, server, offline=True))
    page = read_docs(ctx, url)
    assert page.text == PAGE and "offline: this is a copy from the cache" in page.note
    found = search_docs(ctx, "packing of rows", "trlike", online=True)
    assert found.hits[0].name == "trlike.pack_rows" and found.guides == []
    assert "cannot be asked offline" in found.note and "hits are of what is installed" in found.note
    with pytest.raises(ToolError, match="cannot be asked offline") as told:
        read_docs(ctx, f"{HF}/docs/trl/grpo_trainer")
    assert told.value.hint == "What is installed: search_docs('grpo trainer', 'trl')."
    assert len(server.asked) == count


@pytest.mark.parametrize("status", [429, 500])
def test_a_host_that_is_down_is_asked_once_for_all_libraries(
    status: int, serve: Serve, make_web: Make
) -> None:
    server = serve(lambda _: Reply(b"", status))
    found, notes = guides(_web(make_web, server), "packing", ["trl", "peft", "datasets"], 5)
    assert found == [] and len(notes) == 1 and "hits are of what is installed" in notes[0]
    assert len(server.asked) == 2
