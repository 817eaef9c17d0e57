"""The walls as an ordinary user has them: no root, no control group, a user namespace.

Root's tests of the same walls are run once more, by such a user.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.ordinary import REPOSITORY, as_ordinary_user

HERE = Path(__file__).parent
FILES = ("test_walls.py", "test_seccomp.py", "test_growth.py")


@pytest.mark.slow
def test_the_walls_hold_for_an_ordinary_user(tmp_path: Path) -> None:
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    done = subprocess.run(
        as_ordinary_user([*pytest_here, *(str(HERE / name) for name in FILES)]),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 60, f"hardly anything was tried:\n{done.stdout[-3000:]}"
