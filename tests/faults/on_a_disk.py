"""Scenarios on disks of their own: `python on_a_disk.py FOLDER`, in a mount namespace of its own.

Prints one JSON object with what came of each. A disk is a small tmpfs below FOLDER; it goes with the process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import provider as wire
from scripted_run import CELLS, TEXTS, Run, said

from ml_intern.brains import waiting
from ml_intern.errors import InternError
from ml_intern.result import RunResult

waiting.FIRST_BACKOFF_S = 0.05


class Disk:
    """A mounted tmpfs."""

    def __init__(self, place: Path, size: str = "8m", inodes: int = 2000) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "none", str(place))

    def _mount(self, *words: str) -> None:
        subprocess.run(["mount", *words], check=True)

    def read_only(self, so: bool) -> None:
        self._mount("-o", f"remount,{'ro' if so else 'rw'}", str(self.place))

    def fill(self) -> None:
        """Take every byte."""
        with (self.place / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def take_inodes(self) -> None:
        (self.place / "many").mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            for n in range(100_000):
                (self.place / "many" / str(n)).touch()

    def free(self) -> None:
        (self.place / "filler").unlink(missing_ok=True)
        shutil.rmtree(self.place / "many", ignore_errors=True)


def at(place: int, event: Callable[[], None]) -> wire.Provider:
    """A provider before whose answer of this place something happens."""

    def happen(handler: wire.Handler, body: dict[str, Any]) -> None:
        event()
        wire.good(handler, body)

    return wire.Provider(TEXTS, [*[None] * place, happen])


def shown(result: RunResult) -> dict[str, Any]:
    return {"status": result.status, "code": result.exit_code, "errors": result.errors}


def whole(state: Path) -> list[str]:
    """What a look at each journal says."""
    found = []
    for path in state.glob("sessions/*/journal.sqlite"):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        found.append(db.execute("pragma integrity_check").fetchone()[0])
        found.append(str(db.execute("select count(*) > 0 from journal").fetchone()[0]))
        db.close()
    return found


def ended_and_resumed(run: Run, server: wire.Provider, mend: Callable[[], None]) -> dict[str, Any]:
    first = run.begin(server)
    mend()
    told = {"first": shown(first), "journal": whole(run.settings["state"])}
    run.check(first if first.exit_code == 0 else run.resume())
    return told


def full(folder: Path, place: int) -> dict[str, Any]:
    disk = Disk(folder / "disk")
    run = Run(folder, state=disk.place / "state")
    return ended_and_resumed(run, at(place, disk.fill), disk.free)


def full_for_good(folder: Path) -> dict[str, Any]:
    """Somebody takes the room as soon as it is given up."""
    disk = Disk(folder / "disk")
    run = Run(folder, state=disk.place / "state")

    def fill() -> None:
        for room in disk.place.glob("state/sessions/*/room"):
            room.unlink()
        disk.fill()

    return ended_and_resumed(run, at(2, fill), disk.free)


def inodes(folder: Path) -> dict[str, Any]:
    disk = Disk(folder / "disk", inodes=200)
    run = Run(folder, state=disk.place / "state", workspace=folder / "workspace")
    result = run.begin(at(1, disk.take_inodes))
    told = {"first": shown(result), "journal": whole(run.settings["state"])}
    disk.free()
    run.check(result if result.exit_code == 0 else run.resume())
    return told


def limited(folder: Path) -> dict[str, Any]:
    """From one moment on no file of this process may grow: every write fails, room or not."""
    run = Run(folder)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    return ended_and_resumed(
        run,
        at(1, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)),
    )


def at_the_start(folder: Path, event: str) -> dict[str, Any]:
    disk = Disk(folder / "disk")
    server = wire.Provider(TEXTS)
    run = Run(folder, state=disk.place / "state")
    disk.fill() if event == "full" else disk.read_only(True)
    try:
        run.begin(server)
        told = {"error": "", "asked": len(server.asked)}
    except InternError as error:
        told = {"error": str(error), "code": error.exit_code, "asked": len(server.asked)}
    disk.free() if event == "full" else disk.read_only(False)
    run.check(run.begin(server))
    return told


def workspace(folder: Path) -> dict[str, Any]:
    """The brain is told, makes room, and the run goes on."""
    disk = Disk(folder / "workspace", "2m")
    cells = (
        "open('big', 'wb').write(b'x' * 10_000_000)",
        "import os\nprint('room', os.path.getsize('big') < 10_000_000)\nos.remove('big')",
        "open('small', 'w').write('y' * 1000)\nfinal_answer('done')",
    )
    server = wire.Provider([said(cell) for cell in cells])
    result = Run(folder, workspace=disk.place).begin(server)
    return {"first": shown(result), "told": "No space left" in json.dumps(server.asked[1])}


def removed(folder: Path) -> dict[str, Any]:
    """Somebody removes the state folder in mid-run."""
    run = Run(folder)
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        result = run.begin(at(1, lambda: shutil.rmtree(run.settings["state"])))
    return {"first": shown(result), "stderr": errors.getvalue()}


def job(folder: Path) -> dict[str, Any]:
    """A job fills the disk that holds its folder; its end is told, and the next one runs."""
    from ml_intern.jobs.local import Jobs
    from ml_intern.jobs.model import JobSpec
    from ml_intern.settings import Settings

    disk = Disk(folder / "disk", "4m")
    jobs = Jobs(disk.place / "jobs", None, Settings.load(state=folder / "state"), lambda event: None)
    code = "print('begun')\nwith open('big', 'wb', buffering=0) as f:\n    while True: f.write(b'x' * 4096)"
    first = jobs.submit(JobSpec(name="fills", method="script", config={"code": code}))
    [ended] = jobs.wait([first.id], timeout_s=60)
    (disk.place / "jobs" / first.id / "output" / "big").unlink()
    second = jobs.submit(JobSpec(name="next", method="script", config={"code": "print('fine')"}))
    [good] = jobs.wait([second.id], timeout_s=60)
    kind = ended.failure.kind if ended.failure else ""
    return {"state": ended.state, "kind": kind, "next": good.state, "listed": len(jobs.list())}


def no_job(folder: Path) -> dict[str, Any]:
    """There is no room for a job's folder: nothing half is left, and the same call makes it later."""
    from ml_intern.jobs.local import Jobs
    from ml_intern.jobs.model import JobSpec
    from ml_intern.settings import Settings

    disk = Disk(folder / "disk", "1m")
    jobs = Jobs(disk.place / "jobs", None, Settings.load(state=folder / "state"), lambda event: None)
    disk.fill()
    spec = JobSpec(name="late", method="script", config={"code": "print(1)" + " " * 9000}, key="one")
    told = ""
    try:
        jobs.submit(spec)
    except OSError as error:
        told = str(error)
    before = len(jobs.list())
    disk.free()
    [ended] = jobs.wait([jobs.submit(spec).id, jobs.submit(spec).id][:1], timeout_s=60)
    return {"told": told, "before": before, "after": len(jobs.list()), "state": ended.state}


