"""The image: found, refused, built from the Dockerfile of the project."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from support.docker_engine import ensure_engine, sandbox_image

from ml_intern.errors import Denied, InternError
from ml_intern.sandbox import image
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.docker import DockerSandbox
from ml_intern.sandbox.engine import Engine
from ml_intern.sandbox.image import build_image, constraints, find_image
from ml_intern.sandbox.run import run_in_sandbox


def client(*words: str, given: str = "") -> str:
    done = subprocess.run(["docker", *words], input=given, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def engine() -> Engine:
    ensure_engine()
    return Engine.find()


@pytest.fixture
def name(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """A name for an image that goes with the test."""
    chosen = f"ml-intern-test-{abs(hash(tmp_path)):x}"
    yield chosen
    engine.ask("image", "rm", "--force", chosen)


def arguments(**more: str) -> dict[str, str]:
    """Nothing to fetch: our own base, and no package."""
    return {"BASE": sandbox_image(), "PACKAGES": "", "TORCH_INDEX": "", **more}


@pytest.mark.thorough
def test_the_dockerfile_builds_and_its_image_runs_as_nobody(
    engine: Engine, name: str, tmp_path: Path
) -> None:
    said: list[str] = []
    built = build_image(engine, name, "cpu", said.append, arguments())
    assert (built.python, built.variant, built.name) == ("python3", "cpu", name)
    assert any("Step" in line or "FROM" in line for line in said)
    assert client("run", "--rm", name, "id", "-u").strip() == "65534"
    sandbox = DockerSandbox(name)
    done = run_in_sandbox(sandbox, Mounts(tmp_path), Limits(), [sandbox.python, "-c", "print(6 * 7)"], 60)
    assert done.stdout == "42\n"
    pinned = client("run", "--rm", name, "cat", "/opt/ml-intern/constraints.txt")
    assert pinned == constraints()


@pytest.mark.thorough
def test_no_credential_of_the_builder_is_in_the_image(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_builder")
    build_image(engine, name, "cpu", arguments=arguments())
    told = client("history", "--no-trunc", name) + client("image", "inspect", name)
    assert "hf_secret" not in told + client("run", "--rm", name, "env")


def test_packages_are_asked_for_with_the_versions_of_the_host() -> None:
    pins = dict(line.split("==") for line in constraints().splitlines())
    for package in ("torch", "transformers", "trl", "numpy", "tokenizers"):
        assert pins[package] == version(package).partition("+")[0]
    assert "ml-intern" not in pins and "pytest" not in pins


@pytest.mark.thorough
def test_a_build_that_fails_says_why_in_one_line(engine: Engine, name: str) -> None:
    with pytest.raises(InternError, match="was not built") as failed:
        build_image(engine, name, "cpu", arguments=arguments(PACKAGES="there-is-no-pip-in-this-image"))
    assert "\n" not in str(failed.value) and "pip" in str(failed.value)


def test_a_registry_out_of_reach_is_named_with_a_way_out(engine: Engine, name: str) -> None:
    with pytest.raises(InternError, match="registry cannot be reached") as failed:
        build_image(engine, name, "cpu", arguments=arguments(BASE="127.0.0.1:1/nothing:1"))
    assert "docker save" in failed.value.hint and "\n" not in str(failed.value)


def test_an_image_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(Denied, match="no Docker image 'no-such-image:9'") as refused:
        find_image(engine, "no-such-image:9")
    assert "docker pull no-such-image:9" in refused.value.hint


def test_our_own_image_is_built_by_doctor_or_on_first_use(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = tmp_path / "Dockerfile"
    quick.write_text(f'FROM {sandbox_image()}\nARG PACKAGES=""\nLABEL ml-intern.variant=quick\n')
    monkeypatch.setattr(image, "IMAGE", name)
    monkeypatch.setattr(image, "DOCKERFILE", quick)
    with pytest.raises(Denied, match=f"no Docker image '{name}'") as refused:
        DockerSandbox(name)
    assert "ml-intern doctor --build" in refused.value.hint
    said: list[str] = []
    DockerSandbox(name, said.append).stop()
    assert "is built now" in said[0] and find_image(engine, name).variant == "quick"
    said.clear()
    DockerSandbox(name, said.append).stop()
    assert said == []


@pytest.mark.thorough
def test_an_image_that_somebody_else_built_is_looked_into(engine: Engine, name: str, tmp_path: Path) -> None:
    build(name, f"FROM {sandbox_image()}", "LABEL ml-intern.python=", "ENTRYPOINT false", "ENV SECRET=1")
    done = run_in_sandbox(
        DockerSandbox(name), Mounts(tmp_path), Limits(), ["python3", "-c", "print(6 * 7)"], 60
    )
    assert done.stdout == "42\n"


OLD = r"printf '#!/bin/sh\necho 3 8\n' > /usr/local/bin/python3 && chmod +x /usr/local/bin/python3"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("RUN rm /usr/local/bin/python3", "no Python that starts"),
        (f"RUN rm /usr/local/bin/python3 && {OLD}", "Python 3.8"),
    ],
)
def test_an_image_without_a_python_for_the_kernel_is_refused(
    engine: Engine, name: str, change: str, found: str
) -> None:
    build(name, f"FROM {sandbox_image()}", "LABEL ml-intern.python=", change)
    with pytest.raises(Denied, match=found) as refused:
        DockerSandbox(name)
    assert "doctor --build" in refused.value.hint and "\n" not in str(refused.value)


def build(name: str, *lines: str) -> None:
    client("build", "--tag", name, "-", given="\n".join(lines))
