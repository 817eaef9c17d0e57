"""The report of a session; see `ml_intern.reports`. This name is the one that is imported."""

from __future__ import annotations

from ml_intern.reports import write_report

__all__ = ["write_report"]
