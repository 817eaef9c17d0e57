"""The whole application without a browser: logins, and what a logged-in user asks for that is not theirs."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_intern.settings import Settings
from ml_intern.webapp import serving
from ml_intern.webapp.door import COOKIE
from ml_intern.webapp.users import Users

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="gradio is not installed"),
]

PASSWORD = "correct horse battery"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from starlette.testclient import TestClient

    monkeypatch.chdir(tmp_path)
    users = Users(tmp_path / "users.txt")
    for name in ("ada", "bob"):
        users.add(name, PASSWORD)
    app, _ = serving.assemble(Settings.load(state=tmp_path / "state"), {}, users)
    with TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False) as made:
        yield made


def log_in(client: Any, name: str = "ada", password: str = PASSWORD) -> Any:
    return client.post("/login?session=s1", data={"name": name, "password": password})


def test_a_login_leads_back_and_holds(client: Any) -> None:
    assert client.get("/").status_code == 303
    done = log_in(client)
    assert (done.status_code, done.headers["location"]) == (303, "/?session=s1")
    kept = done.headers["set-cookie"].lower()
    assert COOKIE in kept and "httponly" in kept and "samesite=lax" in kept
    assert client.get("/").status_code == 200
    client.get("/logout")
    client.cookies.clear()
    assert client.get("/config").status_code == 401
    assert client.get("/news").status_code == 401


def test_a_wrong_password_is_told_and_slowed_down(client: Any) -> None:
    told = [log_in(client, "ada", "wrong").status_code for _ in range(4)]
    assert told == [401, 401, 401, 429]
    assert log_in(client).status_code == 429  # also the right one has to wait


def test_no_event_has_a_name_and_no_file_of_another_is_served(client: Any, tmp_path: Path) -> None:
    secret = tmp_path / "state" / "users" / "bob" / "secret.txt"
    secret.parent.mkdir(parents=True)
    secret.write_text("of bob")
    log_in(client)
    config = client.get("/config").json()
    assert all(event["api_visibility"] == "private" for event in config["dependencies"])
    for path in (secret, tmp_path / "users.txt", tmp_path / "state" / "web" / "key", "/etc/passwd"):
        taken = client.get(f"/gradio_api/file={path}")
        assert taken.status_code in (403, 404) and "of bob" not in taken.text
    assert client.get("/gradio_api/file=http://127.0.0.2/x").status_code >= 400
    assert not config["analytics_enabled"]
    assert "fonts.googleapis" not in client.get("/").text


def test_on_a_space_nobody_is_the_owner_by_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("authlib")
    from gradio import oauth
    from starlette.testclient import TestClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYSTEM", "")
    monkeypatch.setenv("SPACE_ID", "owner/ml-intern")
    monkeypatch.setenv("SPACE_AUTHOR_NAME", "owner")
    for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
        monkeypatch.setenv(name, "https://127.0.0.1:9")
        monkeypatch.setattr(oauth, name, "https://127.0.0.1:9")
    app, _ = serving.assemble(Settings.load(state=tmp_path / "state"), {}, None)
    client = TestClient(app, base_url="https://x.hf.space", follow_redirects=False)
    assert client.get("/").headers["location"].startswith("/login")
    assert "Sign in with Hugging Face" in client.get("/login").text
    back = client.get("/login/callback?_target_url=/", follow_redirects=False)
    assert "oauth_info" not in back.text
    assert client.get("/config").status_code == 401


def test_nothing_is_complained_about_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        serving.assemble(Settings.load(state=tmp_path / "state"), {}, None)
    assert [str(one.message) for one in told if issubclass(one.category, UserWarning)] == []
