"""What the brain is told about its walls is true for the sandbox that it has."""

from __future__ import annotations

import pytest

from ml_intern.agent.instructions import isolation, system_prompt
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Sandbox
from ml_intern.sandbox.local import LocalSandbox


def prompt(sandbox: Sandbox, limits: Limits) -> str:
    told = isolation(sandbox, limits)
    return system_prompt([], isolation=told, workspace="/some/space", facts="none")


def test_without_walls_none_are_claimed() -> None:
    sandbox = BareSandbox()
    told = prompt(sandbox, Limits())
    assert "WITHOUT walls" in told and "leave them alone" in told
    assert "no network" not in told and "no keys" not in told
    sandbox.stop()


def test_behind_walls_their_limits_are_named() -> None:
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    sandbox = LocalSandbox()
    told = prompt(sandbox, Limits(memory_mb=321, processes=45, disk_mb=678, growth_mb=910))
    assert "no network" in told and "WITHOUT" not in told
    for figure in ("321 MB of memory", "45 processes", "678 MB", "910 MB"):
        assert figure in told
    assert "grow" not in prompt(sandbox, Limits())
    sandbox.stop()
