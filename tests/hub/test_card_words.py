"""What a card checks: the host's own numbers, for which no words of the brain vouch; and what it says of seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.errors import ToolError
from ml_intern.hub.card import CardFacts, model_card
from ml_intern.hub.claims import unresolved
from ml_intern.hub.publishing import check_card, seed_numbers
from ml_intern.ledger import Comparison, Ledger, Measured, Scores
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings
from ml_intern.tools import hub

SESSION = "20261121-135313-9e1f"
FACTS = CardFacts(repo="local/tiny", session=SESSION, parameters=53_536)


def scored(ledger: Ledger, id: str, value: float, seed: int) -> str:
    right = Measured(value=value, low=value - 0.1, high=value + 0.1, n=109, higher_is_better=True)
    ledger.attach(id, job=f"run-{id}", config={"learning_rate": 0.005}, seconds=8.5)
    ledger.record(
        id, "exam", "dev",
        Scores(eval="exam", split="dev", model=f"w{seed}", primary="exact_match", metrics={"exact_match": right}),
    )  # fmt: skip
    return id


def comparison(a: str, b: str, says: str, confirmed: bool | None = None) -> Comparison:
    return Comparison(
        a=a, b=b, eval="exam", metric="exact_match", value_a=0.379, value_b=0.902, difference=0.523, low=0.352,
        high=0.694, p=0.0005, n=109, higher_is_better=True, verdict="better", method="t", says=says,
        confirmed=confirmed, new_seeds=2,
    )  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger.sqlite")
    base = made.start("it learns", "a baseline", seed=0)
    scored(made, base.id, 0.9817, 0)
    return made


def test_notes_vouch_for_no_number_but_their_own(ledger: Ledger) -> None:
    ledger.record_comparison(comparison("exp-1", "exp-1", "exp-1 is better by 135 of them"))
    with pytest.raises(ToolError, match="135"):
        check_card(ledger.get("exp-1"), ledger, FACTS)
    ledger.finish("exp-1", "kept", "the 135 in the comparison is part of a name, it is no measurement")
    with pytest.raises(ToolError, match="135"):
        check_card(ledger.get("exp-1"), ledger, FACTS)


def test_what_notes_work_out_is_told_and_not_asked_of_the_ledger(ledger: Ledger) -> None:
    ledger.finish("exp-1", "kept", "1.83 points short of all of them")
    check_card(ledger.get("exp-1"), ledger, FACTS)
    assert "1.83 points short" in model_card(ledger.get("exp-1"), ledger, FACTS)


@pytest.mark.parametrize(
    "told",
    [
        f"model: none to /tmp/state/sessions/{SESSION[:12]}…, all else is the same",
        f"session {SESSION[:12]}… and {SESSION}, weights in /home/ada/s/{SESSION}/jobs/7/output",
        "job plain-baseline-raw-file-32-wide-150-step-1 with 687f2612acc908b3bafb",
    ],
)
def test_names_of_the_host_claim_nothing(ledger: Ledger, told: str) -> None:
    ledger.record_comparison(comparison("exp-1", "exp-1", told))
    check_card(ledger.get("exp-1"), ledger, FACTS)
    assert unresolved("it has 0.931/0.95 on dev/test", ledger) == ["0.931", "0.95"]


def test_a_card_tells_what_other_seeds_gave(ledger: Ledger) -> None:
    for value, seed in ((0.9083, 7), (0.8165, 8)):
        run = ledger.start("it learns", "a baseline again", seed=seed, replicates="exp-1")
        scored(ledger, run.id, value, seed)
    older = ledger.start("fewer steps", "150 steps")
    ledger.record_comparison(comparison(older.id, "exp-1", "exp-1 is better", confirmed=True))
    row = ledger.get("exp-1")
    facts = CardFacts("local/tiny", SESSION, 53_536, curves=seed_numbers(row, ledger))
    card = model_card(row, ledger, facts)
    assert "On 3 seeds the dev mean of exact_match is 0.9022, from 0.8165 to 0.9817" in card
    assert unresolved(card, ledger, facts.numbers()) == []
    assert f"Held against: `{older.id}`, on new seeds" in card and "it is a baseline" not in card
    assert f"Its gain over `{older.id}` was confirmed" in card
    assert "`exp-1` against it on new seeds" in model_card(ledger.get(older.id), ledger, facts)


def test_one_seed_is_told_as_one(ledger: Ledger) -> None:
    card = model_card(ledger.get("exp-1"), ledger, FACTS)
    assert "seeds the dev mean" not in card and "Held against: nothing, it is a baseline" in card


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(state=tmp_path / "state", hub="embedded")
    folder = settings.state / "sessions" / SESSION
    (folder / "workspace").mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps({"id": SESSION, "prompt": "train a model"}))
    made = assemble(SESSION, folder, folder / "workspace", settings, BareSandbox(), lambda event: None)
    yield made
    made.hub.close()


def test_a_card_is_refused_before_the_test_split_is_opened(services: Services) -> None:
    job = services.folder / "jobs" / "run-1"
    model = job / "output" / "model"
    model.mkdir(parents=True)
    head = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    (model / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 24)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (job / "spec.json").write_text(json.dumps({"name": "run", "method": "pretrain"}))
    status = {"id": "run-1", "name": "run", "method": "pretrain", "state": "succeeded", "created": 1.0}
    (job / "status.json").write_text(json.dumps(status))
    row = services.ledger.start("it learns", "a baseline")
    services.ledger.attach(row.id, job="run-1", config={"learning_rate": 3e-3}, seconds=8.5)
    rows = [{"text": f"x = {i}", "split": "dev" if i % 2 else "test"} for i in range(60)]
    services.evals.register("statements", rows, ["bits_per_byte"], split_by="split")
    services.ledger.record_comparison(comparison(row.id, row.id, "it is better by 777"))
    with pytest.raises(ToolError, match="card states 777"):
        hub.publish_model(ToolContext(services, "call-1", "key-1"), row.id, "tiny")
    kept = services.ledger.get(row.id)
    assert not kept.frozen and not kept.test and services.ledger.scores(experiment=row.id) == []
