"""What the training recipes share: metrics as JSON lines, whole checkpoints, and the account of a run.

It stands beside the recipes and needs nothing of ML Intern, so a recipe's folder can be copied anywhere.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from _experts import ask_no_routers

LIBRARIES = ("torch", "transformers", "trl", "accelerate", "tokenizers", "datasets", "peft", "numpy")
_SPEED = re.compile(r"runtime|per_second|num_tokens|preparation_time|^clip_ratio")
_SHOWN = (
    *("loss", "grad_norm", "learning_rate", "reward"),
    *("eval_loss", "eval_accuracy", "eval_rewards/accuracies", "eval_reward"),
)
_EPOCH = time.time() - time.monotonic()
CHECKPOINT_FILES = ("optimizer.pt", "scheduler.pt", "trainer_state.json")


def wrong(kind: str, message: str) -> SystemExit:
    """What ends a run with one line, to be raised; `kind` is ``bad_config`` or ``bad_data``."""
    return SystemExit(f"{kind}: {message}")


def stop(kind: str, message: str) -> NoReturn:
    """End the run with one line."""
    raise wrong(kind, message)


def start(main: Callable[[dict[str, Any]], None], method: str) -> None:
    """Run a recipe on the config.json that the command line names, in as many processes as it asks for.

    The config is checked first, before torch is imported: all that is wrong with it comes at once. Several
    processes are torchrun's, and Accelerate, below every Trainer, finds them by their environment.
    ``accelerate launch --cpu`` is no way to them: it starts one process and says nothing.
    """
    from _checking import checked

    config = checked(method, read_config(sys.argv[1:], method))
    wanted = config.get("processes") or 1
    if wanted > 1 and "LOCAL_RANK" not in os.environ:
        _in_processes(wanted)
    main(config)


def read_config(arguments: list[str], method: str) -> Any:
    """What the command line names."""
    if len(arguments) != 1:
        stop("bad_config", f"Name one config file: python {method}.py config.json")
    try:
        return json.loads(Path(arguments[0]).read_text())
    except OSError as error:
        stop("bad_config", f"{arguments[0]} cannot be read: {error.strerror}.")
    except ValueError as error:
        stop("bad_config", f"{arguments[0]} is not JSON: {error}.")


@contextmanager
def told(kind: str, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Errors by which a library refuses what it was given, as one line in place of a traceback."""
    try:
        yield
    except errors as error:
        text = " ".join(str(error).split())
        raise wrong(kind, f"{what}: {type(error).__name__}: {text[:400]}") from None


def configured(kind: Any, fields: dict[str, Any]) -> Any:
    """A library's configuration; what it alone can tell to be wrong, it tells in one line."""
    with told("bad_config", kind.__name__, TypeError, ValueError, ImportError, NotImplementedError):
        return kind(**fields)


def _in_processes(count: int) -> NoReturn:
    """Become torchrun. Everything stays on this machine and on its loopback, which a sandbox has, too."""
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)) // count)
    here = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    run = ["-m", "torch.distributed.run", "--nproc_per_node", str(count), "--nnodes", "1"]
    meet = ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", "--local_addr", "127.0.0.1"]
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *run, *meet, *sys.argv], {**os.environ, **here})


