"""The settings of the web: what is wrong with one is told in a line."""

from __future__ import annotations

import pytest

from ml_intern.errors import UsageError
from ml_intern.settings import Settings
from ml_intern.web.client import Web
from ml_intern.web.errors import Blocked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"web_mirrors": {"arxvi": "http://127.0.0.1"}}, "no service 'arxvi' (did you mean 'arxiv'?)"),
        ({"web_mirrors": {"arxiv": "127.0.0.1"}}, "'127.0.0.1' is no http address"),
        ({"web_private": ["http://"]}, "'http://' is no host"),
        ({"web_private": ["http://[bad"]}, "Invalid IPv6 URL".lower()),
        ({"web_private": ["host:port"]}, "port could not be cast"),
        ({"web_cache_mb": 0}, "greater than or equal to 8"),
    ],
    ids=["service", "address", "nothing", "brackets", "port", "size"],
)
def test_a_setting_that_makes_no_sense_is_told(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as told:
        Settings.load(**given)
    assert said.lower() in str(told.value).lower() and "\n" not in str(told.value)


def test_the_environment_opens_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_INTERN_WEB_PRIVATE", "mirror.lan:8080 10.0.0.0/8")
    web = Web.of(Settings.load(), {})
    assert web.engine.doors.check("http://mirror.lan:8080/x") and web.engine.doors.check("http://10.1.2.3/")
    with pytest.raises(Blocked):
        web.engine.doors.check("http://192.168.0.1/")
