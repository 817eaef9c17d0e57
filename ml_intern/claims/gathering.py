"""What a session has measured, run, read and been told, as evidence for its words."""

from __future__ import annotations

import itertools
import json
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.claims.evidence import IN_A_TEXT, Evidence, Kind, Known, Replaced, inside
from ml_intern.errors import ToolError
from ml_intern.hub.staging import parameters
from ml_intern.jobs import metrics as reading
from ml_intern.ledger.configurations import configurations
from ml_intern.ledger.model import Comparison, Experiment, Measured, ReplacedComparison, Scores, Voting
from ml_intern.ledger.numbers import totals

if TYPE_CHECKING:
    from ml_intern.context import Services
    from ml_intern.data.store import DatasetStore
    from ml_intern.evals.store import Evals
    from ml_intern.jobs.local import Jobs
    from ml_intern.ledger import Ledger

TO_THE_HUB = frozenset({"write_hub_file", "hub_pull_requests", "create_collection", "publish_dataset"})
"""Tools that put what the brain wrote into a repository."""
OFF_THE_HUB = frozenset({"read_hub_file", "inspect_repo", "inspect_dataset", "hub_pull_requests"})
"""Tools that read repositories; of one that the brain wrote into they give back its own words."""
SILENT = frozenset(
    {"plan", "notify", "start_experiment", "finish_experiment", "write_file", "edit_file", "write_hub_file"}
    | {"create_collection"}
)
"""Tools that say back what the brain has said."""

OWN_WORDS = frozenset(
    {"hypothesis", "change", "notes", "plan", "code", "name", "asked", "instructions", "samples"}
)
"""Fields of a result that hold what the brain or its model wrote."""

IN_THE_LEDGER = frozenset(
    {
        "evaluate",
        "compare_experiments",
        "list_experiments",
        "best_experiment",
        "freeze_experiment",
        "confirm_experiment",
        "publish_model",
    }
)
"""Tools whose numbers the ledger has with their split and their owner."""

IN_THE_JOBS = frozenset({"read_metrics"})
"""Tools whose numbers the jobs' own files have, every one of them."""

OF_COMMANDS = frozenset({"run_command"})
OF_FILES = frozenset({"read_file"})
OF_JOBS = frozenset({"job_logs", "read_metrics", "wait_for_job", "job_status", "list_jobs", "diagnose_job"})
_KINDS_OF_UNITS: dict[str, Kind] = {"usd": "money", "seconds": "time"}
CURVES = ("loss", "eval_loss", "reward", "entropy", "kl", "accurac", "bits_per_byte", "perplexity", "margin")
MOST_PAIRS = 120
"""Values of one kind of which every pair is held together."""


@dataclass(frozen=True)
class ToolTold:
    """What a call gave back, as the journal has it."""

    tool: str
    arguments: Mapping[str, Any]
    value: Any
    seconds: float = 0.0
    failed: bool = False


@dataclass(frozen=True)
class Heard:
    """What a session has heard beside its services.

    Attributes:
        told: Results of calls, in order.
        said: The person's sentences.
        printed: What the brain's own cells have shown.
        budget: Spent and ceilings.
        seconds: How long the session has run.
        began: When it began, seconds since the epoch: a file that is older was not written by the brain.
    """

    told: Iterable[ToolTold] = ()
    said: Iterable[str] = ()
    printed: Iterable[str] = ()
    budget: Mapping[str, Any] | None = None
    seconds: float | None = None
    began: float | None = None


def evidence_of(services: Services) -> Evidence:
    """What a session knows, its ledger, its jobs and what it has heard."""
    s = services
    return gathered(s.ledger, s.jobs, s.datasets, s.evals, s.heard())


