from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml_intern.brains.base import finish_reason
from ml_intern.brains.factory import build_brain
from ml_intern.errors import NoBrain
from ml_intern.settings import Settings

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def make_model(folder: Path, template: str | None) -> Path:
    """A random Llama of two layers with a byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<eos>": 0, **{letter: index + 1 for index, letter in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", chat_template=template)
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_model_in_this_process_answers(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny", TEMPLATE)
    brain = build_brain(Settings(model=f"transformers:{folder}", max_output_tokens=64), lambda event: None)
    brain.prepare("hello")
    assert brain.context_tokens == 512
    assert brain.price(10, 10) == 0
    reply = brain.generate([{"role": "user", "content": "hello"}], stop_sequences=["\nObservation of step"])
    assert isinstance(reply.content, str)
    assert reply.token_usage.input_tokens == len("user: hello\n")
    assert 0 < reply.token_usage.output_tokens <= 64
    assert finish_reason(reply) in ("stop", "length")


@pytest.mark.slow
def test_a_model_that_cannot_hold_a_conversation_is_told(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "base", None)
    with pytest.raises(NoBrain, match="no chat template"):
        build_brain(Settings(model=f"transformers:{folder}"), lambda event: None).prepare("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoBrain, match="cannot be loaded"):
        build_brain(Settings(model=f"transformers:{tmp_path / 'empty'}"), lambda event: None).prepare("hello")


def test_a_hub_that_is_not_there_is_told_in_seconds() -> None:
    code = (
        "from ml_intern.brains.factory import build_brain; from ml_intern.settings import Settings\n"
        "build_brain(Settings(model='transformers:no-such/model'), print).prepare('x')"
    )
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "cannot be reached" in done.stderr.splitlines()[-1]
    assert time.monotonic() - began < 100
