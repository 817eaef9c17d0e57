"""The embedded Hub under the libraries people use, each in a fresh process that knows HF_ENDPOINT alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

CARD = """---
license: mit
tags: [a, b]
model-index:
- name: m
  results:
  - task: {type: text-generation}
    dataset: {name: d, type: d}
    metrics: [{type: accuracy, value: 0.5}]
---
# A card
"""


def test_cards_are_loaded_and_pushed(api: HfApi, in_child: Callable[..., str]) -> None:
    api.create_repo("card")
    api.upload_file(path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id="local/card")
    out = in_child(
        "from huggingface_hub import ModelCard, RepoCard, upload_file, metadata_update\n"
        "card = ModelCard.load('local/card')\n"
        "print(card.data.license, card.data.tags, card.data.eval_results[0].metric_value)\n"
        "card.data.tags.append('c')\n"
        "upload_file(path_or_fileobj=str(card).encode(), path_in_repo='README.md', repo_id='local/card')\n"
        "print(RepoCard.load('local/card', ).data.tags)\n"
    )
    assert out.splitlines() == ["mit ['a', 'b'] 0.5", "['a', 'b', 'c']"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "parquet", "split"])
def test_datasets_are_loaded(api: HfApi, in_child: Callable[..., str], tmp_path: Path, form: str) -> None:
    pl = pytest.importorskip("polars")
    rows = pl.DataFrame([{"text": f"row {i}", "label": i % 2} for i in range(50)])
    api.create_repo("rows", repo_type="dataset", private=True)
    folder = tmp_path / "data"
    folder.mkdir()
    if form == "parquet":
        rows.write_parquet(folder / "train-00000-of-00001.parquet")
    else:
        rows.write_ndjson(folder / "train.jsonl")
    if form == "split":
        rows.head(5).write_ndjson(folder / "test.jsonl")
    api.upload_folder(repo_id="local/rows", repo_type="dataset", folder_path=folder, path_in_repo="data")
    script = (
        "import json\nfrom datasets import load_dataset\nd = load_dataset('local/rows')\n"
        "print(json.dumps({k: [len(v), v[3]] for k, v in d.items()}))\n"
    )
    found = json.loads(in_child(script).splitlines()[-1])
    wanted = {"train": [50, {"text": "row 3", "label": 1}]}
    assert found == (wanted | {"test": [5, {"text": "row 3", "label": 1}]} if form == "split" else wanted)


@pytest.mark.slow
def test_a_dataset_is_pushed_and_streamed(in_child: Callable[..., str], api: HfApi) -> None:
    script = (
        "from datasets import Dataset, load_dataset\n"
        "Dataset.from_dict({'x': list(range(1000))}).push_to_hub('local/pushed', private=True)\n"
        "print(sum(r['x'] for r in load_dataset('local/pushed', split='train', streaming=True)))\n"
    )
    assert in_child(script).splitlines()[-1] == "499500"
    assert api.dataset_info("local/pushed").private


@pytest.mark.slow
def test_a_model_goes_up_and_comes_down(in_child: Callable[..., str]) -> None:
    script = (
        "import torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM\n"
        "from transformers import PreTrainedTokenizerFast\n"
        "from tokenizers import ByteLevelBPETokenizer\n"
        "made = ByteLevelBPETokenizer(); made.train_from_iterator(['def f(x): return x'], vocab_size=300)\n"
        "t = PreTrainedTokenizerFast(tokenizer_object=made._tokenizer)\n"
        "c = LlamaConfig(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2,\n"
        "                num_attention_heads=2)\n"
        "m = LlamaForCausalLM(c)\n"
        "m.push_to_hub('local/tiny', private=True); t.push_to_hub('local/tiny')\n"
        "n = AutoModelForCausalLM.from_pretrained('local/tiny')\n"
        "u = AutoTokenizer.from_pretrained('local/tiny')\n"
        "ids = u('def f', return_tensors='pt').input_ids\n"
        "print(torch.equal(m(ids).logits, n(ids).logits))\n"
    )
    assert in_child(script).splitlines()[-1] == "True"
    # Without a token as well: an open Hub on loopback trusts who reaches it.
    load = "from transformers import AutoConfig; print(AutoConfig.from_pretrained('local/tiny').model_type)"
    assert in_child(load, HF_TOKEN="").strip() == "llama"
