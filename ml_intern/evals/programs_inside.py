"""Runs programs against their tests, inside the walls:  python programs_inside.py items.json WORKERS

The code that is tested and the tests never share a process. A fresh interpreter (`programs_wire.py`) holds
the code; a fork of the worker holds the tests and calls the code's functions through a pipe. Arguments and
results cross it as plain data, other things as handles, so that the tests compare what they hold themselves:
code can neither end them early, nor patch what they use, nor look at them, nor hand over a thing that equals
everything. The tests' processes let nobody look into them (PR_SET_DUMPABLE), the file with all items is gone
before the first code runs, and an item has passed when its tests' process says the item's own word. What runs
the code of the next item is kept in memory and given by the command line, and the pipe is a socket, which
nobody opens by /proc: code cannot rewrite what becomes of another item's. Open is the moment in which an
interpreter starts, before it hides itself, where the machine lets processes of one user look into each other.

What this costs: tests that need the very objects of the code (its classes as base classes, arithmetic on its
instances, comparisons of them with other things than each other) fail.

Standard library only: it is started by path, beside `programs_wire.py`, where nothing else of ML Intern is.
"""

from __future__ import annotations

import ast
import builtins
import collections
import copy
import ctypes
import functools
import io
import itertools
import json
import math
import operator
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import typing
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from programs_wire import TRUSTED_MODULES, Peer, hide, limit  # noqa: E402

sys.path.remove(str(HERE))  # The code can write here: nothing that the tests import may come from it.
WIRE = (HERE / "programs_wire.py").read_text(encoding="utf-8")

SUBREAPER = 36
"""Of prctl(2): whether a process is given orphans."""
STANDARD = {
    name: getattr(module, name)
    for module in (typing, operator, functools, itertools, copy, collections, math)
    for name in dir(module)
    if not name.startswith("_")
}
"""What programs like to import by name: the tests' own, whatever the code calls so."""


# The tests


def be_tests(item: dict[str, Any], folder: str) -> bool:
    """Hold the tests; whether all of them passed and had to do with the code."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    limit(item["memory_mb"], item["seconds"])
    ours, theirs = socket.socketpair()
    subprocess.Popen(
        [sys.executable, "-I", "-X", "utf8", "-c", WIRE],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    theirs.close()
    peer = Peer(ours.makefile("rb"), ours.makefile("wb"), serves_all=False)
    peer.send({name: item[name] for name in ("code", "memory_mb", "seconds")})
    said = {name: value for name, value in peer.receive()["names"].items() if not name.startswith("__")}
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    space = vars(module)
    given = names_for(peer, said, item["tests"], item["entry"])
    space |= given
    exec(compile(item["prelude"], "prompt", "exec"), space)
    unittest.main = lambda *args, **named: None  # type: ignore[assignment]
    exec(compile(item["tests"], "tests", "exec"), space)
    ran = all([run_cases(space), run_functions(space)])
    used = names_in(item["tests"])
    touched = peer.calls > 0 or any(name in used for name, v in given.items() if not callable(v))
    return ran and touched and not peer.dead


def names_for(peer: Peer, said: dict[str, Any], tests: str, entry: str) -> dict[str, Any]:
    """What the tests get of the names that the code defines.

    Names of Python's own library stay Python's: tests that say ``abs(f(x) - 1) < 0.1`` mean that one,
    whatever the code calls so. Only where the tests use nothing else of the code is it what they test.
    """
    used = names_in(tests)
    kept = set(dir(builtins)) | set(STANDARD) | TRUSTED_MODULES
    asked_for = {name for name in said if name not in kept or name == entry}
    found = {}
    for name, value in said.items():
        if name in asked_for or not used & asked_for or _is_module(value):
            try:
                found[name] = peer.decode(value)
            except (TypeError, ImportError):
                continue
        elif name in STANDARD:
            found[name] = STANDARD[name]
    return found


def names_in(tests: str) -> set[str]:
    """All names that a program mentions."""
    return {node.id for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Name)}


def _is_module(value: Any) -> bool:
    return isinstance(value, dict) and value.get("t") == "module"


def run_cases(space: dict[str, Any]) -> bool:
    """Run the classes of unittest that the tests define; some test must run."""
    cases = [v for v in space.values() if isinstance(v, type) and issubclass(v, unittest.TestCase)]
    cases = [case for case in cases if case.__module__ == "__main__"]
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite(load(case) for case in cases)
    if not cases:
        return True
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    return result.wasSuccessful() and result.testsRun > len(result.skipped)


def run_functions(space: dict[str, Any]) -> bool:
    """Call the functions ``test_…`` that the tests define, as pytest would."""
    for name, function in list(space.items()):
        if name.startswith("test_") and isinstance(function, types.FunctionType):
            if function.__code__.co_argcount > len(function.__defaults__ or ()):
                return False  # It wants fixtures, which nobody gives here.
            function()
    return True


# The worker


def main(file: str, workers: str) -> None:
    """Read the items, let nobody else read them, and share them out."""
    items = json.loads(Path(file).read_bytes())
    Path(file).unlink()
    close_off()
    started = []
    for worker in range(int(workers)):
        child = os.fork()
        if child == 0:
            try:
                work(items[worker :: int(workers)])
            finally:
                os._exit(0)
        started.append(child)
    for child in started:
        os.waitpid(child, 0)


def close_off() -> None:
    """Let no process of the same user look into this one, and be given what its children leave behind."""
    hide()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def work(items: list[dict[str, Any]]) -> None:
    """One item after the other; a line before each, and one with its word or without after it."""
    close_off()
    for item in items:
        folder = tempfile.mkdtemp()  # Fails where an item before it filled the disk: this one has not begun.
        os.write(1, f"start {item['number']}\n".encode())
        try:
            word = item["word"] if tried(item, folder) else "-"
        finally:
            sweep()
            shutil.rmtree(folder, ignore_errors=True)
        os.write(1, f"{item['number']} {word}\n".encode())


def tried(item: dict[str, Any], folder: str) -> bool:
    """Fork the process of the tests, and believe it only if it says the word in time."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            if be_tests(item, folder):
                os.write(write, item["word"].encode())
        finally:
            os._exit(0)
    os.close(write)
    try:
        ready = select.select([read], [], [], item["seconds"])[0]
        return bool(ready) and os.read(read, 256) == item["word"].encode()
    finally:
        os.close(read)
        kill(child)


def sweep() -> None:
    """End all that an item has left: with its parents gone it is this process's child."""
    for _ in range(200):
        left = children()
        if not left:
            return
        for child in left:
            kill(child)
        time.sleep(0.002)


def children() -> list[int]:
    """This process's children, dead ones that nobody waited for included."""
    own, found = os.getpid(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        found += [int(folder.name)] if parent == own else []
    return found


def kill(child: int) -> None:
    """End a child and wait for it."""
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
