"""Asks the dataset viewer of huggingface.co."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from ml_intern.errors import ToolError
from ml_intern.papers.values import Raw, an_object
from ml_intern.secrets.credentials import Credential
from ml_intern.viewer import answers
from ml_intern.web.client import Web
from ml_intern.web.errors import WebError

OFFICIAL = "https://datasets-server.huggingface.co"
MOST_ROWS = 100
"""Rows of one answer, as the viewer has it."""
TRIES = 1
"""Further tries: there is another way to the rows, and a dataset that is broken stays so."""

Why = Literal["closed", "not ready", "broken", "refused", "unreachable"]
T = TypeVar("T")

_SAID = re.compile(rb'"error"\s*:\s*"((?:[^"\\]|\\.)*)')


class ViewerError(ToolError):
    """The viewer does not show it.

    Attributes:
        why: ``closed``: there is no such dataset, or not for us. ``not ready``: later perhaps.
            ``broken``: the dataset itself, or the viewer does not take it. ``refused``: a wrong question.
    """

    def __init__(self, message: str, hint: str, why: Why) -> None:
        super().__init__(message, hint)
        self.why = why


class Viewer:
    """The service.

    Args:
        web: Fetches.
        credential: The person's for huggingface.co, for gated and private datasets.
    """

    def __init__(self, web: Web, credential: Credential | None = None) -> None:
        self._web = web
        self._credential = credential
        self._base = web.base("dataset-viewer", OFFICIAL)

    def is_valid(self, dataset: str, config: str | None = None, split: str | None = None) -> answers.Valid:
        """What can be asked about a dataset."""
        return self._ask("is-valid", answers.valid_of, dataset, config, split)

    def splits(self, dataset: str, config: str | None = None) -> answers.Splits:
        """Its splits."""
        return self._ask("splits", answers.splits_of, dataset, config)

    def first_rows(self, dataset: str, config: str, split: str) -> answers.Rows:
        """The first rows, up to a hundred; long cells are cut."""
        return self._ask("first-rows", answers.rows_of, dataset, config, split)

    def rows(
        self, dataset: str, config: str, split: str, offset: int = 0, length: int = MOST_ROWS
    ) -> answers.Rows:
        """A slice of a split."""
        return self._ask("rows", answers.rows_of, dataset, config, split, offset=offset, length=length)

    def search(
        self, dataset: str, config: str, split: str, query: str, offset: int = 0, length: int = MOST_ROWS
    ) -> answers.Rows:
        """The rows whose texts hold some words."""
        given = {"query": query, "offset": offset, "length": length}
        return self._ask("search", answers.rows_of, dataset, config, split, **given)

    def filter(
        self,
        dataset: str,
        config: str,
        split: str,
        where: str,
        orderby: str | None = None,
        offset: int = 0,
        length: int = MOST_ROWS,
    ) -> answers.Rows:
        """The rows for which a condition of SQL holds: ``"age">20 AND "name"='x'``."""
        given = {"where": where, "orderby": orderby, "offset": offset, "length": length}
        return self._ask("filter", answers.rows_of, dataset, config, split, **given)

    def size(self, dataset: str, config: str | None = None) -> answers.Size:
        """How large it is."""
        return self._ask("size", answers.size_of, dataset, config)

    def statistics(self, dataset: str, config: str, split: str) -> answers.Statistics:
        """What its columns are like."""
        return self._ask("statistics", answers.statistics_of, dataset, config, split)

    def parquet(self, dataset: str, config: str | None = None) -> answers.ParquetFiles:
        """Its rows as files."""
        return self._ask("parquet", answers.parquet_of, dataset, config)

    def info(self, dataset: str, config: str | None = None) -> answers.Info:
        """Its features and splits."""
        return self._ask("info", lambda data: answers.info_of(data, config or ""), dataset, config)

    def opted_out(self, dataset: str, config: str | None = None, split: str | None = None) -> answers.Scanned:
        """How many addresses in it belong to who objects to training."""
        return self._ask("opt-in-out-urls", answers.scanned_of, dataset, config, split)

    def personal_data(self, dataset: str) -> answers.Scanned:
        """How many rows hold personal data."""
        return self._ask("presidio-entities", answers.scanned_of, dataset)

    def _ask(
        self,
        path: str,
        read: Callable[[Raw], T],
        dataset: str,
        config: str | None = None,
        split: str | None = None,
        **more: Any,
    ) -> T:
        params = {"dataset": dataset, "config": config, "split": split, **more}
        try:
            page = self._web.get_json(
                f"{self._base}/{path}", params, parse=an_object, credential=self._credential, tries=TRIES
            )
        except WebError as error:
            raise _told(error, dataset) from error
        return read(page.data)


def _told(error: WebError, dataset: str) -> ViewerError:
    """Why there is no answer, in one line."""
    said = _said(error.body) or error.message.rstrip(".")
    why = _why(error.status, said)
    hints = {
        "closed": "Check the name; a gated or private dataset needs HF_TOKEN.",
        "not ready": "Ask again later.",
        "refused": "Mend the question.",
    }
    told = f"The dataset viewer does not show {dataset} ({why}): {said}."
    return ViewerError(told, hints.get(why, ""), why)


def _why(status: int | None, said: str) -> Why:
    if status in (401, 403, 404, 410):
        return "closed"
    if status in (400, 422):
        return "refused"
    if status is None or status in (408, 429):
        return "unreachable"
    if re.search(r"not ready|busier|retry later|try again", said, re.I):
        return "not ready"
    return "broken"


def _said(body: bytes) -> str:
    """What an answer says of its error; the beginning of it is enough."""
    match = _SAID.search(body)
    words = match[1].decode("utf-8", "replace").replace("\\n", " ") if match else ""
    if not match and not body.lstrip().startswith((b"{", b"<")):
        words = body.decode("utf-8", "replace")
    return " ".join(words.replace('\\"', '"').split())[:200].rstrip(". ")
