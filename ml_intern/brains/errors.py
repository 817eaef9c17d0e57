"""What an error of a brain means: make the prompt smaller, wait, mend the key, or give up.

Providers agree on little but the status code, and not always on that; so the status is read first where it
decides, and the words where it does not. Words are matched as words: "1500 rows" is no server error.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Literal

from ml_intern.errors import InternError, LimitReached, NoBrain

ErrorClass = Literal["overflow", "rate_limit", "transient", "auth", "final"]


class ContextOverflow(LimitReached):
    """The prompt does not fit into the brain's window; a smaller prompt may."""


class GarbledReply(Exception):
    """What came back is no completion: not JSON, no choices, a broken stream.

    Args:
        message: What it was.
        status_code: The status that the provider named in it.
    """

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_OVERFLOW = _any(
    r"maximum (context|prompt|input) length",
    r"context[ _-]?(length|window|size|limit)[ _](is |was |has been )?(exceeded|overflow)",
    r"exceed\w*[^.\n]{0,60}\bcontext\b",
    r"exceed_context_size",
    r"(longer|larger|greater|more tokens) than[^.\n]{0,40}\bcontext\b",
    r"context the overflows|context (overflow|window is full)",
    r"\bprompt (is )?too (long|large)",
    r"\binput (is )?too (long|large)",
    r"too large for model with \d+ maximum context",
    r"input token count\b.*\bexceeds",
    r"inputs?`? tokens \+ `?max_(new_)?tokens",
    r"tokens must be reduced",
    r"reduce the length of (the|your) (messages|prompt|input)",
    r"tokens in the prompt cannot exceed",
    r"string too long\. expected a string with maximum length",
    r"context_?window_?exceeded|context_length_exceeded",
)
_CREDIT = _any(
    r"insufficient[ _](quota|balance|credits?|funds)",
    r"exceeded your current quota, please check your plan",
    r"credit balance is too low",
    r"payment required",
    r"exceeded your monthly included credits",
    r"billing[ _](hard[ _])?limit|billing_not_active|account is not active",
)
_KEY = _any(
    r"(incorrect|invalid|expired|missing|no|bad) (x-)?api[ _-]?key",
    r"(x-)?api[ _-]?key (is |was )?(not valid|invalid|expired|missing|required|not found)",
    r"invalid_api_key|invalid x-api-key",
    r"invalid (username or password|credentials|token|bearer)",
)
_AUTH = _any(
    r"\bunauthori[sz]ed\b",
    r"\bauthentication\b",
    r"\bpermission[ _]denied\b",
    r"\bforbidden\b",
    r"\baccess denied\b",
)
_THROTTLED = _any(r"too many tokens, please wait", r"\bthrottl(ed|ing)", r"throttlingexception")
_RATE = _any(
    r"\brate[ _-]?limit",
    r"\btoo many requests\b",
    r"\bresource[ _]exhausted|resource has been exhausted",
    r"\b(tokens|requests) per (second|minute|min|hour|day)\b",
    r"\bquota exceeded\b",
    r"\bplease wait before\b",
)
_INVALID = _any(
    r"\binvalid[ _]request", r"\bbad request\b", r"\bvalidation error", r"\bunprocessable\b", r"\bnot found\b"
)
_TRANSIENT = _any(
    r"\btime[d ]?[ -]?out\b",
    r"\bconnection (error|reset|aborted|refused|closed|lost|dropped|broken)",
    r"\b(connect|read|write) ?error\b",
    r"\bbroken pipe\b",
    r"\b(server|remote end|peer) (disconnected|closed)",
    r"\bincomplete (chunked )?read\b",
    r"\bunexpected (eof|end of (file|stream))\b|\beof occurred\b|\bpremature end\b",
    r"\bbad gateway\b|\bgateway time-?out\b",
    r"\b(temporarily|service|currently) unavailable\b|\bunavailable, please\b",
    r"\binternal (server )?error\b|\bserver error\b|\bserver had an error\b",
    r"\boverloaded\b|\bat capacity\b|\bmodel is (currently )?loading\b",
    r"\btemporary failure in name resolution\b|\bname or service not known\b",
    r"\bnetwork is unreachable\b|\bno route to host\b",
    r"\breturned no choices\b",
)
_REASON = (
    r"bad request|unauthorized|payment required|forbidden|not found|request time-?out|payload too large"
    r"|unprocessable|too many requests|internal server error|bad gateway|service|gateway time-?out|overloaded"
    r"|client error|server error"
)
_STATUS = re.compile(
    r"\b(?:error code|status(?: ?code|_code)?|http(?:/\d(?:\.\d)?)?(?: error| status)?|response code)"
    r"\s*[:=]?\s*[\[(<]?([1-5]\d\d)\b"
    rf"|^\s*[\[(]?([45]\d\d)[\])]?(?=\s*(?:$|[:\-–]|{_REASON}))"
    rf"|\b([45]\d\d)[:,]? (?=(?:{_REASON})\b)"
)
_UNREACHABLE = _any(
    r"name or service not known|failure in name resolution|nodename nor servname|getaddrinfo failed",
    r"\bconnection refused\b|\bno route to host\b|\bnetwork is unreachable\b",
)
_LITELLM = re.compile(r"^litellm\.\w+: (?:\w+Exception - )?|\s*Handle with `litellm[^`]*`\.?$")
_NETWORK_ERRORS = {
    "TimeoutError",
    "ConnectionError",
    "TransportError",
    "APIConnectionError",
    "gaierror",
    "GarbledReply",
    "JSONDecodeError",
    "RecursionError",  # nested deeper than any completion is
}
_NEVER_MEND = {"UnsupportedProtocol", "InvalidURL", "SSLCertVerificationError"}


