"""How hard rows are for a model: the share of its samples that are right, scored by the host.

A row that the model always gets right teaches it nothing, and one that it never gets right gives a reward
nothing to tell apart; what lies between is worth training on. The job is given prompts and nothing else, and
what it gives back is checked before it is scored.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml_intern.data.formats import pairs
from ml_intern.data.table import text_of
from ml_intern.errors import ToolError
from ml_intern.evals.asking import ask, readable
from ml_intern.evals.scorers import SCORERS, Outputs
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobStatus

if TYPE_CHECKING:
    import polars as pl

TIMEOUT_S = 3600.0
LONGEST_REPLY = 100_000
"""Characters of a completion that are read."""
EASY, HARD, UNASKED = "solved too often", "solved too seldom", "has no prompt or no answer"
_NUMBER_LAST = re.compile(r"(?:^|####|=)\s*[-+]?[$€£]?\d[\d.,]*\s*%?\s*$")


class Difficulty(BaseModel):
    """Which rows are kept: those that a model solves in a share of its samples between two bounds.

    Attributes:
        model: A job, an experiment, a path in the workspace or a Hub id.
        samples: Samples of each row.
        lowest: Least share of right samples; the usual bounds leave out what is always right or always wrong.
        highest: Greatest share.
        scorer: What is right; nothing means numbers where all answers end in one, else equal texts.
        temperature: Of the samples.
        max_new_tokens: Longest completion; nothing means what the longest answers but one in twenty need.
        seed: The same seed draws the same samples.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    samples: int = Field(default=8, ge=2, le=64)
    lowest: float = Field(default=0.01, ge=0, le=1)
    highest: float = Field(default=0.99, ge=0, le=1)
    scorer: Literal["exact_match", "numeric_match"] | None = None
    temperature: float = Field(default=1.0, gt=0, le=5)
    max_new_tokens: int | None = Field(default=None, ge=1, le=4096)
    seed: int = 0

    @model_validator(mode="after")
    def _in_order(self) -> Difficulty:
        if self.lowest > self.highest:
            raise ValueError(f"lowest = {self.lowest:g} is above highest = {self.highest:g}")
        return self


@dataclass(frozen=True)
class PassRates:
    """What was measured.

    Attributes:
        rates: For each row the share of right samples; None where it could not be asked.
        scorer: What counted as right.
        job: Which job drew the samples.
    """

    rates: list[float | None]
    scorer: str
    job: str

    def kept(self, difficulty: Difficulty) -> list[bool]:
        """For each row whether it lies between the bounds."""
        low, high = difficulty.lowest, difficulty.highest
        return [rate is not None and low <= rate <= high for rate in self.rates]

    def left_out(self, difficulty: Difficulty) -> dict[str, int]:
        """Rows that do not, by why."""
        why = Counter(
            UNASKED if rate is None else HARD if rate < difficulty.lowest else EASY
            for rate, keep in zip(self.rates, self.kept(difficulty), strict=True)
            if not keep
        )
        return dict(why)

    def spread(self) -> dict[str, int]:
        """Rows by share of right samples, from 0 to 1."""
        known = sorted(rate for rate in self.rates if rate is not None)
        return {f"{rate:g}": count for rate, count in Counter(known).items()}


def measure(
    rows: pl.DataFrame,
    difficulty: Difficulty,
    model: Path,
    jobs: Jobs,
    folder: Path,
    key: str,
    cancelled: Callable[[], bool],
    on_progress: Callable[[JobStatus], None],
) -> PassRates:
    """Draw samples for every row in one job and score them here.

    Args:
        rows: The rows; they must have prompts and answers.
        difficulty: How to sample and score.
        model: The model's folder.
        jobs: Runs the job.
        folder: Where the prompts are written.
        key: Idempotency key of the call: the same key finds the job again that a crash left behind.
        cancelled: Whether the person has stopped the call.
        on_progress: Is told how the job stands.

    Raises:
        ToolError: The rows have no prompts and answers, the job failed, or it gave back something else.
        Interrupted: The person stopped it.
    """
    found = pairs(rows)
    asked = [at for at, pair in enumerate(found) if pair is not None]
    if not asked:
        raise ToolError("No row has a prompt and an answer.", "Use reformat_dataset first.")
    prompts = [_prompt(pair[0]) for pair in found if pair is not None]
    answers = [_answer(pair[1]) for pair in found if pair is not None]
    stage = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
    task = _task(stage, prompts, answers, difficulty)
    try:
        given = readable(model, stage / "model")
        status = ask(jobs, f"pass rate {model.name}", key, given, [task], TIMEOUT_S, cancelled, on_progress)
    finally:
        shutil.rmtree(stage / "model", ignore_errors=True)
    texts = _texts(Path(status.output) / "completions.jsonl", len(asked), difficulty.samples)
    scorer = difficulty.scorer or _suiting(answers)
    targets = [answer for answer in answers for _ in range(difficulty.samples)]
    right = SCORERS[scorer].score(Outputs(completions=texts, targets=targets)).numerator
    shares = right.reshape(len(asked), difficulty.samples).mean(axis=1)
    rates: list[float | None] = [None] * rows.height
    for at, share in zip(asked, shares.tolist(), strict=True):
        rates[at] = round(share, 4)
    return PassRates(rates, scorer, status.id)


def _prompt(prompt: Any) -> dict[str, Any]:
    return {"messages": prompt} if isinstance(prompt, list) else {"prompt": text_of(prompt)}


def _answer(completion: Any) -> str:
    return text_of(completion[-1].get("content")) if isinstance(completion, list) else text_of(completion)


def _suiting(answers: Sequence[str]) -> str:
    numbers = sum(bool(_NUMBER_LAST.search(answer)) for answer in answers)
    return "numeric_match" if numbers >= 0.95 * len(answers) else "exact_match"


def _task(stage: Path, prompts: list[Any], answers: list[str], difficulty: Difficulty) -> dict[str, Any]:
    """Write the prompts, and say what the job is to do with them. Answers are not among them."""
    stage.mkdir(parents=True, exist_ok=True)
    file = stage / "prompts.jsonl"
    fresh = file.with_suffix(".new")
    fresh.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    fresh.chmod(0o644)
    fresh.replace(file)
    # Half a token a character is plenty for the longest answers but one in twenty.
    longest = sorted(map(len, answers))[int(0.95 * (len(answers) - 1))]
    return {
        "name": "completions",
        "kind": "generate",
        "file": str(file),
        "samples": difficulty.samples,
        "temperature": difficulty.temperature,
        "max_new_tokens": difficulty.max_new_tokens or max(16, min(1024, longest // 2 + 16)),
        "seed": difficulty.seed,
    }


def _texts(file: Path, rows: int, samples: int) -> list[str]:
    """The completions by row and sample. A job wrote them, so nothing is taken on trust."""
    texts: dict[tuple[int, int], str] = {}
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found = json.loads(line)
                texts[int(found["row"]), int(found["sample"])] = str(found["text"])[:LONGEST_REPLY]
                if len(texts) > rows * samples:
                    break
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolError(f"The job left no readable completions: {error}.") from None
    wanted = [(row, sample) for row in range(rows) for sample in range(samples)]
    if len(texts) != len(wanted) or any(at not in texts for at in wanted):
        raise ToolError(f"The job gave {len(texts)} completions for {rows} rows of {samples} samples.")
    return [texts[at] for at in wanted]
