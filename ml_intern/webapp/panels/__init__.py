"""The tabs of the web app beside its chat: jobs, curves, experiments, files, uploads.

What a tab shows is made by plain functions from the session's folder alone, so that a session of last week
looks as one that runs; the classes put it into Gradio's components. Gradio is imported with the first class.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_intern.webapp.panels.curves import CurvesPanel
    from ml_intern.webapp.panels.experiments import ExperimentsPanel
    from ml_intern.webapp.panels.files import FilesPanel
    from ml_intern.webapp.panels.jobs import JobsPanel
    from ml_intern.webapp.panels.upload import UploadPanel

__all__ = ["CurvesPanel", "ExperimentsPanel", "FilesPanel", "JobsPanel", "UploadPanel"]

_WHERE = {
    "CurvesPanel": "curves",
    "ExperimentsPanel": "experiments",
    "FilesPanel": "files",
    "JobsPanel": "jobs",
    "UploadPanel": "upload",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
