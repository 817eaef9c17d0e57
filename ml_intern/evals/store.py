"""Sealed evaluations: the host keeps the items, a job sees inputs, the agent sees aggregates.

The folder is hidden from every sandbox. What can be learned about it from outside is bounded: dev scores come
as aggregates and are counted, the test split is scored once, for one experiment, and training rows that hold
any of the items are refused. For bits per byte the text *is* the input, so it goes to the job; that job runs
our own recipe in a folder that no cell sees, and loads weights and tokenizers but never code.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.durations import parse_duration
from ml_intern.errors import ToolError
from ml_intern.evals import opened
from ml_intern.evals.asking import ask, key_of, read_outputs, readable, tasks_for
from ml_intern.evals.drawing import Trial
from ml_intern.evals.judging import Judge, judge_of, same_judge
from ml_intern.evals.means import Means
from ml_intern.evals.model import EvalInfo, Item, fingerprint
from ml_intern.evals.programs import demand_walls
from ml_intern.evals.queries import Queries
from ml_intern.evals.results import scored
from ml_intern.evals.rewarding import (
    Watch,
    check_language_model,
    check_reward_model,
    reward_answers,
    same_reward_model,
)
from ml_intern.evals.rubric import needs_judge
from ml_intern.evals.scaling import scores_of
from ml_intern.evals.sealed import Sealed
from ml_intern.evals.templates import hashes, holds, texts, with_templates
from ml_intern.evals.verdicts import stand
from ml_intern.evals.ways import Way, answers, demand_greedy_row, demand_own_row, metric_of, way_of
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobStatus
from ml_intern.ledger.model import Comparison, Inference, Scores, Split
from ml_intern.ledger.store import Ledger
from ml_intern.sandbox.base import Sandbox
from ml_intern.settings import Settings
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.evals.bridge.measuring import Bridge

TIMEOUT_S = 3600.0


class Evals(Sealed):
    """The sealed evaluations of a session.

    Args:
        folder: Hidden from every sandbox.
        jobs: Runs the evaluations; its folder lies in `folder`, as the jobs' inputs are the items' inputs.
        ledger: Where scores go.
        settings: The cap on dev queries; the eval and metric that decide.
        sandbox: Walls for the code that a model writes.
        find_model: The folder of a reward model that a person named: a folder, or an id of the Hub.
    """

    def __init__(
        self,
        folder: Path,
        jobs: Jobs,
        ledger: Ledger,
        settings: Settings,
        sandbox: Sandbox | None = None,
        find_model: Callable[[str], Path] = Path,
    ) -> None:
        super().__init__(folder, ledger, settings, find_model)
        self.jobs = jobs
        self.sandbox = sandbox
        self.judge: Judge | None = None
        self._queries = Queries(self)
        self._keys: dict[str, threading.Lock] = {}

    def evaluate(
        self,
        model_path: Path,
        eval: str,
        split: Split = "dev",
        experiment: str | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        on_progress: Callable[[JobStatus], None] = lambda status: None,
    ) -> Scores:
        """Score a model on the dev split. Weights that were scored before cost no query and no job.

        Raises:
            ToolError: The split is the test split, the queries are used up, or the job failed.
        """
        if split != "dev":
            raise ToolError(
                "The test split is sealed.", "freeze_experiment opens it, once, for the best experiment."
            )
        demand_greedy_row(self.ledger, experiment)
        return self._score(model_path, eval, "dev", experiment, cancelled, on_progress)

    def best_of_n(
        self,
        model_path: Path,
        eval: str,
        inference: Inference,
        reward: Path | None = None,
        experiment: str | None = None,
        owner: str | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        on_progress: Callable[[JobStatus], None] = lambda status: None,
    ) -> Scores:
        """Score on dev the answers that are chosen among samples. What was scored before costs nothing.

        Args:
            model_path: The model.
            eval: The evaluation.
            inference: How an answer is made; the fingerprint of the reward model is added here.
            reward: Folder of the reward model.
            experiment: A row of its own for this way of answering.
            owner: The row that the weights belong to; their greedy score is taken from there, or made for it.
            cancelled: Whether the person has stopped the call.
            on_progress: Is told how the jobs stand.

        Raises:
            ToolError: The eval has no answers, a model is of the wrong kind, the queries are used up, a job
                failed, or the experiment was measured with something else.
        """
        metric = metric_of(self.get(eval))
        check_language_model(model_path, inference.model)
        if reward is not None:
            check_reward_model(reward, inference.reward_model or "")
            inference = inference.model_copy(update={"reward_sha256": fingerprint(reward)})
        demand_own_row(self.ledger, experiment, inference, fingerprint(model_path))
        greedy = self._score(model_path, eval, "dev", owner, cancelled, on_progress)
        way = Way(inference, reward, greedy.items[metric])
        return self._score(model_path, eval, "dev", experiment, cancelled, on_progress, way)

    def score_test(
        self,
        experiment: str,
        model_path: Path,
        reward: Path | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        on_progress: Callable[[JobStatus], None] = lambda status: None,
    ) -> Sequence[Scores]:
        """Freeze an experiment and score it once on every eval's test split; asked again, what was recorded.

        An experiment that answers by several samples does so here, too, wherever there are answers.

        Raises:
            ToolError: Another experiment, other weights or another reward model were scored before.
        """
        model, way, variant = self._to_freeze(experiment, model_path, reward)
        self.ledger.freeze(experiment, variant)
        opened.note(self, model)
        scores = [
            self._score(
                model_path, e.name, "test", experiment, cancelled, on_progress, way if answers(e) else None
            )
            for e in self.list()
            if e.rows.get("test")
        ]
        return opened.warned(self, scores)

    def check_test(self, experiment: str, model_path: Path, reward: Path | None = None) -> None:
        """Raise what `score_test` would refuse before it scores; nothing is opened.

        Raises:
            ToolError: See `score_test`.
        """
        self.ledger.check_freeze(experiment, self._to_freeze(experiment, model_path, reward)[2])

    def _to_freeze(
        self, experiment: str, model_path: Path, reward: Path | None
    ) -> tuple[str, Way | None, str]:
        """Fingerprint of the weights, how they answer, and the fingerprint of both."""
        model, row = fingerprint(model_path), self.ledger.get(experiment)
        measured, way = row.model, way_of(row, reward)
        if measured and measured != model:
            raise ToolError(
                f"These are not the weights that {experiment} was measured with.",
                "Evaluate the model on dev under this experiment first.",
            )
        return model, way, way.inference.variant(model) if way else model

    def compare(
        self, a: str, b: str, metric: str | None = None, eval: str | None = None, record: bool = True
    ) -> Comparison:
        """How experiment `b` stands against `a` on the dev items that both answered; the finding is recorded.

        All seeds of both configurations count.

        Raises:
            ToolError: They have no eval or no such metric in common.
        """
        newest_a, newest_b = (self._newest(x) for x in (a, b))
        common = [name for name in newest_a if name in newest_b and eval in (None, name)]
        if a == b or not common:
            if eval is not None and (
                missing := [x for x, found in ((a, newest_a), (b, newest_b)) if eval not in found]
            ):
                raise ToolError(
                    f"The evaluation {eval!r} decides, and {' and '.join(missing)} was not measured on it.",
                    "evaluate() it there first.",
                )
            where = {x: ", ".join(found) or "nothing" for x, found in ((a, newest_a), (b, newest_b))}
            raise ToolError(
                f"{a} and {b} cannot be compared: measured on {where[a]} and on {where[b]}.",
                "evaluate() both on one eval first.",
            )
        name = next((n for n in common if n == self.decides), common[0])
        left, right = newest_a[name], newest_b[name]
        # A vote has one metric alone, which need not be the one that decides.
        both = [m for m in left.metrics if m in right.metrics]
        usual = [m for m in (self.settings.metric, left.primary, right.primary) if m in both]
        metric = metric or next(iter(usual), left.primary)
        metric = metric.removesuffix(f" of {name}")
        if metric not in left.metrics or metric not in right.metrics:
            raise ToolError(
                f"{name} has no metric {metric!r}{did_you_mean(metric, left.metrics)}.",
                f"Metrics: {', '.join(left.metrics)}.",
            )
        if metric == "rubric":
            same_judge(left, right)
        found = stand(self.ledger, a, b, name, metric)
        found = with_templates(found, self.ledger.get(a), self.ledger.get(b), self.get(name).asking.chat)
        if record:
            self.ledger.record_comparison(found)
        return found

    def _score(
        self,
        model_path: Path,
        name: str,
        split: Split,
        experiment: str | None,
        cancelled: Callable[[], bool],
        on_progress: Callable[[JobStatus], None],
        way: Way | None = None,
    ) -> Scores:
        info = self.get(name)
        if experiment is not None:
            self.ledger.get(experiment)
        weights = fingerprint(model_path)
        model = way.inference.variant(weights) if way else weights
        self._demand_clean_texts(model_path)
        if experiment is not None:
            self.ledger.attach(experiment, made=hashes(model_path))
        with self._one_at_a_time(f"{name}/{split}/{model}"):
            known = self.ledger.scores(eval=name, split=split, model=model, items=True)
            if known:
                scores = known[-1]
                if (
                    way is not None
                ):  # The same way may be named by another reference: the job, the experiment.
                    scores = scores.model_copy(update={"inference": way.inference})
                if not any(k.experiment == experiment for k in known):
                    self.ledger.record(experiment, name, split, scores)
            else:
                watch = Watch(cancelled, on_progress)
                with self._queries.ask(name, split) as record:
                    if way is None:
                        scores = self._ask(info, split, model_path, model, watch)
                    else:
                        scores = self._try(info, split, model_path, weights, way, watch)
                    record(experiment, scores)
        now = self.described(self.get(name))
        told = {"experiment": experiment, "queries_left": now.queries_left if split == "dev" else None}
        return scores.model_copy(update={**told, "detectable": now.detectable[split].says})

    def means(
        self, info: EvalInfo, items: Sequence[Item], model: Path, cancelled: Callable[[], bool]
    ) -> Means:
        """What the eval's scorers need beside a job.

        Raises:
            ToolError: There are no walls for code, or there is no judge.
        """
        judge = None
        if "code_passes" in info.scorers:
            demand_walls(self.sandbox)
        if "rubric" in info.scorers and needs_judge(items):
            judge = judge_of(self.judge)
        return Means(
            self.sandbox, self.folder / "code", judge, self.folder / "verdicts", model, cancelled=cancelled
        )

    def _demand_clean_texts(self, model_path: Path) -> None:
        """Refuse a model whose chat template or added tokens hold an item: it would be asked what it is told.

        Raises:
            ToolError: They do.
        """
        beside = [*texts(model_path)]
        found = {match.eval for match in self.guard(beside).matches}
        found |= {info.name for info in self.list() if holds(beside, self._items(info.name))}
        if found:
            names = ", ".join(sorted(found))
            raise ToolError(
                f"The chat template or the tokenizer of {model_path.name!r} holds items of "
                f"{names}: not scored.",
                "Take the template and the tokenizer of the base model.",
            )

    def _one_at_a_time(self, key: str) -> threading.Lock:
        """Threads that ask for the same score wait for the first and then read what it recorded."""
        with self._lock:
            return self._keys.setdefault(key, threading.Lock())

    def _ask(
        self,
        info: EvalInfo,
        split: Split,
        model_path: Path,
        model: str,
        watch: Watch,
    ) -> Scores:
        """One job, which is given inputs; a second one where a reward model looks at the answers."""
        items = self._some_items(info.name, split)
        means = self.means(info, items, model_path, watch.cancelled)
        began = time.monotonic()
        try:
            key = f"{info.name}/{split}/{model}"
            folder = self.folder / "inputs" / hashlib.sha256(key.encode()).hexdigest()[:16]
            bridge = self._bridge(info, split, watch.cancelled)
            asked = bridge.tasks(folder) if bridge else None
            tasks = asked or tasks_for(info.scorers, items, split, info.asking, folder)
            given = readable(model_path, folder / "model")
            name = f"evaluate {info.name}"
            key = key_of(tasks, model)
            status = ask(self.jobs, name, key, given, tasks, TIMEOUT_S, watch.cancelled, watch.on_progress)
            output = Path(status.output)
            rows = bridge.rows(output, tasks) if bridge else read_outputs(output, tasks, items)
            if info.reward_model:
                reward = same_reward_model(info, self._find_model)
                rows["rewards"] = reward_answers(self.jobs, info, key, reward, folder, rows, watch)
            seconds = round(time.monotonic() - began, 3)
            found = scored(info, split, model, items, rows, seconds, means)
            return found.model_copy(update={"reward_model": info.reward_sha256})
        finally:
            shutil.rmtree(folder / "model", ignore_errors=True)

    def _try(
        self, info: EvalInfo, split: Split, model_path: Path, weights: str, way: Way, watch: Watch
    ) -> Scores:
        """Several samples of each item, and what becomes of them."""
        # Choices among the same samples share their jobs, so their folder, too, and take turns.
        key = f"{info.name}/{split}/{weights}/{way.inference.n}/{way.inference.temperature!r}"
        items, began = self._some_items(info.name, split), time.monotonic()
        trial = Trial(
            jobs=self.jobs,
            folder=self.folder / "inputs" / hashlib.sha256(key.encode()).hexdigest()[:16],
            info=info,
            split=split,
            items=items,
            model=model_path,
            weights=weights,
            way=way,
            timeout_s=parse_duration(self.settings.job_timeout),
            watch=watch,
            means=self.means(info, items, model_path, watch.cancelled),
        )
        with self._one_at_a_time(key):
            drawn = trial.run()
        seconds = round(time.monotonic() - began, 3)
        return scores_of(info, split, items, weights, way, drawn, seconds)

    def _some_items(self, name: str, split: Split) -> Sequence[Item]:
        items = self._items(name, split)
        if not items:
            raise ToolError(f"The eval {name!r} has no {split} items.")
        return items

    def _bridge(self, info: EvalInfo, split: Split, cancelled: Callable[[], bool]) -> Bridge | None:
        """What asks and scores in the place of the scorers here, where the evaluation is lm-eval's."""
        if info.lm_eval is None:
            return None
        from ml_intern.evals.bridge.measuring import Bridge

        return Bridge(self.folder, self.settings.state, info, self._items(info.name), split, cancelled)

    def _newest(self, experiment: str) -> dict[str, Scores]:
        self.ledger.get(experiment)
        return {s.eval: s for s in self.ledger.scores(experiment=experiment, split="dev", items=True)}