def is_first() -> bool:
    """Whether this process, of those that train together, is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def without(*modules: str) -> None:
    """Hide packages that a run does not need, so that Transformers does not import them.

    ``None`` in ``sys.modules`` is Python's own way of saying that a module cannot be imported. Transformers
    imports each optional package that it finds; pandas, datasets and peft alone take 1.8 of 5.4 seconds.
    """
    for module in modules:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]


@contextmanager
def quick_imports(*unneeded: str) -> Iterator[None]:
    """Import Transformers in less time: hide what is not needed, and rest the garbage collector.

    The collector searches a growing heap again and again while modules only add to it: 0.8 of 4.4 seconds.
    """
    without(*unneeded)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
    from transformers.utils import logging

    logging.disable_progress_bar()


def say(text: str) -> None:
    """A line for the log, once where several processes train together."""
    if is_first():
        sys.stdout.write(text + "\n")


def read_rows(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The rows of a jsonl file, the first `limit` of them; a broken line is named."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    stop("bad_data", f"{path.name} line {number} is not JSON: {error}.")
            if limit and len(rows) >= limit:
                break
    if not rows:
        stop("bad_data", f"{path.name} has no rows.")
    return rows


def sha256_of(*paths: Path) -> str:
    """One hash over files, in the order of their names; folders count with all below them."""
    digest = hashlib.sha256()
    files = [f for p in paths for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    for file in files:
        with file.open("rb") as opened:
            while piece := opened.read(2**20):
                digest.update(piece)
    return digest.hexdigest()


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that has all its parts.

    A kill or a full disk in the middle of saving leaves a part of one, and Transformers resumes from a
    checkpoint without an optimizer silently to a different result; so such a one is stepped over.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    return next((str(p) for p in reversed(found) if _is_whole(p)), None)


def _is_whole(checkpoint: Path) -> bool:
    weights = set(checkpoint.glob("*.safetensors"))
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
        for index in checkpoint.glob("*.safetensors.index.json"):
            weights |= {checkpoint / name for name in json.loads(index.read_text())["weight_map"].values()}
        complete = all(_has_all_tensors(file) for file in weights)
    except (OSError, ValueError):
        return False
    return bool(weights) and complete and all((checkpoint / name).exists() for name in CHECKPOINT_FILES)


def _has_all_tensors(file: Path) -> bool:
    """The format begins with the header's length and the header, which names where each tensor ends."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return file.stat().st_size == 8 + length + max(ends, default=0)


def metrics_callback(path: Path) -> Any:
    """A Trainer callback that appends each log as a line, and stops the run at the first NaN.

    The lines are the truth about a run: flushed at once, they lose nothing at a kill -9. What Transformers
    prints are rounded strings.
    """
    from transformers.trainer_callback import TrainerCallback

    class Metrics(TrainerCallback):  # type: ignore[misc]
        """Appends metrics."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """The first line tells how many steps there will be."""
            append(path, state, {})

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """The last step is logged, whatever `logging_steps` says: it is the result.

            So is one that is saved: a logged loss is the mean since the log before, which a checkpoint does
            not keep, and a run that is resumed from there would tell the mean of fewer steps. A file `stop`
            beside the checkpoints makes this step the last one, as if no more had been asked.
            """
            control.should_log = control.should_log or control.should_save
            if state.global_step < state.max_steps and told_to_stop(args):
                say(f"stopped early at step {state.global_step} of {state.max_steps}")
                state.max_steps = state.global_step
                control.should_training_stop = True
            if state.global_step >= state.max_steps:
                control.should_log = True
                control.should_evaluate = args.eval_strategy != "no"

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
        ) -> None:
            """One line a log."""
            numbers = {
                k: float(v) for k, v in (logs or {}).items() if isinstance(v, int | float) and k != "epoch"
            }
            append(path, state, numbers)
            shown = (f"{k} {numbers[k]:.4g}" for k in _SHOWN if k in numbers)
            say(f"step {state.global_step}/{state.max_steps} {' '.join(shown)}")
            bad = [k for k in ("loss", "grad_norm") if k in numbers and not math.isfinite(numbers[k])]
            if bad:
                raise FloatingPointError(f"{bad[0]} is {numbers[bad[0]]} at step {state.global_step}")

    return Metrics()


def told_to_stop(args: Any) -> bool:
    """Whether somebody asks for an early end; several processes agree, or one would wait for the others."""
    told = (Path(args.output_dir) / "stop").exists()
    if args.world_size == 1:
        return told
    import torch

    flag = torch.tensor(int(told), device=args.device)
    torch.distributed.all_reduce(flag)
    return bool(flag)


def quiet(trainer: Any) -> None:
    """Take away the callback that prints numbers as rounded strings."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def now() -> float:
    """Seconds since the epoch that run evenly, also where somebody sets the machine's clock."""
    return _EPOCH + time.monotonic()


