"""The image that containers run: found, or built from the Dockerfile beside this file."""

from __future__ import annotations

import base64
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ml_intern.errors import Denied, InternError
from ml_intern.sandbox.engine import ANSWER_S, Engine
from ml_intern.sandbox.seccomp import filter_program

IMAGE = "ml-intern-sandbox"
DOCKERFILE = Path(__file__).resolve().with_name("Dockerfile")
PYTHON, VARIANT = "ml-intern.python", "ml-intern.variant"
"""Labels: the interpreter, and what the image was built for."""

VARIANTS = ("cpu", "cuda")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BUILD = "Build it (some minutes, once, needs the internet): ml-intern doctor --build"
TRIAL_S = 30.0
TRIAL = "import ctypes, sys; print(*sys.version_info[:2])"
UNREACHABLE = (
    r"no such host|dial tcp|network is unreachable|Temporary failure in name resolution|i/o timeout"
    r"|connection refused|TLS handshake|Client\.Timeout|failed to do request|Could not fetch URL"
    r"|NewConnectionError|Max retries exceeded"
)


@dataclass(frozen=True)
class Image:
    """An image that is there.

    Attributes:
        id: By which containers are started: a name may be given to another image meanwhile.
        name: As the user calls it.
        python: The interpreter in it.
        variant: ``cpu``, ``cuda`` or nothing where it was built elsewhere.
        architecture: Of its programs, in Docker's words.
        volumes: Folders that it wants to be writable.
    """

    id: str
    name: str
    python: str
    variant: str = ""
    architecture: str = ""
    volumes: tuple[str, ...] = ()

    def filter(self) -> str:
        """Our filter of system calls for its processes; nothing where none fits."""
        if self.architecture != ARCHITECTURES.get(platform.machine()):
            return ""
        return base64.b64encode(filter_program()).decode()


def find_image(engine: Engine, name: str = IMAGE, say: Callable[[str], None] | None = None) -> Image:
    """The image of that name.

    Args:
        engine: Where it is looked for.
        name: Its name.
        say: Told of the build where our own image is not there yet; without it nothing is built.

    Raises:
        Denied: It is not there, or has no Python that can run the kernel.
    """
    shown = engine.ask("image", "inspect", "--format", "{{json .}}", "--", name)
    if shown.returncode == 0:
        return _image(engine, name, json.loads(shown.stdout))
    if name == IMAGE and say is not None:
        say(f"The image {IMAGE} is built now; this takes some minutes, once.")
        return build_image(engine, name, say=say)
    mend = BUILD if name == IMAGE else f"Pull or build it (docker pull {name}), or leave docker_image out."
    raise Denied(f"There is no Docker image {name!r} here.", mend)


def build_image(
    engine: Engine,
    name: str = IMAGE,
    variant: str = "",
    say: Callable[[str], None] = lambda line: None,
    arguments: Mapping[str, str] | None = None,
) -> Image:
    """Build the image from the Dockerfile.

    Args:
        engine: Who builds it.
        name: Its name.
        variant: ``cpu`` or ``cuda``; nothing: what this engine can use.
        say: Told each line of the builder.
        arguments: Build arguments in place of ours; ``TORCH_INDEX`` says where torch comes from.

    Raises:
        InternError: It could not be built; the last line of the builder is told.
    """
    variant = variant or ("cuda" if engine.gpus else "cpu")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    ours = {"BASE": f"python:{python}-slim", "VARIANT": variant}
    given = [f"--build-arg={key}={value}" for key, value in {**ours, **(arguments or {})}.items()]
    # The user's own configuration counts here: it may hold the proxy and the account of a registry.
    argv = [engine.program, "--host", engine.host, "build", "--force-rm", f"--tag={name}", *given, "-"]
    said = _build(argv, _context(), {**os.environ, "DOCKER_BUILDKIT": _buildkit(engine.program)}, say)
    if said:
        raise _failure(name, said)
    return find_image(engine, name)


def constraints() -> str:
    """What is installed of the image's packages and of all that they need, one ``name==version`` a line."""
    wanted = re.search(r'ARG PACKAGES="([^"]*)"', DOCKERFILE.read_text())
    assert wanted
    found: dict[str, str] = {}
    waiting = wanted[1].split()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = package.version.partition("+")[0]  # a build such as +cpu is the index's affair
        needs = [re.match(r"[\w.-]+", line) for line in package.requires or [] if "extra ==" not in line]
        waiting += [need[0] for need in needs if need]
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


def _image(engine: Engine, name: str, told: Mapping[str, Any]) -> Image:
    config = told.get("Config") or {}
    labels = config.get("Labels") or {}
    if not labels.get(PYTHON):
        _try(engine, name)
    return Image(
        id=str(told["Id"]),
        name=name,
        python=labels.get(PYTHON) or "python3",
        variant=labels.get(VARIANT, ""),
        architecture=str(told.get("Architecture", "")),
        volumes=tuple(config.get("Volumes") or ()),
    )


def _try(engine: Engine, name: str) -> None:
    """Look for a Python in an image that somebody else made."""
    walls = ["--rm", "--pull=never", "--network=none", "--read-only", "--cap-drop=ALL", "--user=65534"]
    trial = ["--no-healthcheck", "--entrypoint=python3", "--", name, "-I", "-c", TRIAL]
    done = engine.ask("run", *walls, *trial, seconds=TRIAL_S)
    version = [int(part) for part in done.stdout.split() if part.isdigit()]
    if done.returncode or version < [3, 11]:
        found = f"Python {version[0]}.{version[1]}" if len(version) == 2 else "no Python that starts"
        raise Denied(
            f"The Docker image {name!r} has {found}; python3 on its PATH, 3.11 or newer, is needed.",
            "Use another image, or our own (leave docker_image out, then ml-intern doctor --build).",
        )


def _context() -> bytes:
    """The folder that the builder gets: the Dockerfile and the versions, and nothing of this machine."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in (
            ("Dockerfile", DOCKERFILE.read_bytes()),
            ("constraints.txt", constraints().encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


def _buildkit(program: str) -> str:
    """BuildKit needs a part of the client that some systems leave out; the older builder does without."""
    asked = [program, "buildx", "version"]
    known = subprocess.run(
        asked, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=ANSWER_S
    )
    return "0" if known.returncode else "1"


def _build(argv: list[str], context: bytes, env: Mapping[str, str], say: Callable[[str], None]) -> list[str]:
    """Run the builder; its last lines where it failed, nothing when it went well."""
    lines: list[str] = []
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(env)
    ) as builder:
        assert builder.stdin and builder.stdout
        try:
            with suppress(BrokenPipeError), builder.stdin:
                builder.stdin.write(context)  # a few pages: it fits into the pipe
            for raw in builder.stdout:
                if line := raw.decode("utf-8", "replace").strip():
                    lines = [*lines[-50:], line]
                    say(line)
        except BaseException:
            builder.terminate()
            raise
    return lines if builder.returncode else []


def _failure(name: str, said: list[str]) -> InternError:
    """The line that tells most of a builder's end, and what to do."""
    telling = [line for line in said if re.search(r"error|failed|cannot|unable", line, re.IGNORECASE)]
    reason = (telling or said or ["the builder said nothing"])[-1].rstrip(".")[:300]
    if any(re.search(UNREACHABLE, line) for line in said):
        mend = (
            "Repeat it with the internet, or bring the image from another machine (docker save, docker load)."
        )
        return InternError(f"The image {name!r} was not built, a registry cannot be reached: {reason}.", mend)
    return InternError(f"The image {name!r} was not built: {reason}.", "The lines above tell more.")
