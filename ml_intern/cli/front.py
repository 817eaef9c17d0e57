"""The frame of the command line: the group of all commands, its help, and options that several have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SANDBOXES = ("local", "docker", "e2b", "none")
VARIANTS = ("cpu", "cuda")
COMPUTES = ("auto", "local", "docker", "slurm", "hf-jobs")

SHELLS = ("bash", "zsh", "fish")

HELP = """\
An intern for machine learning: one sentence in, a trained, measured, published model out.

Without --model and without a token, a playbook answers: cells written ahead, no language model.
ml-intern doctor says what works on this machine, and the command that mends the rest.
"""
EPILOG = """\
\b
Examples:
  ml-intern "say hello to Ada"                        does it work? A second, no model
  ml-intern "train the best small model of Python statements you can in two minutes, and publish it"
  ml-intern "pretrain a small model on notes.txt and publish it as me/notes" --json
  ml-intern "…" --model openai:NAME --base-url http://127.0.0.1:8000/v1 --budget "1h, 500k tokens"
  ml-intern COMMAND --help                            all about one command

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
        """The options of a prompt, then the commands, each in groups."""
        given = [p for p in self.commands["run"].get_params(ctx) if isinstance(p, click.Option)]
        options = {str(p.name): p.get_help_record(ctx) for p in given}
        _write_groups(formatter, OPTION_GROUPS, {name: row for name, row in options.items() if row})
        commands = {
            name: (name, command.get_short_help_str(150))
            for name, command in self.commands.items()
            if not command.hidden
        }
        _write_groups(formatter, COMMAND_GROUPS, commands)


OPTION_GROUPS = {
    "Options for model and machine": ("model", "base_url", "sandbox", "compute", "workspace", "state"),
    "Options for limits and permissions": ("budget", "max_steps", "yes", "evals", "metric"),
    "Options for the output": ("as_json", "quiet", "verbose", "version", "help"),
}
COMMAND_GROUPS = {
    "Commands to go on and to steer": ("chat", "resume", "say", "stop", "undo", "replay", "reproduce"),
    "Commands that show what was done": ("sessions", "jobs", "experiments", "report", "export", "share"),
    "Commands that show what there is": ("doctor", "playbooks", "tools", "evals"),
    "Other faces, and setup": ("web", "mcp", "hub", "trust", "completion"),
}


def _write_groups(
    formatter: click.HelpFormatter, groups: dict[str, tuple[str, ...]], rows: dict[str, tuple[str, str]]
) -> None:
    """The rows below the headings of their groups; what nobody has put into one stands in the last."""
    placed = {name for names in groups.values() for name in names}
    last = list(groups)[-1]
    for heading, names in groups.items():
        more = [name for name in rows if name not in placed] if heading == last else []
        if found := [rows[name] for name in (*names, *more) if name in rows]:
            with formatter.section(heading):
                formatter.write_dl(found)


class Prompt(click.Command):
    """The command behind a prompt; its help is that of the whole program."""

    def get_help(self, ctx: click.Context) -> str:
        """The help of the group, with the group's name."""
        return front.get_help(click.Context(front, info_name="ml-intern"))


def folder_option(name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option that names a folder."""
    return click.option(name, metavar="DIR", type=click.Path(path_type=Path), help=text)


state_option = folder_option("--state", "Folder of sessions, datasets and the embedded Hub.")
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


def completion_of(name: str, *words: str) -> Callable[..., Any]:
    """A completion of `ml_intern.cli.completion`, which is imported at a Tab and not before."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        from ml_intern.cli import completion

        found = getattr(completion, name)
        return (found(*words) if words else found)(ctx, param, incomplete)

    return complete


session_argument = click.argument("session", required=False, shell_complete=completion_of("complete_session"))
FILES = completion_of("complete_files")
EFFECTS = completion_of("one_of", "compute", "publish", "destroy", "network")
SCHEMES = completion_of("one_of", "openai:", "hf:", "transformers:", "litellm:", "anthropic:", "playbook:")


FORMS_HELP = "notebook, script, markdown, trace (JSON lines as Claude Code keeps them) or playbook."


@click.group(cls=Front, help=HELP, epilog=EPILOG, invoke_without_command=False)
def front() -> None:
    """The group of all commands."""
