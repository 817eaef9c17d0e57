"""HF Jobs, through huggingface_hub: what a job needs goes into a private repository, and so does its result.

What has to be known of a job stands in ``remote.json`` of its folder: the label under which it was ordered,
written before, and the Hub's number, written after. A process that finds the label alone asks the Hub for it,
so a crash in between orders, and pays for, nothing twice.
"""

from __future__ import annotations

import datetime
import fcntl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.jobs.backends import parcel
from ml_intern.jobs.backends.base import Site, ended, failure
from ml_intern.jobs.backends.carrier import METRICS
from ml_intern.jobs.flavors import flavor
from ml_intern.jobs.folder import log_tail, read_json, read_spec, read_status, write_json, write_status
from ml_intern.jobs.hardware import processes_of
from ml_intern.jobs.launch import mark
from ml_intern.jobs.model import FINISHED, FOREIGN, JobSpec
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

    from ml_intern.hub.client import Hub

NOTE = "remote.json"
LABEL = "ml-intern"
REPOSITORY = "ml-intern-jobs"
"""Private dataset repository in the paying account; one folder a job."""

IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
_ASK_S, _ASK_NEAR_S = 3.0, 0.3
_NOTE_S = 0.5
_OVER = ("COMPLETED", "ERROR", "CANCELED", "DELETED")


