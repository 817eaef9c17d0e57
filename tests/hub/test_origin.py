"""What is published was trained here: copies of other people's models stop, trainings and baselines go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ml_intern.context import Services, ToolContext
from ml_intern.errors import ToolError
from ml_intern.hub.card import CardFacts
from ml_intern.hub.origin import Origin, lineage_section, origin_of
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings

State = dict[str, torch.Tensor]


def weights(seed: int, scale: float = 0.02) -> State:
    rng = torch.Generator().manual_seed(seed)
    shapes = {"embed": (120, 32), "a.0": (32, 32), "a.1": (32, 32), "b.0": (64, 32), "b.1": (64, 32)}
    return {name: torch.randn(*shape, generator=rng) * scale for name, shape in shapes.items()}


def moved(state: State, share: float, seed: int) -> State:
    return {n: t + weights(seed)[n] * (share * t.norm() / weights(seed)[n].norm()) for n, t in state.items()}


def model(folder: Path, state: State) -> Path:
    folder.mkdir(parents=True)
    save_file({n: t.contiguous() for n, t in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


class World:
    """A session with a base and an instruct model in its Hub's cache, and a job that made a model."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.base, self.instruct = weights(1), moved(weights(1), 0.05, 2)
        self.base_place = self.downloaded("owner/base", self.base)

    def downloaded(self, name: str, state: State) -> Path:
        return model(
            self.services.hub.cache / f"models--{name.replace('/', '--')}" / "plain" / ("c" * 40), state
        )

    def published(
        self,
        state: State,
        change: str = "sft",
        method: str = "sft",
        base: Path | None = None,
        inputs: Sequence[Path] = (),
    ) -> Origin:
        job = self.services.folder / "jobs" / "run-1"
        made = model(job / "output" / "model", state)
        config: dict[str, Any] = {"model": str(base), "model_ref": "owner/base"} if base else {}
        (job / "spec.json").write_text(
            json.dumps({"name": "run", "method": method, "config": config, "inputs": [*map(str, inputs)]})
        )
        status = {"id": "run-1", "name": "run", "method": method, "state": "succeeded", "created": 1.0}
        (job / "status.json").write_text(json.dumps(status))
        row = self.services.ledger.start("it learns", change)
        self.services.ledger.attach(row.id, job="run-1")
        ctx = ToolContext(self.services, "call-1", "key-1")
        return origin_of(ctx, self.services.ledger.get(row.id), made, made)

    def script(self, job: str, state: State, inputs: Sequence[Path], code: str = "") -> Path:
        """A script that has ended; the model that it made."""
        folder = self.services.folder / "jobs" / job
        made = model(folder / "output" / "model", state)
        spec = {"name": job, "method": "script", "config": {"code": code}, "inputs": [*map(str, inputs)]}
        (folder / "spec.json").write_text(json.dumps(spec))
        status = {"id": job, "name": job, "method": "script", "state": "succeeded", "created": 1.0}
        (folder / "status.json").write_text(json.dumps(status))
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings(state=tmp_path / "state", hub="embedded")
    folder = settings.state / "sessions" / "20261121-001659-ab12"
    (folder / "workspace").mkdir(parents=True)
    services = assemble(
        folder.name, folder, folder / "workspace", settings, BareSandbox(), lambda event: None
    )
    yield World(services)
    services.hub.close()


STOLEN: dict[str, Callable[[World], State]] = {
    "as it is": lambda w: w.instruct,
    "renamed": lambda w: {f"x{i}": t for i, t in enumerate(w.instruct.values())},
    "bfloat16": lambda w: {n: t.bfloat16() for n, t in w.instruct.items()},
    "noise": lambda w: moved(w.instruct, 0.02, 5),
    "noise as long as its tuning": lambda w: moved(w.instruct, 0.045, 5),
    "layers swapped": lambda w: {n.translate(str.maketrans("01", "10")): t for n, t in w.instruct.items()},
    "a layer dropped": lambda w: {n: t for n, t in w.instruct.items() if not n.endswith("1")},
    "more words": lambda w: w.instruct | {"embed": torch.cat([w.instruct["embed"], torch.zeros(8, 32)])},
    "trained on a little": lambda w: moved(w.instruct, 0.01, 6),
    "a row of large numbers": lambda w: {n: torch.cat([t[:-1], t[-1:] * 300]) for n, t in w.instruct.items()},
}


