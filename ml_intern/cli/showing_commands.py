"""Commands that show what was done, and hand it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ml_intern.cli.front import FORMS_HELP, completion_of, front, json_option, session_argument, state_option


@front.command("sessions")
@state_option
@json_option
def sessions_command(**given: Any) -> None:
    """List the sessions, newest first."""
    from ml_intern.cli import commands

    commands.sessions(**given)


@front.command("jobs", short_help="List jobs; show, follow or cancel one.")
@click.argument("words", nargs=-1, metavar="[SESSION] [JOB]", shell_complete=completion_of("complete_jobs"))
@click.option("--logs", is_flag=True, help="Show the log of the job.")
@click.option("--follow", "-f", is_flag=True, help="Show its log until it has ended.")
@click.option("--cancel", is_flag=True, help="End the job and everything that it started.")
@click.option("--log", metavar="JOB", hidden=True)
@state_option
@json_option
def jobs_command(**given: Any) -> None:
    """List the jobs of a session; or show, follow or cancel one.

    SESSION is an index, a unique prefix of the id or a path; without it the newest is meant, or the newest
    that has the JOB.
    """
    from ml_intern.cli import commands

    commands.jobs(**given)


@front.command("experiments", short_help="Show the tree of experiments, with intervals.")
@session_argument
@state_option
@json_option
def experiments_command(**given: Any) -> None:
    """Show the experiments of a session as a tree, with intervals and comparisons.

    --json has all of the ledger: also each scoring, the jobs with their last metrics, the data, the cost.

    SESSION is an index, a unique prefix of the id or a path; without it the newest is meant.
    """
    from ml_intern.cli import commands

    commands.experiments(**given)


@front.command("report")
@session_argument
@state_option
@json_option
def report_command(**given: Any) -> None:
    """Write the report of a session.

    SESSION is an index, a unique prefix of the id or a path; without it the newest is meant.
    """
    from ml_intern.cli import commands

    commands.report(**given)


@front.command("export", short_help="Write a session as notebook, script, Markdown, trace …")
@session_argument
@click.option(
    "--format",
    "form",
    default="notebook",
    show_default=True,
    metavar="FORMAT",
    shell_complete=completion_of("one_of", "notebook", "script", "markdown", "trace", "playbook"),
    help=FORMS_HELP,
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write; nothing: stdout.")
@click.option("--name", default="", help="playbook: what it is called.")
@click.option("--slot", "slots", multiple=True, metavar="NAME=TEXT", help="playbook: a text of the prompt.")
@state_option
def export_command(**given: Any) -> None:
    """Write a session as a notebook, script, Markdown, trace or playbook.

    SESSION is an index, a unique prefix of the id or a path; without it the newest is meant.
    """
    from ml_intern.cli import commands

    commands.export_session(**given)


@front.command("share")
@session_argument
@click.option(
    "--to", "repo", metavar="OWNER/NAME", help="The dataset; nothing: share_traces, or ml-intern-traces."
)
@state_option
@json_option
def share_command(**given: Any) -> None:
    """Put the trace of a session into a private dataset of your Hub account.

    SESSION is an index, a unique prefix of the id or a path; without it the newest is meant. The Hub shows it
    in its viewer of agent traces. With share_traces in the settings each session does this at its end.
    """
    from ml_intern.cli import sharing

    sharing.share(**given)
