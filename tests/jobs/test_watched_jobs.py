"""A job that no cell waits for: whoever looks on at the session sees how it stands, to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_intern.events import JobChanged, SessionFinished
from ml_intern.session import session as sessions
from ml_intern.session.session import Session
from ml_intern.settings import Settings

CELL = """
import os, time
launch_script("print('done')", name="alone")
for _ in range(1200):
    if os.path.exists("seen"):
        break
    time.sleep(0.05)
final_answer(os.path.exists("seen"))
"""


def test_a_job_that_nobody_waits_for_is_seen_to_end(
    own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_intern.brains.base import Brain, Ending, answer
    from ml_intern.sandbox.bare import BareSandbox

    class Scripted(Brain):
        label = "scripted"

        def generate(self, messages: list[Any], **_: Any) -> Any:
            return answer(f"Next.\n<cell>\n{CELL}\n</cell>", Ending("stop"), 10, 10)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sessions, "JOBS_S", 0.1)
    session = Session(
        Settings.load(state=own_state, yes=["compute"]), "do it", Scripted(), BareSandbox("test"), None
    )
    events = []
    for event in session.run():
        events.append(event)
        if isinstance(event, JobChanged) and event.state == "succeeded":
            (session.workspace / "seen").touch()
    result = session.result()
    session.close()
    assert result.answer == "True", result
    assert isinstance(events[-1], SessionFinished)
