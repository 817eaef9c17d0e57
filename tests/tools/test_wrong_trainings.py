"""Forty wrong fields and a wrong dataset for each method: all of it in one error, before anything starts."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.events import Event, Notice
from ml_intern.jobs import preflight
from ml_intern.jobs.fields import choices_of
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.recipes._tokenizer import make_tokenizer, read_order
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tools import auditing, reshaping, training
from ml_intern.workspace.files import Files

METHODS = ("pretrain", "sft", "dpo", "reward", "grpo")
ALL = ("pretrain", *(OTHERS := ("sft", "dpo", "reward", "grpo")))
NAN, INF = float("nan"), float("inf")
# Each field with words of its line; those that only some methods take are below.
WRONG: dict[str, tuple[Any, str]] = {
    "learning_rat": (1e-3, "did you mean 'learning_rate'"),
    "per_device_train_batchsize": (8, "did you mean 'per_device_train_batch_size'"),
    "quantum_flux": (1, "leave it out"),
    "learning_rate": (NAN, "a finite number"),
    "weight_decay": (-0.1, "zero or above"),
    "adam_beta1": (1.5, "below 1"),
    "adam_beta2": ("0.999", "write 0.999 without quotes"),
    "adam_epsilon": (0, "above zero"),
    "max_grad_norm": (INF, "a finite number"),
    "num_train_epochs": (0, "above zero"),
    "max_steps": (-5, "or -1 for whole epochs"),
    "warmup_steps": (-1, "zero or above"),
    "logging_steps": (2.5, "a whole number"),
    "save_steps": (0, "a whole number"),
    "save_total_limit": ("two", "must be int | None"),
    "batch_size": (0, "per_device_train_batch_size = 0 must be above zero"),
    "gradient_accumulation_steps": (1.5, "must be int"),
    "optim": ("adam", "did you mean 'adamw_torch'"),
    "lr_scheduler_type": ("cosin", "did you mean 'cosine'"),
    "save_strategy": ("step", "did you mean 'steps'"),
    "logging_strategy": ("never", "no, steps, epoch"),
    "train_sampling_strategy": ("grouped", "did you mean 'group_by_length'"),
    "bf16": ("true", "write true without quotes"),
    "tf32": (1, "must be bool | None"),
    "gradient_checkpointing": ("yes", "must be bool"),
    "dataloader_num_workers": (-2, "zero or above"),
    "neftune_noise_alpha": (0, "above zero"),
    "lr_scheduler_kwargs": (3, "must be dict | str | None"),
    "evaluation_strategy": ("steps", "now: eval_strategy"),
    "no_cuda": (True, "now: use_cpu"),
    "load_in_4bit": (True, "now: qlora=True"),
    "attn_implementation": ("eager", "now: model_init_kwargs"),
    "output_dir": ("/elsewhere", "set by the job"),
    "report_to": ("wandb", "metrics.jsonl"),
    "load_best_model_at_end": (True, "measure with evaluate()"),
    "push_to_hub": (True, "publish_model()"),
    "hub_token": ("x", "publish_model()"),
    "trust_remote_code": (True, "is not run"),
    "validation": (1.5, "at most 0.5"),
    "processes": (0, "above zero"),
}
TUNED = {
    "lora_r": (8, 'peft={"r": 16, "r": ...}'),
    "target_modules": (["q_proj"], '"target_modules": ...'),
    "peft": ({"rank": 8, "lora_dropout": 2, "bias": "some"}, "peft has no field 'rank'"),
    "max_length": (0, "above zero"),
    "model_init_kwargs": ({"dtype": "bf16"}, "model_init_kwargs.dtype"),
}
OWN: dict[str, dict[str, tuple[Any, str]]] = {
    "pretrain": {"peft": ({"r": 8}, "it belongs to sft"), "max_length": ("long", "must be int")},
    "sft": {**TUNED, "packing_strategy": ("bdf", "bfd, bfd_split, wrapped"), "beta": (0.1, "it belongs to dpo")},
    "dpo": {**TUNED, "packing": (True, "it belongs to pretrain, sft"), "loss_type": ("sigmod", "'sigmoid'"),
            "beta": (-1, "zero or above")},
    "reward": {**TUNED, "packing": (True, "it belongs to pretrain, sft"),
               "center_rewards_coefficient": (-1, "zero or above")},
    "grpo": {**{k: v for k, v in TUNED.items() if k != "max_length"}, "max_length": (64, "it belongs to"),
             "temperature": (0, "above zero"), "top_p": (1.5, "at most 1"), "loss_type": ("grop", "'grpo'"),
             "num_generations": (0, "above zero"), "reward_funcs": (["f"], "now: rewards=")},
}  # fmt: skip


def forty(method: str) -> dict[str, tuple[Any, str]]:
    return WRONG | OWN[method]


CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
LONG = "word " * 80
ROWS: dict[str, list[dict[str, Any]]] = {
    "texts": [{"text": "a b"}] * 4,
    "examples": [{"prompt": f"{n}", "completion": "b"} for n in range(9)],
    "chat": [{"messages": CHAT}] * 3,
    "pairs": [{"prompt": f"{n}", "chosen": "b", "rejected": "c"} for n in range(9)],
    "prompts": [{"prompt": f"{n}", "answer": str(n)} for n in range(9)],
    "questions": [{"question": "q", "answer": "a"}] * 3,
    "votes": [{"question": "q", "better": "a", "worse": "b"}] * 3,
    "numbers": [{"text": 1, "prompt": 2, "completion": 3, "chosen": 4, "rejected": 5}] * 3,
    "same": [{"prompt": "a", "chosen": "b", "rejected": "b"}] * 3,
    "blank": [{"text": " ", "prompt": "a", "completion": "", "chosen": "", "rejected": ""}] * 3,
    "long": [{"prompt": LONG, "completion": "b", "chosen": "b", "rejected": "c", "answer": "1"}] * 9,
    "half-long": [{"prompt": LONG if n % 2 else "a", "completion": "b"} for n in range(8)],
    "long-texts": [{"text": LONG}] * 3,
    "holes": [{"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": None}] * 9,
    "words": [{"prompt": "a", "answer": "yes"}] * 9,
    "sharegpt": [{"messages": [{"role": "human", "content": "a"}, {"role": "gpt", "content": "b"}]}] * 3,
    "silent": [{"messages": CHAT}, {"messages": []}],
    "ratings": [{"stars": 5, "label": True}] * 3,
}


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(read_order("byte"), ["a"])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The datasets, made once; each test has a copy."""
    base = tmp_path_factory.mktemp("saved")
    store = DatasetStore(base / "datasets", Files(base, base))
    for name, rows in ROWS.items():
        store.save(name, rows, Lineage(source="t", operation="t"))
    return store.folder


