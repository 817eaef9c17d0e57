"""What a person does to a job from a page: through the session's gate while it lives, directly afterwards."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_intern.brains.base import Brain, Ending, answer
from ml_intern.errors import InternError
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings
from ml_intern.webapp.panels.job_actions import cancel, diagnosis

CELL = """
import os, time
launch_script("import time; time.sleep(600)", name="long")
open("begun", "w").close()
while not os.path.exists("seen"):
    time.sleep(0.02)
final_answer("done")
"""


class Scripted(Brain):
    label = "scripted"

    def generate(self, messages: list[Any], **_: Any) -> Any:
        return answer(f"Next.\n<cell>\n{CELL}\n</cell>", Ending("stop"), 10, 10)


class Shown:
    """What a page knows of a session."""

    def __init__(self, folder: Path, session: Session | None) -> None:
        self.folder, self.session = folder, session
        self.given = {"state": folder.parent.parent}


@pytest.fixture
def live(
    own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Session]:
    """A session in whose cell a job runs."""
    monkeypatch.chdir(tmp_path)
    policy = getattr(request, "param", [])
    settings = Settings.load(state=own_state, yes=["compute"], policy=policy)
    session = Session(settings, "do it", Scripted(), BareSandbox("test"), None)
    begun = threading.Event()

    def run() -> None:
        for _ in session.run():
            if (session.workspace / "begun").exists():
                begun.set()
        begun.set()

    worker = threading.Thread(target=run)
    worker.start()
    try:
        assert begun.wait(120)
        yield session
    finally:
        (session.workspace / "seen").touch()
        worker.join(120)
        for job in session.services.jobs.list():
            session.services.jobs.cancel(job.id)
        session.close()


def lines(session: Session, kind: str) -> list[dict[str, Any]]:
    with sqlite3.connect(session.folder / "journal.sqlite") as db:
        found = db.execute("SELECT payload FROM journal WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
    return [row for (text,) in found if (row := json.loads(text)).get("source") == "web"]


def test_a_click_is_a_call_that_the_gate_sees_and_the_journal_tells(live: Session) -> None:
    shown: Any = Shown(live.folder, live)
    for _ in range(2):
        assert diagnosis(shown, "long-1").job == "long-1"
    assert cancel(shown, "long-1") == "long-1: cancelled."
    assert [row["tool"] for row in lines(live, "decision")] == ["diagnose_job"] * 2 + ["cancel_job"]
    keys = [row["key"] for row in lines(live, "intent")]
    assert len(set(keys)) == 3, "each click is a call of its own"


@pytest.mark.parametrize(
    "live", [[{"tool": "cancel_job", "action": "deny", "reason": "it stays"}]], indirect=True, ids=["denied"]
)
def test_what_the_gate_refuses_is_not_done(live: Session) -> None:
    shown: Any = Shown(live.folder, live)
    with pytest.raises(InternError, match="it stays"):
        cancel(shown, "long-1")
    assert live.services.jobs.status("long-1").state in ("queued", "running")
    with pytest.raises(InternError, match="no job 'none-1'"):
        diagnosis(shown, "none-1")


def test_a_job_of_a_session_without_a_process_is_cancelled_too(own_state: Path) -> None:
    folder = own_state / "sessions" / "20261121-130000-abcd"
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps({"prompt": "x", "settings": {}}))
    jobs = Jobs(folder / "jobs", None, Settings.load(state=own_state), lambda event: None)
    config = {"code": "import time; time.sleep(600)", "args": []}
    job = jobs.submit(JobSpec(name="left", method="script", config=config))
    shown: Any = Shown(folder, None)
    try:
        assert diagnosis(shown, job.id).job == job.id
        with pytest.raises(InternError, match="No process works"):
            cancel(shown, job.id, keep_model=True)
        assert cancel(shown, job.id) == f"{job.id}: cancelled."
        with pytest.raises(InternError, match="no job"):
            cancel(shown, "../../x")
    finally:
        jobs.cancel(job.id)
