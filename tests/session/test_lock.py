"""Two processes never run one session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ml_intern.session.lock import SessionBusy, SessionLock

HOLD = """
import sys, time
from pathlib import Path
from ml_intern.session.lock import SessionLock
lock = SessionLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_the_second_is_refused_with_the_pid_of_the_first_and_a_dead_owner_holds_nothing(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout and owner.stdout.readline() == "held\n"
        with pytest.raises(SessionBusy, match=f"process {owner.pid}"):
            SessionLock(tmp_path)
        owner.kill()
        owner.wait()
    SessionLock(tmp_path).release()


def test_it_can_be_taken_again_after_its_release(tmp_path: Path) -> None:
    first = SessionLock(tmp_path)
    with pytest.raises(SessionBusy):
        SessionLock(tmp_path)
    first.release()
    first.release()
    SessionLock(tmp_path).release()