def append(path: Path, state: Any, numbers: dict[str, float]) -> None:
    """Write one line; what JSON has no number for becomes null."""
    if not is_first():
        return
    row: dict[str, Any] = {
        "step": state.global_step,
        "total_steps": state.max_steps,
        "epoch": round(state.epoch or 0.0, 6),
        "time": round(now(), 6),
    }
    row.update({k: v if math.isfinite(v) else None for k, v in numbers.items()})
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def held_out(metrics: Path) -> dict[str, dict[str, float]]:
    """What was measured on rows that were set apart: ``{"loss": {"start": …, "end": …}}``; empty without any.

    It is read from the metrics, so that a resumed run tells of its true start, too.
    """
    found: dict[str, dict[str, float]] = {}
    for line in metrics.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # A kill has cut it.
        for name, value in row.items():
            short = name.removeprefix("eval_")
            if short != name and value is not None and not _SPEED.search(short):
                found.setdefault(short, {"start": value})["end"] = value
    return found


def check_finished(state: Any) -> None:
    """A Trainer that was told to stop ends as if all were well; the steps tell."""
    if state.global_step < state.max_steps:
        sys.exit(f"RuntimeError: the training ended at step {state.global_step} of {state.max_steps}.")


def on_gpu(config: dict[str, Any]) -> bool:
    """Whether this run computes on a GPU: there is one, and the user did not ask for the CPU."""
    import torch

    return torch.cuda.is_available() and not config.get("trainer", {}).get("use_cpu")


def precision(config: dict[str, Any]) -> dict[str, Any]:
    """bf16 where the GPU computes in it. On a CPU it gains nothing below a width of 256: ask for it there."""
    import torch

    chosen = {"bf16", "fp16"} & set(config.get("trainer", {}))
    return {} if chosen else {"bf16": on_gpu(config) and torch.cuda.is_bf16_supported()}


def base_fields(config: dict[str, Any]) -> dict[str, Any]:
    """The trainer's fields that a job needs, under those that the user set.

    The filter of NaN logs one as 0.0; standard output shows rounded strings; both hide what happens.
    """
    gpu = on_gpu(config)
    several = {} if gpu or (config.get("processes") or 1) == 1 else {"ddp_backend": "gloo"}
    return {
        **precision(config),
        **several,
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 10,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        **_kept_checkpoints(config),
        "seed": config.get("seed", 0),
        **config.get("trainer", {}),
        "output_dir": config["checkpoint_dir"],
    }


def _kept_checkpoints(config: dict[str, Any]) -> dict[str, Any]:
    """The last two checkpoints stay, and, where rows were set apart, the one that does best on them, too."""
    if not config.get("validation"):
        return {"save_steps": 200, "save_total_limit": 2}
    # The loss of a policy says nothing of how good it is; what its completions earn does.
    rewarded = bool(config.get("rewards"))
    best = {
        "metric_for_best_model": "eval_reward" if rewarded else "eval_loss",
        "greater_is_better": rewarded,
    }
    return {"save_steps": 0.1, "save_total_limit": 2, **best}


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save beside and rename, so that the folder is whole or not there."""
    if not is_first():
        return
    fresh = folder.with_name(folder.name + ".new")
    for left in (fresh, folder):  # What a run that was killed right here has left.
        shutil.rmtree(left, ignore_errors=True)
    ask_no_routers(model)
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    fresh.rename(folder)


def write_result(config: dict[str, Any], trainer: Any, started: float, **more: Any) -> None:
    """``result.json``: what was made, from what, with what, in how long."""
    if not is_first():
        return
    output = Path(config["output_dir"])
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    result = {
        "model": config["model"],
        "dataset": config.get("dataset"),
        "data_sha256": sha256_of(Path(config["data"])),
        "model_sha256": sha256_of(*sorted((output / "model").glob("*.safetensors"))),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "tokens_seen": int(trainer.state.num_input_tokens_seen),
        "final_loss": losses[-1] if losses else None,
        "seed": trainer.args.seed,
        "world_size": trainer.args.world_size,
        "seconds": round(time.monotonic() - started, 3),
        "held_out": held_out(Path(config["metrics_file"])),
        "trainer": config.get("trainer", {}),
        "environment": environment(),
        **more,
    }
    fresh = output / "result.json.new"
    fresh.write_text(json.dumps(result, indent=1, default=str))
    fresh.rename(output / "result.json")


def environment() -> dict[str, str]:
    """The versions that a repetition needs."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
