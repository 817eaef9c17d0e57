from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.openai_server import ScriptedServer

from ml_intern.brains.base import Brain, finish_reason
from ml_intern.brains.endpoint import EndpointBrain
from ml_intern.brains.errors import ContextOverflow
from ml_intern.brains.factory import build_brain
from ml_intern.brains.prices import Facts
from ml_intern.errors import Interrupted, NoBrain
from ml_intern.events import Event, Notice
from ml_intern.settings import Settings

Start = Callable[..., ScriptedServer]
ASKED = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]


def connect(url: str, env: dict[str, str] | None = None, **settings: Any) -> tuple[Brain, list[Event]]:
    told: list[Event] = []
    chosen = Settings(**{"model": "openai:tiny", "base_url": url, "connect_timeout_s": 60, **settings})
    return build_brain(chosen, told.append, env or {}), told


def waiting(
    url: str,
    stream: bool = False,
    meanwhile: Callable[[EndpointBrain], None] = lambda brain: None,
    **settings: Any,
) -> tuple[EndpointBrain, list[Event], list[float]]:
    """A brain whose waits take no time but are written down; `meanwhile` happens in each."""
    told: list[Event] = []
    waits: list[float] = []

    def rest(seconds: float) -> None:
        waits.append(seconds)
        meanwhile(brain)

    brain = EndpointBrain(
        "openai:tiny",
        "tiny",
        base_url=url,
        api_key="none",
        settings=Settings(**{"connect_timeout_s": 60, **settings}),
        emit=told.append,
        facts=Facts(),
        stream=stream,
        sleep=rest,
    )
    return brain, told, waits


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_reply_comes_with_usage_and_finish_reason(scripted_server: Start, stream: bool) -> None:
    server = scripted_server([{"text": "fine", "usage": {"prompt_tokens": 31, "completion_tokens": 4}}])
    brain, _, _ = waiting(server.url, stream)
    reply = brain.generate(ASKED, stop_sequences=["\nObservation"])
    assert reply.content == "fine"
    assert (reply.token_usage.input_tokens, reply.token_usage.output_tokens) == (31, 4)
    assert finish_reason(reply) == "stop"
    assert reply.raw.choices[0].finish_reason == "stop"
    assert server.chats[0]["stop"] == ["\nObservation"]
    assert server.chats[0]["max_tokens"] == 4096


def test_a_reply_cut_by_length_says_so(scripted_server: Start, stream: bool) -> None:
    brain, _, _ = waiting(scripted_server([{"text": "<cell>\nx =", "finish_reason": "length"}]).url, stream)
    assert finish_reason(brain.generate(ASKED)) == "length"


def test_tokens_are_estimated_where_the_server_counts_none(scripted_server: Start, stream: bool) -> None:
    brain, _, _ = waiting(scripted_server([{"text": "x" * 40, "usage": None}]).url, stream)
    reply = brain.generate(ASKED)
    assert reply.token_usage.output_tokens == 10
    assert not reply.raw.counted


def test_messages_alternate_and_are_plain_text(scripted_server: Start) -> None:
    server = scripted_server(["ok"])
    brain, _ = connect(server.url)
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    brain.generate([*ASKED, {"role": "tool-response", "content": parts}])
    assert server.chats[0]["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello\none\ntwo"},
    ]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503, "body": "no capacity, <html>"},
        {"drop": "before"},
        {"drop": "during", "text": "a long enough reply to be cut"},
        {"raw": "<html>hello</html>"},
        {"raw": "{}"},
        {"raw": '{"choices": []}'},
        {"raw": ""},
    ],
    ids=lambda fault: str(fault)[:30],
)
def test_passing_faults_are_waited_out(scripted_server: Start, stream: bool, fault: dict[str, Any]) -> None:
    server = scripted_server([fault, "at last"])
    brain, told, waits = waiting(server.url, stream)
    assert brain.generate(ASKED).content == "at last"
    assert len(waits) == 1
    assert [e.level for e in told if isinstance(e, Notice)] == ["warning"]


def test_retry_after_is_honoured_and_told(scripted_server: Start) -> None:
    limited = {"status": 429, "headers": {"Retry-After": "7"}, "body": {"error": {"message": "slow down"}}}
    brain, told, waits = waiting(scripted_server([limited, "ok"]).url)
    assert brain.generate(ASKED).content == "ok"
    assert 7 <= waits[0] <= 8
    assert "slow down" in told[0].text and "7" in told[0].text  # type: ignore[attr-defined]


def test_a_wait_longer_than_a_request_may_take_ends_the_run(scripted_server: Start) -> None:
    limited = {
        "status": 429,
        "headers": {"Retry-After": "90000"},
        "body": {"error": {"message": "daily limit"}},
    }
    brain, _, waits = waiting(scripted_server([limited]).url)
    with pytest.raises(NoBrain, match="daily limit"):
        brain.generate(ASKED)
    assert waits == []


