from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_intern.brains.replies import CELL_TAGS, compiles, parse_reply

A = "<cell>\nx = 1\nprint(x)\n</cell>"


@pytest.mark.parametrize(
    "text",
    [
        A,
        "I look first.\n" + A + "\nThen I see.",
        "<code>\nx = 1\nprint(x)\n</code>",
        "<code>x = 1\nprint(x)</code>",
        "```python\nx = 1\nprint(x)\n```",
        "```py\nx = 1\nprint(x)\n```\n",
        "``` Python\nx = 1\nprint(x)\n```",
        "````python\nx = 1\nprint(x)\n````",
        "~~~python\nx = 1\nprint(x)\n~~~",
        "1. First:\n   ```python\n   x = 1\n   print(x)\n   ```",
        A.replace("\n", "\r\n"),
        A.replace("\n", "\r"),
        "<cell>\n```python\nx = 1\nprint(x)\n```\n</cell>",
        "```python\n<cell>\nx = 1\nprint(x)\n</cell>\n```",
        "```python\n<code>\nx = 1\nprint(x)\n</code>\n```",
        "<cell>\n    x = 1\n    print(x)\n</cell>",
        "<cell>\nx = 1\n</cell>\nand\n<cell>\nprint(x)\n</cell>",
        "<code>x = 1</code>\nand\n<code>print(x)</code>",
        "```python\nx = 1\n```\nand then\n```python\nprint(x)\n```",
        "<cell>\nx = 1\nprint(x)",
        "<cell>\nx = 1\nprint(x)\n",
        "<cell>\nx = 1\nprint(x)\n</cel",
        "<cell>\nx = 1\nprint(x)\n</code>",
        "<cell>\nx = 1\nprint(x)\n```",
        "```python\nx = 1\nprint(x)",
        "<think>draft:\n<cell>\nos.remove('x')\n</cell></think>\n" + A,
        "a draft <cell>boom()</cell>\n</think>\n" + A,
        A + "\nObservation of step 1:\n1\n<cell>\nprint('invented')\n</cell>",
        A + "\nObservation: 1\n```python\nprint('invented')\n```",
        "I use the <code>pandas</code> library.\n```python\nx = 1\nprint(x)\n```",
        "As `<code>` says:\n" + A + "\nor in a card:\n```python\nfrom x import y\n```",
        "x = 1\nprint(x)",
    ],
)
def test_the_cell_is_found(text: str) -> None:
    reply = parse_reply(text, finish_reason="stop")
    assert reply.code is not None
    assert reply.code.strip() == "x = 1\nprint(x)"
    assert reply.problem == "" and reply.note == ""


@pytest.mark.parametrize("reason", [None, "", "stop", "tool_calls", "something new"])
def test_a_whole_cell_runs_whatever_the_reason(reason: str | None) -> None:
    assert parse_reply(A, finish_reason=reason).code == "x = 1\nprint(x)"


@pytest.mark.parametrize(
    "code",
    [
        'card = "close it with </cell> at the end"\nprint(card)',
        'card = """\n<cell>\nx\n</cell>\n"""\nprint(card)',
        "x = 1  # the mark </cell> stands in a comment\nprint(x)",
        'card = """\n```python\nprint(1)\n```\n"""\nprint(card)',
        'card = f"""{1}</cell>"""\nprint(card)',
        "print('<code>a</code>')",
    ],
)
def test_marks_inside_of_strings_and_comments_do_not_end_the_cell(code: str) -> None:
    assert parse_reply(f"So:\n<cell>\n{code}\n</cell>\nDone.").code == code


def test_a_fence_inside_of_a_fenced_string_does_not_end_the_cell() -> None:
    code = 'card = """\n```\npip install x\n```\n"""\nprint(card)'
    assert parse_reply(f"```python\n{code}\n```").code == code


def test_two_cells_with_a_comment_at_the_first_ones_end_stay_two() -> None:
    reply = parse_reply("<cell>\nx = 1  # one\n</cell>\n<cell>\ny = 2\n</cell>")
    assert reply.code == "x = 1  # one\ny = 2"
    reply = parse_reply("[[c]]x = 1  # one[[/c]]\n[[c]]\ny = 2[[/c]]", ("[[c]]", "[[/c]]"))
    assert reply.code == "x = 1  # one\ny = 2"


def test_code_with_an_error_goes_to_the_kernel_which_tells_it_best() -> None:
    reply = parse_reply("<cell>\nx = = 1\n</cell>")
    assert reply.code == "x = = 1"


