"""From a step of the plan to the cell that does it. Whatever comes from a card stands in it as a literal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_intern.reproducing.card import Row, Trained

CODE = "card_code"
"""Folder of the workspace where the card's own recipes are put, each as one script."""

_ARGUMENTS = {
    "reformat_dataset": ("target", "mapping", "size"),
    "filter_dataset": ("where", "difficulty"),
    "deduplicate_dataset": ("columns", "near", "similarity"),
    "split_dataset": ("fractions", "seed", "group", "max_rows", "seal_where", "own_splits"),
    "mix_datasets": ("rows", "upsample", "seed"),
}
_SHORTEST_S, _LONGEST_S, _SLOWER = 900.0, 7 * 86_400.0, 20.0
"""A training may take twenty times what it took then: this machine may be slower, a card may say anything."""


def call(tool: str, /, **arguments: Any) -> str:
    """A call with literals, one argument a line where there are many."""
    told = [f"{key}={value!r}" for key, value in arguments.items()]
    inner = ", ".join(told)
    return f"{tool}({inner})" if len(inner) < 90 else f"{tool}(\n    " + ",\n    ".join(told) + ",\n)"


def open_row(called: str, seed: int) -> str:
    """Opens the ledger's row."""
    opened = call(
        "start_experiment",
        hypothesis="The numbers of the card come out again.",
        change=f"the experiment of {called}, done again",
        seed=seed,
    )
    return f"row = {opened}\nprint(row.id)"


def data(row: Row, refs: Mapping[str, str], scored: Mapping[str, Any] | None) -> str:
    """Makes one dataset.

    Args:
        row: As the card tells it.
        refs: What each of the card's names is called here.
        scored: The eval that a split seals, as the card tells it.
    """
    given = {name: row.arguments[name] for name in _ARGUMENTS[row.operation] if name in row.arguments}
    given = {name: value for name, value in given.items() if value is not None}
    if row.operation == "mix_datasets":
        return f"made = {call('mix_datasets', parts=_parts(row, refs), **given, name=row.name)}\n{_SHOW}"
    source = refs[row.parents[0]] if row.parents else refs[row.id]
    if row.operation == "split_dataset":
        return f"made = {call('split_dataset', source=source, **given, **_sealing(row, scored))}\n{_SHOW}"
    if isinstance(given.get("difficulty"), dict):
        hard = {k: v for k, v in given["difficulty"].items() if k != "job"}
        given["difficulty"] = {**hard, "model": refs.get(str(hard.get("model")), hard.get("model"))}
    return f"made = {call(row.operation, source=source, **given, name=row.name)}\n{_SHOW}"


_SHOW = "print(made.rows, *made.notes)"


def _parts(row: Row, refs: Mapping[str, str]) -> dict[str, Any]:
    """The parts of a mixture by their names of today; the card has them as they were typed."""
    parts = row.arguments.get("parts")
    found = {}
    for name, weight in (parts if isinstance(parts, dict) else {}).items():
        versions = [id for id in row.parents if id in (name, f"{name}@{id.rpartition('@')[2]}")]
        found[refs[versions[-1]] if versions else refs.get(name, name)] = weight
    return found


def _sealing(row: Row, scored: Mapping[str, Any] | None) -> dict[str, Any]:
    """The eval that a split seals, or how its open parts are called."""
    seal, split = row.arguments.get("eval"), str(row.arguments.get("split") or "train")
    if not isinstance(seal, str):
        return {"seal": False, "name": row.name if split == "train" else row.name.removesuffix(f"-{split}")}
    told: dict[str, Any] = {"seal": seal, "name": row.name}
    if scored and scored.get("scorers"):
        told |= {"scorers": list(scored["scorers"]), "primary": scored.get("primary") or None}
    return told


def train(job: Trained, refs: Mapping[str, str], experiment: str | None, longest_s: float) -> str:
    """Starts a training with our recipe and waits for it."""
    unversioned = {id.partition("@")[0]: refs[id] for id in job.datasets if id in refs}
    told = {
        "method": job.method,
        "model": model_of(job, refs),
        "dataset": refs[job.dataset],
        "config": renamed(job.config, {**unversioned, **refs}),
        "hardware": "cpu" if job.on_cpu else "auto",
        "name": job.name,
        "experiment": experiment,
        "seed": job.seed,
        "timeout": seconds_for(job, longest_s),
        "stop_when": job.stop_when,
    }
    told = {name: value for name, value in told.items() if value is not None}
    return f"job = {call('launch_training', **told)}\n{_wait(job, longest_s)}"


