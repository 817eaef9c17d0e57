from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from ml_intern.errors import UsageError
from ml_intern.hub.server import ServerThread, build_app, is_loopback, listen, serve

TEXT = b"0123456789" * 100


@pytest.fixture
def http(server: ServerThread) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.endpoint, trust_env=False) as client:
        yield client


@pytest.fixture
def repo(api: HfApi) -> str:
    api.create_repo("local/wire")
    api.upload_file(path_or_fileobj=TEXT, path_in_repo="a.txt", repo_id="local/wire")
    api.upload_file(path_or_fileobj=TEXT, path_in_repo="a.bin", repo_id="local/wire")
    return "local/wire"


def test_head_tells_what_a_cache_needs(http: httpx.Client, repo: str, api: HfApi) -> None:
    text, large = (http.head(f"/{repo}/resolve/main/{name}") for name in ("a.txt", "a.bin"))
    sha = api.model_info(repo).sha
    assert text.headers["x-repo-commit"] == large.headers["x-repo-commit"] == sha
    assert text.headers["etag"].strip('"') == hashlib.sha1(b"blob 1000\0" + TEXT).hexdigest()
    assert large.headers["etag"].strip('"') == hashlib.sha256(TEXT).hexdigest()
    assert large.headers["x-linked-etag"] == large.headers["etag"]
    assert large.headers["x-linked-size"] == large.headers["content-length"] == "1000"
    assert text.content == b"" and "x-linked-etag" not in text.headers


@pytest.mark.parametrize("name", ["a.txt", "a.bin"])
def test_ranges(http: httpx.Client, repo: str, name: str) -> None:
    def ask(span: str) -> httpx.Response:
        return http.get(f"/{repo}/resolve/main/{name}", headers={"Range": f"bytes={span}"})

    assert http.get(f"/{repo}/resolve/main/{name}").content == TEXT
    part = ask("5-9")
    assert (part.status_code, part.content) == (206, b"56789")
    assert part.headers["content-range"] == "bytes 5-9/1000"
    assert ask("995-").content == b"56789"
    assert ask("-3").content == b"789"
    assert ask("2000-").status_code == 416


def test_what_is_missing_has_its_code(http: httpx.Client, repo: str) -> None:
    asked = {
        f"/{repo}/resolve/main/none": "EntryNotFound",
        f"/{repo}/resolve/none/a.txt": "RevisionNotFound",
        "/local/none/resolve/main/a.txt": "RepoNotFound",
        "/api/models/local/none": "RepoNotFound",
        f"/api/models/{repo}/revision/none": "RevisionNotFound",
        f"/api/models/{repo}/tree/main/none": "EntryNotFound",
    }
    found = {path: http.get(path) for path in asked}
    assert {p: r.headers.get("x-error-code") for p, r in found.items()} == asked
    assert {r.status_code for r in found.values()} == {404}
    assert all(r.headers["x-error-message"] for r in found.values())
    missing = http.head(f"/{repo}/resolve/main/none")
    assert len(missing.headers["x-repo-commit"]) == 40


def test_the_list_of_agents_is_not_served(http: httpx.Client) -> None:
    assert http.get("/api/agent-harnesses").status_code == 404
    assert http.get("/api/nothing/of/the/kind").status_code == 404
    assert http.put("/api/models").status_code == 404


@pytest.mark.parametrize(
    "name",
    ["../x", "..", "a/../../b", ".hidden", "a..b", "a--b", "x.git", "-a", "a b", "é", "a/b/c", "", "n" * 97],
)
def test_names_that_could_be_paths_are_refused(http: httpx.Client, root: Path, name: str) -> None:
    for body in ({"name": name}, {"name": "ok", "organization": name}):
        if body.get("organization") == "":
            continue
        answer = http.post("/api/repos/create", json=body)
        assert answer.status_code == 400, answer.text
    assert list((root / "repos").rglob("repo.json")) == []


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "%2e%2e%2f%2e%2e%2fsecret", "..%2Fsecret", "/etc/passwd", "a.txt/../../x", "\x00"],
)
def test_paths_lead_nowhere_else(http: httpx.Client, repo: str, path: str) -> None:
    for place in (f"/{repo}/resolve/main/", f"/api/models/{repo}/tree/main/", "/lfs/"):
        assert http.get(place + path.replace("\x00", "%00")).status_code in (400, 404)


@pytest.mark.parametrize(
    "path", ["../a", "a/../../b", "/abs", "a//b", "", ".git/config", "a/./b", "a\\b", "a\nb"]
)
def test_a_commit_cannot_hold_paths_that_escape(http: httpx.Client, repo: str, api: HfApi, path: str) -> None:
    before = api.list_repo_files(repo)
    lines = [
        {"key": "header", "value": {"summary": "s"}},
        {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}},
    ]
    answer = _commit(http, repo, lines)
    assert answer.status_code == 400
    assert api.list_repo_files(repo) == before


