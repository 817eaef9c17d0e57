"""Models whose weights are written by hand, so that what they answer is known beforehand. Nothing is trained.

The writer answers a prompt that ends in X with one of X's ways, at chances that are given, and then with that
way's answer; it looks at nothing but the last token. The judge looks at all tokens alike: the reward is the
mean of what each is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
Ways = Mapping[str, Sequence[tuple[float, str, str]]]
"""By last character of the prompt: chance, way and answer, each of one character."""


def writer(folder: Path, ways: Ways, letters: str) -> Path:
    """A causal language model; temperature 1 gives the chances."""
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = characters(letters)
    index = tokenizer.get_vocab()
    model = LlamaForCausalLM(_config(index))
    size = len(index)
    table = torch.full((size, size), -30.0)
    for last, found in ways.items():
        for chance, way, answer in found:
            table[index[way], index[last]] = math.log(chance)
            table[index[answer], index[way]] = 0.0
            table[index[EOS], index[answer]] = 0.0
    with torch.no_grad():
        _only_embeddings(model.model, mixing=False)
        # A vector of one 1 has the length sqrt(size) after the norm.
        model.lm_head.weight.copy_(table / math.sqrt(size))
    return _saved(model, tokenizer, folder)


def judge(folder: Path, worth: Mapping[str, float], letters: str, **config: Any) -> Path:
    """A reward model: how much each character is worth."""
    import torch
    from transformers import LlamaForSequenceClassification

    tokenizer = characters(letters)
    index = tokenizer.get_vocab()
    model = LlamaForSequenceClassification(_config(index, num_labels=1, **config))
    with torch.no_grad():
        _only_embeddings(model.model, mixing=True)
        model.score.weight.zero_()
        for letter, value in worth.items():
            model.score.weight[0, index[letter]] = value
    return _saved(model, tokenizer, folder)


def characters(letters: str) -> Any:
    """A tokenizer of single characters that closes with EOS where it is told to."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {token: k for k, token in enumerate([BOS, EOS, PAD, *sorted(set(letters))])}
    if len(words) % 2:  # Rotary embeddings turn pairs.
        words["<odd>"] = len(words)
    made = Tokenizer(models.WordLevel(words, unk_token=BOS))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def _config(index: Mapping[str, int], **more: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(index),
        hidden_size=len(index),
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=len(index),
        max_position_embeddings=64,
        bos_token_id=index[BOS],
        eos_token_id=index[EOS],
        pad_token_id=index[PAD],
        **more,
    )


def _only_embeddings(body: Any, mixing: bool) -> None:
    """Each token is a direction of its own; attention takes the mean of all of them, or nothing."""
    import torch

    size = body.config.hidden_size
    body.embed_tokens.weight.copy_(torch.eye(size))
    [layer] = body.layers
    for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.mlp.down_proj):
        part.weight.zero_()
    layer.self_attn.v_proj.weight.copy_(torch.eye(size))
    layer.self_attn.o_proj.weight.copy_(torch.eye(size) * mixing)


def _saved(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
