"""`ml-intern doctor` on Docker and E2B, and `--build`, with a client of Docker that only pretends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli_process import command

INFO = '{"ServerVersion": "27.1", "OSType": "linux", "Runtimes": {RUNTIMES}}'
CLIENT = """#!/bin/sh
[ "$1" = --config ] && shift 2
[ "$1" = --host ] && shift 2
case "$1 $2" in
  "context "*) echo unix:///var/run/docker.sock ;;
  "info "*) echo 'INFO' ;;
  "buildx "*) exit 1 ;;
  "image "*) [ -e HERE/built ] || { echo 'Error: No such image' >&2; exit 1; }
             echo '{"Id": "sha256:1", "Config": {"Labels": {"ml-intern.python": "python3", "ml-intern.variant": "cpu"}}}' ;;
  "build "*) echo "$@" > HERE/built; cat > HERE/context.tar; echo "Step 1/2 : FROM python"; END ;;
esac
"""


def pretend(
    folder: Path, *, end: str = "exit 0", built: bool = False, runtimes: str = '{"runc": {}}'
) -> dict[str, str]:
    """A client on PATH; what of the environment makes the command find it."""
    (folder / "bin").mkdir()
    script = CLIENT.replace("INFO", INFO.replace("{RUNTIMES}", runtimes)).replace("END", end)
    (folder / "bin/docker").write_text(script.replace("HERE", str(folder)))
    (folder / "bin/docker").chmod(0o755)
    if built:
        (folder / "built").touch()
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "DOCKER_HOST": ""}


def checks(home: Path, **more: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = command(home, "doctor", "--json", **more)
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_what_is_missing_comes_with_the_command_that_mends_it(tmp_path: Path) -> None:
    code, told = checks(tmp_path, E2B_API_KEY="", **pretend(tmp_path))
    assert code == 0  # nothing of it is needed where cells run elsewhere
    assert told["docker"]["mark"] == "missing" and "ml-intern doctor --build" in told["docker"]["mend"]
    assert told["e2b"]["mark"] == "missing" and "E2B_API_KEY" in told["e2b"]["mend"]


@pytest.mark.parametrize("kind", ["docker", "e2b"])
def test_what_the_settings_ask_for_is_needed(tmp_path: Path, kind: str) -> None:
    code, told = checks(tmp_path, E2B_API_KEY="", ML_INTERN_SANDBOX=kind, **pretend(tmp_path))
    assert code == 1 and told[kind]["mark"] == "failed"


def test_what_is_there_is_told_without_the_key(tmp_path: Path) -> None:
    code, told = checks(tmp_path, E2B_API_KEY="e2b_0123456789abcdef", **pretend(tmp_path, built=True))
    assert code == 0 and told["docker"]["mark"] == told["e2b"]["mark"] == "ok"
    assert "27.1" in told["docker"]["found"] and "(cpu)" in told["docker"]["found"]
    assert "0123456789" not in json.dumps(told)


@pytest.mark.parametrize(
    ("runtimes", "words", "expected"),
    [
        pytest.param('{"runc": {}}', (), "--build-arg=VARIANT=cpu", marks=pytest.mark.thorough),
        ('{"nvidia": {}}', (), "--build-arg=VARIANT=cuda"),
        pytest.param(
            '{"runc": {}}', ("--variant", "cuda"), "--build-arg=VARIANT=cuda", marks=pytest.mark.thorough
        ),
        ('{"nvidia": {}}', ("--variant", "cpu"), "--build-arg=VARIANT=cpu"),
    ],
)
def test_build_makes_the_image_that_fits_or_was_asked_for(
    tmp_path: Path, runtimes: str, words: tuple[str, ...], expected: str
) -> None:
    done = command(tmp_path, "doctor", "--build", "--json", *words, **pretend(tmp_path, runtimes=runtimes))
    assert done.returncode == 0, done.stderr
    told = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert told["docker"]["mark"] == "ok"
    assert "Step 1/2" in done.stderr and "ml-intern-sandbox is ready" in done.stderr
    asked = (tmp_path / "built").read_text()
    assert expected in asked and "--tag=ml-intern-sandbox" in asked


def test_a_build_that_fails_is_one_line_more(tmp_path: Path) -> None:
    end = "rm HERE/built; echo 'Get https://registry: dial tcp: no such host'; exit 1"
    done = command(tmp_path, "doctor", "--build", **pretend(tmp_path, end=end))
    lines = [line for line in done.stderr.splitlines() if line.startswith("ml-intern: ")]
    assert done.returncode == 1 and done.stdout == "" and len(lines) == 1
    assert "a registry cannot be reached" in lines[0] and "docker save" in lines[0]


def test_build_without_docker_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = command(tmp_path, "doctor", "--build", PATH=str(tmp_path / "empty"))
    assert done.returncode == 4 and done.stdout == ""
    assert done.stderr.startswith("ml-intern: The docker client is not installed. Install Docker")


def test_a_variant_needs_a_build(tmp_path: Path) -> None:
    done = command(tmp_path, "doctor", "--variant", "cuda")
    assert done.returncode == 2 and "--build" in done.stderr
    assert command(tmp_path, "doctor", "--build", "--variant", "tpu").returncode == 2
