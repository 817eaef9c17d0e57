"""The filter of system calls: what it refuses inside, and what goes on working."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.ordinary import as_ordinary_user

from ml_intern.sandbox import seccomp
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.host import KernelHost
from ml_intern.sandbox.local import LocalSandbox

OPEN = Callable[..., KernelHost]

# Of the refused calls, those that a program could make before there was a filter, or that would tell something.
# Arguments are harmless ones: where the call is let through it fails in another way, or succeeds.
PROBES = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
library = ctypes.CDLL("libseccomp.so.2")
def call(name, *arguments):
    ctypes.set_errno(0)
    number = library.seccomp_syscall_resolve_name(name.encode())
    done = libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    return errno.errorcode.get(ctypes.get_errno(), "done") if done == -1 else "done"
"""


@pytest.fixture
def filtered(open_kernel: OPEN, walls: LocalSandbox) -> KernelHost:
    if not seccomp.filter_program():
        pytest.skip("libseccomp is not installed")
    assert "system calls" not in walls.describe()
    kernel = open_kernel(walls)
    kernel.run(PROBES)
    return kernel


@pytest.mark.parametrize(
    ("probe", "fails"),
    [
        ("'keyctl', 0, -3, 1", "EPERM"),  # the session's keyring
        ("'add_key', b'user', b'name', b'x', 1, -3", "EPERM"),
        ("'request_key', b'user', b'name', None, 0", "EPERM"),
        ("'ptrace', 0, 0, 0, 0", "EPERM"),
        ("'process_vm_readv', os.getpid(), None, 0, None, 0, 0", "EPERM"),
        ("'process_vm_writev', os.getpid(), None, 0, None, 0, 0", "EPERM"),
        ("'pidfd_getfd', 0, 0, 0", "EPERM"),
        ("'bpf', 0, None, 0", "EPERM"),
        ("'perf_event_open', None, 0, 0, 0, 0", "EPERM"),
        ("'userfaultfd', 1", "EPERM"),
        ("'io_uring_setup', 1, None", "ENOSYS"),
        ("'mount', None, None, None, 0, None", "EPERM"),
        ("'umount2', b'/tmp', 0", "EPERM"),
        ("'fsopen', b'tmpfs', 0", "EPERM"),
        ("'open_tree', -100, b'/', 1", "EPERM"),
        ("'name_to_handle_at', -100, b'/', None, None, 0", "EPERM"),
        ("'setns', 0, 0", "EPERM"),
        *((f"'unshare', {flag}", "EPERM") for flag in (0x10000000, 0x50000000, 0x00020000, 0x80)),
        ("'clone', 0x10000011, 0, 0, 0, 0", "EPERM"),
        ("'clone3', None, 0", "ENOSYS"),
        ("'personality', 0x00400000", "EPERM"),
        ("'ioctl', 0, 0x5412, b'x'", "EPERM"),
        ("'ioctl', 0, 0x5412 | 1 << 32, b'x'", "EPERM"),  # the kernel reads the lower half only
        ("'socket', 40, 1, 0", "EPERM"),  # to the virtual machine's host
        ("'socket', 17, 3, 0", "EPERM"),  # raw packets
        ("'socket', 38, 5, 0", "EPERM"),  # the kernel's own cryptography
        ("'socket', 16, 3, 4", "EPERM"),  # netlink's other protocols
        ("'socket', 40 | 1 << 32, 1, 0", "EPERM"),
        ("'socketpair', 40, 1, 0, None", "EPERM"),
        # And what must not be refused.
        ("'personality', 0xffffffff", "done"),
        ("'unshare', 0x200", "done"),
        ("'socket', 16, 3, 0", "done"),
        ("'socket', 2, 1, 0", "done"),
        ("'socket', 10, 1, 0", "done"),
        ("'socket', 1, 1, 0", "done"),
        ("'memfd_create', b'name', 0", "done"),
    ],
)
def test_a_call(filtered: KernelHost, probe: str, fails: str) -> None:
    assert filtered.run(f"call({probe})").value == repr(fails)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="calls in another numbering are x86's")
def test_calls_in_another_numbering_are_refused(filtered: KernelHost) -> None:
    assert "OSError" not in filtered.run("libc.syscall(0x40000000 + 39), ctypes.get_errno()").error
    assert filtered.run("libc.syscall(0x40000000 + 39), ctypes.get_errno()").value == "(-1, 38)"
    old = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # the process's number, as a 32-bit program asks for it
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""
    assert filtered.run(old).value == "-38"


def test_it_holds_for_jobs_and_for_what_they_start(walls: LocalSandbox, tmp_path: Path) -> None:
    if not seccomp.filter_program():
        pytest.skip("libseccomp is not installed")
    for argv in (["unshare", "--user", "true"], ["/bin/sh", "-c", "unshare --user true"]):
        launch = walls.launch(argv, Mounts(tmp_path), Limits())
        done = subprocess.run(launch.argv, capture_output=True, text=True, check=False)
        assert done.returncode and "not permitted" in done.stderr
    status = walls.launch(["grep", "Seccomp:", "/proc/self/status"], Mounts(tmp_path), Limits())
    assert subprocess.run(status.argv, capture_output=True, check=False).stdout.split() == [b"Seccomp:", b"2"]


