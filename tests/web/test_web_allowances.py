"""Allowances that are used up: read from headers in all their spellings, and kept apart for those with a key."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from ml_intern.retry import is_transient, limits_rate, retry_after, used_up
from ml_intern.web.errors import Throttled
from ml_intern.web.manners import Manners
from ml_intern.web.pace import Pacer
from ml_intern.web.wire import Later


def _answer(status: int, **headers: str) -> Later:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Later("api.example", httpx.Response(status, headers=named), b"")


@pytest.mark.parametrize(
    ("left", "reset", "seconds"),
    [
        ("0", "90", 90),
        ("0", "2000000090", 90),
        ("0", "1999999000", 1),
        ("7", "90", None),
        ("0", "soon", None),
        ("", "90", None),
    ],
)
def test_an_allowance_that_is_used_up(left: str, reset: str, seconds: float | None) -> None:
    headers = {"x-ratelimit-remaining": left, "x-ratelimit-reset": reset}
    headers["date"] = formatdate(2_000_000_000, usegmt=True)  # the server's own clock counts
    assert used_up(httpx.Headers(headers)) == seconds


def test_without_the_servers_clock_ours_counts() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 1000)}
    assert 900 < (used_up(httpx.Headers(headers)) or 0) <= 1000


def test_a_refusal_is_a_rate_limit_only_with_a_wait_beside_it() -> None:
    used = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": "30"}
    for error in (_answer(429), _answer(403, retry_after="5"), _answer(403, **used)):
        assert limits_rate(error) and is_transient(error)
    for error in (_answer(403), _answer(401, retry_after="5"), _answer(403, x_ratelimit_remaining="4")):
        assert not limits_rate(error) and not is_transient(error)
    assert retry_after(_answer(403, retry_after="5", **used)) == 5
    assert retry_after(_answer(403, **used)) == 30


def test_a_host_is_closed_for_those_who_used_their_allowance_up(tmp_path: Path) -> None:
    manners, pacer = Manners("x.example"), Pacer(tmp_path)
    pacer.hold(manners, 500, keyed=False)
    with pytest.raises(Throttled, match="left alone"), Pacer(tmp_path).turn(manners):
        pass
    with Pacer(tmp_path).turn(manners, keyed=True):
        pass
    pacer.hold(manners, 700, keyed=True)
    with pytest.raises(Throttled, match=r"another [67]"), Pacer(tmp_path).turn(manners, keyed=True):
        pass
