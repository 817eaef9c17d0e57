"""The tab that takes a dataset from the person's own machine into the session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ml_intern.errors import InternError, UsageError
from ml_intern.secrets.masking import mask
from ml_intern.settings import Settings
from ml_intern.webapp.panels.markup import note
from ml_intern.webapp.panels.offered import workspace_of
from ml_intern.webapp.panels.pages import QUIET, Page, Pages, Shower, html
from ml_intern.webapp.panels.upload_view import uploaded_html
from ml_intern.webapp.panels.uploading import SUFFIXES, take_in

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted

_HOW = (
    f"One file with rows or text ({', '.join(SUFFIXES)}, also packed as .gz). It goes into the workspace of "
    "the session, where the model reads it by its name. Archives are not unpacked."
)


class UploadPanel:
    """See the module."""

    def __init__(self) -> None:
        self._shower = Shower()
        self._pages: Pages[Page] = Pages(Page)
        self.how = gr.Markdown(_HOW)
        self.file = gr.File(
            label="Dataset", file_count="single", type="filepath", height=150, elem_id="upload",
            file_types=[*SUFFIXES, ".gz"],
        )  # fmt: skip
        self.told = html(elem_id="uploaded")
        self.outputs: list[Any] = [self.told]

    def refresh(self, hosted: Hosted | None) -> list[Any]:
        """One update for each output; what the page has already is left out."""
        page = self._pages.here(hosted.folder if hosted else None)
        return page.news([str(page.picked.get("told", ""))])

    def wire(
        self,
        of: Callable[[gr.Request], Hosted | None],
        keep: Callable[[gr.Request], Path | None] = lambda request: None,
    ) -> None:
        """Make the upload work.

        Args:
            of: The session of a page.
            keep: Where an upload goes while there is no session: a folder of the user's that tools read.
        """
        self._shower.wire(self._pages, of, self)

        def upload(path: str | None, request: gr.Request) -> list[Any]:
            hosted = of(request)
            page = self._pages.here(hosted.folder if hosted else None)
            if path is None:
                return [gr.skip(), gr.skip()]
            page.picked["told"] = _taken(Path(path), hosted, keep(request))
            return [None, *self.refresh(hosted)]

        self.file.upload(upload, [self.file], [self.file, *self.outputs], **QUIET)


def _taken(path: Path, hosted: Hosted | None, kept: Path | None) -> str:
    """Take a file in; what to show of it. Gradio's own copy is removed in any case."""
    try:
        workspace = _workspace(hosted)
        most = Settings.load(**(hosted.given if hosted else {})).upload_mb << 20
        if workspace is not None:
            return uploaded_html(take_in(path, path.name, workspace, most), "the workspace of the session")
        if kept is None:
            raise UsageError("There is no session yet.", "Begin or open one, then upload the file again.")
        kept.mkdir(parents=True, exist_ok=True)
        return uploaded_html(
            take_in(path, path.name, kept, most, inside=False), "your uploads, for any session"
        )
    except InternError as error:
        return note(mask(error.message), "red", error.hint)
    finally:
        with suppress(OSError):
            path.unlink()


def _workspace(hosted: Hosted | None) -> Path | None:
    if hosted is None:
        return None
    if (session := hosted.session) is not None:
        return session.workspace
    return workspace_of(hosted.folder) if hosted.folder else None
