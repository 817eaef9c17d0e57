"""Finds the blocks of code in a reply and mends how they are wrapped."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*(?:python3?|py|ipython)\b[^\n`]*\n", re.M | re.I)
_INVENTED = re.compile(
    r"^[ \t]*(?:observations?(?: of step \d+)?|execution logs|calling tools)[ \t]*:", re.M | re.I
)
_MOST_CLOSERS = 40
"""Closing marks that are tried for one block: more than any real reply has, few enough to stay fast."""

_MOST_OPENINGS = 100


@dataclass(frozen=True)
class Block:
    """A stretch of a reply that is meant as code.

    Attributes:
        code: The code, tidied.
        start: Where its opening mark begins in the reply.
        end: Where its closing mark ends.
        closed: False when the reply ended in it.
        kind: 0 for the configured tags, 1 for ``<code>``, 2 for a fence; the smallest kind counts.
        mention: True when prose only quotes a name in it.
    """

    code: str
    start: int
    end: int
    closed: bool
    kind: int
    mention: bool = False


def compiles(code: str) -> bool:
    """True when the text is a whole Python program."""
    return syntax_error(code) is None


def syntax_error(code: str) -> str | None:
    """Why the text is no whole Python program, or None when it is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<cell>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})"
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return str(error) or type(error).__name__
    return None


def blocks_in(text: str, tags: tuple[str, str]) -> Iterator[Block]:
    """The blocks of a reply, in order; the last one may be open."""
    at = 0
    for _ in range(_MOST_OPENINGS):
        opening = _next_opening(text, at, tags)
        if opening is None:
            return
        kind, start, body_at, closer = opening
        # A model that runs on after its cell invents what it saw; nothing after that is meant.
        if at and _INVENTED.search(text, at, start):
            return
        block = _close(text, start, body_at, closer, kind, tags)
        if block.closed or compiles(block.code) or not _prose_before(text, start):
            yield block
            at = block.end
        else:
            at = body_at  # prose that names the tag, not a cell


def _next_opening(text: str, at: int, tags: tuple[str, str]) -> tuple[int, int, int, str] | None:
    """The nearest opening mark: its kind (0 is configured), where it and its body begin, what closes it."""
    found: list[tuple[int, int, int, str]] = []
    for kind, (opener, closer) in enumerate(dict.fromkeys((tags, ("<code>", "</code>")))):
        start = text.find(opener, at) if opener else -1
        if start >= 0:
            found.append((kind, start, start + len(opener), closer))
    if fence := _FENCE.search(text, at):
        found.append((2, fence.start(), fence.end(), fence[1]))
    return min(found, key=lambda f: (f[1], f[0]), default=None)


def _close(text: str, start: int, body_at: int, closer: str, kind: int, tags: tuple[str, str]) -> Block:
    ends = _closings(text, body_at, closer)
    for begin, end in [*ends[:8], *ends[8:][-_MOST_CLOSERS:]][::-1]:
        code = _tidy(text[body_at:begin], tags)
        if compiles(code) and not _stray_mark(code, closer, tags):
            return Block(code, start, end, True, kind, _is_mention(text, start, code))
    if ends:
        # Nothing compiles: the error is the code's own, and the kernel tells it best.
        begin, end = next((e for e in ends if text[: e[0]].endswith("\n")), ends[0])
        return Block(_tidy(text[body_at:begin], tags), start, end, True, kind)
    return _unclosed(text, start, body_at, kind, tags)


def _closings(text: str, at: int, closer: str) -> list[tuple[int, int]]:
    if closer[0] in "`~":
        pattern = re.compile(rf"^[ \t]*{re.escape(closer)}{re.escape(closer[0])}*[ \t]*$", re.M)
    else:
        pattern = re.compile(re.escape(closer))
    return [match.span() for match in pattern.finditer(text, at)]


def _unclosed(text: str, start: int, body_at: int, kind: int, tags: tuple[str, str]) -> Block:
    """No mark of its own kind closes the block: a mark of another kind may, else the reply ends in it."""
    for mark in (tags[1], "</code>", "```"):
        for begin, end in _closings(text, body_at, mark)[-4:] if mark else []:
            code = _tidy(text[body_at:begin], tags)
            if code and compiles(code) and not _stray_mark(code, mark, tags):
                return Block(code, start, end, True, kind)
    rest = text[body_at:]
    if invented := _INVENTED.search(rest):
        rest = rest[: invented.start()]
    return Block(_tidy(_without_partial_mark(rest, tags), tags), start, len(text), False, kind)


def _stray_mark(code: str, closer: str, tags: tuple[str, str]) -> bool:
    """True when a tag stands in the code outside of strings and comments: it spans more than one block."""
    marks = [m for m in dict.fromkeys((*tags, "<code>", "</code>", closer)) if m and m in code]
    if not marks:
        return False
    bare = _without_strings(code)
    return any(mark in bare for mark in marks)


def _without_strings(code: str) -> str:
    lines = code.splitlines(keepends=True)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError):
        return code
    hidden = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in reversed([t for t in tokens if t.type in hidden]):
        (row, column), (end_row, end_column) = token.start, token.end
        kept = lines[row - 1][:column] + lines[end_row - 1][end_column:]
        lines[row - 1 : end_row] = [kept]
    return "".join(lines)


def best_of(blocks: list[Block]) -> list[Block]:
    """Of the blocks in a reply, those of the best kind; a name that prose quotes is none."""
    real = [block for block in blocks if not block.mention and block.code.strip()]
    best = min((block.kind for block in real), default=0)
    return [block for block in real if block.kind == best]


def _prose_before(text: str, start: int) -> bool:
    """True when something stands before `start` on its line."""
    return bool(text[text.rfind("\n", 0, start) + 1 : start].strip())


def _is_mention(text: str, start: int, code: str) -> bool:
    """True for ``the <code>pandas</code> library``: a bare name with prose before it on its line."""
    if not _prose_before(text, start) or "\n" in code.strip():
        return False
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(
        isinstance(s, ast.Expr) and isinstance(s.value, ast.Name | ast.Attribute | ast.Constant) for s in body
    )


# Mending a block


def _tidy(body: str, tags: tuple[str, str]) -> str:
    """The code of a block: without a second wrapping, without the indent of a list item."""
    code = body.strip("\n").rstrip()
    inner = _FENCE.match(code + "\n")
    if inner and code.rstrip().endswith(inner[1]):
        code = code[inner.end() :].rstrip().removesuffix(inner[1]).rstrip()
    for opener, closer in (tags, ("<code>", "</code>")):
        stripped = code.strip()
        if opener and stripped.startswith(opener) and stripped.endswith(closer):
            code = stripped[len(opener) : len(stripped) - len(closer)].strip("\n").rstrip()
    if compiles(code):
        return code
    dedented = textwrap.dedent(code).strip()
    return dedented if compiles(dedented) else code


def _without_partial_mark(text: str, tags: tuple[str, str]) -> str:
    """Drop the first half of a closing mark that the end of the reply cut in two."""
    tail = text.rstrip()
    for mark in (tags[1], "</code>", "```"):
        for size in range(len(mark) - 1, 1, -1):
            if tail.endswith("\n" + mark[:size]):
                return tail[:-size]
    return text


def without_thoughts(text: str) -> str:
    """Reasoning models show their thoughts first, drafts of code among them; those are not meant to run."""
    if text.lstrip().startswith("<think>"):
        thoughts, mark, answer = text.partition("</think>")
        return answer if mark else ""
    thoughts, mark, answer = text.partition("\n</think>")
    return answer if mark and "<think>" not in thoughts else text
