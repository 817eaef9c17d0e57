from __future__ import annotations

import base64
import html
import json
import re
import string
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_intern.secrets import masking
from ml_intern.secrets.masking import add_secret, mask, mask_all

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
        ("ghp_" + "x1" * 18, "[hidden]"),
        ("ASIA" + "ABCDEFGH12345678", "[hidden]"),
        (f"aws_secret_key = {AWS}", "aws_secret_key = [hidden]"),
        ("sk-ant-api03-" + "aB3_" * 10, "[hidden]"),
        ("gsk_" + "aB3d" * 12, "[hidden]"),
        ("npm_" + "aB3d" * 9, "[hidden]"),
        ("SG." + "aB3d" * 5 + "." + "aB3d" * 8, "[hidden]"),
        ("eyJhbGciOiJI." + "eyJzdWIiOiIx" + ".c2lnbmF0dXJl", "[hidden]"),
        ("MISTRAL_API_KEY=" + "aB3dE5gH" * 4, "MISTRAL_API_KEY=[hidden]"),
        ('{"api_key": "' + "aB3dE5gH" * 4 + '"}', '{"api_key": "[hidden]"}'),
        (r'"{\"api_key\": \"' + "aB3dE5gH" * 4 + r'\"}"', r'"{\"api_key\": \"[hidden]\"}"'),
        ("x-api-key: " + "aB3dE5gH" * 4, "x-api-key: [hidden]"),
        ("client_secret=" + "aB3dE5gH" * 3, "client_secret=[hidden]"),
        ("HTTP_AUTHORIZATION: Bearer " + "abcdefgh" * 2, "HTTP_AUTHORIZATION: Bearer [hidden]"),
        (
            "git clone https://" + "a1B2c3D4e5F6g7H8" + "@github.com/x/y",
            "git clone https://[hidden]@github.com/x/y",
        ),
        (
            "https://hooks.slack.com/services/T0" + "0A1B2C3/B0A1B2C3/abcd1234",
            "https://hooks.slack.com/services/[hidden]",
        ),
        ("?X-Amz-Signature=" + "0123456789abcdef" * 4 + "&a=b", "?X-Amz-Signature=[hidden]&a=b"),
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
        "api_key=os.environ['OPENAI_API_KEY'], api_key = settings.api_key_of_provider_2(name)",
        "api_key=read_key_number_12345678(settings)",
        "git@github.com:owner/name.git, ssh://git@github.com/owner/name, pip install a@https://example.org/a",
        "https://medium.com/@somebody/a-story-with-1234567890",
        "password: ask the person, client_secret: str",
        "task-specific-fine-tuning-of-models sk-learn npm_config_registry fw_cfg_of_the_machine",
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


ODD = 'p"ä\\s/w+ö=rd <1>&2|*'


@pytest.mark.parametrize(
    "write",
    [
        str,
        json.dumps,
        lambda v: json.dumps(v, ensure_ascii=False),
        lambda v: json.dumps(json.dumps({"v": v})),
        repr,
        urllib.parse.quote,
        urllib.parse.quote_plus,
        lambda v: urllib.parse.quote(v, safe=""),
        lambda v: re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote(v, safe="")),
        html.escape,
        lambda v: v.encode().hex(),
        lambda v: base64.b64encode(v.encode()).decode(),
        lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
        lambda v: base64.b64encode(f"user:{v}".encode()).decode(),
        lambda v: base64.b64encode(f"ab{v}, and more".encode()).decode(),
    ],
)
def test_a_known_value_is_hidden_however_it_is_written(write: Callable[[str], str]) -> None:
    for value in (ODD, "0123456789abcdefXYZ"):
        add_secret(value)
        text = write(value)
        shown = mask(f"before {text} after")
        assert "[hidden]" in shown and shown.startswith("before ") and shown.endswith(" after")
        assert value not in shown and len(shown) < len("before [hidden] after") + 32


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
    from ml_intern.secrets.masking import add_secrets_of

    add_secrets_of(
        {"PROVIDER_API_KEY": "quite-a-private-value", "EDITOR": "quite-a-public-value", "A_TOKEN": "short"}
    )
    assert mask("quite-a-private-value quite-a-public-value short") == "[hidden] quite-a-public-value short"


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("A_TOKEN", "eight-ch", True),
        ("A_TOKEN", "password", False),
        ("A_TOKEN", "1234567", False),
        ("DB_PASS", "with-a-dash", True),
        ("PWD", "/some/a-place", False),
        ("OLDPWD", "/some/another-place", False),
        ("CREDENTIALS", "/etc/hostname", False),
        ("PROXY", "http://ann:un%21usual@proxy:3128", True),
    ],
)
def test_which_variables_are_secret(name: str, value: str, hidden: bool) -> None:
    masking.add_secrets_of({name: value})
    assert ("[hidden]" in mask(f"> {value} <")) is hidden


def test_a_secret_of_several_lines_is_hidden_line_by_line() -> None:
    add_secret("-----BEGIN X-----\nAAAABBBBCCCCDDDDEEEE\nFFFFGGGGHHHHIIIIJJJJ\nkk==\n-----END X-----\n")
    assert mask("> AAAABBBBCCCCDDDDEEEE") == "> [hidden]"


def test_keys_sets_and_paths_are_masked_too_and_deep_ones_end() -> None:
    token = "hf_" + "a" * 32
    found = mask_all({token: {1}, "p": Path("/x") / token, "s": {token}, 1: token})
    assert token not in repr(found) and found["p"] == Path("/x/[hidden]")
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    mask_all(deep)


@given(st.text(alphabet=string.printable + "äß… ", max_size=300))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@given(st.text(alphabet=string.ascii_letters + " _.=()[]\n", max_size=300))
def test_words_and_code_without_digits_stay(text: str) -> None:
    assert mask(text) == text or any(len(word) >= 16 for word in text.split())


@given(st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=12, max_size=60), st.data())
def test_a_known_value_never_comes_through(value: str, data: st.DataObject) -> None:
    before, after = (data.draw(st.text(max_size=40)) for _ in range(2))
    masking._exact = ()
    add_secret(value)
    assert value not in mask(before + value + after)
