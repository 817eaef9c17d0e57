"""`ml-intern reproduce CARD`: the plan in words, then a session that does it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml_intern.cli.board import clean
from ml_intern.cli.running import Face, until_stopped
from ml_intern.cli.tables import print_json
from ml_intern.durations import show_duration
from ml_intern.errors import UsageError

if TYPE_CHECKING:
    from ml_intern.reproducing.plan import Plan
    from ml_intern.router.router import Approver
    from ml_intern.session.session import Session
    from ml_intern.settings import Settings


def reproduce(
    card: str,
    data: Sequence[str],
    run_card_code: bool,
    dry_run: bool,
    given: dict[str, Any],
    face: Face,
) -> int:
    """Do again what a card says; the exit code: 0 reproduced, 1 not, 2 wrong usage or something is missing.

    Args:
        card: A repository, a folder, a README.md or an ml_intern.json.
        data: Words ``NAME=PATH``.
        run_card_code: Whether recipes and rewards that lie in the card may run, in the walls.
        dry_run: Only the plan.
        given: Settings from the flags; None where a flag was not used.
        face: What is shown.
    """
    from ml_intern.reproducing import keeping
    from ml_intern.reproducing.finding import away, find_card
    from ml_intern.reproducing.plan import Options, make_plan
    from ml_intern.reproducing.sources import read_pairs
    from ml_intern.settings import Settings

    settings = Settings.load(**given)
    options = Options(read_pairs(data), settings.eval, run_card_code)
    if run_card_code and settings.sandbox == "none":
        raise UsageError("--run-card-code runs foreign code: not without walls.", "Leave --sandbox none out.")
    with _hub(settings) as hub:
        found = find_card(card, hub)
        plan = make_plan(found, options, Path.cwd())
        plan.missing += away(plan.card, hub)
    if dry_run:
        _show(plan, face)
        return 0
    if plan.missing:
        raise UsageError(" ".join(plan.missing), "--dry-run shows the whole plan.")
    if not (face.as_json or face.quiet):
        _show(plan, face)
    key = keeping.keep(settings.state, found, plan)

    def create(approver: Approver | None) -> Session:
        from ml_intern.session.session import Session

        return Session.create(_fitted(settings, plan, key), keeping.prompt_for(card), approver)

    return until_stopped(create, face, given.get("state"))


def _hub(settings: Settings) -> Any:
    from contextlib import closing

    from ml_intern.hub.client import Hub
    from ml_intern.secrets.secrets import Secrets

    return closing(Hub(settings, settings.state, Secrets(os.environ, Path.cwd()).env))


def _fitted(settings: Settings, plan: Plan, key: str) -> Settings:
    """The settings of the session: the plan as its brain, its sources to read, as many threads as then."""
    from ml_intern.jobs.hardware import gpu_count

    threads = plan.card.last.threads if plan.card.last else 1
    cores = os.cpu_count() or 1
    fits = not settings.job_slots and not gpu_count() and threads <= cores
    return settings.model_copy(
        update={
            "model": f"reproduce:{key}",
            "base_url": None,
            "fallback_models": [],
            "research_model": None,
            "data_dirs": [*settings.data_dirs, *plan.paths],
            "max_steps": max(settings.max_steps, 2 * len(plan.steps) + 10),
            **({"job_slots": max(1, cores // threads)} if fits else {}),
        }
    )


def _show(plan: Plan, face: Face) -> None:
    if face.as_json:
        print_json({"plan": plan.to_json()})
        return
    for text in lines_of(plan):
        click.echo(clean(text))


def lines_of(plan: Plan) -> list[str]:
    """The plan for people."""
    lines = [f"card       {plan.called}" + (f", commit {plan.revision[:12]}" if plan.revision else "")]
    lines += [f"{number:>2}. {step.says}{_time(step.seconds)}" for number, step in enumerate(plan.steps, 1)]
    lines.append(f"the first time its trainings took {show_duration(plan.seconds)} in all")
    lines += [f"missing    {text}" for text in plan.missing]
    lines += [f"lacking    {text}" for text in plan.lacking]
    lines += [f"differs    {text}" for text in plan.differences]
    return lines


def _time(seconds: float | None) -> str:
    return f" ({show_duration(seconds)} the first time)" if seconds else ""
