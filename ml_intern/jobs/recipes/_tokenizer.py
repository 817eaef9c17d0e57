"""Tokenizers of a model from scratch: a byte-level BPE, bytes alone, characters, or one that is there.

An order is what a user writes: a short word, ``{"type": "bpe", "vocab_size": 512}``, or a path. `read_order`
judges it, before a job starts and inside the recipe alike. It stands beside the recipes and needs nothing of
ML Intern.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TYPES = ("bpe", "byte", "char")
BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
SPECIALS = (PAD, BOS, EOS)
SMALLEST = 256 + len(SPECIALS)
"""Each kind can spell every byte, so that any text comes back as it was."""
USUAL_VOCABULARY = 512
SAMPLE_CHARS = 20_000_000
"""Enough text for a vocabulary; merges change little beyond, and training time grows with it."""
CHOICES = (
    'tokenizer takes "bpe", "byte", "char", {"type": "bpe", "vocab_size": 512}, '
    "or the path of a folder with a tokenizer."
)
_ENDS = ("<|eos|>", "<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "[EOS]", "[SEP]")
_BEGINNINGS = ("<|bos|>", "<|begin_of_text|>", "<s>", "<bos>", "[BOS]", "[CLS]")


class OrderError(ValueError):
    """An order that cannot be met, in one line."""


def read_order(order: Any, vocabulary: int | None = None) -> dict[str, Any] | str:
    """What an order means: ``{"type": …}`` with ``vocab_size`` where one is known, or a path as it is.

    Args:
        order: What the user wrote; None is the usual BPE.
        vocabulary: `vocab_size` of the model's config, which a BPE without a size of its own takes.

    Raises:
        OrderError: Names the field and what it may be.
    """
    if isinstance(order, str):
        if order not in TYPES:
            return order
        order = {"type": order}
    if order is not None and not isinstance(order, Mapping):
        raise OrderError(f"tokenizer = {order!r} is neither a word, a dict nor a path.")
    read = {"type": "bpe", **(order or {})}
    for key in read:
        if key not in ("type", "vocab_size"):
            raise OrderError(f"tokenizer has no key {key!r}{_guess(key, ('type', 'vocab_size'))}.")
    if read["type"] not in TYPES:
        raise OrderError(f"tokenizer.type = {read['type']!r} is not known{_guess(read['type'], TYPES)}.")
    where = "tokenizer.vocab_size"
    if read.get("vocab_size") is None:
        read.pop("vocab_size", None)
        if read["type"] == "bpe" and vocabulary is not None:
            where, read["vocab_size"] = "the model's vocab_size", vocabulary
    if "vocab_size" in read:
        _check_size(where, read["type"], read["vocab_size"])
    return read


def make_tokenizer(order: dict[str, Any] | str, texts: list[str]) -> Any:
    """The tokenizer of an order that `read_order` has read; what is learned is learned from the texts.

    Raises:
        OrderError: The one that is there has no end token, or cannot be saved as ``tokenizer.json``.
    """
    if isinstance(order, str):
        return _load(Path(order))
    size = order.get("vocab_size")
    if order["type"] == "byte":
        return _wrap(_bytes())
    if order["type"] == "char":
        return _wrap(_characters(_sample(texts), size))
    return _wrap(_bpe(_sample(texts), size or USUAL_VOCABULARY))


def _check_size(where: str, kind: str, size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise OrderError(f"{where} = {size!r} must be a whole number.")
    every = f"256 bytes and {len(SPECIALS)} special tokens"
    if kind == "byte" and size != SMALLEST:
        raise OrderError(f"{where} = {size}: a byte tokenizer has always {SMALLEST}, {every}.")
    if size < SMALLEST:
        raise OrderError(f"{where} = {size} is too small: the smallest is {SMALLEST}, {every}.")


def _guess(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (it may be {', '.join(known)})"


def _bpe(texts: list[str], size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer, length=len(texts))
    return made


def _bytes() -> Any:
    """A BPE that never merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    entries = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab=_numbered(entries), merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made


def _characters(texts: list[str], size: int | None) -> Any:
    """ASCII, and the other characters of the data from the most frequent on; what is none of them is bytes.

    Of the bytes only the upper half is needed: the lower half is ASCII itself.
    """
    from tokenizers import Tokenizer, decoders, models

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    others = sorted((c for c in counts if not c.isascii()), key=lambda c: (-counts[c], c))
    room = len(others) if size is None else size - SMALLEST
    ascii_characters = [chr(n) for n in range(128)]
    upper_bytes = [f"<0x{n:02X}>" for n in range(128, 256)]
    entries = [*SPECIALS, *ascii_characters, *upper_bytes, *others[:room]]
    made = Tokenizer(models.BPE(vocab=_numbered(entries), merges=[], byte_fallback=True))
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return made


def _numbered(entries: list[str]) -> dict[str, int]:
    return {entry: number for number, entry in enumerate(entries)}


def _wrap(made: Any) -> Any:
    from tokenizers import AddedToken, processors
    from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    # Who encodes a text later gets the BOS that the model was trained with.
    made.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, made.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )


def _load(folder: Path) -> Any:
    """A tokenizer that is there; of a bare ``tokenizer.json`` the end token is known by its usual names."""
    from transformers.models.auto.tokenization_auto import AutoTokenizer
    from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

    if (folder / "tokenizer_config.json").exists():
        found = AutoTokenizer.from_pretrained(str(folder))
    else:
        found = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    words = found.get_vocab()
    if found.eos_token_id is None:
        found.eos_token = next((word for word in _ENDS if word in words), None)
    if found.bos_token_id is None:
        found.bos_token = next((word for word in _BEGINNINGS if word in words), None)
    if found.eos_token_id is None:
        raise OrderError("The tokenizer has no EOS token, so documents would have no end.")
    if not found.is_fast:
        raise OrderError("The tokenizer cannot be saved as tokenizer.json; save it as a fast tokenizer.")
    return found


def _sample(texts: list[str]) -> list[str]:
    total = sum(map(len, texts))
    every = max(1, math.ceil(total / SAMPLE_CHARS))
    return texts[::every]
