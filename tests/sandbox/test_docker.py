"""Kernels and commands in containers of a real Docker engine: what they can do, see and reach, and how they end."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docker_engine import ensure_engine, sandbox_image
from support.ordinary import as_ordinary_user
from support.out_of_time import PATIENT_S, run_deaf, run_out_of_time

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.docker import DockerSandbox
from ml_intern.sandbox.host import KernelHost
from ml_intern.sandbox.run import run_in_sandbox

OPEN = Callable[..., KernelHost]


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerSandbox]:
    ensure_engine()
    made = DockerSandbox(sandbox_image())
    yield made
    made.stop()


@pytest.fixture
def inside(open_kernel: OPEN, docker: DockerSandbox) -> KernelHost:
    return open_kernel(docker)


def containers(folder: Path) -> list[str]:
    """The containers, running or not, that see a folder."""
    asked = ["docker", "ps", "--all", "--quiet", "--filter", f"volume={folder}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def until(holds: Callable[[], Any], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


# What cells can do


def test_cells_run_and_call_tools(inside: KernelHost) -> None:
    assert inside.run("import os\nprint('text')\nx = 40\nos.getcwd()").output == "text\n"
    assert inside.run("add(x, b=2).sum").value == "42"
    assert inside.run("os.getcwd()").value == repr(str(inside.mounts.workspace))


def test_files_are_shared_at_the_same_path(inside: KernelHost) -> None:
    workspace = Path(inside.mounts.workspace)
    inside.run("import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('one')")
    assert (workspace / "a/b/c").read_text() == "one"
    (workspace / "given.txt").write_text("by the host")
    assert inside.run(f"open({str(workspace / 'given.txt')!r}).read()").value == "'by the host'"


def test_a_cell_over_its_time_is_interrupted_and_a_deaf_one_killed(
    open_kernel: OPEN, docker: DockerSandbox
) -> None:
    kernel = open_kernel(docker, grace_s=PATIENT_S)
    assert "KeyboardInterrupt" in run_out_of_time(kernel, "x = 1\nprint(x)\nwhile True: pass").error
    deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\nwhile True: pass"
    result = run_deaf(kernel, deaf)
    assert "did not react" in result.error and "Survived: x" in result.lost
    assert kernel.run("x").value == "1"


def test_memory_is_bounded_and_the_end_says_so(open_kernel: OPEN, docker: DockerSandbox) -> None:
    kernel = open_kernel(docker, limits=Limits(memory_mb=96))
    result = kernel.run("x = b'x' * (400 << 20)")
    assert not result.ok and "memory (the limit is 96 MB)" in result.error
    assert kernel.run("1 + 1").value == "2"


@pytest.mark.thorough
def test_a_crash_names_the_line(inside: KernelHost) -> None:
    result = inside.run("import ctypes\nctypes.string_at(0)")
    assert "segmentation fault" in result.error and "line 2" in result.error


def test_a_path_with_every_odd_character(open_kernel: OPEN, docker: DockerSandbox, tmp_path: Path) -> None:
    workspace = tmp_path / """a,b "c" 'd': $e; f=g ö\n h"""
    workspace.mkdir()
    kernel = open_kernel(docker, mounts=Mounts(workspace))
    kernel.run("open('made', 'w').write('x')")
    assert (workspace / "made").read_text() == "x"


# What they see and reach


def test_no_credential_and_nothing_of_the_host_in_the_environment(
    open_kernel: OPEN, docker: DockerSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/secret/lib")
    # The docker client copies the proxies of its configuration into containers.
    (Path.home() / ".docker").mkdir()
    proxies = '{"proxies": {"default": {"httpProxy": "http://user:secret@proxy:1"}}}'
    (Path.home() / ".docker/config.json").write_text(proxies)
    kernel = open_kernel(docker)
    code = """
import glob, os
seen = str(dict(os.environ))
for file in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):
    try:
        seen += open(file, 'rb').read().decode('utf-8', 'replace')
    except OSError:
        pass
