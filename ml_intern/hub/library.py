"""huggingface_hub's own settings, for as long as we use it on a Hub of ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_FOREIGN = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY")
"""Set while a Hub other than huggingface.co is in use."""


@dataclass(frozen=True)
class _Use:
    """One call to a Hub that runs now."""

    embedded: bool
    official: bool


class _Library:
    """huggingface_hub's settings, which are one set for a process, while calls to a Hub run.

    Only huggingface.co is known to have Xet: without this, large files would go there whatever the endpoint.
    Its telemetry asks huggingface.co at each start. An embedded Hub is reached offline as well, since
    ``HF_HUB_OFFLINE`` is about the network. Where calls to several Hubs overlap, the most careful of their
    wishes holds for all. What was set before comes back with the last call that ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: list[_Use] = []
        self._before: dict[str, Any] = {}
        self._quiet = False

    @contextmanager
    def set_up(self, *, embedded: bool, official: bool) -> Iterator[None]:
        """Settings for one Hub, for as long as the context lasts."""
        use = _Use(embedded, official)
        with self._lock:
            if not self._inside:
                self._remember()
            self._inside.append(use)
            self._apply()
        try:
            yield
        finally:
            with self._lock:
                self._inside.remove(use)
                self._apply()
                if not self._inside and not self._quiet:
                    _show_progress()

    def _remember(self) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

        self._before = {n: getattr(constants, n) for n in (*_FOREIGN, "HF_HUB_OFFLINE")}
        self._quiet = are_progress_bars_disabled()
        disable_progress_bars()

    def _apply(self) -> None:
        """Set what the calls that run now need together; with none of them, what was set before."""
        from huggingface_hub import constants

        foreign = any(not use.official for use in self._inside)
        # Whoever set offline wants no network: one call to a remote Hub is enough for that to hold.
        loopback_only = bool(self._inside) and all(use.embedded for use in self._inside)
        for name in _FOREIGN:
            setattr(constants, name, self._before[name] or foreign)
        constants.HF_HUB_OFFLINE = self._before["HF_HUB_OFFLINE"] and not loopback_only


def _show_progress() -> None:
    from huggingface_hub.utils.tqdm import enable_progress_bars

    enable_progress_bars()


LIBRARY = _Library()


def bypass_proxies() -> None:
    """A proxy that the environment names must not be asked for loopback addresses."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [h for h in os.environ.get(name, "").split(",") if h]
        if "127.0.0.1" not in hosts:
            os.environ[name] = ",".join([*hosts, "127.0.0.1", "localhost"])
