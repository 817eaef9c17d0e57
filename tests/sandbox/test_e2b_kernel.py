"""The kernel in an E2B sandbox, behind the unmodified client and a control plane on loopback."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.e2b_server import KEY, E2BServer
from support.out_of_time import run_deaf

from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.e2b import E2BSandbox
from ml_intern.sandbox.host import CallReply, KernelHost

pytestmark = pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())


@pytest.fixture
def server() -> Iterator[E2BServer]:
    with E2BServer() as made:
        yield made


@pytest.fixture
def sandbox(server: E2BServer) -> Iterator[E2BSandbox]:
    made = E2BSandbox(server.env)
    yield made
    made.stop()


@pytest.fixture
def kernel(open_kernel: Callable[..., KernelHost], sandbox: E2BSandbox) -> KernelHost:
    return open_kernel(sandbox)


def test_cells_keep_state_print_and_call_tools(kernel: KernelHost, server: E2BServer) -> None:
    assert kernel.run("x = [1]\nprint('grün', flush=True)").output == "grün\n"
    before = len(server.requests)
    found = kernel.run("x.append(add(2, b=3).sum)\nx")
    assert found.value == "[1, 5]" and not found.error
    assert (
        len(server.requests) - before == 2
    )  # the cell and the tool's result; files are told with the frames


def test_calls_run_at_the_same_time(kernel: KernelHost) -> None:
    code = "from concurrent.futures import ThreadPoolExecutor as Pool\nlist(Pool(4).map(meet, range(4)))"
    assert kernel.run(code).ok


def test_long_output_comes_whole_as_a_file(kernel: KernelHost, tmp_path: Path) -> None:
    found = kernel.run("for i in range(50_000): print(i)")
    kept = tmp_path / "work space" / "cell_outputs" / "cell-1.txt"
    assert "left out" in found.output and kept.read_text().splitlines()[-1] == "49999"


def test_an_interrupted_cell_keeps_its_variables(kernel: KernelHost) -> None:
    kernel.run("n = 1")
    stopped = kernel.run(
        "import time\nn = 2\nprint('ready', flush=True)\ntime.sleep(600)",
        lambda text: bool(kernel.interrupt()),
    )
    assert stopped.error.startswith("KeyboardInterrupt")
    assert kernel.run("n").value == "2"


def test_what_survives_a_cell_that_must_be_killed(
    open_kernel: Callable[..., KernelHost], sandbox: E2BSandbox
) -> None:
    kernel = open_kernel(sandbox)
    kernel.run("kept = {'a': 1}\nimport threading\nlost = threading.Lock()")
    stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    stopped = run_deaf(kernel, f"print('began', flush=True)\n{stubborn}")
    assert "did not react" in stopped.error and stopped.output == "began\n"
    assert "Survived: kept" in stopped.lost and "Lost: lost" in stopped.lost
    assert kernel.run("kept").value == "{'a': 1}"


def test_a_crash_names_the_line_and_tells_what_was_printed(kernel: KernelHost) -> None:
    kernel.run("pass")
    crashed = kernel.run("import os\nos.write(1, b'last words')\nos.kill(os.getpid(), 11)")
    assert "line 3" in crashed.error and "segmentation fault" in crashed.error
    assert crashed.output == "last words"


def test_processes_that_a_cell_left_end_with_the_kernel(kernel: KernelHost, server: E2BServer) -> None:
    code = "import subprocess\nsubprocess.Popen(['sleep', '987'], start_new_session=True).pid"
    assert kernel.run(code).ok
    kernel.run("import os\nos._exit(3)")
    (box,) = server.alive
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in box.members()]
    assert not any(b"987" in command for command in commands)


def test_the_sandbox_has_no_network_no_key_and_an_ordinary_user(
    kernel: KernelHost, server: E2BServer, sandbox: E2BSandbox
) -> None:
    (box,) = server.alive
    assert box.request["allow_internet_access"] is False
    assert box.request["metadata"]["ml-intern"] == "session"
    seen = kernel.run(
        "import os\nfound = [open(f'/proc/{p}/{f}', 'rb').read() for p in os.listdir('/proc') if p.isdigit()\n"
        "  for f in ('environ', 'cmdline') if os.access(f'/proc/{p}/{f}', os.R_OK)]\n"
        "print(os.getuid(), os.environ, found)\n"
        "status = open('/proc/self/status').read()\n'NoNewPrivs:\\t1' in status"
    )
    assert seen.value == "True" and seen.output.startswith("1000 ")
    assert KEY not in seen.output and "E2B_API" not in seen.output
    files = [path for path in box.root.rglob("*") if path.is_file() and not path.is_symlink()]
    own = [path for path in files if not path.is_relative_to(box.root / "usr")]
    assert own and not any(KEY.encode() in path.read_bytes() for path in own)
    denied = kernel.run("open('/opt/ml-intern/kernel.py', 'a')")
    assert "PermissionError" in denied.error


def test_a_paused_sandbox_goes_on_with_its_variables(
    kernel: KernelHost, server: E2BServer, sandbox: E2BSandbox
) -> None:
    kernel.run("import time\nx, began = 41, time.monotonic()")
    sandbox.pause()
    (box,) = server.alive
    assert box.paused
    sandbox.resume()
    assert kernel.run("x + 1").value == "42"
    sandbox.pause()
    assert kernel.run("x + 2").value == "43" and not box.paused  # a cell resumes it


def test_another_process_goes_on_with_the_kernel(
    kernel: KernelHost,
    server: E2BServer,
    sandbox: E2BSandbox,
    open_kernel: Callable[..., KernelHost],
    tmp_path: Path,
) -> None:
    workspace = tmp_path / "work space"
    kernel.run("x = 5\nopen('made.txt', 'w').write('inside')")
    (workspace / "made.txt").unlink()  # as if the host had died before it was there
    attachment = sandbox.attachment()
    sandbox.pause()
    other = E2BSandbox.attach(attachment, server.env)
    second = open_kernel(other)
    assert second.run("(x, echo(7))").value == "(5, 7)" and len(server.boxes) == 1
    assert (workspace / "made.txt").read_text() == "inside"
    second.run("print('before the end', flush=True)")
    ended = second.run("import os\nos.write(1, b'heard all the same')\nos._exit(1)")
    assert ended.output == "heard all the same"
    other.stop()


def test_a_sandbox_whose_time_is_over_is_replaced(
    kernel: KernelHost, server: E2BServer, tmp_path: Path
) -> None:
    kernel.run("x = 1\nopen('kept.txt', 'w').write('kept')")
    (box,) = server.alive
    end = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
    ended = kernel.run(end, lambda text: threading.Thread(target=box.timeout, args=(0,)).start())
    assert not ended.ok and "Lost: x" in ended.lost and "longer than its" not in ended.error
    assert kernel.run("open('kept.txt').read()").value == "'kept'"
    assert [b.id for b in server.alive] != [box.id]


@pytest.mark.thorough
def test_the_sandbox_is_given_its_time_anew_while_it_is_used(server: E2BServer, tmp_path: Path) -> None:
    sandbox = E2BSandbox(server.env, timeout_s=3)
    kernel = KernelHost(sandbox, Mounts(tmp_path), Limits(), [], lambda *_: CallReply(True), 20, 1)
    kernel.start()
    time.sleep(4.0)
    assert kernel.run("1 + 1").value == "2" and len(server.boxes) == 1
    kernel.close()
    sandbox.stop()
    assert not server.alive


def test_stopping_ends_the_sandbox(kernel: KernelHost, server: E2BServer, sandbox: E2BSandbox) -> None:
    assert len(server.alive) == 1
    kernel.close()
    sandbox.stop()
    assert not server.alive and not any(name.startswith("E2B") for name in os.environ)
