"""The ledger: every experiment of a session in one SQLite file that survives a kill at any moment.

Each change is one transaction in WAL mode, so a reader in another process sees whole rows only, and a writer
that is killed leaves the last whole state. Keys make repeated calls harmless: what the same key asked before
is returned, not done again.
"""

from __future__ import annotations

import builtins
import secrets
import time
from typing import Any, Literal

from ml_intern.errors import ToolError
from ml_intern.ledger.configurations import (
    differences,
    first_of,
    replications,
    same_configuration,
    trained,
    undeclared,
)
from ml_intern.ledger.measurements import Measurements
from ml_intern.ledger.model import Experiment, Number, Publication, Verdict
from ml_intern.ledger.numbers import numbers_of, numbers_of_comparison, numbers_of_scores, totals


class Ledger(Measurements):
    """A session's experiments. Safe to call from threads, and from several processes.

    Args:
        path: The SQLite file; made where it is missing.
        emit: Receives an `ExperimentChanged` after each change.

    Raises:
        InternError: The file is not a ledger or is damaged.
    """

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
        as it lacks to have no fewer new seeds than the first. The same `key` returns the rows that it opened
        before.
        """
        with self._db.change():
            if known := self.opened_by(key):
                return known
            everything = self.list()
            winner = first_of(replications(self.get(id), everything))
            other = first_of(replications(self.get(against), everything)) if against is not None else None
            sides: builtins.list[tuple[Experiment, int]] = []
            if other and trained(other):
                then = len(self._confirmations(winner)) + count
                sides = [(other, min(count, then - len(self._confirmations(other))))]
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
        paid_for: str = "",
        base: dict[str, str] | None = None,
        made: dict[str, str] | None = None,
    ) -> Experiment:
        """Add to a row what its work made known. Saying the same again changes nothing.

        Args:
            id: The experiment.
            job: A job of it.
            config: What was run; merged over what is there, or in its place where the method is another.
            data: Datasets by role, such as ``{"train": {"id": "statements@2", "rows": 8000, "sha256": …}}``.
            code_hash: Hash of the code that trained.
            environment: What differs from the host's own versions and machine.
            seconds: Seconds that `job` took; one figure a job, the last one said counts.
            usd: Dollars that `job` cost, in the same way.
            facts: Other measured figures.
            seed: The seed that was really used.
            paid_for: What else than a job cost so much; one figure for each.
            base: Hashes of the model that its training began from.
            made: Hashes of what was scored beside its weights.
        """
        with self._db.change():
            row = self._row(id)
            if job is not None and job not in row["jobs"]:
                row["jobs"].append(job)
            now = (config or {}).get("method")
            if now and row["config"].get("method", now) != now:
                row["config"] = {}  # Another stage: what it was asked for is no mixture of both.
            for name, given in (
                ("config", config),
                ("data", data),
                ("environment", environment),
                ("facts", facts),
            ):
                row[name].update(given or {})
            for name, hashes in (("base", base), ("made", made)):
                if hashes:
                    row[name] = {**row.get(name, {}), **hashes}
            if code_hash is not None:
                row["code_hash"] = code_hash
            if seed is not None:
                row["seed"] = seed
            self._say_what_else(row)
            spent = row.setdefault("spent", {})
            for unit, amount in (("seconds", seconds), ("usd", usd)):
                if amount is not None:
                    spent.setdefault(unit, {})[job or paid_for] = amount
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

    # The end

    def freeze(self, id: str, model: str = "") -> Experiment:
        """Make this the one experiment whose test split is opened. Once a session, and not undone.

        Raises:
            ToolError: Another experiment, or this one with other weights, was frozen before.
        """
        with self._db.change():
            row = self._row(id)
            self.check_freeze(id, model)
            frozen = self._db.one("SELECT experiment, model FROM frozen")
            if frozen is None:
                self._db.run("INSERT INTO frozen VALUES (1, ?, ?)", (id, model))
            elif model and not frozen[1]:
                self._db.run("UPDATE frozen SET model = ?", (model,))
            row["frozen"] = True
            changed = self._store(row)
        self._tell(changed)
        return changed

    def check_freeze(self, id: str, model: str = "") -> None:
        """Whether this experiment could be frozen now; nothing is changed.

        Raises:
            ToolError: Another experiment, or this one with other weights, was frozen before.
        """
        frozen = self._db.one("SELECT experiment, model FROM frozen")
        if frozen is not None and frozen[0] != id:
            raise ToolError(
                f"The test split was opened for {frozen[0]}; {id} cannot be scored on it as well.",
                "A model chosen by its test score proves nothing. Publish the frozen experiment.",
            )
        if frozen is not None and model and frozen[1] and frozen[1] != model:
            raise ToolError(
                f"{id} was frozen with other weights.",
                "Give the model that was frozen; its test score is recorded.",
            )

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

    def _say_what_else(self, row: dict[str, Any]) -> None:
        """Note what differs from the parent beside the one change that was announced."""
        e = Experiment.model_validate(row)
        if e.parent is None:
            return
        older, own = self.get(e.parent), e
        if not same_configuration(older, own):
            row["also"] = undeclared(e.change, differences(older, own))


def _new_seed(used: set[int]) -> int:
    """A seed that nobody could know beforehand, so that nobody could have chosen by it."""
    while (seed := secrets.randbelow(2**31 - 1)) in used:
        pass
    used.add(seed)
    return seed
