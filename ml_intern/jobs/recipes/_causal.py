"""Does a model look at later tokens? It stands beside the recipes and needs nothing of ML Intern."""

from __future__ import annotations

from typing import Any

LENGTH = 16


def looks_ahead(model: Any, start: int = 0, length: int = LENGTH) -> bool:
    """Whether what comes later changes what a model says of what came before; then it only copies.

    Two texts with the same first half go through it, and what is drawn on the way is drawn again afterwards.

    Args:
        model: A language model.
        start: The token that a text begins with.
        length: Tokens of a text; no more than the model has positions.
    """
    import torch

    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.arange(length, device=model.device) % vocabulary
    ids[0] = start
    other, half = ids.clone(), length // 2
    other[half:] = (ids[half:] + vocabulary // 2) % vocabulary
    trained = model.training
    model.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before, after = model(input_ids=torch.stack([ids, other]), use_cache=False).logits[:, :half].float()
    model.train(trained)
    slack = 1e-4 if model.dtype == torch.float32 else 1e-2
    return bool((before - after).abs().max() > slack * before.std())
