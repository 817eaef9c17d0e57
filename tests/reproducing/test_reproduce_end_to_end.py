"""A published model is made again from its card: the same rows, the same weights, the same numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.published import ALONE, BASE, FROM_HUB, PREFERRED, TUNED, publish, write_sources

from ml_intern.reproducing.finding import held_hash, training_files
from ml_intern.sandbox.local import LocalSandbox

COMMAND = (sys.executable, "-m", "ml_intern.cli.main", "reproduce")
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def reproduce(state: Path, here: Path, *words: str, code: int = 0) -> dict[str, Any]:
    command = [*COMMAND, *words, "--state", str(state), "--json"]
    done = subprocess.run(
        command, cwd=here, env=ENV, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_sources(folder)
    return folder


def published(state: Path, here: Path, *parts: str, repo: str = "counter") -> None:
    before = Path.cwd()
    os.chdir(here)
    try:
        result = publish(state, *parts, repo=repo)
    finally:
        os.chdir(before)
    assert [p["repo"] for p in result.published] == [f"local/{repo}"], result.errors


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, here: Path) -> Path:
    folder = tmp_path_factory.mktemp("state")
    published(folder, here, BASE, TUNED)
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, here: Path) -> Path:
    """One training, no base model."""
    folder = tmp_path_factory.mktemp("short")
    published(folder, here, ALONE)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.thorough
def test_the_same_weights_come_out_again(short: Path, here: Path) -> None:
    came_out_again(short, here, trainings=1, data=2)


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_the_same_weights_of_a_model_and_its_base_come_out_again(state: Path, here: Path) -> None:
    came_out_again(state, here, trainings=2, data=3)


def came_out_again(state: Path, here: Path, trainings: int, data: int) -> None:
    found = reproduce(state, here, "local/counter")
    told = found["reproduction"]
    assert told["reproduced"] and found["status"] == "done", told["says"]
    assert [w["same"] for w in told["weights"]] == [True] * trainings
    assert all(d["same"] for d in told["data"]) and len(told["data"]) == data
    verdicts = {n["what"]: n["verdict"] for n in told["numbers"]}
    assert verdicts["test bits_per_byte"] == verdicts["dev bits_per_byte"] == "same"
    assert verdicts["parameters"] == "same"


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_a_chain_of_base_models_and_one_of_the_hub(tmp_path: Path, here: Path) -> None:
    state = tmp_path / "state"
    published(state, here, BASE, TUNED, PREFERRED)
    told = reproduce(state, here, "local/counter")["reproduction"]
    assert [(w["name"], w["same"]) for w in told["weights"]] == [
        ("base-1", True), ("tuned-1", True), ("preferred-1", True),
    ]  # fmt: skip
    published(state, here, FROM_HUB, repo="further")
    told = reproduce(state, here, "local/further")["reproduction"]
    assert [(w["name"], w["same"]) for w in told["weights"]] == [("further-1", True)] and told["reproduced"]


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_after_a_kill_it_goes_on_and_trains_nothing_twice(state: Path, here: Path) -> None:
    before = {p.name for p in (state / "sessions").iterdir()}
    run = subprocess.Popen(
        [*COMMAND, "local/counter", "--state", str(state), "-q"], cwd=here, env=ENV,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    jobs: list[Path] = []
    while not jobs and time.monotonic() < deadline:
        time.sleep(0.1)
        jobs = [
            p for p in (state / "sessions").glob("*/jobs/base-1-1/spec.json") if p.parts[-4] not in before
        ]
    run.kill()
    run.wait()
    folder = jobs[0].parents[2]
    words = ["resume", folder.name, "--state", str(state), "--json"]
    done = subprocess.run(
        [*COMMAND[:-1], *words], cwd=here, env=ENV, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])["reproduction"]
    assert told["reproduced"] and [w["same"] for w in told["weights"]] == [True, True]
    assert sorted(p.name for p in (folder / "jobs").iterdir() if p.is_dir()) == ["base-1-1", "tuned-1-1"]


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_the_recipe_that_lies_in_the_card_runs_in_the_walls_or_not_at_all(
    state: Path, here: Path, tmp_path: Path
) -> None:
    (held,) = state.glob("cache/hub/*/models--local--counter/plain/*")
    folder = Path(shutil.copytree(held, tmp_path / "card"))
    card = json.loads((folder / "ml_intern.json").read_text())
    with (folder / "training" / "sft.py").open("a") as file:
        file.write("# somebody else's\n")
    card["trainings"][1]["code_sha256"] = held_hash(training_files(folder), "sft")
    (folder / "ml_intern.json").write_text(json.dumps(card))
    assert "--run-card-code" in reproduce(state, here, str(folder), code=2)["errors"][0]
    bare = reproduce(state, here, str(folder), "--run-card-code", "--sandbox", "none", code=2)
    assert "not without walls" in bare["errors"][0]
    if LocalSandbox.problem():
        pytest.skip(LocalSandbox.problem())
    told = reproduce(state, here, str(folder), "--run-card-code")["reproduction"]
    assert [w["same"] for w in told["weights"]] == [True, True]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.thorough
def test_another_source_ends_it_before_anything_is_trained(short: Path, here: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text((here / "lines.txt").read_text().replace("apples", "plums"))
    found = reproduce(short, here, "local/counter", "--data", f"lines.txt={other}", code=1)
    assert found["jobs"] == [] and not found["reproduction"]["reproduced"]
    assert "split_dataset made 200 rows for lines@1" in found["errors"][-1]
