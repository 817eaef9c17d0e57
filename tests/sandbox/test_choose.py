"""Which sandbox a session gets, with bubblewrap and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_intern.errors import Denied, UsageError
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.sandbox.local import LocalSandbox


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_without_bubblewrap_a_language_models_cells_are_refused(no_bubblewrap: None) -> None:
    with pytest.raises(Denied, match=r"bubblewrap is not installed.*--sandbox none"):
        choose_sandbox("local", trusted=False)


def test_without_bubblewrap_shipped_cells_run_and_it_is_said(no_bubblewrap: None) -> None:
    sandbox = choose_sandbox("local", trusted=True)
    assert (
        not sandbox.isolated and "NOT ISOLATED" in sandbox.describe() and "bubblewrap" in sandbox.describe()
    )


def test_none_isolates_nothing_and_says_so() -> None:
    sandbox = choose_sandbox("none", trusted=False)
    assert isinstance(sandbox, BareSandbox) and "NOT ISOLATED" in sandbox.describe()


def test_with_bubblewrap_local_has_walls() -> None:
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    sandbox = choose_sandbox("local", trusted=True)
    assert sandbox.isolated and "no network" in sandbox.describe()
    sandbox.stop()


def test_an_unknown_kind_gets_a_guess() -> None:
    with pytest.raises(UsageError, match="did you mean 'local'"):
        choose_sandbox("locale", trusted=False)


def test_e2b_without_a_key_is_refused_at_once() -> None:
    with pytest.raises(Denied, match="E2B_API_KEY"):
        choose_sandbox("e2b", trusted=False, env={})
