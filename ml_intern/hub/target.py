"""Whether a repository may be published to, told from what a Hub says about it and about the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_intern.errors import ToolError

_READERS = ("read", "no_access")
"""Roles in an organization that write nothing."""


def check_visibility(repo: str, found: Any, private: bool) -> None:
    """Private work never goes into a public repository.

    Raises:
        ToolError: `found`, what the Hub says about an existing repository, is public.
    """
    if private and not found.private:
        raise ToolError(
            f"{repo} exists and is public, but the upload was asked to be private.",
            "Pass private=False, or choose another name.",
        )


def check_account(repo: str, account: Mapping[str, Any], *, official: bool) -> None:
    """Whether an account, as ``whoami`` describes it, may write to a repository.

    What cannot be told passes: the upload itself has the last word. Namespaces are looked at on
    huggingface.co alone, since other Hubs give rights by rules of their own.

    Raises:
        ToolError: The token only reads, or the namespace belongs to somebody else.
    """
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read" or (token.get("role") == "fineGrained" and not _writes(token)):
        raise ToolError(
            f"The token may only read, so nothing can be published to {repo}.",
            "Set HF_TOKEN to a token with write access.",
        )
    namespace = repo.partition("/")[0]
    roles = {str(o.get("name", "")).lower(): o.get("roleInOrg") for o in account.get("orgs") or []}
    own = str(account.get("name", ""))
    if not official or namespace.lower() == own.lower():
        return
    if namespace.lower() not in roles or roles[namespace.lower()] in _READERS:
        raise ToolError(
            f"{own} may not write to the namespace {namespace!r}.",
            f"Choose {own}/{repo.partition('/')[2]}, or one of your organizations.",
        )


def _writes(token: Mapping[str, Any]) -> bool:
    """Whether a fine-grained token may write to any repository; yes where it does not say."""
    rights = token.get("fineGrained")
    if not isinstance(rights, Mapping):
        return True
    scoped = [scope.get("permissions") or [] for scope in rights.get("scoped") or []]
    found = [str(p) for permissions in (rights.get("global") or [], *scoped) for p in permissions]
    return any(p.startswith("repo") and p.endswith("write") for p in found)
