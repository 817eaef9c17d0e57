"""Behaviour 10: what errors of a provider lead to, over real HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import ScriptedServer
from support.scripted_runs import cell

from ml_intern import MLIntern
from ml_intern.result import RunResult

Server = Callable[..., ScriptedServer]
END = cell("final_answer('done')")
SOON = {"Retry-After-Ms": "1"}


def says(status: int, message: str, **more: Any) -> dict[str, Any]:
    """An error as providers word it."""
    return {"status": status, "body": {"error": {"message": message}}, "headers": SOON, **more}


class Run:
    """A run against a scripted provider: its result, and what the person was told."""

    def __init__(self, server: ScriptedServer, state: Path, **settings: Any) -> None:
        given = {"brain_retries": 2, "request_timeout_s": 20.0, **settings}
        intern = MLIntern("openai:m", base_url=server.url, sandbox="none", state=state, **given)
        self.events = list(intern.stream("do it"))
        self.result: RunResult = intern.last
        self.notices = [e.text for e in self.events if e.kind == "Notice"]  # type: ignore[attr-defined]


def characters(chat: dict[str, Any]) -> int:
    return sum(len(message["content"]) for message in chat["messages"])


@pytest.mark.parametrize(
    "error",
    [
        says(400, "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."),
        says(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        says(413, "request entity too large"),
        says(500, "the request exceeds the available context size"),
    ],
    ids=["maximum-context-length", "too-long", "413", "500-with-the-words"],
)
def test_overflow_compacts_and_asks_again(
    error: dict[str, Any], scripted_server: Server, own_state: Path
) -> None:
    """ "maximum context length" is an overflow: the prompt is made smaller, and the run goes on."""
    looks = [cell(f"print('part {n}', 'row ' * 1000)") for n in range(6)]
    server = scripted_server([*looks, error, "A summary.", END])
    run = Run(server, own_state, recent_steps=2)
    assert run.result.status == "done", run.result.errors
    sizes = [characters(chat) for chat in server.chats]
    assert sizes[-1] < 0.85 * sizes[len(looks)]
    assert any(event.kind == "ContextCompacted" for event in run.events)
    assert not any("Asking again" in text for text in run.notices)  # no waiting: time does not help


def test_an_overflow_that_stays_ends_typed(scripted_server: Server, own_state: Path) -> None:
    """A provider that finds every prompt too long ends the run as a limit, with its words."""
    error = says(400, "maximum context length is 10 tokens", stay=True)
    run = Run(scripted_server([cell("print(1)"), error]), own_state)
    assert (run.result.status, run.result.exit_code) == ("limit", 3)
    assert "window" in run.result.errors[-1]


@pytest.mark.parametrize(
    "fault",
    [
        says(429, "slow down"),
        says(400, "Too many tokens, please wait before trying again."),
        says(503, "Rate limit reached for requests"),
        says(500, "internal"),
        says(502, "bad gateway"),
        says(503, "unavailable"),
        says(529, "overloaded"),
        {"raw": "<html>an error page</html>", "headers": SOON},
        {"raw": "{}"},
        {"drop": "before"},
        {"drop": "during", "text": END},
    ],
    ids=[
        *("429", "too-many-tokens", "503-rate-limit", "500", "502", "503", "529"),
        *("garbage", "no-choices", "dropped", "half-an-answer"),
    ],
)
def test_what_passes_by_itself_is_asked_again(
    fault: dict[str, Any], scripted_server: Server, own_state: Path
) -> None:
    """429 and "please wait" are rate limits, 5xx, garbage and dropped answers are transient: asked again."""
    server = scripted_server([cell("x = 1"), fault, END])
    run = Run(server, own_state)
    assert run.result.status == "done", run.result.errors
    assert len(server.chats) == 3 and server.chats[1]["messages"] == server.chats[2]["messages"]
    assert sum("Asking again" in text for text in run.notices) == 1


def test_an_answer_that_does_not_come_in_time_is_asked_again(
    scripted_server: Server, own_state: Path
) -> None:
    """A timeout is transient."""
    server = scripted_server([{"delay": 120, "text": END}, END])
    run = Run(server, own_state, request_timeout_s=5)
    assert run.result.status == "done" and len(server.chats) == 2


def test_what_does_not_pass_ends_the_run_after_its_tries(scripted_server: Server, own_state: Path) -> None:
    """A rate limit that stays is tried as often as the setting says, and ends the run as without a brain."""
    server = scripted_server([says(429, "slow down", stay=True)])
    run = Run(server, own_state, brain_retries=1)
    assert (run.result.status, run.result.exit_code, len(server.chats)) == ("no_brain", 5, 2)
    assert "slow down" in run.result.errors[-1]


@pytest.mark.parametrize(
    "message",
    [
        "invalid request",
        "invalid request: the batch has 1500 rows",
        "messages[1].typeof is not allowed",
        "429 columns and 503 rows are too many fields",
        "timeout must be a number",
        "the proof of 500 items is not a field",
    ],
)
def test_invalid_requests_are_final_whatever_numbers_stand_in_them(
    message: str, scripted_server: Server, own_state: Path
) -> None:
    """ "invalid request" is final; "1500 rows" is no 500, "typeof" no end of file: one question, no waiting."""
    server = scripted_server([says(400, message, stay=True)])
    run = Run(server, own_state)
    assert (run.result.status, run.result.exit_code, len(server.chats)) == ("no_brain", 5, 1)
    assert message in run.result.errors[-1]


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_is_final_and_says_so(status: int, scripted_server: Server, own_state: Path) -> None:
    """A key without rights or credit is not asked with again."""
    server = scripted_server([says(status, "no", stay=True)])
    run = Run(server, own_state)
    assert (run.result.exit_code, len(server.chats)) == (5, 1) and "key" in run.result.errors[-1]


def test_when_one_is_gone_the_next_goes_on(
    scripted_server: Server, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its tries the brain that was asked for gives way to the next of the list, in the same run."""
    server = scripted_server([cell("x = 20"), *[says(500, "down")] * 2, cell("final_answer(x + 22)")])
    # The address in the settings is that of the first alone; the next one has its own.
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    run = Run(server, own_state, brain_retries=1, fallback_models=["openai:other"])
    assert (run.result.status, run.result.answer) == ("done", "42")
    assert [chat["model"] for chat in server.chats] == ["m", "m", "m", "other"]
    assert any("openai:other goes on" in text for text in run.notices)
