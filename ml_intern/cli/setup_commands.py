"""Commands that show what there is on this machine, and set it up."""

from __future__ import annotations

from typing import Any

import click

from ml_intern.cli.front import SCHEMES, SHELLS, VARIANTS, front, json_option, state_option


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


@front.command("trust", short_help="Let this folder's ml-intern.toml decide what may run.")
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
@click.option("--model", metavar="SCHEME:NAME", shell_complete=SCHEMES, help="Ask this brain.")
@click.option("--base-url", metavar="URL", help="Its endpoint.")
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


@front.command("completion", short_help="Print the script for the Tab key of your shell.")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion_command(shell: str | None) -> None:
    """Print the script that completes commands, options, sessions and sentences at a Tab.

    \b
    bash: echo 'source <(ml-intern completion bash)' >> ~/.bashrc
    zsh:  echo 'source <(ml-intern completion zsh)' >> ~/.zshrc
    fish: ml-intern completion fish > ~/.config/fish/completions/ml-intern.fish

    Without SHELL it is the one that $SHELL names.
    """
    from ml_intern.cli import completion

    click.echo(completion.script(shell))
