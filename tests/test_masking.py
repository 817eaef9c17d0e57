from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ml_intern import masking
from ml_intern.masking import add_secret, mask, mask_all

AWS = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(masking, "_exact", ())
    yield


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("hf_" + "a1B2" * 8, "[hidden]"),
        ("hf_" + "a" * 16, "[hidden]"),
        ("hf_oauth_" + "aB3." * 8, "[hidden]"),
        ("ghs_" + "x" * 36, "[hidden]"),
        ("github_pat_" + "11ABC_" * 12, "[hidden]"),
        ("GITHUB_TOKEN=" + "0123456789abcdef" * 2 + "01234567", "GITHUB_TOKEN=[hidden]"),
        ("AKIA" + "ABCDEFGH12345678", "[hidden]"),
        (f"aws_secret_access_key={AWS}", "aws_secret_access_key=[hidden]"),
        (f"AWS_SECRET_ACCESS_KEY = '{AWS}'", "AWS_SECRET_ACCESS_KEY = '[hidden]'"),
        (f'"SecretAccessKey": "{AWS}"', '"SecretAccessKey": "[hidden]"'),
        (f"aws_session_token: {AWS * 5}==", "aws_session_token: [hidden]"),
        ("sk-proj-" + "a" * 30, "[hidden]"),
        ("rk_live_" + "a1" * 12, "[hidden]"),
        ("xoxb-" + "1234567890-" * 3 + "a", "[hidden]"),
        ("Authorization: Bearer " + "abcdefgh" * 2, "Authorization: Bearer [hidden]"),
        ("authorization: Basic " + "dXNlcjpwYXNz", "authorization: Basic [hidden]"),
        ("{'Authorization': 'Bearer " + "x9" * 8 + "'}", "{'Authorization': 'Bearer [hidden]'}"),
        ("bearer " + "abc.def-123" * 3, "bearer [hidden]"),
        ("https://ada:pass" + "word@example.org/x", "https://[hidden]@example.org/x"),
        ("https://ada:p@ss" + "word@example.org/x", "https://[hidden]@example.org/x"),
        ("redis://:secret@cache:6379/0", "redis://[hidden]@cache:6379/0"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
            "[hidden]",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", "[hidden]"),
    ],
)
def test_credentials_are_hidden(text: str, left: str) -> None:
    assert mask(text) == left
    if "cut off" not in text:
        assert mask(f"before {text} after") == f"before {left} after"


def test_a_token_after_an_escape_is_hidden() -> None:
    assert mask(repr("token:\nhf_" + "a1B2" * 8)) == r"'token:\n[hidden]'"


@pytest.mark.parametrize(
    "text",
    [
        "tokenizer.pad_token = tokenizer.eos_token",
        "tokenizer.pad_token_id=tokenizer.convert_tokens_to_ids(tokenizer.eos_token)",
        "hf_hub_download; hf_token = os.environ['HF_TOKEN']; sk-learn; risk-adjusted-returns-of-the-year",
        "aws_secret_access_key=os.environ['AWS_SECRET_ACCESS_KEY']",
        "github_token = read_the_token_of_github_from_the_environment(settings)",
        "https://example.org:80/a@b and http://127.0.0.1:8765/local/tiny",
        "the bearer authentication, the bearer of this letter",
        "max_tokens=100, session_token=None",
        "sha256 " + "0123456789abcdef" * 4,
    ],
)
def test_what_only_sounds_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_exact_values_are_hidden_from_then_on() -> None:
    assert mask("correct-horse") == "correct-horse"
    add_secret(" correct-horse\n")
    add_secret("correct-horse-battery")
    add_secret("short")
    assert mask("say correct-horse-battery, correct-horse and short") == "say [hidden], [hidden] and short"


def test_secrets_may_be_added_by_many_threads() -> None:
    values = [f"value-number-{i}" for i in range(200)]
    threads = [threading.Thread(target=add_secret, args=(v,)) for v in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(mask(" ".join(values)).split()) == {"[hidden]"}


def test_lists_and_dicts_are_masked_inside() -> None:
    token = "hf_" + "a" * 32
    found = mask_all({"a": [token, 1, {"b": (f"x {token}", None)}], "secret_access_key": AWS, "sum": AWS})
    assert found == {
        "a": ["[hidden]", 1, {"b": ["x [hidden]", None]}],
        "secret_access_key": "[hidden]",
        "sum": AWS,
    }


@pytest.mark.parametrize(
    "line",
    [
        "x = some_value + other\n",
        "A",
        "://a:",
        "earer hf_ AKIA sk- tokenizer ",
        "-----BEGIN A",
        "aws_secret_access_key=" + "a" * 20 + " ",
    ],
)
def test_large_texts_take_no_time(line: str) -> None:
    """Far more than it takes, far less than what grows faster than the text."""
    text = line * (7_000_000 // len(line))
    began = time.process_time()
    assert mask(text) == text
    assert time.process_time() - began < 5


def test_the_values_of_secret_variables_are_hidden() -> None:
    from ml_intern.masking import add_secrets_of

    add_secrets_of(
        {"PROVIDER_API_KEY": "quite-a-private-value", "EDITOR": "quite-a-public-value", "A_TOKEN": "short"}
    )
    assert mask("quite-a-private-value quite-a-public-value short") == "[hidden] quite-a-public-value short"