def train_with_card(job: Trained, refs: Mapping[str, str], experiment: str | None, longest_s: float) -> str:
    """The same with the card's own recipe, which is foreign code: a script in the walls."""
    model = model_of(job, refs)
    inputs = [refs[job.dataset], *([model] if isinstance(model, str) and job.method != "pretrain" else [])]
    told = {
        "script": f"{CODE}/{job.name}.py",
        "args": inputs,
        "inputs": inputs,
        "name": job.name,
        "experiment": experiment,
        "timeout": seconds_for(job, longest_s),
    }
    told = {name: value for name, value in told.items() if value is not None}
    return f"job = {call('launch_script', **told)}\n{_wait(job, longest_s)}"


def _wait(job: Trained, longest_s: float) -> str:
    return (
        f"[state] = wait_for_job([job.id], timeout={seconds_for(job, longest_s) + 3600!r})\n"
        "print(state.state, state.metrics)\n"
        'if state.state != "succeeded":\n'
        '    why = state.failure.message if state.failure else "it did not come to its end"\n'
        '    raise RuntimeError(f"the training {state.name} {state.state}: {why}")'
    )


def seconds_for(job: Trained, longest_s: float) -> float:
    """The time limit of a training, in seconds."""
    return round(min(max(_SHORTEST_S, _SLOWER * job.seconds), longest_s, _LONGEST_S), 1)


def model_of(job: Trained, refs: Mapping[str, str]) -> Any:
    """What a training starts from, as a tool is told."""
    base = job.model
    if base.hub is not None:
        return f"{base.hub}@{base.revision}" if base.revision else base.hub
    return base.scratch if base.scratch is not None else refs[base.job or job.name]


def renamed(value: Any, refs: Mapping[str, str]) -> Any:
    """A config with the card's datasets and jobs called as they are here."""
    if isinstance(value, dict):
        return {k: renamed(v, refs) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(v, refs) for v in value]
    return refs.get(value, value) if isinstance(value, str) else value


def score(job: str, eval: str, experiment: str) -> str:
    """Scores the model on dev."""
    asked = call("evaluate", model=job, eval=eval, experiment=experiment)
    return f"found = {asked}\nfor name, measured in found.metrics.items():\n    print(name, measured)"


def test(experiment: str) -> str:
    """Scores it on the sealed test split."""
    asked = call("freeze_experiment", experiment=experiment)
    return f"found = {asked}\nfor name, measured in found.test.items():\n    print(name, measured)"


def script_of(job: Trained, files: Mapping[str, Path], recipe_config: Mapping[str, Any]) -> str:
    """One program that holds the card's recipe: launch_script runs it where it can harm nobody."""
    texts = {name: path.read_text("utf-8", "replace") for name, path in files.items() if path.suffix == ".py"}
    scratch = job.model.scratch
    config = {**recipe_config, **({"model": scratch} if scratch is not None else {}), "seed": job.seed}
    return _DRIVER.format(
        texts=json.dumps(texts).__repr__(),
        config=json.dumps(config, default=str).__repr__(),
        recipe=f"{job.method}.py",
    )


_DRIVER = """\
import json
import os
import runpy
import sys

texts = json.loads({texts})
config = json.loads({config})
os.makedirs("recipe", exist_ok=True)
for name, text in texts.items():
    with open(os.path.join("recipe", os.path.basename(name)), "w", encoding="utf-8") as file:
        file.write(text)
config["data"] = sys.argv[1]
if len(sys.argv) > 2:
    config["model"] = sys.argv[2]
config["output_dir"], config["checkpoint_dir"] = os.getcwd(), os.path.join(os.getcwd(), "checkpoints")
config["metrics_file"] = os.environ["ML_INTERN_METRICS"]
with open("config.json", "w", encoding="utf-8") as file:
    json.dump(config, file)
recipe = os.path.join("recipe", {recipe!r})
sys.path.insert(0, os.path.abspath("recipe"))
sys.argv = [recipe, "config.json"]
runpy.run_path(recipe, run_name="__main__")
"""
