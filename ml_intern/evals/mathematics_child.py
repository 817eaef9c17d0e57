"""The process in which math-verify compares: a line of JSON ``[target, answer]`` in, a word out.

``right`` and ``wrong``, or ``text right`` and ``text wrong`` where the target is no mathematics. One file
that needs nothing of ML Intern: it is started by path.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import sys
from functools import lru_cache
from typing import Any

MEMORY = 4 << 30
"""Bytes of address space: what blows up ends here and not the machine."""
ALARM_S = 4
_BARE = re.compile(r"\\[a-zA-Z]|[\^_{}]")
_MARKED = re.compile(r"\$|\\boxed|\\fbox|\\\(|\\\[")


def marked(text: str) -> str:
    """The text as math-verify finds LaTeX in it: after ``####`` only the rest, and LaTeX between dollars."""
    if "####" in text:
        text = text.rpartition("####")[2].strip().split("\n")[0]
    if _BARE.search(text) and not _MARKED.search(text) and len(text) < 500:
        return f"${text.strip()}$"
    return text


def main() -> None:
    """Compare until there is nothing more to compare."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(3000)
    from math_verify import parse, verify

    @lru_cache(maxsize=4096)
    def read(text: str) -> Any:
        # What could not be parsed is no mathematics, though math-verify hands its text on.
        return tuple(parse(marked(text), parsing_timeout=ALARM_S, fallback_mode="no_fallback"))

    def compare(target: str, answer: str) -> str:
        gold = read(target)
        if not gold:
            return "text right" if plain(target) == plain(answer) else "text wrong"
        return "right" if verify(list(gold), list(read(answer)), timeout_seconds=ALARM_S) else "wrong"

    out = sys.stdout
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        target, answer = json.loads(line)
        out.write(compare(target, answer) + "\n")
        out.flush()


def plain(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[\W_]+", "", text.rpartition("####")[2]).casefold()


if __name__ == "__main__":
    main()
