"""Which sandbox a session gets."""

from __future__ import annotations

from ml_intern.errors import Denied, UsageError
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Sandbox
from ml_intern.sandbox.local import INSTALL, LocalSandbox
from ml_intern.tooling import did_you_mean

KINDS = ("local", "docker", "e2b", "none")


def choose_sandbox(kind: str, *, trusted: bool) -> Sandbox:
    """The sandbox of that kind, or the nearest that is safe.

    Args:
        kind: ``local``, ``docker``, ``e2b`` or ``none``.
        trusted: The cells are the product's own (a shipped playbook): they may run without walls.

    Raises:
        Denied: There are no walls here and the cells need some.
        UsageError: The kind is not known or not there yet.
    """
    if kind == "none":
        return BareSandbox("--sandbox none")
    if kind != "local":
        guess = "" if kind in KINDS else did_you_mean(kind, KINDS)
        known = "is not there yet" if kind in KINDS else "is not known"
        raise UsageError(f"The sandbox {kind!r} {known}{guess}.", "Use local or none.")
    problem = LocalSandbox.problem()
    if not problem:
        return LocalSandbox()
    if trusted:
        return BareSandbox(f"{problem} These cells ship with the product")
    raise Denied(f"A language model's cells need walls: {problem}", INSTALL)
