"""Dev queries: how often models were scored on a dev split, and how often they still may be."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ml_intern.errors import ToolError
from ml_intern.ledger.model import Scores, Split

if TYPE_CHECKING:
    from ml_intern.evals.sealed import Sealed


class Queries:
    """The queries that are being asked at this moment; those that were answered stand in the ledger."""

    def __init__(self, evals: Sealed) -> None:
        self._evals = evals
        self._lock = threading.RLock()
        self._asking: Counter[str] = Counter()

    @contextmanager
    def ask(self, name: str, split: Split) -> Iterator[Callable[[str | None, Scores], None]]:
        """One query of the cap, which threads share that ask at one time; gives what records its scores."""
        open_ = True

        def record(experiment: str | None, scores: Scores) -> None:
            # In one step: in between, another thread would count this query twice or not at all.
            nonlocal open_
            with self._lock:
                self._evals.ledger.record(experiment, name, split, scores)
                if experiment is not None and scores.judge.get("usd"):
                    paid_for = f"judge of {name} {split} {scores.model[:16]}"
                    self._evals.ledger.attach(experiment, usd=scores.judge["usd"], paid_for=paid_for)
                self._asking[self._counted(name)] -= split == "dev"
                open_ = False

        self._take(name, split)
        try:
            yield record
        finally:
            with self._lock:
                self._asking[self._counted(name)] -= open_ and split == "dev"

    def _take(self, name: str, split: Split) -> None:
        with self._lock:
            left = self._evals.get(name).queries_left - self._asking[self._counted(name)]
            if split == "dev" and left <= 0:
                raise ToolError(
                    f"The {self._evals.settings.dev_queries} dev queries of {name!r} are used up.",
                    "Decide from the scores in the ledger; the setting dev_queries is the person's to raise.",
                )
            self._asking[self._counted(name)] += split == "dev"

    def _counted(self, name: str) -> str:
        """Under which name the queries are counted that are being asked."""
        return self._evals.alike(self._evals.get(name))[0]