'secret' in seen, os.environ['PATH'], os.environ['HOME']
"""
    assert kernel.run(code).value == "(False, '/usr/local/bin:/usr/bin:/bin', '/home/intern')"


def test_no_network_and_no_socket_of_the_host(inside: KernelHost) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import os, socket
def reach(*address):
    try:
        with socket.create_connection(address, 3):
            return 'reached'
    except OSError:
        return 'refused'
places = [('127.0.0.1', {port}), ('172.17.0.1', {port}), ('169.254.169.254', 80), ('1.1.1.1', 53)]
[reach(*place) for place in places], os.listdir('/sys/class/net'), os.path.exists('/var/run/docker.sock')
"""
        assert inside.run(code).value == "(['refused', 'refused', 'refused', 'refused'], ['lo'], False)"


def test_writing_works_in_the_workspace_and_in_private_folders_only(inside: KernelHost) -> None:
    code = """
import os
def writes(folder):
    try:
        path = os.path.join(folder, 'trace-of-the-sandbox')
        open(path, 'w').close()
        os.remove(path)
        return True
    except OSError:
        return False
system = ['/', '/usr/local/bin', '/etc', '/dev', '/proc/sys/kernel', '/sys', '/home', '/var', '/opt/ml-intern']
private = ['.', '/tmp', os.path.expanduser('~'), '/dev/shm', '/var/tmp']
[p for p in system if writes(p)], [p for p in private if not writes(p)]
"""
    assert inside.run(code).value == "([], [])"


def test_the_state_folder_is_hidden_and_what_is_shown_of_it_is_not(
    open_kernel: OPEN, docker: DockerSandbox, tmp_path: Path
) -> None:
    project, state = tmp_path / "project", tmp_path / "project/.state"
    shown, workspace = state / "datasets", state / "sessions/one/workspace"
    for folder in (shown, workspace):
        folder.mkdir(parents=True)
    (state / "journal.sqlite").write_text("secret")
    (shown / "data.txt").write_text("rows")
    inner = open_kernel(docker, mounts=Mounts(workspace, read_only=[shown], hidden=[state]))
    assert inner.run(f"import os\nsorted(os.listdir({str(state)!r}))").value == "['datasets', 'sessions']"
    outer = open_kernel(docker, mounts=Mounts(project, read_only=[shown], hidden=[state]))
    assert outer.run("import os\nos.listdir('.state')").value == "['datasets']"
    for kernel in (inner, outer):
        assert kernel.run(f"open({str(shown / 'data.txt')!r}).read()").value == "'rows'"
        assert "OSError" in kernel.run(f"open({str(shown / 'new')!r}, 'w')").error
        assert "Error" in kernel.run(f"open({str(state / 'new')!r}, 'w')").error
    assert (state / "journal.sqlite").read_text() == "secret" and not (state / "new").exists()


@pytest.mark.thorough
def test_mounts_by_their_names_with_and_without_links(
    open_kernel: OPEN, docker: DockerSandbox, tmp_path: Path
) -> None:
    for name in ("ws", "out", "in"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in/a").write_text("text")
    mounts = Mounts(
        tmp_path / "ws", read_only=[tmp_path / "link", tmp_path / "no"], writable=[tmp_path / "out"]
    )
    kernel = open_kernel(docker, mounts=mounts)
    kernel.run(f"open({str(tmp_path / 'out/b')!r}, 'w').write(open({str(tmp_path / 'link/a')!r}).read())")
    assert (tmp_path / "out/b").read_text() == "text"
    for place in ("link/a", "in/a"):
        assert "OSError" in kernel.run(f"open({str(tmp_path / place)!r}, 'w')").error


@pytest.mark.parametrize("folder", ["/", "/usr", "/proc/1", "/tmp"])
def test_a_folder_that_would_cover_the_image_is_refused(
    docker: DockerSandbox, tmp_path: Path, folder: str
) -> None:
    before = Path(folder).stat().st_uid
    for mounts in (Mounts(tmp_path, read_only=[Path(folder)]), Mounts(Path(folder))):
        with pytest.raises(InternError, match="cannot be shown in a container") as refused:
            docker.launch(["true"], mounts, Limits())
        assert "--workspace" in refused.value.hint
    assert Path(folder).stat().st_uid == before


def test_the_user_inside_has_no_rights(inside: KernelHost) -> None:
    code = """
import os, re
status = open('/proc/self/status').read()
rights = [int(x, 16) for x in re.findall(r'Cap(?:Inh|Prm|Eff|Bnd|Amb):\\s*(\\w+)', status)]
rights, re.search(r'NoNewPrivs:\\s*(\\d)', status)[1], os.getuid() == 0, os.getgroups() == [os.getgid()]
"""
    assert inside.run(code).value == "([0, 0, 0, 0, 0], '1', False, True)"


def test_processes_disk_and_files_are_bounded(open_kernel: OPEN, docker: DockerSandbox) -> None:
    kernel = open_kernel(docker, limits=Limits(processes=24, disk_mb=16, file_mb=8))
    forks = """
import os, signal
children = []
try:
    for _ in range(200):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        children.append(pid)
except OSError as e:
    print(type(e).__name__)
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
len(children) < 24
"""
    assert (kernel.run(forks).output, kernel.run("len(children) < 24").value) == ("BlockingIOError\n", "True")
    for folder in ("/tmp", "/home/intern", "/dev/shm", "/var/tmp"):
        fill = f"for i in range(3):\n    open(f'{folder}/big{{i}}', 'wb').write(b'x' * (7 << 20))"
        assert "No space left" in kernel.run(fill).error, folder
    assert "File too large" in kernel.run("open('big', 'wb').write(b'x' * (9 << 20))").error
    assert "File too large" in kernel.run("while True: print('x' * 1_000_000)").error
    assert "Too many open files" in kernel.run("held = []\nwhile True: held.append(open('/dev/null'))").error


def test_the_host_knows_the_processes_inside(docker: DockerSandbox, tmp_path: Path) -> None:
    """Files without a name that they hold open count, when somebody measures what the workspace grew by."""
    process = docker.start_kernel(Mounts(tmp_path), Limits())
    try:
        until(lambda: len(process.pids()) >= 4, "the kernel")
        told = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in process.pids()]
        assert any("kernel.py" in words and "docker" not in words for words in told)
    finally:
        process.kill()
        process.wait()


