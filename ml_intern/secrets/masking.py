"""Credentials in a text, hidden before the text is shown, stored or sent.

Two kinds are found: exact values that somebody told us (`add_secret`), also where they stand escaped or
encoded, and texts that look like a credential of a known kind (`ml_intern.secrets.patterns`).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ml_intern.secrets.encodings import forms
from ml_intern.secrets.patterns import RULES, SURE, Rule

HIDDEN = "[hidden]"
SHORTEST = 8
"""An exact value shorter than this hides nothing: it would tear holes into harmless words."""
PLAIN_WORD = 12
"""A value of letters alone counts as a credential from this length on: ``changeme`` is a word as well."""
DEEPEST = 150
"""Levels of lists and dicts that are walked; what lies deeper is hidden whole."""
_SECRET_NAME = re.compile(
    r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|_PASS|_PWD|CREDENTIALS?|_DSN|WEBHOOK|WEBHOOK_URL)$", re.I
)
_IN_URL = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")

_lock = threading.Lock()
_exact: tuple[str, ...] = ()


def add_secret(value: str) -> None:
    """Hide an exact value from now on, in this process; one of fewer than 8 characters is left alone.

    It is hidden as it stands and as JSON, URLs, HTML, base64 and hexadecimal digits write it. Of a value of
    several lines, such as a private key, each long line is hidden by itself.
    """
    global _exact
    value = value.strip()
    if len(value) < SHORTEST:
        return
    with _lock:
        if value not in _exact:
            # The longest first: one value may hold another. A new tuple, since readers take no lock.
            _exact = tuple(sorted({*_exact, *forms(value)}, key=len, reverse=True))


def add_secrets_of(environment: Mapping[str, str]) -> None:
    """Hide the values of the variables whose names say that they are secret, and passwords in URLs."""
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and _is_secret(value.strip()):
            add_secret(value)
        for password in _IN_URL.findall(value):
            if _is_secret(password):
                add_secret(password)
                add_secret(unquote(password))


def mask(text: str) -> str:
    """The text with credentials replaced by ``[hidden]``; names such as ``pad_token`` stay as they are."""
    for value in _exact:
        if value in text:
            text = text.replace(value, HIDDEN)
    for rule in RULES:
        if rule.literal in text:
            text = rule.pattern.sub(_hide, text)
    return text


def exact_values() -> tuple[str, ...]:
    """What is hidden as an exact value, the longest first; for the parts of this module's work elsewhere."""
    return _exact


def holds_secret(text: str) -> bool:
    """Whether a text has a credential in it, or what looks like one."""
    return holds_known_secret(text) or any(_applies(rule, text) for rule in RULES)


def holds_known_secret(text: str) -> bool:
    """Whether a text has an exact value in it, or a token of a kind that nothing else looks like."""
    return any(value in text for value in _exact) or any(_applies(rule, text) for rule in SURE)


def mask_all(value: Any, depth: int = 0) -> Any:
    """The same for every text inside of lists and dicts, and for the keys of dicts."""
    if isinstance(value, str):
        return mask(value)
    if depth > DEEPEST:
        return HIDDEN
    if isinstance(value, Mapping):
        return {_mask_key(key): _mask_item(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_all(item, depth + 1) for item in value]
    return mask_path(value) if isinstance(value, Path) else value


def mask_path(path: Path) -> Path:
    """A path, its parts masked."""
    text = str(path)
    hidden = mask(text)
    return path if hidden == text else Path(hidden)


def _is_secret(value: str) -> bool:
    """Not too short, no plain word, and no file's name: such variables often say where the secret is."""
    if len(value) < SHORTEST or (len(value) < PLAIN_WORD and value.isalpha()):
        return False
    return not (value.startswith(("/", "~/")) and Path(value).expanduser().exists())


def _applies(rule: Rule, text: str) -> bool:
    return rule.literal in text and rule.pattern.search(text) is not None


def _mask_key(key: Any) -> Any:
    return mask(key) if isinstance(key, str) else key


def _mask_item(key: Any, item: Any, depth: int) -> Any:
    """A value of a dict, where its key may be the name that tells what it is."""
    if not isinstance(key, str) or not isinstance(item, str):
        return mask_all(item, depth)
    hidden = mask(item)
    return HIDDEN if hidden == item and mask(f"{key}={item}").endswith(f"={HIDDEN}") else hidden


def _hide(found: re.Match[str]) -> str:
    return found.groupdict().get("keep", "") + HIDDEN
