"""A command in a sandbox, from start to end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO

from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.process import kill_group

KEPT = 4 << 20
"""Bytes of the output that are kept from each end."""


def run_in_sandbox(
    sandbox: Sandbox, mounts: Mounts, limits: Limits, argv: Sequence[str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command behind the walls and wait for it.

    Output and errors come together in `stdout`, in the order in which they were written.

    Raises:
        subprocess.TimeoutExpired: It took longer; its `output` is what was written until then.
    """
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(
            sandbox.command(argv, mounts, limits),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_group(process.pid)
            process.wait()
            raise subprocess.TimeoutExpired(list(argv), timeout, output=_text(file)) from None
        finally:
            kill_group(process.pid)
            process.wait()
        return subprocess.CompletedProcess(list(argv), process.returncode, _text(file), "")


def _text(file: IO[bytes]) -> str:
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(KEPT).decode("utf-8", "replace")
    if size <= KEPT:
        return head
    file.seek(max(KEPT, size - KEPT))
    left_out = max(0, size - 2 * KEPT)
    middle = f"\n… {left_out} bytes left out …\n" if left_out else ""
    return head + middle + file.read().decode("utf-8", "replace")
