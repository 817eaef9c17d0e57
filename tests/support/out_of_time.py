"""Cells that run out of their time, whatever the machine's speed."""

from __future__ import annotations

from ml_intern.sandbox.host import CellResult, KernelHost


def run_out_of_time(kernel: KernelHost, code: str, seconds: float = 0.5) -> CellResult:
    """Run a cell that prints and goes on; its time is short only once its first words were heard."""
    before = kernel.timeout_s

    def shorten(text: str) -> None:
        kernel.timeout_s = seconds

    try:
        return kernel.run(code, shorten)
    finally:
        kernel.timeout_s = before
