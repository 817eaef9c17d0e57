"""Whatever is sent, the server answers in its own words: no crash, and nothing outside of its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_intern.hub.server import ServerThread

NASTY = st.sampled_from(
    [
        *(
            "",
            ".",
            "..",
            "main",
            "local",
            "m",
            "m.git",
            "a.txt",
            "models",
            "datasets",
            "api",
            "lfs",
            "resolve",
        ),
        *("0", "-1", "999999", "%00", "%2e%2e", "%2F", "%252e", "refs%2Fpr%2F1", "refs%2Fheads%2Fmain", "é"),
        *("f" * 40, "f" * 64, "a" * 300, "\ud800"),
    ]
)
SEGMENT = st.one_of(NASTY, st.text(max_size=12)).map(lambda t: quote(t, safe="%", errors="replace"))
TEMPLATES = [
    "/api/models",
    "/api/models/{}/{}",
    "/api/models/local/m",
    "/api/models/local/m/revision/{}",
    "/api/models/local/m/tree/{}/{}",
    "/api/models/local/m/paths-info/{}",
    "/api/models/local/m/commit/{}",
    "/api/models/local/m/preupload/{}",
    "/api/models/local/m/branch/{}",
    "/api/models/local/m/tag/{}",
    "/api/models/local/m/super-squash/{}",
    "/api/models/local/m/discussions/{}",
    "/api/models/local/m/discussions/1/{}",
    "/api/models/local/m/discussions/1/comment/{}/edit",
    "/api/models/local/m/settings",
    "/api/collections",
    "/api/collections/{}/{}",
    "/api/collections/local/{}/items",
    "/api/collections/local/{}/items/{}",
    "/api/repos/create",
    "/api/repos/delete",
    "/api/repos/move",
    "/api/validate-yaml",
    "/lfs/{}",
    "/lfs/verify",
    "/local/m.git/info/lfs/objects/batch",
    "/local/m/resolve/{}/{}",
    "/local/m/raw/main/{}",
    "/local/m/tree/{}",
    "/datasets/{}/{}/resolve/main/{}",
    "/{}",
    "/{}/{}",
    "/{}/{}/{}",
    "/{}/{}/{}/{}",
]
KEYS = st.sampled_from(
    [
        "name",
        "organization",
        "type",
        "files",
        "objects",
        "operation",
        "oid",
        "size",
        "path",
        "sample",
        "tag",
        "title",
        "fromRepo",
        "toRepo",
        "gated",
        "startingPoint",
        "content",
        "status",
        "private",
        "visibility",
        "pullRequest",
        "namespace",
        "item",
        "position",
        "message",
        "comment",
        "description",
    ]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), NASTY),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
BODY = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=5).map(lambda d: json.dumps(d).encode()),
    VALUES.map(lambda v: json.dumps(v).encode()),
    st.binary(max_size=60),
)


SETTINGS = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Wire:
    """Sends what it is given as it is, which no proper client would."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


@pytest.fixture
def wire(server: ServerThread) -> Iterator[Wire]:
    made = Wire(server.port)
    made.send("POST", "/api/repos/create", b'{"name": "m"}')
    made.send("POST", "/api/models/local/m/discussions", b'{"title": "hello"}')
    card = {"path": "README.md", "content": "---\nvalue: .nan\nother: .inf\ndate: 2026-01-01\n---\n"}
    lines = [{"key": "header", "value": {"summary": "s"}}, {"key": "file", "value": card}]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert made.send("POST", "/api/models/local/m/commit/main", body) == 200
    assert made.send("GET", "/api/models/local/m") == 200
    yield made
    made.connection.close()


@SETTINGS
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]), st.sampled_from(TEMPLATES), st.data()
)
def test_any_request_gets_an_answer(wire: Wire, method: str, template: str, data: st.DataObject) -> None:
    path = template.format(*[data.draw(SEGMENT) for _ in range(template.count("{}"))])
    keys = st.sampled_from(["cursor", "limit", "recursive", "expand", "p", "size", "create_pr"])
    query = urlencode(data.draw(st.dictionaries(keys, NASTY, max_size=3)), errors="replace")
    body = b"" if method in ("GET", "HEAD") else data.draw(BODY)
    span = data.draw(
        st.sampled_from(["bytes=0-", "bytes=-1", "bytes=5-2", "x", "bytes=a-b", "bytes=0-0,2-3"])
    )
    assert wire.send(method, f"{path}?{query}", body, Range=span) < 500


@pytest.mark.thorough
@SETTINGS
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["header", "file", "lfsFile", "deletedFile", "deletedFolder", "x"]),
            st.one_of(VALUES, st.fixed_dictionaries({"summary": VALUES, "path": NASTY, "content": VALUES})),
        ),
        max_size=4,
    )
)
def test_any_commit_gets_an_answer(wire: Wire, root: Path, items: list[tuple[str, object]]) -> None:
    lines = [json.dumps({"key": key, "value": value}) for key, value in items]
    assert wire.send("POST", "/api/models/local/m/commit/main", "\n".join(lines).encode()) < 500
    assert {p.name for p in root.iterdir()} <= {"objects", "tmp", "repos", "locks", "trash", "secret"}
    assert list((root / "tmp").iterdir()) == []