def gathered(
    ledger: Ledger,
    jobs: Jobs | None = None,
    data: DatasetStore | None = None,
    evals: Evals | None = None,
    heard: Heard | None = None,
) -> Evidence:
    """Everything that a text of this session may rest on."""
    found = Evidence()
    experiments, comparisons = ledger.list(), ledger.comparisons()
    scores = ledger.scores()
    found.metrics = {name for s in scores for name in s.metrics} | {
        n for e in experiments for n in (*e.dev, *e.test)
    }
    found.parents = {e.id: e.parent for e in experiments if e.parent}
    found.seeds = {e.id: e.replicates for e in experiments if e.replicates}
    found.verdicts = [(c.a, c.b, c.metric, c.verdict, c.confirmed) for c in comparisons]
    found.replaced = [*_replaced(ledger.replacements())]
    found.active = bool(experiments)
    found.add(_of_ledger(experiments, scores, comparisons))
    scripts: set[str] = set()
    if jobs is not None:
        found.active |= bool(jobs.list())
        found.add(_of_jobs(found, jobs, scripts))
    if data is not None:
        found.add(_of_data(data))
    if evals is not None:
        found.add(_of_evals(evals))
    if heard is not None:
        _hear(found, heard, scripts)
    return found


# The ledger


def _of_ledger(
    experiments: list[Experiment], scores: list[Scores], comparisons: list[Comparison]
) -> Iterator[Known]:
    for e in experiments:
        yield from _of_experiment(e)
        for split, metrics in (("dev", e.dev), ("test", e.test)):
            for name, measured in metrics.items():
                yield from _of_measured(measured, name, split, e.id, f"{e.id} {split} {name}")
    for s in scores:
        yield from _of_scores(s)
    for c in comparisons:
        yield from _of_comparison(c)
    for number in totals(experiments):
        yield Known(number.value, number.source, "time" if "seconds" in number.source else "fact")
    yield from _pairs_of_scores(experiments)
    yield from _spreads(experiments)
    times = [
        Known(e.cost.seconds, f"{e.id} cost seconds", "time", "seconds", owner=e.id) for e in experiments
    ]
    yield from _ratios(times, "seconds")
    usd = [
        Known(e.cost.usd, f"{e.id} cost usd", "money", "usd", owner=e.id) for e in experiments if e.cost.usd
    ]
    yield Known(sum(k.value for k in usd), "cost usd of all experiments", "money")
    yield from _ratios(usd, "usd")


def _of_experiment(e: Experiment) -> Iterator[Known]:
    yield Known(e.seed, f"{e.id} seed", "fact", "seed", owner=e.id)
    yield Known(e.cost.seconds, f"{e.id} cost seconds", "time", "seconds", owner=e.id)
    if e.cost.usd is not None:
        yield Known(e.cost.usd, f"{e.id} cost usd", "money", "usd", owner=e.id)
    yield Known(len(e.jobs), f"{e.id} number of jobs", "fact", owner=e.id)
    machine = {k: v for k, v in e.environment.items() if k in ("cpu", "gpu") or not isinstance(v, str | dict)}
    for part in (e.config, e.data, machine):
        yield from _facts(part, e.id, e.id)
    if e.facts.get("parameters") and "tokens_seen" in e.facts:
        share = e.facts["tokens_seen"] / e.facts["parameters"]
        yield Known(share, f"{e.id} tokens_seen per parameter", "fact", "tokens per parameter", owner=e.id)
    for name, fact in e.facts.items():
        kind: Kind = (
            "time" if "seconds" in name else "curve" if "loss" in name or "held_out" in name else "fact"
        )
        yield Known(fact, f"{e.id} {name}", kind, name, owner=e.id)