WORK = """
import asyncio, concurrent.futures, multiprocessing, os, pathlib, socket, subprocess, sys, tempfile, threading
import numpy

async def ask():
    process = await asyncio.create_subprocess_exec("echo", "async", stdout=subprocess.PIPE)
    server = await asyncio.start_server(lambda r, w: (w.write(b"served"), w.close()), "127.0.0.1", 0)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
    return (await process.communicate())[0], await reader.read()

def square(n):
    return n * n

def main():
    print(subprocess.run(["echo", "child"], capture_output=True).stdout)
    print(asyncio.run(ask()))
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(square, [1, 2, 3]))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        print(sum(pool.map(square, range(100))))
    shared = multiprocessing.shared_memory.SharedMemory(create=True, size=64)
    shared.close(), shared.unlink()
    print(float(numpy.linalg.norm(numpy.random.default_rng(0).normal(size=(200, 200)) @ numpy.eye(200))) > 0)
    print(socket.if_nameindex()[0][1], socket.getaddrinfo("localhost", 80)[0][4][0] in ("127.0.0.1", "::1"))

if __name__ == "__main__":
    import multiprocessing.shared_memory
    main()
"""
WORKED = """b'child\\n'
(b'async\\n', b'served')
fork [1, 4, 9]
spawn [1, 4, 9]
forkserver [1, 4, 9]
328350
True
lo True
"""


def test_processes_threads_sockets_and_arrays_work(walls: LocalSandbox, tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(WORK)
    launch = walls.launch([sys.executable, str(script)], Mounts(tmp_path), Limits())
    done = subprocess.run(launch.argv, capture_output=True, text=True, check=False)
    assert done.stdout == WORKED and not done.stderr, done.stderr


TORCH = """
import os, torch
import torch.distributed, torch.multiprocessing
from torch.utils.data import DataLoader

def main():
    rows = list(DataLoader(torch.arange(64.0), batch_size=8, num_workers=2))
    print(len(rows), float(torch.cat(rows).sum()))
    torch.multiprocessing.spawn(reduce, nprocs=2)
    layer = torch.nn.Linear(8, 1)
    layer(torch.ones(4, 8)).sum().backward()
    print(layer.weight.grad.shape)

def reduce(rank):
    store = f"file://{os.getcwd()}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    one = torch.ones(3)
    torch.distributed.all_reduce(one)
    if rank == 0:
        print(one.tolist(), flush=True)
    torch.distributed.destroy_process_group()

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_torch_its_data_loaders_and_its_process_groups_work(walls: LocalSandbox, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "work.py").write_text(TORCH)
    launch = walls.launch([sys.executable, str(tmp_path / "work.py")], Mounts(tmp_path), Limits())
    done = subprocess.run(launch.argv, capture_output=True, text=True, check=False)
    assert done.stdout == "8 2016.0\n[2.0, 2.0, 2.0]\ntorch.Size([1, 8])\n", done.stderr


def test_the_file_is_made_again_and_a_changed_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = seccomp.filter_file()
    if path is None:
        pytest.skip("libseccomp is not installed")
    assert path.read_bytes() == seccomp.filter_program() and path.stat().st_mode & 0o777 == 0o644
    path.write_bytes(b"")
    again = seccomp.filter_file()
    assert again == path and path.read_bytes() == seccomp.filter_program()
    path.unlink()
    assert seccomp.filter_file() == path and path.exists()


def test_without_the_library_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    monkeypatch.setattr(seccomp, "LIBRARY", "libnothing-of-the-kind.so.2")
    seccomp.filter_program.cache_clear()
    try:
        bare = LocalSandbox()
        assert "WARNING: system calls are not filtered: libseccomp is not installed" in bare.describe()
        launch = bare.launch(["echo", "runs"], Mounts(tmp_path), Limits())
        assert subprocess.run(launch.argv, capture_output=True, check=False).stdout == b"runs\n"
        bare.stop()
    finally:
        seccomp.filter_program.cache_clear()


def test_without_a_cache_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    if not seccomp.filter_program():
        pytest.skip("libseccomp is not installed")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    bare = LocalSandbox()
    assert "WARNING: system calls are not filtered: the cache folder cannot be written" in bare.describe()
    bare.stop()


def test_an_ordinary_user_has_the_filter_and_makes_no_namespaces(tmp_path: Path) -> None:
    workspace = tmp_path / "mine"
    workspace.mkdir()
    code = f"""
import json, subprocess
from pathlib import Path
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.local import LocalSandbox
if problem := LocalSandbox.problem():
    print(json.dumps(problem))
    raise SystemExit
walls = LocalSandbox()
mounts = Mounts(Path({str(workspace)!r}))
def run(*argv):
    return subprocess.run(walls.launch(argv, mounts, Limits()).argv, capture_output=True, text=True)
print(json.dumps([run("grep", "Seccomp:", "/proc/self/status").stdout.split(),
    run("unshare", "--user", "true").returncode != 0, run("id", "-u").stdout.strip(), walls.describe()]))
walls.stop()
"""
    done = subprocess.run(
        as_ordinary_user([sys.executable, "-c", code], [workspace]),
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    told = json.loads(done.stdout)
    if isinstance(told, str):
        pytest.skip(f"an ordinary user here: {told}")
    filtered = "2" if seccomp.filter_program() else "0"
    assert told[:3] == [["Seccomp:", filtered], True, "65533"], done.stderr
    assert "memory is bounded for each process and not for all together" in told[3]
