"""The recipes as real trainings on a CPU, tiny."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.model import JobSpec

WAIT_S = 240
TINY = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}  # fmt: skip


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def texts(tmp_path):
    return write_rows(tmp_path / "texts.jsonl", [{"text": f"x_{n} = {n} + {n * n}  # ö"} for n in range(300)])


def pretraining(data: Path, name: str = "tiny", **config) -> JobSpec:
    trainer = {"learning_rate": 1e-2, "max_steps": 30, **config.pop("trainer", {})}
    asked = {"model": {"config": TINY}, "data": str(data), "trainer": trainer, **config}
    return JobSpec(name=name, method="pretrain", config=asked, inputs=[data])


@pytest.fixture(scope="module")
def recipe():
    """The functions of pretrain.py, without training."""
    sys.path.insert(0, str(RECIPES))
    yield runpy.run_path(str(RECIPES / "pretrain.py"), run_name="recipe")
    sys.path.remove(str(RECIPES))


class Words:
    """A tokenizer of one token a character."""

    bos_token_id, eos_token_id = 1, 2

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [[ord(c) for c in text] for text in texts]}


def test_long_documents_are_split_and_not_dropped(recipe):
    rows = recipe["tokenise"](["abcdefgh", "", "x"], Words(), 4, False)
    a, x = ord("a"), ord("x")
    assert [r["input_ids"] for r in rows] == [
        [1, a, a + 1, a + 2],
        [a + 3, a + 4, a + 5, a + 6],
        [a + 7, 2],
        [1, x, 2],
    ]


def test_packing_keeps_short_documents_whole(recipe):
    rows = recipe["tokenise"](["ab", "c", "def"], Words(), 8, True)
    assert [len(r["input_ids"]) for r in rows] == [7, 5]
    assert all(r["input_ids"][0] == 1 and r["input_ids"][-1] == 2 for r in rows)


@pytest.mark.parametrize("size", ["0.3M", "1M", "10M", "124M", "1B"])
def test_the_dial_gives_about_the_size_it_says(recipe, size):
    config = recipe["scratch_config"](size)
    width, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
    found = 2 * vocabulary * width + layers * (4 * width**2 + 3 * width * config["intermediate_size"])
    wanted = float(size[:-1]) * {"M": 1e6, "B": 1e9}[size[-1]]
    assert 0.75 < found / wanted < 1.25


@pytest.mark.slow
def test_a_pretraining_makes_a_model_that_loads_and_accounts_for_itself(jobs, texts):
    [status] = jobs.wait([jobs.submit(pretraining(texts)).id], WAIT_S)
    assert status.state == "succeeded", status.failure
    assert (status.step, status.total_steps) == (30, 30)
    losses = [row["loss"] for row in jobs.metrics(status.id, ["loss"])]
    assert losses[-1] < losses[0] - 1
    result = json.loads((Path(status.output) / "result.json").read_text())
    assert result["steps"] == 30 and result["tokens_seen"] > 1000 and result["seed"] == 0
    assert len(result["data_sha256"]) == len(result["model_sha256"]) == 64
    assert result["environment"]["torch"]

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(jobs.model_path(status.id))
    tokenizer = AutoTokenizer.from_pretrained(jobs.model_path(status.id))
    text = "x_7 = 7 + 49  # ö\n\ttabs  and spaces"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert model.config.vocab_size >= len(tokenizer) and model.config.eos_token_id == tokenizer.eos_token_id
    assert sum(p.numel() for p in model.parameters()) == result["parameters"]


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_with_9_and_resumed_ends_with_the_same_weights(jobs, texts):
    often = {"max_steps": 400, "save_steps": 20, "logging_steps": 20}
    straight, broken = (jobs.submit(pretraining(texts, n, trainer=often)).id for n in ("straight", "broken"))
    folder = jobs.folder_of(broken)
    deadline = time.monotonic() + WAIT_S
    while not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    [status] = jobs.wait([broken], WAIT_S)
    assert status.failure is not None and status.failure.kind == "killed"
    jobs.resume(broken)
    results = [
        json.loads((Path(s.output) / "result.json").read_text())
        for s in jobs.wait([straight, broken], WAIT_S)
    ]
    assert results[0]["resumed_from"] is None and "checkpoint-" in results[1]["resumed_from"]
    assert results[0]["model_sha256"] == results[1]["model_sha256"]
    assert results[0]["tokens_seen"] == results[1]["tokens_seen"]
    steps = [row["step"] for row in jobs.metrics(broken, ["loss"])]
    assert steps == sorted(set(steps)) and steps[-1] == 400


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_job(jobs, texts):
    spec = pretraining(texts, trainer={"learning_rate": 1e30, "max_grad_norm": 0, "logging_steps": 1})
    [status] = jobs.wait([jobs.submit(spec).id], WAIT_S)
    assert status.state == "failed" and status.failure.kind == "nan", status.failure
    assert not (Path(status.output) / "model").exists()


def run_alone(recipe: str, config: dict, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """`python RECIPE config.json` where ML Intern cannot be imported."""
    for name in ("output", "checkpoints"):
        (tmp_path / name).mkdir(exist_ok=True)
    places = {"output_dir": "output", "checkpoint_dir": "checkpoints", "metrics_file": "metrics.jsonl"}
    (tmp_path / "config.json").write_text(json.dumps({**config, **places}))
    code = (
        "import runpy, sys; sys.modules['ml_intern'] = None; sys.path.insert(0, sys.argv[1]);"
        "recipe = sys.argv.pop(2); sys.argv.pop(1); runpy.run_path(recipe, run_name='__main__')"
    )
    argv = [sys.executable, "-c", code, str(RECIPES), str(RECIPES / recipe), "config.json"]
    return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=WAIT_S)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_broken_line_of_data_is_named(tmp_path, texts):
    texts.write_text('{"text": "fine"}\n{"text": \n')
    done = run_alone("pretrain.py", pretraining(texts).config, tmp_path)
    assert done.returncode == 1
    assert "bad_data: texts.jsonl line 2 is not JSON" in done.stderr


@pytest.mark.slow
def test_sft_fine_tunes_what_pretrain_made(jobs, texts, tmp_path):
    done = run_alone("pretrain.py", pretraining(texts).config, tmp_path)
    assert done.returncode == 0, done.stderr
    pairs = write_rows(
        tmp_path / "p.jsonl", [{"prompt": f"{n}+{n}=", "completion": str(2 * n)} for n in range(64)]
    )
    base = tmp_path / "output" / "model"
    spec = JobSpec(
        name="sft",
        method="sft",
        config={
            "model": str(base),
            "data": str(pairs),
            "trainer": {"max_steps": 6, "logging_steps": 4, "max_length": 64},
        },
        inputs=[base, pairs],
    )
    [status] = jobs.wait([jobs.submit(spec).id], WAIT_S)
    assert status.state == "succeeded", status.failure
    result = json.loads((Path(status.output) / "result.json").read_text())
    assert (
        result["base_model_sha256"]
        == json.loads((tmp_path / "output" / "result.json").read_text())["model_sha256"]
    )
    assert result["model_sha256"] != result["base_model_sha256"]
    assert [row["step"] for row in jobs.metrics(status.id, ["loss"])] == [1, 4, 6]

    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(jobs.model_path(status.id))


def test_only_a_whole_checkpoint_is_resumed_from(tmp_path):
    sys.path.insert(0, str(RECIPES))
    try:
        common = runpy.run_path(str(RECIPES / "_common.py"))
    finally:
        sys.path.remove(str(RECIPES))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(8)

    def checkpoint(step: int, weights: bytes = weights, without: str = "") -> None:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in set(common["CHECKPOINT_FILES"]) - {without}:
            (folder / name).write_bytes(b"{}")
        if without != "weights":
            (folder / "model.safetensors").write_bytes(weights)

    checkpoint(20)
    checkpoint(100)
    checkpoint(120, without="optimizer.pt")
    checkpoint(140, without="trainer_state.json")
    checkpoint(160, weights=weights[:-1])
    checkpoint(180, weights=b"")
    checkpoint(200, without="weights")
    checkpoint(220)
    shards = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "checkpoint-220" / "model.safetensors.index.json").write_text(json.dumps(shards))
    assert common["last_whole_checkpoint"](tmp_path) == str(tmp_path / "checkpoint-100")
    assert common["last_whole_checkpoint"](tmp_path / "checkpoint-20") is None