@pytest.mark.parametrize(
    "text",
    [
        "<cell>\nx = 1\nprint(x)",
        "<cell>\nx = [1,",
        "```python\nx = 1\n",
        "I think about it and",
        "",
        A + "\nnow\n<cell>\ny =",
        A + "\nnow\n<cell>\ny = 2",
        A + "\nnow\n<cell>\n",
        "<cell>\ncard = '''\n</cell> is the mark\nand",
    ],
)
def test_a_reply_that_was_cut_runs_not_even_in_part(text: str) -> None:
    reply = parse_reply(text, finish_reason="length")
    assert reply.code is None
    assert reply.problem == "truncated"
    assert "shorter cell" in reply.note


def test_a_reply_cut_after_its_cell_runs_and_is_told() -> None:
    reply = parse_reply(A + "\nNow I will explain at len", finish_reason="length")
    assert reply.code == "x = 1\nprint(x)"
    assert reply.problem == ""
    assert "cut" in reply.note


@pytest.mark.parametrize("text", ["<cell>\nx = [1,", "```python\ndef f(:\n", "<code>\nprint('a"])
def test_an_open_cell_that_is_no_python_is_corrected_with_the_reason(text: str) -> None:
    reply = parse_reply(text, finish_reason="stop")
    assert (reply.code, reply.problem) == (None, "unclosed")
    assert "line" in reply.note and CELL_TAGS[0] in reply.note


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I think we should begin.", "No cell was found"),
        ("", "empty"),
        (None, "empty"),
        ("The final_answer is 42.", "call final_answer"),
        ("Final answer: 42", "call final_answer"),
        ("```\npip install x\n```", "word python"),
        ('{"tool": "read_file"}', "No cell was found"),
        ("The variable <code>df</code> holds it.", "No cell was found"),
        ("<think>and <cell>x = 1</cell>", "empty"),
        ("<cell></cell>", "No cell was found"),
        ("done", "No cell was found"),
    ],
)
def test_a_reply_without_code_is_told_how_to_write_a_cell(text: str | None, told: str) -> None:
    reply = parse_reply(text, finish_reason="stop")
    assert (reply.code, reply.problem) == (None, "no_code")
    assert told in reply.note
    assert CELL_TAGS[0] in reply.note and CELL_TAGS[1] in reply.note


def test_the_note_shows_the_configured_tags() -> None:
    assert "[[c]]\n" in parse_reply("hm", ("[[c]]", "[[/c]]")).note


def test_many_closing_marks_stay_fast() -> None:
    began = time.monotonic()
    parse_reply("<cell>\n" + "</cell> x\n" * 5000)
    parse_reply("```python\nx = (\n" + "```\n" * 5000)
    parse_reply("<cell>" * 3000)
    assert time.monotonic() - began < 20


fragments = st.sampled_from(
    [
        "<cell>",
        "</cell>",
        "<code>",
        "</code>",
        "```python\n",
        "```",
        "\n",
        "\r\n",
        "x = 1",
        "print('",
        '"""',
        "#",
        " ",
        "Observation:",
        "<think>",
        "</think>",
        "final_answer(",
        ")",
        "\x00",
        "\ud800",
        "é",
        "def f(:",
        "    ",
        "\\",
        "{",
        "f'{",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    text=st.one_of(st.lists(fragments, max_size=25).map("".join), st.text(max_size=200)),
    reason=st.sampled_from([None, "stop", "length", "", "content_filter"]),
    tags=st.sampled_from([CELL_TAGS, ("<code>", "</code>"), ("[[c]]", "[[/c]]"), ("```python", "```")]),
)
def test_whatever_a_brain_writes_there_is_code_or_a_note(
    text: str, reason: str | None, tags: tuple[str, str]
) -> None:
    reply = parse_reply(text, tags, reason)
    assert (reply.code is None) == bool(reply.problem)
    assert reply.code is not None or reply.note
    if reason == "length" and reply.code is not None:
        assert compiles(reply.code)


programs = st.lists(
    st.sampled_from(
        [
            "x = 1",
            "print('</code>')",
            's = """\n```\n"""',
            "for i in range(3):\n    print(i)",
            "# </cell>",
            "t = '<cell>'",
        ]
    ),
    min_size=1,
    max_size=6,
).map("\n".join)
prose = st.sampled_from(["", "So:\n", "I will do it.\n\n", "First `x`, then:\n"])


@settings(max_examples=200, deadline=None)
@given(code=programs, before=prose, after=prose, newline=st.sampled_from(["\n", "\r\n"]))
def test_a_well_formed_cell_comes_out_as_it_went_in(code: str, before: str, after: str, newline: str) -> None:
    text = f"{before}<cell>\n{code}\n</cell>\n{after}".replace("\n", newline)
    assert parse_reply(text, finish_reason="stop").code == code
