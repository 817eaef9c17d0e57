"""What came of a run, for people, notebooks and machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.secrets.masking import mask_all

if TYPE_CHECKING:
    import pandas

    from ml_intern.ledger import Experiment
    from ml_intern.notebook.figure import Figure
    from ml_intern.notebook.report import Report
    from ml_intern.session.session import Session


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        session: Id of the session, for ``ml-intern report`` and the like.
        status: ``done``, ``failed``, ``limit``, ``denied``, ``no_brain`` or ``interrupted``.
        answer: The final answer.
        exit_code: As the command line would exit.
        steps: Cells that ran.
        tokens: ``input`` and ``output``, as the provider counted them, those of sub-agents included.
        cost: Dollars.
        budget: Spent and ceiling by unit.
        ledger: The experiments; `experiments` has them as a table.
        best: The best experiment, or None.
        jobs: Ids, names and states.
        published: Repositories with their URLs.
        errors: What went wrong, a line each.
        folder: The session's folder.
        replay: Of a replay: which session it played (``of``), whether tools ran (``live``), how that session
            had ended (``ended``), whether all was the ``same``, and the ``differences`` by step.
        claims: The numbers of the answer: how many are ``verified``, which are ``unverified`` and why,
            ``computed`` by the brain's own code or ``quoted``; and what is ``overstated``. None where nothing
            was there to hold them against.
    """

    session: str
    status: str
    answer: str
    exit_code: int
    steps: int
    tokens: dict[str, int]
    cost: float
    budget: dict[str, dict[str, float | None]]
    ledger: list[Experiment]
    best: Experiment | None
    jobs: list[dict[str, str]]
    published: list[dict[str, str]]
    errors: list[str]
    folder: Path = field(repr=False)
    replay: dict[str, Any] | None = None
    reproduction: dict[str, Any] | None = None
    """Of a reproduction: the card's numbers, weights and datasets beside those of today, with verdicts."""
    claims: dict[str, Any] | None = None

    @classmethod
    def of(cls, session: Session) -> RunResult:
        """Collect the result of a session that has run."""
        from ml_intern.reproducing.comparing import read_outcome

        agent, services = session.agent, session.services
        finished = session.finished or session.answered
        return cls(
            session=session.id,
            status=finished.status if finished else "running",
            answer=finished.answer if finished else "",
            exit_code=finished.exit_code if finished else 1,
            steps=agent.cells if agent else 0,
            tokens=session.tokens(),
            cost=session.budget.spent["usd"],
            budget=session.budget.summary(),
            ledger=services.ledger.list(),
            best=services.ledger.best(),
            jobs=[{"id": j.id, "name": j.name, "state": j.state} for j in services.jobs.list()],
            published=session.published,
            errors=session.errors,
            folder=session.folder,
            reproduction=read_outcome(session.folder),
            claims=session.claims.to_json() if session.claims is not None else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        shown: dict[str, Any] = mask_all(self._whole())
        return shown

    def _whole(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "status": self.status,
            "answer": self.answer,
            "steps": self.steps,
            "tokens": self.tokens,
            "cost": self.cost,
            "budget": self.budget,
            "experiments": [e.model_dump(mode="json") for e in self.ledger],
            "jobs": self.jobs,
            "published": self.published,
            "errors": self.errors,
            "claims": self.claims,
            **({"replay": self.replay} if self.replay is not None else {}),
            **({"reproduction": self.reproduction} if self.reproduction is not None else {}),
        }

    @cached_property
    def experiments(self) -> pandas.DataFrame:
        """The experiments as a table, a row each; see `ml_intern.notebook.frames`."""
        from ml_intern.notebook.frames import experiments

        return experiments(self.ledger)

    @property
    def metrics(self) -> pandas.DataFrame:
        """What all jobs have told of their training so far: ``job``, ``step``, a column for each metric."""
        from ml_intern.notebook.frames import metrics

        return metrics(self.folder)

    def plot(self, metric: str | None = None) -> Figure:
        """The experiments with their 95 % intervals on the dev split.

        Args:
            metric: Which of the measured ones; nothing: the one that decides.

        Raises:
            UsageError: No experiment has that metric.
        """
        from ml_intern.notebook.figure import intervals

        return intervals(self.ledger, metric)

    def curves(self, metric: str = "loss", jobs: Sequence[str] | None = None) -> Figure:
        """A metric of the jobs over their steps.

        Args:
            metric: Which of those that jobs tell.
            jobs: The jobs to draw, eight at most. Nothing: all, and where they are more than eight those of
                variants before those that only repeat one on another seed; the picture and its `left_out`
                say how many are missing.

        Raises:
            UsageError: No job tells that metric, or not one of these.
        """
        from ml_intern.notebook.figure import curves

        return curves(self.folder, metric, self.ledger, self.best, jobs)

    def report(self) -> Report:
        """Write the report of the session; the path of the HTML file. A notebook shows the report itself."""
        from ml_intern.hub.report import write_report
        from ml_intern.notebook.report import Report

        return Report(write_report(self.folder))

    def _repr_html_(self) -> str:
        from ml_intern.notebook.outcome import outcome

        return outcome(self)

    def _ipython_display_(self) -> None:
        from ml_intern.notebook.kernel import show_once

        show_once(self)

    def __str__(self) -> str:
        from ml_intern.cli.ending import ending

        return "\n".join(ending(self.to_json()))
