"""What cells print: in order, never blocking, whole in a file when it is long."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ml_intern.sandbox.base import Sandbox
from ml_intern.sandbox.host import KernelHost


def test_python_c_and_subprocesses_print_in_order(kernel: KernelHost) -> None:
    code = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
for i in range(3):
    print("python", i, end=" ")
    libc.printf(b"c %d ", i)
    subprocess.run(["sh", "-c", f"printf 'child {i} '; printf 'err {i} ' >&2"])
    os.write(1, b"raw ")
    print("stderr", i, file=sys.stderr)
"""
    lines = kernel.run(code).output.splitlines()
    assert lines == [f"python {i} c {i} child {i} err {i} raw stderr {i}" for i in range(3)]


def test_ten_megabytes_block_nothing_and_are_all_in_the_file(kernel: KernelHost) -> None:
    heard: list[str] = []
    code = "for i in range(160_000):\n    print(f'line {i:06} ' + 'x' * 52)"
    result = kernel.run(code, heard.append)
    assert result.ok and len(result.output) < 25_000
    assert result.output.startswith("line 000000 ") and result.output.endswith("x\n")
    path = Path(re.search(r"the whole text is in (.*?) …", result.output)[1])
    whole = path.read_text().splitlines()
    assert len(whole) == 160_000 and whole[-1].startswith("line 159999 ")
    assert heard and sum(map(len, heard)) <= 10_400_000


def test_a_childs_flood_does_not_block(kernel: KernelHost) -> None:
    result = kernel.run(
        "import subprocess\nsubprocess.run(['head', '-c', '10000000', '/dev/zero']).returncode"
    )
    assert result.value == "0" and "bytes left out" in result.output


def test_output_is_heard_while_the_cell_runs(kernel: KernelHost) -> None:
    heard: list[str] = []

    def listen(text: str) -> None:
        heard.append(text)
        Path(kernel.mounts.workspace, "heard").touch()

    wait = (
        "import os, time\nprint('first')\nwhile not os.path.exists('heard'): time.sleep(0.01)\nprint('then')"
    )
    result = kernel.run(wait, listen)
    assert result.ok and heard[0] == "first\n" and "".join(heard) == result.output == "first\nthen\n"


def test_characters_are_never_cut_in_half(kernel: KernelHost) -> None:
    heard: list[str] = []
    result = kernel.run(
        "import time\nfor _ in range(300):\n    print('日本語é🙂', end='')\n    time.sleep(0.001)",
        heard.append,
    )
    assert result.output == "日本語é🙂" * 300 == "".join(heard)


def test_what_background_work_prints_is_seen_in_the_next_cell(kernel: KernelHost) -> None:
    kernel.run(
        "import subprocess\np = subprocess.Popen(['sh', '-c', 'read x; echo late'], stdin=subprocess.PIPE)"
    )
    assert kernel.run("p.communicate(b'go\\n') and None").output == "late\n"


def test_a_cell_that_closes_or_moves_its_streams_harms_the_next_one_not(kernel: KernelHost) -> None:
    kernel.run("import os, sys\nsys.stdout = open('elsewhere', 'w')\nos.close(1)\nos.close(2)")
    assert kernel.run("print('here')").output == "here\n"


def test_bytes_and_half_surrogates_arrive_as_text(kernel: KernelHost) -> None:
    result = kernel.run("import os\nos.write(1, b'\\xff\\n')\nprint('\\ud800')\n'\\udc00'")
    result.output.encode()
    result.value.encode()
    assert result.output.splitlines()[0] == "\ufffd"


def test_the_length_that_is_whole_can_be_chosen(
    open_kernel: Callable[..., KernelHost], sandbox: Sandbox
) -> None:
    kernel = open_kernel(sandbox, output_chars=100)
    assert kernel.run("print('a' * 99)").output == "a" * 99 + "\n"
    assert "51 of 151 bytes left out" in kernel.run("print('a' * 150)").output
