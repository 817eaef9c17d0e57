"""The same faults of a provider that LiteLLM speaks to."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
from provider import Provider, body_of, cut, hang_up, reply, status
from scripted_run import ANSWER, TEXTS, Run

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed"
)
Start = Callable[..., Provider]

PASSING = (
    status(429, "slow down", Retry_After="0"),
    status(400, "Too many tokens, please wait before trying again."),
    status(500),
    status(503),
    status(529, "Overloaded"),
    body_of("<html>gateway</html>", "text/html"),
    body_of('{"choices": []}'),
    body_of('{"choices": [nul'),
    body_of(""),
    hang_up,
    cut(),
)


def begin(run: Run, server: Provider, **more: Any) -> Any:
    return run.begin(server, model="litellm:openai/x", budget="100k tokens", **more)


def test_what_passes_is_waited_out(provider: Start, run: Run) -> None:
    faults = [one for at in range(0, len(PASSING), 3) for one in [*PASSING[at : at + 3], None]]
    run.check(begin(run, provider(faults)))
    assert len(run.warnings) == len(PASSING)


def test_the_wait_that_is_asked_for_is_kept(provider: Start, run: Run) -> None:
    run.check(begin(run, provider([status(429, "slow down", Retry_After="1")])))
    assert 1 <= float(run.warnings[0].rpartition("in ")[2].split()[0]) < 2


def test_what_does_not_pass_ends_in_a_line_and_the_run_goes_on_later(provider: Start, run: Run) -> None:
    for fault in (status(401, "bad key"), status(403), status(400, "invalid request")):
        server = provider([None], always=fault)
        result = (
            begin(run, server) if fault is not None and not run.keys() else run.resume(base_url=server.url)
        )
        assert (result.status, result.exit_code, len(result.errors)) == ("no_brain", 5, 1)
    server.always = None
    run.check(run.resume())


def test_a_full_window_and_a_count_that_cannot_be(provider: Start, run: Run) -> None:
    long = status(400, "This model's maximum context length is 8192 tokens. However, you requested 9000.")
    odd = {"prompt_tokens": 10**15, "completion_tokens": -7, "total_tokens": 3}
    result = begin(run, provider([long, None, long, reply(TEXTS[1], usage=odd)]))
    assert (result.answer, result.exit_code) == (ANSWER, 0)
    assert 0 < result.tokens["input"] < 10_000 and 0 < result.tokens["output"] < 1_000
