"""What a reproduction says before it starts: steps in order, what is missing, what is otherwise."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.cards import card, row

from ml_intern.cli.arguments import front
from ml_intern.data.store import DatasetStore
from ml_intern.errors import Denied, UsageError
from ml_intern.ledger.model import Experiment, Measured
from ml_intern.reproducing import cells, keeping
from ml_intern.reproducing.card import Row, parse_card
from ml_intern.reproducing.comparing import Outcome, Weights, numbers
from ml_intern.reproducing.finding import Found
from ml_intern.reproducing.plan import Options, Plan, make_plan
from ml_intern.reproducing.sources import read_pairs
from ml_intern.result import RunResult
from ml_intern.session.session import Session
from ml_intern.settings import Settings
from ml_intern.workspace.files import Files


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "lines.txt").write_text("a line\n" * 60)
    (tmp_path / "words.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 60)
    return tmp_path


@pytest.fixture
def whole(here: Path) -> dict[str, Any]:
    found = card()
    for made in found["data"]:
        made["source_sha256"] = hashlib.sha256((here / made["source"]).read_bytes()).hexdigest()
    return found


def plan_of(found: dict[str, Any], here: Path, **options: Any) -> Plan:
    return make_plan(Found("me/counter", parse_card(json.dumps(found)), here), Options(**options), here)


def test_data_then_base_then_the_model_then_its_scores(whole: dict[str, Any], here: Path) -> None:
    plan = plan_of(whole, here)
    assert plan.missing == [] and plan.lacking == []
    kinds = [(step.kind, step.name) for step in plan.steps]
    assert kinds.index(("train", "base-1")) < kinds.index(("train", "tuned-1"))
    assert kinds.index(("data", "lines@1")) < kinds.index(("train", "base-1"))
    assert kinds[-2:] == [("score", "held"), ("test", "exp-1")] and plan.seconds == 17.0


def test_a_source_that_is_elsewhere_is_asked_for_by_its_hash(whole: dict[str, Any], here: Path) -> None:
    (here / "lines.txt").unlink()
    plan = plan_of(whole, here)
    wanted = whole["data"][1]["source_sha256"]
    assert len(plan.missing) == 1 and wanted in plan.missing[0] and "--data lines.txt=PATH" in plan.missing[0]
    elsewhere = here / "elsewhere" / "l.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text("a line\n" * 60)
    assert plan_of(whole, here, data={"lines.txt": elsewhere}).missing == []


def test_a_source_with_another_name_is_found_by_its_hash(whole: dict[str, Any], here: Path) -> None:
    (here / "sub").mkdir()
    (here / "lines.txt").rename(here / "sub" / "renamed.txt")
    plan = plan_of(whole, here)
    assert plan.missing == [] and plan.places["lines@1"].path == here / "sub" / "renamed.txt"


def test_a_file_of_the_same_name_is_not_taken_for_the_source(whole: dict[str, Any], here: Path) -> None:
    (here / "lines.txt").write_text("another line\n")
    (told,) = plan_of(whole, here).missing
    assert "is another one" in told


def test_a_dataset_of_the_hub_is_read_at_its_revision(whole: dict[str, Any], here: Path) -> None:
    whole["data"][1] |= {"source": "openai/gsm8k:train", "revision": "c" * 40}
    assert plan_of(whole, here).places["lines@1"].ref == f"openai/gsm8k@{'c' * 40}:train"


def test_what_a_model_wrote_is_asked_for(whole: dict[str, Any], here: Path) -> None:
    whole["data"][0]["operation"] = "generate_data"
    (told,) = plan_of(whole, here).missing
    assert "a model wrote it" in told and "--data words=PATH" in told
    assert plan_of(whole, here, data={"words": here / "words.jsonl"}).missing == []


def test_an_eval_from_a_file_is_asked_for_but_the_rest_is_done(whole: dict[str, Any], here: Path) -> None:
    whole["data"][1]["arguments"]["eval"] = None
    plan = plan_of(whole, here)
    assert plan.missing == [] and "--eval FILE" in plan.lacking[0]
    assert not any(step.kind in ("score", "test") for step in plan.steps)
    assert [s.kind for s in plan_of(whole, here, eval="held.jsonl").steps][-2:] == ["score", "test"]


def test_other_versions_and_machines_are_told(whole: dict[str, Any], here: Path) -> None:
    whole["experiment"]["environment"] |= {"packages": {"torch": "1.0.0"}, "gpu": "8 x H100"}
    told = " ".join(plan_of(whole, here).differences)
    assert "torch 1.0.0 then" in told and "8 x H100 then" in told


def test_a_card_of_before_has_one_training(whole: dict[str, Any], here: Path) -> None:
    del whole["trainings"], whole["evals"]
    whole["experiment"]["config"] = {"method": "pretrain", "model": "scratch:0.1M", "max_steps": 3}
    plan = plan_of(whole, here)
    assert [s.name for s in plan.steps if s.kind == "train"] == ["training"]
    assert plan.card.trainings[0].config == {"max_steps": 3}


def test_a_base_model_in_a_folder_is_asked_for(whole: dict[str, Any], here: Path) -> None:
    whole["trainings"] = whole["trainings"][1:]
    whole["trainings"][0]["model"] = {"path": "llama-small"}
    (told,) = plan_of(whole, here).missing
    assert "--data llama-small=PATH" in told


@pytest.mark.parametrize("pair", ["words", "=x", "words=", "words=/no/such/file"])
def test_words_that_are_no_pair(pair: str) -> None:
    with pytest.raises(UsageError):
        read_pairs([pair])


def test_a_name_that_the_card_does_not_have(whole: dict[str, Any], here: Path) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        plan_of(whole, here, data={"word": here / "words.jsonl"})


def test_a_plan_is_kept_for_a_session_that_goes_on(whole: dict[str, Any], here: Path, tmp_path: Path) -> None:
    (here / "ml_intern.json").write_text(json.dumps(whole))
    found = Found("me/counter", parse_card(json.dumps(whole)), here, "c" * 40)
    plan = make_plan(found, Options(), here)
    key = keeping.keep(tmp_path / "state", found, plan)
    again = keeping.load(tmp_path / "state", key)
    assert again.steps == plan.steps and again.missing == [] and again.paths == plan.paths
    with pytest.raises(UsageError):
        keeping.load(tmp_path / "state", "../../etc")


def test_dry_run_tells_and_does_nothing(
    whole: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    (here / "ml_intern.json").write_text(json.dumps(whole))
    (here / "README.md").write_text("# me/counter")
    for called in (".", "README.md", "ml_intern.json"):
        done = CliRunner().invoke(
            front, ["reproduce", called, "--dry-run", "--json", "--state", str(here / "s")]
        )
        plan = json.loads(done.stdout)["plan"]
        assert len(plan["steps"]) == 6 and plan["missing"] == []
    assert not (here / "s" / "sessions").exists()


def row_of(value: float) -> Experiment:
    found = Measured(value=value, low=value - 0.05, high=value + 0.05, n=100, higher_is_better=False)
    return Experiment(id="exp-1", hypothesis="", change="", dev={"bits_per_byte": found})


@pytest.mark.parametrize(
    ("value", "same_weights", "verdict", "reproduced"),
    [
        (3.5, True, "same", True),
        (3.5, False, "within the interval", True),
        (3.52, False, "within the interval", True),
        (3.52, True, "within the interval", True),
        (3.56, False, "outside", False),
        (3.44, False, "outside", False),
    ],
)
def test_verdicts(value: float, same_weights: bool, verdict: str, reproduced: bool) -> None:
    then = parse_card(json.dumps(card()))
    judged = numbers(then, row_of(value), same_weights, set())
    found = {n.what: n.verdict for n in judged}
    assert found["dev bits_per_byte"] == verdict and found["test bits_per_byte"] == "not measured again"
    weights = [Weights("m", "a", "a" if same_weights else "b")]
    assert Outcome("c", weights=weights, numbers=judged).reproduced is reproduced


def test_nothing_that_was_held_together_is_no_reproduction() -> None:
    then = parse_card(json.dumps(card()))
    judged = numbers(then, None, False, set())
    assert not Outcome("c", weights=[Weights("m", "a", "b")], numbers=judged).reproduced
    assert Outcome("c", weights=[Weights("m", "a", "a")], numbers=judged).reproduced


def test_a_chain_of_a_thousand_datasets_is_ordered(here: Path) -> None:
    found = card()
    found["data"] = [row(f"d{n}@1", "filter_dataset", "lines.txt", where="true") for n in range(1000)]
    for n in range(1, 1000):
        found["data"][n]["parents"] = [f"d{n - 1}@1"]
    found["data"].reverse()
    found["data"][-1]["source_sha256"] = ""
    names = [s.name for s in plan_of(found, here).steps if s.kind == "data"]
    assert names == [f"d{n}@1" for n in range(1000)]


def test_a_dataset_that_a_model_sifted_comes_after_that_model(whole: dict[str, Any], here: Path) -> None:
    sifted = row(
        "sifted@1", "filter_dataset", "words@1", difficulty={"model": "base-1", "job": "x", "samples": 4}
    )
    whole["data"].append(sifted | {"parents": ["words@1"], "created": 0.5})
    whole["trainings"][1] |= {"dataset": "sifted@1", "datasets": ["sifted@1"]}
    names = [s.name for s in plan_of(whole, here).steps]
    assert names.index("base-1") < names.index("sifted@1") < names.index("tuned-1")


def test_the_parts_of_a_mixture_are_found_each_by_its_hash(whole: dict[str, Any], here: Path) -> None:
    hashes = [hashlib.sha256((here / name).read_bytes()).hexdigest() for name in ("words.jsonl", "lines.txt")]
    parts = {"words.jsonl": 2, "renamed.txt": 1.0, "lines": 1}
    mixed = row("mix@1", "mix_datasets", "words.jsonl + renamed.txt + lines@1", parts=parts, seed=3)
    whole["data"].append(mixed | {"parents": ["lines@1"], "source_sha256": " ".join([*hashes, "cd" * 32])})
    plan = plan_of(whole, here)
    assert plan.missing == []
    refs = {name: place.ref for name, place in plan.places.items()} | {"lines@1": "lines@7"}
    told = Row.model_validate(whole["data"][-1])
    code = cells.data(told, refs, None)
    assert str(here / "words.jsonl") in code and str(here / "lines.txt") in code and "'lines@7': 1" in code


def test_a_store_opens_a_dataset_of_the_hub_at_a_revision(tmp_path: Path) -> None:
    asked: list[str] = []
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "train.jsonl").write_text('{"text": "a"}\n')

    def fetch(ref: str) -> Path:
        asked.append(ref)
        return tmp_path / "held"

    refused: list[tuple[str, str | None]] = []
    files = Files(tmp_path / "w", tmp_path / "p")
    store = DatasetStore(tmp_path / "d", files, fetch, lambda name, split: refused.append((name, split)))
    table = store.open("owner/name@0123abc:train")
    assert asked == ["owner/name@0123abc"] and table.source == "owner/name" and table.split == "train"
    assert refused[0] == ("owner/name", "train")


def test_what_the_hub_does_not_have_is_missing(
    whole: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    whole["trainings"][0]["model"] = {"hub": "nobody/nothing", "revision": "c" * 40}
    (here / "ml_intern.json").write_text(json.dumps(whole))
    done = CliRunner().invoke(front, ["reproduce", ".", "--dry-run", "--json", "--state", str(here / "s")])
    (told,) = json.loads(done.stdout)["plan"]["missing"]
    assert "The model nobody/nothing@cccccccccccc is not at hand" in told


def run(found: dict[str, Any], here: Path, **settings: Any) -> RunResult:
    """A session that plays a card, in plain processes."""
    (here / "ml_intern.json").write_text(json.dumps(found))
    state = here / "state"
    read = Found(".", parse_card(json.dumps(found)), here)
    plan = make_plan(read, Options(eval=settings.get("eval")), here)
    key = keeping.keep(state, read, plan)
    given = Settings.load(
        state=state, model=f"reproduce:{key}", sandbox="none", data_dirs=plan.paths, **settings
    )
    session = Session.create(given, keeping.prompt_for("."))
    try:
        for _ in session.run():
            pass
        return session.result()
    finally:
        session.close()


def test_other_rows_end_it_before_anything_is_trained(whole: dict[str, Any], here: Path) -> None:
    whole["data"] = [d for d in whole["data"] if d["id"] == "words@1"]
    whole["trainings"], whole["evals"] = whole["trainings"][1:], []
    whole["trainings"][0]["model"] = {"scratch": "scratch:0.1M"}
    result = run(whole, here)
    assert result.exit_code == 1 and result.jobs == [] and result.reproduction
    assert "reformat_dataset made 60 rows for words@1" in result.errors[-1]
    assert not result.reproduction["reproduced"] and not result.reproduction["data"][0]["same"]
    assert "reformat_dataset made" in result.report().with_suffix(".md").read_text()


def test_an_eval_that_is_not_the_cards_is_seen_at_once(whole: dict[str, Any], here: Path) -> None:
    whole["data"] = [d for d in whole["data"] if d["id"] == "words@1"]
    whole["trainings"] = whole["trainings"][1:]
    whole["trainings"][0]["model"] = {"scratch": "scratch:0.1M"}
    (here / "held.jsonl").write_text("".join(f'{{"input": "a question {n}?"}}\n' for n in range(40)))
    result = run(whole, here, eval=str(here / "held.jsonl"))
    assert result.exit_code == 1 and "no eval at hand holds the items of 'held'" in result.errors[-1]
    assert result.steps == 0


def test_a_reproduction_takes_no_other_sentence(whole: dict[str, Any], here: Path) -> None:
    (here / "ml_intern.json").write_text(json.dumps(whole))
    read = Found(".", parse_card(json.dumps(whole)), here)
    key = keeping.keep(here / "state", read, make_plan(read, Options(), here))
    given = Settings.load(state=here / "state", model=f"reproduce:{key}", sandbox="none")
    with pytest.raises(UsageError, match="no further sentence"):
        Session.create(given, "publish everything")


def test_code_of_a_card_does_not_run_without_walls_however_the_session_is_opened(
    whole: dict[str, Any], here: Path
) -> None:
    (here / "ml_intern.json").write_text(json.dumps(whole))
    read = Found(".", parse_card(json.dumps(whole)), here)
    key = keeping.keep(here / "state", read, make_plan(read, Options(run_card_code=True), here))
    given = Settings.load(state=here / "state", model=f"reproduce:{key}", sandbox="none")
    with pytest.raises(Denied, match="walls"):
        Session.create(given, keeping.prompt_for("."))


WRONG_ARGUMENTS = {
    "a-target-that-is-none": ("reformat_dataset", {"target": "../../etc/passwd"}),
    "a-mapping-that-is-text": ("reformat_dataset", {"target": "prompt_completion", "mapping": "x"}),
    "a-condition-that-reads-files": (
        "filter_dataset",
        {"where": "text IN (SELECT * FROM read_csv('/etc/passwd'))"},
    ),
    "a-condition-that-is-code": ("filter_dataset", {"where": "__import__('os').system('true')"}),
    "a-similarity-beyond-all": ("deduplicate_dataset", {"near": True, "similarity": 1e300}),
    "columns-that-are-not-there": ("deduplicate_dataset", {"columns": ["../x"]}),
    "fractions-that-are-text": ("split_dataset", {"fractions": {"train": "all"}}),
    "fractions-of-nothing": ("split_dataset", {"fractions": {}}),
    "a-seed-that-is-a-list": ("split_dataset", {"fractions": {"train": 0.9, "dev": 0.1}, "seed": [1]}),
    "an-eval-that-leads-out": ("split_dataset", {"fractions": {"train": 0.9, "dev": 0.1}, "eval": "../../x"}),
    "parts-without-weights": ("mix_datasets", {"parts": {"words.jsonl": None}}),
    "rows-without-end": ("mix_datasets", {"parts": {"words.jsonl": 1}, "rows": -(10**15)}),
}


@pytest.mark.parametrize(("operation", "arguments"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_arguments_that_no_tool_takes_end_it_in_one_line(
    whole: dict[str, Any], here: Path, operation: str, arguments: dict[str, Any]
) -> None:
    (words,) = (d for d in whole["data"] if d["id"] == "words@1")
    whole["data"] = [words | {"operation": operation, "arguments": arguments}]
    whole["trainings"], whole["evals"] = whole["trainings"][1:], []
    whole["trainings"][0]["model"] = {"scratch": "scratch:0.1M"}
    result = run(whole, here)
    assert result.exit_code == 1 and result.jobs == []
    assert result.errors[-1].startswith("Not reproduced: ") and "\n" not in result.errors[-1]
    assert "defect" not in result.errors[-1] and "inside" not in result.errors[-1], result.errors[-1]
