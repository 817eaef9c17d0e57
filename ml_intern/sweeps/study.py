"""Optuna behind a few words: ask for a trial, tell how it goes, find again what a crash has left.

The study is a file of JSON lines in the session's folder. Each trial has a sampler of its own seed, so that a
random search draws the same values however many run at once and however often it was killed.
"""

from __future__ import annotations

import fcntl
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.errors import ToolError
from ml_intern.sweeps.space import Between, Choice, Space

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "random"]
REDUCTION = 3
"""Of the trials that reach a rung one in so many goes on, as in Hyperband (Li and others, 2018); the first
rung is a ninth of the steps."""


class Study:
    """The trials of one sweep.

    Args:
        file: Where they are kept.
        space: What is chosen from.
        higher_is_better: Which way is up.
        sampler: ``tpe`` learns from what was measured, ``random`` does not.
        seed: Of what is drawn.
        steps: Of one trial at the most; with it poor trials are ended early, by successive halving.
        trials: How many there will be.
    """

    def __init__(
        self,
        file: Path,
        space: Space,
        higher_is_better: bool,
        sampler: Sampler,
        seed: int,
        steps: int | None,
        trials: int,
    ) -> None:
        self._space, self._sampler, self._seed, self._trials = space, sampler, seed, trials
        self._lock = threading.RLock()
        self._study = _open(file, higher_is_better, steps)

    def ask(self) -> optuna.trial.Trial | None:
        """The next trial, or None where there are enough of them."""
        with self._lock:
            number = len(self._study.get_trials(deepcopy=False))
            if number >= self._trials:
                return None
            self._study.sampler = _sampler(self._sampler, self._seed, number, self._trials)
            trial = self._study.ask()
            self.params(trial)
            return trial

    def params(self, trial: optuna.trial.Trial) -> dict[str, Any]:
        """The values of a trial; what was not drawn when a crash came is drawn now."""
        with self._lock:
            return {name: _suggest(trial, name, dimension) for name, dimension in self._space.items()}

    def unfinished(self) -> list[optuna.trial.Trial]:
        """Trials whose end nobody has told: at the start those of an earlier process."""
        import optuna

        with self._lock:
            running = [t for t in self._study.get_trials(deepcopy=False) if not t.state.is_finished()]
            return [optuna.trial.Trial(self._study, t._trial_id) for t in running]

    def report(self, trial: optuna.trial.Trial, value: float, step: int) -> bool:
        """Say how a trial stands at a step; whether it should be ended as one of the poor."""
        with self._lock:
            trial.report(value, step)
            return bool(trial.should_prune())

    def tell(self, trial: optuna.trial.Trial, state: str, value: float | None = None) -> None:
        """Say how a trial ended: ``complete`` with its value, ``pruned`` or ``failed``."""
        from optuna.trial import TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        with self._lock:
            self._study.tell(trial, value, state=states[state], skip_if_finished=True)

    def note(self, trial: optuna.trial.Trial, **notes: Any) -> None:
        """Keep words about a trial, such as its job."""
        with self._lock:
            for name, value in notes.items():
                trial.set_user_attr(name, value)

    def table(self) -> list[dict[str, Any]]:
        """Every trial: number, params, state, value, the last step told, and what was noted."""
        with self._lock:
            return [_row(t) for t in self._study.get_trials(deepcopy=False)]


def _row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return {
        "number": trial.number,
        "params": {name: _plain(value) for name, value in trial.params.items()},
        "state": names.get(trial.state.name, "running"),
        "value": trial.value if trial.state.name == "COMPLETE" else None,
        "step": trial.last_step or 0,
        **trial.user_attrs,
    }


class FileLock:
    """A lock that dies with its process; Optuna's own waits half a minute for one that was killed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")

    def acquire(self) -> bool:
        """Wait for the lock."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Give it back."""
        fcntl.flock(self._file, fcntl.LOCK_UN)


def _open(file: Path, higher_is_better: bool, steps: int | None) -> optuna.Study:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise ToolError("Optuna is not installed, which sweeps need.", "pip install optuna") from None

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _cut_half_a_line(file)
    lock: Any = FileLock(file.with_suffix(".lock"))
    pruner: Any = optuna.pruners.NopPruner()
    if steps:
        rung = max(1, steps // REDUCTION**2)
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=rung, reduction_factor=REDUCTION)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class is experimental
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file), lock_obj=lock)),
            study_name=file.stem,
            direction="maximize" if higher_is_better else "minimize",
            pruner=pruner,
            load_if_exists=True,
        )


def _cut_half_a_line(file: Path) -> None:
    """Take away a line that a kill has cut: it would spoil the next one."""
    if file.exists():
        whole = file.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            with file.open("r+b") as opened:
                opened.truncate(end)


def _sampler(kind: Sampler, seed: int, number: int, trials: int) -> Any:
    import optuna

    own = (seed * 1_000_003 + number) % 2**32
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A third at random first; constant_liar keeps trials that run side by side apart.
        return optuna.samplers.TPESampler(
            seed=own, n_startup_trials=max(3, min(10, trials // 3)), multivariate=True, constant_liar=True
        )


def _suggest(trial: optuna.trial.Trial, name: str, dimension: Choice | Between) -> Any:
    if isinstance(dimension, Choice):
        # Optuna keeps plain values only; a dict or a list is told by its place.
        place = trial.suggest_categorical(name, list(range(len(dimension.values))))
        return dimension.values[place]
    low, high, step = dimension.low, dimension.high, dimension.step
    if dimension.whole:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=dimension.log)
    return float(f"{trial.suggest_float(name, low, high, step=step, log=dimension.log):.4g}")


def _plain(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
