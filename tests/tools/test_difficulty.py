"""Filtering by pass rate: the job sees prompts, the host scores, and the numbers add up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evals"))

from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.prices import Price
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings
from ml_intern.tools.filtering import filter_dataset
from ml_intern.workspace.files import Files

SPEC = filter_dataset.__tool__  # type: ignore[attr-defined]
SUMS = [{"prompt": f"{a}+{b}=", "completion": str(a + b)} for a in range(10) for b in range(6)]
Call = Callable[..., dict[str, Any]]


class Jobs(AnsweringJobs):
    """Also lists, as resolving a model asks for."""

    def list(self) -> list[Any]:
        return []


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    for name in ("work", "project", "session", "jobs"):
        (tmp_path / name).mkdir()
    folder, work = tmp_path / "session", tmp_path / "work"
    files = Files(work, tmp_path / "project")
    settings = Settings.load(state=tmp_path / "state")
    ledger = Ledger(folder / "ledger.sqlite", lambda event: None)
    nothing: Any = None
    jobs: Any = Jobs(tmp_path / "jobs")
    store = DatasetStore(folder / "datasets", files)
    evals = Evals(folder / "evals", nothing, ledger, settings)
    (work / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SUMS))
    yield Services("test", folder, settings, files, store, jobs, ledger, evals, nothing, lambda event: None)
    ledger.close()


@pytest.fixture
def call(services: Services) -> Call:
    def run(model: Path | None = None, key: str = "key-1", **given: Any) -> dict[str, Any]:
        if model is not None:
            given["difficulty"] = {"model": str(model), **given.get("difficulty", {})}
        arguments = SPEC.validate({"source": "sums.jsonl", "name": "kept", **given})
        found: dict[str, Any] = json.loads(
            json.dumps(SPEC.call(ToolContext(services, "call-1", key), arguments))
        )
        return found

    return run


def test_rows_between_the_bounds_are_kept_with_their_rates(call: Call, services: Services) -> None:
    model = make_model(services.files.workspace / "half", skill=0.5)
    made = call(model, difficulty={"samples": 4, "lowest": 0.25, "highest": 0.75})
    rows = services.datasets.open("kept@1").rows
    assert made["rows"] == rows.height and 0 < rows.height < len(SUMS)
    assert set(rows["pass_rate"].to_list()) == {0.25, 0.5, 0.75}
    assert made["rows"] + sum(made["left_out"].values()) == made["rows_before"] == len(SUMS)
    assert set(made["left_out"]) == {"solved too often", "solved too seldom"}
    assert sum(made["pass_rates"].values()) == len(SUMS)
    assert sum(n for rate, n in made["pass_rates"].items() if rate not in ("0", "1")) == rows.height
    told = services.datasets.info("kept@1").lineage.arguments["difficulty"]
    assert (told["samples"], told["scorer"], told["job"]) == (4, "numeric_match", "job-1")


def test_the_job_sees_prompts_and_no_answers(call: Call, services: Services) -> None:
    model = make_model(services.files.workspace / "half", skill=0.5)
    call(model)
    [read] = services.jobs.read  # type: ignore[attr-defined]
    assert [json.loads(line) for line in read.splitlines()] == [{"prompt": r["prompt"]} for r in SUMS]


def test_the_usual_bounds_leave_out_always_and_never(call: Call, services: Services) -> None:
    for skill, why in ((1.0, "60 at 1"), (0.0, "60 at 0")):
        model = make_model(services.files.workspace / f"m{skill:g}", skill=skill)
        with pytest.raises(ToolError, match=f"No row lies between the bounds; pass rates: {why}"):
            call(model, key=f"key-{skill}")


def test_a_condition_comes_first_and_rows_without_an_answer_are_told(call: Call, services: Services) -> None:
    rows: list[dict[str, Any]] = [*SUMS, {"prompt": "9+9=", "completion": None}]
    (services.files.workspace / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = make_model(services.files.workspace / "half", skill=0.5)
    made = call(model, where="prompt LIKE '9%'", difficulty={"lowest": 0, "highest": 1})
    assert made["rows"] == 6
    assert made["left_out"] == {"does not meet \"prompt LIKE '9%'\"": 54, "has no prompt or no answer": 1}


def test_a_condition_alone_asks_nobody_and_costs_nothing(call: Call, services: Services) -> None:
    assert call(where="prompt LIKE '9%'")["left_out"] == {"does not meet \"prompt LIKE '9%'\"": 54}
    assert services.jobs.specs == []  # type: ignore[attr-defined]
    ctx = ToolContext(services, "call-1", "key")
    prices = [
        SPEC.price(ctx, SPEC.validate({"source": "x", **given}))
        for given in ({"where": "n > 1"}, {"difficulty": {"model": "m"}})
    ]
    assert prices[0] == Price() and prices[1].jobs == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "Nothing says which rows to keep"),
        ({"difficulty": {"model": "m", "samples": 1}}, "greater than or equal to 2"),
        ({"difficulty": {"model": "m", "lowest": 0.8, "highest": 0.2}}, "is above highest"),
        ({"difficulty": {"model": "m", "hard": 1}}, "extra"),
        ({"difficulty": {"samples": 4}}, "missing|required"),
    ],
    ids=["nothing", "one sample", "order", "unknown", "no model"],
)
def test_what_cannot_be_asked(call: Call, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ToolError, match=told):
        call(**given)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines, '{"row": 99, "sample": 0, "text": "x"}'],
        lambda lines: ["not json", *lines[1:]],
        lambda lines: ["[1]", *lines[1:]],
        lambda lines: [lines[1], *lines[1:]],
        lambda lines: ["[" * 100_000, *lines[1:]],
        lambda lines: [],
    ],
    ids=["short", "more", "no json", "list", "twice", "deep", "empty"],
)
def test_what_a_job_gives_back_is_not_trusted(call: Call, services: Services, spoil: Any) -> None:
    class Spoils(Jobs):
        def _answer(self, task: dict[str, Any], config: dict[str, Any], output: Path) -> None:
            super()._answer(task, config, output)
            file = output / f"{task['name']}.jsonl"
            file.write_text("\n".join(spoil(file.read_text().splitlines())))

    services.jobs = Spoils(services.folder / "other")  # type: ignore[assignment]
    model = make_model(services.files.workspace / "half", skill=0.5)
    with pytest.raises(ToolError, match=r"The job (gave|left)"):
        call(model)
    assert services.datasets.list() == []


@pytest.mark.slow
@pytest.mark.thorough
def test_a_real_model_is_sampled_in_a_real_job(tmp_path: Path) -> None:
    from test_generate_recipe import tiny_model

    work = tmp_path / "work"
    work.mkdir()
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SUMS[:6]))
    tiny_model(work / "tiny")
    settings = Settings.load(state=tmp_path / "state")
    services = assemble("test", tmp_path / "session", work, settings, BareSandbox("test"), lambda event: None)
    given = {"source": "rows.jsonl", "difficulty": {"model": "tiny", "samples": 3, "lowest": 0, "highest": 1}}
    try:
        made = SPEC.call(ToolContext(services, "call-1", "key-1"), SPEC.validate(given))
        assert (made["rows"], sum(made["pass_rates"].values())) == (6, 6)
        [status] = services.jobs.list()
        assert status.state == "succeeded"
        again = SPEC.call(ToolContext(services, "call-2", "key-1"), SPEC.validate(given))
        assert again["id"] == made["id"] and len(services.jobs.list()) == 1
    finally:
        services.ledger.close()
        services.hub.close()
