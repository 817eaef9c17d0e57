"""Attacks on the walls: each tries to get out, and must not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_intern.errors import Interrupted
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.host import KernelHost
from ml_intern.sandbox.local import LocalSandbox
from ml_intern.sandbox.run import run_in_sandbox

OPEN = Callable[..., KernelHost]


@pytest.fixture
def inside(open_kernel: OPEN, walls: LocalSandbox) -> KernelHost:
    return open_kernel(walls)


def test_no_credential_in_the_environment_or_in_any_process(
    open_kernel: OPEN, walls: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    kernel = open_kernel(walls)
    code = """
import glob, os
seen = str(dict(os.environ))
for file in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):
    try:
        seen += open(file, 'rb').read().decode('utf-8', 'replace')
    except OSError:
        pass
'secret' in seen, len(glob.glob('/proc/[0-9]*')) < 10
"""
    assert kernel.run(code).value == "(False, True)"


def test_no_network_not_even_to_the_host_itself(inside: KernelHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import socket
def reach(family, address):
    try:
        with socket.socket(family) as s:
            s.settimeout(3)
            s.connect(address)
            return 'reached'
    except OSError as e:
        return 'refused'
[reach(socket.AF_INET, a) for a in (('127.0.0.1', {port}), ('169.254.169.254', 80), ('1.1.1.1', 53))]
"""
        assert inside.run(code).value == "['refused', 'refused', 'refused']"


def test_no_socket_of_the_host_is_there(inside: KernelHost) -> None:
    sockets = ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus", "/run/user")
    code = f"import os\n[p for p in {sockets} if os.path.exists(p)]"
    assert inside.run(code).value == "[]"


def test_writing_works_in_the_workspace_and_in_private_folders_only(inside: KernelHost) -> None:
    code = """
import os, sys, pathlib
def writes(folder):
    try:
        path = os.path.join(folder, 'trace-of-the-sandbox')
        open(path, 'w').close()
        os.remove(path)
        return True
    except OSError:
        return False
system = ['/', '/usr', '/etc', '/usr/local/bin', '/dev', '/proc/sys/kernel', '/sys', '/home']
private = ['.', '/tmp', os.path.expanduser('~'), '/dev/shm', '/var/tmp']
python = [os.path.join(sys.prefix, 'bin'), os.path.dirname(os.__file__)]
[p for p in system + python if writes(p)], [p for p in private if not writes(p)]
"""
    assert inside.run(code).value == "([], [])"


