"""dpo, reward and grpo as they are asked for: everything that does not fit is told before anything starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.jobs import fitting, preflight
from ml_intern.jobs.asking import Training, training_spec
from ml_intern.jobs.fields import lora_fields, model_fields, scored_types, trainer_fields
from ml_intern.jobs.hardware import gpus_at
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import Place
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tools import training
from ml_intern.workspace.files import Files

CHAT = [{"role": "user", "content": "a"}]
ROWS: dict[str, list[dict[str, Any]]] = {
    "texts": [{"text": "a"}],
    "examples": [{"prompt": "a", "completion": "b"}],
    "chat": [{"messages": CHAT}],
    "pairs": [{"prompt": f"{n}", "chosen": "b", "rejected": "c"} for n in range(40)],
    "implicit": [{"chosen": "ab", "rejected": "ac"}],
    "prompts": [{"prompt": f"{n}", "answer": n} for n in range(40)],
    "chat-pairs": [{"prompt": CHAT, "chosen": CHAT, "rejected": CHAT[::-1] * 2}],
    "same": [{"prompt": "a", "chosen": "b", "rejected": "b"}] * 3,
    "numbers": [{"prompt": "a", "chosen": 1, "rejected": 2}],
    "mixed": [{"prompt": "a", "chosen": CHAT, "rejected": CHAT * 2}],
    "holes": [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "b", "rejected": None},
    ],
    "margins": [{"chosen": "b", "rejected": "c", "margin": "much"}],
    "labels": [{"label": 1}],
    "number-prompts": [{"prompt": 1}],
    "no-messages": [{"messages": "hello"}],
}


@pytest.fixture
def services(tmp_path: Path) -> Services:
    settings = Settings(state=tmp_path / "state")
    folder = settings.state / "session"
    (folder / "workspace").mkdir(parents=True)
    files = Files(folder / "workspace", tmp_path)
    jobs = Jobs(folder / "jobs", None, settings, lambda _: None)
    ledger = Ledger(folder / "ledger.sqlite", lambda _: None)
    evals = Evals(folder / "evals", jobs, ledger, settings)
    store = DatasetStore(folder / "datasets", files)
    for name, rows in ROWS.items():
        store.save(name, rows, Lineage(source="t", operation="t"))
    hub: Any = None
    for name, kind, more in (
        ("base", "LlamaForCausalLM", {"model_type": "llama"}),
        ("judge", "LlamaForSequenceClassification", {"model_type": "llama", "id2label": {"0": "LABEL_0"}}),
        ("odd", "RwkvForCausalLM", {"model_type": "rwkv"}),
    ):
        model = files.workspace / name
        model.mkdir()
        described = {"architectures": [kind], "max_position_embeddings": 64, **more}
        (model / "config.json").write_text(json.dumps(described))
        (model / "tokenizer.json").write_text("{}")
        (model / "tokenizer_config.json").write_text('{"pad_token": "<pad>"}')
    return Services("s", folder, settings, files, store, jobs, ledger, evals, hub, lambda _: None)


@pytest.fixture
def spec(services: Services) -> Callable[..., Any]:
    """What a job would be told; nothing is started."""

    def make(method: str, dataset: str, config: dict[str, Any] | None = None, model: str = "base") -> Any:
        ctx = ToolContext(services, "c", "k")
        return training_spec(ctx, Training(method, model, dataset, config or {}), 1)

    return make


GRPO = {"rewards": ["exact"], "max_completion_length": 8}


@pytest.mark.parametrize("method", ["dpo", "reward", "grpo"])
def test_the_fields_read_from_source_are_those_of_trl(method):
    import trl

    name = {"dpo": "DPOConfig", "reward": "RewardConfig", "grpo": "GRPOConfig"}[method]
    theirs = set(getattr(trl, name).__dataclass_fields__)
    assert theirs - set(trainer_fields(method)) <= {"_n_gpu"}
    assert not set(preflight.RECIPE_FIELDS[method]) & theirs, "a field of the recipe hides none of TRL's"


def test_what_is_read_of_other_libraries():
    assert {"r", "lora_alpha", "target_modules", "lora_dropout"} <= set(lora_fields())
    assert {"llama", "qwen3", "deepseek_v3"} <= set(scored_types())
    assert "num_hash_layers" in model_fields("deepseek_v4"), "a name that is taken beside the fields"
    assert "num_hidden_layers" in model_fields("gemma3_text"), "a type beside its family's"


@pytest.mark.parametrize(
    ("method", "dataset"),
    [("dpo", "pairs"), ("dpo", "implicit"), ("reward", "pairs"), ("reward", "implicit"), ("grpo", "prompts")],
)
def test_what_fits_is_told_to_the_job(spec, services, method, dataset):
    config = {"learning_rate": 1e-3, "batch_size": 8, "peft": {"r": 8}, "validation": 0.1, "processes": 2}
    made = spec(method, dataset, config | (GRPO if method == "grpo" else {}))
    assert made.method == method and made.config["peft"] == {"r": 8} and made.config["processes"] == 2
    assert made.config["trainer"]["per_device_train_batch_size"] == 8
    assert made.config["model"] == str(services.files.workspace / "base")
    assert services.files.workspace / "base" in made.inputs
    if method == "grpo":
        assert made.config["rewards"][0]["column"] == "answer"


@pytest.mark.parametrize(
    ("method", "dataset", "words"),
    [
        ("dpo", "texts", "dpo needs chosen and rejected"),
        ("dpo", "examples", 'target="preference"'),
        ("dpo", "prompts", "the dataset has prompt, answer"),
        ("dpo", "same", "the same in every row"),
        ("dpo", "numbers", "- chosen holds Int64, neither text nor messages\n- rejected holds Int64"),
        ("dpo", "mixed", "make them alike"),
        ("dpo", "holes", "row 2 has no rejected"),
        ("dpo", "chat-pairs", "no chat template"),
        ("reward", "texts", "reward needs chosen and rejected"),
        ("reward", "chat", "the dataset has messages"),
        ("reward", "same", "the same in every row"),
        ("reward", "margins", "margin holds String, no number"),
        ("reward", "holes", "row 2 has no rejected"),
        ("grpo", "texts", "grpo needs a prompt"),
        ("grpo", "labels", 'target="prompt_only"'),
        ("grpo", "number-prompts", "prompt holds Int64"),
        ("sft", "pairs", "sft needs text"),
        ("sft", "no-messages", "messages holds no list of {role, content}"),
        ("pretrain", "pairs", "needs a column 'text'"),
    ],
)
def test_a_dataset_of_the_wrong_shape_is_named(spec, services, method, dataset, words):
    model = "scratch:0.1M" if method == "pretrain" else "base"
    with pytest.raises(ToolError) as caught:
        spec(method, dataset, GRPO if method == "grpo" else {}, model)
    assert words in str(caught.value)
    assert services.jobs.list() == []


def test_what_a_dataset_would_be_good_for_is_said(services):
    rows = services.datasets.open("no-messages").rows.rename({"messages": "prompt"})
    pairs = services.datasets.open("same").rows
    with pytest.raises(ToolError) as caught:
        fitting.check_rows("dpo", pairs)
    assert "suits reward" in caught.value.hint
    assert fitting.check_rows("grpo", rows) is False


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"rewards": None}, "rewards are missing"),
        ({"rewards": ["exat"]}, "did you mean 'exact'"),
        ({"rewards": [{"type": "exact", "column": "anser"}]}, "did you mean 'answer'"),
        ({"rewards": [{"type": "model", "model": "base"}]}, "no reward model"),
        ({"rewards": [{"type": "model", "model": "nobody"}]}, "no model 'nobody'"),
        ({"num_generations": 1}, "two completions at the least"),
        ({"num_generations": 3}, "not a multiple of num_generations = 3"),
        ({"batch_size": 6}, "6 completions at a time are not a multiple of num_generations = 8"),
        ({"batch_size": 512}, "512 completions need 64 prompts at a time; there are 40"),
        ({"batch_size": 8, "gradient_accumulation_steps": 40, "validation": 0.1}, "there are 36"),
        ({"steps_per_generation": 2, "generation_batch_size": 16}, "give one"),
        ({"generation_batch_size": 12}, "not a multiple of a batch of 8"),
        ({"per_device_eval_batch_size": 4}, "does not hold whole groups of 8"),
        ({"auto_find_batch_size": True}, "would break groups up"),
        ({"max_completion_length": 64}, "no room for a prompt in the model's 64 tokens"),
        ({"reward_weights": [1.0]}, "each of rewards has its own"),
        ({"use_vllm": True}, "use_vllm needs the package vllm"),
    ],
)
def test_a_grpo_that_cannot_be_is_refused(spec, config, words):
    with pytest.raises(ToolError) as caught:
        spec("grpo", "prompts", {k: v for k, v in (GRPO | config).items() if v is not None})
    assert words in str(caught.value)


def test_groups_are_counted_over_processes_and_steps(spec):
    spec("grpo", "prompts", {**GRPO, "batch_size": 4, "processes": 2})
    spec("grpo", "prompts", {**GRPO, "batch_size": 4, "gradient_accumulation_steps": 2})
    spec("grpo", "prompts", {**GRPO, "batch_size": 4, "num_generations": 4})


def test_a_reward_model_is_found_and_shown_to_the_job(spec, services):
    made = spec("grpo", "prompts", {**GRPO, "rewards": [{"type": "model", "model": "judge"}, "exact"]})
    judge = services.files.workspace / "judge"
    assert judge in made.inputs and made.config["rewards"][0]["model"] == str(judge)
    assert made.config["asked"]["rewards"][0]["model"] == "judge", "the ledger keeps what was asked"


@pytest.mark.parametrize(
    ("method", "dataset", "model", "words"),
    [
        ("dpo", "pairs", "judge", "it is a reward model"),
        ("grpo", "prompts", "judge", "it is a reward model"),
        ("sft", "texts", "judge", "it is a reward model"),
        ("reward", "pairs", "odd", "no reward model of the type 'rwkv'"),
        ("dpo", "pairs", "scratch:1M", "dpo starts from a model that is there"),
    ],
)
def test_a_model_that_a_method_cannot_start_from(spec, method, dataset, model, words):
    with pytest.raises(ToolError) as caught:
        spec(method, dataset, GRPO if method == "grpo" else {}, model)
    assert words in str(caught.value)


def test_a_reward_model_can_be_trained_on(spec):
    assert spec("reward", "pairs", {}, "judge").method == "reward"


def test_forty_wrong_fields_are_all_named_at_once_before_anything_starts(services):
    unknown = {f"learning_rate_{n}": 1 for n in range(20)}
    gone = dict.fromkeys(("evaluation_strategy", "no_cuda", "warmup_ratio", "max_prompt_length"), 1)
    managed = dict.fromkeys(("output_dir", "report_to", "seed", "push_to_hub", "hub_token"), 1)
    types = {"max_steps": "many", "beta": "high", "num_generations": 2.5, "packing": 1, "batch_size": 0}
    nested = {"peft": {"rank": 8, "r": "x"}, "validation": 2, "processes": 0, "qlora": "yes"}
    extra = {"lr": 1e-3, "learning_rate": 1e-3}
    config = {**unknown, **gone, **managed, **types, **nested, **extra}
    wrong = [name for name in config if name != "learning_rate"]
    assert len(wrong) == 39
    with pytest.raises(ToolError) as caught:
        training.launch_training(ToolContext(services, "c", "k"), "grpo", "base", "prompts", config)
    told = caught.value.message
    for name in wrong:
        assert preflight.ALIASES.get(name, name) in told, name
    assert "peft has no field 'rank'" in told and "peft.r = 'x' must be int" in told
    assert services.jobs.list() == []


@pytest.mark.parametrize("method", preflight.METHODS)
def test_four_bits_are_refused_in_one_line_where_they_cannot_be(spec, method, monkeypatch):
    monkeypatch.setattr("ml_intern.jobs.hardware.gpu_name", lambda: "")
    with pytest.raises(ToolError) as caught:
        spec(method, "pairs", {"qlora": True})
    lines = caught.value.message.splitlines()
    wanted = "unknown field 'qlora'" if method == "pretrain" else "qlora needs a GPU"
    assert len([line for line in lines if wanted in line]) == 1


def test_the_place_and_its_gpus(monkeypatch):
    def check(recipe: dict[str, Any], gpus: int, **trainer: Any) -> str:
        try:
            fitting.check_machine(preflight.Plan(trainer, recipe), gpus)
        except ToolError as error:
            return error.message
        return ""

    assert check({"processes": 4}, 0) == "" == check({"processes": 2}, 2)
    assert "there is 1 GPU" in check({"processes": 2}, 1)
    assert check({"processes": 2}, 1, use_cpu=True) == ""
    assert "needs a GPU" in check({"qlora": True, "peft": {"r": 8}}, 1, use_cpu=True)
    assert 'peft={"r": 16}' in check({"qlora": True}, 1)
    # A place elsewhere is judged by what is there, not by this machine.
    monkeypatch.setattr("ml_intern.jobs.hardware.gpu_name", lambda: "H100, 80 GB; H100, 80 GB")
    assert gpus_at(Place()) == 2 and gpus_at(Place(compute="slurm", gpus=4)) == 4
    assert gpus_at(Place(compute="hf-jobs", flavor="cpu-basic")) == 0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"peft": {}}, '{"r": 16}'),
        ({"peft": {"r": 0}}, '{"r": 16}'),
        ({"peft": {"target_module": "x"}}, "did you mean 'target_modules'"),
        ({"peft": {"task_type": "X"}}, "no field 'task_type'"),
        ({"model_init_kwargs": {"trust_remote_code": True}}, "not run"),
        ({"validation": 0}, "share of the rows"),
    ],
)
@pytest.mark.parametrize("method", ["sft", "dpo", "reward", "grpo"])
def test_fields_that_the_recipes_share(method, config, words):
    with pytest.raises(ToolError) as caught:
        preflight.check_config(method, config)
    assert words in str(caught.value)
