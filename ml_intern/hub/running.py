"""Jobs of the embedded Hub: what HF Jobs would run on a rented machine runs here, as a process behind walls.

They are jobs like any other of this machine, with the same supervisor, limits and log, so they outlive this
server and are found again by the next. There are no images: ``uv`` and ``python`` are this machine's Python,
and nothing is installed for a job.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.hub.describe import moment
from ml_intern.hub.names import Problem

if TYPE_CHECKING:
    from ml_intern.jobs.local import Jobs
    from ml_intern.jobs.model import JobStatus

DEFAULT_S = 30 * 60
"""What HF Jobs gives a job that names no limit."""

STAGES = {
    "queued": "SCHEDULING",
    "running": "RUNNING",
    "succeeded": "COMPLETED",
    "failed": "ERROR",
    "cancelled": "CANCELED",
}
GIVEN = ".given.json"
_POLL_S = 0.1
_ALIVE_S = 15.0
_ONE_VALUE = ("--with", "--python", "-p", "--index", "--with-requirements")

# Takes the place of the image's entry: sets what the job was given, and becomes its command. The file that it
# reads holds the job's secrets, so it goes first.
BOOT = """
import json, os, sys, time, urllib.error, urllib.request
with open(".given.json") as file:
    given = json.load(file)
os.unlink(".given.json")
env = {**os.environ, **given["environment"], **given["secrets"]}
argv = given["argv"]
if given["url"]:
    headers = {"Authorization": f"Bearer {env['HF_TOKEN']}"} if env.get("HF_TOKEN") else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for left in range(60, -1, -1):
        try:
            with opener.open(urllib.request.Request(given["url"], headers=headers), timeout=60) as answer:
                code = answer.read()
            break
        except urllib.error.HTTPError:
            raise
        except OSError:  # the server of this Hub is gone for a moment: its session ended, and goes on
            if not left:
                raise
            time.sleep(0.5)
    with open(".script.py", "wb") as file:
        file.write(code)
    argv = [sys.executable, ".script.py", *argv]
