"""What can be refused before a session makes anything: each in one line, with what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.durations import parse_duration
from ml_intern.errors import ToolError, UsageError
from ml_intern.router.budget import parse_budget
from ml_intern.router.gate import Gate
from ml_intern.settings import Settings

if TYPE_CHECKING:
    from ml_intern.brains.base import Brain


def check_settings(settings: Settings) -> None:
    """Refuse settings that cannot work together or at all.

    Raises:
        UsageError: Names the setting.
    """
    parse_budget(settings.budget)
    parse_duration(settings.job_timeout, "job_timeout")
    Gate.check(settings.policy, settings.yes)
    if settings.mcp_servers:
        from ml_intern.outside.mcp_servers import McpServers

        McpServers(settings.mcp_servers)
    _check_compute(settings)
    _check_folders(settings)
    _check_code_apart(settings)
    _check_evals(settings)


def _check_compute(settings: Settings) -> None:
    """Is the place there that all jobs are to go to?"""
    if settings.compute == "hf-jobs" and settings.hf_flavor is None:
        raise UsageError("HF Jobs needs a flavor.", 'Set hf_flavor = "a10g-small", or another machine.')
    if settings.compute == "docker" and shutil.which("docker") is None:
        raise UsageError("There is no docker on this machine.", "Use --compute auto.")
    if settings.compute == "slurm":
        from ml_intern.jobs.backends.slurm import find_partition, need_submitit

        try:
            need_submitit()
            find_partition(settings.slurm_partition)
        except ToolError as error:
            raise UsageError(error.message, error.hint) from None


def _check_code_apart(settings: Settings) -> None:
    """Cells write the workspace: no code that the host runs may lie there."""
    if settings.workspace is None:
        return
    workspace = settings.workspace.resolve()
    words = [str(word) for entry in settings.mcp_servers.values() for word in _words_of(entry)]
    files = [path.resolve() for word in words if "/" in word and (path := Path(word).expanduser()).exists()]
    for place in (*(folder.resolve() for folder in settings.tools), *files):
        if place == workspace or workspace in place.parents or place in workspace.parents:
            raise UsageError(
                f"{str(place)!r} runs on the host, and cells could change it in the workspace.",
                "Name a workspace of its own, such as --workspace work.",
            )


def _words_of(entry: object) -> list[object]:
    if not isinstance(entry, dict):
        return []
    given = entry.get("args")
    return [entry.get("command", ""), entry.get("cwd", ""), *(given if isinstance(given, list) else [])]


def _check_folders(settings: Settings) -> None:
    if settings.workspace:
        home = Path.home().resolve()
        chosen = settings.workspace.resolve()
        if chosen == home or chosen in home.parents:
            raise UsageError(
                f"The workspace {str(chosen)!r} would show your whole home folder to the cells.",
                "Name a folder of its own.",
            )
    for name, folder in (("state", settings.state), ("workspace", settings.workspace)):
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            told = "a file is in its place" if isinstance(error, FileExistsError) else error.strerror or error
            raise UsageError(
                f"The folder of --{name}, {str(folder)!r}, cannot be made: {told}.", "Name another one."
            ) from None


def _check_evals(settings: Settings) -> None:
    """Is everything there that ``--eval`` names, as far as this machine can tell?"""
    if not settings.eval:
        return
    from ml_intern.evals.files import read_rows
    from ml_intern.evals.named import wanted

    for one in wanted(settings.eval):
        if one.path is not None:
            read_rows(one.path)
        if one.kind == "lm-eval":
            _check_task_apart(settings, one.said)


def _check_task_apart(settings: Settings, said: str) -> None:
    """A task of the person's own may name functions, which the host runs: cells must not write it."""
    from ml_intern.evals.bridge.tasks import place_of
    from ml_intern.evals.named import LM_EVAL

    _, folder = place_of(said.removeprefix(LM_EVAL))
    if not folder or settings.workspace is None:
        return
    place, workspace = Path(folder).resolve(), settings.workspace.resolve()
    if place == workspace or workspace in place.parents:
        raise UsageError(
            f"The task {said!r} lies in the workspace, where cells could change what the host runs.",
            "Move it, or name a workspace of its own, such as --workspace work.",
        )


def check_price(settings: Settings, brain: Brain) -> None:
    """A ceiling in dollars holds only over prices that are known.

    Raises:
        UsageError: The brain has no known price and the budget names dollars.
    """
    caps = parse_budget(settings.budget)
    if "usd" in caps and brain.language_model and brain.price(1000, 1000) is None:
        raise UsageError(
            f"The price of {brain.label} is not known, so a budget in dollars cannot hold.",
            'Give a ceiling in tokens in place of it, such as "500k tokens".',
        )
