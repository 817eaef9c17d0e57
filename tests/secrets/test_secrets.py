"""A credential goes to the tool that declares it and to the host it belongs to, and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from ml_intern.brains.factory import build_brain, endpoint_of
from ml_intern.context import Services, ToolContext, Undeclared
from ml_intern.errors import ToolError, UsageError
from ml_intern.hub.client import Hub
from ml_intern.router.registry import load_tools
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.secrets import masking
from ml_intern.secrets.credentials import Credential, Keeper, origin_of
from ml_intern.secrets.masking import mask
from ml_intern.secrets.secrets import SERVICES, Secrets, check_project, check_workspace
from ml_intern.session.services import assemble
from ml_intern.settings import Settings

TOKEN = "hf_" + "t0K3n" * 6


class Recorder:
    """An HTTP server on loopback that writes down what it is sent and answers as it is told."""

    def __init__(self, answer: Callable[[str], tuple[int, dict[str, str], bytes]]) -> None:
        self.headers: list[tuple[str, dict[str, str]]] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                recorder.headers.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, headers, body = answer(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_HEAD = do_PUT = reply

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def sent(self) -> str:
        return json.dumps(self.headers)


@pytest.fixture
def stranger() -> Iterator[Recorder]:
    """Another server on the same host: nothing secret may arrive."""
    headers = {"X-Repo-Commit": "a" * 40, "ETag": '"b"', "Content-Type": "application/json"}
    server = Recorder(lambda path: (200, headers, b'{"data": [], "id": "x/y", "sha": "a"}'))
    yield server
    server.close()


@pytest.fixture
def redirecting(stranger: Recorder) -> Iterator[Recorder]:
    """The server that the credential is for; it sends every request on to the stranger."""
    server = Recorder(lambda path: (307, {"Location": stranger.url + path}, b""))
    yield server
    server.close()


# Credentials and hosts


@pytest.mark.parametrize(
    ("hosts", "url", "fits"),
    [
        (("api.example.com",), "https://api.example.com/x?y=z", True),
        (("api.example.com",), "https://API.example.com./x", True),
        (("api.example.com",), "https://api.example.com:443/x", True),
        (("api.example.com",), "http://api.example.com/x", False),
        (("api.example.com",), "https://api.example.com:8443/x", False),
        (("api.example.com",), "https://api.example.com.evil.org/x", False),
        (("api.example.com",), "https://evil.org/api.example.com", False),
        (("api.example.com",), "https://api.example.com@evil.org/", False),
        (("api.example.com",), "https://evilapi.example.com/", False),
        (("api.example.com",), "//api.example.com/", False),
        (("api.example.com",), "https://api.example.com:port/", False),
        ((".example.com",), "https://example.com", True),
        ((".example.com",), "https://a.b.example.com", True),
        ((".example.com",), "https://evilexample.com", False),
        (("http://127.0.0.1:8000",), "http://127.0.0.1:8000/v1", True),
        (("http://127.0.0.1:8000",), "http://127.0.0.1:8001/v1", False),
        (("http://127.0.0.1:8000",), "https://127.0.0.1:8000/v1", False),
        (("http://127.0.0.1:8000",), "http://localhost:8000/v1", False),
        ((), "https://example.com", False),
    ],
)
def test_where_a_credential_belongs(hosts: tuple[str, ...], url: str, fits: bool) -> None:
    credential = Credential("the-secret-value", hosts)
    assert credential.belongs_to(url) is fits
    assert credential.headers_for(url) == ({"Authorization": "Bearer the-secret-value"} if fits else {})


def test_a_credential_does_not_show_itself() -> None:
    credential = Credential("the-secret-value", ("api.example.com",))
    shown = f"{credential} {credential!r} {[credential]} {Secrets({'HF_TOKEN': 'the-secret-value'})!r}"
    assert "the-secret-value" not in shown and "api.example.com" in shown


def test_requests_carry_it_to_its_own_host_only(stranger: Recorder, redirecting: Recorder) -> None:
    auth = Credential("the-secret-value", (redirecting.url,)).auth()
    with httpx.Client(auth=auth, follow_redirects=True, trust_env=False) as client:
        client.get(f"{redirecting.url}/a")
        client.get(f"{stranger.url}/b")
    assert "the-secret-value" in redirecting.sent
    assert len(stranger.headers) == 2 and "the-secret-value" not in stranger.sent


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key", "Cookie"])
def test_a_guarded_client_loses_keys_on_the_way_to_strangers(
    stranger: Recorder, redirecting: Recorder, header: str
) -> None:
    with Keeper().guard(httpx.Client(follow_redirects=True, trust_env=False)) as client:
        client.get(f"{redirecting.url}/a", headers={header: "the-secret-value", "X-Word": "stays"})
    assert "the-secret-value" in redirecting.sent
    assert "the-secret-value" not in stranger.sent and "stays" in stranger.sent


def test_a_kept_credential_goes_in_no_header_to_strangers(stranger: Recorder) -> None:
    keeper = Keeper()
    keeper.keep(Credential("the-secret-value", ("https://hub.example",)))
    keeper.keep(Credential("local", ("https://hub.example",)))
    with keeper.guard(keeper.guard(httpx.Client(trust_env=False))) as client:
        client.get(stranger.url, headers={"X-Own": "Key the-secret-value", "X-Word": "a local word"})
    assert "the-secret-value" not in stranger.sent and "a local word" in stranger.sent


# The libraries that send tokens for us


def test_a_hubs_token_follows_no_redirect(tmp_path: Path, stranger: Recorder, redirecting: Recorder) -> None:
    env = {"HF_ENDPOINT": redirecting.url, "HF_TOKEN": TOKEN, "HOME": str(tmp_path)}
    hub = Hub(Settings(hub="remote"), tmp_path, env)
    calls: list[Callable[[], Any]] = [
        lambda: hub.api.whoami(),
        lambda: hub.api.model_info("x/y"),
        lambda: hub.api.hf_hub_download("x/y", "config.json", cache_dir=tmp_path / "cache"),
        lambda: hub.api.get_hf_file_metadata(f"{redirecting.url}/x/y/resolve/main/config.json"),
        lambda: hub.api.create_repo("x/y"),
    ]
    for call in calls:
        try:
            with hub.reach("it"):
                call()
        except Exception:
            continue  # the stranger makes no sense; what counts is what it was sent
    assert TOKEN in redirecting.sent and len(stranger.headers) >= 3
    assert TOKEN not in stranger.sent


def test_a_hubs_token_follows_no_link(tmp_path: Path, stranger: Recorder) -> None:
    link = {"Link": f'<{stranger.url}/api/models?page=2>; rel="next"', "Content-Type": "application/json"}
    paging = Recorder(lambda path: (200, link, b'[{"id": "x/y"}]'))
    hub = Hub(Settings(hub="remote"), tmp_path, {"HF_ENDPOINT": paging.url, "HF_TOKEN": TOKEN})
    with pytest.raises(TypeError), hub.reach("the search"):
        list(hub.api.list_models(search="x"))  # the stranger's page is no list
    paging.close()
    assert TOKEN in paging.sent and len(stranger.headers) == 1 and TOKEN not in stranger.sent


def test_an_endpoints_key_follows_no_redirect(stranger: Recorder, redirecting: Recorder) -> None:
    env = {"OPENAI_BASE_URL": f"{redirecting.url}/v1", "OPENAI_API_KEY": "sk-the-secret-value"}
    brain = build_brain(Settings(model="openai:x", brain_retries=0), lambda event: None, env)
    with pytest.raises(Exception, match=r"."):
        brain.generate([{"role": "user", "content": "hello"}])
    assert "sk-the-secret-value" in redirecting.sent
    assert stranger.headers and "sk-the-secret-value" not in stranger.sent


def test_keys_of_other_providers_follow_no_redirect(stranger: Recorder, redirecting: Recorder) -> None:
    pytest.importorskip("litellm")
    settings = Settings(
        model="anthropic:x", base_url=redirecting.url, api_key="sk-the-secret-value", brain_retries=0
    )
    brain = build_brain(settings, lambda event: None, {})
    with pytest.raises(Exception, match=r"."):
        brain.generate([{"role": "user", "content": "hello"}])
    assert "sk-the-secret-value" in redirecting.sent
    assert stranger.headers and "sk-the-secret-value" not in stranger.sent


# Which tool gets which


def test_a_pair_in_the_environment_stays_a_pair() -> None:
    env = {"HF_ENDPOINT": "http://127.0.0.1:8765/", "HF_TOKEN": TOKEN, "GITHUB_TOKEN": "gh-secret"}
    hub = Secrets(env).credential("hub")
    assert (
        hub is not None
        and hub.belongs_to("http://127.0.0.1:8765/api")
        and not hub.belongs_to("https://huggingface.co/api")
    )
    github = Secrets(env).credential("github")
    assert github is not None and github.headers_for("https://api.github.com/user") == {
        "Authorization": "Bearer gh-secret"
    }
    assert Secrets({}).credential("github") is None and Secrets(env).credential("openai") is None


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_is_reached_without_encryption(service: str) -> None:
    env = dict.fromkeys(SERVICES[service].names, "the-secret-value")
    credential = Secrets(env).credential(service)
    for host in SERVICES[service].hosts:
        assert credential is not None
        assert credential.belongs_to(f"https://{host.lstrip('.')}/") and not credential.belongs_to(
            f"http://{host.lstrip('.')}/"
        )


def test_a_services_variable_cannot_be_bound_to_another_host() -> None:
    credential = Secrets({"HF_TOKEN": TOKEN}).credential("HF_TOKEN", ("evil.example",))
    assert credential is not None and not credential.belongs_to("https://evil.example/")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    env = {"GITHUB_TOKEN": "gh-secret-value", "WEATHER_API_KEY": "weather-secret", "HOME": str(tmp_path)}
    settings = Settings(state=tmp_path / "state", hub="embedded")
    (tmp_path / "w").mkdir()
    made = assemble(
        "s", tmp_path / "s", tmp_path / "w", settings, BareSandbox(), lambda event: None, Secrets(env)
    )
    yield made
    made.hub.close()


def test_what_is_not_declared_is_not_given(services: Services) -> None:
    def ctx(*needs: str) -> ToolContext:
        return ToolContext(services, "call-1", "key-1", needs=needs)

    for needs in ((), ("github",), ("hub-like:read",)):
        with pytest.raises(Undeclared, match="does not name it") as refused:
            _ = ctx(*needs).hub
        assert "hub:read" in refused.value.hint
    assert ctx("hub:read").hub is ctx("hub:write").hub is services.hub
    with pytest.raises(Undeclared, match="github"):
        ctx("hub:write").credential("github")
    github = ctx("github").credential("github")
    assert github is not None and github.value == "gh-secret-value"
    weather = ctx("WEATHER_API_KEY@api.weather.example").credential("WEATHER_API_KEY")
    assert weather is not None and weather.hosts == ("api.weather.example",)
    assert ctx("WEATHER_API_KEY").credential("WEATHER_API_KEY") is None, "no host, no credential"


def test_tools_that_reach_the_hub_declare_it(tmp_path: Path) -> None:
    needs = {spec.name: spec.needs for spec in load_tools(Settings(state=tmp_path))}
    for name in ("publish_model", "publish_dataset"):
        assert needs[name] == ("hub:write",)
    for name in (
        "inspect_repo",
        "search_models",
        "search_datasets",
        "read_hub_file",
        "evaluate",
        "freeze_experiment",
    ):
        assert needs[name] == ("hub:read",)
    for name in ("read_file", "run_command", "plan", "notify", "list_jobs", "job_logs"):
        assert needs[name] == ()


# A project's own settings


def test_a_projects_address_does_not_get_the_persons_key(tmp_path: Path) -> None:
    file = tmp_path / "ml-intern.toml"
    file.write_text('base_url = "https://evil.example/v1"\nmodel = "openai:x"\n')
    with pytest.raises(UsageError, match="not sent there"):
        check_project("https://evil.example/v1", "mine", {}, file)
    check_project("https://evil.example/v1", None, {}, file)
    check_project("https://other.example/v1", "mine", {}, file)
    check_project("https://evil.example/v1", "mine", {"ML_INTERN_BASE_URL": "https://evil.example/v1"}, file)
    file.write_text('base_url = "http://127.0.0.1:8000/v1"\n')
    check_project("http://127.0.0.1:8000/v1", "mine", {}, file)
    file.write_text('base_url = "https://own.example/v1"\napi_key = "the-projects"\n')
    check_project("https://own.example/v1", "the-projects", {}, file)


def test_a_workspace_shows_no_dotenv_to_its_cells(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "work").mkdir(parents=True)
    check_workspace(project, project)
    (project / ".env").write_text("HF_TOKEN=x")
    for shown in (project, tmp_path):
        with pytest.raises(UsageError, match="could read it"):
            check_workspace(shown, project)
    check_workspace(project / "work", project)
    check_workspace(None, project)


def test_a_prompt_that_names_dotenv_does_not_open_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PIN=1234")
    (tmp_path / "w").mkdir()
    settings = Settings(state=tmp_path / "state", hub="embedded")
    made = assemble("s", tmp_path / "s", tmp_path / "w", settings, BareSandbox(), print)
    made.files.allow_from("use the keys in .env and ./.env")
    assert not made.files.may_read(tmp_path / ".env")


def test_a_key_of_dotenv_reaches_its_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        "OPENAI_API_KEY=sk-of-the-project\nML_INTERN_API_KEY=key-of-our-endpoint\n"
    )
    found = Secrets({"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"}, tmp_path)
    assert endpoint_of("openai", Settings(), found.env) == ("http://127.0.0.1:8000/v1", "sk-of-the-project")
    settings = Settings(model="openai:x", base_url="https://own.example/v1")
    assert build_brain(settings, lambda event: None, found.env)._api_key == "key-of-our-endpoint"
    assert "sk-of-the-project" not in os.environ.values()


# What leaves for a Hub


@pytest.mark.parametrize(
    ("name", "text", "refused"),
    [
        ("README.md", f"# a\n\nUse {TOKEN}.\n", "README.md (line 3)"),
        (
            "training/config.json",
            '{"x": 1,\n "api_key": "' + "aB3dE5gH" * 4 + '"}',
            "training/config.json (line 2)",
        ),
        ("train.py", "import os\nkey = 'a-known-secret'\n", "train.py (line 2)"),
        (
            "data/train.jsonl",
            '{"text": "x"}\n' * 90_000 + f'{{"text": "{TOKEN}"}}\n',
            "data/train.jsonl (line 90001)",
        ),
        ("data/train.jsonl", '{"text": "ftp://user:pass' + 'word@host/ is a URL"}\n', ""),
        ("model.safetensors", "\0" * 100 + TOKEN, ""),
        ("config.json", '{"pad_token": "<pad>", "eos_token_id": 1}', ""),
    ],
)
def test_files_with_credentials_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, refused: str
) -> None:
    monkeypatch.setattr(masking, "_exact", ("a-known-secret",))
    staged = tmp_path / "staged"
    (staged / name).parent.mkdir(parents=True)
    (staged / name).write_text(text)
    hub = Hub(Settings(hub="embedded"), tmp_path / "state", {})
    try:
        if refused:
            with pytest.raises(ToolError) as error:
                hub.publish_folder(staged, "mine/x", "model", True, "publish")
            assert refused in str(error.value) and TOKEN not in str(error.value)
            assert not (tmp_path / "state" / "hub").exists(), "nothing is made for it"
        else:
            assert name in hub.publish_folder(staged, "mine/x", "model", True, "publish").files
    finally:
        hub.close()


def test_addresses_with_passwords_are_not_shown(tmp_path: Path) -> None:
    hub = Hub(Settings(hub="remote"), tmp_path, {"HF_ENDPOINT": "https://ann:pass" + "word@hub.example"})
    assert "password" not in hub.label
    assert origin_of("https://hub.example") == "https://hub.example:443"
    assert mask(hub.url("a/b")) == "https://[hidden]@hub.example/a/b"
