"""Everything that a session's folder tells, read once and bounded: a session may hold a thousand jobs."""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from ml_intern.claims.papers import Papers, loose, papers_read
from ml_intern.errors import InternError
from ml_intern.evals.model import EvalInfo
from ml_intern.evals.opened import earlier
from ml_intern.jobs.metrics import rows as metric_rows
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import NOTES, Run, Seen
from ml_intern.ledger import Comparison, Experiment, Ledger, ReplacedComparison
from ml_intern.ledger.numbers import numbers_of_comparison
from ml_intern.papers.graph import Graph
from ml_intern.reports.record import Record, read_record

SHOWN = 60
"""Rows of a table; what else there is, is counted."""
GRAPHS = 3
"""Citation graphs that are drawn."""
DRAWN = 8
"""Curves of a picture, as many as can be told apart."""
FOLLOWED = 40
"""Jobs whose metrics are read."""
MAX_METRICS = 64 << 20
_TRIAL = re.compile(r"(?P<sweep>.+)-trial-\d+-\d+")


@dataclass(frozen=True)
class Data:
    """A dataset as its ``lineage.json`` tells it."""

    id: str
    rows: int
    rows_before: int
    operation: str
    source: str
    parents: list[str]
    sha256: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job as its folder tells it."""

    id: str
    status: dict[str, Any]
    gpus: int = 0

    @property
    def method(self) -> str:
        """The recipe."""
        return str(self.status.get("method", ""))

    @property
    def state(self) -> str:
        """How it stands."""
        return str(self.status.get("state", ""))

    @property
    def seconds(self) -> float | None:
        """How long it ran."""
        ran, began, ended = (self.status.get(n) for n in ("seconds", "started", "ended"))
        if is_number(ran):
            return float(ran)
        return float(ended) - float(began) if is_number(began) and is_number(ended) else None

    @property
    def failure(self) -> str:
        """Why it failed, in a line."""
        found = self.status.get("failure")
        return f"{found.get('kind', '')}: {found.get('message', '')}" if isinstance(found, dict) else ""


@dataclass(frozen=True)
class Story:
    """Everything the report tells.

    Attributes:
        card: ``session.json``.
        comparisons: Those that stand.
        replaced: Those that others have replaced, which notes of their time may quote.
        jobs: All jobs, oldest first.
        metrics: Rows of metrics by job, of the jobs that matter most.
        alerts: What the rules see in those.
        evals: The sealed evaluations, without their items; `queries` are the dev scores that were asked.
        data: The datasets, oldest first.
        record: What the journal tells: refusals, failures, what was spent.
        doubtful: Numbers in the notes of experiments that nobody measured.
        opened: What other sessions have scored on the same test splits, in sentences.
        expected: The same in their changes and hypotheses, which were written ahead.
        reproduction: What a reproduction came to, where the session is one.
        more_data: Datasets that are not among `data`.
        graphs: Citation graphs, the newest ones.
    """

    card: dict[str, Any]
    experiments: Sequence[Experiment]
    comparisons: Sequence[Comparison]
    best: Experiment | None
    replaced: Sequence[ReplacedComparison] = ()
    jobs: Sequence[Job] = ()
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    alerts: dict[str, list[Seen]] = field(default_factory=dict)
    evals: Sequence[EvalInfo] = ()
    queries: dict[str, int] = field(default_factory=dict)
    data: Sequence[Data] = ()
    more_data: int = 0
    record: Record = field(default_factory=Record)
    doubtful: dict[str, list[str]] = field(default_factory=dict)
    expected: dict[str, list[str]] = field(default_factory=dict)
    opened: Sequence[str] = ()
    reproduction: dict[str, Any] | None = None
    graphs: Sequence[Graph] = ()

    @property
    def frozen(self) -> Experiment | None:
        """The experiment whose test split was opened."""
        return next((e for e in self.experiments if e.frozen), None)

    def sweep_of(self, e: Experiment) -> str:
        """The sweep that an experiment is a trial of; nothing where it is none."""
        found = next((m for job in e.jobs if (m := _TRIAL.fullmatch(job))), None)
        return found["sweep"] if found else ""


def read_story(session: Path, answer: str = "") -> Story:
    """Collect what a session's folder says. What is missing is left out.

    Args:
        session: The folder.
        answer: The answer of a session that is about to end, which its journal does not have yet.
    """
    record = read_record(session / "journal.sqlite")
    record.answer = answer or record.answer
    ledger = Ledger(session / "ledger.sqlite")
    try:
        experiments, comparisons, best = ledger.list(), ledger.comparisons(), ledger.best()
        evals = _evals(session)
        queries = {info.name: ledger.queries(info.name) for info in evals}
        jobs = _jobs(session)
        metrics = _metrics(session, _that_matter(experiments, best, jobs))
        papers = papers_read(session / "journal.sqlite")
        replaced = ledger.replaced()
        doubtful, expected = _doubtful(ledger, shown(experiments, best), metrics, papers)
        evals = [_described(info, ledger) for info in evals]
    finally:
        ledger.close()
    data, more = _datasets(session / "datasets")
    return Story(
        card=_read(session / "session.json"),
        experiments=experiments,
        comparisons=comparisons,
        replaced=replaced,
        best=best,
        jobs=jobs,
        metrics=metrics,
        alerts={job: seen for job, table in metrics.items() if (seen := _alerts(table))},
        evals=evals,
        queries=queries,
        data=data,
        more_data=more,
        record=record,
        doubtful=doubtful,
        expected=expected,
        opened=[*earlier(session.parent.parent, session.name, evals).values()],
        reproduction=_read(session / "reproduction.json") or None,
        graphs=_graphs(session / "papers"),
    )


def shown(experiments: Sequence[Experiment], best: Experiment | None, most: int = SHOWN) -> list[Experiment]:
    """The experiments that a table names, in their order: all, or those that matter most."""
    if len(experiments) <= most:
        return list(experiments)
    parents = {e.parent for e in experiments if e.frozen or e.published or e.verdict == "kept"}

    def weight(at: int) -> tuple[int, int]:
        e = experiments[at]
        first = e.frozen or bool(e.published) or (best is not None and e.id == best.id)
        ranks = (first, e.verdict == "kept", e.id in parents, e.parent is None, e.verdict != "open")
        return sum(int(rank) << (10 - n) for n, rank in enumerate(ranks)), at

    chosen = set(heapq.nlargest(most, range(len(experiments)), key=weight))
    return [e for at, e in enumerate(experiments) if at in chosen]


def is_number(value: Any) -> TypeGuard[float]:
    """A number that is no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _jobs(session: Path) -> list[Job]:
    found = []
    for path in session.glob("jobs/*/status.json"):
        spec = _read(path.with_name("spec.json"))
        place = spec.get("place")
        gpus = place.get("gpus") if isinstance(place, dict) else 0
        found.append(Job(path.parent.name, _read(path), gpus if isinstance(gpus, int) else 0))
    return sorted(found, key=lambda j: (_time(j.status.get("created")), j.id))