@pytest.mark.parametrize("how", STOLEN)
@pytest.mark.parametrize("told", ["from the base", "from nothing"])
def test_somebody_elses_model_is_not_published(world: World, how: str, told: str) -> None:
    world.downloaded("owner/instruct", world.instruct)
    with pytest.raises(ToolError, match=r"those of owner/instruct@") as caught:
        world.published(STOLEN[how](world), base=world.base_place if told == "from the base" else None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.05, 0.3])
def test_a_training_from_the_base_goes_on_beside_a_relative(world: World, share: float) -> None:
    world.downloaded("owner/instruct", world.instruct)
    origin = world.published(moved(world.base, share, 8), base=world.base_place)
    assert [(r.name.partition("@")[0], r.declared) for r in origin.relations] == [
        ("owner/base", True),
        ("owner/instruct", False),
    ]
    assert origin.relations[0].distance == pytest.approx(share, rel=0.05)


def test_a_training_that_turns_towards_the_relative_still_goes_on(world: World) -> None:
    """On much the same data: half of its way in the relative's direction."""
    world.downloaded("owner/instruct", world.instruct)
    toward = {n: t + 0.5 * (world.instruct[n] - t) for n, t in world.base.items()}
    assert world.published(moved(toward, 0.045, 8), base=world.base_place).relations


def test_nothing_trained_is_not_published_but_a_baseline_that_says_so_is(world: World) -> None:
    with pytest.raises(ToolError, match="nothing was trained"):
        world.published(world.base, base=world.base_place)


@pytest.mark.parametrize("cast", [torch.float32, torch.bfloat16, torch.float16])
def test_a_cast_is_no_training(world: World, cast: torch.dtype) -> None:
    with pytest.raises(ToolError, match="nothing was trained"):
        world.published({n: t.to(cast) for n, t in world.base.items()}, base=world.base_place)


def test_a_baseline_that_says_so(world: World) -> None:
    origin = world.published(world.base, "the base as it comes, untrained", base=world.base_place)
    assert origin.relations[0].exact


def test_a_model_from_nothing_goes_on_beside_strangers(world: World) -> None:
    origin = world.published(weights(77), method="pretrain")
    assert origin.relations[0].distance == pytest.approx(1.41, abs=0.05)
    assert "1.4" in lineage_section(origin) and "owner/base@" in lineage_section(origin)


def test_the_base_under_two_names_is_one(world: World) -> None:
    world.downloaded("mirror/base", {n: t.double() for n, t in world.base.items()})
    assert world.published(moved(world.base, 0.001, 8), base=world.base_place).relations


def test_what_a_script_was_given_is_declared_and_what_it_fetched_is_at_hand(world: World) -> None:
    model(world.services.folder / "workspace" / "fetched", world.instruct)
    with pytest.raises(ToolError, match=r"those of workspace/fetched"):
        world.published(moved(world.instruct, 0.001, 3), method="script")


@pytest.mark.parametrize("share", [0.0001, 0.0017])
def test_a_script_that_adds_a_little_noise_has_trained_nothing(world: World, share: float) -> None:
    with pytest.raises(ToolError, match=r"its base, owner/base \(at a distance of .*nothing was trained"):
        world.published(moved(world.base, share, 3), method="script", inputs=[world.base_place])


def test_a_script_that_trains_what_it_was_given_goes_on(world: World) -> None:
    world.downloaded("owner/instruct", world.instruct)
    origin = world.published(moved(world.base, 0.01, 3), method="script", inputs=[world.base_place])
    assert [r.name for r in origin.relations if r.declared] == ["owner/base"]


@pytest.mark.parametrize("share", [0, 0.01])
def test_a_copy_in_the_workspace_is_no_base_of_a_script(world: World, share: float) -> None:
    world.downloaded("owner/instruct", world.instruct)
    mine = model(world.services.folder / "workspace" / "mine", moved(world.instruct, share, 4))
    with pytest.raises(ToolError, match=r"those of owner/instruct@.*a model trained from nothing"):
        world.published(moved(world.instruct, 0.02, 3), method="script", inputs=[mine])


