from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml_intern.errors import ToolError
from ml_intern.evals import results
from ml_intern.evals.model import Asking
from ml_intern.evals.store import Evals
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings

pytestmark = pytest.mark.slow
BOS, EOS = "<|bos|>", "<|eos|>"
LINES = [f"value_{i} = items[{i}] + {i % 7}" for i in range(60)]


def tiny_model(folder: Path, layers: int = 1, normalizer: Any = None, positions: int = 64) -> Path:
    """A model of a few thousand parameters with the weights it was born with, seeded."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        LINES, trainers.BpeTrainer(vocab_size=300, special_tokens=[BOS, EOS], initial_alphabet=alphabet)
    )
    if normalizer:
        bpe.normalizer = normalizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=EOS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path / "evals" / "jobs", None, Settings(), lambda event: None)


def ask(
    jobs: Jobs, model: Path, tasks: list[dict[str, Any]], **more: Any
) -> tuple[Any, dict[str, list[Any]]]:
    spec = JobSpec(
        name="ask", method="generate", config={"model": str(model), "tasks": tasks, **more}, timeout_s=200
    )
    [status] = jobs.wait([jobs.submit(spec).id])
    files = {p.stem: p for p in Path(status.output).glob("*.jsonl")}
    return status, {n: [json.loads(line) for line in p.read_text().splitlines()] for n, p in files.items()}


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def reference_nats(model: Path, text: str) -> float:
    """The likelihood one token at a time, as the definition says it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, network = (
        AutoTokenizer.from_pretrained(model),
        AutoModelForCausalLM.from_pretrained(model).eval(),
    )
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    total = 0.0
    with torch.no_grad():
        for k in range(1, len(ids)):
            scores = network(torch.tensor([ids[:k]])).logits[0, -1].log_softmax(-1)
            total -= float(scores[ids[k]])
    return total


def reference_greedy(model: Path, prompt: str, tokens: int) -> str:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, network = (
        AutoTokenizer.from_pretrained(model),
        AutoModelForCausalLM.from_pretrained(model).eval(),
    )
    ids = tokenizer(prompt)["input_ids"]
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
    return str(tokenizer.decode(ids[-tokens:]))


@pytest.mark.thorough
def test_one_process_answers_everything(jobs: Jobs, model: Path, tmp_path: Path) -> None:
    texts = [*LINES[:20], "short", "naïve ☃ = 'é'", " leading space", "x" * 3]
    tasks = [
        {
            "name": "nats",
            "kind": "likelihood",
            "file": write(tmp_path / "t.jsonl", [{"text": t} for t in texts]),
        },
        {
            "name": "free",
            "kind": "generate",
            "file": write(tmp_path / "n.jsonl", [{"prompt": ""}]),
            "samples": 12,
            "temperature": 1.0,
            "max_new_tokens": 8,
            "seed": 5,
        },
        {
            "name": "greedy",
            "kind": "generate",
            "file": write(
                tmp_path / "p.jsonl", [{"prompt": "value_1"}, {"prompt": "v"}, {"prompt": "value_1"}]
            ),
            "max_new_tokens": 8,
        },
    ]
    again = [{**task, "name": f"{task['name']}2"} for task in tasks]
    status, found = ask(jobs, model, tasks + again)
    assert status.state == "succeeded", jobs.logs(status.id).text
    nats = found["nats"]
    for k in (0, 20, 21, 22):
        assert nats[k]["nats"] == pytest.approx(reference_nats(model, texts[k]), rel=1e-4)
    assert all(row["lossless"] for row in nats)
    assert [(r["row"], r["sample"]) for r in found["free"]] == [(0, k) for k in range(12)]
    assert len({r["text"] for r in found["free"]}) > 6
    assert all(r["tokens"] <= 8 for r in found["free"])
    # Padding, order and company change nothing; seeds repeat.
    assert [r["text"] for r in found["greedy"]] == [
        reference_greedy(model, p, 8) for p in ("value_1", "v", "value_1")
    ]
    assert [r["text"] for r in found["free"]] == [r["text"] for r in found["free2"]]
    assert found["greedy"] == found["greedy2"]
    assert status.step > 0


