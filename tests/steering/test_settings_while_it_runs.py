"""What a person sets for a session that is open: what needs no question, the ceiling, a shorter context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from steered import open_session, prompts, run

from ml_intern.errors import UsageError
from ml_intern.events import ContextCompacted, Event, Notice
from ml_intern.prices import Price
from ml_intern.router.budget import Budget
from ml_intern.router.gate import Gate
from ml_intern.router.recorded import Recorded
from ml_intern.tooling import ToolSpec


def publish(ctx: Any, repo: str, private: bool = True) -> None:
    """Stand for a publication."""


SPEC = ToolSpec("announce", publish, "publish", (), "own", origin="user")
PUBLIC = {"repo": "me/x", "private": False}


def test_a_yes_that_is_given_and_taken_back_while_it_runs(own_state: Path) -> None:
    gate = Gate([], Budget({}))
    assert gate.decide(SPEC, PUBLIC, Price()).action == "ask"
    gate.permit(["publish"])
    assert gate.decide(SPEC, PUBLIC, Price()).action == "allow"
    gate.permit([])
    decision = gate.decide(SPEC, PUBLIC, Price())
    assert decision.action == "ask"
    with pytest.raises(UsageError, match="publsh"):
        gate.permit(["publsh"])
    standing = gate.footprint(SPEC, PUBLIC, Price(), decision.rule)
    assert standing is not None
    gate.allow_always(standing)
    assert gate.decide(SPEC, PUBLIC, Price()).rule == "always" and gate.always == [standing]
    gate.revoke()
    assert gate.decide(SPEC, PUBLIC, Price()).action == "ask" and gate.always == []


def test_what_is_set_stays_with_the_session_and_what_is_revoked_stays_so(own_state: Path) -> None:
    session = open_session(own_state, lambda told, prompt: "final_answer('x')")
    gate = session.router.gate
    standing = gate.footprint(SPEC, PUBLIC, Price(), "default 6")
    assert standing is not None
    session.journal.append("standing", standing.to_json())
    assert Recorded.of(session.journal.entries()).always
    session.allow(["compute", "publish"])
    session.set_budget("3 usd, 1h")
    session.revoke()
    assert session.budget.caps == {"usd": 3.0, "seconds": 3600.0}
    with pytest.raises(UsageError):
        session.set_budget("2 parsecs")
    assert session.budget.caps["usd"] == 3.0
    run(session)
    kept = json.loads((session.folder / "session.json").read_text())["settings"]
    assert kept["yes"] == ["compute", "publish"] and kept["budget"] == "3 usd, 1h"
    again = Recorded.in_folder(session.folder)
    assert again.always == []


def test_a_ceiling_that_is_lowered_while_it_runs_ends_it(own_state: Path) -> None:
    def reply(told: int, prompt: str) -> str:
        if told == 1:
            session.set_budget("20 tokens")
        return "print('on')"

    session = open_session(own_state, reply, max_steps=6)
    result = run(session)
    assert result.exit_code == 3 and "20 tokens" in result.errors[-1]


def compacted(own_state: Path, size: int) -> tuple[list[str], list[Event]]:
    """Prompts and events of a run that is asked for a shorter context in its third step."""

    def reply(told: int, prompt: str) -> str:
        if len(session.brain.prompts) == 3:  # type: ignore[attr-defined]
            session.compact()
        return f"print('w' * {size}, {told})" if len(session.brain.prompts) < 5 else "final_answer('x')"  # type: ignore[attr-defined]

    session = open_session(own_state, reply)
    seen: list[Event] = []
    run(session, seen.append)
    return prompts(session), seen


def test_a_context_is_made_shorter_when_the_person_says_so(own_state: Path) -> None:
    told, seen = compacted(own_state, 5000)
    short = [event for event in seen if isinstance(event, ContextCompacted)]
    assert len(short) == 1 and short[0].how == "summarised" and short[0].after < short[0].before
    assert len(told[3]) < len(told[2])


def test_a_context_that_is_short_stays_as_it_is(own_state: Path) -> None:
    told, seen = compacted(own_state, 10)
    assert not any(isinstance(event, ContextCompacted) for event in seen)
    assert any(isinstance(e, Notice) and "short already" in e.text for e in seen)
    assert len(told[3]) > len(told[2])


def test_files_named_in_later_words_may_be_read(own_state: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("told")
    read = f"final_answer(read_file({str(outside)!r}).text)"

    def reply(told: int, prompt: str) -> str:
        if told == 0:
            session.say(f"look at {outside} then")
            return "print('first')"
        return read

    session = open_session(own_state, reply)
    assert run(session).answer == "told"
