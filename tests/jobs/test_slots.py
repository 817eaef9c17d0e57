from __future__ import annotations

import subprocess
import sys

from ml_intern.jobs.slots import Queue


def test_slots_are_taken_in_the_order_of_coming(tmp_path):
    first, second, third = (Queue(tmp_path, 1) for _ in range(3))
    assert not third.try_enter() and not second.try_enter()
    assert first.try_enter() and first.try_enter()
    assert not second.try_enter()
    first.leave()
    assert not third.try_enter(), "second came before"
    assert second.try_enter()
    second.leave()
    assert third.try_enter()


def test_who_dies_frees_the_slot_and_the_place(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from ml_intern.jobs.slots import Queue\n"
        "held, waiting = Queue(Path(sys.argv[1]), 1), Queue(Path(sys.argv[1]), 1)\n"
        "assert held.try_enter() and not waiting.try_enter()\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert Queue(tmp_path, 1).try_enter()
