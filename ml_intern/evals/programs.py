"""Does the code of an answer pass the item's tests? Asked behind the walls of the session's sandbox.

What runs there is `programs_inside.py`: code and tests in processes of their own. All items go in few starts.
A pass is a word that the host draws anew for each item and that only the process with the tests can say.
"""

from __future__ import annotations

import ast
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.evals.means import Means
from ml_intern.evals.model import Item
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.run import run_in_sandbox

INSIDE = [Path(__file__).with_name(name) for name in ("programs_inside.py", "programs_wire.py")]
ITEM_S, MEMORY_MB = 10.0, 1024
"""Limits of one program: seconds for its tests and itself, memory of each of its two processes."""
START_S, LONGEST_S = 30.0, 3600.0
WORKERS = 4
STARTS = 20
"""Programs that bring down what runs them are found one at a time, by so many starts at the most."""
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_BLOCK = re.compile(r"^(?:@[^\n]*\n)*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.M)


@dataclass(frozen=True)
class Program:
    """What is run of one answer.

    Attributes:
        code: The model's.
        tests: The item's.
        prelude: What the item's prompt itself defines before the function that is asked for: the tests use
            this and not what the model makes of it.
        entry: The function that is asked for, where the prompt says it.
    """

    code: str
    tests: str
    prelude: str = ""
    entry: str = ""


def demand_walls(sandbox: Sandbox | None) -> Sandbox:
    """The sandbox.

    Raises:
        ToolError: There is none, or it contains nothing.
    """
    if sandbox is None or not sandbox.isolated:
        raise ToolError(
            "code_passes runs code that a model wrote, and there are no walls around it here.",
            "Start the session with --sandbox local, docker or e2b.",
        )
    return sandbox


def program_of(item: Item, answer: str, continues: bool) -> Program:
    """The program of an answer: the first block in fences that defines something, else all of it.

    Where the answer continues its prompt, the prompt stands before it, unless it says the function anew.
    """
    blocks = [found[3] for found in _FENCE.finditer(answer)]
    defining = [block for block in blocks if _BLOCK.search(block) and _parses(block)]
    code = [*defining, *blocks, answer][0]
    if not continues:
        return Program(code, item.tests or "")
    prelude, entry = opening(item.input)
    whole = blocks and re.search(rf"^(?:async[ \t]+)?(?:def|class)[ \t]+{re.escape(entry)}\b", code, re.M)
    code = f"{prelude}\n{code}" if whole else item.input + code
    tests = item.tests or ""
    if entry and re.search(r"^def check\(", tests, re.M) and not re.search(r"^check\(", tests, re.M):
        tests += f"\n\ncheck({entry})\n"
    return Program(code, tests, prelude if _parses(prelude) else "", entry)


def opening(prompt: str) -> tuple[str, str]:
    """Of the beginning of a program, what stands before its last function, and that function's name."""
    found = [*_BLOCK.finditer(prompt)]
    return (prompt[: found[-1].start()], found[-1][1]) if found else (prompt, "")


def passed(items: Sequence[Item], answers: Sequence[str], means: Means) -> list[bool]:
    """For each answer whether its code passes the item's tests.

    Raises:
        ToolError: There are no walls, or nothing runs in them.
        Interrupted: The person stopped it.
    """
    sandbox = demand_walls(means.sandbox)
    continues = means.asking.continues
    programs = [program_of(item, answer, continues) for item, answer in zip(items, answers, strict=True)]
    left = [n for n, program in enumerate(programs) if program.code.strip() and _parses(program.code)]
    found: dict[int, bool] = {}
    workers = min(WORKERS, os.cpu_count() or 1)
    for start in range(STARTS):
        if not left:
            break
        said, began = _run(sandbox, programs, left, 1 if start else workers, means)
        if not start and any(n not in said for n in began):
            # One has killed all that it reached, perhaps the tests of others a moment before who ran them.
            said = {n: right for n, right in said.items() if right}
        found |= said
        if start:  # One at a time: what had begun and came to no end has brought the rest down.
            found |= {n: False for n in began if n not in found}
        left = [n for n in left if n not in found]
    if left:
        means.notes.append(
            f"code_passes gave up on {len(left)} of {len(items)} programs: they count as wrong."
        )
    return [found.get(n, False) for n in range(len(items))]


def _run(
    sandbox: Sandbox, programs: Sequence[Program], numbers: Sequence[int], workers: int, means: Means
) -> tuple[dict[int, bool], list[int]]:
    """One start: what became of each program that came to its end, and all that had begun."""
    assert means.folder
    words = {n: secrets.token_hex(16) for n in numbers}
    stage = means.folder / secrets.token_hex(8)
    stage.mkdir(parents=True)
    stage.chmod(0o755)
    try:
        inside, _ = (Path(shutil.copy(file, stage)) for file in INSIDE)
        file = stage / "items.json"
        file.write_text(json.dumps([_told(n, programs[n], words[n]) for n in numbers]))
        file.chmod(0o600)
        seconds = min(LONGEST_S, START_S + 1.5 * ITEM_S * len(numbers) / workers)
        said = _said(
            sandbox, stage, [sandbox.python, "-I", str(inside), str(file), str(workers)], seconds, means
        )
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    lines = [line.split() for line in said.splitlines()]
    began = [int(line[1]) for line in lines if len(line) == 2 and line[0] == "start" and line[1].isdecimal()]
    ended = {int(line[0]): line[1] for line in lines if len(line) == 2 and line[0].isdecimal()}
    if not began:  # It says so before any code of an answer runs, so no answer is to blame.
        why = said.strip().splitlines()[-1:] or ["it said nothing"]
        raise ToolError(
            f"The sandbox could not run programs: {why[0][:200]}.", "ml-intern doctor looks at it."
        )
    return {n: secrets.compare_digest(ended[n], words[n]) for n in numbers if n in ended}, began


def _told(number: int, program: Program, word: str) -> dict[str, Any]:
    return {
        "number": number,
        "word": word,
        "code": program.code,
        "tests": program.tests,
        "prelude": program.prelude,
        "entry": program.entry,
        "seconds": ITEM_S,
        "memory_mb": MEMORY_MB,
    }


def _said(sandbox: Sandbox, stage: Path, argv: list[str], seconds: float, means: Means) -> str:
    limits = Limits(memory_mb=4 * MEMORY_MB, processes=256, disk_mb=256, growth_mb=256, gpus=False)
    mounts = Mounts(stage, hidden=[stage.parent.parent])
    began = time.monotonic()
    try:
        done = run_in_sandbox(sandbox, mounts, limits, argv, seconds, means.cancelled)
        return done.stdout
    except subprocess.TimeoutExpired as error:
        means.notes.append(f"code_passes was stopped after {time.monotonic() - began:.0f} s.")
        return str(error.output or "")


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