@pytest.fixture
def services(tmp_path: Path, events: list[Event], tokenizer: Any, saved: Path) -> Services:
    settings = Settings(state=tmp_path / "state")
    folder = settings.state / "session"
    (folder / "workspace").mkdir(parents=True)
    files = Files(folder / "workspace", tmp_path)
    jobs = Jobs(folder / "jobs", None, settings, events.append)
    ledger = Ledger(folder / "ledger.sqlite", events.append)
    evals = Evals(folder / "evals", jobs, ledger, settings)
    store = DatasetStore(Path(shutil.copytree(saved, folder / "datasets")), files)
    model = files.workspace / "base"
    tokenizer.save_pretrained(model)
    told = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128}
    (model / "config.json").write_text(json.dumps(told))
    header = json.dumps({f"model.layers.0.self_attn.{n}_proj.weight": {} for n in "qkvo"}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    hub: Any = None
    return Services("s", folder, settings, files, store, jobs, ledger, evals, hub, events.append)


@pytest.fixture
def refused(services: Services, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ToolError]:
    """What launch_training says; nothing has started, and no data was kept."""
    monkeypatch.setattr("ml_intern.jobs.hardware.gpu_name", lambda: "")

    def launch(method: str, dataset: str, config: dict[str, Any], model: Any = None) -> ToolError:
        model = model or ("scratch:0.1M" if method == "pretrain" else "base")
        before = len(services.datasets.list())
        with pytest.raises(ToolError) as caught:
            training.launch_training(ToolContext(services, "c", "k"), method, model, dataset, config)
        assert services.jobs.list() == [] and not list((services.folder / "jobs").glob("*"))
        assert len(services.datasets.list()) == before
        return caught.value

    return launch


GOOD = {"pretrain": "texts", "sft": "examples", "dpo": "pairs", "reward": "pairs", "grpo": "prompts"}


@pytest.mark.parametrize("method", METHODS)
def test_forty_wrong_fields_each_have_a_line_of_their_own(refused, method):
    wrong = forty(method)
    assert len(wrong) >= 40
    told = refused(method, GOOD[method], {name: value for name, (value, _) in wrong.items()})
    head, *lines = told.message.strip().splitlines()
    # The adapter has three wrong fields; a grpo lacks its rewards, and room for its usual completions.
    more = 2 * ("lora_r" in wrong) + 2 * (method == "grpo")
    assert head.startswith("The ") and f"{len(wrong) + more} things are wrong" in head
    assert len(lines) == len(wrong) + more
    for name, (_, words) in wrong.items():
        mine = [line for line in lines if name.removeprefix("model_") in line and words in line]
        assert len(mine) >= 1, (name, words, told.message)


@pytest.mark.parametrize("method", METHODS)
def test_config_model_data_and_machine_are_told_together(refused, method):
    scratch = {"config": {"model_type": "lama"}}
    told = refused(
        method,
        "nothing-there",
        {"learning_rat": 1, "fp16": True, "bf16": True, "max_steps": "9"},
        scratch if method == "pretrain" else "nobody",
    ).message
    assert "learning_rat" in told and "write 9 without quotes" in told
    assert "bf16 and fp16 exclude each other" in told and "fp16 needs a GPU" in told
    assert "nothing-there" in told and ("lama" if method == "pretrain" else "nobody") in told


@pytest.mark.parametrize(
    ("method", "config", "words"),
    [
        *((m, {"load_best_model_at_end": True}, "load_best_model_at_end") for m in ALL),
        *((m, {"eval_steps": 5}, "eval_steps without validation") for m in ALL),
        *((m, {"lr_scheduler_type": "reduce_lr_on_plateau"}, "add validation=0.1") for m in ALL),
        *((m, {"save_strategy": "best"}, "needs an evaluation") for m in ALL),
        *((m, {"bf16": True, "fp16": True}, "exclude each other") for m in ALL),
        *((m, {"fp16": True}, "fp16 needs a GPU") for m in ALL),
        *((m, {"tf32": True}, "tf32 needs a GPU") for m in ALL),
        *((m, {"optim": "adamw_8bit"}, "needs the package bitsandbytes") for m in ALL),
        *((m, {"optim": "galore_adamw"}, "needs optim_target_modules") for m in ALL),
        *((m, {"lr_scheduler_type": "cosine_with_min_lr"}, "min_lr or min_lr_rate") for m in ALL),
        *((m, {"dataloader_prefetch_factor": 2}, "without dataloader_num_workers") for m in ALL),
        *((m, {"deepspeed": {"zero": 1}}, "needs the package deepspeed") for m in ALL),
        *((m, {"qlora": True, "peft": {"r": 8}}, "qlora needs a GPU") for m in OTHERS),
        *((m, {"qlora": True}, 'peft={"r": 16}') for m in OTHERS),
        *(
            (m, {"peft": {"target_modules": ["q_prj"]}}, "no layer 'q_prj' (did you mean 'q_proj'?)")
            for m in OTHERS
        ),
        *((m, {"peft": {"lora_alpha": 0}}, "above zero") for m in OTHERS),
        *(
            (m, {"max_length": 4096}, "the model's 128 positions: at most 128")
            for m in ("sft", "dpo", "reward")
        ),
        *((m, {"pad_token": "<pda>"}, "no token of the model") for m in ("sft", "dpo", "reward")),
        *((m, {"chat_template_path": "nowhere.jinja"}, "nowhere.jinja") for m in ("sft", "reward")),
        ("sft", {"packing": True, "max_length": None}, "packing needs a max_length"),
        ("sft", {"packing_strategy": "wrapped"}, "without packing"),
        ("dpo", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, "give one for each"),
        ("dpo", {"sync_ref_model": True, "precompute_ref_log_probs": True}, "exclude each other"),
        ("grpo", {"batch_size": 6}, "batch_size=8 or num_generations=6"),
        ("grpo", {"rewards": ["exat"]}, "did you mean 'exact'"),
        (
            "grpo",
            {"rewards": [{"type": "python", "code": "def f(x): pass"}]},
            "neither completions nor completion",
        ),
        ("grpo", {"max_completion_length": 128}, "at most 127"),
    ],
)
def test_fields_that_contradict_each_other_or_the_machine(refused, method, config, words):
    more = {"rewards": ["exact"], "max_completion_length": 8} if method == "grpo" else {}
    assert words in str(refused(method, GOOD[method], {**more, **config}))


@pytest.mark.parametrize("method", METHODS)
def test_a_precision_that_the_gpu_has_not(refused, method, monkeypatch):
    monkeypatch.setattr("ml_intern.jobs.hardware.gpu_name", lambda: "Tesla T4, 15360 MiB")
    monkeypatch.setattr("ml_intern.jobs.asking.gpu_capability", lambda: 7.5)
    told = str(refused(method, GOOD[method], {"bf16": True, "nonsense": 1}))
    assert "bf16 needs a GPU of compute capability 8.0, and this one has 7.5" in told and "use fp16" in told


def test_words_are_those_of_the_installed_libraries():
    from transformers.trainer_utils import IntervalStrategy, SchedulerType
    from transformers.training_args import OptimizerNames

    for method in METHODS:
        found = choices_of(method)
        assert set(found["optim"]) == {e.value for e in OptimizerNames}
        assert set(found["lr_scheduler_type"]) == {e.value for e in SchedulerType}
        assert set(found["eval_strategy"]) == {e.value for e in IntervalStrategy}
    assert "sigmoid" in choices_of("dpo")["loss_type"] and "dapo" in choices_of("grpo")["loss_type"]


@pytest.mark.parametrize("method", METHODS)
def test_the_libraries_own_defaults_are_never_refused(method):
    """Each by itself, and all together."""
    from dataclasses import MISSING, fields
    from importlib import import_module

    from ml_intern.jobs.fields import trainer_class
    from ml_intern.jobs.recipes._config import SUCCESSORS
    from ml_intern.jobs.recipes._conflicts import conflicts

    owner, name = trainer_class(method).split()
    kind = getattr(import_module("trl" if "TRL" in owner else "transformers"), name)
    own = {f.name: f.default for f in fields(kind) if f.init and f.default is not MISSING}
    allowed = {n: v for n, v in own.items() if n not in {*preflight.MANAGED, *SUCCESSORS} and n[:4] != "hub_"}
    assert len(allowed) > 80
    plan, wrong = preflight.read_config(method, {n: v for n, v in allowed.items() if v is not None})
    assert wrong == []
    strategies = {"eval_strategy", "eval_delay", "packing_strategy"}  # said aloud, they would mean something
    assert conflicts(method, {n: v for n, v in plan.trainer.items() if n not in strategies}, {}) == []


@pytest.mark.parametrize(
    ("method", "dataset", "words", "mends"),
    [
        ("pretrain", "examples", "pretrain needs a column 'text'", True),
        ("pretrain", "pairs", "the dataset has prompt, chosen, rejected", True),
        ("pretrain", "numbers", "text holds Int64", False),
        ("pretrain", "blank", "text is empty in every row", False),
        ("sft", "questions", "sft needs text, prompt and completion, or messages", True),
        ("sft", "pairs", "the dataset has prompt, chosen, rejected", True),
        ("sft", "ratings", 'target="prompt_completion"', False),
        ("sft", "numbers", "prompt holds Int64, neither text nor messages", False),
        ("sft", "blank", "completion is empty in every row", False),
        ("sft", "long", "all 9 rows have a prompt that fills it, nothing is left to train on", False),
        ("sft", "long-texts", "the model 128 positions: max_length=128", False),
        ("sft", "chat", "no chat template", False),
        ("sft", "sharegpt", "has the roles gpt, human", True),
        ("sft", "silent", "row 2 has no message", False),
        ("dpo", "votes", "dpo needs chosen and rejected", True),
        ("dpo", "examples", 'target="preference"', False),
        ("dpo", "numbers", "chosen holds Int64", False),
        ("dpo", "same", "chosen and rejected are the same in every row", False),
        ("dpo", "blank", "chosen is empty in every row", False),
        ("dpo", "long", "nothing is left to train on", False),
        ("reward", "votes", "reward needs chosen and rejected", True),
        ("reward", "prompts", "the dataset has prompt, answer", False),
        ("reward", "same", "the same in every row", False),
        ("reward", "long", "all 9 rows have an answer that is longer", False),
        ("grpo", "texts", "grpo needs a prompt", True),
        ("grpo", "questions", "grpo needs a prompt", True),
        ("grpo", "numbers", "prompt holds Int64", False),
        ("grpo", "holes", "9 of 18 rows have no answer, row 2 is the first", False),
        ("grpo", "long", "a prompt of 401 tokens", False),
        ("grpo", "words", "no row of answer holds a number", False),
    ],
)
def test_a_dataset_of_the_wrong_shape(refused, services, method, dataset, words, mends):
    config: dict[str, Any] = {"max_length": 64} if dataset == "long" and method != "grpo" else {}
    if method == "grpo":
        kind = "numeric" if dataset == "words" else "exact"
        config |= {"rewards": [kind], "max_completion_length": 8}
    told = str(refused(method, dataset, config))
    assert words in told
    if mends:  # The call that it names brings the data into a shape that passes.
        target = told.split('target="')[1].split('"')[0]
        mapping = json.loads(told.split("mapping=")[1].split("})")[0] + "}") if "mapping=" in told else None
        ctx = ToolContext(services, "c", "m")
        made = reshaping.reformat_dataset(ctx, dataset, target, mapping)
        still = {
            "nonsense": 1,
            **({"rewards": ["parses"], "max_completion_length": 8} if method == "grpo" else {}),
        }
        assert words not in str(refused(method, made.id, still))


@pytest.mark.parametrize("method", METHODS)
def test_a_dataset_without_rows_or_without_the_columns_of_anything(refused, services, method):
    (services.files.workspace / "empty.jsonl").write_text("")
    assert "empty.jsonl" in str(refused(method, "empty.jsonl", {}))
    assert "the dataset has stars, label" in str(refused(method, "ratings", {}))


def test_rows_that_will_be_left_out_are_told(services, events):
    from ml_intern.jobs.asking import Training, training_spec

    ctx = ToolContext(services, "c", "k")
    training_spec(ctx, Training("sft", "base", "half-long", {"max_length": 64}), 1)
    told = [event.text for event in events if isinstance(event, Notice)]
    assert len(told) == 1 and "4 of 8 rows have a prompt that fills it, they are left out" in told[0]


def test_rows_beyond_turned_positions_are_told_and_beyond_looked_up_ones_refused(refused, services, events):
    from ml_intern.jobs.asking import Training, training_spec

    assert "the model 128 positions" in str(refused("sft", "long-texts", {}))
    config = services.files.workspace / "base" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rope_theta": 10000.0}))
    training_spec(ToolContext(services, "c", "k"), Training("sft", "base", "long-texts", {}), 1)
    [told] = [event.text for event in events if isinstance(event, Notice)]
    assert "rows have up to 401 tokens and the model 128 positions: max_length=128 cuts them" in told


@pytest.mark.parametrize(
    ("method", "config", "order", "told"),
    [
        ("sft", {}, {"type": "bpe", "vocab_size": 300}, True),
        ("sft", {"completion_only_loss": False}, {"type": "bpe", "vocab_size": 300}, False),
        ("dpo", {}, {"type": "bpe", "vocab_size": 300}, True),
        ("reward", {}, {"type": "bpe", "vocab_size": 300}, False),
        ("sft", {}, "byte", False),
    ],
)
def test_prompts_that_lose_their_end_to_the_completion_are_told(
    services, events, method, config, order, told
):
    from ml_intern.jobs.asking import Training, training_spec

    answer = {"completion": "42"} if method == "sft" else {"chosen": "42", "rejected": "43"}
    rows = [{"prompt": f"What is {n}? Answer: ", **answer} for n in range(9)]
    services.datasets.save("spaced", rows, Lineage(source="t", operation="t"))
    texts = ["What is 1? Answer: 42", "What is 2? Answer: 43"]
    make_tokenizer(read_order(order), texts).save_pretrained(services.files.workspace / "base")
    spec = training_spec(ToolContext(services, "c", "k"), Training(method, "base", "spaced", config), 1)
    words = "9 of 9 rows (rows 0, 1, 2 …) have a prompt whose end, ' '"
    assert any(words in event.text for event in events if isinstance(event, Notice)) == told
    assert any(words in note for note in spec.notes) == told


@pytest.mark.parametrize(
    ("method", "config", "bytes_each"),
    [
        ("sft", {}, 16),
        ("reward", {}, 16),
        ("dpo", {}, 20),
        ("grpo", {}, 16),
        ("grpo", {"beta": 0.1}, 20),
        *(
            (m, {"peft": {"r": 8}, "beta": 0.1} if m in ("dpo", "grpo") else {"peft": {"r": 8}}, 4)
            for m in OTHERS
        ),
    ],
)
def test_a_model_that_is_too_large_to_tune_is_refused_with_the_figures(
    refused, services, method, config, bytes_each
):
    """State alone: weights, gradients, Adam; a reference; of an adapter the frozen weights."""
    billions = round(1.2 * services.settings.job_memory_mb / 1024 * 2**30 / bytes_each / 1e9, 2)
    header = {"w.weight": {"dtype": "F32", "shape": [1000, int(billions * 1e6)], "data_offsets": [0, 0]}}
    text = json.dumps(header).encode()
    (services.files.workspace / "base" / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    more = {"rewards": ["exact"], "max_completion_length": 8} if method == "grpo" else {}
    needed = int(billions * 1e6) * 1000 * bytes_each / 2**30
    assert f"need {needed:.1f} GB to train; a job has" in str(
        refused(method, GOOD[method], {**more, **config})
    )


def test_four_bits_take_a_quarter_of_the_memory():
    from ml_intern.jobs.memory import tuning_mb

    recipe = {"peft": {"r": 8}, "qlora": True}
    assert 30 < tuning_mb("sft", 70e9, {}, recipe, "gpu") / 1024 < 45


def test_a_place_elsewhere_is_judged_by_what_is_there(services):
    from ml_intern.jobs.asking import Training, training_spec
    from ml_intern.jobs.model import Place

    config = {"fp16": True, "optim": "adamw_8bit"}
    asked = Training("sft", "base", "examples", config, place=Place(compute="slurm", gpus=1))
    assert training_spec(ToolContext(services, "c", "k"), asked, 1).config["trainer"]["fp16"] is True


def test_nothing_is_downloaded_for_a_config_that_is_wrong(refused):
    told = str(refused("sft", "someone/data", {"learning_rat": 1}, "someone/model"))
    assert "dataset 'someone/data' was not downloaded" in told
    assert "model 'someone/model' was not downloaded" in told


@pytest.mark.parametrize(
    ("order", "told"), [({"type": "bpe", "vocab_size": 300}, True), ("byte", False), (None, False)]
)
def test_an_audit_tells_of_such_prompts_where_it_knows_the_tokenizer(services, order, told):
    rows = [{"prompt": f"What is {n}? Answer: ", "completion": str(2 * n)} for n in range(9)]
    services.datasets.save("spaced", rows, Lineage(source="t", operation="t"))
    if order:
        make_tokenizer(
            read_order(order), [f"What is {n}? Answer: {2 * n}" for n in range(50)]
        ).save_pretrained(services.files.workspace / "base")
    ctx = ToolContext(services, "c", "k")
    report = auditing.audit_dataset(ctx, "spaced", tokenizer="base" if order else None)
    found = [line for line in report.findings if "9 of 9 rows" in line and "move the white space" in line]
    assert bool(found) == told and (report.tokens is not None) == bool(order)
