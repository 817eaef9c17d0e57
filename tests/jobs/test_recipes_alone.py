"""`python RECIPE config.json` where ML Intern is not: a wrong config ends it in one go, without a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml_intern.jobs.failures import classify
from ml_intern.jobs.launch import RECIPES

NAN = float("nan")
TRAINER: dict[str, tuple[Any, str]] = {
    "learning_rat": (1e-3, "did you mean 'learning_rate'"),
    "quantum_flux": (1, "leave it out"),
    "learning_rate": (NAN, "a finite number"),
    "weight_decay": (-0.1, "zero or above"),
    "adam_beta1": (1.5, "below 1"),
    "adam_beta2": ("0.999", "write 0.999 without quotes"),
    "adam_epsilon": (0, "above zero"),
    "max_grad_norm": (1e400, "a finite number"),
    "num_train_epochs": (0, "above zero"),
    "max_steps": ("9", "write 9 without quotes"),
    "warmup_steps": (-1, "zero or above"),
    "logging_steps": (2.5, "a whole number"),
    "save_steps": (0, "a whole number"),
    "save_total_limit": ("two", "must be int | None"),
    "batch_size": (0, "must be above zero"),
    "gradient_accumulation_steps": (1.5, "must be int"),
    "optim": ("adam", "did you mean 'adamw_torch'"),
    "lr_scheduler_type": ("cosin", "did you mean 'cosine'"),
    "save_strategy": ("step", "did you mean 'steps'"),
    "logging_strategy": ("never", "no, steps, epoch"),
    "dataloader_num_workers": (-2, "zero or above"),
    "neftune_noise_alpha": (0, "above zero"),
    "gradient_checkpointing": ("yes", "must be bool"),
    "evaluation_strategy": ("steps", "now: eval_strategy"),
    "no_cuda": (True, "now: use_cpu"),
    "output_dir": ("x", "give output_dir beside trainer"),
    "resume_from_checkpoint": ("x", "last whole checkpoint"),
    "load_best_model_at_end": (True, "needs an evaluation"),
    "eval_steps": (5, "without validation"),
    "bf16": (True, "exclude each other"),
    "fp16": (True, "needs a GPU"),
    "dataloader_prefetch_factor": (2, "without dataloader_num_workers"),
}
TOP: dict[str, tuple[Any, str]] = {
    "model": ("nowhere", "nowhere"),
    "data": ("nothing.jsonl", "is no file"),
    "lr": (1e-3, "goes into trainer"),
    "seed": ("one", "must be int"),
    "max_rows": (0, "above zero"),
    "processes": (0, "above zero"),
    "tariner": ({}, "did you mean 'trainer'"),
    "validation_": (0.1, "did you mean 'validation'"),
}
OWN: dict[str, dict[str, tuple[Any, str]]] = {
    "pretrain": {"packing": ("yes", "must be bool"), "tokenizer": ("bpee", "did you mean 'bpe'")},
    "sft": {"peft": ({"r": 0}, "is no adapter")},
    "dpo": {"peft": ({"r": 0}, "is no adapter")},
    "reward": {"peft": ({"r": 0}, "is no adapter")},
    "grpo": {"peft": ({"r": 0}, "is no adapter"), "rewards": (["exat"], "did you mean 'exact'")},
}
TASK = {
    "name": "a/b", "kind": "generate", "file": "no.jsonl", "max_new_tokens": 0, "temperature": -1, "top_p": 2,
    "samples": "4", "seed": 1.5, "stop": ".", "only_read": 1, "tempersture": 1,
}  # fmt: skip


def run(recipe: str, config: Any, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    code = (
        "import runpy, sys; sys.modules['ml_intern'] = sys.modules['torch'] = None;"
        "sys.path.insert(0, sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    argv = [sys.executable, "-c", code, str(RECIPES), str(RECIPES / f"{recipe}.py"), "config.json", *more]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def refusal(done: subprocess.CompletedProcess[str], folder: Path) -> list[str]:
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback" not in done.stderr and done.stderr.startswith("bad_config: ")
    assert {path.name for path in folder.iterdir()} <= {"config.json", "rows.jsonl", "model"}
    return done.stderr.strip().splitlines()


@pytest.mark.parametrize("recipe", list(OWN))
def test_forty_wrong_fields_are_told_by_the_recipe_alone(tmp_path, recipe):
    top = TOP | OWN[recipe]
    config = {name: value for name, (value, _) in top.items()}
    config["trainer"] = {name: value for name, (value, _) in TRAINER.items()}
    assert len(top) + len(TRAINER) >= 40
    done = run(recipe, config, tmp_path)
    head, *lines = refusal(done, tmp_path)
    assert f"{len(lines)} things are wrong" in head and len(lines) >= 40
    for name, (_, words) in {**TRAINER, **top}.items():
        assert any(name in line and words in line for line in lines), (name, words, done.stderr)
    missing = [line for line in lines if "is missing" in line]
    assert [line.split()[1] for line in missing] == ["output_dir", "checkpoint_dir", "metrics_file"]
    failure = classify(done.stderr, 1, method=recipe)
    assert failure["kind"] == "bad_config" and all(line in failure["message"] for line in lines)


def test_forty_wrong_fields_of_generate(tmp_path):
    tasks = [{**TASK, f"odd_{n}": n} for n in range(3)] + [{"kind": "guess"}, 7]
    config = {"model": "nowhere", "tasks": tasks, "batch_size": -1, "output": "x"}
    lines = refusal(run("generate", config, tmp_path), tmp_path)[1:]
    assert len(lines) >= 40
    for words in (
        "unknown field 'output' (did you mean 'output_dir'?)",
        "batch_size = -1 must be 0 or above",
        "output_dir is missing",
        "two tasks are called 'a/b'",
        "tasks[1]: no option 'tempersture' (did you mean 'temperature'?)",
        "tasks[2]: max_new_tokens = 0 must be 1 or above",
        "tasks[3]: samples = '4' must be int",
        "tasks[3]: stop = '.' must be list",
        "tasks[1]: file = 'no.jsonl' is no file",
        "tasks[4]: the kind 'guess' is not known",
        "tasks[5] = 7 must be a dict",
    ):
        assert any(words in line for line in lines), (words, lines)


def test_a_wrong_config_of_score(tmp_path):
    tasks = [
        {"name": "a", "kind": "rewards", "file": "no.jsonl"},
        {"name": "a", "kind": "reward", "samples": 2},
    ]
    lines = refusal(run("score", {"model": "nowhere", "tasks": tasks, "output": "x"}, tmp_path), tmp_path)
    for words in (
        "'nowhere' is no folder of a model",
        "the kind 'rewards' is not known (did you mean 'reward'?)",
        "tasks[2]: no option 'samples'",
        "tasks[2]: file is missing",
        "two tasks are called 'a'",
        "metrics_file is missing",
    ):
        assert any(words in line for line in lines), (words, lines)


@pytest.mark.parametrize("recipe", [*OWN, "generate", "score"])
def test_what_is_no_config_at_all(tmp_path, recipe):
    assert "is not JSON" in refusal(run(recipe, "{", tmp_path), tmp_path)[0]
    assert "an object with fields" in refusal(run(recipe, [1], tmp_path), tmp_path)[0]
    assert f"python {recipe}.py config.json" in refusal(run(recipe, {}, tmp_path, "more"), tmp_path)[0]


@pytest.mark.parametrize(
    ("recipe", "row", "words"),
    [
        ("pretrain", {"prompt": "a"}, "needs the columns text; it has prompt"),
        (
            "sft",
            {"prompt": "a", "chosen": "b"},
            "needs the columns messages; or prompt and completion; or text",
        ),
        ("dpo", {"text": "a"}, "prompt and chosen and rejected; or chosen and rejected; it has text"),
        ("reward", {"prompt": "a"}, "it has prompt"),
        ("grpo", {"question": "a", "answer": "b"}, "needs the columns prompt; it has question, answer"),
    ],
)
def test_columns_of_another_method(tmp_path, recipe, row, words):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    lines = refusal(run(recipe, {"data": "rows.jsonl"}, tmp_path), tmp_path)
    assert any(words in line for line in lines), lines


def test_a_job_may_carry_notes_of_its_host(tmp_path, monkeypatch):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"max_position_embeddings": 64}')
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    config = {"model": "model", "data": "rows.jsonl", "note_of_the_host": 1, "trainer": {"max_length": 65}}
    config |= {"output_dir": ".", "checkpoint_dir": ".", "metrics_file": "m"}
    told = " ".join(refusal(run("sft", config, tmp_path), tmp_path))
    assert "note_of_the_host" in told and "no tokenizer beside it" in told and "at most 64" in told
    assert "note_of_the_host" not in run("sft", {**config, "asked": {}}, tmp_path).stderr
    monkeypatch.setenv("ML_INTERN_JOB", "mark")
    assert "note_of_the_host" not in run("sft", config, tmp_path).stderr
