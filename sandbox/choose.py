"""Which sandbox a session gets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ml_intern.errors import Denied, UsageError
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Sandbox
from ml_intern.sandbox.local import INSTALL, LocalSandbox
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.settings import Settings

KINDS = ("local", "docker", "e2b", "none")


def choose_sandbox(
    kind: str, *, trusted: bool, settings: Settings | None = None, env: Mapping[str, str] = os.environ
) -> Sandbox:
    """The sandbox of that kind, or the nearest that is safe.

    Args:
        kind: ``local``, ``docker``, ``e2b`` or ``none``.
        trusted: The cells are the product's own (a shipped playbook): they may run without walls.
        settings: Names Docker's image and E2B's template; nothing: the defaults.
        env: Where E2B's key and addresses are.

    Raises:
        Denied: There are no walls here and the cells need some.
        UsageError: The kind is not known.
    """
    if kind not in KINDS:
        raise UsageError(
            f"The sandbox {kind!r} is not known{did_you_mean(kind, KINDS)}.", f"Use {', '.join(KINDS)}."
        )
    if kind == "none":
        return BareSandbox("--sandbox none")
    if kind == "docker":
        from ml_intern.sandbox.docker import DockerSandbox

        return DockerSandbox(settings.docker_image) if settings else DockerSandbox()
    if kind == "e2b":
        from ml_intern.sandbox.e2b import E2BSandbox

        template, seconds = (settings.e2b_template, settings.e2b_timeout_s) if settings else (None, 3600)
        return E2BSandbox(env, template=template, timeout_s=seconds)
    problem = LocalSandbox.problem()
    if not problem:
        return LocalSandbox()
    if trusted:
        return BareSandbox(f"{problem} These cells ship with the product")
    raise Denied(f"A language model's cells need walls: {problem}", INSTALL)
