"""What credentials look like: of each kind an expression, and a literal by which its absence is seen fast."""

from __future__ import annotations

import re
from typing import NamedTuple


class Rule(NamedTuple):
    """What to look for. Where the literal is not in a text, the expression is not run at all.

    A group named ``keep`` stays; all else that was found is hidden.
    """

    literal: str
    pattern: re.Pattern[str]


def _rule(literal: str, rest: str, before: str = "") -> Rule:
    """The expression begins with its literal, which is found fast; what stood `before` is asked then."""
    return Rule(literal, re.compile(f"{re.escape(literal)}{before}{rest}", re.S))


def _token(prefix: str, rest: str) -> Rule:
    """A token that begins a word."""
    return _rule(prefix, rest, rf"(?<!\w{re.escape(prefix)})")


def _kept(literal: str, before: str, rest: str) -> Rule:
    """A secret after words that stay."""
    return Rule(literal, re.compile(f"(?P<keep>{re.escape(literal)}{before}){rest}"))


def _named(literal: str, rest: str, value: str) -> Rule:
    """A value next to its key's name. Code that only reads it from somewhere has no such value."""
    return _kept(literal, rf"{rest}\\?[\"']?\s{{0,3}}[=:]\s{{0,3}}\\?[\"']?", value)


_SPOKEN = r"[A-Za-z0-9._~+/=-]"
_NO_WORD = rf"(?=[A-Za-z._~+/=-]*\d|{_SPOKEN}{{24}}){_SPOKEN}{{12,}}"
"""What may follow the word Bearer alone: not another word of a sentence."""
_LONG = r"[A-Za-z0-9/+=]{36,}(?![\w/+=.(\[])"
"""A value that no code is: as AWS and GitHub make them."""
_MIXED = r"(?=[A-Za-z_~+/=-]{0,60}\d)(?=[\d_~+/=-]{0,60}[A-Za-z])"
_OPAQUE = rf"{_MIXED}[A-Za-z0-9_~+/=-]{{16,}}(?![\w~+/=-])(?!\s{{0,2}}[.(\[])"
"""A value of letters and digits that is no call and no attribute."""
_HEX = r"[0-9a-f]"

TOKENS = (
    # Long ones are found inside of other words too, as after the n of "\\n".
    _rule("hf_", r"(?:(?:oauth|jwt)_[A-Za-z0-9._-]{16,}|[A-Za-z0-9]{30,}|(?<!\whf_)[A-Za-z0-9]{16,})"),
    _rule("api_org_", r"[A-Za-z0-9]{30,}"),
    *(_rule(f"gh{kind}_", r"[A-Za-z0-9]{20,}") for kind in "pousr"),
    _rule("github_pat_", r"[A-Za-z0-9_]{20,}"),
    _token("glpat-", r"[A-Za-z0-9_-]{16,}"),
    *(_token(p, r"[A-Z0-9]{16}\b") for p in ("AKIA", "ASIA")),
    *(_token(f"{kind}k{dash}", r"[A-Za-z0-9_-]{16,}") for kind in "spr" for dash in "-_"),
    _token("e2b", r"[-_][A-Za-z0-9_-]{16,}"),
    _token("xox", r"[abeprs][-_.][A-Za-z0-9._-]{16,}"),
    _token("xapp-", r"[A-Za-z0-9-]{16,}"),
    _token("AIza", r"[A-Za-z0-9_-]{30,}"),
    *(_token(p, r"[A-Za-z0-9]{32,}") for p in ("gsk_", "npm_", "r8_", "fw_", "csk-", "xai-", "pplx-")),
    *(_token(p, r"[A-Za-z0-9_-]{32,}") for p in ("nvapi-", "pypi-", "tvly-", "lsv2_", "dckr_pat_")),
    _token("dop_v1_", rf"{_HEX}{{40,}}"),
    _token("SG.", r"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    _token("eyJ", r"[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
)
_NAMED = (
    _named("ecret", r"(?:_access_k|AccessK|_k|K)ey", _LONG),
    _named("ECRET_ACCESS_KEY", "", _LONG),
    _named("oken", r"(?:(?<=ession_token)|(?<=essionToken)|(?<=github_token)|(?<=gh_token))", _LONG),
    _named("TOKEN", r"(?:(?<=ESSION_TOKEN)|(?<=GITHUB_TOKEN)|(?<=GH_TOKEN))", _LONG),
    *(_named(name, "", _OPAQUE) for name in ("API_KEY", "api_key", "apikey", "apiKey", "pi-key", "PI-Key")),
    *(_named(name, "", _OPAQUE) for name in ("access_token", "auth_token", "client_secret", "_PASSWORD")),
)
_SPOKEN_OF = (
    *(
        _kept(word, r"\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?[A-Za-z]{2,12} +", f"{_SPOKEN}{{8,}}")
        for word in ("uthorization", "UTHORIZATION")
    ),
    *(_kept(word, " +", _NO_WORD) for word in ("earer", "EARER")),
    # Up to the last @ before a slash: a password may hold one.
    _kept("://", "", r"[^\s/:@\"'<>]{0,200}:[^\s/\"'<>]{1,500}(?=@)"),
    _kept("://", "", r"(?=[A-Za-z_-]{0,60}\d)[\w-]{16,300}(?=@)"),
    _kept("hooks.slack.com/", r"[a-z]+/", r"[\w/-]{16,}"),
    _kept("/api/webhooks/", "", r"\d+/[\w-]{16,}"),
    _kept("X-Amz-", r"(?:Signature|Security-Token)=", r"[\w%.~+/=-]{16,}"),
)
_PRIVATE_KEY = _rule(
    "-----BEGIN ", r"[A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
)
SURE = (*TOKENS, _PRIVATE_KEY)
"""Nothing else looks like these."""
RULES = (*SURE, *_NAMED, *_SPOKEN_OF)
