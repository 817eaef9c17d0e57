"""The words of the command line: options, subcommands, help. What they do is imported when they are used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SANDBOXES = ("local", "docker", "e2b", "none")
VARIANTS = ("cpu", "cuda")
COMPUTES = ("auto", "local", "docker", "slurm", "hf-jobs")

HELP = """\
An intern for machine learning: one sentence in, a trained, measured, published model out.

Without --model and without a token, a playbook answers: cells written ahead, no language model.
"""
EPILOG = """\
\b
Examples:
  ml-intern playbooks
  ml-intern "train the best small model of Python statements you can in two minutes, and publish it"
  ml-intern "pretrain a small model on notes.txt and publish it as me/notes" --json
  ml-intern "…" --model openai:NAME --base-url http://127.0.0.1:8000/v1 --budget "1h, 500k tokens"

\b
Each option is also an environment variable ML_INTERN_<NAME> and a key in ml-intern.toml.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a limit was reached, 4 something needed was denied,
5 no brain answered, 130 interrupted.
"""


class Front(click.Group):
    """A group whose help shows the options of a prompt first: that is what most people came for."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to call."""
        formatter.write_usage("ml-intern", "[OPTIONS] PROMPT")
        formatter.write_usage("ml-intern", "COMMAND [OPTIONS] …")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of a prompt, then the commands."""
        click.Command.format_options(prompt_command, ctx, formatter)
        self.format_commands(ctx, formatter)


class Prompt(click.Command):
    """The command behind a prompt; its help is that of the whole program."""

    def get_help(self, ctx: click.Context) -> str:
        """The help of the group, with the group's name."""
        return front.get_help(click.Context(front, info_name="ml-intern"))


def _folder(name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, metavar="DIR", type=click.Path(path_type=Path), help=text)


state_option = _folder("--state", "Folder of sessions, datasets and the embedded Hub.")
json_option = click.option(
    "--json", "as_json", is_flag=True, envvar="ML_INTERN_JSON", help="One JSON object on stdout."
)
verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    envvar="ML_INTERN_VERBOSE",
    help="Whole cells and outputs; tracebacks of failures.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, envvar="ML_INTERN_QUIET", help="Only the answer.")
session_argument = click.argument("session", required=False)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from ml_intern import __version__

        click.echo(f"ml-intern {__version__}")
        ctx.exit()


FORMS_HELP = "notebook, script, markdown, trace (JSON lines as Claude Code keeps them) or playbook."


@click.group(cls=Front, help=HELP, epilog=EPILOG, invoke_without_command=False)
def front() -> None:
    """The group of all commands."""


@front.command(cls=Prompt, name="run", hidden=True)
@click.argument("prompt", nargs=-1)
@click.option(
    "--model", metavar="SCHEME:NAME", help="Brain: openai:, hf:, transformers:, litellm:, playbook:."
)
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint.")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="Where cells run.")
@click.option("--compute", type=click.Choice(COMPUTES), help="Where jobs run.")
@click.option("--budget", metavar="TEXT", help='Ceiling: "5 usd, 2 gpu-hours, 1h, 500k tokens, 20 jobs".')
@click.option("--max-steps", metavar="N", type=click.IntRange(min=1), help="Cells that the run may take.")
@click.option(
    "--yes",
    metavar="EFFECTS",
    help="Effects that need no question: compute,publish,destroy; network opens it to scripts that ask.",
)
@click.option(
    "--eval",
    "evals",
    metavar="FILE_OR_NAME",
    multiple=True,
    help="The evaluation that decides: a .jsonl or .csv, a benchmark (see ml-intern evals), lm-eval:TASK."
    " Given again: further ones.",
)
@click.option("--metric", metavar="NAME", help="The metric that decides.")
@_folder("--workspace", "Folder that the intern works in.")
@state_option
@json_option
@quiet_option
@verbose_option
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
def prompt_command(
    prompt: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: int,
    yes: str | None,
    evals: tuple[str, ...],
    **given: Any,
) -> int:
    """Run a prompt; the exit code."""
    given["eval"] = ",".join(evals) or None
    text = sys.stdin.read() if prompt == ("-",) else " ".join(prompt)
    if not text.strip():
        # A bare call teaches and fails, so that a script notices an empty prompt. (Chat comes later.)
        click.echo(front.get_help(click.Context(front, info_name="ml-intern")), err=True)
        raise click.UsageError("There is no prompt.")
    from ml_intern.cli import running

    return running.run_prompt(
        text.strip(), given | {"yes": running.effects(yes)}, running.Face(as_json, quiet, verbose)
    )


