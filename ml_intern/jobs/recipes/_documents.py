"""Batches without padding: documents one after another in a single long row, where none may see another.

TRL makes such rows for `padding_free` and for `packing` but "wrapped", and says where documents begin.
Flash attention heeds that. Without it, a mask keeps documents apart, and the row costs what one document of
its length would: the square of it. On a CPU attention goes document by document instead, which computes the
same and costs what the documents cost. It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from _common import on_gpu, say, wrong

ONE_BY_ONE = "document_by_document"
_PROBE = 160
"""Tokens of a document that is tried: more than DeepSeek-V4 makes one summary of, which others could see."""


def is_flat(fields: dict[str, Any]) -> bool:
    """Whether TRL makes rows without padding of these fields of an SFTConfig."""
    packs = fields.get("packing") and fields.get("packing_strategy", "bfd") != "wrapped"
    return bool(packs or fields.get("padding_free"))


def counted(fields: dict[str, Any]) -> dict[str, Any]:
    """How tokens are counted: without padding all count; else an end that also pads would be left out."""
    return {"include_num_input_tokens_seen": "all"} if is_flat(fields) else {}


def keep_apart(model: Any, config: dict[str, Any]) -> None:
    """Choose how a row's documents are kept apart, and try it: one that follows another must be as if alone.

    Raises:
        SystemExit: The model mixes them, whatever mask it is given.
    """
    asked = model.config._attn_implementation
    if not is_flat(config.get("trainer", {})) or asked.startswith("flash"):
        return
    windows = getattr(model.config.get_text_config(), "sliding_window", None)
    if asked == "sdpa" and not windows and not on_gpu(config):
        _register()
        model.set_attn_implementation(ONE_BY_ONE)
        if is_apart(model):
            say("documents share rows without padding; attention goes from one to the next")
            return
        model.set_attn_implementation(asked)
    if not is_apart(model):
        raise wrong(
            "bad_config",
            f"In rows without padding documents would see each other: {model.config.model_type} does not "
            'keep them apart. Leave padding_free out, and pack with packing_strategy="wrapped" or not.',
        )
    say("documents share rows without padding; a mask keeps them apart, at the cost of a row's square")


def is_apart(model: Any) -> bool:
    """Does the model say of a document behind another what it says of it alone?"""
    import torch

    draw = torch.Generator().manual_seed(0)
    rows = torch.randint(model.config.get_text_config().vocab_size, (2, _PROBE), generator=draw)
    rows = rows.to(model.device)
    ends = torch.tensor([0, _PROBE, 2 * _PROBE], dtype=torch.int32, device=model.device)
    together = {
        "input_ids": rows.reshape(1, -1),
        "position_ids": torch.arange(_PROBE, device=model.device).repeat(2)[None],
        **dict.fromkeys(("cu_seq_lens_q", "cu_seq_lens_k"), ends),
        **dict.fromkeys(("max_length_q", "max_length_k"), _PROBE),
        "seq_idx": torch.arange(2, dtype=torch.int32, device=model.device).repeat_interleave(_PROBE)[None],
    }
    training = model.training
    model.eval()
    with torch.no_grad():
        try:
            behind = model(**together, use_cache=False).logits[0, _PROBE:].float()
        except ValueError as error:  # Some models say themselves that they cannot.
            raise wrong("bad_config", f"Rows without padding are not for this model: {error}") from None
        alone = model(input_ids=rows[1:], use_cache=False).logits[0].float()
    model.train(training)
    allowed = 1e-3 if model.dtype == torch.float32 else 5e-2
    return bool((behind - alone).abs().max() <= allowed * alone.std())


def _register() -> None:
    """Make known an attention that takes a row's documents one by one, and a mask for what has padding."""
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def attend(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **given: Any
    ) -> tuple[Any, None]:
        begins = given.get("cu_seq_lens_q")
        if begins is None or attention_mask is not None:
            return sdpa_attention_forward(module, query, key, value, attention_mask, **given)  # type: ignore[no-any-return]
        parts = [
            sdpa_attention_forward(module, *(x[:, :, a:b] for x in (query, key, value)), None, **given)[0]
            for a, b in pairwise(begins.tolist())
        ]
        return torch.cat(parts, dim=1), None

    def mask(*args: Any, **given: Any) -> Any:
        return None if given.get("attention_mask") is None else sdpa_mask(*args, **given)

    AttentionInterface.register(ONE_BY_ONE, attend)
    AttentionMaskInterface.register(ONE_BY_ONE, mask)
