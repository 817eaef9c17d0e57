"""How likely a continuation is, by the recipe, against counting by hand."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_generate_recipe import BOS, tiny_model

from ml_intern.jobs.launch import RECIPES

pytestmark = pytest.mark.slow
ROWS = [
    {"prompt": "value_1 = ", "continuation": "items[1] + 1"},
    {"prompt": "value_2 =", "continuation": " items[2]"},
    {"prompt": "", "continuation": "value"},
    {"prompt": "a" * 90, "continuation": " b"},
    {"prompt": " \n", "continuation": "value_3"},
]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    sys.path.insert(0, str(RECIPES))
    try:
        import _continuations as recipe
        import generate
    finally:
        sys.path.remove(str(RECIPES))
    folder = tiny_model(tmp_path_factory.mktemp("tiny"))
    return recipe, generate, generate.load(str(folder))


def by_hand(model: Any, ids: list[int], new: int) -> tuple[float, bool]:
    """Token by token, each with all that precedes it and fits."""
    import torch

    total, greedy = 0.0, True
    for at in range(len(ids) - new, len(ids)):
        logits = model(input_ids=torch.tensor([ids[max(0, len(ids) - 65) : at]])).logits[0, -1].double()
        total -= float(torch.log_softmax(logits, -1)[ids[at]])
        greedy = greedy and int(logits.argmax()) == ids[at]
    return total, greedy


def test_nats_and_greed_are_those_of_a_count_by_hand(parts: Any) -> None:
    import torch

    recipe, generate, (model, tokenizer, start, ends) = parts
    pairs = recipe.encode_pairs(ROWS, tokenizer, start, ends)
    told: list[tuple[int, int]] = []
    fitting = partial(generate.batches, batch=2, vocabulary=300)
    with torch.inference_mode():
        # What the model itself would say is greedy.
        ids = pairs[0][0][: -pairs[0][1]]
        best = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        pairs.append(([*ids, best], 1))
        found = recipe.continuations(model, pairs, 64, fitting, lambda *done: told.append(done))
        for row, (ids, new) in zip(found, pairs, strict=True):
            nats, greedy = by_hand(model, ids, new)
            assert (row["nats"], row["greedy"]) == (pytest.approx(nats, rel=1e-5), greedy)
    assert found[-1]["greedy"] and told[-1] == (6, 6)


def test_which_tokens_are_the_continuations(parts: Any) -> None:
    recipe, _, (_, tokenizer, start, ends) = parts
    pairs = recipe.encode_pairs(ROWS, tokenizer, start, ends)

    def counted(at: int) -> str:
        ids, new = pairs[at]
        return str(tokenizer.decode(ids[-new:], skip_special_tokens=False))

    # White space at the end of the prompt goes to the continuation.
    assert [counted(at) for at in (0, 1, 2, 4)] == [" items[1] + 1", " items[2]", "value", " \nvalue_3"]
    assert tokenizer.decode(pairs[2][0], skip_special_tokens=False) == f"{BOS}value"


def test_a_continuation_that_melts_into_its_prompt_is_one_token(parts: Any, tmp_path: Path) -> None:
    recipe, _, (_, tokenizer, start, ends) = parts
    [(ids, new)] = recipe.encode_pairs([{"prompt": "valu", "continuation": "e"}], tokenizer, start, ends)
    assert new >= 1 and len(ids) >= new
