"""From an HTTP request to a handler and back: addresses, who asks, errors as clients expect them."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from starlette.responses import JSONResponse, Response

from ml_intern.hub.names import Kind, Problem, RepoName

if TYPE_CHECKING:
    from starlette.requests import Request

    from ml_intern.hub.repository import Repo
    from ml_intern.hub.storage import Storage

STATUS = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "RepoNotFound": 404,
    "RevisionNotFound": 404,
    "EntryNotFound": 404,
    "NotFound": 404,
    "Conflict": 409,
    "StaleParent": 412,
    "TooLarge": 413,
    "Failed": 500,
    "NoSpace": 507,
}
_NAMED = {"RepoNotFound", "RevisionNotFound", "EntryNotFound"}
_KIND_OF: dict[str, Kind] = {"models": "model", "datasets": "dataset", "spaces": "space"}
PAGE = 1000


@dataclass(frozen=True)
class Access:
    """Who may do what.

    Attributes:
        user: The name of the one user of this Hub.
        token: What a request must carry; None trusts whoever reaches the address, with any token or none.
    """

    user: str = "local"
    token: str | None = None

    def who(self, authorization: str) -> str | None:
        """The user behind a header; None for an anonymous reader.

        Raises:
            Problem: ``Unauthorized`` for a wrong token.
        """
        if self.token is None:
            return self.user
        scheme, _, given = authorization.strip().partition(" ")
        given = given.strip()
        if not given and scheme.lower() in ("", "bearer"):
            return None
        if scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self.token.encode()):
            return self.user
        raise Problem("Unauthorized", "Invalid credentials in Authorization header")


@dataclass
class Call:
    """A request as handlers see it.

    Attributes:
        path: What stood in the address, by the names in the route.
        query: Query parameters, each with all its values.
        user: Who asks; None for an anonymous reader.
        base: The server's own address, without a final slash.
    """

    storage: Storage
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    user: str | None
    base: str
    headers: Mapping[str, str]
    body: bytes = b""
    url: str = ""

    def one(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.query.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        """A query parameter that is yes or no."""
        return self.one(name).lower() in ("1", "true", "yes")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        found = read_json(self.body or b"{}", "The body is not JSON.")
        if not isinstance(found, dict):
            raise Problem("BadRequest", "The body is not a JSON object.")
        return whole(found)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A list of objects in the body."""
        found = self.json().get(name, [])
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Problem("BadRequest", f"{name!r} is not a list of objects.")
        return found

    def need_user(self) -> str:
        """Who asks; anonymous readers are turned away."""
        if self.user is None:
            raise Problem("Unauthorized", "A token is needed for this.")
        return self.user

    @property
    def name(self) -> RepoName:
        """The repository in the address."""
        kind: Kind = _KIND_OF.get(self.path.get("kinds", "models"), "model")
        return RepoName.of(kind, self.path["ns"], self.path["name"].removesuffix(".git"))

    def repo(self, *, write: bool = False) -> Repo:
        """The repository in the address, if the user may see it."""
        if write:
            self.need_user()
        try:
            repo = self.storage.get(self.name)
        except Problem as problem:
            # A name that cannot be stored does not exist; clients know how to handle that.
            raise Problem("RepoNotFound", problem.message) from None
        if repo.settings.get("private") and self.user is None:
            raise Problem("RepoNotFound", f"There is no {repo.name.kind} {repo.name.id}.")
        return repo

    def page(self, rows: list[Any], size: int = PAGE) -> Response:
        """One page of rows, with a link to the next."""
        start = number(self.one("cursor"), 0)
        headers = {}
        if start + size < len(rows):
            query = [(k, v) for k, values in self.query.items() if k != "cursor" for v in values]
            following = urlencode([*query, ("cursor", str(start + size))])
            headers["Link"] = f'<{self.url}?{following}>; rel="next"'
        return JSONResponse(rows[start : start + size], headers=headers)


Handler = Callable[[Call], Response]
StreamHandler = Callable[[Call, AsyncIterator[bytes]], Awaitable[Response]]


@dataclass(frozen=True)
class Entrance:
    """A handler and its address. One that streams reads the body itself: it may be larger than memory."""

    method: str
    segments: list[str]
    handler: Handler | None = None
    streams: StreamHandler | None = None


