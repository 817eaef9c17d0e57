"""What is wrong with a model that is to be made from nothing: its size, its type, its fields.

It stands beside the recipes and needs nothing of ML Intern; what Transformers knows (`_sources.py`) is handed
in.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}
_SIZE = re.compile(r"(?:scratch:)?\s*(\d+(?:\.\d+)?)\s*([KMB])", re.I)
_AT_LEAST_ONE = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings", "num_experts", "num_local_experts"),
    *("n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "n_embd", "n_layer", "n_head"),
    *("n_positions", "d_model", "state_size"),
)
_ENCODERS = (
    "bert bert-generation big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta"
    " roberta-prelayernorm roc_bert roformer xlm-roberta xlm-roberta-xl xmod"
)
NOT_CAUSAL = {**dict.fromkeys(_ENCODERS.split(), "is_decoder"), "xlm": "causal"}
"""Types that have a causal language model and look at later tokens all the same, until a field is true. Found
by making one of each type (Transformers 5.23) and changing the end of a text; the recipe finds others."""


def size_of(model: str) -> float:
    """Parameters of ``scratch:0.3M``; 0 where it is not understood."""
    found = _SIZE.fullmatch(model.strip())
    return float(found[1]) * UNITS[found[2].upper()] if found else 0.0


def scratch_problems(
    model: str | Mapping[str, Any],
    causal: Mapping[str, str],
    types: Mapping[str, str],
    fields_of: Callable[[str], Mapping[str, str]],
) -> list[str]:
    """Everything that is wrong, each in a line.

    Args:
        model: A size, or a dict with a config.
        causal: The model types that have a causal language model.
        types: All model types.
        fields_of: The fields of a type's configuration; empty where they are not known.
    """
    if isinstance(model, str):
        if size_of(model) > 0:
            return []
        right = 'say a size as "scratch:0.3M", or give {"config": {"model_type": "llama", ...}}'
        return [f"pretrain starts from nothing; the model {model!r} is not understood: {right}"]
    extra = set(model) - {"config", "tokenizer"}
    if "config" not in model or extra:
        example = (
            '{"config": {"model_type": "llama", "hidden_size": 96, ...}, "tokenizer": {"vocab_size": 512}}'
        )
        keys = ", ".join(sorted(map(str, model)))
        return [f"a model from scratch has the keys config and tokenizer, not {keys}: {example}"]
    config = model["config"]
    if not isinstance(config, Mapping):
        right = 'with a size, write model="scratch:0.3M" and config={"tokenizer": "byte"}'
        return [f"the model's config must be a dict of Transformers' fields, not {config!r:.80}: {right}"]
    return list(_of_config(config, causal, types, fields_of))


def _of_config(
    config: Mapping[str, Any],
    causal: Mapping[str, str],
    types: Mapping[str, str],
    fields_of: Callable[[str], Mapping[str, str]],
) -> Iterator[str]:
    kind = str(config.get("model_type", "llama"))
    if kind not in causal:
        if kind in types:
            yield f"the model cannot be made: {kind!r} has no causal language model"
        else:
            yield f"the model cannot be made: unknown model_type {kind!r}{_near(kind, causal)}"
        return
    fields = fields_of(kind)
    if text := _text_part(kind, fields, causal):
        yield f"the model cannot be made: {kind!r} is made of several models, take its text model: {text!r}"
        return
    for name in config if fields else ():
        if name != "model_type" and name not in fields:
            yield f"the config of {kind} does not fit: unknown field {name!r}{_near(name, fields)}"
    yield from _of_numbers(config)
    needed = NOT_CAUSAL.get(kind)
    if needed and not config.get(needed):
        yield f'{kind} looks at later tokens unless it is told not to: add "{needed}": true'


def _text_part(kind: str, fields: Mapping[str, str], causal: Mapping[str, str]) -> str:
    """The text model of a type that sees or hears as well; empty for a type that only reads."""
    if "text_config" not in fields or "hidden_size" in fields:
        return ""
    return next((name for name in (f"{kind}_text", f"{kind}_text_model") if name in causal), "")


def _of_numbers(config: Mapping[str, Any]) -> Iterator[str]:
    whole = {}
    for name in _AT_LEAST_ONE:
        value = config.get(name)
        if value is None or isinstance(value, list):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield f"{name} = {value!r:.80} must be a whole number above zero"
        else:
            whole[name] = value
    for name, value in config.items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} = {value!r} must be a finite number"
    heads, width = whole.get("num_attention_heads"), whole.get("hidden_size")
    if heads and width and "head_dim" not in config and "q_lora_rank" not in config and width % heads:
        yield f"hidden_size {width} is not a multiple of num_attention_heads {heads}"
    groups = whole.get("num_key_value_heads")
    if heads and groups and heads % groups:
        yield f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}"
    experts = next(
        (whole[n] for n in ("num_experts", "num_local_experts", "n_routed_experts") if n in whole), 0
    )
    chosen = whole.get("num_experts_per_tok", 0)
    if experts and chosen > experts:
        yield f"num_experts_per_tok {chosen} is more than the {experts} experts there are"


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