def _of_measured(m: Measured, metric: str, split: str, owner: str, where: str) -> Iterator[Known]:
    for part, value in (("value", m.value), ("low", m.low), ("high", m.high)):
        told = f"{where} {part}".removesuffix(" value")
        yield Known(value, told, "score", metric, split, owner, part)
        if 0 <= m.low <= m.high <= 1:
            yield Known(1 - value, f"1 - {told}", "score", metric, split, owner, f"1-{part}")
    for half in (m.high - m.value, m.value - m.low, (m.high - m.low) / 2):
        yield Known(half, f"{where} half of the interval", "score", metric, split, owner, "half")
    yield Known(m.high - m.low, f"{where} width of the interval", "score", metric, split, owner, "half")
    yield Known(m.n, f"{where} n", "fact", "n", split, owner)
    if 0 <= m.value <= 1:
        yield Known(round(m.value * m.n), f"{where} of {m.n}", "score", metric, split, owner, "count")
        yield Known(
            m.n - round(m.value * m.n),
            f"{where}, the others of {m.n}",
            "score",
            metric,
            split,
            owner,
            "count",
        )


def _of_scores(s: Scores) -> Iterator[Known]:
    owner = s.experiment or ""
    where = f"{owner or 'model ' + s.model[:8]} {s.split} of {s.eval}"
    yield Known(s.seconds, f"{where} seconds", "time")
    for name, measured in s.metrics.items():
        yield from _of_measured(measured, name, s.split, owner, f"{where} {name}")
    for name, slices in s.slices.items():
        for slice_, measured in slices.items():
            yield from _of_measured(measured, name, s.split, owner, f"{where} {name} of {slice_}")
    yield from _facts([s.outputs, s.warnings, s.detectable], where, owner)
    if s.voting:
        yield from _of_voting(s.voting, s, owner, where)


def _of_voting(voting: Voting, s: Scores, owner: str, where: str) -> Iterator[Known]:
    """What the ways of answering give, and how far they are apart on the same items."""
    for name, measured in voting.methods.items():
        yield from _of_measured(measured, s.primary, s.split, owner, f"{where} {s.primary} {name}")
    for c in voting.comparisons:
        for name in ("difference", "low", "high", "p", "p_corrected"):
            part = name if name.startswith("p") else "difference"
            told = f"{where} {c.method} against {c.against} {name}"
            yield Known(getattr(c, name), told, "change", s.primary, s.split, owner, part)
    for point in voting.curve:
        for name in ("majority", "best", "weighted", "any_right"):
            if (value := getattr(point, name)) is not None:
                told = f"{where} {name} of {point.n} samples"
                yield Known(value, told, "score", s.primary, s.split, owner, "value")


def _of_comparison(c: Comparison) -> Iterator[Known]:
    where = f"{c.b} against {c.a} {c.metric}"
    for name in ("value_a", "value_b"):
        side = c.a if name == "value_a" else c.b
        yield Known(
            getattr(c, name),
            f"{side} dev {c.metric}, mean of its seeds",
            "score",
            c.metric,
            "dev",
            side,
            "value",
        )
    more = ("difference", "low", "high", "p", "p_corrected", "detectable", "luck_of_best", "seed_spread")
    for name in more:
        if (value := getattr(c, name)) is not None:
            part = {"low": "difference", "high": "difference", "seed_spread": "spread"}.get(name, name)
            yield Known(value, f"{where} {name}", "change", c.metric, "dev", c.b, part)
    for name in ("n", "seeds_a", "seeds_b", "new_seeds", "seeds_needed", "variants"):
        if (value := getattr(c, name)) is not None:
            yield Known(value, f"{where} {name}", "fact", name, owner=c.b)
    a = Known(c.value_a, f"{c.a} {c.metric}", "score", owner=c.a)
    b = Known(c.value_b, f"{c.b} {c.metric}", "score", owner=c.b)
    yield from _changes(a, b, c.metric, "dev", c.b)


def _replaced(pairs: list[tuple[ReplacedComparison, Comparison]]) -> Iterator[Replaced]:
    """What comparisons said before others took their place, each with what stands there now."""
    for old, new in pairs:
        now = f"{new.b} against {new.a} in {new.metric} is now {new.figures}, {new.verdict}"
        yield from (Replaced(known, old.replaced, now) for known in _of_comparison(old))