def classify(error: BaseException | str) -> ErrorClass:
    """What to do about an error of a provider, told from its type, its status and its words.

    Returns:
        ``overflow``: compact the prompt and ask again. ``rate_limit`` and ``transient``: wait and ask again.
        ``auth``: the key, its rights or its credit must be mended. ``final``: asking again would not help.
    """
    text, status = _words(error).lower(), status_of(error)
    if isinstance(error, ContextOverflow) or status == 413 or _OVERFLOW.search(text):
        return "overflow"
    if status == 402 or _CREDIT.search(text):
        return "auth"
    if status == 429 or _THROTTLED.search(text):
        return "rate_limit"
    if status is not None:
        return _by_status(status, text)
    if isinstance(error, BaseException) and (kind := _by_type(error)):
        return kind
    return _by_words(text)


def _by_status(status: int, text: str) -> ErrorClass:
    if status in (401, 403, 407) or (status < 500 and _KEY.search(text)):
        return "auth"
    if status < 300:
        return "transient"  # said to be fine, but the body was not
    if status >= 500 and _RATE.search(text):
        return "rate_limit"
    # 409 is a lock that another request holds; 501 and 505 say that the server will never do this.
    if status in (408, 409, 425) or (status >= 500 and status not in (501, 505)):
        return "transient"
    return "final"


def _by_type(error: BaseException) -> ErrorClass | None:
    names = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
    if names & _NEVER_MEND or any(isinstance(link, ssl.SSLCertVerificationError) for link in _chain(error)):
        return "final"
    return "transient" if names & _NETWORK_ERRORS else None


def _by_words(text: str) -> ErrorClass:
    order: tuple[tuple[re.Pattern[str], ErrorClass], ...] = (
        (_KEY, "auth"),
        (_INVALID, "final"),
        (_RATE, "rate_limit"),
        (_AUTH, "auth"),
        (_TRANSIENT, "transient"),
    )
    return next((kind for pattern, kind in order if pattern.search(text)), "final")


def is_unreachable(error: BaseException) -> bool:
    """True when nobody was there at all: no such host, no way to it, or a closed port."""
    return any(_UNREACHABLE.search(str(link).lower()) for link in _chain(error))


def status_of(error: BaseException | str) -> int | None:
    """The HTTP status that an error carries, or names in its text."""
    if isinstance(error, BaseException):
        for holder in (error, getattr(error, "response", None)):
            status = getattr(holder, "status_code", None)
            if isinstance(status, int):
                return status
        if (named := _named_status(error)) is not None:
            return named
    found = _STATUS.search(_words(error).lower())
    return int(next(group for group in found.groups() if group)) if found else None


def _named_status(error: BaseException) -> int | None:
    """The status within an error that came in the midst of a stream, whose own status was 200."""
    code = str(getattr(error, "code", None) or "")
    return int(code) if re.fullmatch(r"[45]\d\d", code) else None


def explain(error: BaseException, label: str, hint: str = "") -> InternError:
    """The one line that ends a run, or the typed overflow that lets it compact and go on."""
    kind = classify(error)
    told = one_line(error)
    if kind == "overflow":
        return ContextOverflow(
            f"The prompt does not fit into the window of {label}: {told}", "A smaller prompt may."
        )
    if kind == "auth":
        return NoBrain(f"{label} refused the key, its rights or its credit: {told}", hint or "Check the key.")
    if kind == "final":
        return NoBrain(f"{label} refused the request: {told}", hint)
    return NoBrain(f"{label} does not answer: {told}", hint or "Try again later.")


def one_line(error: BaseException, limit: int = 300) -> str:
    """An error's own message, without the wrapping that clients put around a provider's JSON."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else inner
    deepest = list(_chain(error))[-1]
    text = str(message or (deepest if status_of(error) is None else error)) or type(error).__name__
    text = _LITELLM.sub("", " ".join(text.split())) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _words(error: BaseException | str) -> str:
    return error if isinstance(error, str) else f"{type(error).__name__}: {error}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
