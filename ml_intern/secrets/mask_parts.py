"""Masks texts of which only parts are at hand: pieces of a stream, and texts whose middle was left out."""

from __future__ import annotations

import re

from ml_intern.secrets.masking import HIDDEN, exact_values, mask
from ml_intern.secrets.patterns import TOKENS

LEAST_HALF = 6
"""A part of a known value shorter than this tells too little to be hidden."""
_GAP = re.compile(r"[\s\"'<>]+")
_OPENING = re.compile(r"-{1,5}\Z|-----BEGIN [A-Z ]{0,60}-{0,5}\Z")
_NO_LETTERS = re.compile(r"\W*")
_CUT = re.compile(
    r"(?P<head>\S{0,300})(?P<cut>\n… \d[^\n]{0,500} left out[^\n]{0,500} …\n)(?P<tail>\S{0,300})"
)
_BEGUN = re.compile(rf"(?:{'|'.join(re.escape(rule.literal) for rule in TOKENS)})[\w.-]*\Z")
_HALF = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[\w~+/=.-]{16,}")


class StreamMask:
    """Masks a text that comes in pieces: a credential that lies across a border is hidden as well.

    What may still become one, the last word of what came, is kept back until it ends or `flush` is called.
    The text just before is remembered, since a name (``Authorization:``) tells what the next word is.
    """

    CONTEXT = 1_000
    """Characters of what was given out that are remembered, at the least."""
    LONGEST_WORD = 8_000
    """A word longer than this is given out but for its end: no credential is as long."""

    def __init__(self) -> None:
        self._raw = ""
        self._done = 0
        """Characters of `_raw` that have been given out, as `_shown`."""
        self._shown = ""

    def feed(self, piece: str) -> str:
        """Take a piece; what of the text can be shown now."""
        self._raw += piece
        return self._show(self._safe())

    def flush(self) -> str:
        """What was kept back, at the end of the text or of a wait."""
        return self._show(len(self._raw))

    def _show(self, end: int) -> str:
        self._done = end = max(end, self._done)
        whole = mask(self._raw[:end])
        # Where a later piece made a credential of what was shown before, nothing of it is shown twice.
        fresh = whole[_common(whole, self._shown) :]
        self._shown = whole
        self._forget(end)
        return fresh

    def _safe(self) -> int:
        """Where the last word begins, and before that any value that may have begun already."""
        end = len(self._raw)
        begin = max(0, end - self.LONGEST_WORD)
        gaps = [m.end() for m in _GAP.finditer(self._raw, begin)]
        end = gaps[-1] if gaps else 0 if begin == 0 else end - self.CONTEXT
        if _NO_LETTERS.fullmatch(self._raw, end):
            end = len(self._raw)  # Dots and bars of progress are not kept back.
        if opening := _OPENING.search(self._raw, max(0, len(self._raw) - 100)):
            end = min(end, opening.start())
        for value in exact_values():
            end = min(end, _begun(self._raw, end, value))
        return end

    def _forget(self, end: int) -> None:
        """Drop what no later piece can change; an open private key stays open, whatever its length."""
        if end <= 2 * self.CONTEXT:
            return
        begin = self._raw.rfind("\n", 0, end - self.CONTEXT) + 1 or end - self.CONTEXT
        opened = self._raw.rfind("-----BEGIN ", 0, begin)
        still_open = opened >= 0 and "-----END " not in self._raw[opened:begin]
        head = self._raw[opened : opened + 64] if still_open else ""
        self._raw = head + self._raw[begin:]
        self._done = len(head) + end - begin
        self._shown = mask(self._raw[: self._done])


def mask_cut(text: str) -> str:
    """Mask a text whose middle was left out: the cut may lie within a credential, of which halves are left.

    The halves of known values are found, and words at the cut that look like a half.
    """
    return _CUT.sub(_hide_halves, mask(text))


def _hide_halves(found: re.Match[str]) -> str:
    head, tail = found["head"], found["tail"]
    for value in exact_values():
        for cut in range(LEAST_HALF, len(value)):
            head = HIDDEN if head.endswith(value[:cut]) else head
            tail = HIDDEN if tail.startswith(value[-cut:]) else tail
    tail = HIDDEN if _HALF.fullmatch(tail) else tail
    return _BEGUN.sub(HIDDEN, head) + found["cut"] + tail


def _begun(text: str, end: int, value: str) -> int:
    """Where a value with a gap in it may have begun just before `end`; else `end`."""
    if not _GAP.search(value):
        return end
    for length in range(min(len(value) - 1, end), 0, -1):
        if text.startswith(value[:length], end - length):
            return end - length
    return end


def _common(a: str, b: str) -> int:
    """The length of what two texts have in common at their beginning."""
    if a.startswith(b):
        return len(b)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