def no_copy(folder: Path) -> dict[str, Any]:
    """Without snapshots the kernel is rebuilt over a copy of the workspace; without room the run waits for it."""
    disk = Disk(folder / "disk", "12m")
    run = Run(folder, state=disk.place / "state", snapshot_files=0, undo_mb=0)
    texts = [TEXTS[0], said(f"{CELLS[1]}\nopen('big', 'wb').write(b'x' * 3_000_000)"), *TEXTS[2:]]
    server = wire.Provider(texts)
    run.begin(server, max_steps=2)
    with (disk.place / "filler").open("wb") as file:
        file.write(b"x" * 6_500_000)
    second = run.resume(max_steps=60)
    told = {"second": shown(second), "log": next(disk.place.rglob("log.txt")).read_text()}
    disk.free()
    run.check(run.resume())
    return told


def hub(folder: Path) -> dict[str, Any]:
    """An upload does not fit; afterwards the repository is as it was, and takes what fits."""
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    from huggingface_hub import HfApi

    from ml_intern.hub.server import ServerThread

    disk = Disk(folder / "disk", "3m")
    server = ServerThread(disk.place / "hub")
    api = HfApi(endpoint=server.endpoint, token="local")
    api.create_repo("local/x")
    api.upload_file(path_or_fileobj=b"before", path_in_repo="a.txt", repo_id="local/x")
    told = ""
    try:
        api.upload_file(path_or_fileobj=os.urandom(9 << 20), path_in_repo="big.bin", repo_id="local/x")
    except Exception as error:  # whichever the client has for it
        told = str(error)
    api.upload_file(path_or_fileobj=b"after", path_in_repo="b.txt", repo_id="local/x")
    files = sorted(api.list_repo_files("local/x"))
    left = sum(p.stat().st_size for p in disk.place.rglob("*") if p.is_file())
    server.stop()
    return {"told": told, "files": [f for f in files if not f.startswith(".")], "left": left}


def command(folder: Path) -> dict[str, Any]:
    """The same, with the real command."""
    disk = Disk(folder / "disk")
    run = Run(folder, state=disk.place / "state")
    server = at(1, disk.fill)
    words = ["do it", "--model", "openai:x", "--base-url", server.url, "--sandbox", "none", "--json"]
    words += [
        "--state",
        str(disk.place / "state"),
        "--yes",
        "compute publish",
        "--budget",
        run.settings["budget"],
    ]
    tools = {"ML_INTERN_TOOLS": str(folder / "own_tools"), "ML_INTERN_TRUST_PROJECT": "1"}
    start = [sys.executable, "-c", "import sys; from ml_intern.cli.main import run; sys.exit(run())"]
    told = []
    for given in (words, ["resume", "--json", "--state", str(disk.place / "state")]):
        done = subprocess.run(
            [*start, *given], env={**os.environ, **tools}, capture_output=True, text=True, check=False
        )
        result = json.loads(done.stdout.splitlines()[-1])
        told.append({"code": done.returncode, "stderr": done.stderr, "answer": result["answer"]})
        disk.free()
    return {"runs": told, "keys": sorted(run.keys().values())}


SCENARIOS: dict[str, Callable[[Path], dict[str, Any]]] = {
    **{f"full-{n}": partial(full, place=n) for n in (0, 2, 3)},
    "full-for-good": full_for_good,
    "inodes": inodes,
    "limited": limited,
    "start-full": partial(at_the_start, event="full"),
    "start-read-only": partial(at_the_start, event="read-only"),
    "workspace": workspace,
    "removed": removed,
    "job": job,
    "no-job": no_job,
    "no-copy": no_copy,
    "hub": hub,
    "command": command,
}


def played(name: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    os.chdir(folder)
    try:
        return SCENARIOS[name](folder)
    except Exception:  # the test of this scenario shows it
        return {"failed": traceback.format_exc()}


if __name__ == "__main__":
    where = Path(sys.argv[1])
    print(json.dumps({name: played(name, where / name) for name in sys.argv[2:] or SCENARIOS}), flush=True)
