"""What a provider does wrong in mid-run: what passes is waited out, what does not ends in one line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from provider import (
    Fault,
    Handler,
    Provider,
    begin_stream,
    body_of,
    cut,
    events,
    feed,
    hang_up,
    reply,
    said,
    send,
    stalled,
    status,
    stream_of,
    trickle,
    whole,
)
from scripted_run import ANSWER, TEXTS, Run

from ml_intern.errors import NoBrain

Start = Callable[..., Provider]
REAL = time.time
HTML = "<!doctype html><html><body><h1>502 Bad Gateway</h1>\n<p>nginx</p></body></html>"
ERROR_EVENT = b'data: {"error": {"message": "Overloaded", "type": "overloaded_error"}}\n\n'
CODED_EVENT = b'data: {"error": {"message": "Provider returned error", "code": 502}}\n\n'

PASSING: dict[str, Fault] = {
    "429": status(429, "slow down"),
    "429 in 0 s": status(429, "slow down", Retry_After="0"),
    "429 milliseconds": status(429, "slow down", retry_after_ms="20"),
    "429 odd wait": status(429, "slow down", Retry_After="soon"),
    "too many tokens": status(400, "Too many tokens, please wait before trying again."),
    "500": status(500),
    "502 page": body_of(HTML, "text/html", 502),
    "503 empty": body_of("", code=503),
    "529": status(529, "Overloaded"),
    "408": status(408),
    "hung up": hang_up,
    "page": body_of(HTML, "text/html"),
    "page as JSON": body_of(HTML),
    "half of JSON": body_of(json.dumps(whole("x"))[:50]),
    "empty": body_of(""),
    "no length": body_of(b"\xff\xfe\x00"),
    "list": body_of("[1, 2]"),
    "null": body_of("null"),
    "number": body_of("42"),
    "no choices": body_of('{"choices": []}'),
    "choices no list": body_of('{"choices": {"a": 1}}'),
    "null choice": body_of('{"choices": [null]}'),
    "choice a text": body_of('{"choices": ["x"]}'),
    "no message": body_of('{"choices": [{"finish_reason": "stop"}]}'),
    "message a list": body_of('{"choices": [{"message": [1]}]}'),
    "content a number": body_of('{"choices": [{"message": {"content": 7}}]}'),
    "error with 200": body_of('{"error": {"message": "upstream", "code": 502}}'),
    "reason error": reply("<cell>\nrent(0.5)\n</cell>", reason="error"),
    "cut": cut(),
    "cut at once": cut(0.0),
    "cut before the end": cut(0.97),
}

STREAMED: dict[str, Fault] = {
    "half a letter": cut(0.6, 'data: {"choices": [{"delta": {"content": "ö'.encode()[:-1]),
    "no UTF-8": stream_of(b'data: {"choices": [{"delta": {"content": "\xff\xc3"}}]}\n\n'),
    "no JSON": stream_of(b"data: {half\n\n"),
    "event a number": stream_of(b"data: 42\n\n"),
    "event a list": stream_of(b"data: [1]\n\n"),
    "choices no list": stream_of(b'data: {"choices": {"a": 1}}\n\n'),
    "delta a text": stream_of(b'data: {"choices": [{"delta": "x"}]}\n\n'),
    "content a number": stream_of(b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'),
    "done at once": stream_of(b"data: [DONE]\n\n"),
    "nothing": stream_of(),
    "no end": stream_of(*events(TEXTS[0])[:-3]),
    "error event": stream_of(*events(TEXTS[0])[:4], ERROR_EVENT),
    "error with a code": stream_of(*events(TEXTS[0])[:4], CODED_EVENT),
    "cut in a header": cut(0.4, b"data"),
    "page": stream_of(HTML.encode(), kind="text/html"),
}


LAST: dict[str, Fault] = {
    "401": status(401, "Incorrect API key provided"),
    "403": status(403, "Your access was terminated"),
    "402": status(402, "Insufficient credits"),
    "quota": status(429, "You exceeded your current quota, please check your plan and billing details."),
    "404": status(404, "The model x does not exist"),
    "400": status(400, "invalid request: messages must not be empty"),
    "filtered prompt": status(
        400, "The response was filtered due to the prompt triggering a content policy."
    ),
    "long wait": status(429, "daily limit", Retry_After="86400"),
    "for ever": status(500, "down"),
    "garbage for ever": body_of(HTML),
}

OVERFLOWS = {
    "OpenAI": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000.",
    "Anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
    "Gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
    "llama.cpp": "the request exceeds the available context size. try increasing the context size",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 inputs",
    "Mistral": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "Groq": "Please reduce the length of the messages or completion.",
    "Bedrock": "Input is too long for requested model.",
    "xAI": "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
    "Cohere": "too many tokens: total number of tokens in the prompt cannot exceed 128000 - received 130000.",
    "OpenRouter": "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000",
    "DeepSeek": "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens",
    "Together": "The prompt is too long: 9000 tokens, the model's context window is 8192",
    "Fireworks": "The prompt is too long: 9000, model maximum context length: 8192",
}


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)


def spread(faults: list[Fault]) -> list[Fault | None]:
    """Up to three before each answer."""
    return [one for at in range(0, len(faults), 3) for one in [*faults[at : at + 3], None]]


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@both
@pytest.mark.parametrize("names", [list(PASSING)[n::3] for n in range(3)], ids=lambda names: names[0])
def test_what_passes_is_waited_out_and_told(
    provider: Start, run: Run, names: list[str], stream: bool
) -> None:
    server = provider(spread([PASSING[name] for name in names]))
    result = run.begin(server, brain_stream=stream)
    assert len(run.warnings) == len(names) and all("Asking again in" in text for text in run.warnings)
    run.check(result)
    assert result.errors == [] and len(server.asked) == len(TEXTS) + len(names)


@pytest.mark.parametrize("names", [list(STREAMED)[n::2] for n in range(2)], ids=lambda names: names[0])
def test_streams_that_go_wrong_are_asked_for_again(provider: Start, run: Run, names: list[str]) -> None:
    server = provider(spread([STREAMED[name] for name in names]))
    result = run.begin(server, brain_stream=True)
    assert len(run.warnings) == len(names)
    run.check(result)


@pytest.mark.parametrize(
    "skewed_s",
    [
        pytest.param(0, id="right", marks=pytest.mark.thorough),
        pytest.param(86_400, id="a day behind"),
        pytest.param(-86_400, id="a day ahead", marks=pytest.mark.thorough),
    ],
)
def test_a_date_to_wait_for_is_by_the_provider_s_clock(
    provider: Start, run: Run, skewed_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(handler: Handler, body: dict[str, Any]) -> None:
        now = int(REAL()) + skewed_s  # the server's Date header says the same
        monkeypatch.setattr(handler, "date_time_string", lambda timestamp=None: formatdate(now, usegmt=True))
        send(handler, 429, "{}", {"Retry-After": formatdate(now + 2, usegmt=True)})

    began = time.monotonic()
    run.check(run.begin(provider([None, limited])))
    assert 1.5 <= time.monotonic() - began < 60
    [told] = run.warnings
    assert 1.9 <= float(told.rpartition("in ")[2].split()[0]) <= 3


@pytest.mark.parametrize(
    "stream", [False, pytest.param(True, marks=pytest.mark.thorough)], ids=["whole", "streamed"]
)
def test_a_reply_that_does_not_come_is_given_up(provider: Start, run: Run, stream: bool) -> None:
    faults = [None, stalled(120), trickle(0.1)]
    began = time.monotonic()
    server = provider(faults)
    result = run.begin(server, brain_stream=stream, request_timeout_s=2, brain_retries=6)
    assert time.monotonic() - began < 100
    run.check(result)
    assert server.faults == []  # a good reply that this machine is too slow for is asked for once more, too
    assert 2 <= len(run.warnings) == len(server.asked) - len(TEXTS)


@both
def test_a_slow_reply_that_goes_on_is_taken(provider: Start, run: Run, stream: bool, tmp_path: Path) -> None:
    def slowly(handler: Handler, body: dict[str, Any]) -> None:
        text = handler.provider.reply_to(body)
        if not stream:
            time.sleep(0.6 * timeout_s)
            return said(handler, body, text)
        begin_stream(handler)
        for event in events(text):
            feed(handler, event[:5])
            feed(handler, event[5:])
            time.sleep(0.1 * timeout_s)
        handler.wfile.write(b"0\r\n\r\n")

    timeout_s = 1
    run.check(run.begin(provider([slowly]), brain_stream=stream, request_timeout_s=timeout_s))
    if run.warnings:  # as slow in proportion, where the machine stalls
        run, timeout_s = Run(tmp_path / "again"), 30
        run.check(run.begin(provider([slowly]), brain_stream=stream, request_timeout_s=timeout_s))
    assert run.warnings == []


@both
def test_nobody_there_for_a_while(provider: Start, run: Run, stream: bool) -> None:
    server = provider()

    def come_back() -> None:
        until(lambda: any("refused" in told for told in run.warnings))
        server.start()

    def leave(handler: Handler, body: dict[str, Any]) -> None:
        server.stop()  # from here on connections are refused
        threading.Thread(target=come_back, daemon=True).start()
        hang_up(handler, body)

    server.faults = [None, leave]
    run.check(run.begin(server, brain_stream=stream))
    assert any("refused" in told for told in run.warnings)


@pytest.mark.parametrize(
    "name, stream",
    [
        pytest.param(name, bool(n % 2), marks=pytest.mark.thorough if n in (1, 2, 4, 6, 9) else [])
        for n, name in enumerate(LAST)
    ],
)
def test_what_does_not_pass_ends_in_a_line_and_the_run_goes_on_later(
    provider: Start, run: Run, name: str, stream: bool
) -> None:
    server = provider([None, None], always=LAST[name])
    result = run.begin(server, brain_stream=stream, brain_retries=1)
    assert (result.status, result.exit_code) == ("no_brain", 5)
    [line] = result.errors
    assert line.startswith("openai:x ") and "\n" not in line
    assert len(run.keys()) == 2
    server.always = None
    run.check(run.resume())


def test_an_outage_at_the_resume_leaves_the_session_as_it_is(provider: Start, run: Run) -> None:
    server = provider([None, None, status(401)])
    run.begin(server)
    server.stop()
    with pytest.raises(NoBrain, match="cannot be reached"):
        run.resume()
    server.start()
    run.check(run.resume())


@pytest.mark.parametrize("name", ["401", "for ever", "long wait"])
def test_another_brain_takes_over(
    provider: Start, run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = provider()
    monkeypatch.setenv("OPENAI_BASE_URL", other.url)
    given = {"fallback_models": ["openai:y"], "brain_retries": 1}
    run.check(run.begin(provider([None], always=LAST[name]), **given))
    assert len(other.asked) == 3 and "openai:y goes on" in run.warnings[-1]


def test_when_all_brains_are_gone_the_last_one_s_words_end_the_run(
    provider: Start, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, other = provider([None], always=status(401)), provider([None], always=status(403, "no more"))
    monkeypatch.setenv("OPENAI_BASE_URL", other.url)
    result = run.begin(server, fallback_models=["openai:y"])
    assert result.exit_code == 5 and "no more" in result.errors[0] and len(result.errors) == 1
    server.always = None
    run.check(run.resume())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.thorough if n > 3 else []) for n, name in enumerate(OVERFLOWS)],
)
def test_a_full_window_is_told_in_many_words(provider: Start, run: Run, name: str) -> None:
    """The oldest steps are summarised, which costs, and the run goes on."""
    result = run.begin(provider([None, None, status(400, OVERFLOWS[name])]))
    run.check_work(result)
    assert run.warnings == [] and any(event.kind == "ContextCompacted" for event in run.events)


def test_a_window_that_stays_full_ends_the_run_and_a_larger_one_goes_on(provider: Start, run: Run) -> None:
    server = provider([None, None], always=status(400, OVERFLOWS["OpenAI"]))
    result = run.begin(server)
    assert (result.status, result.exit_code, len(result.errors)) == ("limit", 3, 1)
    server.always = None
    run.check(run.resume())


@both
@pytest.mark.parametrize(
    "reason, content",
    [
        ("content_filter", None),
        ("content_filter", "Well.\n<cell>\nrent(0.5)\nrent("),
        ("length", "Well.\n<cell>\nrent(0.5)\nrent("),
        ("stop", None),
        ("stop", ""),
        ("odd", ""),
        (None, None),
    ],
)
def test_a_reply_without_a_whole_cell_runs_nothing(
    provider: Start, run: Run, reason: Any, content: Any, stream: bool
) -> None:
    texts = [TEXTS[0], *TEXTS]  # the reply that says nothing is one of the conversation
    server = provider([reply(content or "" if stream else content, reason=reason)], texts=texts)
    if content == "" or content is None:
        server.texts = TEXTS  # an empty reply leaves no message
    result = run.begin(server, brain_stream=stream)
    assert (result.answer, result.exit_code) == (ANSWER, 0) and len(run.keys()) == 3
    if reason == "content_filter":
        assert "content filter" in json.dumps(server.asked[1])


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": -5},
        {"prompt_tokens": 10**18, "completion_tokens": 5},
        {"prompt_tokens": 10, "completion_tokens": 10**9},
        {"prompt_tokens": 1e308, "completion_tokens": 1.5},
        {"prompt_tokens": "many", "completion_tokens": None},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": [1], "completion_tokens": {}},
        [1, 2],
        "a lot",
        7,
        {},
        None,
    ],
    ids=str,
)
def test_a_count_that_cannot_be_is_not_believed(provider: Start, run: Run, usage: Any) -> None:
    streamed = len(str(usage)) % 2 == 1
    result = run.begin(provider([reply(TEXTS[0], usage=usage)]), brain_stream=streamed)
    assert (result.answer, result.exit_code) == (ANSWER, 0)
    assert 0 < result.tokens["input"] < 10_000 and 0 < result.tokens["output"] < 1_000
    assert result.budget["tokens"]["spent"] == sum(result.tokens.values())
    assert len([told for told in run.warnings if "replaced by estimates" in told]) <= 1
