"""`ml-intern doctor`: what works on this machine, and the command that mends what does not.

Each check looks at the thing itself (bubblewrap starts a process, docker asks its daemon). Of tokens only the
presence is told, never a part of their value.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ml_intern.cli.tables import print_json, terminal_width
from ml_intern.errors import InternError, UsageError
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.settings import Settings

Mark = Literal["ok", "missing", "failed"]
MARKS = {"ok": "✓", "missing": "-", "failed": "✗"}
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "huggingface_hub", "smolagents")
NAME_WIDTH = 13
LOW_DISK_GB = 5.0
EXTRAS = {
    "web": ("gradio", "the web app"),
    "mcp": ("mcp", "tools of MCP servers, and ours for other assistants"),
    "litellm": ("litellm", "models of many providers: --model litellm:NAME"),
    "slurm": ("submitit", "trainings on a Slurm cluster"),
    "trackio": ("trackio", "curves in Trackio"),
    "lm-eval": ("lm_eval", "the tasks of lm-eval: --eval lm-eval:TASK"),
}
"""What can be installed beside the rest: its package, and what it is for."""
_ANSWER_S = 5.0
BRAIN_S = 10.0
"""How long a brain may take to say that it is there."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: The thing.
        mark: ``ok``, ``missing`` (goes on without it) or ``failed`` (needed).
        found: What was seen.
        mend: What to do, when something is to be done.
        about: The heading that it stands below.
    """

    name: str
    mark: Mark
    found: str
    mend: str = ""
    about: str = ""


def run(
    state: Path | None,
    as_json: bool,
    build: bool = False,
    variant: str | None = None,
    model: str | None = None,
    base_url: str | None = None,
) -> int:
    """Look at everything; 0 when nothing that is needed is missing.

    Args:
        state: The state folder, where another than the usual one is meant.
        as_json: One JSON object in place of lines.
        build: Build the image of `--sandbox docker` first.
        variant: What the image is built for; nothing: what the engine can use.
        model: Ask this brain, not that of the settings.
        base_url: Its endpoint.
    """
    from ml_intern.secrets.secrets import Secrets
    from ml_intern.settings import Settings

    if variant and not build:
        raise UsageError("--variant says what is built.", "Say it with --build.")
    settings = Settings.load(state=state, model=model, base_url=base_url)
    secrets = Secrets(os.environ, Path.cwd())
    if build:
        _build(settings, variant or "")
    checks: list[Check] = []
    for check in look(settings, secrets.env):
        if not as_json:
            _show(check, first=not checks or checks[-1].about != check.about)
        checks.append(check)
    failed = [check.name for check in checks if check.mark == "failed"]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    if failed:
        click.echo(f"ml-intern: Needed, and not in order: {', '.join(failed)}.", err=True)
    return 1 if failed else 0


def _show(check: Check, first: bool) -> None:
    """A check as soon as it is known: some take seconds."""
    width = terminal_width()
    if first:
        click.echo(check.about)
    margin = f"    {'':<{NAME_WIDTH}}"
    head = f"  {MARKS[check.mark]} {check.name:<{NAME_WIDTH}}"
    for lead, text in ((head, check.found), (margin, f"→ {check.mend}" if check.mend else "")):
        if text:
            click.echo("\n".join(_wrapped(lead, margin, mask(text), width)))


def _wrapped(lead: str, margin: str, text: str, width: int | None) -> list[str]:
    """The text behind its lead, broken where the terminal ends; a command is never broken in a pipe."""
    if width is None or width < len(margin) + 20:
        return [f"{lead}  {text}"]
    pieces = textwrap.wrap(text, width - len(margin) - 2, break_long_words=False, break_on_hyphens=False)
    return [f"{lead if i == 0 else margin}  {piece}" for i, piece in enumerate(pieces)]


def look(settings: Settings, env: Mapping[str, str]) -> Iterator[Check]:
    """The checks, one after another, below their headings."""
    parts: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("This machine", lambda: chain(_machine(settings.state), [_gpu()])),
        ("Where cells and trainings run", lambda: _places(settings, env)),
        (
            "Models and Hubs",
            lambda: chain([_brain(settings, env)], _tokens(settings, env), [_hub(settings, env)]),
        ),
        ("Extras", _extras),
    )
    for about, checks in parts:
        for check in checks():
            yield replace(check, about=about)


def _places(settings: Settings, env: Mapping[str, str]) -> Iterator[Check]:
    yield _bubblewrap()
    yield _docker(settings)
    yield _e2b(settings, env)
    yield _slurm(settings)


def _python() -> Check:
    # An older Python cannot even import this file; pip and the Makefile refuse it first.
    return Check("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _libraries() -> Check:
    seen = {name: _version(name) for name in LIBRARIES}
    if lost := [name for name, found in seen.items() if not found]:
        return Check("libraries", "failed", f"not installed: {', '.join(lost)}", "pip install -e .")
    return Check("libraries", "ok", ", ".join(f"{name} {found}" for name, found in seen.items()))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _bubblewrap() -> Check:
    from ml_intern.sandbox.local import INSTALL, LocalSandbox

    if problem := LocalSandbox.problem():
        found = f"{problem.rstrip('.')}: only the playbooks that ship run here, without walls"
        return Check("sandbox", "missing", found, INSTALL)
    return Check("sandbox", "ok", LocalSandbox().describe())


def _docker(settings: Settings) -> Check:
    from ml_intern.sandbox.engine import Engine
    from ml_intern.sandbox.image import find_image

    lost: Mark = "failed" if settings.sandbox == "docker" else "missing"
    try:
        engine = Engine.find()
        image = find_image(engine, settings.docker_image)
    except InternError as error:
        return Check("docker", lost, error.message.rstrip("."), error.hint)
    kind = f" ({image.variant})" if image.variant else ""
    return Check("docker", "ok", f"daemon {engine.info['ServerVersion']}, image {image.name}{kind}")


def _build(settings: Settings, variant: str) -> None:
    """Build the image; what the builder says goes to the error stream, so that JSON stays alone."""
    from ml_intern.sandbox.engine import Engine
    from ml_intern.sandbox.image import build_image

    def say(line: str) -> None:
        click.echo(f"  {line}", err=True)

    arguments = {"TORCH_INDEX": settings.torch_index or ""}
    image = build_image(Engine.find(), settings.docker_image, variant, say, arguments)
    click.echo(f"The image {image.name} is ready ({image.variant}): ml-intern --sandbox docker", err=True)


def _e2b(settings: Settings, env: Mapping[str, str]) -> Check:
    if env.get("E2B_API_KEY", "").strip():
        return Check("e2b", "ok", "a key is there")
    lost: Mark = "failed" if settings.sandbox == "e2b" else "missing"
    return Check("e2b", lost, "no key; only --sandbox e2b needs it", "export E2B_API_KEY=…")


def _slurm(settings: Settings) -> Check:
    """Whether a cluster answers, in seconds: one that is down makes its programs wait for minutes."""
    lost: Mark = "failed" if settings.compute == "slurm" else "missing"
    programs = [name for name in ("sinfo", "squeue", "sbatch") if shutil.which(name)]
    if len(programs) < 3:
        mend = "Start ml-intern on a login node of the cluster"
        return Check("slurm", lost, "no cluster here; only --compute slurm needs it", mend)
    for argv in (["squeue", "--me", "--noheader"], ["sinfo", "--noheader", "--format=%P %a %D"]):
        ok, said = _ask(argv)
        if not ok:
            told = said.splitlines()[0] if said else "it says nothing"
            return Check("slurm", lost, f"{argv[0]} fails: {told}", "Ask who runs the cluster, or try later")
    if not _version("submitit"):
        return Check(
            "slurm", lost, "a cluster answers, submitit is lacking", "pip install 'ml-intern[slurm]'"
        )
    partitions = [line.split() for line in said.splitlines() if line.strip()]
    up = [words[0].rstrip("*") for words in partitions if "up" in words[1:2]]
    return Check("slurm", "ok", f"partitions {', '.join(dict.fromkeys(up)) or 'none that is up'}")


def _extras() -> Iterator[Check]:
    for name, (package, purpose) in EXTRAS.items():
        found = _version(package)
        if found:
            yield Check(f"extra {name}", "ok", f"{package} {found}: {purpose}")
        else:
            yield Check(f"extra {name}", "missing", purpose, f"pip install 'ml-intern[{name}]'")


def _gpu() -> Check:
    ok, said = _ask(["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"])
    if not ok or not said:
        return Check("gpu", "missing", "none: jobs train on the CPU")
    return Check("gpu", "ok", "; ".join(said.splitlines()))


def _machine(state: Path) -> Iterator[Check]:
    yield _python()
    yield _libraries()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield Check("machine", "ok", f"{cores} cores, {memory:.1f} GB of memory")
    place = next(path for path in (state, *state.parents) if path.exists())
    if not os.access(place, os.W_OK):
        yield Check("state folder", "failed", f"{state} cannot be written", "Name another: --state DIR")
        return
    free = shutil.disk_usage(place).free / 1e9
    low = free < LOW_DISK_GB
    yield Check(
        "state folder",
        "missing" if low else "ok",
        f"{state}, {free:.1f} GB free",
        f"Free some space (below {LOW_DISK_GB:g} GB trainings may run out), or name another: --state DIR"
        if low
        else "",
    )


def _tokens(settings: Settings, env: Mapping[str, str]) -> Iterator[Check]:
    """Whether credentials are there. Nothing of their values is shown."""
    from ml_intern.secrets.tokens import hub_token

    there = bool(hub_token(env))
    yield (
        Check("hub token", "ok", "there") if there else Check("hub token", "missing", "none", "hf auth login")
    )
    key = bool(settings.api_key or env.get("OPENAI_API_KEY", "").strip())
    mend = "export OPENAI_API_KEY=… where the endpoint asks for one"
    yield Check("endpoint key", "ok", "there") if key else Check("endpoint key", "missing", "none", mend)


def _brain(settings: Settings, env: Mapping[str, str]) -> Check:
    from ml_intern.brains.factory import build_brain

    connect = "--model openai:NAME --base-url URL, or hf auth login"
    said: list[str] = []
    lost: Mark = "failed" if settings.model else "missing"
    try:
        brain = build_brain(settings, lambda event: said.append(getattr(event, "text", "")), env)
        if not brain.language_model:
            found = "playbooks: no language model (ml-intern playbooks lists the sentences)"
            return Check("brain", "missing", found, connect)
        if not _in_time(lambda: brain.prepare(""), BRAIN_S):
            return Check(
                "brain", lost, f"{brain.label} says nothing for {BRAIN_S:g} s", "Is it still loading?"
            )
    except InternError as error:
        return Check("brain", lost, error.message, error.hint)
    warned = f" ({' '.join(filter(None, said))})" if any(said) else ""
    return Check("brain", "ok", f"{brain.label} answers{warned}")


def _in_time(work: Callable[[], object], seconds: float) -> bool:
    """Whether it was done in time; one that hangs is left behind.

    Raises:
        InternError: It failed.
    """
    failures: list[InternError] = []

    def do() -> None:
        try:
            work()
        except InternError as error:
            failures.append(error)

    thread = threading.Thread(target=do, name="doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    return not thread.is_alive()


def _hub(settings: Settings, env: Mapping[str, str]) -> Check:
    from ml_intern.hub.client import Hub

    try:
        hub = Hub(settings, settings.state, env)
    except InternError as error:
        return Check("hub", "failed", str(error), "Mend HF_ENDPOINT or the setting 'hub'")
    return Check("hub", "ok", f"models are published to {hub.label}")


def _ask(argv: list[str]) -> tuple[bool, str]:
    """Whether a program answers well, and what it says."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_ANSWER_S, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return False, "not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    said = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip()
    return done.returncode == 0, said
