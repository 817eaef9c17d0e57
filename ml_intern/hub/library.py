"""huggingface_hub's own settings, for as long as we use it on a Hub of ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Library:
    """huggingface_hub's settings, which are one set for a process, while calls to a Hub run.

    Only huggingface.co is known to have Xet: without this, large files would go there whatever the endpoint.
    Its telemetry asks huggingface.co at each start. An embedded Hub is reached offline as well, since
    ``HF_HUB_OFFLINE`` is about the network. What was set before comes back with the last call that ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: dict[str, Any] = {}
        self._quiet = False

    @contextmanager
    def set_up(self, *, embedded: bool, official: bool) -> Iterator[None]:
        """Settings for one Hub, for as long as the context lasts."""
        with self._lock:
            if self._inside == 0:
                self._enter(embedded, official)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._leave()

    def _enter(self, embedded: bool, official: bool) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

        foreign = not official
        changes = {"HF_HUB_DISABLE_XET": foreign, "HF_HUB_DISABLE_TELEMETRY": foreign}
        self._before = {n: getattr(constants, n) for n in (*changes, "HF_HUB_OFFLINE")}
        for name, wanted in changes.items():
            setattr(constants, name, self._before[name] or wanted)
        constants.HF_HUB_OFFLINE = self._before["HF_HUB_OFFLINE"] and not embedded
        self._quiet = are_progress_bars_disabled()
        disable_progress_bars()

    def _leave(self) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils.tqdm import enable_progress_bars

        for name, value in self._before.items():
            setattr(constants, name, value)
        if not self._quiet:
            enable_progress_bars()


LIBRARY = _Library()


def bypass_proxies() -> None:
    """A proxy that the environment names must not be asked for loopback addresses."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [h for h in os.environ.get(name, "").split(",") if h]
        if "127.0.0.1" not in hosts:
            os.environ[name] = ",".join([*hosts, "127.0.0.1", "localhost"])
