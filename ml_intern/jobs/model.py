"""The words of a job: what is asked, how it stands, what went wrong.

A job is a folder, and the folder is the truth: ``spec.json``, ``config.json``, ``status.json``, ``log.txt``,
``metrics.jsonl``, ``checkpoints/``, ``output/``. Whoever can read the folder can follow the job.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from ml_intern.jobs.memory import MemoryUse

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINISHED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
FailureClass = Literal[
    "out_of_memory", "nan", "disk_full", "killed", "timeout", "bad_config", "bad_data", "code_error", "lost"
]

FOREIGN: frozenset[str] = frozenset({"script", "grpo"})
"""Methods that run code which a model may have written: a program, rewards, or completions that are run."""

Compute = Literal["local", "docker", "slurm", "hf-jobs"]


class Place(BaseModel):
    """Where a job runs; decided before it starts, and kept with it.

    Attributes:
        compute: The backend.
        gpus: GPUs that the job holds; of this machine's own jobs see `ml_intern.jobs.hardware.gpus_of`.
        partition: Of a Slurm cluster.
        account: Of a Slurm cluster: whom it is counted for.
        flavor: Of HF Jobs: the kind of machine.
        namespace: Of HF Jobs: the account that pays.
        usd_per_hour: What it costs while it runs; None where nobody sends a bill.
        why: Why this place was taken, where the choice was left open.
    """

    compute: Compute = "local"
    gpus: int = 0
    partition: str | None = None
    account: str | None = None
    flavor: str | None = None
    namespace: str | None = None
    usd_per_hour: float | None = None
    why: str = ""

    @property
    def away(self) -> bool:
        """Whether it is on another machine than this one."""
        return self.compute in ("slurm", "hf-jobs")

    @property
    def words(self) -> str:
        """The place in a word or two: ``slurm:gpu``, ``hf-jobs:a10g-small``."""
        return ":".join(filter(None, [self.compute, self.partition or self.flavor]))


class JobSpec(BaseModel):
    """What is asked of a backend.

    Attributes:
        name: Words for people; the id is made from it.
        method: A recipe (``pretrain``, ``sft``, ``dpo``, ``reward``, ``grpo``, ``generate``, ``score``) or
            ``script``.
        config: What the recipe reads; written to ``config.json``.
        inputs: Host paths that the job reads.
        place: Where it runs.
        timeout_s: Wall time after which the job is stopped.
        threads: CPU threads of the job.
        experiment: The ledger's row that the job belongs to.
        key: Idempotency key of the call that asked for the job.
        network: Whether its process reaches the network; asked of a person for each job.
        priority: Who waits with a higher one gets a free slot first; 0 is usual, -9 to 9.
        restarts: How often a training that was killed or ran out of memory may go on by itself.
        stop_when: A condition, such as ``loss plateau``, that ends a training early and keeps its model.
        notes: What was noted before the start, though nothing was wrong.
    """

    name: str
    method: str
    config: dict[str, Any] = Field(default_factory=dict)
    inputs: list[Path] = Field(default_factory=list)
    place: Place = Field(default_factory=Place)
    timeout_s: float = 3 * 3600
    threads: int = 1
    experiment: str | None = None
    key: str | None = None
    network: bool = False
    priority: int = Field(default=0, ge=-9, le=9)
    restarts: int = Field(default=0, ge=0)
    stop_when: str | None = None
    notes: list[str] = Field(default_factory=list)


class Failure(BaseModel):
    """Why a job failed, with the evidence."""

    kind: FailureClass
    message: str
    last_lines: list[str] = Field(default_factory=list)
    line: str | None = None
    """Where the error was raised: ``file.py:12: code``."""
    hint: str = ""


class Recovery(BaseModel):
    """A failure that a job got over by itself.

    Attributes:
        kind: The class of the failure.
        message: What failed.
        step: Step that was reached.
        checkpoint: Step of the checkpoint it went on from; 0 is the beginning.
        action: What was done about it, in words with the numbers.
        changes: Fields of the trainer that differ from then on; method, data and length never do.
        at: When, in seconds since the epoch.
    """

    kind: FailureClass
    message: str
    step: int
    checkpoint: int = 0
    action: str
    changes: dict[str, Any] = Field(default_factory=dict)
    at: float = 0.0


class JobStatus(BaseModel):
    """How a job stands. Times are seconds since the epoch."""

    id: str
    name: str
    method: str
    state: State
    compute: str = "local"
    """Where it runs: ``local``, ``docker``, ``slurm:PARTITION``, ``hf-jobs:FLAVOR``."""
    experiment: str | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    """How long its process ran, by a clock that nobody can set. While it runs: so far, by the time of day,
    where a tool tells of it."""
    seconds_left: float | None = None
    """While it runs: what its steps may still take at their pace so far, where a tool tells of it."""
    step: int = 0
    total_steps: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    """The newest value of each metric."""
    exit_code: int | None = None
    failure: Failure | None = None
    recoveries: list[Recovery] = Field(default_factory=list)
    """Failures that it got over by itself, oldest first."""
    stopped: str = ""
    """Why a training was ended early, with the model that it had."""
    met: str = ""
    """Where somebody waited for a condition and it held: how, with the numbers."""
    notes: list[str] = Field(default_factory=list)
    """What was noted before its start, though nothing was wrong: a learning rate beyond use, for example."""
    memory: MemoryUse | None = None
    """Main memory: what was used, what was estimated."""
    output: str = ""
    """Host folder with what the job made; a trained model is in its ``model`` folder."""

    @property
    def ran_s(self) -> float:
        """How long its process ran, in seconds; where nobody has measured it, by the times of day."""
        if self.seconds is not None or self.started is None or self.ended is None:
            return self.seconds or 0.0
        return max(0.0, self.ended - self.started)


class LogPage(BaseModel):
    """A stretch of a job's log. `next_offset` is where to read on; `done` when there will be no more."""

    text: str
    next_offset: int
    done: bool
