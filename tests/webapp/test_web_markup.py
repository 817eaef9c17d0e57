"""What outside text becomes on the page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_intern.events import (
    BrainAnswered,
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    JobChanged,
    Notice,
    PersonSaid,
    Published,
    SessionFinished,
    SessionStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from ml_intern.webapp.markup import code, markdown, text
from ml_intern.webapp.transcript import Transcript

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'"
STARTED = SessionStarted("s", "prompt", "playbook:", "local", "walls", "/w")


@pytest.mark.parametrize(
    "given_",
    [
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "<a href='javascript:alert(1)'>x</a>",
        "![x](javascript:alert(1))",
        "```html\n<script>alert(1)</script>\n```",
        '```"><script>\nx\n```',
        "<javascript:alert(1)>",
        '[x](http://a/"onmouseover="alert(1))',
    ],
)
def test_markdown_brings_no_script(given_: str) -> None:
    made = markdown(given_)
    assert "<script" not in made and not re.search(r'(href|src)="\s*(javascript|data):', made, re.I)
    assert not re.search(r"<[^>]*\son\w+=", made)


def test_an_image_is_a_link_that_nobody_follows_by_himself() -> None:
    made = markdown("![curve](https://evil.example/p.png?x=1)")
    assert "<img" not in made and 'href="https://evil.example/p.png?x=1"' in made and "noreferrer" in made


def test_tables_and_code_are_shown() -> None:
    made = markdown("| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```")
    assert "<td>1</td>" in made and '<span class="n">x</span>' in made


@given(st.text(alphabet=st.sampled_from("<>&\"'`[]()!|*_\n ax:/jscript=#~-\\")))
def test_no_text_makes_a_tag_of_its_own(given_: str) -> None:
    tags = "p|a|em|strong|s|ul|ol|li|h[1-6]|hr|br|code|pre|blockquote|table|thead|tbody|tr|th|td|div|span"
    for made in (markdown(given_), code(given_), text(given_)):
        for tag in re.findall(r"<[^>]*>", made):
            assert re.fullmatch(
                rf"</?({tags})( (class|href|target|rel|start|style)=\"[^\"]*\")*( /)?>", tag
            ), tag


def page(*events: Event) -> str:
    transcript = Transcript()
    transcript.take(list(events), 0)
    return "".join(item.html for item in transcript.since(0))


@pytest.mark.parametrize(
    "event",
    [
        PersonSaid(EVIL, True),
        BrainAnswered(1, EVIL, 1, 1, 0.0),
        CellStarted(1, EVIL),
        CellOutput(1, EVIL),
        CellFinished(1, False, EVIL, 0.0),
        ToolStarted("c", EVIL, "read", {EVIL: EVIL}),
        ToolFinished("c", EVIL, False, EVIL, 0.0),
        JobChanged("j", EVIL, EVIL, 1, 2, {"loss": 1.0}),
        Published(EVIL, f"javascript:{EVIL}", EVIL),
        Notice("warning", EVIL),
        Notice("warning", EVIL, source="research:1"),
        TurnFinished(1, EVIL),
        SessionFinished("s", EVIL, 1, EVIL),
    ],
    ids=lambda event: f"{event.kind}{'-of-a-sub-agent' if event.source else ''}",
)
def test_no_event_brings_a_tag(event: Event) -> None:
    made = page(STARTED, event)
    assert "<img" not in made and "<script" not in made and 'href="javascript' not in made


def test_an_item_changes_in_its_place() -> None:
    transcript = Transcript()
    events: list[Event] = [STARTED, BrainAnswered(1, "I print.", 5, 5, 0.1), CellStarted(1, "print(1)")]
    transcript.take(events, 0)
    drawn = transcript.version
    transcript.take([CellOutput(1, "one")], 3)
    (changed,) = transcript.since(drawn)
    assert changed.id == "step-1-1" and "one" in changed.html and "I print." in changed.html
    transcript.take([CellOutput(1, "one")], 3)  # two pages read the same events
    assert transcript.version == changed.version


def test_the_prompt_stands_above_what_was_told_before() -> None:
    transcript = Transcript()
    transcript.take([Notice("info", "a playbook answers")], 0)
    before = transcript.epoch
    transcript.take([STARTED], 1)
    assert [item.id for item in transcript.since(0)] == ["said-1", "head", "line-0"]
    assert transcript.epoch != before  # a page that has drawn the notice draws anew


def test_an_answer_is_shown_once() -> None:
    made = page(STARTED, TurnFinished(1, "The answer."), SessionFinished("s", "done", 0, "The answer."))
    assert made.count("The answer.") == 1


def test_a_second_turn_has_steps_of_its_own() -> None:
    made = page(
        STARTED, CellStarted(1, "one"), TurnFinished(1, "a"), PersonSaid("more", True), CellStarted(1, "two")
    )
    assert "one" in made and "two" in made
