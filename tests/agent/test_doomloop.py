"""A run that turns in circles is told so, once at each height, and ends."""

from __future__ import annotations

import pytest

from ml_intern.agent.doomloop import DoomLoop, Verdict, call_text, fold_code


def levels(steps: list[tuple[str, str]]) -> list[str | None]:
    loop = DoomLoop()
    seen = [loop.see(action, result) for action, result in steps]
    return [verdict.level if verdict else None for verdict in seen]


def same(text: str) -> list[tuple[str, str]]:
    return [(f"do({c!r})", f"result {c}") for c in text]


def test_arguments_are_the_same_whatever_the_order_of_keys_and_the_spaces() -> None:
    assert call_text("f", '{"a": 1, "b": [1, 2]}') == call_text("f", '{"b":[1,2],\n "a":1}')
    assert call_text("f", '{"b": [1, 2]}') != call_text("f", '{"b": [2, 1]}')
    assert call_text("f", "not json") == "f not json"
    assert fold_code("f(a=1, b=2)  # once more") == fold_code("f( b = 2,\n a = 1 )")


def test_two_alike_say_nothing_three_alike_name_the_call() -> None:
    loop = DoomLoop()
    assert loop.see("read_file('a')", "x") is None and loop.see("read_file('a')", "x") is None
    verdict = loop.see("read_file('a')", "x")
    assert verdict and verdict.level == "note" and "read_file('a')" in verdict.text


def test_an_interruption_breaks_the_row() -> None:
    assert levels(same("AABAA")) == [None] * 5


def test_a_poll_that_moves_is_no_circle() -> None:
    assert levels([("job_status('a')", f"step {n}") for n in (27210, 36454, 45770, 51002)]) == [None] * 4


@pytest.mark.parametrize("cycle", ["ab", "abc", "abcdefgh"])
def test_cycles_are_seen_and_named(cycle: str) -> None:
    loop = DoomLoop()
    verdicts = [loop.see(action, result) for action, result in same(cycle * 3)]
    first = next(v for v in verdicts if v)
    assert first.level == "note" and all(f"do({c!r})" in first.text for c in cycle)


def test_what_only_looks_like_a_cycle_is_none() -> None:
    assert not any(levels(same("abac")))
    assert not any(levels(same("abcdefghiabcdefghi")))  # nine steps: longer than what is looked for


@pytest.mark.parametrize(
    "wording",
    [
        lambda n: ("run()", f"done at 2026-11-{n + 10}T10:0{n}:00Z"),
        lambda n: ("run()", f"took {n}.3 s"),
        lambda n: ("run()", f"started pid {4000 + n}"),
        lambda n: (f"run(note='try {n}')", "failed"),
        lambda n: (f"run()  # attempt {n}", "failed"),
        lambda n: ("run()", f"<Thing at 0x7f00{n}>"),
    ],
)
def test_what_differs_by_itself_or_in_words_only_is_the_same(wording) -> None:  # type: ignore[no-untyped-def]
    assert levels([wording(n) for n in range(3)])[-1] == "note"


def test_an_episode_is_told_once_and_a_new_one_again() -> None:
    assert levels(same("AAAA" + "B" + "AAA")) == [None, None, "note", None, None, None, None, "note"]
    assert levels(same("ababab" + "c")).count("note") == 1


def test_it_escalates_and_twelve_alike_never_run_to_the_end() -> None:
    found = [level for level in levels(same("A" * 12)) if level]
    assert found == ["note", "replan", "stop"]
    assert [level for level in levels(same("abc" * 5)) if level] == ["note", "replan", "stop"]


def test_a_verdict_is_text_for_the_brain() -> None:
    loop = DoomLoop()
    verdicts = [loop.see("f(\n1)", "x") for _ in range(6)]
    assert isinstance(verdicts[5], Verdict) and "final_answer" in verdicts[5].text


def test_long_results_and_broken_code_are_no_trouble() -> None:
    loop = DoomLoop()
    for _ in range(2):
        assert loop.see("def f(:", "x" * 1_000_000) is None
    assert loop.see("def f(:", "x" * 1_000_000) is not None