def _pairs_of_scores(experiments: list[Experiment]) -> Iterator[Known]:
    """Differences, ratios and relative changes of what one metric has measured, on one split or on both."""
    named: dict[str, list[Known]] = {}
    for e in experiments:
        for split, metrics in (("dev", e.dev), ("test", e.test)):
            for name, m in metrics.items():
                named.setdefault(name, []).append(
                    Known(m.value, f"{e.id} {split} {name}", "score", name, split, e.id)
                )
    for name, values in named.items():
        for a, b in itertools.permutations(values[-MOST_PAIRS:], 2):
            if a.split == b.split or a.owner == b.owner:
                yield from _changes(a, b, name, a.split if a.split == b.split else "", b.owner)


def _changes(a: Known, b: Known, metric: str, split: str, owner: str) -> Iterator[Known]:
    where, told = f"{b.source} against {a.source}", (metric, split, owner)
    yield Known(b.value - a.value, f"{where}, difference", "change", *told, "difference", a.owner)
    if a.value:
        yield Known(b.value / a.value, f"{where}, ratio", "change", *told, "ratio", a.owner)
        yield Known(b.value / a.value - 1, f"{where}, relative change", "change", *told, "relative", a.owner)
    if 0 <= a.value < 1 and 0 <= b.value <= 1:
        less = (1 - b.value) / (1 - a.value)
        yield Known(1 - less, f"{where}, errors less", "change", *told, "errors", a.owner)


def _spreads(experiments: list[Experiment]) -> Iterator[Known]:
    """Mean and standard deviation over the seeds of a configuration."""
    words = configurations(experiments)
    for word in set(words.values()):
        runs = [e for e in experiments if words[e.id] == word]
        for name in {name for e in runs for name in e.dev} if len(runs) > 1 else ():
            values = [e.dev[name].value for e in runs if name in e.dev]
            if len(values) < 2:
                continue
            where = f"{runs[0].id} dev {name} over {len(values)} seeds"
            yield Known(statistics.fmean(values), f"{where}, mean", "score", name, "dev", runs[0].id, "value")
            for spread in (statistics.stdev(values), statistics.pstdev(values)):
                yield Known(
                    spread, f"{where}, standard deviation", "change", name, "dev", runs[0].id, "spread"
                )


# Jobs and data


def _of_jobs(found: Evidence, jobs: Jobs, scripts: set[str]) -> Iterator[Known]:
    statuses = jobs.list()
    yield Known(len(statuses), "number of jobs", "fact")
    ran: list[Known] = []
    ends: dict[str, list[Known]] = {}
    for status in statuses:
        job = status.id
        method = ""
        with suppress(ToolError):
            spec = jobs.spec(job)
            method = spec.method
            told = {k: v for k, v in spec.config.items() if k != "code"}
            yield from _facts({**told, "timeout_s": spec.timeout_s}, job, job)
        if method == "script":
            scripts.add(job)
        ran.append(Known(status.ran_s, f"{job} seconds", "time", "seconds", owner=job))
        yield ran[-1]
        yield from _of_model(Path(status.output), job, own=method == "script")
        yield from _of_curves(found, jobs, job, method == "script", ends)
        failure = status.failure.model_dump(mode="json") if status.failure else None
        yield from _facts(failure, f"{job} failure", job, "tool")
    yield Known(sum(k.value for k in ran), "seconds of all jobs", "time")
    yield from _ratios(ran, "seconds")
    for name, values in ends.items():
        for a, b in itertools.permutations(values[-MOST_PAIRS:], 2):
            yield from _curve_changes(a, b, name)


def _of_model(output: Path, job: str, own: bool) -> Iterator[Known]:
    kind: Kind = "own" if own else "fact"
    for file in (output / "result.json", output / "model" / "config.json"):
        with suppress(OSError, ValueError):
            yield from _facts(json.loads(file.read_text()), job, job, kind)
    with suppress(OSError, ValueError, ToolError):
        if count := parameters(output / "model"):
            yield Known(count, f"{job} parameters", "fact", "parameters", owner=job)


