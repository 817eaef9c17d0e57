"""docs/reference says what the code says: each page is made again and compared."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.doc_pages import ROOT

SCRIPT = ROOT / "docs" / "generate.py"
HEAVY = "torch transformers smolagents gradio datasets polars mcp"


@pytest.fixture(scope="module")
def checked() -> subprocess.CompletedProcess[str]:
    """One process makes all pages, and says what it had to import."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['generate.py', '--check']\n"
        f"try:\n    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "finally:\n"
        f"    print(*[name for name in {HEAVY!r}.split() if name in sys.modules])\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_reference_is_what_the_code_gives(checked: subprocess.CompletedProcess[str]) -> None:
    assert checked.returncode == 0, checked.stderr


def test_making_it_imports_nothing_heavy(checked: subprocess.CompletedProcess[str]) -> None:
    assert checked.stdout.strip() == ""


def test_every_setting_says_what_it_is_for() -> None:
    from ml_intern import Settings

    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert not silent