HEAD = {"key": "header", "value": {"summary": "s"}}
FILE = {"path": "x", "content": "eA==", "encoding": "base64"}


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"key": "file", "value": FILE}],
        [HEAD, {"key": "strange", "value": {"path": "x"}}],
        [HEAD, {"key": "lfsFile", "value": {"path": "x", "oid": "0" * 64}}],
        [HEAD, {"key": "lfsFile", "value": {"path": "x", "oid": "../x"}}],
        [HEAD, {"key": "file", "value": {**FILE, "content": "%"}}],
        [{"key": "header"}],
        [["header"]],
    ],
)
def test_a_broken_commit_changes_nothing(
    http: httpx.Client, repo: str, api: HfApi, lines: list[object]
) -> None:
    before = api.model_info(repo).sha
    assert _commit(http, repo, lines).status_code == 400
    assert api.model_info(repo).sha == before


def test_a_large_upload_must_be_what_was_announced(http: httpx.Client, repo: str, root: Path) -> None:
    data = b"large file"
    oid = hashlib.sha256(data).hexdigest()

    def href() -> str:
        body = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
        answer = http.post(f"/{repo}.git/info/lfs/objects/batch", json=body).json()
        return str(answer["objects"][0]["actions"]["upload"]["href"])

    assert http.put(href(), content=b"large FILE").status_code == 400
    assert http.put(href(), content=data + b"more").status_code == 400
    assert http.put(href(), content=data[:-1]).status_code == 400
    assert http.put(href().replace("sig=", "sig=0"), content=data).status_code == 403
    assert http.put(href().replace("size=10", "size=11"), content=data + b"x").status_code == 403
    assert http.put(f"/lfs/{oid}", content=data).status_code == 403
    assert list((root / "tmp").iterdir()) == []
    assert http.put(href(), content=data).status_code == 200
    assert http.post("/lfs/verify", json={"oid": oid, "size": len(data)}).status_code == 200
    assert http.post("/lfs/verify", json={"oid": oid, "size": 3}).status_code == 400
    body = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
    assert "actions" not in http.post(f"/{repo}.git/info/lfs/objects/batch", json=body).json()["objects"][0]


def test_front_matter_is_checked(http: httpx.Client) -> None:
    def check(content: str) -> httpx.Response:
        return http.post("/api/validate-yaml", json={"content": content, "repoType": "model"})

    assert check("---\nlicense: mit\n---\n").json() == {"errors": [], "warnings": []}
    assert check("# no head").json()["warnings"]
    broken = check("---\na: [1\n---\n")
    assert broken.status_code == 400 and broken.json()["errors"]


def test_pages_for_people_show_cards_and_run_nothing(http: httpx.Client, repo: str, api: HfApi) -> None:
    card = b"---\nlicense: mit\n---\n# Hello\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n<script>alert(1)</script>"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo)
    page = http.get(f"/{repo}")
    assert page.status_code == 200 and "<h1>Hello</h1>" in page.text and "<td>1</td>" in page.text
    assert "<script>" not in page.text and "default-src 'none'" in page.headers["content-security-policy"]
    assert repo in http.get("/").text
    assert http.get("/local/none").status_code == 404
    raw = http.get(f"/{repo}/resolve/main/README.md")
    assert (
        raw.headers["content-type"].startswith("text/plain")
        and "sandbox" in raw.headers["content-security-policy"]
    )


def test_a_web_page_cannot_reach_an_open_hub(http: httpx.Client, repo: str) -> None:
    assert http.get("/api/models", headers={"Host": "evil.example"}).status_code == 403
    assert http.get("/api/models", headers={"Host": "127.0.0.1.evil.example:80"}).status_code == 403
    assert (
        http.post(
            "/api/repos/create", json={"name": "x"}, headers={"Origin": "https://evil.example"}
        ).status_code
        == 403
    )
    assert http.get("/api/models", headers={"Host": "localhost:1234"}).status_code == 200