def _of_curves(
    found: Evidence, jobs: Jobs, job: str, own: bool, ends: dict[str, list[Known]]
) -> Iterator[Known]:
    file = jobs.folder / job / "metrics.jsonl"
    try:
        stat = file.stat()
    except OSError:
        return
    series = _series(str(file), stat.st_size, stat.st_mtime_ns)
    for name, values in series.items():
        kind: Kind = "own" if own else "step" if name in ("step", "epoch") else "curve"
        found.add_series(Known(0.0, f"{job} {name}", kind, name, owner=job, part="point"), values)
        marks = [values[0], values[-1], min(values), max(values)]
        if own or kind == "step":
            yield from (Known(v, f"{job} {name}", kind, name, owner=job) for v in {*marks})
            continue
        yield Known(statistics.fmean(values), f"{job} {name}, mean", "curve", name, owner=job)
        known = [Known(v, f"{job} {name}", "curve", name, owner=job) for v in dict.fromkeys(marks)]
        ends.setdefault(name, []).extend([k for k in known if k.value in (values[-1], min(values))])
        yield from known
        for a, b in itertools.permutations(known, 2):
            yield from _curve_changes(a, b, name)
        if "loss" in name:
            yield from (
                Known(2.718281828459045**v, f"perplexity of {job} {name}", "curve", "perplexity", owner=job)
                for v in marks
                if v < 50
            )


@lru_cache(maxsize=256)
def _series(file: str, size: int, changed: int) -> dict[str, list[float]]:
    """The values of each metric in a file, read again when it has changed."""
    found: dict[str, list[float]] = {}
    for row in reading.rows(Path(file)):
        for name, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(name, []).append(float(value))
    return found


def _curve_changes(a: Known, b: Known, name: str) -> Iterator[Known]:
    for change in _changes(a, b, name, "", b.owner):
        yield Known(
            change.value, change.source, "curve", name, owner=b.owner, part=change.part, other=a.owner
        )


def _of_data(data: DatasetStore) -> Iterator[Known]:
    counts: list[Known] = []
    for info in data.list():
        counts.append(Known(info.rows, f"rows of {info.id}", "fact", "rows", owner=info.id))
        if info.lineage.rows_before is not None:
            counts.append(
                Known(info.lineage.rows_before, f"rows before {info.id}", "fact", "rows", owner=info.id)
            )
        yield Known(len(info.columns), f"columns of {info.id}", "fact", "columns", owner=info.id)
        yield from _facts(info.lineage.arguments, info.id, info.id)
    yield Known(len({k.owner for k in counts}), "number of datasets", "fact")
    yield from counts
    yield from _ratios(counts, "rows")


def _ratios(counts: list[Known], name: str) -> Iterator[Known]:
    """How many more, and how many times as many: of rows, of seconds, of dollars."""
    distinct = list({(k.value, k.source): k for k in counts}.values())[-MOST_PAIRS:]
    for a, b in itertools.permutations(distinct, 2):
        where = f"{b.source} against {a.source}"
        kind: Kind = b.kind
        told = (name, "", b.owner)
        yield Known(b.value - a.value, f"{where}, difference", kind, *told, "difference", a.owner)
        if a.value:
            yield Known(b.value / a.value, f"{where}, ratio", "fact", *told, "ratio", a.owner)
            yield Known(
                b.value / a.value - 1, f"{where}, relative change", "fact", *told, "relative", a.owner
            )


def _of_evals(evals: Evals) -> Iterator[Known]:
    for info in evals.list():
        for split, rows in info.rows.items():
            yield Known(rows, f"{split} items of {info.name}", "fact", "items", split)
        yield Known(sum(info.rows.values()), f"items of {info.name}", "fact", "items")
        yield Known(info.queries_used, f"dev queries of {info.name} used", "fact", "queries")
        yield Known(info.queries_left, f"dev queries of {info.name} left", "fact", "queries")
        yield from _facts([info.groups, info.asking.model_dump(mode="json")], info.name)