def test_backoff_grows_and_ends(scripted_server: Start) -> None:
    brain, _, waits = waiting(scripted_server([{"status": 502, "stay": True}]).url, brain_retries=4)
    with pytest.raises(NoBrain, match="does not answer"):
        brain.generate(ASKED)
    assert len(waits) == 4
    assert all(2.0**n * 0.5 <= wait <= 2.0**n for n, wait in enumerate(waits))


def test_a_full_window_is_a_typed_error_and_not_asked_again(scripted_server: Start, stream: bool) -> None:
    message = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
    server = scripted_server([{"status": 400, "body": {"error": {"message": message}}}])
    brain, _, _ = waiting(server.url, stream)
    with pytest.raises(ContextOverflow, match="4096"):
        brain.generate(ASKED)
    assert len(server.chats) == 1


def test_a_wrong_request_is_not_asked_again(scripted_server: Start) -> None:
    server = scripted_server([{"status": 400, "body": {"error": {"message": "messages: bad role"}}}])
    brain, _, _ = waiting(server.url)
    with pytest.raises(NoBrain, match="bad role"):
        brain.generate(ASKED)
    assert len(server.chats) == 1


def test_a_model_that_is_not_there_is_named(scripted_server: Start) -> None:
    gone = {"status": 404, "body": {"error": {"message": "The model `tiny` does not exist."}}}
    brain, _, _ = waiting(scripted_server([gone]).url)
    with pytest.raises(NoBrain, match=r"does not exist.*Check the name 'tiny'"):
        brain.generate(ASKED)


def test_a_field_that_the_server_refuses_is_left_out_from_then_on(scripted_server: Start) -> None:
    server = scripted_server([{"text": "one", "unsupported": ["stop"]}, "two"])
    brain, told, waits = waiting(server.url)
    assert brain.generate(ASKED, stop_sequences=["\nObservation"]).content == "one"
    assert brain.generate(ASKED, stop_sequences=["\nObservation"]).content == "two"
    assert ["stop" in chat for chat in server.chats] == [True, False, False]
    assert not told and not waits


def test_text_after_a_stop_sequence_is_dropped(scripted_server: Start) -> None:
    brain, _, _ = waiting(scripted_server(["mine\nObservation of step 1: invented"]).url)
    assert brain.generate(ASKED, stop_sequences=["\nObservation of step"]).content == "mine"


def test_streaming_gives_the_pieces_and_the_usage(scripted_server: Start) -> None:
    brain, _, _ = waiting(scripted_server(["a reply of several pieces"]).url)
    deltas = list(brain.generate_stream(ASKED))
    assert "".join(d.content or "" for d in deltas) == "a reply of several pieces"
    assert len(deltas) > 3
    assert sum(d.token_usage.output_tokens for d in deltas if d.token_usage) == 5


def test_a_stream_that_breaks_after_its_start_is_an_error(scripted_server: Start) -> None:
    brain, _, _ = waiting(scripted_server([{"drop": "during", "text": "a reply of several pieces"}]).url)
    with pytest.raises(NoBrain):
        list(brain.generate_stream(ASKED))


def test_a_slow_reply_times_out_as_a_passing_fault(scripted_server: Start) -> None:
    server = scripted_server([{"text": "late", "delay": 120}, "in time"])

    def be_patient(brain: EndpointBrain) -> None:  # with the reply that comes
        brain.client = brain.client.with_options(timeout=120)

    brain, _, waits = waiting(server.url, meanwhile=be_patient, request_timeout_s=2)
    assert brain.generate(ASKED).content == "in time"
    assert len(waits) == 1


