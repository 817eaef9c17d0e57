"""What ``--eval`` names: files, benchmarks, tasks of lm-eval; several with commas between.

A person names evaluations, before the session begins. No tool leads here: a brain that could register a
benchmark could have read its rows before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.errors import UsageError
from ml_intern.evals import benchmarks
from ml_intern.evals.benchmarks import Benchmark
from ml_intern.evals.files import name_of, register_file
from ml_intern.evals.shaping import shaped

if TYPE_CHECKING:
    from ml_intern.evals.model import EvalInfo
    from ml_intern.evals.store import Evals
    from ml_intern.hub.client import Hub
    from ml_intern.settings import Settings

FILES = (".jsonl", ".csv")
LM_EVAL = "lm-eval:"
Kind = Literal["file", "benchmark", "lm-eval"]


@dataclass(frozen=True)
class Wanted:
    """One evaluation that a person asked for.

    Attributes:
        said: As it was written.
        kind: What it is.
        path: The file.
        benchmark: The row of the table.
    """

    said: str
    kind: Kind
    path: Path | None = None
    benchmark: Benchmark | None = None

    @property
    def name(self) -> str:
        """What the evaluation is called in the session."""
        if self.path is not None:
            return name_of(self.path)
        return self.benchmark.name if self.benchmark else name_of(Path(self.said.removeprefix(LM_EVAL)))


def wanted(said: str | None) -> list[Wanted]:
    """The evaluations that the setting ``eval`` names; the first one decides.

    Raises:
        UsageError: One of them is neither a file, nor a benchmark, nor a task of lm-eval.
    """
    text = (said or "").strip()
    if not text:
        return []
    # A file may have a comma in its name.
    parts = [text] if Path(text).expanduser().is_file() else [p.strip() for p in text.split(",") if p.strip()]
    found = [_one(part) for part in parts]
    for number, one in enumerate(found):
        if one.name in [other.name for other in found[:number]]:
            raise UsageError(f"The eval {one.name!r} is named twice.", "Name each once.")
    return found


def _one(said: str) -> Wanted:
    if said.startswith(LM_EVAL):
        from ml_intern.evals.bridge.tasks import check_task

        check_task(said.removeprefix(LM_EVAL))
        return Wanted(said, "lm-eval")
    path = Path(said).expanduser()
    if path.suffix in FILES:
        return Wanted(said, "file", path=path)
    benchmark = benchmarks.find(said)
    if path.is_file() or len(path.parts) > 1 or (path.exists() and not benchmark):
        also = f" Move it away to mean the benchmark {benchmark.name}." if benchmark else _page(said)
        raise UsageError(
            f"The eval {said!r} is no file of a known kind.",
            f"Give a .jsonl or .csv with input and target.{also}",
        )
    if benchmark is None:
        raise benchmarks.missing(said)
    return Wanted(said, "benchmark", benchmark=benchmark)


def _page(said: str) -> str:
    """Somebody who writes the repository means the benchmark."""
    same = [b.name for b in benchmarks.benchmarks().values() if b.repository.lower() == said.lower()]
    return f" The benchmark of that repository is called {' or '.join(same)}." if same else ""


@dataclass
class Brought:
    """An evaluation that was brought to the host and waits to be sealed.

    Attributes:
        name: Its name.
        rows: Dev and test rows together.
        how: Further arguments of `Evals.register`.
        told: A line for the person.
        files: What lies on this machine and holds its rows: no tool reads it from now on.
    """

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    how: dict[str, Any] = field(default_factory=dict)
    told: str = ""
    files: list[Path] = field(default_factory=list)

    def seal(self, evals: Evals) -> EvalInfo:
        """Hand the rows over."""
        return evals.register(self.name, self.rows, **self.how)


class BroughtFile(Brought):
    """A file of the person's own."""

    def seal(self, evals: Evals) -> EvalInfo:
        """Read it and hand its rows over."""
        return register_file(evals, self.files[0])


class Kept(Brought):
    """What the session has sealed before: it goes on, and neither Hub nor lm-eval is asked again."""

    def seal(self, evals: Evals) -> EvalInfo:
        """Nothing is left to do."""
        return evals.get(self.name)


def bring(settings: Settings, hub: Callable[[], Hub], evals: Path | None = None) -> list[Brought]:
    """What ``--eval`` names, fetched where that is needed.

    Args:
        settings: Name the evaluations, and the metric that decides.
        hub: The way to the Hub; called where something is to be fetched.
        evals: The folder of the session's evaluations, where it goes on.

    Raises:
        UsageError: Something cannot be had.
    """
    return [_bring(one, settings.metric, hub, evals) for one in wanted(settings.eval)]


def _bring(one: Wanted, metric: str | None, hub: Callable[[], Hub], evals: Path | None) -> Brought:
    if one.path is not None:
        return BroughtFile(one.name, files=[one.path])
    if evals is not None and (evals / "items" / one.name / "eval.json").exists():
        return Kept(one.name, files=files_of(evals, one.name))
    if one.benchmark is not None:
        return of_benchmark(hub(), one.benchmark, metric)
    from ml_intern.evals.bridge.tasks import of_task

    return of_task(hub(), one.said.removeprefix(LM_EVAL), one.name, metric)


def files_of(evals: Path, name: str) -> list[Path]:
    """The files of this machine that a task of lm-eval was read from."""
    file = evals / "lm_eval" / name / "files.json"
    return [Path(path) for path in json.loads(file.read_text())] if file.exists() else []


def of_benchmark(hub: Hub, benchmark: Benchmark, metric: str | None = None) -> Brought:
    """A benchmark's rows, ready to be sealed.

    Raises:
        UsageError: See `ml_intern.evals.fetching.fetch`.
    """
    from ml_intern.evals.fetching import fetch

    fetched = fetch(hub, benchmark)
    sides = {benchmark.dev: "dev", benchmark.test: "test"} if benchmark.dev else {benchmark.test: None}
    rows = [row for split, side in sides.items() for row in shaped(benchmark, fetched.rows[split], side)]
    scorers = list(benchmark.scorers)
    terms = f", {benchmark.licence}" if benchmark.licence else ", licence not stated"
    return Brought(
        benchmark.name,
        rows,
        {
            "scorers": scorers,
            "primary": metric if metric in scorers else benchmark.decides,
            "input": "input",
            **{c: c for c in ("target", "choices", "tests", "rubric") if c in rows[0]},
            "split_by": "split" if benchmark.dev else None,
            "slice_by": "slice" if benchmark.slice else None,
            "asking": {
                "prompt": benchmark.prompt,
                "chat": benchmark.chat,
                "letters": benchmark.letters,
                "continues": benchmark.continues,
                "stop": benchmark.stop,
                "max_new_tokens": benchmark.max_new_tokens,
            },
            "repositories": benchmark.closed,
        },
        f"{benchmark.name}: {len(rows)} items of {benchmark.repository} ({' and '.join(benchmark.splits)},"
        f" commit {fetched.commit[:8]}{terms}) are sealed. Asked without examples: numbers of leaderboards"
        " differ.",
    )


def first_name(said: str | None) -> str | None:
    """The name of the evaluation that decides: the first one that the setting names."""
    text = (said or "").strip()
    if not text:
        return None
    first = text if Path(text).expanduser().is_file() else text.split(",")[0].strip()
    if first.startswith(LM_EVAL):
        return name_of(Path(first.removeprefix(LM_EVAL)))
    if Path(first).suffix in FILES:
        return name_of(Path(first))
    benchmark = benchmarks.find(first)
    return benchmark.name if benchmark else first
