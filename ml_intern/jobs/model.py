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


class JobSpec(BaseModel):
    """What is asked of a backend.

    Attributes:
        name: Words for people; the id is made from it.
        method: A recipe (``pretrain``, ``sft``, ``generate``) or ``script``.
        config: What the recipe reads; written to ``config.json``.
        inputs: Host paths that the job reads.
        timeout_s: Wall time after which the job is stopped.
        threads: CPU threads of the job.
        experiment: The ledger's row that the job belongs to.
        key: Idempotency key of the call that asked for the job.
        network: Whether its process reaches the network; asked of a person for each job.
        priority: Who waits with a higher one gets a free slot first; 0 is usual, -9 to 9.
        restarts: How often a training that was killed or ran out of memory may go on by itself.
        stop_when: A condition, such as ``loss plateau``, that ends a training early and keeps its model.
    """

    name: str
    method: str
    config: dict[str, Any] = Field(default_factory=dict)
    inputs: list[Path] = Field(default_factory=list)
    timeout_s: float = 3 * 3600
    threads: int = 1
    experiment: str | None = None
    key: str | None = None
    network: bool = False
    priority: int = Field(default=0, ge=-9, le=9)
    restarts: int = Field(default=0, ge=0)
    stop_when: str | None = None


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
    experiment: str | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
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
    memory: MemoryUse | None = None
    """Main memory: what was used, what was estimated."""
    output: str = ""
    """Host folder with what the job made; a trained model is in its ``model`` folder."""


class LogPage(BaseModel):
    """A stretch of a job's log. `next_offset` is where to read on; `done` when there will be no more."""

    text: str
    next_offset: int
    done: bool
