"""Credentials in a text, hidden before the text is shown, stored or sent."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

HIDDEN = "[hidden]"
SHORTEST_IN_ENVIRONMENT = 12
_SECRET_NAME = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD)$", re.I)
SHORTEST = 8
"""An exact value shorter than this hides nothing: it would tear holes into harmless words."""


class _Rule(NamedTuple):
    """What to look for. Where the literal is not in a text, the expression is not run at all."""

    literal: str
    pattern: re.Pattern[str]


def _rule(literal: str, rest: str, before: str = "") -> _Rule:
    """The expression begins with its literal, which is found fast; what stood `before` is asked then."""
    return _Rule(literal, re.compile(f"{literal}{before}{rest}", re.S))


def _token(prefix: str, rest: str) -> _Rule:
    """A token that begins a word."""
    return _rule(prefix, rest, rf"(?<!\w{prefix})")


def _named(literal: str, rest: str = "") -> _Rule:
    """A value next to its key's name. Code that only reads it from somewhere has no such value."""
    name = rf"(?P<keep>{literal}{rest}[\"']?\s{{0,3}}[=:]\s{{0,3}}[\"']?)"
    return _Rule(literal, re.compile(name + r"[A-Za-z0-9/+=]{36,}(?![\w/+=.(\[])"))


def _kept(literal: str, before: str, rest: str) -> _Rule:
    """A secret after words that stay."""
    return _Rule(literal, re.compile(f"(?P<keep>{literal}{before}){rest}"))


_SPOKEN = r"[A-Za-z0-9._~+/=-]"
_NO_WORD = rf"(?=[A-Za-z._~+/=-]*\d|{_SPOKEN}{{24}}){_SPOKEN}{{12,}}"
"""What may follow the word Bearer alone: not another word of a sentence."""
_RULES = (
    # Long ones are found inside of other words too, as after the n of "\\n".
    _rule("hf_", r"(?:(?:oauth|jwt)_[A-Za-z0-9._-]{16,}|[A-Za-z0-9]{30,}|(?<!\whf_)[A-Za-z0-9]{16,})"),
    _rule("api_org_", r"[A-Za-z0-9]{30,}"),
    *(_rule(f"gh{kind}_", r"[A-Za-z0-9]{20,}") for kind in "pousr"),
    _rule("github_pat_", r"[A-Za-z0-9_]{20,}"),
    _token("glpat-", r"[A-Za-z0-9_-]{16,}"),
    *(_token(p, r"[A-Z0-9]{16}\b") for p in ("AKIA", "ASIA")),
    *(_token(f"{kind}k{dash}", r"[A-Za-z0-9_-]{16,}") for kind in "spr" for dash in "-_"),
    _token("e2b", r"[-_][A-Za-z0-9_-]{16,}"),
    _token("xox", r"[abprs][-_][A-Za-z0-9_-]{16,}"),
    _token("AIza", r"[A-Za-z0-9_-]{30,}"),
    _named("ecret", r"(?:_access_k|AccessK)ey"),
    _named("ECRET_ACCESS_KEY"),
    _named("oken", r"(?:(?<=ession_token)|(?<=essionToken)|(?<=github_token)|(?<=gh_token))"),
    _named("TOKEN", r"(?:(?<=ESSION_TOKEN)|(?<=GITHUB_TOKEN)|(?<=GH_TOKEN))"),
    _kept("uthorization", r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?[A-Za-z]{2,12} +", f"{_SPOKEN}{{8,}}"),
    *(_kept(word, " +", _NO_WORD) for word in ("earer", "EARER")),
    # Up to the last @ before a slash: a password may hold one.
    _kept("://", "", r"[^\s/:@\"'<>]{0,200}:[^\s/\"'<>]{1,500}(?=@)"),
    _rule("-----BEGIN ", r"[A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"),
)

_lock = threading.Lock()
_exact: tuple[str, ...] = ()


def add_secret(value: str) -> None:
    """Hide an exact value from now on, in this process; one of fewer than 8 characters is left alone."""
    global _exact
    value = value.strip()
    if len(value) < SHORTEST:
        return
    with _lock:
        if value not in _exact:
            # The longest first: one value may hold another. A new tuple, since readers take no lock.
            _exact = tuple(sorted((*_exact, value), key=len, reverse=True))


def add_secrets_of(environment: Mapping[str, str]) -> None:
    """Hide the values of the variables whose names say that they are secret."""
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and len(value) >= SHORTEST_IN_ENVIRONMENT:
            add_secret(value)


def mask(text: str) -> str:
    """The text with credentials replaced by ``[hidden]``; names such as ``pad_token`` stay as they are."""
    for value in _exact:
        text = text.replace(value, HIDDEN)
    for literal, pattern in _RULES:
        if literal in text:
            text = pattern.sub(_hide, text)
    return text


def mask_all(value: Any) -> Any:
    """The same for every text inside of lists and dicts."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: _mask_item(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(item) for item in value]
    return value


def _mask_item(key: Any, item: Any) -> Any:
    """A value of a dict, where its key may be the name that tells what it is."""
    if not isinstance(key, str) or not isinstance(item, str):
        return mask_all(item)
    hidden = mask(item)
    return HIDDEN if hidden == item and mask(f"{key}={item}").endswith(f"={HIDDEN}") else hidden


def _hide(found: re.Match[str]) -> str:
    return found.groupdict().get("keep", "") + HIDDEN