def test_calls_that_lead_out_are_refused(inside: KernelHost) -> None:
    code = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(number, *arguments):
    return libc.syscall(number, *arguments) < 0 and os.strerror(ctypes.get_errno())
names = {"unshare": (272, 0x10000000), "keyctl": (250, 0, -3, 1), "mount": (165, b"x", b"/tmp", b"tmpfs", 0, 0),
         "ptrace": (101, 16, 1, 0, 0), "io_uring": (425, 1, ctypes.create_string_buffer(200))}
def family(number):
    try:
        socket.socket(number)
    except OSError:
        return "refused"
{name: refused(*words) for name, words in names.items()}, family(40), os.access("/proc/1/mem", os.R_OK)
"""
    if platform.machine() != "x86_64":
        pytest.skip("the calls' numbers are those of x86-64")
    no, gone = "Operation not permitted", "Function not implemented"
    expected = {"unshare": no, "keyctl": no, "mount": no, "ptrace": no, "io_uring": gone}
    assert inside.run(code).value == repr((expected, "refused", False))


def test_what_a_cell_orphans_is_reaped(open_kernel: OPEN, docker: DockerSandbox) -> None:
    kernel = open_kernel(docker, limits=Limits(processes=24))
    code = """
import os, time
for _ in range(60):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
def left():
    return len([p for p in os.listdir("/proc") if p.isdigit()])
end = time.monotonic() + 30
while left() >= 5 and time.monotonic() < end:
    time.sleep(0.05)
left()
"""
    assert int(kernel.run(code).value) < 5


SPIN = """
import statistics, time
def share():
    began, used = time.monotonic(), time.process_time()
    while time.monotonic() < began + 0.3: pass
    return (time.process_time() - used) / (time.monotonic() - began)