@pytest.mark.parametrize("waits", [False, True], ids=["a request", "a wait"])
def test_stopping_gives_up_at_once(scripted_server: Start, waits: bool) -> None:
    limited = {"status": 429, "headers": {"Retry-After": "300"}}
    server = scripted_server([limited if waits else {"text": "late", "delay": 300}])
    brain, told = connect(server.url)

    def stop() -> None:
        while not (told if waits else server.chats):
            time.sleep(0.01)
        brain.interrupt()

    threading.Thread(target=stop, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        brain.generate(ASKED)
    assert time.monotonic() - began < 200


# Before the run


def test_preparing_asks_for_the_models_and_for_no_reply(scripted_server: Start) -> None:
    server = scripted_server(["kept"], models=["tiny"])
    brain, told = connect(server.url)
    brain.prepare("do it")
    assert [r["path"] for r in server.requests] == ["/v1/models"]
    assert told == []
    assert brain.generate(ASKED).content == "kept"


@pytest.mark.parametrize("models", [None, 403, 500, 501])
def test_a_server_that_lists_no_models_is_still_asked(scripted_server: Start, models: int | None) -> None:
    server = scripted_server(["kept"], models=models)
    brain, _ = connect(server.url)
    brain.prepare("do it")
    assert brain.generate(ASKED).content == "kept"


def test_a_name_that_is_not_listed_is_told_with_the_nearest(scripted_server: Start) -> None:
    brain, told = connect(scripted_server(models=["tiny2", "other"]).url)
    brain.prepare("do it")
    assert "did you mean 'tiny2'" in told[0].text  # type: ignore[attr-defined]


def test_the_window_is_what_the_server_says(scripted_server: Start) -> None:
    server = scripted_server(models=[{"id": "tiny", "max_model_len": 2048}])
    brain, _ = connect(server.url)
    brain.prepare("do it")
    assert brain.context_tokens == 2048
    brain, _ = connect(server.url, context_tokens=9000)
    brain.prepare("do it")
    assert brain.context_tokens == 9000


def test_a_refused_key_ends_at_once_and_is_not_repeated(scripted_server: Start) -> None:
    server = scripted_server(models=["tiny"], key="right")
    brain, _ = connect(server.url, api_key="sk-wrong-and-secret")
    with pytest.raises(NoBrain, match="refuses the key") as caught:
        brain.prepare("do it")
    assert "sk-wrong-and-secret" not in str(caught.value)
    with pytest.raises(NoBrain) as caught:
        brain.generate(ASKED)
    assert "sk-wrong-and-secret" not in str(caught.value)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:PORT/v1", "http://no-such-host.invalid/v1", "https://127.0.0.1:1/v1"],
    ids=["refused", "unknown host", "no port"],
)
def test_an_endpoint_that_is_not_there_is_told_in_seconds(url: str, closed_port: int) -> None:
    brain, _ = connect(url.replace("PORT", str(closed_port)))
    began = time.monotonic()
    with pytest.raises(NoBrain, match="cannot be reached") as caught:
        brain.prepare("do it")
    assert time.monotonic() - began < 60
    assert caught.value.hint
    assert caught.value.exit_code == 5


def test_a_server_that_takes_the_call_and_says_nothing_is_told_in_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        brain, _ = connect(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", connect_timeout_s=1)
        began = time.monotonic()
        with pytest.raises(NoBrain, match="cannot be reached"):
            brain.prepare("do it")
        assert time.monotonic() - began < 60


# Keys


def sent_headers(server: ScriptedServer) -> str:
    return " ".join(
        f"{name}: {value}" for request in server.requests for name, value in request["headers"].items()
    )


def test_no_key_of_the_environment_goes_to_a_foreign_host(
    scripted_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "OPENAI_API_KEY": "sk-mine-1",
        "OPENAI_ADMIN_KEY": "sk-admin-2",
        "OPENAI_ORG_ID": "org-mine-3",
        "OPENAI_PROJECT_ID": "proj-mine-4",
        "OPENAI_CUSTOM_HEADERS": "X-Gateway-Key: gate-mine-5",
        "HF_TOKEN": "hf_mine6",
        "HUGGING_FACE_HUB_TOKEN": "hf_mine7",
        "ANTHROPIC_API_KEY": "ant-mine-8",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    server = scripted_server(["ok", "ok"], models=["tiny"])
    for model in ("openai:tiny", "hf:tiny"):
        brain = build_brain(Settings(model=model, base_url=server.url), lambda event: None)
        brain.prepare("do it")
        brain.generate(ASKED)
    headers = sent_headers(server)
    assert "Bearer none" in headers
    assert "mine" not in headers and "sk-admin" not in headers


def test_the_key_of_the_settings_goes_to_the_endpoint_of_the_settings(scripted_server: Start) -> None:
    server = scripted_server(["ok"], key="theirs")
    brain, _ = connect(server.url, {"OPENAI_API_KEY": "sk-mine"}, api_key="theirs")
    assert brain.generate(ASKED).content == "ok"


def test_a_redirect_to_another_host_does_not_take_the_key_along(scripted_server: Start) -> None:
    elsewhere = scripted_server(["ok"])
    moved = {"status": 307, "headers": {"Location": f"{elsewhere.url}/chat/completions"}}
    server = scripted_server([moved])
    brain, _ = connect(server.url, api_key="sk-only-for-the-first")
    brain.generate(ASKED)
    assert "sk-only-for-the-first" in sent_headers(server)
    assert "sk-only-for-the-first" not in sent_headers(elsewhere)


def test_a_proxy_of_the_environment_is_not_used_for_loopback(
    scripted_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    brain, _ = connect(scripted_server(["ok"]).url)
    assert brain.generate(ASKED).content == "ok"