@pytest.mark.thorough
def test_a_text_longer_than_the_window_counts_every_token_once(jobs: Jobs, tmp_path: Path) -> None:
    narrow = tiny_model(tmp_path / "narrow", positions=16)
    texts = [" ".join(LINES[:6]), "".join(LINES[:2]), LINES[0]]
    file = write(tmp_path / "t.jsonl", [{"text": t} for t in texts])
    status, found = ask(jobs, narrow, [{"name": "nats", "kind": "likelihood", "file": file}], batch_size=3)
    assert status.state == "succeeded", jobs.logs(status.id).text
    # A model that knows nothing spends about log(vocabulary) a token, wherever the windows end.
    for row in found["nats"]:
        assert row["nats"] / row["tokens"] == pytest.approx(math.log(300), rel=0.1)


@pytest.mark.thorough
def test_a_narrow_window_shortens_the_answer_before_the_prompt_and_is_told(
    jobs: Jobs, tmp_path: Path
) -> None:
    narrow = tiny_model(tmp_path / "narrow", positions=64)
    prompts = [LINES[0], LINES[0] * 2, LINES[0] * 40]
    rows = [{"prompt": p} for p in prompts]
    task = {
        "name": "long",
        "kind": "generate",
        "max_new_tokens": 64,
        "file": write(tmp_path / "p.jsonl", rows),
    }
    status, found = ask(jobs, narrow, [task], batch_size=1)
    assert status.state == "succeeded", jobs.logs(status.id).text
    short, longer, endless = found["long"]
    assert short["dropped"] == longer["dropped"] == 0 and 0 < longer["limit"] < short["limit"] < 64
    assert endless["dropped"] > 0 and endless["limit"] == 16
    [told] = results.narrow(found["long"])
    assert told.startswith(
        "The model's window has 64 tokens: 3 of 3 answers could have no more than 16, and 1 "
    )


@pytest.mark.thorough
def test_a_tokenizer_that_forgets_is_told_apart(jobs: Jobs, tmp_path: Path) -> None:
    from tokenizers import normalizers

    deaf = tiny_model(tmp_path / "deaf", normalizer=normalizers.Lowercase())
    file = write(tmp_path / "t.jsonl", [{"text": "value"}, {"text": "Value"}])
    _, found = ask(jobs, deaf, [{"name": "nats", "kind": "likelihood", "file": file}])
    assert [row["lossless"] for row in found["nats"]] == [True, False]


