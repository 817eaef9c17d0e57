"""Asking a model: one job that is given inputs and nothing else, and a host that checks what comes back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_intern.errors import Interrupted, ToolError
from ml_intern.evals.means import Means
from ml_intern.evals.model import Asking, Item
from ml_intern.evals.scorers import SCORERS, Outputs
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.ledger.model import Split

SAVE_ANEW = (
    "Save it anew with save_pretrained: a kind of model that Transformers knows, and its fast tokenizer."
)
READ_SAMPLES, READ_TOKENS = 16, 32
"""Samples that are drawn only to be read, where no scorer asks for any: few and short."""


def tasks_for(
    scorers: Sequence[str], items: Sequence[Item], split: Split, asking: Asking, folder: Path
) -> list[dict[str, Any]]:
    """Write the inputs into a folder and say what the job is to do with them. Targets are not among them."""
    folder.mkdir(parents=True, exist_ok=True)
    how = {"max_new_tokens": asking.max_new_tokens, "seed": asking.seed_of(split), "stop": asking.stop}
    kinds: set[str] = {SCORERS[name].asks for name in scorers}
    tasks: list[dict[str, Any]] = []
    if "likelihood" in kinds:
        file = _write(folder / "texts.jsonl", [{"text": i.input} for i in items])
        tasks.append({"name": "likelihood", "kind": "likelihood", "file": file})
    if "samples" in kinds:
        file = _write(folder / "nothing.jsonl", [{"prompt": ""}])
        drawn = {"samples": asking.samples, "temperature": asking.temperature}
        tasks.append({"name": "samples", "kind": "generate", "file": file, **how, **drawn})
    elif "likelihood" in kinds and split == "dev":
        file = _write(folder / "nothing.jsonl", [{"prompt": ""}])
        drawn = {"samples": READ_SAMPLES, "temperature": asking.temperature, "only_read": True}
        short = {"max_new_tokens": min(READ_TOKENS, asking.max_new_tokens)}
        tasks.append({"name": "samples", "kind": "generate", "file": file, **how, **drawn, **short})
    if "options" in kinds:
        file = _write(folder / "options.jsonl", [_with_options(i, asking) for i in items])
        tasks.append({"name": "options", "kind": "options", "file": file})
    if kinds & {"completions", "rewards"}:
        file = _write(folder / "prompts.jsonl", [_prompt(i, asking) for i in items])
        tasks.append({"name": "completions", "kind": "generate", "file": file, **how})
    return tasks


def key_of(tasks: Sequence[Mapping[str, Any]], model: str) -> str:
    """What a job is found by again: the questions and the weights, whoever asks.

    So another scorer of the same questions, under an eval of another name, reads the answers that are there.
    """
    digest = hashlib.sha256()
    for task in tasks:
        how = {name: value for name, value in task.items() if name != "file"}
        digest.update(json.dumps(how, sort_keys=True).encode() + b"\0" + Path(task["file"]).read_bytes())
    return f"{digest.hexdigest()}/{model}"


def ask(
    jobs: Jobs,
    name: str,
    key: str,
    model: Path,
    tasks: list[dict[str, Any]],
    timeout_s: float,
    cancelled: Callable[[], bool],
    on_progress: Callable[[JobStatus], None],
    method: str = "generate",
) -> JobStatus:
    """Run the tasks in a job and wait. The same key finds the job again that a crash left behind.

    Raises:
        ToolError: The job failed or took too long.
        Interrupted: The person stopped it.
    """
    spec = JobSpec(
        name=name,
        method=method,
        config={"model": str(model), "tasks": tasks},
        inputs=[model, *(Path(t["file"]) for t in tasks)],
        timeout_s=timeout_s,
        key=key,
    )
    status = jobs.submit(spec)
    if status.state in ("failed", "cancelled"):
        status = jobs.resume(status.id)
    # The job's own limit counts from its start, which may wait for a slot.
    [status] = jobs.wait([status.id], cancelled=cancelled, on_progress=on_progress)
    if status.state == "succeeded":
        return status
    if status.state != "failed":
        jobs.cancel(status.id)
        raise Interrupted("The evaluation was interrupted; nothing was recorded.")
    failure = status.failure
    if failure is not None and failure.kind == "bad_config":
        why = failure.message.removeprefix("The configuration does not fit: ")
        raise ToolError(f"The model could not be evaluated: {why}", SAVE_ANEW)
    lines = " | ".join((failure.last_lines if failure else [])[-3:])
    told = f"{failure.kind}: {failure.message}" if failure else "no reason given"
    raise ToolError(
        f"The model could not be evaluated: {told} {lines}".strip(), failure.hint if failure else ""
    )


def readable(model: Path, stage: Path) -> Path:
    """The model's folder, or a copy of it that a job can read.

    A root host's jobs run as users of their own, to whom a file of mode 0600 is closed (safetensors are saved
    so), and in the walls a link out of the folder (the Hub's cache) leads nowhere.
    """
    files = [f for f in model.iterdir() if f.is_file()]
    if not any(f.is_symlink() for f in files) and all(map(_open_to_all, [model, *files])):
        return model
    stage.mkdir(parents=True, exist_ok=True)
    stage.chmod(0o755)
    for file in files:
        target = stage / file.name
        target.unlink(missing_ok=True)
        try:
            if not _open_to_all(file):
                raise PermissionError(file)
            os.link(file.resolve(), target)
        except OSError:
            shutil.copyfile(file, target)
            target.chmod(0o644)
    return stage


def _open_to_all(path: Path) -> bool:
    needed = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
    return os.geteuid() != 0 or path.stat().st_mode & needed == needed


def read_outputs(folder: Path, tasks: list[dict[str, Any]], items: Sequence[Item]) -> dict[str, Any]:
    """What each task wrote, checked for shape: `likelihood`, `samples`, `completions` as rows.

    Raises:
        ToolError: A file is missing, broken, or has other rows than were asked for.
    """
    found: dict[str, Any] = {}
    for task in tasks:
        wanted = task["samples"] if task["name"] == "samples" else len(items)
        try:
            rows = [json.loads(line) for line in (folder / f"{task['name']}.jsonl").read_text().splitlines()]
        except (OSError, ValueError) as error:
            raise ToolError(f"The evaluation left no readable {task['name']}: {error}.") from None
        if len(rows) != wanted:
            raise ToolError(f"The evaluation gave {len(rows)} {task['name']} for {wanted}.")
        if task["kind"] == "options" and not all(map(_one_for_each, rows, items)):
            raise ToolError("The evaluation gave other likelihoods than one for each option.")
        found[task["name"]] = rows
    return found


def _one_for_each(row: Any, item: Item) -> bool:
    """Whether a row has a number, or nothing, for each option."""
    nats = row.get("nats") if isinstance(row, dict) else None
    if not isinstance(nats, list) or len(nats) != len(item.choices or ()):
        return False
    return all(n is None or isinstance(n, float | int) for n in nats)


def outputs_for(
    asks: str, rows: dict[str, Any], items: Sequence[Item], means: Means | None = None
) -> Outputs:
    """The rows as a scorer takes them.

    Raises:
        ToolError: The model's likelihoods are not finite.
    """
    if asks == "rewards":
        return Outputs(rewards=rows["rewards"])
    if asks == "lm_eval":
        return Outputs(lm_eval=rows[asks])
    if asks == "options":
        _finite([all(n is not None for n in r["nats"]) for r in rows[asks]])
        return Outputs(options=[r["nats"] for r in rows[asks]], items=items, means=means or Means())
    if asks != "likelihood":
        asked = items if asks == "completions" else ()
        return Outputs(
            completions=[r["text"] for r in rows[asks]],
            targets=[i.answer or "" for i in asked],
            items=asked,
            means=means or Means(),
        )
    _finite([r["nats"] is not None for r in rows["likelihood"]])
    return Outputs(
        texts=[i.input for i in items],
        nats=[r["nats"] if r["lossless"] else None for r in rows["likelihood"]],
    )


def _finite(known: Sequence[bool]) -> None:
    if bad := known.count(False):
        raise ToolError(
            f"The model gives {bad} of {len(known)} texts no finite likelihood: its weights have diverged.",
            "Finish the experiment as crashed; a lower learning rate is the usual cure.",
        )


def _prompt(item: Item, asking: Asking) -> dict[str, Any]:
    asked = asking.prompt_of(item)
    if asking.chat:
        return {"messages": [{"role": "user", "content": asked}]}
    return {"prompt": asked}


def _with_options(item: Item, asking: Asking) -> dict[str, Any]:
    """The options are part of the question; which one is right is not."""
    return {**_prompt(item, asking), "options": asking.options_of(item)}


def _write(file: Path, rows: list[dict[str, Any]]) -> str:
    fresh = file.with_suffix(".new")
    fresh.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fresh.chmod(0o644)
    fresh.replace(file)
    return str(file)