def _facts(value: Any, where: str, owner: str = "", kind: Kind = "fact") -> Iterator[Known]:
    """The numbers in what JSON can carry."""
    for number, path in inside(value):
        name = path.removesuffix(IN_A_TEXT)
        what: Kind = "time" if kind == "fact" and "seconds" in name else kind
        what = "curve" if kind == "fact" and "loss" in name else what
        part = "text" if path.endswith(IN_A_TEXT) else ""
        yield Known(number, f"{where} {name}".strip(), what, name, owner=owner, part=part)


# What was heard


def _hear(found: Evidence, heard: Heard, scripts: set[str]) -> None:
    written: set[str] = set()
    for told in heard.told:
        if told.tool in TO_THE_HUB:
            written.add(_repository(told))
        if told.tool in SILENT:
            continue
        own = _of_the_brain(told, scripts, heard.began)
        own = own or (told.tool in OFF_THE_HUB and _repository(told) in written)
        found.active = found.active or not (own or told.failed)
        found.add([Known(told.seconds, f"seconds of {told.tool}", "time", "seconds")])
        if told.tool in (*IN_THE_LEDGER, *IN_THE_JOBS):
            continue
        found.add(_of_call(told, own))
    for text in heard.said:
        found.add(Known(v, "the person's own words", "said") for v, _ in inside(text))
    for text in heard.printed:
        found.add(Known(v, "a cell's own output", "own") for v, _ in inside(text))
    if heard.budget is not None:
        for value, path in inside(heard.budget):
            kind: Kind = "money" if "usd" in path else "time" if "seconds" in path else "fact"
            found.add([Known(value, f"budget {path}", kind, path)])
            if "hours" in path:
                found.add([Known(value * 3600, f"budget {path}", "time", path)])
        for unit, told in heard.budget.items():
            if isinstance(told, dict) and isinstance(cap := told.get("cap"), int | float):
                rest = cap - (told.get("spent") or 0.0)
                found.add([Known(rest, f"budget {unit} left", _KINDS_OF_UNITS.get(unit, "fact"), unit)])
    if heard.seconds is not None:
        found.add([Known(heard.seconds, "seconds of the session", "time", "elapsed")])


def _of_the_brain(told: ToolTold, scripts: set[str], began: float | None) -> bool:
    """Whether the brain's own code wrote what the tool gave back."""
    if told.tool in OF_COMMANDS:
        return True
    if told.tool in OF_JOBS:
        named = told.arguments.get("job") or told.arguments.get("jobs") or []
        return bool(scripts.intersection([named] if isinstance(named, str) else map(str, named)))
    if told.tool in OF_FILES:
        return not _older(str(told.arguments.get("path", "")), began)
    return False


def _repository(told: ToolTold) -> str:
    """The repository of a call, by its bare name: with and without its namespace it is the same."""
    named = str(told.arguments.get("repo") or told.arguments.get("source") or told.tool)
    return re.split(r"[@:]", named)[0].rstrip("/").rpartition("/")[2].casefold()


def _older(path: str, began: float | None) -> bool:
    """Whether a file has been as it is since before the session: nobody can set back when it was changed."""
    try:
        return began is not None and Path(path).is_absolute() and Path(path).stat().st_ctime < began
    except (OSError, ValueError):
        return False


def _of_call(told: ToolTold, own: bool) -> Iterator[Known]:
    for value, path in inside(told.value):
        text = path.endswith(IN_A_TEXT)
        path = path.removesuffix(IN_A_TEXT)
        words = set(path.split("."))
        kind: Kind = "own" if own or words & OWN_WORDS else "tool"
        if kind == "tool" and told.tool in OF_JOBS:
            last = path.rpartition(".")[2]
            kind = "step" if last in ("step", "total_steps", "epoch") else "tool" if text else "curve"
        name = path.rpartition(".")[2]
        yield Known(value, f"{told.tool} {path}".strip(), kind, name, part="text" if text else "")