@front.command("resume")
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


@front.command("say")
@click.argument("session")
@click.argument("words", nargs=-1, required=True)
@state_option
def say_command(session: str, words: tuple[str, ...], state: Path | None) -> None:
    """Tell a session something while it runs; its brain reads it before it answers the next time.

    SESSION is an index, a unique prefix of the id or a path.
    """
    from ml_intern.cli import steering

    steering.say(session, " ".join(words), state)


@front.command("stop")
@session_argument
@click.option("--cell", "what", flag_value="cell", help="Only the cell that runs; the run goes on.")
@click.option("--step", "what", flag_value="step", help="Only the cell, or the answer that is being written.")
@state_option
def stop_command(session: str | None, what: str | None, state: Path | None) -> None:
    """Stop a session that runs in another terminal; ml-intern resume goes on with it.

    SESSION is an index, a unique prefix of the id or a path; without it the newest is meant.
    """
    from ml_intern.cli import steering

    steering.stop(session, steering.what(what), state)


@front.command("undo")
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


@front.command("replay")
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


@front.command("reproduce")
@click.argument("card")
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


@front.command("sessions")
@state_option
@json_option
def sessions_command(**given: Any) -> None:
    """List the sessions, newest first."""
    from ml_intern.cli import commands

    commands.sessions(**given)


@front.command("jobs")
@session_argument
@click.option("--log", metavar="JOB", help="Show the log of one job.")
@state_option
@json_option
def jobs_command(**given: Any) -> None:
    """List the jobs of a session.

    SESSION is an index, a unique prefix of the id or a path; without it the newest is meant.
    """
    from ml_intern.cli import commands

    commands.jobs(**given)


@front.command("experiments")
@session_argument
@state_option
@json_option
def experiments_command(**given: Any) -> None:
    """List the experiments of a session.

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


@front.command("export")
@session_argument
@click.option("--format", "form", default="notebook", show_default=True, metavar="FORMAT", help=FORMS_HELP)
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


@front.group("hub")
def hub_group() -> None:
    """The embedded Hub."""


@hub_group.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free."
)
@_folder("--root", "Folder of the repositories; nothing: that of the sessions' own Hub.")
@click.option(
    "--token", envvar="ML_INTERN_HUB_TOKEN", help="What clients must send; needed beyond this machine."
)
@state_option
def serve_command(**given: Any) -> None:
    """Serve what sessions have published, for any Hub client (HF_ENDPOINT)."""
    from ml_intern.cli import commands

    commands.serve_hub(**given)


@front.command("tools")
@click.argument("name", required=False)
@click.option("--tokens", is_flag=True, help="Count what the system prompt takes, part by part.")
@json_option
def tools_command(**given: Any) -> None:
    """List the tools that cells can call.

    With a NAME, the whole help of that tool, or the tools of that group.
    """
    from ml_intern.cli import commands

    commands.tools(**given)


@front.command("evals")
@click.argument("name", required=False)
@json_option
def evals_command(**given: Any) -> None:
    """List the benchmarks that --eval knows by name.

    With a NAME, all that is known of that one. Tasks of lm-eval (--eval lm-eval:TASK) are listed by lm-eval
    itself; they need pip install 'ml-intern[lm-eval]'. lighteval wants other versions of what is installed
    here: in an environment of its own it can measure what was published.
    """
    from ml_intern.cli import commands

    commands.evals(**given)


@front.command("trust")
def trust_command() -> None:
    """Let this folder's ml-intern.toml decide what may run here.

    Needed where it sets effects that need no question, rules, tools, MCP servers, folders or no sandbox;
    after a change of the file again.
    """
    from ml_intern.cli import commands

    commands.trust_project()


@front.command("playbooks")
@json_option
def playbooks_command(**given: Any) -> None:
    """List the playbooks and the sentences that they understand."""
    from ml_intern.cli import commands

    commands.playbooks(**given)


@front.command("doctor")
@click.option("--build", is_flag=True, help="Build the image of --sandbox docker first (needs the internet).")
@click.option(
    "--variant", type=click.Choice(VARIANTS), help="What the image is for; nothing: what fits here."
)
@state_option
@json_option
def doctor_command(**given: Any) -> int:
    """Say what works on this machine, and what mends the rest."""
    from ml_intern.cli import doctor

    return doctor.run(**given)