class OnHub:
    """Jobs that HF Jobs runs, in the account that the person has named."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._asked: dict[Path, float] = {}
        self._followers: dict[Path, threading.Thread] = {}
        self._guard = threading.Lock()

    # Before anything starts

    def check(self, spec: JobSpec) -> None:
        """Whether there are a token, the machine and the right to run as this account, and nothing to hide.

        Raises:
            ToolError: Says which is missing.
        """
        _check_asked(spec)
        hub = self._hub()
        flavor(spec.place.flavor or "")
        check_namespace(hub, spec.place.namespace or hub.user)
        parcel.check(spec, self.site.settings.job_disk_mb)

    # What a backend does

    def submit(self, folders: Sequence[Path]) -> None:
        """Upload what the jobs need, and order them one by one."""
        for folder in folders:
            if not self._finds(folder):
                self._order(folder, read_spec(folder))

    def submitted(self, folder: Path) -> bool:
        """Whether the Hub has been given the job."""
        return read_json(folder / NOTE).get("id") is not None or self._finds(folder)

    def status(self, folder: Path) -> dict[str, Any]:
        """As the Hub says; where it does not answer, as it was. The first look after the end collects."""
        raw, note = read_status(folder), read_json(folder / NOTE)
        if raw["state"] in FINISHED or note.get("id") is None or not self._due(folder):
            return raw
        info = self._look(note)
        if info is None:
            return raw
        if info.status.stage in _OVER:
            return self._finish(folder, info)
        started = _seconds(info.started_at)
        state = "running" if info.status.stage == "RUNNING" else "queued"
        if state == "running":
            self._follow(folder, note)
        if (state, started) != (raw["state"], raw["started"]):
            raw |= {"state": state, "started": started}
            write_status(folder, raw)
        return raw

    def fetch(self, folder: Path) -> None:
        """While a job runs a thread brings its lines; without one they are asked for."""
        raw = read_status(folder)
        note = read_json(folder / NOTE)
        if raw["state"] == "running" and note.get("id"):
            self._follow(folder, note)

    def collect(self, folder: Path) -> None:
        """Download what the job has pushed into its folder."""
        hub, note = self._hub(), read_json(folder / NOTE)
        with hub.reach(note["repo"]):
            parcel.collect(hub.api, note["repo"], note["folder"], folder, self.site.settings.job_disk_mb)

    def cancel(self, folder: Path) -> None:
        """Tell the Hub to end it; what it had not pushed is gone."""
        hub, note = self._hub(), read_json(folder / NOTE)
        if note.get("id") is None:
            write_status(folder, read_status(folder) | ended("cancelled"))
            return
        with hub.reach("the job"):
            hub.api.cancel_job(job_id=note["id"], namespace=note["namespace"])
        self._asked.pop(folder, None)

    # How a job is ordered

    def _order(self, folder: Path, spec: JobSpec) -> None:
        hub, place = self._hub(), spec.place
        namespace = place.namespace or hub.user
        repo, name = f"{namespace}/{REPOSITORY}", f"{folder.name}-{mark(folder)}-{time.time_ns():x}"
        note = {"name": name, "namespace": namespace, "repo": repo, "folder": name, "id": None}
        write_json(folder / NOTE, note)
        seconds = spec.timeout_s - return_s(spec.timeout_s)
        with hub.reach(repo):
            script = parcel.send(hub, repo, name, folder, spec, seconds)
            env = {k: v for k, v in hub.environment().items() if k != "HF_TOKEN"}
            info = hub.api.run_job(
                image=IMAGE,
                command=["uv", "run", *parcel.packages(), script, repo, name],
                env=env | {"PYTHONUNBUFFERED": "1"},
                secrets={"HF_TOKEN": hub.token or ""},
                flavor=place.flavor,
                timeout=max(1, int(spec.timeout_s)),
                labels={LABEL: name, "name": folder.name},
                namespace=namespace,
            )
        write_json(folder / NOTE, {**note, "id": info.id, **_begin(folder)})

    def _finds(self, folder: Path) -> bool:
        """Whether the Hub knows the job from an earlier order and has not ended it; writes its number."""
        note = read_json(folder / NOTE)
        if not note:
            return False
        hub = self._hub()
        if note["id"] is None:
            with hub.reach("the jobs"):
                found = list(hub.api.list_jobs(namespace=note["namespace"], labels={LABEL: note["name"]}))
            if not found:
                return False
            note |= {"id": found[0].id, **_begin(folder)}
            write_json(folder / NOTE, note)
        info = self._look(note)
        return info is not None and info.status.stage not in _OVER

    # How it stands

    def _look(self, note: dict[str, Any]) -> JobInfo | None:
        """The job as the Hub has it; None where it does not answer now, or there is no token to ask with."""
        import httpx

        try:
            hub = self._hub()
            return hub.api.inspect_job(job_id=note["id"], namespace=note["namespace"])
        except (httpx.HTTPError, OSError, ToolError):
            return None

    def _due(self, folder: Path) -> bool:
        """Whether it is time to ask again: who waits for a job asks ten times a second."""
        hub = self.site.hub()
        now, gap = time.monotonic(), _ASK_NEAR_S if hub is not None and hub.embedded else _ASK_S
        if now - self._asked.get(folder, -1e9) < gap:
            return False
        self._asked[folder] = now
        return True

    def _finish(self, folder: Path, info: JobInfo) -> dict[str, Any]:
        """The job has ended: bring all that is left of it, then say so; later where the Hub is gone."""
        import httpx

        with _alone(folder):
            raw = read_status(folder)
            if raw["state"] in FINISHED:
                return raw
            lost: dict[str, Any] = {}
            try:
                self._read_log(folder, read_json(folder / NOTE), follow=False)
                self.collect(folder)
            except ToolError as error:
                told = f"Its result could not be brought back: {error.message}"
                lost = {"state": "failed", "failure": failure(folder, "lost", told, error.hint)}
            except (httpx.HTTPError, OSError):
                return raw
            raw |= self._verdict(folder, info) | lost
            write_status(folder, raw)
            return raw

    def _verdict(self, folder: Path, info: JobInfo) -> dict[str, Any]:
        from ml_intern.jobs.failures import classify

        spec, result = read_spec(folder), read_json(folder / parcel.RESULT)
        stage, code = info.status.stage, result.get("exit_code")
        began, over = _seconds(info.started_at), _seconds(info.finished_at) or time.time()
        held = info.durations.running_secs if info.durations else None
        times = {"started": began, "ended": over, "seconds": _held(began, over, held)}
        if stage == "CANCELED" or (folder / "cancel").exists():
            return {**times, "state": "cancelled", "exit_code": code}
        missing = parcel.missing(folder, spec)
        if stage == "COMPLETED" and code == 0 and not missing:
            return {**times, "state": "succeeded", "exit_code": 0}
        failed: dict[str, Any] = {**times, "state": "failed", "exit_code": code}
        late = result.get("why") == "timeout" or "timeout" in (info.status.message or "").lower()
        if not result and not late:
            told = f"HF Jobs ended it with {stage} and it has brought nothing back: {info.status.message}."
            return failed | {"failure": failure(folder, "lost", told, "Read its log, then launch it again.")}
        if missing and code == 0:
            with (folder / "log.txt").open("a") as log:
                log.write(f"\nThe job ended without making {', '.join(missing)}.\n")
        limit = spec.timeout_s if late else None
        log_text = mask(log_tail(folder, 64_000))
        return failed | {"failure": classify(log_text, code, timeout_s=limit, method=spec.method)}

    # The log

    def _follow(self, folder: Path, note: dict[str, Any]) -> None:
        """Have a thread that brings the lines of a job as they come."""
        with self._guard:
            known = self._followers.get(folder)
            if known is None or not known.is_alive():
                thread = threading.Thread(target=self._bring, args=(folder, note), daemon=True)
                self._followers[folder] = thread
                thread.start()

    def _bring(self, folder: Path, note: dict[str, Any]) -> None:
        import httpx

        try:
            with _alone(folder, wait=False) as mine:
                if mine:
                    self._read_log(folder, read_json(folder / NOTE), follow=True)
        except (httpx.HTTPError, OSError, ToolError):
            return  # The next look at the job begins again where this one ended.

    def _read_log(self, folder: Path, note: dict[str, Any], *, follow: bool) -> None:
        """Append the lines that are new. What a crash has left half-written is cut off first."""
        hub = self._hub()
        with (folder / "log.txt").open("r+b") as log, (folder / "metrics.jsonl").open("r+b") as metrics:
            log.truncate(note["log"])
            metrics.truncate(note["metrics"])
            lines = hub.api.fetch_job_logs(job_id=note["id"], namespace=note["namespace"], follow=follow)
            noted = 0.0
            try:
                for number, line in enumerate(lines):
                    if number < note["lines"]:
                        continue
                    target = metrics if line.startswith(METRICS) else log
                    target.seek(0, 2)
                    target.write(f"{line.removeprefix(METRICS)}\n".encode())
                    target.flush()
                    note |= {"lines": number + 1, "log" if target is log else "metrics": target.tell()}
                    if time.monotonic() - noted > _NOTE_S:
                        write_json(folder / NOTE, note)
                        noted = time.monotonic()
            finally:
                write_json(folder / NOTE, note)

    def _hub(self) -> Hub:
        hub = self.site.hub()
        if hub is None:
            raise ToolError("There are no HF Jobs here.", 'Use hardware="local".')
        if hub.token is None:
            raise ToolError(
                "HF Jobs needs a token, and there is none.",
                'Set HF_TOKEN, or run: hf auth login. hardware="local" needs none.',
            )
        return hub


def return_s(timeout_s: float) -> float:
    """Of a job's time, what is kept for bringing its result back: a tenth, 20 s to 5 minutes, or half."""
    return min(max(0.1 * timeout_s, 20.0), 300.0, timeout_s / 2)