print(statistics.median(share() for _ in range(7)))  # a stall that counts as work touches one of them
"""


@pytest.mark.thorough
def test_cpu_time_is_bounded(docker: DockerSandbox, tmp_path: Path) -> None:
    done = run_in_sandbox(docker, Mounts(tmp_path), Limits(cpus=0.25), ["python3", "-c", SPIN], 300)
    assert float(done.stdout) < 0.6
    many = run_in_sandbox(docker, Mounts(tmp_path), Limits(cpus=4096), ["true"], 300)
    assert many.returncode == 0, many.stdout


# Commands and jobs


def test_a_command_gives_output_code_and_lateness(docker: DockerSandbox, tmp_path: Path) -> None:
    mounts, limits = Mounts(tmp_path), Limits()
    both = ["sh", "-c", "for i in 1 2 3 4 5; do echo out; echo err >&2; done; pwd; exit 3"]
    done = run_in_sandbox(docker, mounts, limits, both, 60)
    assert (done.returncode, done.stdout) == (3, "out\nerr\n" * 5 + f"{tmp_path}\n")
    for seconds in (1.5, 10, 40):  # a busy machine may not have begun so soon
        with pytest.raises(subprocess.TimeoutExpired) as late:
            run_in_sandbox(docker, mounts, limits, ["sh", "-c", "echo begun; sleep 600"], seconds)
        if late.value.output:
            break
    assert late.value.output == "begun\n"
    assert containers(tmp_path) == []


def test_a_flood_of_output_fills_nothing(docker: DockerSandbox, tmp_path: Path) -> None:
    done = run_in_sandbox(docker, Mounts(tmp_path), Limits(), ["yes", "x" * 1000], 60, output_mb=8)
    assert "wrote more than 8 MB" in done.stdout and containers(tmp_path) == []


def test_the_clients_configuration_is_not_the_jobs_to_write(docker: DockerSandbox, tmp_path: Path) -> None:
    """A supervisor runs with the job's folder as its home: a client that read it would start its plug-ins."""
    trap = tmp_path / ".docker"
    (trap / "plugins").mkdir(parents=True)
    (trap / "config.json").write_text(
        f'{{"cliPluginsExtraDirs": ["{trap}/plugins"], "currentContext": "elsewhere"}}'
    )
    launch = docker.launch(["echo", "ran"], Mounts(tmp_path), Limits())
    env = {"HOME": str(tmp_path), "PATH": os.defpath, "DOCKER_HOST": "tcp://127.0.0.1:1"}
    for argv, expected in ((launch.argv, "ran\n"), (launch.end, "")):
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert expected in done.stdout and "elsewhere" not in done.stderr, done.stderr


@pytest.mark.parametrize("network", [False, True])
def test_a_network_is_there_only_where_it_was_allowed(
    docker: DockerSandbox, tmp_path: Path, network: bool
) -> None:
    done = run_in_sandbox(docker, Mounts(tmp_path), Limits(network=network), ["ls", "/sys/class/net"], 60)
    assert ("eth0" in done.stdout.split()) is network


# How they end


def test_closing_leaves_no_container(open_kernel: OPEN, docker: DockerSandbox) -> None:
    kernel = open_kernel(docker)
    workspace = Path(kernel.mounts.workspace)
    kernel.run("import subprocess\np = subprocess.Popen(['setsid', 'sleep', '600'])")
    assert len(containers(workspace)) == 1
    kernel.close()
    until(lambda: containers(workspace) == [], "the container's end")


HOST = """
import sys
from pathlib import Path
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.docker import DockerSandbox
from ml_intern.sandbox.host import CallReply, KernelHost

kernel = KernelHost(
    DockerSandbox(sys.argv[1]), Mounts(Path(sys.argv[2])), Limits(), [], lambda *_: CallReply(True), 600, 5
)
kernel.start()
kernel.run(sys.argv[3])
"""

DEAF = """
import ctypes, os, sys
if os.fork() == 0:
    os.setsid()
sys.setswitchinterval(600)
library = ctypes.PyDLL(None)  # holds the interpreter: the thread that would hear of the end does not run
library.creat(f"deaf-{os.getpid()}".encode(), 0o644)
library.sleep(600)
"""


