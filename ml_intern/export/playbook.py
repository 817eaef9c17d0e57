"""A session as a playbook: its cells, with parts of the sentence turned into slots."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from ml_intern.errors import UsageError
from ml_intern.export.markdown import fenced
from ml_intern.export.notebook import said_beside
from ml_intern.export.story import Step, Story


def to_playbook(story: Story, name: str, slots: Mapping[str, str]) -> str:
    """The playbook's text. A slot's text is replaced in the sentence and in the strings of the cells.

    Args:
        story: The session; cells that failed are left out, since a later one did it right.
        name: What it is called; nothing: made from the sentence.
        slots: Name to the text of the prompt that it stands for.

    Raises:
        UsageError: A slot's text does not stand in the prompt, or no cell went well.
    """
    sentence = story.prompt
    for slot, text in slots.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", slot):
            raise UsageError(f"The slot {slot!r} is no name.", "Use small letters, digits and _.")
        if text not in sentence:
            raise UsageError(f"The prompt does not hold {text!r}.", f"The prompt is: {story.prompt}")
        sentence = sentence.replace(text, "{" + slot + "}", 1)
    cells = [step for step in story.cells if step.ok or step.final]
    if not cells:
        raise UsageError("No cell of this session went well, so there is nothing to play again.")
    head = {
        "name": name or re.sub(r"[^a-z0-9]+", "-", story.prompt.lower()).strip("-")[:40] or "saved",
        "summary": f"Saved from session {story.id}.",
        "sentences": [sentence],
        "slots": {slot: {"default": text} for slot, text in slots.items()},
    }
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip()
    body = [line for step in cells for line in _cell(step, slots)]
    return "\n".join(["---", front, "---", f"# {head['name']}", "", *body]).rstrip() + "\n"


def _cell(step: Step, slots: Mapping[str, str]) -> list[str]:
    return [said_beside(step.text), "", *fenced("python", _with_slots(step.code, slots)), ""]


def _with_slots(code: str, slots: Mapping[str, str]) -> str:
    """The code as a template: strings that are a slot's text become the slot, all else stays as it is."""
    texts = {quoted: slot for slot, text in slots.items() for quoted in (f'"{text}"', f"'{text}'")}
    if not texts:
        return _raw(code)
    parts = re.split("(" + "|".join(map(re.escape, texts)) + ")", code)
    return "".join("{{" + texts[part] + " | py}}" if part in texts else _raw(part) for part in parts)


def _raw(code: str) -> str:
    """Code that the playbook's templates must not read: an f-string may hold double braces."""
    return f"{{% raw %}}{code}{{%+ endraw +%}}" if re.search(r"\{[{%#]", code) else code
