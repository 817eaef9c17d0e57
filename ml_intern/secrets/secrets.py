"""The one place where credentials come from: the environment, the project's ``.env``, a saved login.

``.env`` is read here, from the project folder only, and its values go nowhere but to the part of the host
that sends them: not into ``os.environ``, so to no child process, no cell and no job. A project may be
somebody else's, so the file gives credentials and never addresses: it cannot lead a key of the person's to a
server of its own. The environment comes first, then ``.env``, then the login that ``hf auth login`` saved.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ml_intern.brains.hosts import is_loopback
from ml_intern.brains.prices import table
from ml_intern.errors import UsageError
from ml_intern.events import Notice
from ml_intern.hub.guard import OFFICIAL_HOSTS
from ml_intern.secrets.credentials import Credential, hosts_of
from ml_intern.secrets.env_file import FILE, read_env_file
from ml_intern.secrets.masking import add_secret, add_secrets_of
from ml_intern.secrets.tokens import hub_token

OWN_KEY = "ML_INTERN_API_KEY"
_CREDENTIAL = re.compile(r"[A-Z][A-Z0-9_]*(_API_KEY|_TOKEN|_ACCESS_KEY|_ACCESS_KEY_ID)")
_ADDRESS = re.compile(
    r"\w*(_URL|_BASE|_ENDPOINT|_HOST|_DOMAIN|_PROXY|_BASE_PATH|_CA_BUNDLE|_CERT_FILE)", re.I
)
_LOOKS_RANDOM = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[^\s/]{20,}")


@dataclass(frozen=True)
class Service:
    """Somebody who gives out credentials.

    Attributes:
        names: Variables that hold one, the first that is set counts.
        hosts: Where it belongs, as `Credential` writes them.
        addresses: Variables that name another address; with the key in one environment they are a pair.
        header: The header that carries it.
        prefix: What stands before it there.
    """

    names: tuple[str, ...]
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    header: str = "Authorization"
    prefix: str = "Bearer "


SERVICES = {
    "hub": Service(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), OFFICIAL_HOSTS, ("HF_ENDPOINT",)),
    "openai": Service(("OPENAI_API_KEY",), (".openai.com",), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "anthropic": Service(
        ("ANTHROPIC_API_KEY",),
        (".anthropic.com",),
        ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
        "x-api-key",
        "",
    ),
    "e2b": Service(
        ("E2B_API_KEY",),
        (".e2b.app", ".e2b.dev"),
        ("E2B_API_URL", "E2B_SANDBOX_URL", "E2B_DOMAIN"),
        "X-API-Key",
        "",
    ),
    "github": Service(
        ("GITHUB_TOKEN", "GH_TOKEN"), ("api.github.com", "raw.githubusercontent.com"), ("GITHUB_API_URL",)
    ),
    "aws": Service(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), (), ("AWS_ENDPOINT_URL",)
    ),
    "semantic-scholar": Service(
        ("SEMANTIC_SCHOLAR_API_KEY", "S2_API_KEY"), ("api.semanticscholar.org",), (), "x-api-key", ""
    ),
    "slack": Service(("SLACK_WEBHOOK_URL",), ("hooks.slack.com", "hooks.slack-gov.com")),
}
"""Services that tools may name in ``needs``; of the others a tool names variable and host itself."""


class Secrets:
    """The credentials of a session.

    Args:
        environment: The person's own: ``os.environ``.
        project: The folder the person stands in; its ``.env`` is read, and no other.
    """

    def __init__(self, environment: Mapping[str, str], project: Path | None = None) -> None:
        self._environment = dict(environment)
        self.notices: list[Notice] = []
        written = self._read(project / FILE) if project else {}
        taken = dict(self._taken(written))
        self.env: Mapping[str, str] = MappingProxyType({**taken, **self._environment})
        """The environment with the credentials of ``.env``; for what makes requests, never for a child."""
        if taken:
            self._tell("info", f"{FILE} of this folder gives {_listed(taken)}.")
        self._tell_ignored(written)
        self._hide(written)

    def credential(self, service: str, hosts: tuple[str, ...] = ()) -> Credential | None:
        """The credential of a service, bound to its hosts; None where there is none.

        Args:
            service: A name in `SERVICES`, or a variable.
            hosts: Where a variable's value belongs.
        """
        known = SERVICES.get(service) or _service_of(service)
        if not known.hosts:
            known = replace(known, hosts=hosts)
        value = next((v for n in known.names if (v := self.env.get(n, "").strip())), "")
        bound = self._bound(known)
        if service == "hub" and not value and bound == known.hosts:
            value = hub_token(self.env)
        if not value or not bound:
            return None
        add_secret(value)
        return Credential(value, bound, known.header, known.prefix)

    def _bound(self, service: Service) -> tuple[str, ...]:
        """Where a service's credential belongs: with an address beside it in the environment, there alone."""
        for name in service.addresses if service.hosts else ():
            if address := self._environment.get(name, "").strip():
                return (f".{address}",) if name.endswith("_DOMAIN") else hosts_of([_url(address)])
        return service.hosts

    def _taken(self, written: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The credentials of the file that count: where the environment says nothing of that service."""
        for name, value in written.items():
            service = _service_of(name)
            usable = value and value.isprintable() and _is_credential(name)
            if not usable or any(n in self._environment for n in service.names):
                continue
            if elsewhere := self._elsewhere(service):
                where = f"{elsewhere} of the environment leads elsewhere"
                self._tell("warning", f"{name} of {FILE} is not used: {where}. Set both in the environment.")
                continue
            yield name, value

    def _elsewhere(self, service: Service) -> str:
        """The variable of the environment by which a service's requests go to a foreign host, if any."""
        for name in service.addresses:
            address = self._environment.get(name, "").strip()
            own = Credential("", service.hosts).belongs_to(_url(address))
            if address and not own and not is_loopback(_url(address)):
                return name
        return ""

    def _tell_ignored(self, written: Mapping[str, str]) -> None:
        ours = {n.partition("_")[0] for s in SERVICES.values() for n in (*s.names, *s.addresses)}
        ours |= {n.partition("_")[0] for n in table()["keys"].values()} | {"HTTP", "HTTPS", "ALL"}
        foreign = [
            n
            for n in written
            if (_ADDRESS.fullmatch(n) and n.partition("_")[0].upper() in ours and not _is_credential(n))
            or (n.startswith("ML_INTERN_") and n != OWN_KEY)
        ]
        if foreign:
            told = f"{FILE} gives keys only: {_listed(foreign)} in it is ignored."
            self._tell("warning", f"{told} Set it in the environment or in ml-intern.toml.")

    def _hide(self, written: Mapping[str, str]) -> None:
        """From here on none of these values is shown."""
        add_secrets_of(self._environment)
        add_secrets_of(written)
        for name, value in written.items():
            if _is_credential(name) or _LOOKS_RANDOM.fullmatch(value):
                add_secret(value)
        add_secret(hub_token(self.env))

    def _read(self, path: Path) -> dict[str, str]:
        try:
            return read_env_file(path)
        except ValueError as error:
            self._tell("warning", f"{FILE} of this folder is not read: {error}.")
            return {}

    def _tell(self, level: str, text: str) -> None:
        self.notices.append(Notice(level, text))

    def __repr__(self) -> str:
        return "Secrets()"


def check_project(
    base_url: str | None, api_key: str | None, environment: Mapping[str, str], file: Path
) -> None:
    """A project's settings must not lead the person's own key to an address of the project's.

    Args:
        base_url: As the settings have it, wherever it comes from.
        api_key: The same.
        environment: The person's own.
        file: The project's ``ml-intern.toml``.

    Raises:
        UsageError: The address is the project's and the key is not.
    """
    if not base_url or not api_key or environment.get("ML_INTERN_BASE_URL") or is_loopback(base_url):
        return
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if written.get("base_url") == base_url and written.get("api_key") != api_key:
        raise UsageError(
            f"The base URL comes from {file.name} of this folder, the key does not, so it is not sent there.",
            "If that is what you want, set ML_INTERN_BASE_URL, too.",
        )


def check_workspace(workspace: Path | None, project: Path) -> None:
    """Cells read and write the workspace by themselves, so no ``.env`` may lie in it.

    Raises:
        UsageError: One does.
    """
    if workspace is None:
        return
    root = workspace.resolve()
    places = [root, project.resolve()] if root in project.resolve().parents else [root]
    if any((place / FILE).is_file() for place in places):
        raise UsageError(
            f"There is a {FILE} in the workspace {str(workspace)!r}, and its cells could read it.",
            "Name a workspace of its own, such as --workspace work, or move the file.",
        )
    keeps = [place / "ml-intern.toml" for place in places if _names_key(place / "ml-intern.toml")]
    if keeps:
        raise UsageError(
            f"{keeps[0].name} in the workspace {str(workspace)!r} holds an api_key for cells to read.",
            "Name a workspace of its own, or set ML_INTERN_API_KEY instead.",
        )


def _names_key(file: Path) -> bool:
    try:
        return "api_key" in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _service_of(name: str) -> Service:
    """The service that a variable belongs to; of an unknown one the addresses are told by the name."""
    for service in SERVICES.values():
        if name in service.names:
            return service
    stem = re.sub(r"_(API_KEY|TOKEN|ACCESS_KEY|ACCESS_KEY_ID)$", "", name)
    endings = ("API_BASE", "BASE_URL", "API_URL", "ENDPOINT", "HOST")
    return Service((name,), (), tuple(f"{stem}_{ending}" for ending in endings))


def _url(address: str) -> str:
    return address if "://" in address else f"https://{address}"


def _is_credential(name: str) -> bool:
    known = {n for s in SERVICES.values() for n in s.names} | set(table()["keys"].values())
    return name in known or _CREDENTIAL.fullmatch(name) is not None


def _listed(names: Mapping[str, str] | list[str]) -> str:
    return ", ".join(sorted(names))
