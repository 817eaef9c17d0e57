"""The ledger: every experiment of a session in one SQLite file that survives a kill at any moment.

Each change is one transaction in WAL mode, so a reader in another process sees whole rows only, and a writer
that is killed leaves the last whole state. Keys make repeated calls harmless: what the same key asked before
is returned, not done again.
"""

from __future__ import annotations

import builtins
import json
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ml_intern.errors import ToolError
from ml_intern.events import Event, ExperimentChanged
from ml_intern.ledger.configurations import (
    configurations,
    differences,
    first_of,
    replications,
    same_configuration,
    trained,
    undeclared,
)
from ml_intern.ledger.database import Database, pack, unpack
from ml_intern.ledger.environment import environment as this_environment
from ml_intern.ledger.model import (
    Comparison,
    Experiment,
    Measured,
    Number,
    Publication,
    Scores,
    Split,
    Verdict,
)
from ml_intern.ledger.numbers import numbers_of, numbers_of_comparison, numbers_of_scores, totals
from ml_intern.tooling import did_you_mean

_TABLES = """
CREATE TABLE IF NOT EXISTS experiments (number INTEGER PRIMARY KEY, key TEXT UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scores (
    number INTEGER PRIMARY KEY, experiment TEXT, eval TEXT NOT NULL, split TEXT NOT NULL,
    model TEXT NOT NULL, body TEXT NOT NULL, items BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS scores_by_eval ON scores (eval, split, model);
CREATE TABLE IF NOT EXISTS comparisons (
    a TEXT, b TEXT, eval TEXT, metric TEXT, body TEXT NOT NULL, PRIMARY KEY (a, b, eval, metric));
CREATE TABLE IF NOT EXISTS frozen (one INTEGER PRIMARY KEY CHECK (one = 1), experiment TEXT, model TEXT);
"""


