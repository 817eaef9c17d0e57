"""Why a job failed, read from its log and its end. Standard library only: the supervisor uses it.

The exit code alone says little: a full disk, a wrong field and an empty dataset all leave with 1, and a NaN
leaves with 0. What the libraries print is what tells; the patterns below were collected from real failures of
TRL, Transformers and torch.
"""

from __future__ import annotations

import re
import signal
from typing import Any

TAIL_BYTES = 64_000
_LAST_LINES = 15

_RULES: list[tuple[str, str, str]] = [
    # Order counts: the first pattern found decides.
    (
        "out_of_memory",
        r"DefaultCPUAllocator: (?:can't|not enough)|out of memory|^MemoryError|OutOfMemoryError"
        r"|Cannot allocate memory|std::bad_alloc|Unable to allocate [\d.]+ [KMGT]iB",
        "Halve per_device_train_batch_size and double gradient_accumulation_steps; "
        "the effective batch stays the same.",
    ),
    (
        "disk_full",
        r"No space left on device|unexpected pos \d+|Disk quota exceeded|ENOSPC",
        "Free disk space, or raise the setting job_disk_mb; then resume_job goes on from its last whole "
        "checkpoint. Or launch again and save less often (save_steps, save_total_limit).",
    ),
    (
        "nan",
        r"FloatingPointError|probability tensor contains either `inf`, `nan`|loss is (?:nan|inf)"
        r"|Function '\w+' returned nan values",
        "Lower learning_rate, set max_grad_norm to 1.0, or add warmup_steps.",
    ),
    ("bad_data", r"^bad_data: ", "Look at the rows with inspect_dataset and audit_dataset."),
    ("bad_config", r"^bad_config: ", "Correct the field and launch again."),
    (
        "bad_config",
        r"TypeError: .*unexpected keyword argument",
        "The installed version of the library does not know the field: leave it out.",
    ),
    (
        "bad_config",
        r"index out of range in self|device-side assert|IndexError: index .* is out of bounds for dimension",
        "A token id may be beyond the model's vocabulary: tokenizer and model do not belong together.",
    ),
    (
        "bad_config",
        r"does not have a chat template|chat_template is not set|Cannot use chat template",
        "Use a model with a chat template, or a prompt and completion dataset.",
    ),
    (
        "bad_config",
        r"Unrecognized (?:model|configuration class)|does not appear to have a file named"
        r"|is not a local folder and is not a valid model identifier|Repo id must be",
        "Check the model's name; list_jobs shows what this session has trained.",
    ),
    (
        "bad_data",
        r"num_samples=0|JSONDecodeError|UnicodeDecodeError|DatasetGenerationError|ArrowInvalid"
        r"|num_samples should be a positive integer"
        r"|KeyError: '(?:text|messages|prompt|completion|chosen|rejected)'",
        "The dataset is empty, broken or lacks a column: look at it with inspect_dataset.",
    ),
]

_TITLES = {
    "out_of_memory": "The job ran out of memory",
    "disk_full": "The disk is full",
    "nan": "The loss became NaN or infinite",
    "bad_config": "The configuration does not fit",
    "bad_data": "The data does not fit",
}


_OWN_CODE = "Correct the line and launch again."
_A_RECIPE = "The code is a recipe and stays as it is: change the config, the model or the data."
_EVALUATING = {
    "out_of_memory": "Use a smaller model, or evaluate fewer or shorter items.",
    "nan": "The model's weights hold NaN: evaluate another.",
}
_LIBRARY = re.compile(r"site-packages|dist-packages|/lib/python3|^<")
_RECIPE = re.compile(r"/jobs/recipes/\w+\.py$")


def classify(
    log: str, exit_code: int | None, *, timeout_s: float | None = None, method: str = "script"
) -> dict[str, Any]:
    """Name what went wrong.

    Args:
        log: The end of the job's log.
        exit_code: As subprocess gives it: negative for a signal.
        timeout_s: The limit, if the supervisor ended the job because of it.
        method: What ran; whoever reads the hint can edit a script, and can only set the fields of a recipe.

    Returns:
        The fields of `ml_intern.jobs.model.Failure`.
    """
    ended = _ended_below(log) if exit_code == 1 else exit_code
    log = of_one_process(log)
    failure: dict[str, Any] = {"last_lines": last_lines(log), "line": error_line(log)}
    said = error_message(log)
    if timeout_s is not None:
        message = f"Stopped after its time limit of {timeout_s:g} s."
        return failure | {
            "kind": "timeout",
            "message": message,
            "hint": "Give more time, or train fewer steps.",
        }
    for kind, pattern, hint in _RULES:
        found = re.search(pattern, log, re.M)
        if found:
            message = f"{_TITLES[kind]}: {said or _line_around(log, found.start())}"
            return failure | {"kind": kind, "message": message, "hint": _hints(method).get(kind, hint)}
    sent = _signal_of(ended)
    if sent is not None:
        return failure | _killed(sent, method)
    message = said or f"The job ended with exit code {exit_code}."
    hint = _OWN_CODE if method == "script" else _A_RECIPE
    return failure | {"kind": "code_error", "message": message, "hint": hint}


