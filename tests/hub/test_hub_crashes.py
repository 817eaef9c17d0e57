from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from ml_intern.hub.names import RepoName
from ml_intern.hub.storage import Storage

REPO = "local/kept"
SERVE = """
import sys
from pathlib import Path
from ml_intern.hub.server import serve
serve(Path(sys.argv[1]), port=int(sys.argv[2]))
"""


class Killable:
    """A Hub in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(self.root), str(self.port)])
        for _ in range(600):
            try:
                httpx.get(self.endpoint, trust_env=False)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the Hub did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def hub(root: Path) -> Iterator[Killable]:
    running = Killable(root)
    yield running
    running.kill()


def test_a_kill_in_the_middle_of_an_upload_leaves_nothing_of_it(hub: Killable, root: Path) -> None:
    api = HfApi(endpoint=hub.endpoint, token="any")
    api.create_repo(REPO)
    data = os.urandom(3_000_000)
    oid = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
    batch = httpx.post(f"{hub.endpoint}/{REPO}.git/info/lfs/objects/batch", json=body, trust_env=False).json()
    sent = threading.Event()

    def half() -> Iterator[bytes]:
        yield data[:1_500_000]
        while not any(p.stat().st_size for p in (root / "tmp").iterdir()):
            time.sleep(0.01)
        sent.set()
        time.sleep(30)
        yield data[1_500_000:]

    def upload() -> None:
        with pytest.raises(httpx.TransportError):
            httpx.put(
                batch["objects"][0]["actions"]["upload"]["href"], content=half(), trust_env=False, timeout=60
            )

    sender = threading.Thread(target=upload, daemon=True)
    sender.start()
    assert sent.wait(30)
    hub.kill()
    hub.start()
    assert api.list_repo_files(REPO) == [".gitattributes"]
    assert not Storage(root).objects.has(oid)
    api.upload_file(path_or_fileobj=data, path_in_repo="model.safetensors", repo_id=REPO)
    assert _whole(root) == 2


@pytest.mark.slow
@pytest.mark.thorough
def test_kills_at_any_moment_lose_no_commit_and_show_no_half(hub: Killable, root: Path) -> None:
    HfApi(endpoint=hub.endpoint, token="any").create_repo(REPO)
    dice = random.Random(7)
    told: list[str] = []
    done = threading.Event()

    def write() -> None:
        api = HfApi(endpoint=hub.endpoint, token="any")
        number = 0
        while not done.is_set():
            number += 1
            operations = [
                CommitOperationAdd(f"{number}.txt", str(number).encode()),
                CommitOperationAdd(f"{number}.safetensors", number.to_bytes(4, "big") * 50_000),
            ]
            try:
                told.append(api.create_commit(REPO, operations=operations, commit_message=str(number)).oid)
            except Exception:
                time.sleep(0.02)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for _ in range(6):
        time.sleep(dice.uniform(0.2, 0.9))
        hub.kill()
        assert _whole(root) >= len(told)
        hub.start()
    done.set()
    writer.join(30)
    history = {c.oid for c in Storage(root).get(RepoName.of("model", "local", "kept")).history()}
    assert told and set(told) <= history


def _whole(root: Path) -> int:
    """Commits of main, after checking that everything they name is there and is what it says."""
    storage = Storage(root)
    history = list(storage.get(RepoName.of("model", "local", "kept")).history())
    for commit in history:
        for path, entry in commit.files.items():
            data = storage.objects.path(entry.sha256).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry.sha256, path
            number = path.partition(".")[0]
            twin = {f"{number}.txt", f"{number}.safetensors"}
            assert not number.isdigit() or twin <= set(commit.files), f"half of commit {number}"
    return len(history)