def _check_asked(spec: JobSpec) -> None:
    """Whether a job asks for what cannot be had there.

    Raises:
        ToolError: It does.
    """
    if spec.stop_when:
        raise ToolError(
            "On HF Jobs nobody looks at stop_when while the job runs.",
            "Leave it out; wait_for_job(until=...) looks at it from here.",
        )
    if processes_of(spec) > 1 and spec.method in FOREIGN and not spec.network:
        raise ToolError(
            f"Several processes of {spec.method} meet over the network, which is closed on HF Jobs to code "
            "that a model wrote.",
            "Leave processes out, or use another place.",
        )


def check_namespace(hub: Hub, namespace: str) -> None:
    """Whether the token's owner may run jobs as an account: their own, or an organization of theirs.

    Raises:
        ToolError: They may not.
    """
    if namespace == hub.user:
        return
    with hub.reach("the token"):
        account = hub.api.whoami()
    orgs = [
        str(o.get("name"))
        for o in account.get("orgs") or []
        if o.get("roleInOrg") not in ("read", "no_access")
    ]
    if namespace not in orgs:
        raise ToolError(
            f"{hub.user} may not run jobs as {namespace!r}, and nothing is ever billed to another.",
            f"Set hf_namespace to one of {', '.join([hub.user, *orgs])}.",
        )


@contextmanager
def _alone(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """One at a time brings something into a job's folder, across threads and processes."""
    with (folder / "bringing").open("w") as file:
        deadline = time.monotonic() + 60
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    yield False
                    return
                if time.monotonic() > deadline:
                    raise ToolError("Another process brings in this job.", "Ask again in a minute.") from None
                time.sleep(0.05)
                continue
            yield True
            return


def _begin(folder: Path) -> dict[str, int]:
    """Nothing of the log was read yet; what earlier starts have left stays before it."""
    sizes = {
        part: (folder / file).stat().st_size
        for part, file in (("log", "log.txt"), ("metrics", "metrics.jsonl"))
    }
    return {"lines": 0, **sizes}


def _held(began: float | None, over: float, told: int | None) -> float:
    """Seconds that are paid for: as the Hub counts them where it counts more, since it rounds down."""
    return max(over - began if began else 0.0, float(told or 0))


def _seconds(moment: datetime.datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
