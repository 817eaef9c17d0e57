"""Runs a sweep's trials as jobs, some side by side, each an experiment of the ledger.

Nothing is known to this process alone: the plan and the study are files, jobs and experiments are found by
keys that follow from the sweep's own. After a kill -9 the same call goes on: finished trials count as they
were told, running ones are attached to again, and none is trained twice.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.context import ToolContext
from ml_intern.errors import Interrupted, ToolError
from ml_intern.jobs.asking import Training, training_spec
from ml_intern.jobs.curves import curve, level
from ml_intern.jobs.model import FINISHED, JobSpec, JobStatus
from ml_intern.jobs.places import read_place
from ml_intern.jobs.record import record_end, record_start
from ml_intern.jobs.tracking import track
from ml_intern.sweeps.model import Sweep, SweepPlan, Trial
from ml_intern.sweeps.space import read_space
from ml_intern.sweeps.study import Study

if TYPE_CHECKING:
    import optuna

PLAN = "sweep.json"
POLL_S = 0.2
MOST_FAILED = 3
"""So many trials that fail before any succeeds, and the sweep itself is at fault."""
NEXT = (
    "The best of {count} is partly the luckiest of {count}: before it counts, train {who} again on another "
    "seed with launch_training, and hold it against its parent on dev with compare_experiments."
)


def find(ctx: ToolContext, key: str) -> SweepPlan | None:
    """The plan of the call with this key, if it has begun."""
    plans = map(_read, sorted(folder_of(ctx).glob(f"*/{PLAN}")))
    return next((plan for plan in plans if plan.key == key), None)


def make(ctx: ToolContext, plan: SweepPlan) -> SweepPlan:
    """Give a plan its folder and its id; the same key finds the plan that was made before."""
    if known := find(ctx, plan.key):
        return known
    root = folder_of(ctx)
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while (root / f"sweep-{number}").exists() and (root / f"sweep-{number}" / PLAN).exists():
        number += 1
    plan = plan.model_copy(update={"id": f"sweep-{number}"})
    folder = root / plan.id
    folder.mkdir(exist_ok=True)
    fresh = folder / f"{PLAN}.new"
    fresh.write_text(plan.model_dump_json(indent=1))
    fresh.replace(folder / PLAN)
    return plan


def folder_of(ctx: ToolContext) -> Path:
    """Where the session's sweeps are."""
    return ctx.services.folder / "sweeps"


def _read(path: Path) -> SweepPlan:
    return SweepPlan.model_validate_json(path.read_text())


