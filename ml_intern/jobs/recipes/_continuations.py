"""How likely a model finds what is said to follow a text, and whether it would have said it itself.

It stands beside the recipes. Context and continuation are tokenised together, and the continuation's tokens
are those after as many as the context has alone; white space at the end of the context goes to the
continuation. That is how lm-eval counts, and its tasks are scored with these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

Piece = tuple[int, list[int], int]


def encode_pairs(
    rows: list[dict[str, Any]], tokenizer: Any, start: int, ends: set[int]
) -> list[tuple[list[int], int]]:
    """For each row the tokens of the whole, and how many at its end are the continuation's."""
    found = []
    for row in rows:
        context, continuation = row["prompt"], row["continuation"]
        bare = context.rstrip()
        continuation = context[len(bare) :] + continuation
        if not bare:
            ids = tokenizer.encode(continuation, add_special_tokens=False).ids
            found.append(([start, *ids], len(ids)))
            continue
        alone, whole = (_open(tokenizer.encode(t).ids, ends) for t in (bare, bare + continuation))
        # Where all of it melts into the context's last token, that token is what is asked about.
        found.append((whole, max(1, len(whole) - len(alone))))
    return found


def continuations(
    model: Any,
    pairs: list[tuple[list[int], int]],
    size: int,
    batches: Callable[[list[Any]], Iterator[list[Any]]],
    tell: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Nats of each continuation, and whether greedy decoding would give it.

    Args:
        model: A causal language model.
        pairs: See `encode_pairs`.
        size: Tokens that the model can look at; of a longer whole the beginning is dropped.
        batches: Groups of pieces of like length whose logits fit.
        tell: Hears how many are done, of how many.
    """
    pieces = [(k, ids[-(size + 1) :], min(new, size)) for k, (ids, new) in enumerate(pairs)]
    pieces.sort(key=lambda piece: len(piece[1]))
    found: list[dict[str, Any]] = [{} for _ in pairs]
    done = 0
    for group in batches(pieces):
        for (k, _, _), (nats, greedy) in zip(group, _measure(model, group), strict=True):
            found[k] = {"nats": nats if math.isfinite(nats) else None, "greedy": greedy}
        done += len(group)
        tell(done, len(pieces))
    return found


def _measure(model: Any, group: list[Piece]) -> list[tuple[float, bool]]:
    """Padding stands at the right, where a causal model does not look, so it needs no mask."""
    import torch

    width = max(len(ids) for _, ids, _ in group)
    table = torch.zeros((len(group), width), dtype=torch.long)
    counted = torch.zeros((len(group), width - 1), dtype=torch.bool)
    for place, (_, ids, new) in enumerate(group):
        table[place, : len(ids)] = torch.tensor(ids)
        counted[place, len(ids) - 1 - new : len(ids) - 1] = True
    table, counted = table.to(model.device), counted.to(model.device)
    logits = model(input_ids=table[:, :-1], use_cache=False).logits.float()
    said = table[:, 1:]
    each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), said, reduction="none")
    nats = torch.where(counted, each.double(), 0.0).sum(1)
    greedy = ((logits.argmax(-1) == said) | ~counted).all(1)
    return list(zip(nats.tolist(), greedy.tolist(), strict=True))


def _open(ids: list[int], ends: set[int]) -> list[int]:
    """Without the end tokens that some tokenizers close a text with."""
    last = len(ids)
    while last > 1 and ids[last - 1] in ends:
        last -= 1
    return ids[:last]