@pytest.fixture
def deaf_host(docker: DockerSandbox, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A host process whose kernel runs a cell that hears nothing, and its workspace."""
    workspace = tmp_path / "ws"
    workspace.mkdir()
    words = [sandbox_image(), str(workspace), DEAF]
    with subprocess.Popen([sys.executable, "-c", HOST, *words], text=True) as host:
        try:
            until(lambda: len(list(workspace.glob("deaf-*"))) == 2, "the cell")
            assert len(containers(workspace)) == 1
            yield host, workspace
        finally:
            host.kill()


def test_kill_9_of_the_host_ends_the_container_of_a_deaf_cell(
    deaf_host: tuple[subprocess.Popen[str], Path],
) -> None:
    host, workspace = deaf_host
    host.kill()
    until(lambda: containers(workspace) == [], "the container's end")


def guard_of(container: str) -> int:
    form = '{{index .Config.Labels "ml-intern.guard"}}'
    asked = ["docker", "inspect", "--format", form, container]
    return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split(".")[0])


def test_what_a_crash_of_everything_left_is_removed_by_the_next_start(
    docker: DockerSandbox, open_kernel: OPEN, deaf_host: tuple[subprocess.Popen[str], Path]
) -> None:
    host, workspace = deaf_host
    other = open_kernel(docker)
    left = containers(workspace)
    host.send_signal(signal.SIGSTOP)  # it must not see what happens next
    os.kill(guard_of(left[0]), signal.SIGKILL)
    host.kill()
    host.wait()
    time.sleep(1)
    assert containers(workspace) == left  # nobody is there who could have ended it
    DockerSandbox(sandbox_image()).stop()
    assert containers(workspace) == []
    assert other.run("1 + 1").value == "2"  # a kernel whose host lives is nobody else's to end


# What goes wrong


def fake_client(folder: Path, script: str) -> None:
    folder.mkdir()
    (folder / "docker").write_text(f'#!/bin/sh\n[ "$1" = context ] && exit 1\n{script}\n')
    (folder / "docker").chmod(0o755)


DENIED = "permission denied while trying to connect to the Docker daemon socket"
SILENT = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        (None, "client is not installed", "apt install docker.io"),
        (f"echo '{DENIED}' >&2; exit 1", "You may not use Docker", "usermod -aG docker"),
        (f"echo '{SILENT}' >&2; exit 1", "No Docker daemon answers", "systemctl start docker"),
        (
            f"""echo '{{"ServerErrors": ["{SILENT}"]}}'""",
            "No Docker daemon answers",
            "systemctl start docker",
        ),
        ('echo \'{"ServerVersion": "1", "OSType": "windows"}\'', "no Linux containers", "Switch"),
        ("exec sleep 600", "does not answer", "systemctl restart docker"),
    ],
)
def test_each_thing_that_is_missing_is_told_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str, hint: str
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    silent = message == "does not answer"
    monkeypatch.setattr("ml_intern.sandbox.engine.ANSWER_S", 0.5 if silent else 60)
    if script is not None:
        fake_client(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/nowhere")
    begun = time.monotonic()
    with pytest.raises(InternError, match=message) as refused:
        DockerSandbox()
    assert hint in refused.value.hint and "\n" not in str(refused.value) and time.monotonic() - begun < 120


@pytest.mark.parametrize("host", ["tcp://user:pass@10.0.0.1:2375", "ssh://me@far"])
def test_an_engine_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    ensure_engine()
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(InternError, match="would not see this machine's folders") as refused:
        DockerSandbox()
    assert "Unset DOCKER_HOST" in refused.value.hint and "pass" not in str(refused.value)


def test_a_kernel_that_does_not_start_says_why_in_a_line(
    open_kernel: OPEN, docker: DockerSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "python", "python9")
    with pytest.raises(InternError, match="the image has no python9") as failed:
        open_kernel(docker)
    assert "doctor --build" in str(failed.value) and "\n" not in str(failed.value)


# An ordinary user


ORDINARY = """
import os, sys
from pathlib import Path
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.docker import DockerSandbox
from ml_intern.sandbox.host import CallReply, KernelHost

sandbox, workspace = DockerSandbox(sys.argv[1]), Path(sys.argv[2])
kernel = KernelHost(sandbox, Mounts(workspace), Limits(), [], lambda *_: CallReply(True), 60, 5)
kernel.start()
print(kernel.run("import os\\nopen('made', 'w').close()\\nos.getuid(), os.getgroups() == [os.getgid()]").value)
kernel.close()
sandbox.stop()
print(os.getuid(), (workspace / "made").stat().st_uid)
"""


def test_an_ordinary_user_stays_who_he_is(docker: DockerSandbox, tmp_path: Path) -> None:
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    group = Path(address.removeprefix("unix://")).stat().st_gid
    if group == 0:
        pytest.skip("the engine's socket is root's alone")
    workspace = tmp_path / "ws"
    workspace.mkdir()
    words = [sys.executable, "-c", ORDINARY, sandbox_image(), str(workspace)]
    argv = as_ordinary_user(["env", f"DOCKER_HOST={address}", *words], [workspace], user=group)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f"({group}, True)\n{group} {group}\n", done.stderr
    assert containers(workspace) == []
