"""Whatever a brain writes: code, a correction or a typed end; and the next good reply counts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import COUNT, NASTY_TEXT, examples
from support.scripted_runs import Reply, cell, play

from ml_intern.brains.replies import compiles, parse_reply
from ml_intern.journal.reading import JOURNAL, whole

FRAGMENTS = st.sampled_from(
    [
        # Marks, whole and in part, of ours and of others
        *("<cell>", "</cell>", "<cell", "cell>", "</ce", "<CELL>", "< cell >", "<code>", "</code>", "&lt;cell&gt;"),
        *("```python\n", "```py\n", "```\n", "```", "~~~python\n", "`", "``", "````python\n", "\n```\n"),
        *("<|im_end|>", "<|eot_id|>", "[/INST]", "<s>", "<|python_tag|>", "<unk>", "▁", "Ġprint", "\\u003ccell\\u003e"),
        *("<think>", "</think>", "\n</think>\n", "<thinking>", "<|channel|>analysis<|message|>", "◁think▷"),
        # Calls in other forms
        *('{"name": "python", "arguments": {"code": "print(1)"}}', "<tool_call>", "</tool_call>", "Action: python\n"),
        *('{"tool": "final_answer"', '"""', "'''", "final answer: 42", "Observation of step 3:\n", "Observation: x\n"),
        # Pieces of Python, whole and not
        *("x = 1", "print('", "')", "print(", ")", "(", "[", "{", "f'{", "def f(:", "    ", "\t", "\\", "\\\n", "#"),
        *("for n in range(3):\n", "if True:\n", "s = '</cell>'\n", 's = """</cell>"""\n', "1 / 0\n", "import nothing_such\n"),
        *("“x”", "print(‘x’)", "x – 1", "x\u00a0= 1", "y\u200b= 1", "ⅹ = 1", "０", "print（1）", "async def", "await x", "yield"),
        *("\n", "\n\n", "\r\n", "\r", " ", "\x00", "\x0c", "\x1a", "\ud800", "\udc00\ud800", "\ufeff", "\u202e", "\u2028"),
    ]
)  # fmt: skip
PROSE = st.sampled_from(
    ["", "I look first.\n", "So:\n\n", "1. First\n2. Then\n", "Here is <b>it</b>: ", "> quoted\n"]
)
CODE = st.sampled_from(
    [
        *("x = 1", "print('a')", "for n in range(2):\n    print(n)", "s = '</cell>'", "1 / 0", "x = = 1", "def f(:"),
        *("'\ud800'", "print('\x00')", "x = '“'", "print(“a”)", "raise SystemExit", "s = '''\n```\n'''", "\tx = 1"),
    ]
)  # fmt: skip


@st.composite
def wrapped(draw: st.DrawFn) -> str:
    """Code in some wrapping, whole or with a part of it missing, among prose."""
    opening = draw(
        st.sampled_from(["<cell>\n", "<cell>", "<code>", "```python\n", "```\n", "", "<cell>\n```python\n"])
    )
    closing = draw(
        st.sampled_from(["\n</cell>", "</cell>", "</code>", "\n```", "", "\n</cel", "\n```\n</cell>"])
    )
    text = draw(PROSE) + opening + draw(CODE) + closing + draw(PROSE)
    text = text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])))
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


TEXTS = st.one_of(
    st.lists(st.one_of(FRAGMENTS, NASTY_TEXT), max_size=14).map("".join),
    st.lists(wrapped(), min_size=1, max_size=3).map("\n".join),
    st.text(st.characters(codec=None), max_size=60),
)
REASONS = st.sampled_from(["stop", "stop", "length", "", "content_filter", "tool_calls"])


@examples()
@given(TEXTS, REASONS)
def test_the_parser_answers_with_code_or_a_note(text: str, reason: str) -> None:
    """Never an exception; code or a note that says what to do; of a reply that was cut only what is whole."""
    reply = parse_reply(text, finish_reason=reason)
    assert (reply.code is None) == bool(reply.problem) and (reply.code or reply.note)
    if reply.code is not None and reason == "length":
        marks = sum(text.count(mark) for mark in ("<cell>", "<code>", "```", "~~~"))
        assert "cut" in reply.note and (compiles(reply.code) or marks > 1)
    assert parse_reply(text, finish_reason=reason) == reply


IN_A_RUN = 30
"""Replies that one session is given, each followed by a good one."""


@pytest.mark.thorough
@examples(1 / IN_A_RUN)
@given(st.lists(st.tuples(TEXTS, REASONS), min_size=IN_A_RUN, max_size=IN_A_RUN))
def test_whole_steps_go_on_after_any_reply(given_replies: list[Reply]) -> None:
    """Each malformed reply in a real run gets an observation or a correction, and the good one after it runs."""
    left = list(given_replies)
    while left:  # a malformed reply may happen to be a final answer: the others get a run of their own
        replies: list[Reply] = []
        for nth, reply in enumerate(left):
            replies += [reply, cell(f"print('good', {nth})")]
        with tempfile.TemporaryDirectory() as folder:
            played = play([*replies, cell("final_answer('end')")], Path(folder), max_steps=len(replies) + 1)
            kinds = [entry.kind for entry in whole(played.session.folder / JOURNAL)]
        result, prompts = played.result, played.brain.prompts
        assert (result.status, result.errors) == ("done", [])
        assert not {"bug", "tool_bug"} & {*kinds}
        heard = (len(prompts) + 1) // 2
        for nth in range(heard - 1):
            before, good = prompts[2 * nth + 1], prompts[2 * nth + 2]
            assert before.rpartition("\nuser: ")[2].strip(), left[nth]
            assert f"good {nth}" in good, left[nth]
        left = [] if result.answer == "end" else left[heard:]


HUGE = {
    "a-megabyte-of-prose": "word " * 200_000,
    "many-lines": cell("x = [\n" + "1,\n" * 20_000 + "]\nprint(len(x))"),
    "openings": "<cell>" * 100_000,
    "closings": "<cell>\n" + "</cell> x\n" * 10_000,
    "fences": "```python\n" * 50_000,
    "quotes": cell("'" * 500_001),
    "brackets": cell("(" * 200_000),
    "indents": cell("\n".join(" " * n + "if 1:" for n in range(300))),
    "one-line": cell("x = '" + "y" * 1_000_000 + "'"),
    "nuls": "\x00" * 500_000,
    "minuses": cell("-" * 100_000 + "1"),
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_huge_replies_are_answered(text: str, tmp_path: Path) -> None:
    """A reply of any size is run or corrected, and the next one runs."""
    played = play([text, cell("final_answer('went on')")], tmp_path, observation_chars=2000)
    assert (played.result.status, played.result.answer) == ("done", "went on"), played.result.errors


def test_so_many_were_tried() -> None:
    """The bound that is promised holds without any variable."""
    assert COUNT >= 300
