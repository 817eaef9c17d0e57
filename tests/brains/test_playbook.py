from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_intern.brains.factory import build_brain
from ml_intern.brains.playbook import PlaybookFailed, list_playbooks, load_playbook
from ml_intern.brains.replies import CELL_FAILED, parse_reply
from ml_intern.errors import UsageError
from ml_intern.events import Event, Notice
from ml_intern.settings import Settings

TRAIN = """\
---
name: drill
summary: For tests.
sentences:
  - train {source} [(in|within) {minutes} minutes] [and publish [it] as {repo}]
  - pattern: drill the {size} one
    slots: {source: fixed}
slots:
  source: {default: nothing}
  minutes: {type: float, default: 2}
  repo: {default: ""}
  size: {type: choice, choices: [small, Large], default: small}
---
Takes {{ source }}.

```python
source = {{ source | py }}
minutes, repo, size = {{ minutes }}, {{ repo | py }}, {{ size }}
```

Then the end.

````python
card = '''
```python
x
```
'''
final_answer(card)
````

Epilogue.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "drill.md").write_text(TRAIN)
    return tmp_path


def brain_of(folder: Path, model: str = "playbook:") -> Any:
    return build_brain(Settings(model=model, playbooks=[folder]), lambda event: None, {})


def cell(brain: Any, *messages: tuple[str, str]) -> str:
    reply = brain.generate([{"role": role, "content": text} for role, text in messages])
    return str(parse_reply(reply.content, brain.tags).code)


DEFAULTS = {"source": "nothing", "minutes": 2.0, "repo": "", "size": "small"}


@pytest.mark.parametrize(
    ("prompt", "values"),
    [
        ("train data.txt", {"source": "data.txt"}),
        ("Train DATA.txt.", {"source": "DATA.txt"}),
        ("  please,  could you train   my data.txt ?", {"source": "my data.txt"}),
        ("train the data", {"source": "data"}),
        ("train data.txt in two minutes", {"source": "data.txt", "minutes": 2.0}),
        ("train data.txt within twenty-five minutes", {"source": "data.txt", "minutes": 25.0}),
        ("train data.txt in a minute", {"source": "data.txt", "minutes": 1.0}),
        ("train data.txt in half a minute", {"source": "data.txt", "minutes": 0.5}),
        ("train data.txt in 2.5 mins", {"source": "data.txt", "minutes": 2.5}),
        ("train data.txt in 90min", {"source": "data.txt", "minutes": 90.0}),
        ("train data.txt in 1,000 minutes", {"source": "data.txt", "minutes": 1000.0}),
        ("train a.txt and publish as me/it", {"source": "a.txt", "repo": "me/it"}),
        ("train a.txt, and publish it as me/it!", {"source": "a.txt", "repo": "me/it"}),
        (
            "train a.txt in one minute and then publish it as 'me/it'",
            {"source": "a.txt", "minutes": 1, "repo": "me/it"},
        ),
        ('train "a file in two minutes.txt"', {"source": "a file in two minutes.txt"}),
        ("train `x y`", {"source": "x y"}),
        ("train x b c in d minutes", {"source": "x b c in d minutes"}),
        ("train /tmp/x (1).txt", {"source": "/tmp/x (1).txt"}),
        ("train ../up.txt", {"source": "../up.txt"}),
        ("drill the LARGE one", {"source": "fixed", "size": "Large"}),
        ("Drill small one, thanks", {"source": "fixed", "size": "small"}),
    ],
)
def test_sentences_give_slots(folder: Path, prompt: str, values: dict[str, Any]) -> None:
    brain = brain_of(folder)
    brain.prepare(prompt)
    assert brain.values == {**DEFAULTS, **values}


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("trian data.txt in two minutes", "Did you mean this sentence"),
        ("train", "Its sentences"),
        ("drill the huge one", "'huge' is not one of small, Large"),
        ("drill the lrge one", "did you mean 'Large'"),
        ("write me a poem", "not a language model"),
        ("", "not a language model"),
        ("?!", "not a language model"),
        ("say hello to Ann three and a half monkeys times", ""),
    ],
)
def test_what_is_not_understood_lists_the_sentences_and_how_to_connect(
    folder: Path, prompt: str, told: str
) -> None:
    brain = brain_of(folder)
    if not told:
        brain.prepare(prompt)  # a slot takes any words
        return
    with pytest.raises(UsageError) as caught:
        brain.prepare(prompt)
    text = str(caught.value)
    assert told in text
    assert "drill the {size} one" in text and "say hello to {name}" in text
    assert "--model openai:NAME --base-url URL" in text and "HF_TOKEN" in text
    assert caught.value.exit_code == 2


def test_cells_come_one_after_the_other_by_the_messages_alone(folder: Path) -> None:
    brain = brain_of(folder)
    brain.prepare("train a.txt")
    task = ("user", "Task:\ntrain a.txt")
    first = cell(brain, ("system", "s"), task)
    assert first.startswith("source = 'a.txt'\n")
    answered = (task, ("assistant", "one"), ("user", "Observation of step 1:\n(no output)"))
    second = cell(brain, *answered)
    assert "```python\nx\n```" in second and second.endswith("final_answer(card)")
    assert cell(brain, *answered) == second
    other = brain_of(folder)
    other.prepare("train a.txt")
    assert cell(other, *answered) == second
    end = cell(brain, *answered, ("assistant", "two"), ("user", "Observation of step 2:\nx"))
    assert end.startswith("final_answer(")


def test_in_a_chat_a_second_prompt_begins_anew(folder: Path) -> None:
    brain = brain_of(folder)
    brain.prepare("train b.txt")
    before = (
        ("user", "Task:\ntrain a.txt"),
        ("assistant", "1"),
        ("user", "Observation:\n"),
        ("assistant", "2"),
    )
    assert cell(brain, *before, ("user", "Task:\ntrain b.txt")).startswith("source = 'b.txt'")


def test_prose_is_said_and_the_reply_costs_nothing(folder: Path) -> None:
    brain = brain_of(folder)
    brain.prepare("train a.txt")
    reply = brain.generate([{"role": "user", "content": "train a.txt"}])
    assert reply.content.startswith("Takes a.txt.\n")
    assert (reply.token_usage.input_tokens, reply.token_usage.output_tokens) == (0, 0)
    assert brain.price(10, 10) == 0
    last = brain.generate([{"role": "user", "content": "train a.txt"}, {"role": "assistant", "content": "x"}])
    assert "Then the end." in last.content and "Epilogue." in last.content


@pytest.mark.parametrize(
    ("observation", "line"),
    [
        ("Traceback\n  File\nKeyError: 'x'", "KeyError: 'x'"),
        ("out\nValueError: bad\nVariables: x: int", "ValueError: bad"),
        ("something else", "something else"),
        ("", CELL_FAILED.rstrip(".")),
    ],
)
def test_a_cell_that_failed_ends_the_playbook(folder: Path, observation: str, line: str) -> None:
    brain = brain_of(folder)
    brain.prepare("train a.txt")
    seen = f"Observation of step 1:\n{CELL_FAILED}\n{observation}"
    with pytest.raises(PlaybookFailed) as caught:
        cell(brain, ("user", "train a.txt"), ("assistant", "x"), ("user", seen))
    assert f"Cell 1 of the playbook 'drill' failed: {line}." in caught.value.message
    assert caught.value.exit_code == 1


def test_what_a_tool_refused_is_told_in_the_tools_own_words(folder: Path) -> None:
    brain = brain_of(folder)
    brain.prepare("train a.txt")
    seen = f"Observation of step 1:\n{CELL_FAILED}\nTraceback\n  File\nToolError: no such file x."
    with pytest.raises(PlaybookFailed) as caught:
        cell(brain, ("user", "train a.txt"), ("assistant", "x"), ("user", seen))
    assert caught.value.message == "no such file x." and "cell 1" in caught.value.hint


def test_only_the_newest_observation_counts_and_only_its_beginning(folder: Path) -> None:
    brain = brain_of(folder)
    brain.prepare("train a.txt")
    seen = f"Observation of step 1:\nloss 3\n{CELL_FAILED}"
    assert cell(brain, ("user", "train a.txt"), ("assistant", "x"), ("user", seen)).endswith(
        "final_answer(card)"
    )


def test_only_what_ships_is_trusted(folder: Path) -> None:
    brain = brain_of(folder)
    assert not brain.trusted
    brain.prepare("train a.txt")
    assert (brain.label, brain.trusted) == ("playbook:drill", False)
    brain.prepare("say hello to Ann")
    assert (brain.label, brain.trusted) == ("playbook:hello", True)
    assert brain_of(folder, "playbook:hello").trusted


def test_a_playbook_that_is_named_takes_only_its_own_sentences(folder: Path) -> None:
    brain = brain_of(folder, "playbook:hello")
    brain.prepare("say hello to Ann")
    with pytest.raises(UsageError):
        brain.prepare("train a.txt")


def test_a_link_into_the_shipped_folder_from_outside_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text(TRAIN)
    assert not load_playbook(tmp_path / "own.md").shipped


def test_all_shipped_playbooks_are_whole() -> None:
    names = [playbook.name for playbook in list_playbooks() if playbook.shipped]
    assert "hello" in names
    for playbook in list_playbooks():
        assert playbook.summary and playbook.sentences and playbook.cells


def test_a_broken_file_of_a_person_is_told_and_left_out(folder: Path) -> None:
    (folder / "broken.md").write_text("# nothing\n")
    told: list[Event] = []
    brain = build_brain(Settings(model="playbook:", playbooks=[folder]), told.append, {})
    brain.prepare("train a.txt")
    assert "broken.md has no front matter" in told[0].text  # type: ignore[attr-defined]
    assert isinstance(told[0], Notice)
    with pytest.raises(UsageError, match=r"broken\.md"):
        list_playbooks([folder])


def test_a_page_about_the_playbooks_beside_it_is_none(folder: Path) -> None:
    (folder / "README.md").write_text("# What these are for\n")
    told: list[Event] = []
    build_brain(Settings(model="playbook:", playbooks=[folder]), told.append, {}).prepare("train a.txt")
    assert told == [] and "drill" in [playbook.name for playbook in list_playbooks([folder])]


HEAD = "---\nname: x\nsummary: s\nsentences: {}\nslots: {}\n---\n```python\npass\n```\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no head", "no front matter"),
        ("---\n{[\n---\n", "no YAML"),
        ("---\nname: x\n---\n", "Field required"),
        (HEAD.format('["do {thing}"]', "{think: {}}"), "did you mean 'think'"),
        (HEAD.format('["do [it"]', "{}"), "missing"),
        (HEAD.format('["do it]"]', "{}"), "stands alone"),
        (HEAD.format("do it", "{}"), "is no list"),
        (HEAD.format("[]", "{}"), "at least 1"),
        (HEAD.format("[do]", "{a: {type: choice}}"), "choices"),
        (HEAD.format("[do]", "{a: {type: int, default: many}}"), "whole number"),
        (HEAD.format("[do]", "{a: {typ: int}}"), "slots.a.typ"),
        (HEAD.format("[do]", "{}").replace("```python", "```"), "no ```python cell"),
        (HEAD.format("[do]", "{}").replace("pass", "{{ lost }}"), "'lost' is undefined"),
        (HEAD.format("[do]", "{}").replace("pass", "{% if %}"), "Cell 1"),
    ],
)
def test_a_file_that_is_no_playbook_says_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x.md").write_text(text)
    with pytest.raises(UsageError) as caught:
        list_playbooks([tmp_path])
        brain = brain_of(tmp_path, "playbook:x")
        brain.prepare("do")
    assert told in str(caught.value)


BROKEN = (
    HEAD.format("[do]", "{name: {default: y}}") + "\nProse.\n\n```python\na = 1\n%s\nb = {{ name }}\n```\n"
)
"""The second cell begins in line 14 of the file; what is broken stands in its second line."""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('print(f"{%x}")', "unknown tag 'x'"),
        ('print("{# never closed")', "Missing end of comment tag"),
        ("print({{'a': 1}})", "expected token"),
        ("print({{ nope }})", "'nope' is undefined"),
        ("print({{ name | shout }})", "No filter named 'shout'"),
        ("print({{ 1 / 0 }})", "division by zero"),
    ],
)
def test_what_is_wrong_in_the_template_of_a_cell_is_told_with_its_place(
    tmp_path: Path, line: str, why: str
) -> None:
    (tmp_path / "x.md").write_text(BROKEN % line)
    with pytest.raises(UsageError) as caught:
        brain_of(tmp_path, "playbook:x").prepare("do")
    first = str(caught.value).splitlines()[0]
    path = tmp_path / "x.md"
    assert f"Cell 2 of the playbook {path}, line 2 (line 15 of the file)" in first
    assert why in first and line in first
    assert "{% raw %}" in str(caught.value) and "{% endraw %}" in str(caught.value)
    assert (tmp_path / "x.md").read_text().splitlines()[14] == line


def test_what_the_error_advises_mends_the_cell(tmp_path: Path) -> None:
    line = 'print(f"{%x}", {{1}}, "{# y")'
    (tmp_path / "x.md").write_text(BROKEN % f"if a:\n  {{% raw %}}\n    {line}\n  {{% endraw %}}")
    brain = brain_of(tmp_path, "playbook:x")
    brain.prepare("do")
    second = cell(brain, ("user", "do"), ("assistant", "x"), ("user", "Observation:\nok"))
    assert [row for row in second.splitlines() if row] == ["a = 1", "if a:", f"    {line}", "b = 'y'"]


def test_what_is_wrong_in_the_prose_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text((BROKEN % "pass").replace("Prose.", "Some {% prose %}."))
    with pytest.raises(
        UsageError, match=r"The prose of cell 2 of .*x\.md, line 1: .*'prose'.*Some \{% prose %\}"
    ):
        brain_of(tmp_path, "playbook:x").prepare("do")


# A value never becomes code


HOSTILE = [
    "it's",
    'a "quote"',
    "{{ 7 * 7 }} {% raw %}",
    "}}{{ name",
    "x'; import os; os.system('true') #",
    '"""\nimport os\n"""',
    "back\\slash\\",
    "new\nline",
    "\r\n\t\x00\x1b[31m",
    "slot_literal_0_",
    "é ü 日本 \u2028 🙂",
    "</cell>",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_stays_a_value(folder: Path, value: str) -> None:
    assert assigned(folder, value) == value


@settings(max_examples=150, deadline=None)
@given(value=st.text(min_size=1, max_size=60))
def test_any_text_stays_a_value(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "drill.md").write_text(TRAIN)
    assert assigned(folder, value) == value


def assigned(folder: Path, value: str) -> object:
    """What the cell's first line would assign, read without running it."""
    brain = brain_of(folder)
    brain.prepare("train x")
    brain.values["source"] = value
    code = cell(brain, ("user", "train x"))
    first = ast.parse(code).body[0]
    assert isinstance(first, ast.Assign) and len(ast.parse(code).body) == 2
    return ast.literal_eval(first.value)


@pytest.mark.parametrize(
    "line", ['x = "{{ name }}"', "x = '{{ name | py }}'", "# {{ name }}", 'x = f"{{ name }}"']
)
def test_a_slot_inside_of_quotes_is_an_error_of_the_playbook(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.md").write_text(HEAD.format("[do]", "{name: {default: y}}").replace("pass", line))
    with pytest.raises(UsageError, match="inside quotes"):
        brain_of(tmp_path, "playbook:x").prepare("do")


def test_templates_cannot_reach_into_the_host(tmp_path: Path) -> None:
    line = "x = {{ name.__class__.__mro__[1].__subclasses__() }}"
    (tmp_path / "x.md").write_text(HEAD.format("[do]", "{name: {default: y}}").replace("pass", line))
    with pytest.raises(UsageError):
        brain_of(tmp_path, "playbook:x").prepare("do")


def test_a_long_prompt_is_answered_soon(folder: Path) -> None:
    brain = brain_of(folder)
    began = time.monotonic()
    for prompt in ("train " + "word " * 4000, "train " + "in two minutes and publish it as x " * 300):
        with pytest.raises(UsageError):
            brain.prepare(prompt)
    assert time.monotonic() - began < 20
