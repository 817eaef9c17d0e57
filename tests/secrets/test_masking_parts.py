"""Credentials that lie across a border: of two pieces of a stream, of a text whose middle was left out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_intern.secrets import masking
from ml_intern.secrets.mask_parts import StreamMask, mask_cut
from ml_intern.secrets.masking import add_secret, mask

TOKEN = "hf_" + "a1B2" * 9
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "MIIEvQIBADANBgkqhkiG9w0B\n" * 300
    + "-----END RSA PRIVATE KEY-----\n"
)
TEXTS = [
    f"before {TOKEN} after\n",
    f"token={TOKEN}",
    f"Authorization: Bearer {'x9' * 20}\nnext",
    f"aws_secret_access_key = {'wJalrXUtnFEMI/K7' * 3}\n",
    "https://ada:pass" + "word@example.org/x ok",
    "say known horse battery now",
    f"log {PEM} more {TOKEN}\n" * 2,
    "-----BEGIN CERTIFICATE-----\nMIIE\n" * 100 + TOKEN,
    ("step 1 loss 0.5\n" * 400) + TOKEN + "\n" + "y" * 12_000 + " " + TOKEN,
]


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(masking, "_exact", ())
    add_secret("known horse battery")
    add_secret("exact-value-number-1")
    yield


def streamed(text: str, sizes: list[int]) -> list[str]:
    stream, shown, at = StreamMask(), [], 0
    for size in sizes:
        shown.append(stream.feed(text[at : at + size]))
        at += size
    return [*shown, stream.feed(text[at:]), stream.flush()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_pieces_together_are_the_masked_whole(text: str, size: int) -> None:
    shown = "".join(streamed(text, [size] * (len(text) // size)))
    assert shown == mask(text)


@given(st.lists(st.integers(0, 60), max_size=40), st.text(max_size=80), st.sampled_from(TEXTS[:6]))
def test_no_border_lets_a_credential_through(sizes: list[int], around: str, text: str) -> None:
    shown = "".join(streamed(f"{around} {text} {around}", sizes))
    for secret in (TOKEN, "x9" * 20, "wJalrXUtnFEMI/K7" * 3, "pass" + "word", "known horse battery"):
        assert secret not in shown and (len(secret) < 12 or secret[6:] not in shown)


def test_lines_and_words_are_shown_as_they_come() -> None:
    stream = StreamMask()
    assert stream.feed("step 1\nstep ") == "step 1\nstep "
    assert stream.feed("2") == ""
    assert stream.feed(" of") == "2 "
    assert stream.feed("\n") == "of\n"
    assert stream.feed("....") == "...."
    assert stream.feed(".█░") == ".█░"
    assert stream.flush() == ""


def test_a_long_stream_keeps_little(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, total = StreamMask(), 0
    for number in range(2_000):
        total += len(stream.feed(f"line {number} of the log, with some words\n"))
        assert len(stream._raw) < 20_000
    assert total > 70_000


def cut(head: str, tail: str) -> str:
    return f"{head}\n… 12345 of 99999 bytes left out; the whole text is in /w/cell-1.txt …\n{tail}"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (cut("a " + TOKEN[:10], "b"), cut("a [hidden]", "b")),
        (cut("a", TOKEN[12:] + " b"), cut("a", "[hidden] b")),
        (cut("a exact-val", "number-1 b"), cut("a [hidden]", "[hidden] b")),
        (cut("an ordinary wo", "rd and 1234 more"), cut("an ordinary wo", "rd and 1234 more")),
        ("nothing was left out", "nothing was left out"),
    ],
)
def test_halves_at_a_cut_are_hidden(text: str, left: str) -> None:
    shown = mask_cut(text)
    assert shown.replace("[hidden]1", "[hidden]") == left or shown == left