def test_a_whole_evaluation_in_a_real_job(jobs: Jobs, model: Path, tmp_path: Path) -> None:
    settings, ledger = Settings(), Ledger(tmp_path / "ledger.sqlite")
    evals = Evals(tmp_path / "evals", jobs, ledger, settings)
    rows = [{"prompt": line, "answer": f"THE-LABEL-{i}", "split": "dev"} for i, line in enumerate(LINES)]
    evals.register("labels", rows, ["exact_match"], asking=Asking(max_new_tokens=4))
    e = ledger.start("it knows nothing", "untrained")
    scores = evals.evaluate(model, "labels", experiment=e.id)
    assert scores.value.value == 0
    assert 0 < scores.value.high < 0.1
    everything = [p for p in jobs.folder.rglob("*") if p.is_file()] + [
        *(tmp_path / "evals" / "inputs").rglob("*.jsonl")
    ]
    assert len(everything) > 5
    assert not any(b"THE-LABEL" in p.read_bytes() for p in everything)
    texts = [{"text": line, "group": str(i // 6)} for i, line in enumerate(LINES)]
    evals.register(
        "texts", texts, ["bits_per_byte", "python_parses"], asking={"samples": 20, "max_new_tokens": 6}
    )
    scores = evals.evaluate(model, "texts", experiment=e.id)
    assert 2 < scores.metrics["bits_per_byte"].value < 9
    assert scores.metrics["python_parses"].n == 20
    assert len(scores.samples) == 8
    assert set(ledger.get(e.id).dev) == {"exact_match", "bits_per_byte", "python_parses"}


@pytest.mark.thorough
def test_a_real_likelihood_comes_with_samples_and_broken_weights_are_told(
    jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    evals = Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), Settings())
    evals.register("texts", [{"text": line, "split": "dev"} for line in LINES], ["bits_per_byte"])
    assert len(set(evals.evaluate(model, "texts").samples)) > 4
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    nans = {name: torch.full_like(tensor, float("nan")) for name, tensor in weights.items()}
    save_file(nans, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ToolError, match="60 of 60 texts no finite likelihood"):
        evals.evaluate(broken, "texts")


@pytest.mark.thorough
def test_walls_and_private_files_do_not_stop_an_evaluation(model: Path, tmp_path: Path) -> None:
    from ml_intern.sandbox.local import LocalSandbox

    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    state = tmp_path / "state"
    folder = state / "evals"
    # As a training leaves it: weights that only their owner reads, in a folder that sandboxes do not see.
    made = shutil.copytree(model, state / "jobs" / "train-1" / "output" / "model")
    (made / "model.safetensors").chmod(0o600)
    settings, sandbox = Settings(state=state), LocalSandbox()
    try:
        jobs = Jobs(folder / "jobs", sandbox, settings, lambda event: None)
        evals = Evals(folder, jobs, Ledger(state / "ledger.sqlite"), settings)
        evals.register("texts", [{"text": line, "split": "dev"} for line in LINES], ["bits_per_byte"])
        assert 2 < evals.evaluate(made, "texts").value.value < 9
    finally:
        sandbox.stop()
    assert not list((folder / "inputs").glob("*/model"))
    assert (made / "model.safetensors").stat().st_mode & 0o777 == 0o600


def test_a_model_that_looks_ahead_is_refused(jobs: Jobs, model: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    folder = shutil.copytree(model, tmp_path / "bert")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertLMHeadModel(BertConfig(vocab_size=302, is_decoder=False, **sizes)).save_pretrained(folder)
    file = write(tmp_path / "t.jsonl", [{"text": line} for line in LINES])
    status, found = ask(jobs, folder, [{"name": "nats", "kind": "likelihood", "file": file}])
    assert (status.state, found) == ("failed", {})
    assert "looks at later tokens" in jobs.logs(status.id).text


@pytest.mark.thorough
def test_a_host_that_was_killed_finds_its_evaluation_again(jobs: Jobs, model: Path, tmp_path: Path) -> None:
    host = """
import sys
from pathlib import Path
from ml_intern.evals.store import Evals
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
root = Path(sys.argv[1])
jobs = Jobs(root / "evals" / "jobs", None, Settings(), lambda event: None)
evals = Evals(root / "evals", jobs, Ledger(root / "ledger.sqlite"), Settings())
evals.register("texts", [{"text": f"line {i} of many", "split": "dev"} for i in range(50)], ["bits_per_byte"])
evals.evaluate(Path(sys.argv[2]), "texts", on_progress=lambda status: print(status.state, flush=True))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", host, str(tmp_path), str(model)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    evals = Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), Settings())
    assert evals.evaluate(model, "texts").value.n == 50
    assert len(jobs.list()) == 1
    assert evals.get("texts").queries_used == 1


@pytest.mark.thorough
def test_a_conversation_goes_through_the_template(jobs: Jobs, model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "chatty")
    turns = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    template = "{{ bos_token }}" + turns + "{% if add_generation_prompt %}!{% endif %}"
    (folder / "chat_template.jinja").write_text(template)
    said = [{"messages": [{"role": "user", "content": "value_1"}]}]
    file = write(tmp_path / "p.jsonl", said)
    task = {"name": "chat", "kind": "generate", "file": file, "max_new_tokens": 6}
    status, found = ask(jobs, folder, [task])
    assert status.state == "succeeded", jobs.logs(status.id).text
    assert found["chat"][0]["text"] == reference_greedy(folder, f"{BOS}value_1!", 6)


def test_weights_as_pickle_or_with_code_are_refused(jobs: Jobs, model: Path, tmp_path: Path) -> None:
    evals = Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), Settings())
    evals.register("texts", [{"text": line, "split": "dev"} for line in LINES], ["bits_per_byte"])
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for file in model.iterdir():
        if file.suffix != ".safetensors":
            (pickled / file.name).write_bytes(file.read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ToolError, match="safetensors"):
        evals.evaluate(pickled, "texts")
    (pickled / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}}
    (pickled / "config.json").write_text(json.dumps(config))
    (pickled / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\nclass M: pass\n")
    with pytest.raises(ToolError, match="could not be evaluated"):
        evals.evaluate(pickled, "texts")
    assert not (tmp_path / "ran").exists()
