from __future__ import annotations

from support.fixtures import scripted_server

__all__ = ["scripted_server"]
