"""Rewards of a reward model, given in a job that sees prompts and answers; what is none is refused before."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.evals.asking import ask, readable
from ml_intern.evals.model import EvalInfo, fingerprint
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobStatus

TIMEOUT_S = 3600.0
_HEAD = "ForSequenceClassification"


@dataclass(frozen=True)
class Watch:
    """Who looks on while jobs run: whether to stop, and whom to tell."""

    cancelled: Callable[[], bool]
    on_progress: Callable[[JobStatus], None]


def check_reward_model(folder: Path, named: str) -> None:
    """Refuse what is no reward model: one output, which is given for a whole text.

    Raises:
        ToolError: Says what it is instead.
    """
    config = _config(folder)
    made = [str(name) for name in config.get("architectures") or []]
    hint = 'launch_training(method="reward") makes one.'
    if not any(name.endswith(_HEAD) for name in made):
        what = made[0] if made else "a model of no known kind"
        raise ToolError(f"{named!r} is no reward model but {what}: it gives text, no score.", hint)
    # Two is what Transformers takes where a configuration says nothing.
    outputs = config.get("num_labels") or len(config.get("id2label") or range(2))
    if outputs != 1:
        raise ToolError(f"{named!r} has {outputs} outputs; a reward model has one.", hint)


def check_language_model(folder: Path, named: str) -> None:
    """Refuse a reward model where a model is to write.

    Raises:
        ToolError: It gives scores.
    """
    if any(str(name).endswith(_HEAD) for name in _config(folder).get("architectures") or []):
        raise ToolError(
            f"{named!r} is a reward model: it gives scores, no text.",
            "Say it as reward_model, and as model the one that answers.",
        )


def noted(name: str, named: str | None, find_model: Callable[[str], Path]) -> dict[str, str]:
    """What an eval notes of the reward model that its metric ``reward`` needs.

    Raises:
        ToolError: None is named, or it is none.
    """
    if not named:
        raise ToolError(
            f"Nothing says which reward model judges the eval {name!r}.",
            "Set reward_model, to a folder or a Hub id.",
        )
    folder = find_model(named)
    check_reward_model(folder, named)
    return {"reward_model": named, "reward_sha256": fingerprint(folder)}


def same_reward_model(info: EvalInfo, find_model: Callable[[str], Path]) -> Path:
    """The folder of the reward model that an eval was registered with.

    Raises:
        ToolError: It is another one now.
    """
    folder = find_model(info.reward_model)
    if fingerprint(folder) != info.reward_sha256:
        raise ToolError(
            f"{info.reward_model!r} is not the reward model that {info.name!r} was registered with.",
            "Bring that one back, or register the eval under another name.",
        )
    return folder


def ask_rewards(
    jobs: Jobs, name: str, key: str, model: Path, answers: Path, count: int, watch: Watch
) -> tuple[list[float], int]:
    """The reward of each row of a file of prompts and completions, and how many prompts were cut.

    Raises:
        ToolError: The job failed, or gave back something else.
        Interrupted: The person stopped it.
    """
    stage = answers.parent / "reward_model"
    task = {"name": "rewards", "kind": "reward", "file": str(answers)}
    try:
        given = readable(model, stage)
        status = ask(
            jobs, name, key, given, [task], TIMEOUT_S, watch.cancelled, watch.on_progress, method="score"
        )
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return _read(Path(status.output) / "rewards.jsonl", count)


def reward_answers(
    jobs: Jobs, info: EvalInfo, key: str, model: Path, folder: Path, rows: dict[str, Any], watch: Watch
) -> list[float]:
    """The reward of each item's greedy answer. `folder` holds the prompts that were asked.

    Raises:
        ToolError: The job failed, or gave back something else.
        Interrupted: The person stopped it.
    """
    file, texts = folder / "answers.jsonl", [row["text"] for row in rows["completions"]]
    fresh = file.with_suffix(".new")
    with (folder / "prompts.jsonl").open(encoding="utf-8") as asked, fresh.open("w") as out:
        for line, text in zip(asked, texts, strict=True):
            out.write(json.dumps({**json.loads(line), "completion": text}) + "\n")
    fresh.chmod(0o644)
    fresh.replace(file)
    name, key = f"reward {info.name}", f"{key}/{info.reward_sha256}"
    return ask_rewards(jobs, name, key, model, file, len(texts), watch)[0]


def _read(file: Path, count: int) -> tuple[list[float], int]:
    """A job wrote them, so nothing is taken on trust."""
    rewards: list[float] = []
    cut = 0
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                row = json.loads(line)
                given = row["reward"]
                rewards.append(math.nan if given is None else float(given))
                cut += bool(row["cut"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolError(f"The reward model's job left nothing readable: {error}.") from None
    if len(rewards) != count:
        raise ToolError(f"The reward model's job gave {len(rewards)} rewards for {count} answers.")
    if bad := sum(not math.isfinite(value) for value in rewards):
        raise ToolError(
            f"The reward model gives {bad} of {count} answers no finite reward: its weights have diverged.",
            "Train it with a lower learning rate.",
        )
    return rewards, cut


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
