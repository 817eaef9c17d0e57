"""A message while it runs reaches the brain before its next answer, once; after the answer it is a turn."""

from __future__ import annotations

import itertools
import string
from pathlib import Path

import pytest
from steered import open_session, prompts, run

from ml_intern.agent.inbox import MOST_CHARS, Inbox
from ml_intern.errors import UsageError
from ml_intern.export import export

LETTERS = string.ascii_letters


def counting(last: int, answer: str = "'done'"):  # type: ignore[no-untyped-def]
    return lambda n, seen: f"final_answer({answer})" if n == last else f"n = {n}\nprint('step', n)"


def test_it_is_read_before_the_next_answer(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str:
        if n == 1:
            session.say("use fewer steps")
        return counting(3)(n, seen)

    session = open_session(tmp_path, reply)
    assert run(session).answer == "done"
    heard = [prompt.count("use fewer steps") for prompt in prompts(session)]
    assert heard == [0, 0, 1, 1] and "The person says:\nuse fewer steps" in prompts(session)[2]


def test_messages_keep_their_order_and_the_prefix_stays(tmp_path: Path) -> None:
    session = open_session(tmp_path, counting(2))
    session.say("first")
    session.say("second")
    run(session)
    seen = prompts(session)
    assert seen[0].index("first") < seen[0].index("second")
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))


def test_after_the_answer_it_is_the_next_turn(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str:
        return {0: "x = 41\nfinal_answer('one')", 1: "final_answer(str(x + 1))"}[n]

    session = open_session(tmp_path, reply)

    assert run(session).answer == "one"
    again = open_session(tmp_path, reply, session.folder)
    again.say("now add one")
    result = run(again)
    assert result.answer == "42", "the variables of the first turn are there"
    assert "Task:\nnow add one" in prompts(again)[-1]


def test_a_resumed_run_hears_what_it_had_heard_and_not_twice(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str:
        return "final_answer('done')" if n == 3 else f"print('step', {n})"

    session = open_session(tmp_path, reply, max_steps=2)
    session.say("mind the gap")
    assert run(session).status == "limit"
    again = open_session(tmp_path, reply, session.folder, max_steps=9)
    assert run(again).answer == "done"
    assert all(prompt.count("mind the gap") == 1 for prompt in prompts(again))
    assert prompts(again)[0].startswith(prompts(session)[-1])


def test_a_message_left_while_it_did_not_run_is_not_lost(tmp_path: Path) -> None:
    session = open_session(tmp_path, counting(2), max_steps=1)
    assert run(session).status == "limit"
    Inbox(session.folder).say("hurry")
    again = open_session(tmp_path, counting(2), session.folder, max_steps=5)
    assert run(again).answer == "done" and "hurry" in prompts(again)[0]


def test_a_message_that_was_journaled_before_a_crash_is_not_heard_again(tmp_path: Path) -> None:
    session = open_session(tmp_path, counting(1), max_steps=1)
    session.say("once")
    [waiting] = (session.folder / "inbox").iterdir()
    kept = waiting.read_bytes()
    run(session)
    waiting.write_bytes(kept)  # as if the process had died before it was cleared away
    again = open_session(tmp_path, counting(1), session.folder, max_steps=5)
    run(again)
    assert prompts(again)[-1].count("once") == 1 and not waiting.exists()


def test_messages_survive_a_summary(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str:
        count = len(prompts(session))
        return (
            "final_answer('done')"
            if count > 60
            else f"print({LETTERS[count % 52] * (1 + count // 52)!r} * 1500)"
        )

    session = open_session(tmp_path, reply, max_steps=80, recent_steps=2, max_output_tokens=500)
    session.brain.context_tokens = 12_000
    session.say("never use more than 2 GB")
    assert run(session).answer == "done"
    last = prompts(session)[-1]
    assert "never use more than 2 GB" in last and "Observation of step 3:" not in last


def test_what_is_no_message(tmp_path: Path) -> None:
    session = open_session(tmp_path, counting(1))
    with pytest.raises(UsageError, match="empty"):
        session.say("  ")
    with pytest.raises(UsageError, match="characters"):
        session.say("x" * (MOST_CHARS + 1))
    (session.folder / "inbox").mkdir(exist_ok=True)
    (session.folder / "inbox" / "say-0.json").write_text("no json")
    (session.folder / "inbox" / "say-1.json").write_text("[]")
    assert run(session).answer == "done"


def test_a_credential_in_a_message_is_hidden(tmp_path: Path) -> None:
    session = open_session(tmp_path, counting(1))
    token = "hf_" + "A1b2" * 9
    session.say(f"use {token}")
    run(session)
    assert not any(token in prompt for prompt in prompts(session))
    assert token not in "".join(str(entry) for entry in export(session.folder, "trace").splitlines())


def test_exports_show_what_was_said(tmp_path: Path) -> None:
    session = open_session(tmp_path, counting(1))
    session.say("mind the gap")
    run(session)
    for form in ("markdown", "trace", "notebook"):
        assert "mind the gap" in export(session.folder, form), form