def of_one_process(log: str) -> str:
    """What one process would have written, where torchrun started several: the first that raised an error.

    torch puts ``[rank1]:`` before the lines of an error, and torchrun adds a traceback of its own.
    """
    first = re.search(r"^\[rank(\d+)\]: ", log, re.M)
    if first:
        log = re.sub(rf"^\[rank(?!{first[1]}\])\d+\]: ?.*\n?", "", log, flags=re.M)
        log = re.sub(r"^\[rank\d+\]: ?", "", log, flags=re.M)
    report = log.find("torch.distributed.elastic.multiprocessing.errors.ChildFailedError")
    if report >= 0:
        log = log[: max(0, log.rfind("Traceback (most recent call last)", 0, report))]
        log = re.sub(r"^[EWI]\d{4} .*torch/distributed/.*\n?", "", log, flags=re.M)
    return log


def _ended_below(log: str) -> int:
    """The exit code that torchrun reports of the process that failed first; its own is always 1."""
    found = re.findall(r"^\s+exitcode\s*: (-?\d+)", log, re.M)
    return int(found[-1]) if found else 1


def last_lines(log: str, count: int = _LAST_LINES) -> list[str]:
    """The last lines that say something, each at most 400 characters.

    Frames of libraries and recipes are left out: nobody who reads this can change them. So are the rows of
    ``^^^^`` below a line of code.
    """
    lines: list[str] = []
    foreign = False
    for line in filter(str.strip, log.splitlines()):
        frame = re.match(r'\s*File "([^"]+)", line \d+', line)
        if frame:
            foreign = _is_foreign(frame[1])
        elif not line.startswith("    "):
            foreign = False
        if foreign or re.fullmatch(r"[\s^~]*", line):
            continue
        if lines and lines[-1].startswith("Traceback (") and not frame:
            lines.pop()  # No frame of it is left.
        lines.append(line.rstrip()[:400])
    return lines[-count:]


def error_message(log: str) -> str:
    """The last error as Python printed it, ``ValueError: …``; or all lines of our own."""
    own = re.findall(r"^bad_(?:data|config): (.+(?:\n  - .+)*)$", log, re.M)
    if own:
        return str(own[-1]).strip()
    found = re.findall(
        r"^((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Iteration)\b(?::.*)?)$", log, re.M
    )
    return str(found[-1]).strip()[:500] if found else ""


def error_line(log: str) -> str | None:
    """Where the last traceback points, as ``file.py:12: code``; a frame outside of libraries is preferred."""
    start = log.rfind("Traceback (most recent call last)")
    if start < 0:
        found = re.search(r'^  File "([^"]+)", line (\d+)\n +(.*)\n.*\nSyntaxError', log, re.M)
        return f"{_base(found[1])}:{found[2]}: {found[3].strip()}" if found else None
    frames = re.findall(r'^  File "([^"]+)", line (\d+)(?:, in .*)?\n(?:    (.+))?', log[start:], re.M)
    own = [f for f in frames if _RECIPE.search(f[0]) or not _LIBRARY.search(f[0])]
    if not frames:
        return None
    file, number, code = (own or frames)[-1]
    return f"{_base(file)}:{number}: {code.strip()}".rstrip(": ")


def _is_foreign(path: str) -> bool:
    return bool(_LIBRARY.search(path) or _RECIPE.search(path))


def _hints(method: str) -> dict[str, str]:
    return _EVALUATING if method in ("generate", "score") else {}


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _line_around(log: str, position: int) -> str:
    start = log.rfind("\n", 0, position) + 1
    end = log.find("\n", position)
    return log[start : end if end >= 0 else len(log)].strip()[:500]


def _signal_of(exit_code: int | None) -> int | None:
    if exit_code is None:
        return None
    if exit_code < 0:
        return -exit_code
    # A shell or a sandbox in between reports a signal as 128 + its number.
    return exit_code - 128 if 128 < exit_code < 160 else None


def _killed(number: int, method: str) -> dict[str, Any]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    training = method not in ("script", "generate", "score")
    hint = "resume_job goes on from its last whole checkpoint." if training else "Launch it again."
    if number == signal.SIGKILL:
        hint = f"Often the system's memory ran out: then use smaller batches. {hint}"
    return {"kind": "killed", "message": f"Something ended the job with {name}.", "hint": hint}