class TestWithAToken:
    @pytest.fixture
    def endpoint(self, root: Path) -> Iterator[str]:
        running = ServerThread(root, token="secret", user="ada")
        yield running.endpoint
        running.stop()

    def test_the_token_names_the_user(self, endpoint: str) -> None:
        assert HfApi(endpoint=endpoint, token="secret").whoami()["name"] == "ada"
        with pytest.raises(HfHubHTTPError):
            HfApi(endpoint=endpoint, token="wrong").whoami()

    def test_an_empty_bearer_is_nobody(self, endpoint: str) -> None:
        def make(authorization: str) -> int:
            asking = HTTPConnection(endpoint.removeprefix("http://"))  # httpx sends no empty bearer
            asking.request("POST", "/api/repos/create", '{"name": "x"}', {"Authorization": authorization})
            return asking.getresponse().status

        for given in ("Bearer ", "Bearer", "", "bearer   ", "Basic ", "Bearer wrong"):
            assert make(given) == 401, given
        assert make("Bearer secret") == 200

    def test_strangers_read_what_is_public_and_write_nothing(self, endpoint: str, tmp_path: Path) -> None:
        owner, stranger = HfApi(endpoint=endpoint, token="secret"), HfApi(endpoint=endpoint, token=False)
        owner.create_repo("open")
        owner.create_repo("shy", private=True)
        for repo in ("ada/open", "ada/shy"):
            owner.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=repo)
        assert Path(stranger.hf_hub_download("ada/open", "a.txt", cache_dir=tmp_path)).read_bytes() == b"x"
        for ask in (
            lambda: stranger.model_info("ada/shy"),
            lambda: stranger.hf_hub_download("ada/shy", "a.txt", cache_dir=tmp_path),
            lambda: stranger.list_repo_refs("ada/shy"),
            lambda: stranger.get_paths_info("ada/shy", ["a.txt"]),
            lambda: next(iter(stranger.get_repo_discussions("ada/shy"))),
        ):
            with pytest.raises(RepositoryNotFoundError):
                ask()
        assert [m.id for m in stranger.list_models()] == ["ada/open"]
        assert len(list(owner.list_models())) == 2
        assert httpx.get(f"{endpoint}/ada/shy", trust_env=False).status_code == 404
        assert "ada/shy" not in httpx.get(endpoint, trust_env=False).text
        for write in (
            lambda: stranger.create_repo("mine"),
            lambda: stranger.delete_repo("ada/open"),
            lambda: stranger.upload_file(path_or_fileobj=b"y", path_in_repo="a.txt", repo_id="ada/open"),
            lambda: stranger.create_tag("ada/open", tag="v1"),
            lambda: stranger.create_discussion("ada/open", title="hello"),
        ):
            with pytest.raises(HfHubHTTPError):
                write()
        assert owner.repo_exists("ada/open")


def test_an_open_hub_stays_on_loopback(root: Path) -> None:
    with pytest.raises(UsageError, match="token"):
        serve(root, "0.0.0.0", 0)
    hosts = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.1", "hub.example")
    assert [is_loopback(h) for h in hosts] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("token", ["", " ", "\n"])
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_an_empty_token_is_no_token(root: Path, token: str, host: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        serve(root, host, 0, token=token)
    with pytest.raises(UsageError, match="empty"):
        build_app(root, token=token)
    assert not root.exists()


@pytest.mark.parametrize("deep", [b"[" * 200_000, b'{"a":' * 200_000])
def test_deeply_nested_json_is_a_bad_request(http: httpx.Client, repo: str, deep: bytes) -> None:
    for path in (
        "/api/repos/create",
        f"/api/models/{repo}/preupload/main",
        f"/api/models/{repo}/commit/main",
    ):
        answer = http.post(path, content=deep)
        assert (answer.status_code, "deep" in answer.headers["x-error-message"]) == (400, True)


@pytest.mark.thorough
def test_deeply_nested_files_do_not_break_a_repository(http: httpx.Client, repo: str, api: HfApi) -> None:
    deep = b"[" * 50_000
    api.upload_file(path_or_fileobj=deep, path_in_repo="config.json", repo_id=repo)
    assert _commit(
        http, repo, [HEAD, {"key": "file", "value": _file("README.md", b"---\na: " + deep)}]
    ).is_success
    assert api.model_info(repo).id == repo
    card = {"content": "---\na: " + deep.decode() + "\n---\n", "repoType": "model"}
    assert http.post("/api/validate-yaml", json=card).status_code == 400


def test_a_fault_of_the_server_is_told_to_the_client_alone(
    server: ServerThread, root: Path, repo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "repos" / "models" / repo / "refs.json").write_text("not JSON")
    with httpx.Client(base_url=server.endpoint, trust_env=False) as client:
        answer = client.get(f"/api/models/{repo}")
    assert answer.status_code == 500
    assert answer.headers["x-error-message"].startswith("This Hub failed: JSONDecodeError")
    with pytest.raises(HfHubHTTPError, match="This Hub failed"):
        HfApi(endpoint=server.endpoint, token="any").model_info(repo)
    (root / "repos" / "models" / repo / "refs.json").unlink()
    (root / "repos" / "models" / repo / "refs.json").mkdir()
    with httpx.Client(base_url=server.endpoint, trust_env=False) as client:
        assert str(root) not in client.get(f"/api/models/{repo}").headers["x-error-message"]
    assert capfd.readouterr() == ("", "")


def test_a_taken_port_is_told_in_one_line() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="Choose another port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_an_address_of_another_machine_is_told_in_one_line() -> None:
    # 203.0.113.0/24 is for documentation: no machine has it.
    with pytest.raises(UsageError, match=r"cannot listen on 203\.0\.113\.4:0: .* Name an address"):
        listen("203.0.113.4", 0)


def _file(path: str, content: bytes) -> dict[str, str]:
    return {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


def _commit(http: httpx.Client, repo: str, lines: list[object]) -> httpx.Response:
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return http.post(
        f"/api/models/{repo}/commit/main", content=body, headers={"Content-Type": "application/x-ndjson"}
    )
