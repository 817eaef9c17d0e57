"""Personal data in texts: e-mail addresses, phone and card numbers, bank accounts, social security numbers.

What can be checked is checked, so that a column of numbers is no list of credit cards: the check digit of a
card by Luhn's rule (ISO/IEC 7812-1, annex B) within the ranges and lengths of its network, an IBAN by its
country's length (the SWIFT registry) and ISO 7064 MOD 97-10 (ISO 13616), phone numbers by ``phonenumbers``,
Google's libphonenumber in Python, where it is installed; without it by the form of E.164. Names and addresses
of places are not looked for: that needs a model. Only counts and row numbers leave this module, no values.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

LONGEST = 100_000
"""Characters of a text that are looked at."""

# Reserved for documentation and tests (RFC 2606, RFC 6761): nobody's.
_NOBODYS = re.compile(r"(?:^|\.)(?:example(?:\.\w+)?|test|invalid|localhost|local)$", re.I)
_EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}"
_PHONE = r"\+[1-9](?:[ ()./-]{0,2}\d){7,14}"
_DIGITS = r"\d(?:[ -]?\d){12,18}"
_IBAN = r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}"
_SSN = r"\d{3}-\d{2}-\d{4}"
# Country, length of its IBAN.
_LENGTHS = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29
ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28
LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25
QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTH = {entry[:2]: int(entry[2:]) for entry in _LENGTHS.split()}
# First digits and lengths of the large networks.
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)

KINDS = ("e-mail addresses", "phone numbers", "card numbers", "IBANs", "US social security numbers")


def find(texts: pl.Series, region: str | None = None) -> dict[str, list[int]]:
    """Positions of texts that hold personal data, by kind; kinds that were not met are left out.

    Args:
        texts: The texts.
        region: Country (``DE``) whose national phone numbers count as well; nothing means international ones.
    """
    texts = texts.fill_null("").str.slice(0, LONGEST)
    phone = _PHONE if region is None else r"\d(?:[ ()./-]{0,2}\d){5}"
    checks: list[tuple[str, Callable[[str], bool]]] = [
        (_EMAIL, has_email),
        (phone, _phones(region)),
        (_DIGITS, has_card),
        (_IBAN, has_iban),
        (_SSN, has_ssn),
    ]
    found = {}
    for kind, (sign, check) in zip(KINDS, checks, strict=True):
        places = texts.str.contains(sign).arg_true().to_list()
        if rows := [at for at in places if check(texts[at])]:
            found[kind] = rows
    return found


def placeholders(texts: pl.Series) -> list[int]:
    """Positions of texts with e-mail addresses that stand where real ones may have been."""
    texts = texts.fill_null("").str.slice(0, LONGEST)
    return [at for at in texts.str.contains(_EMAIL).arg_true().to_list() if has_placeholder(texts[at])]


def has_email(text: str) -> bool:
    """An address that may be somebody's; ``@example.com`` is nobody's."""
    return any(not _NOBODYS.search(found[0].rpartition("@")[2]) for found in re.finditer(_EMAIL, text))


def has_placeholder(text: str) -> bool:
    """An address that nobody can have: at ``example.org`` and the like."""
    return any(_NOBODYS.search(found[0].rpartition("@")[2]) for found in re.finditer(_EMAIL, text))


def has_card(text: str) -> bool:
    """A number of a card network with a right check digit."""
    for found in re.finditer(rf"(?<![\d.-]){_DIGITS}(?![\d-])", text):
        digits = re.sub(r"[ -]", "", found[0])
        if _CARD.fullmatch(digits) and luhn(digits):
            return True
    return False


def has_iban(text: str) -> bool:
    """A bank account number with its country's length and right check digits."""
    for found in re.finditer(rf"(?<![A-Za-z0-9]){_IBAN}", text):
        plain = found[0].replace(" ", "")
        length = _IBAN_LENGTH.get(plain[:2], 0)
        if length and len(plain) >= length and mod97(plain[:length]):
            return True
    return False


def has_ssn(text: str) -> bool:
    """A number that the Social Security Administration may have given: no zero part, no area 666 or 9xx."""
    for found in re.finditer(rf"(?<![\d-]){_SSN}(?![\d-])", text):
        area, group, serial = found[0].split("-")
        if area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000":
            return True
    return False


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    doubled = [int(d) * (1 + at % 2) for at, d in enumerate(reversed(digits))]
    return sum(d - 9 * (d > 9) for d in doubled) % 10 == 0


def mod97(account: str) -> bool:
    """Whether the check digits of an IBAN are right."""
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


@cache
def _library() -> Any:
    try:
        return importlib.import_module("phonenumbers")
    except ImportError:
        return None


def _phones(region: str | None) -> Callable[[str], bool]:
    library = _library()
    if library is None:
        return lambda text: bool(re.search(rf"(?<![\w+.]){_PHONE}(?!\d)", text))
    return lambda text: any(True for _ in library.PhoneNumberMatcher(text, region))