class Routes:
    """A table of addresses. ``{x}`` takes one segment, ``{x*}`` what is left; ``%2F`` splits none."""

    def __init__(self) -> None:
        self._rows: list[Entrance] = []

    def add(self, where: str) -> Callable[[Handler], Handler]:
        """Declare the handler of ``METHOD /address``."""

        def declare(handler: Handler) -> Handler:
            self._rows.append(Entrance(*_address(where), handler=handler))
            return handler

        return declare

    def stream(self, where: str) -> Callable[[StreamHandler], StreamHandler]:
        """Declare a handler that reads the body as it comes."""

        def declare(handler: StreamHandler) -> StreamHandler:
            self._rows.append(Entrance(*_address(where), streams=handler))
            return handler

        return declare

    def find(self, method: str, raw_path: str) -> tuple[Entrance, dict[str, str]] | None:
        """Where a request goes, and the names in its address."""
        segments = [unquote(s) for s in raw_path.strip("/").split("/")]
        for row in self._rows:
            if row.method == method or (row.method == "GET" and method == "HEAD"):
                found = _match(row.segments, segments)
                if found is not None:
                    return row, found
        return None


def problem_response(problem: Problem) -> Response:
    """An error as huggingface_hub reads it."""
    status = STATUS[problem.code]
    message = re.sub(r"[^\x20-\x7e]", "?", problem.message)
    headers = {"X-Error-Message": message}
    if problem.code in _NAMED:
        headers["X-Error-Code"] = problem.code
    if problem.commit:
        headers["X-Repo-Commit"] = problem.commit
    return JSONResponse({"error": problem.message}, status, headers)


def number(text: str, default: int) -> int:
    """A whole number of a query, not below zero."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else default


def read_json(data: bytes, otherwise: str) -> Any:
    """What a client sent as JSON.

    Raises:
        Problem: ``BadRequest`` with the words in `otherwise`, or because it is nested too deeply.
    """
    try:
        return json.loads(data)
    except ValueError:
        raise Problem("BadRequest", otherwise) from None
    except RecursionError:
        raise Problem("BadRequest", "The JSON is nested too deeply.") from None


def whole(found: dict[str, Any]) -> dict[str, Any]:
    """What a client sent, if it can be written and sent back: no half characters, no NaN.

    Raises:
        Problem: ``BadRequest``.
    """
    try:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Problem("BadRequest", "The body holds what UTF-8 or JSON cannot carry.") from None
    return found


def size_of(row: Mapping[str, Any]) -> int:
    """The ``size`` of a file that a client announces."""
    size = row.get("size", 0)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**53:
        raise Problem("BadRequest", f"{size!r} is not a size in bytes.")
    return size


def open_request(request: Request, storage: Storage, access: Access, path: Mapping[str, str]) -> Call:
    """A request as a `Call`, without its body."""
    query: dict[str, list[str]] = {}
    for key, value in request.query_params.multi_items():
        query.setdefault(key, []).append(value)
    base = str(request.base_url).rstrip("/")
    return Call(
        storage=storage,
        path=path,
        query=query,
        user=access.who(request.headers.get("authorization", "")),
        base=base,
        headers=request.headers,
        url=base + raw_path(request),
    )


def raw_path(request: Request) -> str:
    """The path as it was sent, still quoted."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("latin-1").partition("?")[0]


def _address(where: str) -> tuple[str, list[str]]:
    method, _, address = where.partition(" ")
    return method, address.strip("/").split("/")


def _match(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    rest = pattern[-1].endswith("*}")
    if len(segments) < len(pattern) - rest or (len(segments) > len(pattern) and not rest):
        return None
    found: dict[str, str] = {}
    for i, want in enumerate(pattern):
        if want.endswith("*}"):
            found[want[1:-2]] = "/".join(segments[i:])
        elif want == "{kinds}":
            if segments[i] not in _KIND_OF:
                return None
            found["kinds"] = segments[i]
        elif want.startswith("{"):
            found[want[1:-1]] = segments[i]
        elif want != segments[i]:
            return None
    return found
