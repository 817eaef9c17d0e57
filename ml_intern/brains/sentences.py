"""Sentences that a playbook understands: patterns with slots, optional parts and choices.

``train {a} on {b} [in {minutes} minutes]`` has three slots and a part that may be missing; ``(make|train)``
is a choice. A pattern is matched word by word with backtracking; a slot takes as few words as it can.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ml_intern.brains.words import Word, words_of
from ml_intern.errors import UsageError

Check = Callable[[str, str], bool]
"""Whether a slot (by name) takes a text."""


LONGEST_SLOT = 40
"""Words that a slot may take, so that a long prompt does not make the backtracking slow."""


@dataclass(frozen=True)
class _Literal:
    word: str


@dataclass(frozen=True)
class _Slot:
    name: str


@dataclass(frozen=True)
class _Choice:
    options: tuple[tuple[_Part, ...], ...]


_Part = _Literal | _Slot | _Choice


@dataclass(frozen=True)
class Match:
    """How a prompt fits a sentence.

    Attributes:
        texts: What the person wrote for each slot.
        weight: Words that are no slot's: of two sentences that fit, the one with more of them is meant.
    """

    texts: dict[str, str]
    weight: int


@dataclass(frozen=True)
class Sentence:
    """A pattern, and the values that it fixes for slots it does not ask for."""

    pattern: str
    fixed: tuple[tuple[str, object], ...] = ()

    @cached_property
    def parts(self) -> tuple[_Part, ...]:
        """The pattern, read.

        Raises:
            UsageError: Its brackets do not fit together.
        """
        tokens = re.findall(r"\{\w+\}|[\[\]()|]|[^\s\[\](){}|]+|[{}]", self.pattern)
        parts, rest = _read(tokens, 0, ())
        if rest != len(tokens):
            raise UsageError(f"The sentence {self.pattern!r} has a bracket too many.")
        return parts

    @property
    def slots(self) -> set[str]:
        """The names of the slots that stand in the pattern."""
        return set(re.findall(r"\{(\w+)\}", self.pattern))

    def match(self, prompt: str, takes: Check) -> Match | None:
        """The texts of the slots, or None when the prompt says something else."""
        words = words_of(prompt)
        for end, spans in _walk(self.parts, words, 0, {}, _Reading(prompt, words, takes)):
            if all(word.small for word in words[end:]):
                texts = {name: _text(prompt, words, *span) for name, span in spans.items()}
                return Match(texts, len(words) - sum(end - begin for begin, end in spans.values()))
        return None


@dataclass(frozen=True)
class _Reading:
    prompt: str
    words: Sequence[Word]
    takes: Check


def closeness(prompt: str, sentence: Sentence) -> float:
    """How near a prompt is to a sentence, from 0 to 1; slots fit anything, optional parts may lack."""
    said = [w.plain for w in words_of(prompt) if not w.small]
    return max(_ratio(said, list(_literals(sentence.parts, whole))) for whole in (True, False))


def _literals(parts: Sequence[_Part], whole: bool) -> Iterator[str]:
    """The words of a pattern, with its optional parts or without."""
    for part in parts:
        if isinstance(part, _Literal):
            yield part.word
        elif isinstance(part, _Choice):
            yield from _literals((max if whole else min)(part.options, key=len), whole)


def _ratio(said: list[str], wanted: list[str]) -> float:
    if not said or not wanted:
        return 0.0
    found = sum(1 for word in wanted if difflib.get_close_matches(word, said, n=1, cutoff=0.75))
    order = difflib.SequenceMatcher(None, wanted, said).ratio()
    return 0.8 * found / len(wanted) + 0.2 * order


def _read(tokens: Sequence[str], at: int, closers: tuple[str, ...]) -> tuple[tuple[_Part, ...], int]:
    parts: list[_Part] = []
    while at < len(tokens):
        token = tokens[at]
        if token in closers:
            break
        if token in "])|}{":
            raise UsageError(f"In the sentence {' '.join(tokens)!r} {token!r} stands alone.")
        if token == "[":
            inner, at = _read(tokens, at + 1, ("]",))
            at = _past(tokens, at, "]")
            parts.append(_Choice((inner, ())))
        elif token == "(":
            choice, at = _read_choice(tokens, at + 1)
            parts.append(choice)
        else:
            parts += _word_or_slot(token)
            at += 1
    return tuple(parts), at


def _read_choice(tokens: Sequence[str], at: int) -> tuple[_Choice, int]:
    options: list[tuple[_Part, ...]] = []
    while True:
        inner, at = _read(tokens, at, ("|", ")"))
        options.append(inner)
        if at < len(tokens) and tokens[at] == "|":
            at += 1
            continue
        return _Choice(tuple(options)), _past(tokens, at, ")")


def _past(tokens: Sequence[str], at: int, closer: str) -> int:
    if at >= len(tokens):
        raise UsageError(f"In the sentence {' '.join(tokens)!r} a {closer!r} is missing.")
    return at + 1


def _word_or_slot(token: str) -> list[_Part]:
    if token.startswith("{"):
        return [_Slot(token[1:-1])]
    return [_Literal(word.plain) for word in words_of(token) if not word.small]


_Spans = Mapping[str, tuple[int, int]]


def _walk(
    parts: Sequence[_Part], words: Sequence[Word], at: int, spans: _Spans, reading: _Reading
) -> Iterator[tuple[int, _Spans]]:
    """Every way to match `parts` from word `at` on: where it ends, and the words of each slot."""
    if not parts:
        yield at, spans
        return
    first, rest = parts[0], parts[1:]
    if isinstance(first, _Choice):
        for option in first.options:
            yield from _walk((*option, *rest), words, at, spans, reading)
    elif isinstance(first, _Literal):
        while at < len(words):
            if words[at].plain == first.word:
                yield from _walk(rest, words, at + 1, spans, reading)
            if not words[at].small:
                return
            at += 1
    else:
        for end in range(at + 1, min(len(words), at + LONGEST_SLOT) + 1):
            if reading.takes(first.name, _text(reading.prompt, words, at, end)):
                yield from _walk(rest, words, end, {**spans, first.name: (at, end)}, reading)


def _text(prompt: str, words: Sequence[Word], begin: int, end: int) -> str:
    """What the person wrote there: without quotes around it, an article before it, a full stop after it."""
    text = prompt[words[begin].start : words[end - 1].end].strip()
    if len(text) > 1 and (text[0], text[-1]) in {('"', '"'), ("'", "'"), ("`", "`"), ("“", "”")}:
        return text[1:-1]
    text = re.sub(r"(?<=[\w)\]}'\"])[.,;:!?]+$", "", text)
    return re.sub(r"^(?:the|an?)\s+(?=\S)", "", text, flags=re.I)
