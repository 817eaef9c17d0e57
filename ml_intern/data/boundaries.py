"""Does a prompt keep its tokens once its completion follows?

A trainer reads prompt and completion as one text and learns from where its tokens part from those of the
prompt alone. Where the last token of a prompt grows into the completion, as the space of "Answer: " does in
" 42", that end of the prompt is left out: the model learns to follow another prompt than it will be asked
with. Byte and character tokenizers merge nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from tokenizers import Tokenizer

SAMPLE, SAMPLE_CHARS = 1000, 500_000
"""Rows that are read, evenly over the data, and characters of all of them: about a second."""
ENDS = ("completion", "chosen", "rejected")
SHOWN, LOST = 3, 20
"""Rows that are named, and characters of an end that are shown."""


def cut_prompts(rows: pl.DataFrame, tokenizer: Tokenizer) -> str:
    """A line about the prompts whose end is no end of a token once the completion follows; empty for none.

    Args:
        rows: With a column `prompt` and one of `ENDS`, all of them texts; of others nothing is said.
        tokenizer: The model's, which neither cuts nor pads.
    """
    names = _columns(rows)
    if not names:
        return ""
    every = max(1, -(-rows.height // SAMPLE))
    part = rows.select("prompt", *names).with_row_index("row").gather_every(every)
    part = part.head(max(1, int(SAMPLE_CHARS / max(1.0, part.estimated_size() / max(1, part.height)))))
    cut = dict(found for name in names for found in _cut(part, name, tokenizer))
    if not cut:
        return ""
    places = ", ".join(str(row) for row in sorted(cut)[:SHOWN]) + (" …" if len(cut) > SHOWN else "")
    prompt, end = cut[min(cut)]
    blank = prompt != prompt.rstrip()
    mend = (
        "move the white space from the end of the prompts to the beginning of the completions, and ask so"
        if blank
        else "end the prompts where a token ends, as before a space, and ask so"
    )
    return (
        f"{len(cut)} of {part.height} rows (rows {places}) have a prompt whose end, {end!r}, is other tokens "
        f"once the completion follows: it is left out of the training, which then learns to follow a prompt "
        f"that nobody asks with; {mend}"
    )


def _columns(rows: pl.DataFrame) -> list[str]:
    import polars as pl

    texts = [name for name in ("prompt", *ENDS) if rows.schema.get(name) == pl.String]
    return texts[1:] if texts[:1] == ["prompt"] else []


def _cut(part: pl.DataFrame, name: str, tokenizer: Tokenizer) -> Iterator[tuple[int, tuple[str, str]]]:
    """Rows whose prompt loses its end before a column, with the prompt and that end."""
    whole = part.drop_nulls(["prompt", name])
    prompts, ends = whole["prompt"].to_list(), whole[name].to_list()
    texts = [prompt + end for prompt, end in zip(prompts, ends, strict=True)]
    # Without special tokens: an end token that some add to every text is no end of a prompt.
    alone, both = (tokenizer.encode_batch(part, add_special_tokens=False) for part in (prompts, texts))
    for row, prompt, a, b in zip(whole["row"].to_list(), prompts, alone, both, strict=True):
        same = next((i for i, (x, y) in enumerate(zip(a.ids, b.ids, strict=False)) if x != y), len(b.ids))
        if same < len(a.ids):
            lost = tokenizer.decode(a.ids[same:], skip_special_tokens=False)
            yield row, (prompt, (lost or prompt[len(prompt.rstrip()) :])[-LOST:])
