"""The record of a session survives the death of its writer."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from ml_intern.journal.journal import Journal


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    journal.append("a", {"n": 1, "text": "ü"})
    journal.append("b", {"n": 2}, durable=True)
    assert [(e.seq, e.kind, e.payload["n"]) for e in journal.entries()] == [(1, "a", 1), (2, "b", 2)]
    assert [e.kind for e in journal.entries("b")] == ["b"]


def test_threads_may_write_together(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    threads = [
        threading.Thread(target=lambda: [journal.append("x", {}) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [e.seq for e in journal.entries()] == list(range(1, 201))


def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal; from pathlib import Path; from ml_intern.journal.journal import Journal\n"
        "j = Journal(Path(sys.argv[1]))\n"
        "for n in range(20): j.append('x', {'n': n}, durable=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "j.sqlite"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert [e.payload["n"] for e in Journal(path).entries()] == list(range(20))


def test_credentials_are_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    token = "hf_" + "a" * 30
    journal.append(
        "cell", {"code": f"login('{token}')", "parts": [{"pad": "tokenizer.pad_token = tokenizer.eos_token"}]}
    )
    (entry,) = journal.entries()
    assert (
        token.encode() not in (tmp_path / "j.sqlite").read_bytes() + (tmp_path / "j.sqlite-wal").read_bytes()
    )
    assert entry.payload["parts"][0]["pad"] == "tokenizer.pad_token = tokenizer.eos_token"
