"""Answers of a provider that are none, whole or in chunks: a reply, or a typed error; and the next answer counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import RAW, broken, examples, spelled, values
from smolagents.models import ChatMessage, MessageRole
from support.openai_server import ScriptedServer

from ml_intern.brains.base import finish_reason
from ml_intern.brains.endpoint import EndpointBrain
from ml_intern.brains.prices import Facts
from ml_intern.errors import InternError
from ml_intern.settings import Settings

HEAD = {"id": "a-1", "object": "chat.completion", "created": 0, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
MESSAGE = {"role": "assistant", "content": "a reply"}
WHOLE = {**HEAD, "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}], "usage": USAGE}
CHUNK = {**HEAD, "choices": [{"index": 0, "delta": {"content": "a re"}, "finish_reason": None}]}
LAST = {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ERROR = {"error": {"message": "maximum context length is 10", "type": "x", "code": 400}}
NAMES = st.sampled_from(
    [
        "choices",
        "message",
        "delta",
        "content",
        "finish_reason",
        "usage",
        "index",
        "role",
        "error",
        "model",
        "id",
    ]
)
ANY = values(NAMES)


@st.composite
def odd(draw: st.DrawFn, good: dict[str, Any]) -> Any:
    """A good object in which something, at any depth, is something else."""
    made = json.loads(json.dumps(good))
    place: Any = made
    while isinstance(place, dict | list) and place:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or draw(st.booleans()):
            if isinstance(place, dict) and draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(ANY)
            break
        place = place[key]
    return made


BODY = st.one_of(
    RAW, odd(WHOLE).map(spelled), ANY.map(spelled), broken(spelled(WHOLE)), st.just(spelled(ERROR))
)
GOODS = st.sampled_from([spelled(CHUNK), spelled(LAST), spelled(ERROR), b"[DONE]\n"])
PIECE = st.one_of(GOODS, GOODS, odd(CHUNK).map(spelled), odd(LAST).map(spelled), broken(spelled(CHUNK)), RAW)
STREAM = st.lists(
    st.tuples(st.sampled_from([b"data: ", b"data:", b"", b"event: x\ndata: ", b": "]), PIECE), max_size=6
).map(lambda parts: b"".join(mark + line + b"\n" for mark, line in parts))


class Asked:
    """A brain whose provider answers what the test wants."""

    def __init__(self, server: ScriptedServer, stream: bool) -> None:
        self.server, self.stream = server, stream
        settings = Settings.load(brain_retries=0, request_timeout_s=20)
        self.brain = EndpointBrain(
            *("openai:m", "m"),
            base_url=server.url,
            api_key="none-is-needed",
            settings=settings,
            emit=lambda event: None,
            facts=Facts(8000),
            stream=stream,
        )

    def __call__(self, *answers: Any) -> ChatMessage:
        self.server.replies[:] = list(answers)
        prompt = ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": "hello"}])
        return self.brain.generate([prompt])

    def check(self, body: bytes) -> None:
        kind = "text/event-stream" if self.stream else "application/json"
        try:
            said = self({"raw": body.decode("latin-1"), "headers": {"Content-Type": kind}})
        except InternError as error:
            assert error.message and "\n" not in error.message
        else:
            assert isinstance(said.content, str) and isinstance(finish_reason(said), str)
            usage = said.token_usage
            assert usage and type(usage.input_tokens) is int and type(usage.output_tokens) is int
            assert 0 <= usage.input_tokens < 1 << 53 and 0 <= usage.output_tokens < 1 << 53
        assert self({"text": "a good reply"}).content == "a good reply"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "in-chunks"])
def test_any_answer_is_a_reply_or_a_typed_error(
    stream: bool, scripted_server: Callable[..., ScriptedServer]
) -> None:
    """Over real HTTP, from one provider: any body, any chunks; the good answer after it is taken."""
    asked = Asked(scripted_server(), stream)
    threads = threading.active_count()

    @examples(0.5)
    @given(STREAM if stream else BODY)
    def check(body: bytes) -> None:
        asked.check(body)

    check()
    assert threading.active_count() <= threads + 5