@dataclass
class Running:
    """A sweep that runs in this process."""

    ctx: ToolContext
    plan: SweepPlan
    _failed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        plan = self.plan
        steps = plan.base["config"].get("max_steps")
        self.study = Study(
            folder_of(self.ctx) / plan.id / "study.jsonl",
            read_space(plan.space),
            plan.higher_is_better,
            plan.sampler,
            plan.base.get("seed", 0),
            steps if plan.halving and isinstance(steps, int) and steps > 0 else None,
            plan.trials,
        )

    def run(self) -> Sweep:
        """Run all trials that have not ended yet, and say what came of them.

        Raises:
            ToolError: The first trials all failed.
            Interrupted: The person stopped it; the jobs run on, and the same call goes on with them.
        """
        left = self._together(self.study.unfinished())
        with ThreadPoolExecutor(self.plan.parallel, thread_name_prefix=self.plan.id) as pool:
            workers = [pool.submit(self._work, left) for _ in range(self.plan.parallel)]
        for worker in workers:
            worker.result()
        if self.ctx.cancelled():
            raise Interrupted(f"{self.plan.id} was interrupted; its jobs run on.")
        result = self._result()
        if not any(t.state != "failed" for t in result.trials):
            raise ToolError(f"{self.plan.id}: every trial failed: {self._failed[0]}", "Try one alone first.")
        return result

    def _together(self, left: list[optuna.trial.Trial]) -> list[optuna.trial.Trial]:
        """Fill up to as many trials as run at once, and submit their jobs in one go: a cluster's array.

        What goes wrong with one of them is told when its turn comes.
        """
        while len(left) < self.plan.parallel and (trial := self.study.ask()) is not None:
            left.append(trial)
        specs = []
        for trial in left[: self.plan.parallel]:
            with suppress(ToolError):
                name, params, experiment, key = self._begin(trial)
                if self.ctx.jobs.find(key) is None:
                    specs.append(self._spec(name, params, experiment, key))
        with suppress(ToolError):
            self.ctx.jobs.submit_all(specs)
        return left

    def _begin(self, trial: optuna.trial.Trial) -> tuple[str, dict[str, Any], str, str]:
        """A trial's name, what was chosen, its experiment and its key; asking again finds the same."""
        params = self.study.params(trial)
        key = f"{self.plan.key}/trial-{trial.number}"
        experiment = self._experiment(params, key)
        self.study.note(trial, experiment=experiment, chosen=params)
        return f"{self.plan.id}-trial-{trial.number}", params, experiment, key

    def _work(self, left: list[optuna.trial.Trial]) -> None:
        """One of those that run side by side: takes trial after trial."""
        try:
            while not self._stopped():
                with self._lock:
                    trial = left.pop(0) if left else self.study.ask()
                if trial is None:
                    return
                self._try(trial)
        except BaseException:
            self._over.set()  # The others end, too; what is wrong is raised to who waits.
            raise

    def _stopped(self) -> bool:
        return self._over.is_set() or self.ctx.cancelled()

    def _try(self, trial: optuna.trial.Trial) -> None:
        """One trial from its experiment to its value."""
        name, params, experiment, key = self._begin(trial)
        try:
            status = self._follow(trial, self._submit(name, params, experiment, key))
            if status is None:
                return  # The person stopped it.
            self._conclude(trial, experiment, status)
        except Interrupted:
            self._over.set()
        except ToolError as error:
            self._fail(trial, experiment, str(error))

    def _experiment(self, params: dict[str, Any], key: str) -> str:
        told = ", ".join(f"{name}={value}" for name, value in params.items())
        hypothesis = f"{self.plan.id}: {self.plan.metric} depends on {', '.join(params)}."
        seed = self.plan.base.get("seed", 0)
        return self.ctx.ledger.start(hypothesis, told, self.plan.parent, seed, key=key).id

    def _submit(self, name: str, params: dict[str, Any], experiment: str, key: str) -> JobStatus:
        known = self.ctx.jobs.find(key)
        if known is not None:
            status = self.ctx.jobs.submit(self.ctx.jobs.spec(known))
            record_start(self.ctx.ledger, self.ctx.jobs.spec(known), known)
            lost = status.failure is not None and status.failure.kind == "lost"
            return self.ctx.jobs.resume(known) if lost else status
        spec = self._spec(name, params, experiment, key)
        status = self.ctx.jobs.submit(spec)
        record_start(self.ctx.ledger, spec, status.id)
        return status

    def _spec(self, name: str, params: dict[str, Any], experiment: str, key: str) -> JobSpec:
        base = self.plan.base
        chosen = {name: params[name] for name in ("model", "dataset") if name in params}
        hardware = base.get("hardware", "auto")
        asked = Training(
            method=base["method"],
            model=chosen.get("model", base["model"]),
            dataset=chosen.get("dataset", base["dataset"]),
            config={**base["config"], **{k: v for k, v in params.items() if k not in chosen}},
            hardware=hardware,
            name=name,
            experiment=experiment,
            seed=base.get("seed", 0),
            timeout_s=self.plan.timeout_s,
            place=read_place(self.ctx.settings, self.ctx.services.hub, hardware),
        )
        return training_spec(replace(self.ctx, key=key), asked, self.plan.threads)

    def _follow(self, trial: optuna.trial.Trial, status: JobStatus) -> JobStatus | None:
        """Wait for a job, tell the study what it measures, and end it where it is one of the poor."""
        self.study.note(trial, job=status.id)
        told = -1
        while status.state not in FINISHED:
            if self._stopped():
                return None
            time.sleep(POLL_S)
            status = self.ctx.jobs.status(status.id)
            if status.step > told and (value := self._now(status)) is not None:
                told = status.step
                if self.study.report(trial, value, told):
                    self.study.note(trial, pruned_at=told)
                    status = self.ctx.jobs.cancel(status.id)
            self._progress()
        record_end(self.ctx.ledger, self.ctx.jobs, status)
        track(self.ctx.settings, self.ctx.jobs.folder_of(status.id), status)
        return status

    def _now(self, status: JobStatus) -> float | None:
        """How a training stands while it runs, in the direction of the metric."""
        rows = self.ctx.jobs.metrics(status.id)
        if self.plan.eval is None:
            return _newest(rows, self.plan.metric)
        for name in ("eval_loss", "loss"):
            if (value := _newest(rows, name)) is not None:
                return -value if self.plan.higher_is_better else value
        return None

    def _conclude(self, trial: optuna.trial.Trial, experiment: str, status: JobStatus) -> None:
        pruned = next((t.get("pruned_at") for t in self.study.table() if t["number"] == trial.number), None)
        if status.state == "cancelled" and pruned is not None:
            note = f"Ended at step {pruned}: others were better there."
            self.ctx.ledger.finish(experiment, "discarded", note)
            return self.study.tell(trial, "pruned")
        if status.state != "succeeded":
            told = status.failure.message if status.failure else f"The job was {status.state}."
            return self._fail(trial, experiment, told)
        value = self._value(experiment, status)
        if value is None:
            known = ", ".join(sorted(status.metrics))
            return self._fail(
                trial, experiment, f"It wrote no metric {self.plan.metric!r}; it wrote {known}."
            )
        return self.study.tell(trial, "complete", value)

    def _value(self, experiment: str, status: JobStatus) -> float | None:
        """The metric of a finished trial: of the dev split, or of the end of its curve."""
        if self.plan.eval is None:
            return _newest(self.ctx.jobs.metrics(status.id), self.plan.metric)
        scores = self.ctx.evals.evaluate(
            self.ctx.jobs.model_path(status.id),
            self.plan.eval,
            experiment=experiment,
            cancelled=self._stopped,
            on_progress=lambda _: self._progress(),
        )
        return scores.metrics[self.plan.metric].value

    def _fail(self, trial: optuna.trial.Trial, experiment: str, told: str) -> None:
        self.ctx.ledger.finish(experiment, "crashed", told)
        self.study.note(trial, note=told)
        self.study.tell(trial, "failed")
        with self._lock:
            self._failed.append(told)
        states = [t["state"] for t in self.study.table()]
        if states.count("failed") >= MOST_FAILED and "complete" not in states and "pruned" not in states:
            self._over.set()
            raise ToolError(
                f"{self.plan.id} ends: its first {states.count('failed')} trials failed: {told}",
                "Run one alone with smoke_test, then start the sweep anew.",
            )

    def _progress(self) -> None:
        table = self.study.table()
        over = [t for t in table if t["state"] != "running"]
        best = self._best(table)
        told = f", best {self.plan.metric} {best['value']:.4g}" if best else ""
        self.ctx.progress(
            f"{self.plan.id}: {len(over)} of {self.plan.trials}{told}", len(over) / self.plan.trials
        )

    def _best(self, table: list[dict[str, Any]]) -> dict[str, Any] | None:
        done = [t for t in table if t["value"] is not None]
        pick = max if self.plan.higher_is_better else min
        return pick(done, key=lambda t: t["value"]) if done else None

    def _result(self) -> Sweep:
        trials = [_trial(row) for row in self.study.table()]
        sign = -1 if self.plan.higher_is_better else 1
        trials.sort(key=lambda t: (t.value is None, sign * (t.value or 0.0), t.number))
        best = trials[0] if trials and trials[0].value is not None else None
        for trial in trials:
            if trial.state == "complete" and trial is not best:
                self.ctx.ledger.finish(
                    trial.experiment, "discarded", f"{best and best.experiment} was better."
                )
        who = best.experiment if best else "it"
        return Sweep(
            id=self.plan.id,
            metric=self.plan.metric,
            eval=self.plan.eval,
            higher_is_better=self.plan.higher_is_better,
            best=best,
            trials=trials,
            next=NEXT.format(count=len(trials), who=who) if best else "",
            notes=_notes(self.plan),
        )


def _notes(plan: SweepPlan) -> list[str]:
    if plan.eval is None and not plan.metric.startswith("eval"):
        return [
            f"{plan.metric} is measured on the training rows: it rewards learning them by heart. A sweep on "
            "a sealed evaluation's metric, or on eval_loss with validation, is worth more."
        ]
    return []


def _trial(row: dict[str, Any]) -> Trial:
    names = ("number", "state", "value", "step", "experiment", "job", "note")
    return Trial(params=row.get("chosen", row["params"]), **{k: row[k] for k in names if k in row})


def _newest(rows: list[dict[str, Any]], name: str) -> float | None:
    """The newest level of a metric: the median of three of the training's own, which each batch moves."""
    points = curve(rows, name)
    if not points:
        return None
    return points[-1][1] if name.startswith("eval") else level(points[-3:])
