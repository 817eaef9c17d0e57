"""A sweep's trials on a real Slurm cluster of one node: one array, the same words and numbers as at home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import slurm_cluster
from support.sweep_services import services_in
from sweeping_child import BASE

from ml_intern.context import Services, ToolContext
from ml_intern.jobs.local import Jobs
from ml_intern.tooling import specs_in
from ml_intern.tools import sweeping

[SPEC] = specs_in(sweeping)


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    if problem := slurm_cluster.why_not():
        pytest.skip(problem)
    cluster = slurm_cluster.Cluster(tmp_path / "slurm")
    cluster.folder.mkdir()
    try:
        cluster.start()
        monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
        found = services_in(tmp_path)
        settings = found.settings.model_copy(
            update={"job_memory_mb": 2048, "compute": "slurm", "slurm_partition": "main"}
        )
        jobs = Jobs(found.folder / "jobs", None, settings, lambda event: None)
        yield replace(found, settings=settings, jobs=jobs)
    finally:
        cluster.stop()


@pytest.mark.slow
@pytest.mark.thorough
def test_trials_go_to_the_cluster_as_one_array(services):
    ctx = ToolContext(services, "call-1", "the-key", needs=("hub:read",))
    asked = {"base": BASE, "space": {"lr": [1e-3, 1e-2]}, "metric": "loss", "trials": 2, "halving": False}
    given = SPEC.prepare(ctx, SPEC.validate(asked))
    assert given.base["hardware"] == "slurm:main"
    found = SPEC.function(ctx, **{name: getattr(given, name) for name in asked})
    assert [t.state for t in found.trials] == ["complete"] * 2
    statuses = services.jobs.list()
    assert {s.compute for s in statuses} == {"slurm:main"}
    notes = [json.loads((services.jobs.folder_of(s.id) / "slurm.json").read_text()) for s in statuses]
    assert len({note["name"] for note in notes}) == 1 and {note["of"] for note in notes} == {2}
