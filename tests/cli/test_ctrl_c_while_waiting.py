"""Ctrl-C while the main thread waits for a lock, and the kernel gives the signal to another thread."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, threading
from ml_intern.cli.stopping import Stopper

class Session:
    def interrupt(self):
        print("asked to end", flush=True)
        os._exit(0)

    def close(self):
        pass

number = getattr(signal, sys.argv[1])
held, ready = threading.Lock(), threading.Event()
held.acquire()

def send():
    ready.wait()
    os.kill(os.getpid(), number)
    threading.Event().wait()  # stays, so that there is a thread that can get the signal

threading.Thread(target=send, daemon=True).start()
with Stopper(Session(), threading.Event(), print, print):
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])  # as if another thread had been the likelier one
    ready.set()
    held.acquire()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_session_is_asked_to_end(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, timeout=60)
    assert "asked to end" in done.stdout and done.returncode == 0, done.stderr
