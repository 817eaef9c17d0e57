from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from ml_intern.brains.factory import build_brain
from ml_intern.errors import ToolError, UsageError
from ml_intern.hub.client import REPLACED, Hub
from ml_intern.hub.library import LIBRARY
from ml_intern.hub.server import ServerThread, listen
from ml_intern.hub.target import check_account
from ml_intern.settings import Settings


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(Settings(hub="embedded"), tmp_path / "state")
    yield made
    made.close()


def folder(path: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        target = path / name.replace("__", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("setting", "env", "embedded"),
    [
        ("auto", {}, True),
        ("auto", {"HF_TOKEN": "hf_x"}, False),
        ("auto", {"HUGGING_FACE_HUB_TOKEN": "hf_x"}, False),
        ("auto", {"HF_TOKEN": " "}, True),
        ("auto", {"HF_ENDPOINT": "http://127.0.0.1:1"}, False),
        ("embedded", {"HF_TOKEN": "hf_x"}, True),
        ("remote", {}, False),
    ],
)
def test_which_hub(tmp_path: Path, setting: str, env: dict[str, str], embedded: bool) -> None:
    made = Hub(Settings(hub=setting), tmp_path, {"HOME": str(tmp_path), **env})  # type: ignore[arg-type]
    assert made.embedded is embedded
    assert str(tmp_path) in made.label if embedded else made.label.startswith("http")
    assert not (tmp_path / "hub").exists(), "asking which Hub it is starts no server"


@pytest.mark.parametrize("saved", [True, False])
def test_a_saved_token_chooses_the_hub_as_it_chooses_the_brain(tmp_path: Path, saved: bool) -> None:
    if saved:
        (tmp_path / "token").write_text("hf_stored\n")
    env = {"HF_HOME": str(tmp_path)}
    brain = build_brain(Settings(), lambda event: None, env)
    assert brain.label.startswith("hf:" if saved else "playbook:")
    assert Hub(Settings(), tmp_path, env).embedded is not saved


def test_tokens_stay_with_their_host(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_stored")

    def token(setting: str, **env: str) -> str | None:
        return Hub(Settings(hub=setting), tmp_path, {"HF_HOME": str(tmp_path), **env}).token  # type: ignore[arg-type]

    assert token("remote") == token("auto") == "hf_stored"
    own = token("embedded")
    assert own and own != token("embedded")
    assert token("auto", HUGGING_FACE_HUB_TOKEN="hf_old") == "hf_old"
    assert token("auto", HF_ENDPOINT="https://hub.example", HUGGING_FACE_HUB_TOKEN="hf_old") is None
    assert token("auto", HF_TOKEN="hf_given") == "hf_given"
    assert token("auto", HF_ENDPOINT="https://hub.example", HF_TOKEN="hf_given") == "hf_given"
    assert token("auto", HF_ENDPOINT="https://hub.example") is None
    assert token("auto", HF_ENDPOINT="https://huggingface.co.evil.example") is None
    assert token("embedded", HF_TOKEN="hf_given") != "hf_given"
    assert token("auto", HF_ENDPOINT="http://127.0.0.1:1") == "local"


def test_a_stored_login_is_not_sent_to_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("hf_stored")
    seen: list[str | None] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.send_error(404)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        endpoint = f"http://localhost.localdomain:{other.server_port}"
        monkeypatch.setattr("socket.getaddrinfo", _to_loopback)
        monkeypatch.setenv("NO_PROXY", "localhost.localdomain")
        made = Hub(Settings(hub="auto"), tmp_path, {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)})
        with pytest.raises(ToolError):
            made.download_model("lab/tiny")
        other.shutdown()
    assert seen and set(seen) == {None}


def test_publishing_and_downloading(hub: Hub, tmp_path: Path) -> None:
    source = folder(
        tmp_path / "m", config__json="{}", model__safetensors=b"\0" * 100_000, script__py="print()"
    )
    done = hub.publish_folder(source, "tiny", "model", True, "first", "mark 1")
    assert (done.repo, done.private) == ("local/tiny", True) and done.url == f"{hub.endpoint}/local/tiny"
    assert done.files == [".gitattributes", "config.json", "model.safetensors", "script.py"]
    with hub.reach():
        history = hub.api.list_repo_commits("local/tiny")
    assert [c.title for c in history] == ["first", "initial commit"] and history[0].commit_id == done.commit
    assert hub.find_commit("local/tiny", "model", "mark 1") == done.commit
    assert hub.find_commit("local/tiny", "model", "mark 2") is None
    assert hub.find_commit("local/none", "model", "mark 1") is None
    found = hub.download_model("local/tiny")
    assert sorted(p.name for p in found.iterdir()) == ["config.json", "model.safetensors"]
    assert hub.download_model(f"local/tiny@{done.commit}") == found
    assert tmp_path / "state" in found.parents, "downloads stay in the state folder"


def test_a_newer_version_leaves_no_old_weights_behind(hub: Hub, tmp_path: Path) -> None:
    old = folder(
        tmp_path / "old", a1__safetensors=b"1", a2__safetensors=b"2", notes__txt="mine", tokenizer__json="{}"
    )
    new = folder(tmp_path / "new", a1__safetensors=b"3", config__json="{}")
    hub.publish_folder(old, "tiny", "model", True, "old")
    done = hub.publish_folder(new, "tiny", "model", True, "new", replace=REPLACED)
    assert done.files == [".gitattributes", "a1.safetensors", "config.json", "notes.txt"]


def test_private_is_never_published_into_a_public_repository(hub: Hub, tmp_path: Path) -> None:
    source = folder(tmp_path / "m", a__txt="secret")
    hub.publish_folder(folder(tmp_path / "p", b__txt="open"), "seen", "model", False, "open")
    with pytest.raises(ToolError, match="public"):
        hub.publish_folder(source, "seen", "model", True, "oops")
    with hub.reach():
        assert "a.txt" not in hub.api.list_repo_files("local/seen")
    assert hub.publish_folder(source, "seen", "model", False, "meant").private is False


def test_an_upload_that_fails_leaves_no_repository(hub: Hub, tmp_path: Path) -> None:
    source = folder(tmp_path / "m", README__md="---\na: [1\n---\n", a__txt="x")
    with pytest.raises(ValueError, match="metadata"):
        hub.publish_folder(source, "broken", "model", True, "no")
    with hub.reach():
        assert not hub.api.repo_exists("local/broken")


@pytest.mark.parametrize("name", ["a b", "../x", "a/b/c", "", "a//b", "x" * 100, "datasets/x"])
def test_bad_names_get_one_clear_line(hub: Hub, name: str) -> None:
    with pytest.raises(ToolError) as caught:
        hub.full_name(name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_names_are_completed_with_the_users_own_namespace(hub: Hub) -> None:
    assert (hub.full_name("tiny"), hub.full_name("lab/tiny")) == ("local/tiny", "lab/tiny")


def test_what_is_not_there_is_told_with_a_way_on(hub: Hub) -> None:
    for ask in (hub.download_model, hub.download_dataset):
        with pytest.raises(ToolError) as caught:
            ask("lab/none")
        assert "lab/none" in caught.value.message and "HF_ENDPOINT" in caught.value.hint


def test_the_server_starts_again_after_close_with_the_same_storage(hub: Hub, tmp_path: Path) -> None:
    hub.publish_folder(folder(tmp_path / "m", a__txt="x"), "tiny", "model", True, "first")
    hub.close()
    assert (hub.download_model("local/tiny") / "a.txt").read_text() == "x"


def test_two_sessions_share_one_storage(hub: Hub, tmp_path: Path) -> None:
    other = Hub(Settings(hub="embedded"), tmp_path / "state")
    try:
        hub.publish_folder(folder(tmp_path / "m", a__txt="x"), "tiny", "model", True, "first")
        assert other.endpoint != hub.endpoint
        assert HfApi(endpoint=other.endpoint, token=other.token).model_info("local/tiny").private
        # A job that may reach the network reaches loopback, too; it has no token.
        with pytest.raises(HfHubHTTPError):
            HfApi(endpoint=other.endpoint, token=False).create_repo("local/evil")
    finally:
        other.close()


def test_a_port_that_is_asked_for_is_taken_or_told(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            _ = Hub(Settings(hub="embedded", hub_port=port), tmp_path).endpoint
    made = Hub(Settings(hub="embedded", hub_port=port), tmp_path)
    try:
        assert made.endpoint.endswith(f":{port}")
    finally:
        made.close()


def test_the_clients_own_settings_come_back(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hub.reach(), hub.reach():
        assert constants.HF_HUB_DISABLE_XET and not constants.HF_HUB_OFFLINE
        assert list(hub.api.list_models()) == []
    assert constants.HF_HUB_OFFLINE and not constants.HF_HUB_DISABLE_XET


def test_overlapping_calls_to_several_hubs_get_the_most_careful_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setattr(constants, name, False)

    def now() -> tuple[bool, bool, bool]:
        found = (constants.HF_HUB_DISABLE_XET, constants.HF_HUB_DISABLE_TELEMETRY, constants.HF_HUB_OFFLINE)
        return found

    official, embedded = {"embedded": False, "official": True}, {"embedded": True, "official": False}
    with LIBRARY.set_up(**official):
        assert now() == (False, False, False)
        with LIBRARY.set_up(**embedded):
            assert now() == (True, True, False)
            with LIBRARY.set_up(**official):
                assert now() == (True, True, False)
        assert now() == (False, False, False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    first, second = LIBRARY.set_up(**embedded), LIBRARY.set_up(**official)
    first.__enter__()
    assert now() == (True, True, False)
    second.__enter__()
    assert now() == (True, True, True), "no call may go out"
    first.__exit__(None, None, None)
    assert now() == (False, False, True)
    second.__exit__(None, None, None)
    assert now() == (False, False, True)


def test_the_target_is_checked_without_a_change(hub: Hub, tmp_path: Path) -> None:
    assert hub.check_target("tiny", "model", True) == "local/tiny"
    with hub.reach():
        assert not list(hub.api.list_models())
    hub.publish_folder(folder(tmp_path / "p", b__txt="open"), "seen", "model", False, "open")
    assert hub.check_target("seen", "model", False) == "local/seen"
    with pytest.raises(ToolError, match="public"):
        hub.check_target("seen", "model", True)


def test_who_may_write_nothing_is_told_before_an_upload(root: Path, tmp_path: Path) -> None:
    running = ServerThread(root, token="secret", user="ada")
    try:

        def hub_of(**env: str) -> Hub:
            return Hub(Settings(), tmp_path, {"HF_ENDPOINT": running.endpoint, **env})

        assert hub_of(HF_TOKEN="secret").check_target("lab/tiny", "model", True) == "lab/tiny"
        with pytest.raises(ToolError, match="401"):
            hub_of(HF_TOKEN="wrong").check_target("lab/tiny", "model", True)
    finally:
        running.stop()
    with pytest.raises(ToolError, match="no token") as caught:
        Hub(Settings(), tmp_path, {"HF_ENDPOINT": "https://hub.example"}).check_target("a/b", "model", True)
    assert "hf auth login" in caught.value.hint


READS = {"auth": {"accessToken": {"role": "read"}}}
WRITES = {"auth": {"accessToken": {"role": "write"}}}


def fine(*permissions: str) -> dict[str, Any]:
    rights = {"global": ["discussion.write"], "scoped": [{"entity": {}, "permissions": list(permissions)}]}
    return {"auth": {"accessToken": {"role": "fineGrained", "fineGrained": rights}}}


@pytest.mark.parametrize(
    ("repo", "account", "official", "problem"),
    [
        ("ada/x", READS, True, "only read"),
        ("ada/x", READS, False, "only read"),
        ("ada/x", fine("repo.content.read"), True, "only read"),
        ("ada/x", fine("repo.content.read", "repo.write"), True, ""),
        ("ada/x", {"auth": {"accessToken": {"role": "fineGrained"}}}, True, ""),
        ("Ada/x", WRITES, True, ""),
        ("lab/x", WRITES, True, "may not write"),
        ("lab/x", WRITES, False, ""),
        ("lab/x", {**WRITES, "orgs": [{"name": "lab", "roleInOrg": "contributor"}]}, True, ""),
        ("lab/x", {**WRITES, "orgs": [{"name": "lab", "roleInOrg": "read"}]}, True, "may not write"),
        ("ada/x", {}, True, ""),
    ],
)
def test_what_an_account_may_write(repo: str, account: dict[str, Any], official: bool, problem: str) -> None:
    if not problem:
        return check_account(repo, {"name": "ada", **account}, official=official)
    with pytest.raises(ToolError, match=problem) as caught:
        check_account(repo, {"name": "ada", **account}, official=official)
    assert caught.value.hint


def test_an_offline_machine_behind_a_proxy_publishes(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from ml_intern.hub.client import Hub; from ml_intern.settings import Settings\n"
        "state = Path(sys.argv[1]); hub = Hub(Settings(hub='embedded'), state)\n"
        "(state / 'm').mkdir(parents=True); (state / 'm' / 'a.safetensors').write_bytes(b'x' * 9)\n"
        "print(hub.publish_folder(state / 'm', 'tiny', 'model', True, 'first').repo); hub.close()\n"
    )
    proxy = "http://127.0.0.1:9"
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HTTP_PROXY": proxy,
        "http_proxy": proxy,
        "NO_PROXY": "",
        "no_proxy": "",
    }
    argv = [sys.executable, "-c", script, str(tmp_path / "state")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "local/tiny", done.stderr


def _to_loopback(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
    import socket

    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
