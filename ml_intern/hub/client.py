"""The Hub of a session: the embedded one, or a remote one that the environment names.

Everything goes through huggingface_hub. A token goes to the endpoint it was given for and nowhere else: the
embedded Hub never sees a real one, and a stored login is for huggingface.co alone.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlparse

from ml_intern.errors import ToolError, UsageError
from ml_intern.hub.errors import explain, missing_token
from ml_intern.hub.guard import guard_library, keep_token
from ml_intern.hub.library import LIBRARY, bypass_proxies
from ml_intern.hub.names import PREFIXES, Kind, repo_name_problem
from ml_intern.hub.plain import without_links
from ml_intern.hub.scanning import refuse_credentials
from ml_intern.hub.server import ServerThread, is_loopback
from ml_intern.hub.target import check_account, check_visibility
from ml_intern.secrets.masking import add_secret, mask
from ml_intern.secrets.tokens import hub_token

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from ml_intern.settings import Settings

OFFICIAL = "https://huggingface.co"
NOBODY = "local"
"""The user of an embedded Hub, and what stands in for a token where any is accepted."""

MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.md", "*.tiktoken")
DATA_FILES = tuple(
    f"*.{s}" for s in ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "txt", "md", "gz", "zst")
)
# What an earlier version of a model may have left behind and from_pretrained would still pick up.
REPLACED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.bin.index.json",
    "adapter_*",
    "tokenizer*",
    "chat_template*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
)


def _again(storage: Path, port: int) -> ServerThread:
    """A Hub that has died starts anew; addresses that were told stay right where its port is still free."""
    try:
        return ServerThread(storage, port)
    except UsageError:
        return ServerThread(storage)


@dataclass(frozen=True)
class PublishResult:
    """A commit on a Hub. `files` are paths in the repository; `private` is how the repository stands."""

    repo: str
    url: str
    commit: str
    files: list[str]
    private: bool


class Hub:
    """The one way to a Hub. Thread-safe; the embedded server starts when it is first needed.

    Args:
        settings: Says which Hub and which port.
        state: Folder of the intern's state; the embedded Hub's storage is ``hub`` in it.
        env: Where ``HF_ENDPOINT`` and ``HF_TOKEN`` are read from, and where a saved token is.
    """

    def __init__(self, settings: Settings, state: Path, env: Mapping[str, str] = os.environ) -> None:
        wanted = bool(env.get("HF_ENDPOINT") or hub_token(env))
        self.embedded = settings.hub == "embedded" or (settings.hub == "auto" and not wanted)
        self.storage = state / "hub"
        self._state = state
        self._port = settings.hub_port
        self._remote = (env.get("HF_ENDPOINT") or OFFICIAL).rstrip("/")
        self._env = env
        # Only this one may belong to another Hub than huggingface.co: it stands beside HF_ENDPOINT.
        self._given = env.get("HF_TOKEN", "").strip() or None
        self._server: ServerThread | None = None
        self._lock = threading.RLock()

    @property
    def label(self) -> str:
        """Which Hub this is, in words."""
        return f"the embedded Hub in {self.storage}" if self.embedded else mask(self._remote)

    @property
    def official(self) -> bool:
        """Whether this is huggingface.co."""
        return not self.embedded and self._remote == OFFICIAL

    @property
    def endpoint(self) -> str:
        """The Hub's address."""
        if not self.embedded:
            return self._remote
        with self._lock:
            if self._server is None:
                self._server = ServerThread(self.storage, self._port)
                bypass_proxies()
            elif not self._server.alive:
                self._server = _again(self.storage, self._server.port)
            return self._server.endpoint

    @property
    def token(self) -> str | None:
        """The token for this Hub's address; None for an anonymous reader."""
        host = urlparse(self._remote).hostname or ""
        if self.embedded or (is_loopback(host) and not self._given):
            return NOBODY
        found = self._given or (hub_token(self._env) if self.official else "")
        if found:
            add_secret(found)
            keep_token(found, self._remote, official=self.official)
        return found or None

    @property
    def cache(self) -> Path:
        """Where downloads are kept; apart for each Hub, since the same name may hold different files."""
        name = (
            "embedded" if self.embedded else re.sub(r"[^A-Za-z0-9.-]+", "-", self._remote.partition("://")[2])
        )
        return self._state / "cache" / "hub" / name

    @property
    def api(self) -> HfApi:
        """The client. Run its calls inside `reach`."""
        from huggingface_hub import HfApi

        guard_library()
        return HfApi(endpoint=self.endpoint, token=self.token or False, library_name="ml-intern")

    @property
    def user(self) -> str:
        """The namespace that is the user's own.

        Raises:
            ToolError: There is no token.
        """
        if self.embedded:
            return NOBODY
        if self.token is None:
            raise missing_token(self._remote)
        with self.reach("the token"):
            return str(self.api.whoami()["name"])

    def full_name(self, repo: str) -> str:
        """``namespace/name``, the user's own namespace where none is given.

        Raises:
            ToolError: The name is not one that a Hub accepts.
        """
        repo = repo.strip().removeprefix(f"{self._remote}/").removeprefix("hf://")
        if problem := repo_name_problem(repo):
            raise ToolError(problem)
        return repo if "/" in repo else f"{self.user}/{repo}"

    def url(self, repo: str, kind: Kind = "model") -> str:
        """The page of a repository."""
        return f"{self.endpoint}/{PREFIXES[kind]}{repo}"

    def environment(self) -> dict[str, str]:
        """What makes a fresh process of any Hugging Face library use this Hub."""
        found = {"HF_ENDPOINT": self.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1"}
        if not self.official:
            found["HF_HUB_DISABLE_XET"] = "1"
        return {**found, "HF_TOKEN": self.token} if self.token else found

    def check_target(self, repo: str, repo_type: Kind, private: bool, proposed: bool = False) -> str:
        """Whether an upload would be taken, as far as reading can tell; nothing is changed. The full name.

        Args:
            repo: ``namespace/name``, or ``name`` for the user's own namespace.
            repo_type: model, dataset or space.
            private: Whether only the owner may see what is uploaded.
            proposed: It is a pull request, which may go to a namespace of others.

        Raises:
            ToolError: The name, the rights or the repository's visibility stand in the way.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        repo = self.full_name(repo)
        if not self.embedded:
            self._check_rights(repo, proposed)
        with self.reach(repo):
            try:
                check_visibility(repo, self.api.repo_info(repo, repo_type=repo_type), private)
            except RepositoryNotFoundError:
                pass  # a new one
        return repo

    def publish_folder(
        self,
        folder: Path,
        repo: str,
        repo_type: Kind,
        private: bool,
        message: str,
        description: str = "",
        replace: Sequence[str] = (),
    ) -> PublishResult:
        """Upload a folder as one commit, so that readers see all of it or nothing.

        Args:
            folder: What to upload; every file in it.
            repo: ``namespace/name``, or ``name`` for the user's own namespace.
            repo_type: model, dataset or space.
            private: For a new repository: who may read. An existing public one is refused when this is true.
            message: First line of the commit.
            description: The rest of it.
            replace: Patterns of older files that go in the same commit.

        Raises:
            ToolError: The name, the rights or the repository's visibility stand in the way, or a file has a
                credential in it.
        """
        refuse_credentials(folder)
        repo = self.full_name(repo)
        with self.reach(repo):
            made = self.make(repo, repo_type, private)
            try:
                commit = self.api.upload_folder(
                    repo_id=repo,
                    repo_type=repo_type,
                    folder_path=folder,
                    commit_message=message,
                    commit_description=description,
                    delete_patterns=list(replace) or None,
                )
            except BaseException:
                if made:
                    self.drop_empty(repo, repo_type)
                raise
            info = self.api.repo_info(repo, repo_type=repo_type, revision=commit.oid)
            files = sorted(self.api.list_repo_files(repo, repo_type=repo_type, revision=commit.oid))
            return PublishResult(repo, self.url(repo, repo_type), commit.oid, files, bool(info.private))

    def find_commit(self, repo: str, repo_type: Kind, words: str, revision: str | None = None) -> str | None:
        """The commit whose description holds some words; None when there is none or no such repository."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            with self.reach(repo):
                commits = self.api.list_repo_commits(repo, repo_type=repo_type, revision=revision)
        except (ToolError, RepositoryNotFoundError):
            return None
        return next((c.commit_id for c in commits if words in c.message), None)

    def download_model(self, ref: str) -> Path:
        """A local folder with a model's files. `ref` is ``namespace/name`` or ``namespace/name@revision``."""
        return self._download(ref, "model", MODEL_FILES)

    def download_dataset(self, ref: str) -> Path:
        """A local folder with a dataset's files: data only, no scripts. A final ``:split`` is left aside."""
        return self._download(ref.rpartition(":")[0] if ":" in ref else ref, "dataset", DATA_FILES)

    def close(self) -> None:
        """Stop the embedded server, if it runs. The next use starts it again."""
        with self._lock:
            if self._server is not None:
                self._server.stop()
                self._server = None

    @contextmanager
    def reach(self, what: str = "the Hub") -> Iterator[None]:
        """Run calls to this Hub: the client is set up for it, and final errors come as one line.

        Errors that may pass (timeouts, rate limits, server errors) stay as they are, for the router to retry.
        """
        with LIBRARY.set_up(embedded=self.embedded, official=self.official):
            try:
                yield
            except ToolError:
                raise
            except Exception as error:
                told = explain(error, what, self.label, self.embedded)
                if told is None:
                    raise
                raise told from error

    def make(self, repo: str, kind: Kind, private: bool, space_sdk: str | None = None) -> bool:
        """Make the repository, or check the one that exists; True when it is new. Run it inside `reach`."""
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        try:
            found = self.api.repo_info(repo, repo_type=kind)
        except RepositoryNotFoundError:
            try:
                self.api.create_repo(repo, repo_type=kind, private=private, space_sdk=space_sdk)
            except HfHubHTTPError as error:
                if error.response.status_code != 409:
                    raise
                return self.make(repo, kind, private)  # made by another process in between
            return True
        check_visibility(repo, found, private)
        return False

    def _check_rights(self, repo: str, proposed: bool) -> None:
        from huggingface_hub.errors import HfHubHTTPError

        if self.token is None:
            raise missing_token(self._remote)
        with self.reach("the token"):
            try:
                account = self.api.whoami()
            except HfHubHTTPError as error:
                if error.response.status_code != 404:
                    raise
                return  # a Hub that cannot say who we are
        check_account(repo, account, official=self.official and not proposed)

    def drop_empty(self, repo: str, kind: Kind) -> None:
        """An upload failed: a repository that was made for it and holds nothing goes as well."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            if set(self.api.list_repo_files(repo, repo_type=kind)) <= {".gitattributes"}:
                self.api.delete_repo(repo, repo_type=kind)
        except (HfHubHTTPError, OSError):
            return

    def _download(self, ref: str, kind: Literal["model", "dataset"], patterns: Sequence[str]) -> Path:
        repo, _, revision = ref.partition("@")
        if problem := repo_name_problem(repo):
            raise ToolError(problem)
        repo = self.full_name(repo) if self.embedded else repo
        with self.reach(f"{kind} {repo!r}"):
            folder = self.api.snapshot_download(
                repo,
                repo_type=kind,
                revision=revision or None,
                cache_dir=self.cache,
                allow_patterns=list(patterns),
            )
        return without_links(Path(folder))