def test_the_hosts_tmp_and_homes_are_not_seen(inside: KernelHost, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x")
    there = [str(tmp_path / "secret.txt"), str(Path.home() / ".bashrc")]
    result = inside.run(f"import os\n[os.path.exists(p) for p in {there}]")
    assert result.value == "[False, False]"
    inside.run("open('/tmp/from-inside', 'w').close()")
    assert not Path("/tmp/from-inside").exists()


def test_the_state_folder_is_hidden_and_the_workspace_in_it_is_not(
    open_kernel: OPEN, walls: LocalSandbox, tmp_path: Path
) -> None:
    state, workspace = tmp_path / "state", tmp_path / "state/sessions/one/workspace"
    workspace.mkdir(parents=True)
    (state / "journal.sqlite").write_text("secret")
    shown = state / "datasets"
    shown.mkdir()
    (shown / "data.txt").write_text("rows")
    kernel = open_kernel(walls, mounts=Mounts(workspace, read_only=[shown], hidden=[state]))
    assert kernel.run(f"import os\nsorted(os.listdir({str(state)!r}))").value == "['datasets', 'sessions']"
    assert kernel.run(f"open({str(shown / 'data.txt')!r}).read()").value == "'rows'"
    assert kernel.run("os.getcwd()").value == repr(str(workspace))
    assert "OSError" in kernel.run(f"open({str(state / 'new')!r}, 'w')").error
    assert "OSError" in kernel.run(f"open({str(shown / 'new')!r}, 'w')").error
    kernel.run("open('mine.txt', 'w').write('from the cell')")
    assert (workspace / "mine.txt").read_text() == "from the cell"


def test_a_hidden_folder_inside_the_workspace_is_hidden(
    open_kernel: OPEN, walls: LocalSandbox, tmp_path: Path
) -> None:
    workspace = tmp_path / "project"
    (workspace / ".state").mkdir(parents=True)
    (workspace / ".state/journal").write_text("secret")
    kernel = open_kernel(walls, mounts=Mounts(workspace, hidden=[workspace / ".state"]))
    assert kernel.run("import os\nos.listdir('.state')").value == "[]"
    assert (workspace / ".state/journal").read_text() == "secret"


def test_writable_and_read_only_mounts(open_kernel: OPEN, walls: LocalSandbox, tmp_path: Path) -> None:
    for name in ("ws", "out", "in"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in/a").write_text("text")
    mounts = Mounts(tmp_path / "ws", read_only=[tmp_path / "link"], writable=[tmp_path / "out"])
    kernel = open_kernel(walls, mounts=mounts)
    kernel.run(f"open({str(tmp_path / 'out/b')!r}, 'w').write(open({str(tmp_path / 'link/a')!r}).read())")
    assert (tmp_path / "out/b").read_text() == "text"
    assert "OSError" in kernel.run(f"open({str(tmp_path / 'link/a')!r}, 'w')").error


def test_the_user_inside_has_no_rights(inside: KernelHost) -> None:
    code = """
import os, re
status = open('/proc/self/status').read()
rights = [int(x, 16) for x in re.findall(r'Cap(?:Inh|Prm|Eff|Bnd|Amb):\\s*(\\w+)', status)]
rights, re.search(r'NoNewPrivs:\\s*(\\d)', status)[1]
"""
    rights = inside.run(code).value
    assert rights == "([0, 0, 0, 0, 0], '1')"
    if os.geteuid() == 0:
        assert inside.run("os.getuid() >= 50000").value == "True"


def test_files_from_inside_can_be_read_outside_and_changed_inside(inside: KernelHost) -> None:
    workspace = Path(inside.mounts.workspace)
    inside.run("import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('one')\nos.chmod('a', 0o700)")
    assert (workspace / "a/b/c").read_text() == "one"
    (workspace / "given.txt").write_text("by the host")
    inside.close()
    again = KernelHost(inside.sandbox, inside.mounts, Limits(), [], lambda *_: None, 60, 5)  # type: ignore[arg-type,return-value]
    again.start()
    again.run("open('a/b/c', 'a').write(' two')\nopen('given.txt', 'a').write(' and inside')")
    again.close()
    assert (workspace / "a/b/c").read_text() == "one two"
    assert (workspace / "given.txt").read_text() == "by the host and inside"


def test_a_fork_bomb_is_contained(open_kernel: OPEN, walls: LocalSandbox) -> None:
    kernel = open_kernel(walls, limits=Limits(processes=24))
    code = """
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
    result = kernel.run(code)
    assert (result.output, result.value) == ("BlockingIOError\n", "True")


def test_a_memory_bomb_is_contained(open_kernel: OPEN, walls: LocalSandbox) -> None:
    kernel = open_kernel(walls, limits=Limits(memory_mb=128))
    result = kernel.run("x = b'x' * (400 << 20)\nlen(x)")
    assert not result.ok and ("memory" in result.error.lower())
    assert kernel.run("1 + 1").value == "2"


@pytest.fixture
def grouped(walls: LocalSandbox) -> LocalSandbox:
    if "no control group" in walls.describe():
        pytest.skip("no control group can be made here")
    return walls


# None of these takes memory that is a process's own: what is bounded is the whole.
KERNEL_MEMORY = {
    "files in /tmp": "i = 0\nwhile True:\n    i += 1\n    open(f'/tmp/f{i}', 'w').close()",
    "folders in /dev/shm": "import os\nos.chdir('/dev/shm')\nwhile True:\n    os.mkdir('a')\n    os.chdir('a')",
    "files without a name": "import os\nkept = []\nwhile True:\n    kept.append(os.memfd_create('x'))\n"
    "    os.write(kept[-1], bytes(1 << 20))",
    "descriptors": "import os, signal\nfor _ in range(100):\n    if os.fork() == 0:\n        try:\n"
    "            while True: os.open('/tmp/x', os.O_CREAT)\n        except OSError: signal.pause()\n"
    "print('killed by', os.WTERMSIG(os.wait()[1]))",
    "shared memory": "import ctypes\nc = ctypes.CDLL(None)\nc.shmat.restype = ctypes.c_void_p\nwhile True:\n"
    "    part = c.shmget(0, ctypes.c_size_t(64 << 20), 0o1600)\n"
    "    ctypes.memset(c.shmat(part, None, 0), 1, 64 << 20)",
}


@pytest.mark.parametrize("bomb", KERNEL_MEMORY)
def test_memory_that_no_process_has_is_contained(open_kernel: OPEN, grouped: LocalSandbox, bomb: str) -> None:
    kernel = open_kernel(grouped, limits=Limits(memory_mb=160))
    ended = kernel.run(KERNEL_MEMORY[bomb])
    # Of several processes the system may have killed another than the kernel.
    assert "160 MB" in ended.error or ended.output == "killed by 9\n"
    assert kernel.run("1 + 1").value == "2"


def test_descriptors_are_bounded(open_kernel: OPEN, walls: LocalSandbox) -> None:
    kernel = open_kernel(walls)
    assert "Too many open files" in kernel.run("kept = []\nwhile True: kept.append(open('/dev/null'))").error
    assert kernel.run("n = len(kept)\ndel kept\nn < 20_000").value == "True"


def test_all_of_a_sandbox_shares_its_part_of_the_time(open_kernel: OPEN, grouped: LocalSandbox) -> None:
    if "CPU time" in grouped.describe():
        pytest.skip("no cpu controller here")
    kernel = open_kernel(grouped, limits=Limits(cpus=0.25))
    busy = "import os, time\nchildren = []\nfor _ in range(2):\n    pid = os.fork()\n    if not pid:\n"
    busy += "        end = time.monotonic() + 1.5\n        while time.monotonic() < end: pass\n"
    busy += "        os._exit(0)\n    children.append(pid)\nfor pid in children: os.waitpid(pid, 0)\n"
    assert (
        kernel.run(busy + "times = os.times()\ntimes.children_user + times.children_system < 1.0").value
        == "True"
    )


def test_the_network_is_there_for_who_was_given_it(walls: LocalSandbox, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = (
            f"import socket; socket.create_connection({server.getsockname()!r}, 60).close(); print('reached')"
        )
        for network, said in ((True, "reached\n"), (False, "")):
            launch = walls.launch([sys.executable, "-c", reach], Mounts(tmp_path), Limits(network=network))
            assert subprocess.run(launch.argv, capture_output=True, text=True, check=False).stdout == said
    if Path("/etc/resolv.conf").exists():
        look = ["cat", "/etc/resolv.conf"]
        launch = walls.launch(look, Mounts(tmp_path), Limits(network=True))
        shown = subprocess.run(launch.argv, capture_output=True, check=False).stdout
        assert shown == Path("/etc/resolv.conf").read_bytes()


def test_with_the_network_come_no_abstract_sockets_of_the_host(walls: LocalSandbox, tmp_path: Path) -> None:
    if "False" in subprocess.run(
        [sys.executable, "-c", "from ml_intern.sandbox.landlock import restrict; print(restrict())"],
        capture_output=True, text=True, check=True,
    ).stdout:  # fmt: skip
        pytest.skip("this system's Landlock knows no abstract sockets")
    name = f"\0ml-intern-test-{os.getpid()}"
    reach = """
import socket, sys
def reach(name):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(name)
            return 'reached'
        except PermissionError:
            return 'refused'
own = socket.socket(socket.AF_UNIX)
own.bind("\\0own")
own.listen()
print(reach("\\0own"), reach("\\0" + sys.argv[1]))
"""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        argv = [sys.executable, "-c", reach, name[1:]]
        launch = walls.launch(argv, Mounts(tmp_path), Limits(network=True))
        done = subprocess.run(launch.argv, capture_output=True, text=True, check=False)
        assert done.stdout == "reached refused\n", done.stderr


def test_no_gpu_is_seen_by_who_was_given_none(
    walls: LocalSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No machine of the tests is sure to have one: another device stands for it.
    monkeypatch.setattr("ml_intern.sandbox.walls.DEVICES", ("/dev/kmsg", "/dev/mem"))
    if not Path("/dev/kmsg").exists():
        pytest.skip("no device that can stand for a GPU")
    for gpus, code in ((True, 0), (False, 1)):
        launch = walls.launch(["test", "-e", "/dev/kmsg"], Mounts(tmp_path), Limits(gpus=gpus))
        assert subprocess.run(launch.argv, check=False).returncode == code


def test_many_processes_share_one_memory_limit(open_kernel: OPEN, grouped: LocalSandbox) -> None:
    walls = grouped
    kernel = open_kernel(walls, limits=Limits(memory_mb=160))
    code = """
import subprocess, sys
bomb = "import sys; x = b'x' * (60 << 20); print('held', flush=True); sys.stdin.read()"
ends = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}
children = [subprocess.Popen([sys.executable, '-I', '-c', bomb], **ends) for _ in range(6)]
told = [child.stdout.readline() for child in children]  # each holds its memory until all had their turn
[child.stdin.close() for child in children]
all([word == b"held\\n" and child.wait() == 0 for word, child in zip(told, children)])
"""
    result = kernel.run(code)
    assert result.value == "False" or "memory" in result.error


def test_a_disk_bomb_is_contained(open_kernel: OPEN, walls: LocalSandbox) -> None:
    kernel = open_kernel(walls, limits=Limits(disk_mb=16))
    for folder in ("/tmp", "/home/intern", "/dev/shm", "/var/tmp"):
        fill = f"for i in range(3):\n    open(f'{folder}/big{{i}}', 'wb').write(b'x' * (12 << 20))"
        assert "No space left" in kernel.run(fill).error
    assert "File too large" in kernel.run("open('big', 'wb').write(b'x' * (17 << 20))").error
    assert "File too large" in kernel.run("while True: print('x' * 1_000_000)").error
    assert kernel.run("print('goes on')").output == "goes on\n"


@pytest.mark.parametrize("how", ["close", "kill", "leave"])
def test_what_a_cell_started_ends_with_the_kernel(open_kernel: OPEN, sandbox: Sandbox, how: str) -> None:
    kernel = open_kernel(sandbox)
    mark = f"86{threading.get_native_id() % 100_000}.{len(how)}{len(sandbox.name)}"
    daemon = f"""
import os, subprocess
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp('sleep', ['sleep', '{mark}'])
    os._exit(0)
os.wait()
p = subprocess.Popen(['setsid', 'sleep', '{mark}'])
"""
    kernel.run(daemon)
    wait_until(lambda: runs(mark), "no process was left behind")
    if how == "close":
        kernel.close()
    else:
        kernel.run("os.kill(os.getpid(), 9)" if how == "kill" else "os._exit(0)")
    wait_until(lambda: not runs(mark), "a process outlived its kernel")


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    for _ in range(5000):
        if holds():
            return
        time.sleep(0.02)
    pytest.fail(otherwise)


def runs(mark: str) -> bool:
    """A process with this word in its command line is there."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in file.read_bytes():
                return True
        except OSError:
            continue
    return False


def test_a_link_planted_in_the_workspace_gives_no_file_of_the_host_away(
    open_kernel: OPEN, walls: LocalSandbox, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host only")
    before = secret.stat()
    kernel = open_kernel(walls)
    kernel.run(f"import os\nos.symlink({str(secret)!r}, 'link')\nos.symlink({str(tmp_path)!r}, 'folder')")
    kernel.close()
    open_kernel(walls).run("1")
    assert secret.stat().st_uid == before.st_uid and secret.stat().st_mode == before.st_mode


def test_a_jobs_command_runs_in_the_same_walls(walls: LocalSandbox, tmp_path: Path) -> None:
    folder, data = tmp_path / "job", tmp_path / "data.txt"
    folder.mkdir()
    data.write_text("rows")
    script = "import os, sys\nprint(open(sys.argv[1]).read(), os.environ['OMP_NUM_THREADS'], os.getcwd())\n"
    script += "open('out', 'w').write('made')"
    launch = walls.launch(
        [sys.executable, "-c", script, str(data)],
        Mounts(folder, read_only=[data]),
        Limits(),
        {"OMP_NUM_THREADS": "1"},
    )
    done = subprocess.run(launch.argv, capture_output=True, text=True, check=False)
    assert done.stdout == f"rows 1 {folder}\n" and done.returncode == 0, done.stderr
    assert (folder / "out").read_text() == "made"


def test_installed_packages_can_be_imported(inside: KernelHost) -> None:
    assert inside.run("import numpy, pydantic\nnumpy.arange(3).sum()").value in ("3", "np.int64(3)")


def test_a_command_gives_output_code_and_lateness(sandbox: LocalSandbox, tmp_path: Path) -> None:
    done = run_in_sandbox(
        sandbox, Mounts(tmp_path), Limits(), ["/bin/sh", "-c", "echo out; echo err >&2; pwd; exit 3"], 60
    )
    assert (done.returncode, done.stdout) == (3, f"out\nerr\n{tmp_path}\n")
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run_in_sandbox(sandbox, Mounts(tmp_path), Limits(), ["/bin/sh", "-c", "echo begun; sleep 60"], 1.0)
    assert late.value.output == "begun\n"
    long = run_in_sandbox(sandbox, Mounts(tmp_path), Limits(), ["head", "-c", "20000000", "/dev/zero"], 60)
    assert len(long.stdout) < 9_000_000 and "\n… 11611392 bytes left out …\n" in long.stdout
    assert long.returncode == 0


def test_a_command_that_writes_without_end_is_ended(sandbox: LocalSandbox, tmp_path: Path) -> None:
    flood = ["/bin/sh", "-c", "echo first; yes & yes"]
    for given, least in (({"output_mb": 1}, 1), ({}, 16)):
        done = run_in_sandbox(sandbox, Mounts(tmp_path), Limits(disk_mb=16), flood, 60, **given)
        assert done.stdout.startswith("first\ny\n") and done.returncode != 0
        assert done.stdout.splitlines()[-1] == f"The command was ended: it wrote more than {least} MB."


def test_a_command_can_be_cancelled(sandbox: LocalSandbox, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with pytest.raises(Interrupted, match=r"The command was stopped\."):
        run_in_sandbox(
            sandbox,
            Mounts(tmp_path),
            Limits(),
            ["/bin/sh", "-c", "touch begun; sleep 600"],
            600,
            begun.exists,
        )


def test_a_command_that_closes_its_output_is_waited_for(sandbox: LocalSandbox, tmp_path: Path) -> None:
    quiet = ["/bin/sh", "-c", "echo out; exec >&- 2>&-; sleep 0.5; touch end; exit 4"]
    done = run_in_sandbox(sandbox, Mounts(tmp_path), Limits(), quiet, 60)
    assert (done.returncode, done.stdout) == (4, "out\n") and (tmp_path / "end").exists()


def test_files_of_a_command_are_bounded(walls: LocalSandbox, tmp_path: Path) -> None:
    fill = ["/bin/sh", "-c", "head -c 20M /dev/zero > big"]
    assert run_in_sandbox(walls, Mounts(tmp_path), Limits(disk_mb=16), fill, 60).returncode
    assert (tmp_path / "big").stat().st_size == 16 << 20
    assert not run_in_sandbox(walls, Mounts(tmp_path), Limits(disk_mb=16, file_mb=32), fill, 60).returncode
    assert (tmp_path / "big").stat().st_size == 20 << 20
