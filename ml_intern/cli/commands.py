"""The subcommands that look at what is there: sessions, jobs, experiments, reports, tools, playbooks, Hub."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ml_intern.cli.sessions import find_played, find_session, list_sessions
from ml_intern.cli.tables import print_json, print_table, terminal_width
from ml_intern.errors import UsageError
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.evals.benchmarks import Benchmark
    from ml_intern.settings import Settings
    from ml_intern.tooling import ToolSpec

START_S, POLL_S = 30.0, 0.05
"""How long the Hub may take to answer, and how often it is tried, in seconds."""


def sessions(state: Path | None, as_json: bool) -> None:
    """List the sessions, newest first."""
    folder = _settings(state).state
    cards = list_sessions(folder)
    if as_json:
        print_json({"sessions": [card.to_json() for card in cards]})
    elif cards:
        header = ("#", "session", "status", "created", "model", "prompt")
        rows = [
            (str(c.index), c.id, c.status, c.created[:16].replace("T", " "), c.model, c.prompt) for c in cards
        ]
        print_table(header, rows, whole=(0, 1, 2, 3), spare=(4, 3))
    else:
        click.echo(f"No sessions yet in {folder}.")


def jobs(
    words: tuple[str, ...],
    log: str | None,
    logs: bool,
    follow: bool,
    cancel: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """List the jobs of a session; or show one, its log, or end it."""
    from ml_intern.cli import jobs as face

    if log is not None:
        words, logs = (*words, log), True
    face.show(_settings(state), words, logs, follow, cancel, as_json)


def experiments(session: str | None, state: Path | None, as_json: bool) -> None:
    """Show the experiments of a session as a tree."""
    card = find_session(_settings(state).state, session)
    if as_json:
        from ml_intern.reports.measured import measured

        print_json({"session": card.id, **measured(card.folder)})
        return
    from ml_intern.cli import experiments as face

    found, comparisons = face.read(card.folder)
    if found:
        for line in face.lines_of(found, comparisons, terminal_width()):
            click.echo(line)
    else:
        click.echo(f"Session {card.id} has no experiments.")


def report(session: str | None, state: Path | None, as_json: bool) -> None:
    """Write the report of a session; its path."""
    from ml_intern.hub.report import write_report

    card = find_session(_settings(state).state, session)
    if not (card.folder / "ledger.sqlite").is_file():
        raise UsageError(f"Session {card.id} has no experiments to report on.")
    path = write_report(card.folder)
    if as_json:
        print_json({"session": card.id, "report": str(path)})
    else:
        click.echo(str(path))


def export_session(
    session: str | None, form: str, output: Path | None, name: str, slots: tuple[str, ...], state: Path | None
) -> None:
    """Write a session in another form, to a file or to stdout."""
    from ml_intern.export import export

    wrong = next((slot for slot in slots if not slot.partition("=")[2]), None)
    if wrong is not None:
        raise UsageError(f"--slot {wrong!r} has no text.", "Write --slot NAME=TEXT.")
    card = find_played(_settings(state).state, session)
    pairs = dict(slot.split("=", 1) for slot in slots)
    text = mask(export(card.folder, form, name=name, slots=pairs, tell=_warn))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        told = f"{str(output)!r} cannot be written: {error.strerror}."
        raise UsageError(told, "Name another file with -o.") from None
    click.echo(str(output))


def serve_hub(host: str, port: int | None, root: Path | None, token: str | None, state: Path | None) -> None:
    """Serve the embedded Hub until Ctrl-C."""
    from ml_intern.hub.server import PORT, listen, serve

    settings = _settings(state)
    folder = root.expanduser().absolute() if root else settings.state / "hub"
    # Listening for a moment says whether the address can be had, and which one a port of 0 stands for.
    with listen(host, port if port is not None else settings.hub_port or PORT) as probe:
        chosen = int(probe.getsockname()[1])
    threading.Thread(target=_announce, args=(folder, host, chosen), daemon=True).start()
    try:
        serve(folder, host, chosen, token=token)
    except KeyboardInterrupt:
        click.echo("Closed.")


def _announce(folder: Path, host: str, port: int) -> None:
    """Say where the Hub is once it answers, so that a script that reads the line can go on at once."""
    for _ in range(int(START_S / POLL_S)):
        try:
            socket.create_connection((host, port), timeout=POLL_S).close()
        except OSError:
            time.sleep(POLL_S)
        else:
            endpoint = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            click.echo(f"Serving {folder} at {endpoint} (Ctrl-C ends it)")
            click.echo(f"Clients find it with: export HF_ENDPOINT={endpoint} HF_HUB_DISABLE_XET=1")
            return


def tools(name: str | None, as_json: bool, tokens: bool = False) -> None:
    """List the tools, show one or those of a group, or count what the prompt takes."""
    settings = _settings(None)
    found = _loaded(settings)
    if tokens:
        _print_tokens(settings, found, as_json)
        return
    if name is not None:
        group = [spec for spec in found if spec.subject == name]
        found = group or [_chosen(found, name)]
        name = None if group else name
    if as_json:
        keys = ("name", "subject", "origin", "effect", "needs", "signature", "doc")
        print_json({"tools": [{k: getattr(s, k) for k in keys} | {"schema": s.json_schema()} for s in found]})
    elif name is not None:
        needs = f"\nneeds: {', '.join(found[0].needs)}" if found[0].needs else ""
        click.echo(f"{found[0].signature}\n\neffect: {found[0].effect}{needs}\n\n{found[0].doc}")
    else:
        print_table(
            ("subject", "effect", "tool", ""), [(s.subject, s.effect, s.name, s.summary) for s in found]
        )


def _loaded(settings: Settings) -> list[ToolSpec]:
    """The tools of the settings; servers that give no answer are named."""
    from ml_intern.outside.mcp_servers import McpServers
    from ml_intern.router.registry import load_tools

    servers = McpServers(settings.mcp_servers)
    try:
        found = load_tools(settings, servers.specs())
    finally:
        servers.close()
    for problem in servers.problems:
        click.echo(problem, err=True)
    return found


def _chosen(found: Sequence[ToolSpec], name: str) -> ToolSpec:
    from ml_intern.tooling import did_you_mean

    known = {n for spec in found for n in (spec.name, spec.subject)}
    for spec in found:
        if spec.name == name:
            return spec
    raise UsageError(f"There is no tool {name!r}{did_you_mean(name, known)}.", "ml-intern tools lists them.")


def _print_tokens(settings: Settings, found: Sequence[ToolSpec], as_json: bool) -> None:
    from ml_intern.agent.prompt_tokens import count

    counted = count(found, settings)
    if as_json:
        print_json({"tokens": counted})
        return
    names = list(next(iter(counted.values())))
    rows = [(part, *(str(tokens[name]) for name in names)) for part, tokens in counted.items()]
    print_table(("part of the prompt", *names), rows)


def evals(name: str | None, as_json: bool) -> None:
    """List the benchmarks, or show one."""
    from ml_intern.evals import benchmarks

    found = list(benchmarks.benchmarks().values())
    if name is not None:
        chosen = benchmarks.find(name)
        if chosen is None:
            raise benchmarks.missing(name)
        found = [chosen]
    if as_json:
        print_json({"evals": [b.model_dump(mode="json") | {"closed": b.closed} for b in found]})
    elif name is not None:
        shown = found[0].model_dump(mode="json", exclude_defaults=True) | {"closed": found[0].closed}
        width = max(map(len, shown))
        for key, value in shown.items():
            told = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            click.echo(f"{key:<{width}}  {told!r}" if "\n" in told else f"{key:<{width}}  {told}")
    else:
        print_table(
            ("benchmark", "decides by", "repository", "licence", ""), [_benchmark_row(b) for b in found]
        )


def _benchmark_row(b: Benchmark) -> tuple[str, ...]:
    terms = b.licence or "not stated"
    return (b.name, b.decides, b.repository, f"{terms}, gated" if b.gated else terms, b.about)


def trust_project() -> None:
    """Remember the project's settings as the person's own word."""
    from ml_intern.settings import FILE
    from ml_intern.trust import trust

    trust(Path.cwd() / FILE)
    click.echo(f"{FILE} of this folder may now decide what runs here, as long as it stays as it is.")


def playbooks(as_json: bool) -> None:
    """List the playbooks. One of the person's own that cannot be read is named; the others are shown."""
    from ml_intern.brains.playbook import list_playbooks

    problems: list[str] = []
    found = list_playbooks(_settings(None).playbooks, problems.append)
    if as_json:
        keys = ("name", "summary", "sentences", "shipped")
        shown = [{k: getattr(p, k) for k in keys} | {"path": str(p.path)} for p in found]
        print_json({"playbooks": shown, "problems": problems})
        return
    for playbook in found:
        click.echo(f"{playbook.name}: {playbook.summary}{'' if playbook.shipped else f' ({playbook.path})'}")
        for sentence in playbook.sentences:
            click.echo(f"  {sentence}")
    click.echo("\nWords in {braces} are yours to choose, parts in [brackets] may be left out.")
    for problem in problems:
        click.echo(f"ml-intern: {problem}", err=True)


def _settings(state: Path | None) -> Settings:
    from ml_intern.secrets.secrets import Secrets
    from ml_intern.settings import Settings

    Secrets(os.environ, Path.cwd())  # what it finds is hidden from here on
    return Settings.load(state=state)


def _warn(text: str) -> None:
    click.echo(f"ml-intern: {mask(text)}", err=True)
