"""A way of answering is published with the weights that it answers with, and the card says how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs

from ml_intern.context import Services, ToolContext
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings
from ml_intern.tools import evaluation, experiments, hub, scaling

SESSION = "20261121-001659-ab12"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(state=tmp_path / "state", hub="embedded")
    folder = settings.state / "sessions" / SESSION
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps({"id": SESSION, "prompt": "train a model"}))
    made = assemble(SESSION, folder, workspace, settings, BareSandbox(), lambda event: None)
    yield made
    made.hub.close()


def model(folder: Path, **config: Any) -> None:
    """Weights that nothing can load; how good they are, the stand-in for jobs reads."""
    folder.mkdir(parents=True, exist_ok=True)
    head = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 24)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "seed": 0, **config}))


def trained(services: Services) -> str:
    folder = services.folder / "jobs" / "run-1"
    model(folder / "output" / "model", skill=0.45, spread=6)
    (folder / "spec.json").write_text(json.dumps({"name": "run", "method": "pretrain"}))
    status = {"id": "run-1", "name": "run", "method": "pretrain", "state": "succeeded", "created": 1.0}
    (folder / "status.json").write_text(json.dumps(status))
    e = services.ledger.start("it learns", "a first try")
    services.ledger.attach(e.id, job="run-1", config={"learning_rate": 3e-3}, seconds=8.5)
    return e.id


@pytest.mark.slow
@pytest.mark.thorough
def test_a_vote_is_published_with_its_weights(services: Services) -> None:
    services.evals.jobs = AnsweringJobs(services.folder / "evals" / "jobs")  # type: ignore[assignment]
    rows = [{"prompt": f"{i}+{i}=", "answer": str(2 * i)} for i in range(300)]
    services.evals.register("sums", rows, ["exact_match"])
    shape = {"architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    model(services.files.workspace / "judge", skill=0.7, **shape)
    ctx = ToolContext(services, "call-1", "key-1")
    base = trained(services)
    evaluation.evaluate(ctx, model=base, eval="sums")
    row = services.ledger.start("votes are better", "a vote", base).id
    scaling.best_of_n(ctx, base, "sums", n=8, reward_model="judge", experiment=row)
    experiments.finish_experiment(ctx, row, "kept")

    found = hub.publish_model(ctx, row, "voting")

    assert found.test["exact_match"].value > 0.8
    card = Path(found.card).read_text()
    assert "Each answer is a choice among several: 8 samples at temperature 0.8" in card
    assert "vote weighted by reward of judge" in card
    assert "| `learning_rate` | 0.003 |" in card
    trail = json.loads(hub.read_hub_file(ctx, "voting", "ml_intern.json", offset=0).text)
    assert trail["experiment"]["inference"]["n"] == 8
    assert (frozen := services.ledger.frozen()) and frozen.id == row
