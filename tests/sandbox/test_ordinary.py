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
FILES = {"test_walls.py": 29, "test_seccomp.py": 29, "test_growth.py": 9}
"""And how many of their tests must have passed: more than so many."""


@pytest.mark.thorough
@pytest.mark.parametrize("name", list(FILES))
def test_the_walls_hold_for_an_ordinary_user(tmp_path: Path, name: str) -> None:
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    done = subprocess.run(
        as_ordinary_user([*pytest_here, str(HERE / name)]),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > FILES[name], f"hardly anything was tried:\n{done.stdout[-3000:]}"
