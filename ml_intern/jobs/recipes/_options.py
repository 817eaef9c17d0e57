"""Which tokens of a question with an option are the option's. It stands beside the recipes.

An option follows its prompt after one space, unless there is white space at the border already, or the
prompt is a conversation, which its template ends. Both are tokenised together, as a model would have read
them in training, and the option's tokens are those after the prompt's own.

Where the border falls into a token ("answer: " and "Paris" give the token " Paris"), the prompt's last tokens
are not the ones that it has alone. Then the likelihood begins at the last place up to which prompt and whole
agree, and for *all* options of the question at the same: the difference between two options is then exactly
how much likelier one whole text is than the other. Where nothing merges this is what lm-eval's `_encode_pair`
does, and where a space at the end of the prompt goes to the option, too. Other merges it counts differently:
it cuts the whole after as many tokens as the prompt has alone, so that an option may lose a token of its own.

Of what is longer than the model's window the beginning of the prompt is dropped; an option that is longer
than the window itself is read in windows, with its prompt's last token before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

Piece = tuple[Any, list[int], int]


def encode_options(
    rows: list[dict[str, Any]], tokenizer: Any, start: int, ends: set[int], folder: str
) -> list[list[tuple[list[int], int]]]:
    """For each option of each row the tokens of the whole, and how many at its end count."""
    template = _template(folder) if any("messages" in row for row in rows) else None
    found = []
    for row in rows:
        chat = "messages" in row
        prompt = template(row["messages"]) if chat and template else row["prompt"]
        wholes = [prompt + option if chat else joined(prompt, option) for option in row["options"]]
        texts = tokenizer.encode_batch([prompt, *wholes], add_special_tokens=not chat)
        first, *others = (_open(e.ids, ends) for e in texts)
        kept = min(agreement(first, ids) for ids in others)
        # What has nothing before it is given the token that a text starts with.
        found.append([(ids if kept else [start, *ids], len(ids) - kept) for ids in others])
    return found


def joined(prompt: str, option: str) -> str:
    """A prompt and its option in one text."""
    border = not prompt or prompt[-1].isspace() or option[:1].isspace()
    return prompt + option if border else f"{prompt} {option}"


def agreement(a: list[int], b: list[int]) -> int:
    """How many tokens two lists have in common at their beginnings."""
    least = min(len(a), len(b))
    return next((at for at in range(least) if a[at] != b[at]), least)


def option_pieces(
    place: Any, ids: list[int], new: int, size: int, windows: Callable[[Any, list[int], int], Iterator[Piece]]
) -> Iterator[Piece]:
    """What of a whole is read, and how many tokens at the end of each piece count."""
    if new <= size:
        yield place, ids[-(size + 1) :], new
    else:
        yield from windows(place, ids[len(ids) - new - 1 :], size)


def plainly(option: str) -> float:
    """Nats of an option of which the tokenizer leaves nothing: 8 bits a byte, as if stored plainly."""
    return 8 * len(option.encode()) * math.log(2)


def _open(ids: list[int], ends: set[int]) -> list[int]:
    """Without the end tokens that some tokenizers close a text with."""
    last = len(ids)
    while last > 1 and ids[last - 1] in ends:
        last -= 1
    return ids[:last]


def _template(folder: str) -> Callable[[list[dict[str, str]]], str]:
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    chat = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

    def text(messages: list[dict[str, str]]) -> str:
        return str(chat.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    return text