class Ledger:
    """A session's experiments. Safe to call from threads, and from several processes.

    Args:
        path: The SQLite file; made where it is missing.
        emit: Receives an `ExperimentChanged` after each change.

    Raises:
        InternError: The file is not a ledger or is damaged.
    """

    def __init__(self, path: Path, emit: Callable[[Event], None] = lambda event: None) -> None:
        self.path = path
        self._emit = emit
        self._db = Database(path, _TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Experiments

    def start(
        self,
        hypothesis: str,
        change: str,
        parent: str | None = None,
        seed: int = 0,
        key: str | None = None,
        seed_by: Literal["host", "agent"] = "host",
        replicates: str | None = None,
    ) -> Experiment:
        """Open a row. The same `key` returns the row that it opened before.

        Raises:
            ToolError: There is no such parent.
        """
        with self._db.change():
            if key is not None and (known := self._by_key(key)):
                return known
            if parent is not None:
                self.get(parent)
            opened = self._open(
                key,
                hypothesis=hypothesis,
                change=change,
                parent=parent,
                seed=seed,
                seed_by=seed_by,
                replicates=replicates,
            )
        self._tell(opened)
        return opened

    def confirm(self, id: str, against: str | None, count: int, key: str) -> builtins.list[Experiment]:
        """Open rows that run a configuration, and the one it is held against, again on new seeds.

        The host draws the seeds, and none that this ledger has seen. The other side is given as many runs
        as it lacks. The same `key` returns the rows that it opened before.
        """
        with self._db.change():
            if known := self.opened_by(key):
                return known
            everything = self.list()
            winner = first_of(replications(self.get(id), everything))
            other = first_of(replications(self.get(against), everything)) if against is not None else None
            sides = [(other, count - len(self._confirmations(other)))] if other and trained(other) else []
            used = {e.seed for e in everything}
            opened: builtins.list[Experiment] = []
            seeds = [_new_seed(used) for _ in range(count)]
            for of, wanted in [(winner, count), *sides]:
                for seed in seeds[: max(0, wanted)]:
                    opened.append(
                        self._open(
                            f"{key}/{len(opened)}",
                            hypothesis="The gain does not hang on its seed.",
                            change=f"{of.change}, seed {seed}",
                            parent=of.parent,
                            seed=seed,
                            replicates=of.id,
                        )
                    )
        for e in opened:
            self._tell(e)
        return opened

    def opened_by(self, key: str) -> builtins.list[Experiment]:
        """The rows that `confirm` opened under a key."""
        found: builtins.list[Experiment] = []
        while row := self._by_key(f"{key}/{len(found)}"):
            found.append(row)
        return found

    def _confirmations(self, e: Experiment) -> builtins.list[Experiment]:
        """The runs that were opened for a configuration, measured or not; what crashed counts for nothing."""
        everything = self.list()
        own = {run.id for run in replications(e, everything)}
        return [run for run in everything if run.replicates in own and run.verdict != "crashed"]

    def get(self, id: str) -> Experiment:
        """One experiment.

        Raises:
            ToolError: There is none of that id.
        """
        row = self._db.one("SELECT body FROM experiments WHERE number = ?", (_number(id),))
        if row is None:
            known = [e.id for e in self.list()]
            raise ToolError(
                f"There is no experiment {id!r}{did_you_mean(id, known)}.",
                f"Experiments: {', '.join(known)}." if known else "Open one with start_experiment.",
            )
        return Experiment.model_validate_json(row[0])

    def list(self) -> list[Experiment]:
        """All experiments, oldest first."""
        return [
            Experiment.model_validate_json(b)
            for (b,) in self._db.all("SELECT body FROM experiments ORDER BY number")
        ]

    def by_key(self, key: str) -> Experiment | None:
        """The experiment that a call with this key opened, if it did."""
        return self._by_key(key)

    def attach(
        self,
        id: str,
        *,
        job: str | None = None,
        config: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        code_hash: str | None = None,
        environment: dict[str, Any] | None = None,
        seconds: float | None = None,
        usd: float | None = None,
        facts: dict[str, float] | None = None,
        seed: int | None = None,
    ) -> Experiment:
        """Add to a row what its work made known. Saying the same again changes nothing.

        Args:
            id: The experiment.
            job: A job of it.
            config: What was run; merged over what is there.
            data: Datasets by role, such as ``{"train": {"id": "statements@2", "rows": 8000, "sha256": …}}``.
            code_hash: Hash of the code that trained.
            environment: What differs from the host's own versions and machine.
            seconds: Seconds that `job` took; one figure a job, the last one said counts.
            usd: Dollars that `job` cost, in the same way.
            facts: Other measured figures.
            seed: The seed that was really used.
        """
        with self._db.change():
            row = self._row(id)
            if job is not None and job not in row["jobs"]:
                row["jobs"].append(job)
            for name, given in (
                ("config", config),
                ("data", data),
                ("environment", environment),
                ("facts", facts),
            ):
                row[name].update(given or {})
            if code_hash is not None:
                row["code_hash"] = code_hash
            if seed is not None:
                row["seed"] = seed
            self._say_what_else(row)
            spent = row.setdefault("spent", {})
            for unit, amount in (("seconds", seconds), ("usd", usd)):
                if amount is not None:
                    spent.setdefault(unit, {})[job or ""] = amount
                    row["cost"][unit] = sum(spent[unit].values())
            changed = self._store(row)
        self._tell(changed)
        return changed

    def finish(self, id: str, verdict: Verdict, notes: str = "") -> Experiment:
        """Close a row with its verdict. Whether a gain is real is asked in `tools/experiments.py`."""
        with self._db.change():
            row = self._row(id)
            if row["verdict"] == verdict and row["notes"] == notes:
                return Experiment.model_validate(row)
            row.update(verdict=verdict, notes=notes, finished=time.time())
            changed = self._store(row)
        self._tell(changed)
        return changed

    def best(self, metric: str | None = None) -> Experiment | None:
        """The best configuration by its dev score: of those kept, else of those that nobody discarded.

        A configuration counts with the mean over its seeds and is named by its first experiment, so that a
        lucky seed wins nothing. One whose gain did not hold on new seeds comes last.

        Args:
            metric: The metric to rank by; nothing means each experiment's primary metric.
        """
        everything = self.list()
        measured = [e for e in everything if (metric or e.primary) in e.dev and e.replicates is None]
        pool = [e for e in measured if e.verdict == "kept"]
        pool = pool or [e for e in measured if e.verdict in ("open", "inconclusive")]
        lost = {c.b for c in self.comparisons() if c.confirmed is False}
        pool = [e for e in pool if e.id not in lost] or pool
        words = configurations(everything)
        best: Experiment | None = None
        standing: Measured | None = None
        for e in pool:
            name = metric or e.primary or ""
            runs = [run for run in everything if words[run.id] == words[e.id] and name in run.dev]
            mean = _mean([run.dev[name] for run in runs])
            if standing is None or (best and name in best.dev and mean.beats(standing)):
                best, standing = e, mean
        return best

    # Measurements

    def record(self, id: str | None, eval: str, split: Split, scores: Scores) -> Experiment | None:
        """Keep a scoring with its items, for one experiment or for none."""
        changed = None
        with self._db.change():
            scores = scores.model_copy(update={"experiment": id})
            self._db.run(
                "INSERT INTO scores (experiment, eval, split, model, body, items) VALUES (?, ?, ?, ?, ?, ?)",
                (id, eval, split, scores.model, scores.model_dump_json(), pack(scores.items)),
            )
            if id is not None:
                row = self._row(id)
                row.update(model=scores.model, primary=row["primary"] or scores.primary)
                for name, measured in scores.metrics.items():
                    row[split][self._metric_name(id, eval, name)] = measured.model_dump()
                changed = self._store(row)
        if changed:
            self._tell(changed)
        return changed

    def scores(
        self,
        experiment: str | None = None,
        eval: str | None = None,
        split: Split | None = None,
        model: str | None = None,
        items: bool = False,
    ) -> builtins.list[Scores]:
        """Recorded scorings, oldest first; `items` reads what each item contributed as well."""
        given = {"experiment": experiment, "eval": eval, "split": split, "model": model}
        wanted = {k: v for k, v in given.items() if v is not None}
        where = " AND ".join(f"{k} = ?" for k in wanted) or "1"
        rows = self._db.all(
            f"SELECT body, items FROM scores WHERE {where} ORDER BY number", tuple(wanted.values())
        )
        return [
            Scores.model_validate_json(body).model_copy(update={"items": unpack(blob)} if items else {})
            for body, blob in rows
        ]

    def queries(self, eval: str) -> int:
        """Models whose dev scores were asked of an eval so far."""
        counted = "SELECT COUNT(DISTINCT model) FROM scores WHERE eval = ? AND split = 'dev'"
        return int(self._db.one(counted, (eval,))[0])

    def record_comparison(self, comparison: Comparison) -> None:
        """Keep a comparison; the newest of a pair, eval and metric counts."""
        c = comparison
        with self._db.change():
            self._db.run(
                "INSERT OR REPLACE INTO comparisons VALUES (?, ?, ?, ?, ?)",
                (c.a, c.b, c.eval, c.metric, c.model_dump_json()),
            )

    def comparisons(self) -> builtins.list[Comparison]:
        """All recorded comparisons."""
        return [
            Comparison.model_validate_json(b)
            for (b,) in self._db.all("SELECT body FROM comparisons ORDER BY rowid")
        ]

    # The end

    def freeze(self, id: str, model: str = "") -> Experiment:
        """Make this the one experiment whose test split is opened. Once a session, and not undone.

        Raises:
            ToolError: Another experiment, or this one with other weights, was frozen before.
        """
        with self._db.change():
            row = self._row(id)
            frozen = self._db.one("SELECT experiment, model FROM frozen")
            if frozen is None:
                self._db.run("INSERT INTO frozen VALUES (1, ?, ?)", (id, model))
            elif frozen[0] != id:
                raise ToolError(
                    f"The test split was opened for {frozen[0]}; {id} cannot be scored on it as well.",
                    "A model chosen by its test score proves nothing. Publish the frozen experiment.",
                )
            elif model and frozen[1] and frozen[1] != model:
                raise ToolError(
                    f"{id} was frozen with other weights.",
                    "Give the model that was frozen; its test score is recorded.",
                )
            elif model and not frozen[1]:
                self._db.run("UPDATE frozen SET model = ?", (model,))
            row["frozen"] = True
            changed = self._store(row)
        self._tell(changed)
        return changed

    def frozen(self) -> Experiment | None:
        """The experiment that was frozen, if one was."""
        row = self._db.one("SELECT experiment FROM frozen")
        return self.get(row[0]) if row else None

    def record_published(self, id: str, repo: str, url: str, commit: str) -> Experiment:
        """Note where an experiment was published. The same commit again only has the address of today.

        An embedded Hub may have another port in each process.
        """
        with self._db.change():
            row = self._row(id)
            entry = Publication(repo=repo, url=url, commit=commit).model_dump()
            others = [
                known for known in row["published"] if (known["repo"], known["commit"]) != (repo, commit)
            ]
            row["published"] = [*others, entry]
            changed = self._store(row)
        self._tell(changed)
        return changed

    def numbers(self) -> builtins.list[Number]:
        """Every number that this ledger vouches for, with its source, for resolving claims."""
        experiments = self.list()
        found = [n for e in experiments for n in numbers_of(e)]
        found += [n for s in self.scores() for n in numbers_of_scores(s)]
        found += [n for c in self.comparisons() for n in numbers_of_comparison(c)]
        return found + list(totals(experiments))

    # Below: rows

    def _open(self, key: str | None, **told: Any) -> Experiment:
        number = self._db.one("SELECT COALESCE(MAX(number), 0) + 1 FROM experiments")[0]
        opened = Experiment(id=f"exp-{number}", environment=this_environment(), created=time.time(), **told)
        self._db.run("INSERT INTO experiments VALUES (?, ?, ?)", (number, key, opened.model_dump_json()))
        return opened

    def _by_key(self, key: str) -> Experiment | None:
        row = self._db.one("SELECT body FROM experiments WHERE key = ?", (key,))
        return Experiment.model_validate_json(row[0]) if row else None

    def _row(self, id: str) -> dict[str, Any]:
        self.get(id)
        text = self._db.one("SELECT body FROM experiments WHERE number = ?", (_number(id),))[0]
        row: dict[str, Any] = json.loads(text)
        return row

    def _store(self, row: dict[str, Any]) -> Experiment:
        """Write a row back; `spent` is what each job cost, which the experiment shows as a sum."""
        checked = Experiment.model_validate(row)
        body = {**checked.model_dump(), "spent": row.get("spent", {})}
        self._db.run(
            "UPDATE experiments SET body = ? WHERE number = ?", (json.dumps(body), _number(checked.id))
        )
        return checked

    def _say_what_else(self, row: dict[str, Any]) -> None:
        """Note what differs from the parent beside the one change that was announced."""
        e = Experiment.model_validate(row)
        if e.parent is None:
            return
        older, own = self.get(e.parent), e
        if not same_configuration(older, own):
            row["also"] = undeclared(e.change, differences(older, own))

    def _metric_name(self, id: str, eval: str, metric: str) -> str:
        """Two evals may have a metric of one name: the eval that was asked first keeps the short name."""
        rows = self._db.all("SELECT eval, body FROM scores WHERE experiment = ? ORDER BY number", (id,))
        first = next((e for e, body in rows if metric in json.loads(body)["metrics"]), eval)
        return metric if first == eval else f"{metric} of {eval}"

    def _tell(self, e: Experiment) -> None:
        metrics = {name: m.value for name, m in e.dev.items()} | {
            f"test {n}": m.value for n, m in e.test.items()
        }
        self._emit(ExperimentChanged(e.id, e.change, e.verdict, metrics))


def _new_seed(used: set[int]) -> int:
    """A seed that nobody could know beforehand, so that nobody could have chosen by it."""
    while (seed := secrets.randbelow(2**31 - 1)) in used:
        pass
    used.add(seed)
    return seed


def _mean(values: builtins.list[Measured]) -> Measured:
    mean = sum(m.value for m in values) / len(values)
    return values[0].model_copy(update={"value": mean})


def _number(id: str) -> int:
    found = re.fullmatch(r"exp-(\d+)", id)
    return int(found[1]) if found else 0
