"""What E2B refuses, and sandboxes that cannot be used, in one line with what to do."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from support.e2b_server import E2BServer

from ml_intern.errors import Denied, InternError
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.sandbox.e2b import E2BSandbox
from ml_intern.sandbox.host import CallReply, KernelHost

needs_server = pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())


def test_no_key() -> None:
    with pytest.raises(Denied, match=r"E2B_API_KEY is not set\. Run: export E2B_API_KEY="):
        choose_sandbox("e2b", trusted=True, env={})


def test_a_key_that_e2b_does_not_take() -> None:
    with E2BServer() as server, pytest.raises(Denied, match=r"does not accept the key.*export E2B_API_KEY"):
        E2BSandbox({**server.env, "E2B_API_KEY": "e2b_wrong"})


def test_a_key_is_not_told() -> None:
    with E2BServer() as server, pytest.raises(Denied) as refused:
        E2BSandbox({**server.env, "E2B_API_KEY": "e2b_wrong_secret"})
    assert "secret" not in str(refused.value)


def test_no_control_plane() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(Denied, match=r"cannot be reached at http://127.*curl http"):
        E2BSandbox({"E2B_API_KEY": "e2b_x", "E2B_API_URL": url})
    assert time.monotonic() - began < 60


@needs_server
def test_a_template_that_does_not_exist(tmp_path: Path) -> None:
    with E2BServer() as server:
        sandbox = E2BSandbox(server.env, template="unheard-of")
        with pytest.raises(Denied, match=r"no template 'unheard-of'.*e2b_template"):
            sandbox.start_kernel(Mounts(tmp_path), Limits())
        assert "unheard-of" in sandbox.describe() and not server.alive


@needs_server
@pytest.mark.parametrize("late_s", [0, 0.6], ids=["at once", "input is refused before the end is told"])
def test_a_template_without_python(tmp_path: Path, late_s: float) -> None:
    with E2BServer() as server:
        server.events_late_s, server.deaf = late_s, late_s > 0
        server.python = "#!/bin/sh\necho python3: not found >&2\nexit 127\n"
        sandbox = E2BSandbox(server.env)
        kernel = KernelHost(sandbox, Mounts(tmp_path), Limits(), [], lambda *_: CallReply(True), 20, 1)
        with pytest.raises(InternError, match=r"must have Python 3\.11"):
            kernel.start()
        sandbox.stop()


@needs_server
def test_a_busy_service(tmp_path: Path) -> None:
    with E2BServer() as server:
        sandbox = E2BSandbox(server.env)
        server.refusals = [503] * 10
        with pytest.raises(InternError, match="busy"):
            sandbox.start_kernel(Mounts(tmp_path), Limits())


@needs_server
def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    with E2BServer() as server:
        sandbox = E2BSandbox(server.env, template="mine")
        sandbox.push(Mounts(tmp_path))
        sandbox.pull(Mounts(tmp_path))
        assert not server.boxes and "no internet" in sandbox.describe() and "mine" in sandbox.describe()
        with pytest.raises(InternError, match="no E2B sandbox"):
            sandbox.attachment()
        sandbox.stop()