def _time(value: Any) -> float:
    return float(value) if is_number(value) else 0.0


def _that_matter(
    experiments: Sequence[Experiment], best: Experiment | None, jobs: Sequence[Job]
) -> list[str]:
    """The jobs whose curves are worth a look: those of the experiments that are shown, then failed ones."""

    def last(e: Experiment) -> tuple[bool, ...]:
        first = e.frozen or bool(e.published) or (best is not None and e.id == best.id)
        trial = any(_TRIAL.fullmatch(job) for job in e.jobs)
        return (not first, e.verdict not in ("kept", "crashed"), trial, bool(e.replicates))

    own = [job for e in sorted(shown(experiments, best, FOLLOWED), key=last) for job in e.jobs]
    others = sorted(jobs, key=lambda j: j.state != "failed")
    return list(dict.fromkeys([*own, *(j.id for j in others)]))[:FOLLOWED]


def _metrics(session: Path, wanted: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for job in wanted:
        path = session / "jobs" / job / "metrics.jsonl"
        if path.is_file() and path.stat().st_size <= MAX_METRICS:
            found[job] = metric_rows(path)
    return found


def _alerts(table: list[dict[str, Any]]) -> list[Seen]:
    try:
        return [seen for seen in look(Run(table, over=True)) if seen.kind not in NOTES] if table else []
    except (ValueError, ArithmeticError, KeyError, IndexError, TypeError):
        return []  # Metrics are what a job wrote: rules that stumble over them must not cost the report.


def _evals(session: Path) -> list[EvalInfo]:
    found = []
    for path in sorted(session.glob("evals/items/[!.]*/eval.json"))[:SHOWN]:
        try:
            found.append(EvalInfo.model_validate_json(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return found


def _described(info: EvalInfo, ledger: Ledger) -> EvalInfo:
    """With what each split can tell, from the two models that were scored last."""
    from ml_intern.evals.results import detectable

    try:
        models = list(dict.fromkeys(s.model for s in ledger.scores(eval=info.name, split="dev")))[-2:]
        known = [s for m in models for s in ledger.scores(eval=info.name, split="dev", model=m, items=True)]
        items = {s.model: s.items[info.primary] for s in known if info.primary in s.items}
        return info.model_copy(update={"detectable": detectable(info, [*items.values()])})
    except (InternError, ValueError, KeyError):
        return info


def _graphs(folder: Path) -> list[Graph]:
    """The citation graphs that were written last; what is no graph is left out."""
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [graph for path in paths[:GRAPHS] if (graph := Graph.load(path)) is not None]


def _datasets(folder: Path) -> tuple[list[Data], int]:
    found: list[tuple[float, Data]] = []
    for path in folder.glob("*/*/lineage.json"):
        told = _read(path)
        made = told.get("lineage")
        if isinstance(made, dict) and isinstance(told.get("id"), str):
            found.append((_time(told.get("created")), _data(told, made)))
    found.sort(key=lambda pair: pair[0])
    return [data for _, data in found[-SHOWN:]], max(0, len(found) - SHOWN)


def _data(told: dict[str, Any], made: dict[str, Any]) -> Data:
    parents = made.get("parents")
    arguments = made.get("arguments")
    return Data(
        id=told["id"],
        rows=int(_time(told.get("rows"))),
        rows_before=int(_time(made.get("rows_before"))),
        operation=str(made.get("operation", "")),
        source=str(made.get("source", "")),
        parents=[str(p) for p in parents] if isinstance(parents, list) else [],
        sha256=str(told.get("sha256", "")),
        arguments=arguments if isinstance(arguments, dict) else {},
    )


class _Known:
    """The ledger's numbers, asked for once."""

    def __init__(self, ledger: Ledger) -> None:
        self._numbers = ledger.numbers()

    def numbers(self) -> Iterable[tuple[float, str]]:
        """Each value with its source."""
        return self._numbers


def _doubtful(
    ledger: Ledger,
    experiments: Sequence[Experiment],
    metrics: dict[str, list[dict[str, Any]]],
    papers: Papers,
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Of the experiments that are shown, numbers that nobody measured: in notes, and in what was hoped."""
    known = _Known(ledger)
    curves = {float(v) for table in metrics.values() for row in table for v in row.values() if is_number(v)}

    before = ledger.replaced()

    def then(e: Experiment) -> set[float]:
        """What comparisons said when the notes were written, and do not say any more."""
        stood = [c for c in before if e.finished is not None and c.replaced > e.finished]
        return {float(n.value) for c in stood for n in numbers_of_comparison(c)}

    def found(texts: Iterable[tuple[str, str, set[float]]]) -> dict[str, list[str]]:
        told = {id: (text, also) for id, text, also in texts if any(c.isdigit() for c in text)}
        missing = {id: loose(text, known, curves | also, papers)[0] for id, (text, also) in told.items()}
        return {id: numbers for id, numbers in missing.items() if numbers}

    notes = found((e.id, e.notes, then(e)) for e in experiments)
    return notes, found((e.id, _hoped(e), set()) for e in experiments)


def _hoped(e: Experiment) -> str:
    """What was said of results before there were any; a setting alone, "2 epochs", claims none."""
    from ml_intern.claims.words import CHANGE, CURVE, SCORE

    change = e.change if SCORE.search(e.change) else ""
    claims = any(words.search(e.hypothesis) for words in (SCORE, CURVE, CHANGE))
    return f"{change}. {e.hypothesis}" if claims else change


def counted(jobs: Sequence[Job]) -> Counter[str]:
    """Jobs by how they stand."""
    return Counter(job.state for job in jobs)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
