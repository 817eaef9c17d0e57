"""What is thrown at the readers of other people's words: how many, and of which kinds."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

COUNT = int(os.environ.get("MALFORMED", "300"))
"""Of each kind; the variable asks for more."""


def examples(share: float = 1.0) -> settings:
    """Settings of a property: the same examples each time, as many as are asked for."""
    return settings(
        max_examples=max(1, int(share * COUNT)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


NASTY_TEXT = st.sampled_from(
    [
        *(
            "",
            " ",
            "\n",
            "\r\n",
            "\x00",
            "\ud800",
            "\udfff",
            "\ufeff",
            "\u202e",
            "\u2028",
            "\x1b[31m",
            "\x85",
        ),
        *(
            "é",
            "🙂",
            "＜cell＞",
            "“",
            "”",
            "‘",
            "’",
            "ｐｒｉｎｔ",
            "0" * 400,
            "a" * 5000,
            "..",
            "/",
            "%00",
            "{}",
        ),
    ]
)
TEXT = st.one_of(NASTY_TEXT, st.text(max_size=30), st.text(st.characters(codec=None), max_size=10))
NUMBER = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, True, False]),
    st.floats(allow_nan=True, allow_infinity=True),
)
SCALAR = st.one_of(st.none(), NUMBER, TEXT)


def values(keys: st.SearchStrategy[str] = TEXT) -> st.SearchStrategy[Any]:
    """Any JSON."""
    return st.recursive(
        SCALAR,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=8,
    )


def spelled(value: Any) -> bytes:
    """A value as a line of JSON, however odd."""
    return json.dumps(value).encode() + b"\n"


@st.composite
def broken(draw: st.DrawFn, line: bytes) -> bytes:
    """A good line with a part cut out, doubled or overwritten."""
    body = line.rstrip(b"\n")
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 20)))
    filler = draw(st.one_of(st.just(b""), st.binary(max_size=6), st.just(body[start:end] * 2)))
    return (body[:start] + filler + body[end:]).replace(b"\n", b" ") + b"\n"


SHORT = ["", "{}", "[]", "null", "0", '""', "{", '{"type": ', "NaN", '{"type": "done"}{"type": "done"}']
LONG = {"[": 5000, '{"a":': 3000, "9": 5000}
RAW = st.one_of(
    st.binary(max_size=60).map(lambda b: b.replace(b"\n", b"") + b"\n"),
    st.sampled_from(SHORT).map(lambda text: text.encode() + b"\n"),
    st.sampled_from(sorted(LONG)).map(lambda text: text.encode() * LONG[text] + b"\n"),
    st.just(b"\xff\xfe\n"),
)