sys.stdout.flush()
os.execvpe(argv[0], argv, env)
"""


class Running:
    """The jobs below one storage folder.

    Args:
        root: The Hub's storage, of which a job sees nothing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._records = root / "jobs" / "records"
        self._records.mkdir(parents=True, exist_ok=True)
        self._made: Jobs | None = None
        self._guard = threading.Lock()

    @property
    def _jobs(self) -> Jobs:
        from ml_intern.jobs.local import Jobs
        from ml_intern.sandbox.bare import BareSandbox
        from ml_intern.sandbox.base import Sandbox
        from ml_intern.sandbox.local import LocalSandbox
        from ml_intern.settings import Settings

        with self._guard:
            if self._made is None:
                problem = LocalSandbox.problem()
                walls: Sandbox = BareSandbox(problem) if problem else LocalSandbox()
                settings = Settings.model_construct(state=self._root)
                self._made = Jobs(self._root / "jobs" / "work", walls, settings, lambda event: None)
            return self._made

    def run(self, namespace: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Start a job; what the Hub says of it.

        Raises:
            Problem: ``BadRequest`` where the order cannot be read.
        """
        from ml_intern.jobs.flavors import flavors
        from ml_intern.jobs.model import JobSpec

        name = str(asked.get("flavor") or "cpu-basic")
        if name not in flavors():
            raise Problem("BadRequest", f"There is no flavor {name!r}.")
        id = secrets.token_hex(12)
        given = _given(asked, id)
        spec = JobSpec(
            name=id,
            method="script",
            config={"code": BOOT},
            timeout_s=_seconds(asked.get("timeoutSeconds")),
            network=True,
            key=id,
        )
        kept = {
            k: asked.get(k)
            for k in ("command", "arguments", "environment", "dockerImage", "spaceId", "labels")
        }
        record = {
            **kept,
            "id": id,
            "namespace": namespace,
            "flavor": name,
            "secrets": sorted(given["secrets"]),
        }
        status = self._jobs.submit(spec, lambda folder: _write_secret(folder / "output" / GIVEN, given))
        (self._records / f"{id}.json").write_text(json.dumps({**record, "job": status.id}))
        return self.inspect(namespace, id)

    def inspect(self, namespace: str, id: str) -> dict[str, Any]:
        """How a job stands."""
        record = self._record(namespace, id)
        return _described(record, self._jobs.status(record["job"]))

    def list(self, namespace: str) -> list[dict[str, Any]]:
        """All jobs of a namespace, newest first."""
        records = [json.loads(path.read_text()) for path in self._records.glob("*.json")]
        found = [self.inspect(namespace, r["id"]) for r in records if r["namespace"] == namespace]
        return sorted(found, key=lambda row: str(row["createdAt"]), reverse=True)

    def cancel(self, namespace: str, id: str) -> dict[str, Any]:
        """End a job and all that it started."""
        self._jobs.cancel(self._record(namespace, id)["job"])
        return self.inspect(namespace, id)

    def lines(self, namespace: str, id: str, tail: int | None) -> Iterator[str | None]:
        """The lines of a job's log until it has ended; None from time to time where it says nothing."""
        import time

        job, offset, rest, quiet = self._record(namespace, id)["job"], 0, "", time.monotonic()
        old: list[str] = []
        first = tail is not None
        while True:
            page = self._jobs.logs(job, offset, 1 << 20)
            offset = page.next_offset
            lines = (rest + page.text).split("\n")
            rest = lines.pop()
            if page.done and rest:
                lines, rest = [*lines, rest], ""
            if first:
                old += lines
                if page.text and not page.done:
                    continue
                lines, first = old[-tail:] if tail else [], False
            yield from lines
            if page.done:
                return
            if lines:
                quiet = time.monotonic()
            elif time.monotonic() - quiet > _ALIVE_S:
                quiet = time.monotonic()
                yield None
            if not page.text:
                time.sleep(_POLL_S)

    def _record(self, namespace: str, id: str) -> dict[str, Any]:
        path = self._records / f"{id}.json"
        found = json.loads(path.read_text()) if id.isalnum() and path.exists() else {}
        if found.get("namespace") != namespace:
            raise Problem("NotFound", f"There is no job {id} of {namespace}.")
        record: dict[str, Any] = found
        return record


@cache
def running(root: Path) -> Running:
    """The jobs of a storage folder: one object for all requests."""
    return Running(root)


def _given(asked: Mapping[str, Any], id: str) -> dict[str, Any]:
    """What the job's process is told: variables, secrets, and its command in terms of this machine."""
    environment, hidden = (_variables(asked.get(key)) for key in ("environment", "secrets"))
    parts = [asked.get("command") or [], asked.get("arguments") or []]
    words = [word for part in parts if isinstance(part, list) for word in part]
    if (
        not words
        or not all(isinstance(part, list) for part in parts)
        or not all(isinstance(word, str) for word in words)
    ):
        raise Problem("BadRequest", "A job needs a command: a list of words.")
    url, argv = _command(words)
    return {"environment": {**environment, "JOB_ID": id}, "secrets": hidden, "url": url, "argv": argv}


def _command(words: list[str]) -> tuple[str, list[str]]:
    """The address of a script, if any, and the words."""
    import sys

    if words[:2] == ["uv", "run"]:
        words = words[2:]
        while words and words[0].startswith("-"):
            words = words[2 if words[0] in _ONE_VALUE else 1 :]
    if words and words[0].startswith(("http://", "https://")):
        return words[0], words[1:]
    if words and words[0] in ("python", "python3"):
        return "", [sys.executable, *words[1:]]
    if not words:
        raise Problem("BadRequest", "There is nothing to run.")
    return "", words


def _variables(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(v, str | int | float) for v in given.values()):
        raise Problem("BadRequest", "Variables and secrets are objects of strings.")
    return {str(name): str(value) for name, value in given.items()}


def _seconds(given: Any) -> float:
    if given is None:
        return DEFAULT_S
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1e8:
        raise Problem("BadRequest", f"{given!r} is not a time limit in seconds.")
    return float(given)


def _write_secret(path: Path, given: Mapping[str, Any]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(given, file)


def _described(record: Mapping[str, Any], status: JobStatus) -> dict[str, Any]:
    """A job as the Hub tells of it; of its secrets the names alone."""
    owner = {"id": record["namespace"], "name": record["namespace"], "type": "user"}
    times = {"createdAt": status.created, "startedAt": status.started, "finishedAt": status.ended}
    return {
        **{name: value for name, value in record.items() if name not in ("job", "namespace")},
        **{name: moment(value) for name, value in times.items() if value is not None},
        "secrets": dict.fromkeys(record["secrets"], ""),
        "owner": owner,
        "initiator": owner,
        "status": {"stage": STAGES[status.state], "message": _message(status)},
        "durations": _durations(status),
    }


def _message(status: JobStatus) -> str | None:
    if status.failure is None:
        return None
    return (
        "Job timeout"
        if status.failure.kind == "timeout"
        else f"Job failed with exit code: {status.exit_code}"
    )


def _durations(status: JobStatus) -> dict[str, int]:
    import time

    end = status.ended or time.time()
    began = status.started or end
    return {
        "schedulingSecs": int(began - status.created),
        "runningSecs": int(end - began),
        "totalSecs": int(end - status.created),
    }