@pytest.mark.parametrize("steps", [1, 3])
def test_a_copy_stays_a_strangers_through_scripts_that_name_another_base(world: World, steps: int) -> None:
    world.downloaded("owner/instruct", world.instruct)
    given = world.base_place
    for n in range(steps):
        given = world.script(f"step-{n}", moved(world.instruct, 0.001 * n, n), [given])
    with pytest.raises(ToolError, match=r"those of owner/instruct@.*not of its base owner/base"):
        world.published(moved(world.instruct, 0.02, 9), method="script", inputs=[given])


def test_scripts_that_go_on_from_one_another_are_published(world: World) -> None:
    world.downloaded("owner/instruct", world.instruct)
    first = world.script("step-1", moved(world.base, 0.01, 7), [world.base_place])
    again = moved(moved(world.base, 0.01, 7), 0.01, 8)
    origin = world.published(again, method="script", inputs=[first])
    assert [r.name for r in origin.relations if r.declared] == ["step-1", "owner/base"]


def test_what_a_script_left_to_another_is_at_hand_for_a_third(world: World) -> None:
    fetched = world.script("fetch", weights(50), [], "fetch")
    world.script("user", moved(weights(50), 0.1, 2), [fetched], "use")
    with pytest.raises(ToolError, match="those of fetch "):
        world.published(moved(weights(50), 0.01, 3), method="script")


def test_whose_copy_a_recipe_has_trained_is_told(world: World) -> None:
    world.downloaded("owner/instruct", world.instruct)
    mine = model(world.services.folder / "workspace" / "mine", world.instruct)
    origin = world.published(moved(world.instruct, 0.02, 3), base=mine)
    assert [r.name.partition("@")[0] for r in origin.relations if r.declared] == [
        "owner/base",  # as the launch names it here
        "owner/instruct",
    ]


def test_a_file_that_only_looks_like_weights_stops_nothing_and_is_told(world: World) -> None:
    place = world.services.folder / "workspace" / "broken"
    place.mkdir()
    (place / "model.safetensors").write_bytes(b"other")
    origin = world.published(moved(world.base, 0.01, 3), base=world.base_place)
    assert origin.notes == ["workspace/broken cannot be read as safetensors and was not held against it."]


def test_the_card_and_the_trail_tell_the_distances(world: World) -> None:
    origin = world.published(moved(world.base, 0.0123, 8), base=world.base_place)
    facts = CardFacts(repo="a/b", session="s", parameters=1, origin=origin)
    told = lineage_section(origin)
    assert f"{origin.relations[0].distance:.3g}" in told and "| base |" in told
    assert any(abs(n - (origin.relations[0].distance or 0)) < 1e-9 for n in facts.numbers())
    assert json.loads(json.dumps(origin.to_json()))["relations"][0]["declared"]


def test_the_base_is_recorded_at_the_launch_and_a_change_is_told(world: World, tmp_path: Path) -> None:
    from ml_intern.hub.weights import weights_hash
    from ml_intern.jobs.model import JobSpec
    from ml_intern.jobs.record import record_start

    place = model(tmp_path / "base", world.base)
    (place / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    row = world.services.ledger.start("it learns", "sft")
    config = {"model": str(place), "model_ref": "owner/base", "asked": {}, "dataset": "d@1", "rows": 2}
    spec = JobSpec(
        name="run",
        method="sft",
        experiment=row.id,
        config={**config, "data_sha256": "ab", "seed": 0},
    )
    record_start(world.services.ledger, spec, "run-1")
    known = world.services.ledger.get(row.id).base
    assert known["model"] == "owner/base" and known["weights"] == weights_hash(place)
    assert len(known["template"]) == 64 and known["tokenizer"] == "none"

    made = model(world.services.folder / "jobs" / "run-1" / "output" / "model", moved(world.base, 0.01, 3))
    (made.parent.parent / "spec.json").write_text(spec.model_dump_json())
    status = {"id": "run-1", "name": "run", "method": "sft", "state": "succeeded", "created": 1.0}
    (made.parent.parent / "status.json").write_text(json.dumps(status))
    ctx = ToolContext(world.services, "call-1", "key-1")
    assert not origin_of(ctx, world.services.ledger.get(row.id), made, made).notes
    save_file(moved(world.base, 0.001, 4), place / "model.safetensors")
    (note,) = origin_of(ctx, world.services.ledger.get(row.id), made, made).notes
    assert "others than when its training was launched" in note
