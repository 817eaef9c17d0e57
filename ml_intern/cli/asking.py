"""Commands that take a prompt: the run itself, and the chat. What they do is imported when they are used."""

from __future__ import annotations

import sys
from typing import Any

import click

from ml_intern.cli.front import (
    COMPUTES,
    EFFECTS,
    FILES,
    SANDBOXES,
    SCHEMES,
    Prompt,
    folder_option,
    front,
    json_option,
    quiet_option,
    state_option,
    verbose_option,
)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from ml_intern import __version__

        click.echo(f"ml-intern {__version__}")
        ctx.exit()


@front.command(cls=Prompt, name="run", hidden=True)
@click.argument("prompt", nargs=-1)
@click.option(
    "--model",
    metavar="SCHEME:NAME",
    shell_complete=SCHEMES,
    help="The brain, such as openai:NAME, hf:NAME, anthropic:NAME, transformers:NAME, litellm:NAME.",
)
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint: vLLM, llama.cpp, Ollama …")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="Where the code that it writes runs.")
@click.option("--compute", type=click.Choice(COMPUTES), help="Where trainings run.")
@click.option("--budget", metavar="TEXT", help='Ceiling: "5 usd, 2 gpu-hours, 1h, 500k tokens, 20 jobs".')
@click.option("--max-steps", metavar="N", type=click.IntRange(min=1), help="Steps of work that it may take.")
@click.option(
    "--yes",
    metavar="EFFECTS",
    shell_complete=EFFECTS,
    help="Effects that need no question: compute,publish,destroy; network opens it to scripts that ask.",
)
@click.option(
    "--eval",
    "evals",
    metavar="FILE_OR_NAME",
    multiple=True,
    shell_complete=FILES,
    help="The evaluation that decides: a .jsonl or .csv, a benchmark (see ml-intern evals), lm-eval:TASK."
    " Given again: further ones.",
)
@click.option("--metric", metavar="NAME", help="The metric that decides.")
@folder_option("--workspace", "Folder that the intern works in.")
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
    if not (prompt or as_json or quiet) and sys.stdin.isatty() and sys.stdout.isatty():
        from ml_intern.cli.chat.opening import open_chat

        return open_chat("", given | {"yes": effects_of(yes)}, verbose)
    if not text.strip():
        # A bare call in a script teaches and fails, so that the script notices an empty prompt.
        if not as_json:
            click.echo(front.get_help(click.Context(front, info_name="ml-intern")), err=True)
        raise click.UsageError("There is no prompt.")
    from ml_intern.cli import running

    return running.run_prompt(
        text.strip(), given | {"yes": running.effects(yes)}, running.Face(as_json, quiet, verbose)
    )


def effects_of(text: str | None) -> list[str] | None:
    """The words of ``--yes``, split."""
    from ml_intern.cli import running

    return running.effects(text)


CHAT_OPTIONS = (
    "model", "base_url", "sandbox", "compute", "budget", "max_steps", "yes", "evals", "metric", "workspace",
    "state", "verbose",
)  # fmt: skip


@front.command("chat", params=[p for p in prompt_command.params if p.name in CHAT_OPTIONS])
@click.argument("prompt", nargs=-1)
@click.option(
    "--resume", metavar="[SESSION]", is_flag=False, flag_value="", help="Go on with a session in the chat."
)
def chat_command(
    prompt: tuple[str, ...],
    resume: str | None,
    verbose: int,
    yes: str | None,
    evals: tuple[str, ...],
    **given: Any,
) -> int:
    """Talk with the intern in the terminal; without a PROMPT it asks for one. So does ml-intern alone.

    What is typed while it works is heard before its next answer; /help in the chat lists its commands.
    """
    from ml_intern.cli.chat.opening import open_chat

    given |= {"eval": ",".join(evals) or None, "yes": effects_of(yes)}
    return open_chat(" ".join(prompt).strip(), given, verbose, resume)
