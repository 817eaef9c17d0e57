"""Commands that go on with a session, speak to one, take back or do again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ml_intern.cli.front import (
    COMPUTES,
    FILES,
    SANDBOXES,
    completion_of,
    front,
    json_option,
    quiet_option,
    session_argument,
    state_option,
    verbose_option,
)


@front.command("resume", short_help="Go on with a session that was killed, stopped or cut short.")
@session_argument
@click.option("--model", metavar="SCHEME:NAME", help="Another brain; nothing: the session's own.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint.")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="Where cells run.")
@click.option("--budget", metavar="TEXT", help="Another ceiling; what was spent counts.")
@click.option("--max-steps", metavar="N", type=click.IntRange(min=1), help="Cells in all, old ones included.")
@click.option("--yes", metavar="EFFECTS", help="Effects that need no question.")
@click.option("--say", metavar="TEXT", help="What the brain shall know; after an answer, the next task.")
@state_option
@json_option
@quiet_option
@verbose_option
def resume_command(
    session: str | None,
    as_json: bool,
    quiet: bool,
    verbose: int,
    yes: str | None,
    say: str | None,
    **given: Any,
) -> int:
    """Go on with a session that was killed, stopped or met a limit.

    Nothing that was done is done again: answers, cells and calls come from its journal, jobs are found again.
    SESSION is an index, a unique prefix of the id or a path; without it the newest unfinished is meant.
    """
    from ml_intern.cli import running

    return running.resume(
        session, given | {"yes": running.effects(yes)}, running.Face(as_json, quiet, verbose), say
    )


@front.command("say", short_help="Tell a running session something.")
@click.argument(
    "words",
    nargs=-1,
    required=True,
    metavar="[SESSION] WORDS…",
    shell_complete=completion_of("complete_session"),
)
@state_option
@json_option
def say_command(words: tuple[str, ...], as_json: bool, state: Path | None) -> None:
    """Tell a session something while it runs; its brain reads it before it answers the next time.

    SESSION is an index, a unique prefix of the id or a path, before the words; without it the newest that
    runs is meant.
    """
    from ml_intern.cli import steering

    steering.say(words, as_json, state)


@front.command("stop", short_help="Stop a session that runs in another terminal.")
@session_argument
@click.option("--cell", "what", flag_value="cell", help="Only the cell that runs; the run goes on.")
@click.option("--step", "what", flag_value="step", help="Only the cell, or the answer that is being written.")
@state_option
@json_option
def stop_command(session: str | None, what: str | None, as_json: bool, state: Path | None) -> None:
    """Stop a session that runs in another terminal; ml-intern resume goes on with it.

    SESSION is an index, a unique prefix of the id or a path; without it the newest that runs is meant.
    """
    from ml_intern.cli import steering

    steering.stop(session, steering.what(what), as_json, state)


@front.command("undo", short_help="Take the last turn back, with what it did to files.")
@session_argument
@state_option
@json_option
def undo_command(session: str | None, as_json: bool, state: Path | None) -> None:
    """Undo the last turn of a session: its brain forgets it, its files are as they were before.

    What it spent, launched or published stays and is named. SESSION is an index, a unique prefix of the id or
    a path; without it the newest that is no replay is meant.
    """
    from ml_intern.cli import steering

    steering.undo(session, as_json, state)


@front.command("replay", short_help="Play a session again without its brain.")
@session_argument
@click.option("--live", is_flag=True, help="Run the tools again; else each call has the result it had.")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="Where cells run.")
@click.option("--budget", metavar="TEXT", help="Ceiling of the replay.")
@click.option("--yes", metavar="EFFECTS", help="Effects that need no question.")
@state_option
@json_option
@quiet_option
@verbose_option
def replay_command(
    session: str | None, live: bool, as_json: bool, quiet: bool, verbose: int, yes: str | None, **given: Any
) -> int:
    """Play a session again without its brain, in a fresh session, and say where it differs.

    The exit code is 1 where it differs: the record cannot be reproduced. A yes that was given then is none
    for --live. SESSION is an index, a unique prefix of the id or a path; without it the newest is meant.
    """
    from ml_intern.cli import running

    return running.replay(
        session, live, given | {"yes": running.effects(yes)}, running.Face(as_json, quiet, verbose)
    )


@front.command("reproduce", short_help="Do again what a model's card says; compare the numbers.")
@click.argument("card", shell_complete=FILES)
@click.option(
    "--data",
    metavar="NAME=PATH",
    multiple=True,
    help="Where a source, a dataset or a base model is; more than once for several.",
)
@click.option("--eval", metavar="FILE_OR_NAME", help="The evaluation that it is scored on.")
@click.option("--run-card-code", is_flag=True, help="Let code that lies in the card run, in the walls.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what is missing.")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="Where cells run.")
@click.option("--compute", type=click.Choice(COMPUTES), help="Where jobs run.")
@click.option("--budget", metavar="TEXT", help="Ceiling of the reproduction.")
@click.option("--yes", metavar="EFFECTS", help="Effects that need no question.")
@state_option
@json_option
@quiet_option
@verbose_option
def reproduce_command(
    card: str,
    data: tuple[str, ...],
    run_card_code: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
    yes: str | None,
    **given: Any,
) -> int:
    """Do again what a published model's card says, and hold every number against it.

    CARD is a repository of the Hub (owner/name, with @revision), a folder, a README.md or an ml_intern.json
    that publish_model wrote. Its data is made again from its source, its trainings run in order, its model is
    scored. The exit code is 0 where the numbers come out again, 1 where they do not, 2 where something that
    is needed is not at hand.
    """
    from ml_intern.cli import reproducing, running

    return reproducing.reproduce(
        card,
        data,
        run_card_code,
        dry_run,
        given | {"yes": running.effects(yes)},
        running.Face(as_json, quiet, verbose),
    )
