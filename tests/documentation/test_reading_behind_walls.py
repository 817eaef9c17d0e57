"""The readers in a real sandbox: what is installed there, and nothing of the host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from support.docker_engine import ensure_engine, sandbox_image
from support.e2b_server import E2BServer

from ml_intern.context import ToolContext
from ml_intern.documentation import asking
from ml_intern.documentation.library import Documentation
from ml_intern.errors import ToolError
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.docker import DockerSandbox
from ml_intern.sandbox.e2b import E2BSandbox
from ml_intern.sandbox.local import LocalSandbox
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.tools.docs import api_reference, search_docs


def _local() -> Iterator[Sandbox]:
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    yield LocalSandbox()


def _docker() -> Iterator[Sandbox]:
    ensure_engine()
    yield DockerSandbox(sandbox_image())


def _e2b() -> Iterator[Sandbox]:
    if problem := E2BServer.problem():
        pytest.skip(problem)
    with E2BServer() as server:
        yield E2BSandbox(server.env)


@pytest.fixture(
    params=[
        pytest.param(_local, id="local"),
        pytest.param(_docker, id="docker", marks=pytest.mark.thorough),
        pytest.param(_e2b, id="e2b", marks=pytest.mark.thorough),
    ]
)
def walled(
    request: pytest.FixtureRequest, desk: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ToolContext]:
    with contextmanager(request.param)() as sandbox:
        for name, value in sandbox.launcher_env().items():
            monkeypatch.setenv(name, value)
        sandbox.own(desk.services.folder, desk.files.workspace)
        yield _in(sandbox, desk)
        sandbox.stop()


def _in(sandbox: Sandbox, desk: ToolContext) -> ToolContext:
    mounts = Mounts(desk.files.workspace)

    def run(argv: list[str], seconds: float) -> object:
        return run_in_sandbox(sandbox, mounts, Limits(), argv, seconds)

    return replace(desk, services=replace(desk.services, run_in_sandbox=run, python=sandbox.python))


def test_a_package_is_described_and_found(walled: ToolContext) -> None:
    assert api_reference(walled, "textwrap.dedent").signature == "dedent(text)"
    hits = search_docs(walled, "remove common leading whitespace", "textwrap").hits
    assert hits[0].name == "textwrap.dedent"


def test_an_import_runs_behind_the_walls(walled: ToolContext) -> None:
    """Source tells nothing of this name, so that it is imported; what it tries then comes to nothing."""
    spy = walled.files.workspace / "spy"
    (spy / "deep").mkdir(parents=True)
    (spy / "deep" / "x.so").write_bytes(b"")
    (spy / "__init__.py").write_text(
        "import os, socket\nfound = {}\nfound['key'] = os.environ.get('OPENAI_API_KEY', 'none')\n"
        "try:\n    socket.create_connection(('1.1.1.1', 53), 1)\n    found['net'] = 'open'\n"
        "except OSError:\n    found['net'] = 'closed'\nglobals()['seen'] = found\n"
    )
    told = api_reference(walled, "spy.seen")
    assert told.how == "import" and "'net': 'closed'" in told.text and "'key': 'none'" in told.text


@pytest.mark.parametrize(
    "said", ["", "answer-x eJw=", "{mark} !!!!", "{mark} eJwDAAAAAAE=", "{mark} bnVsbA==", "{mark}"]
)
def test_an_answer_that_is_none_is_refused(said: str) -> None:
    import json
    import subprocess

    def run(argv: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        mark = json.loads(argv[-1])["mark"]
        return subprocess.CompletedProcess(argv, 0, said.replace("{mark}", mark), "")

    with pytest.raises(ToolError):
        asking.ask(run, sys.executable, {"ask": "versions", "names": []}, 5)


def test_an_answer_is_not_unpacked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    import base64
    import json
    import subprocess
    import zlib

    monkeypatch.setattr(asking, "MOST_BYTES", 1000)
    bomb = base64.b64encode(zlib.compress(b'{"a": "' + b"0" * 5_000_000 + b'"}')).decode()

    def run(argv: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, f"{json.loads(argv[-1])['mark']} {bomb}\n", "")

    with pytest.raises(ToolError, match="cannot be read"):
        asking.ask(run, sys.executable, {"ask": "versions", "names": []}, 5)


def test_rows_and_references_of_the_wrong_shape_are_left_out(tmp_path: object, desk: ToolContext) -> None:
    from ml_intern.documentation.results import reference_of

    told = {
        "name": 3,
        "kind": None,
        "parameters": [None, {"name": ""}, {"name": "a", "help": "h" * 9000}, *[{"name": "b"}] * 5000],
        "members": "x",
        "deprecated": [1],
        "line": "7",
        "signature": "s" * 100_000,
    }
    found = reference_of(told, 0)
    assert found.name == "3" and found.line == 0 and len(found.parameters) < 1000
    assert len(found.parameters[0].help) <= 160 and len(found.text) <= 8000 and found.deprecated == ["1"]


def test_each_environment_has_an_index_of_its_own(desk: ToolContext) -> None:
    (desk.files.workspace / "onelib.py").write_text('def only_here():\n    """Only here."""\n')
    assert search_docs(desk, "only here", "onelib").hits
    elsewhere = Documentation(desk.services.folder / "cache", "another place")
    other = replace(desk, services=replace(desk.services, docs=elsewhere))
    (desk.files.workspace / "onelib.py").write_text("")
    assert not search_docs(other, "only here", "onelib").hits
