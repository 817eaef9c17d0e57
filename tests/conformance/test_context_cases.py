"""Behaviours 6 to 8: runs that outgrow their brain's window."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from support.scripted_runs import Played, cell, play

from ml_intern.agent.compaction import Compactor
from ml_intern.events import ContextCompacted
from ml_intern.session.session import Session
from ml_intern.settings import Settings

TASK = "count the rows of all parts, and never touch eval.txt"
WINDOW = 12_000


def step(n: int, steps: int) -> str:
    """A step that says much and never the same."""
    if n == steps:
        return cell("final_answer('counted')")
    if n == 3:
        return cell("print(plan([{'text': 'count part 7', 'status': 'doing'}, 'tell the sum']))")
    return cell(f"print('part {n}:', 'row {n} ' * 120)", words=f"Part {n}.")


def run(state: Path, steps: int = 101, window: int = WINDOW, **settings: Any) -> Played:
    return play(lambda n: step(n, steps), state, TASK, window, max_steps=steps, go_on=False, **settings)


def limit(window: int, **settings: Any) -> float:
    return (window - Settings.load(**settings).max_output_tokens) * 3.5


# 6. A run over the limit


def test_one_sentence_and_a_hundred_steps_are_summarised_and_go_on(own_state: Path) -> None:
    """One user message and 100 steps over the limit: summarised, goes on; task, system prompt, facts stay."""
    played = run(own_state)
    assert (played.result.status, played.result.answer, played.result.steps) == ("done", "counted", 101)
    assert played.brain.summaries and any(e.how == "summarised" for e in played.told("ContextCompacted"))
    first, last = played.brain.prompts[0], played.brain.prompts[-1]
    assert f"Task:\n{TASK}" in last and last.startswith(first[: first.index("\nuser: Task:")])
    assert "Summary" in last and "count part 7 (doing)" in last and "Budget left" in last
    assert "part 100: row 100" in last and "part 5: row 5" not in last
    assert max(map(len, played.brain.prompts)) <= limit(WINDOW) + 2000  # the double's role names come on top


@pytest.mark.parametrize("what", ["observation", "reply"])
def test_a_message_alone_over_the_limit_says_how_long_it_was_and_where_it_is(
    what: str, own_state: Path
) -> None:
    """A message alone over the limit becomes a placeholder with its length and the path of the whole text."""
    long = "0123456789" * 9000
    code = f"print({'0123456789'!r} * 9000)" if what == "observation" else f"print('short')\n# {long}"
    played = play(
        [cell(code), cell("final_answer('done')")], own_state, TASK, 12_000, observation_chars=95_000
    )
    assert played.result.status == "done", played.result.errors
    shown = played.brain.prompts[-1]
    assert len(shown) < limit(12_000) and long not in shown and "characters were too many" in shown
    [path] = played.session.workspace.glob("long-texts/*.txt")
    assert str(path) in shown and long in path.read_text()
    assert f"[{len(path.read_text())} characters" in shown


# 7. The meter


def test_the_meter_is_the_same_before_and_after(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a compaction reports is the size of the next prompt, tools and system prompt counted."""
    sizes: list[int] = []
    room = Compactor.make_room

    def measured(compactor: Compactor, memory: Any) -> Any:
        done = room(compactor, memory)
        from ml_intern.agent.view import text_of

        sizes.append(sum(len(text_of(m)) for m in compactor.view.render(memory)))
        return done

    monkeypatch.setattr(Compactor, "make_room", measured)
    played = run(own_state)
    told: list[ContextCompacted] = played.told("ContextCompacted")
    assert told and all(e.before > limit(WINDOW) >= e.after for e in told)
    assert {e.after for e in told} <= set(sizes)
    system = played.brain.prompts[0].index("\nuser: Task:")
    assert all(e.after > system for e in told)  # the system prompt and its list of tools are in the count


def test_what_is_still_over_after_compaction_ends_typed_and_told(own_state: Path) -> None:
    """Still over after compaction: a typed error, a termination event, a non-zero exit."""
    for prompt, window in ((TASK, 3000), ("t" * 200_000, 32_000)):
        played = play([cell("print(1)")], own_state, prompt, window, max_output_tokens=1000)
        assert (played.result.status, played.result.exit_code) == ("limit", 3)
        assert "larger than the window" in played.result.errors[-1]
        end = played.events[-1]
        assert end.kind == "SessionFinished" and end.exit_code == 3  # type: ignore[attr-defined]
        assert all(len(sent) <= (window - 1000) * 3.5 + 50 for sent in played.brain.prompts)
        entries = {entry.kind: entry.payload for entry in _journal(played.session)}
        assert entries["finished"]["exit_code"] == 3


# 8. The prefix


def test_each_prompt_begins_with_the_one_before_unless_a_compaction_says_so(own_state: Path) -> None:
    """The prompt of step n+1 begins with that of step n, byte for byte, except where it was compacted."""
    played = run(own_state)
    prompts = played.brain.prompts
    kept = [now.startswith(before) for before, now in itertools.pairwise(prompts)]
    assert kept.count(False) <= len(played.told("ContextCompacted")) < len(prompts) / 4
    assert kept.count(False) > 0
    records = [e for e in _journal(played.session) if e.kind == "compaction"]
    broken = [n + 2 for n, same in enumerate(kept) if not same]
    assert broken == [e.payload["step"] for e in records]


def _journal(session: Session) -> list[Any]:
    from ml_intern.journal.reading import JOURNAL, whole

    return whole(session.folder / JOURNAL)


def test_on_the_wire_the_messages_only_grow(scripted_server: Any, own_state: Path) -> None:
    """The same on the wire: each request's messages are those of the one before, and two more."""
    from ml_intern import MLIntern

    replies = [cell(f"print({n})") for n in range(5)] + ["No cell.", cell("1 / 0"), cell("final_answer('x')")]
    server = scripted_server(replies)
    result = MLIntern("openai:m", base_url=server.url, sandbox="none", state=own_state).run(TASK)
    assert result.status == "done"
    sent = [json.dumps(chat["messages"])[:-1] for chat in server.chats]
    assert len(sent) == 8 and all(now.startswith(before) for before, now in itertools.pairwise(sent))
