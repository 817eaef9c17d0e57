"""What a ledger holds of evaluations: scorings with their items, comparisons, and which is best by them."""

from __future__ import annotations

import builtins
import json
import time

from ml_intern.ledger.configurations import configurations
from ml_intern.ledger.database import pack, unpack
from ml_intern.ledger.model import (
    Comparison,
    Experiment,
    Measured,
    ReplacedComparison,
    Scores,
    Split,
)
from ml_intern.ledger.numbers import numbers_of_comparison
from ml_intern.ledger.rows import Rows


class Measurements(Rows):
    """Rows with what was measured of them; see `ml_intern.ledger.store.Ledger`."""

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
                row.update(model=scores.weights or scores.model, primary=row["primary"] or scores.primary)
                if scores.inference is not None:
                    row["inference"] = scores.inference.model_dump()
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
        """Keep a comparison; the newest of a pair, eval and metric counts.

        One whose figures or verdict it changes is kept beside it with the time: what was noted before that
        time quoted what was true then.
        """
        c = comparison
        with self._db.change():
            was = self._db.one(
                "SELECT body FROM comparisons WHERE a = ? AND b = ? AND eval = ? AND metric = ?", c.pair
            )
            if was and _found(old := Comparison.model_validate_json(was[0])) != _found(c):
                kept = ReplacedComparison(**old.model_dump(), replaced=time.time())
                self._db.run("INSERT INTO replaced (body) VALUES (?)", (kept.model_dump_json(),))
            self._db.run(
                "INSERT OR REPLACE INTO comparisons VALUES (?, ?, ?, ?, ?)",
                (*c.pair, c.model_dump_json()),
            )

    def comparisons(self) -> builtins.list[Comparison]:
        """The comparisons that stand: of each pair, eval and metric the newest."""
        return [
            Comparison.model_validate_json(b)
            for (b,) in self._db.all("SELECT body FROM comparisons ORDER BY rowid")
        ]

    def replaced(self) -> builtins.list[ReplacedComparison]:
        """The comparisons that others have replaced, in that order, each with the time of it."""
        return [
            ReplacedComparison.model_validate_json(b)
            for (b,) in self._db.all("SELECT body FROM replaced ORDER BY number")
        ]

    def replacements(self) -> builtins.list[tuple[ReplacedComparison, Comparison]]:
        """Each comparison that was replaced with the one that stands in its place today."""
        standing = {c.pair: c for c in self.comparisons()}
        return [(c, standing[c.pair]) for c in self.replaced()]

    def best(self, metric: str | None = None) -> Experiment | None:
        """The best configuration by its dev score: of those kept, else of those that nobody discarded.

        A configuration counts with the mean over its seeds and is named by its first experiment, so that a
        lucky seed wins nothing. One whose gain new seeds did not confirm comes last.

        Args:
            metric: The metric to rank by; nothing means each experiment's primary metric.
        """
        everything = self.list()
        measured = [e for e in everything if (metric or e.primary) in e.dev and e.replicates is None]
        pool = [e for e in measured if e.verdict == "kept"]
        pool = pool or [e for e in measured if e.verdict in ("open", "inconclusive")]
        lost = {c.b for c in self.comparisons() if c.confirmation in ("lost", "open")}
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

    def _metric_name(self, id: str, eval: str, metric: str) -> str:
        """Two evals may have a metric of one name: the eval that was asked first keeps the short name."""
        rows = self._db.all("SELECT eval, body FROM scores WHERE experiment = ? ORDER BY number", (id,))
        first = next((e for e, body in rows if metric in json.loads(body)["metrics"]), eval)
        return metric if first == eval else f"{metric} of {eval}"


def _found(c: Comparison) -> tuple[object, ...]:
    """What a comparison says, whatever its words."""
    return c.verdict, c.confirmed, *numbers_of_comparison(c)


def _mean(values: builtins.list[Measured]) -> Measured:
    mean = sum(m.value for m in values) / len(values)
    return values[0].model_copy(update={"value": mean})
