from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import openai
import pytest

from ml_intern.brains.errors import ContextOverflow, GarbledReply, classify, explain, one_line
from ml_intern.errors import NoBrain
from ml_intern.retry import retry_after

TEXTS = [
    # The window is full, in the words of many providers
    (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 140000.",
        "overflow",
    ),
    ("Error code: 400 - {'error': {'code': 'context_length_exceeded'}}", "overflow"),
    ("prompt is too long: 210000 tokens > 200000 maximum", "overflow"),
    ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", "overflow"),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "overflow"),
    ("Input is too long for requested model.", "overflow"),
    ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", "overflow"),
    ("the request exceeds the available context size, try increasing it", "overflow"),
    ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "overflow"),
    ("too many tokens: total number of tokens in the prompt cannot exceed 4081", "overflow"),
    ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.", "overflow"),
    ("Trying to keep the first 5000 tokens when context the overflows.", "overflow"),
    ("Please reduce the length of the messages or completion.", "overflow"),
    ("Limit 30000, Requested 40000. The input or output tokens must be reduced in order to run.", "overflow"),
    ("litellm.ContextWindowExceededError: AnthropicException", "overflow"),
    # Too fast
    ("Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-x'}}", "rate_limit"),
    ("429 Too Many Requests", "rate_limit"),
    ("HTTP 429", "rate_limit"),
    ("Too many tokens, please wait before trying again.", "rate_limit"),
    ("ThrottlingException: Rate exceeded", "rate_limit"),
    ("Rate limit exceeded: 20 requests per minute", "rate_limit"),
    ("RESOURCE_EXHAUSTED: Resource has been exhausted (e.g. check quota).", "rate_limit"),
    # It passes
    ("Request timed out.", "transient"),
    ("Read timeout on endpoint", "transient"),
    ("Connection error.", "transient"),
    ("[Errno 104] Connection reset by peer", "transient"),
    ("Server disconnected without sending a response.", "transient"),
    ("peer closed connection without sending complete message body (incomplete chunked read)", "transient"),
    ("Error code: 500 - internal", "transient"),
    ("502 Bad Gateway", "transient"),
    ("503 Service Unavailable", "transient"),
    ("Error code: 529 - overloaded_error", "transient"),
    ("The model is currently overloaded. Please try again later.", "transient"),
    ("unexpected EOF while reading", "transient"),
    ("The server had an error while processing your request", "transient"),
    ("status_code=504", "transient"),
    # The key
    ("Error code: 401 - Incorrect API key provided", "auth"),
    ("403 Forbidden", "auth"),
    ("invalid x-api-key", "auth"),
    ("API key not valid. Please pass a valid API key.", "auth"),
    ("You exceeded your current quota, please check your plan and billing details.", "auth"),
    ("Error code: 429 - {'error': {'code': 'insufficient_quota'}}", "auth"),
    ("402 Payment Required: You have exceeded your monthly included credits", "auth"),
    ("Your credit balance is too low to access the API.", "auth"),
    # For good; numbers and parts of words change nothing
    ("invalid request", "final"),
    ("Error code: 400 - invalid_request_error: 1500 rows", "final"),
    ("invalid request: timeout must be a number", "final"),
    ("invalid request: 429 columns given", "final"),
    ("The batch has 1500 rows", "final"),
    ("500 rows were refused", "final"),
    ("typeof x is undefined", "final"),
    ("roof of 503 items", "final"),
    ("max_tokens is too large: 5000. This model supports at most 4096 completion tokens", "final"),
    ("Error code: 404 - The model `x` does not exist", "final"),
    ("Error code: 422 - unprocessable", "final"),
    ("Error code: 501 - not implemented", "final"),
    ("unknown field 'context'", "final"),
    ("", "final"),
]


@pytest.mark.parametrize(("text", "kind"), TEXTS)
def test_words_are_classified(text: str, kind: str) -> None:
    assert classify(text) == kind
    assert classify(RuntimeError(text)) == kind


REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")


def refused(status: int, message: str, **headers: str) -> openai.APIStatusError:
    body = {"message": message}
    response = httpx.Response(status, request=REQUEST, headers=headers, json={"error": body})
    return openai.APIStatusError(f"Error code: {status} - {body}", response=response, body=body)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "maximum context length is 10", "overflow"),
        (500, "the prompt exceeds the context window", "overflow"),
        (413, "request too large", "overflow"),
        (400, "Too many tokens, please wait before trying again.", "rate_limit"),
        (429, "anything", "rate_limit"),
        (503, "rate limit", "rate_limit"),
        (408, "", "transient"),
        (409, "lock timeout", "transient"),
        (500, "", "transient"),
        (524, "a timeout occurred", "transient"),
        (400, "timeout must be a number", "final"),
        (400, "rate_limit is not a field", "final"),
        (400, "internal server error handler is not allowed", "final"),
        (404, "no such model", "final"),
        (400, "API key not valid", "auth"),
        (401, "", "auth"),
        (402, "", "auth"),
    ],
)
def test_the_status_decides_where_it_can(status: int, message: str, kind: str) -> None:
    assert classify(refused(status, message)) == kind


def caused(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (openai.APIConnectionError(request=REQUEST), "transient"),
        (openai.APITimeoutError(request=REQUEST), "transient"),
        (httpx.ReadError("x"), "transient"),
        (httpx.RemoteProtocolError("x"), "transient"),
        (TimeoutError(), "transient"),
        (ConnectionResetError(104, "reset"), "transient"),
        (GarbledReply("x"), "transient"),
        (httpx.UnsupportedProtocol("ftp://"), "final"),
        (
            caused(openai.APIConnectionError(request=REQUEST), ssl.SSLCertVerificationError("self-signed")),
            "final",
        ),
        (ContextOverflow("x"), "overflow"),
        (KeyError("choices"), "final"),
    ],
)
def test_the_type_decides_where_there_is_no_status(error: Exception, kind: str) -> None:
    assert classify(error) == kind


def test_the_wait_is_read_from_seconds_dates_milliseconds_and_words() -> None:
    assert retry_after(refused(429, "", **{"Retry-After": "3"})) == 3
    assert retry_after(refused(429, "", **{"Retry-After-Ms": "1500"})) == 1.5
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 <= (retry_after(refused(429, "", **{"Retry-After": soon})) or 0) <= 60
    assert retry_after(refused(429, "", **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})) == 0
    assert retry_after(refused(429, "", **{"Retry-After": "soon"})) is None
    assert retry_after(refused(429, "Please try again in 20s.")) == 20
    assert retry_after(refused(429, "Please try again in 250ms.")) == 0.25
    assert retry_after(refused(429, "")) is None


def test_what_is_told_is_the_provider_own_message_in_one_line() -> None:
    assert one_line(refused(400, "two\n lines")) == "two lines"
    assert one_line(caused(openai.APIConnectionError(request=REQUEST), OSError("refused"))) == "refused"
    assert len(one_line(RuntimeError("x" * 9999))) == 300
    assert one_line(RuntimeError()) == "RuntimeError"
    wrapped = "litellm.InternalServerError: XException - off. Handle with `litellm.InternalServerError`."
    assert one_line(RuntimeError(wrapped)) == "off."


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (refused(400, "maximum context length is 10"), ContextOverflow, 3),
        (refused(401, "no"), NoBrain, 5),
        (refused(400, "no"), NoBrain, 5),
        (refused(500, "no"), NoBrain, 5),
    ],
)
def test_every_class_ends_in_a_typed_error(error: Exception, kind: type[Exception], code: int) -> None:
    told = explain(error, "openai:x")
    assert type(told) is kind
    assert told.exit_code == code
    assert "openai:x" in told.message
