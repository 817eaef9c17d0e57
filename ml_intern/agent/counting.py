"""How many tokens a text is: by the meter of the context window, and by real byte-pair tokenizers.

The meter is characters and needs nothing. LiteLLM's package brings the vocabularies of some providers; where
it is installed they are read from its files, without a network and without importing LiteLLM.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHARS_PER_TOKEN = 3.5
"""Conservative for English mixed with code: byte-pair tokenizers give 3.5 to 4.2 characters a token."""

Count = Callable[[str], int]

_TIKTOKEN = {"o200k": ("o200k_base", "fb374d419588a4632f3f557e76b4b70aebbca790")}
"""Name of the encoding, and of its file: the SHA-1 of the address where tiktoken would fetch it."""

_TOKENIZERS = {"anthropic": "anthropic_tokenizer.json"}


def metered(text: str) -> int:
    """Tokens by the meter that the context window is filled by."""
    return -(-len(text) * 10 // int(CHARS_PER_TOKEN * 10))


def counters() -> dict[str, Count]:
    """What counts tokens here, by name: the meter, and each tokenizer whose vocabulary is installed."""
    found: dict[str, Count] = {"meter": metered}
    spec = find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return found
    folder = Path(spec.submodule_search_locations[0], "litellm_core_utils", "tokenizers")
    if find_spec("tiktoken") is not None:
        found |= {
            n: partial(_tiktoken, folder, e) for n, (e, f) in _TIKTOKEN.items() if (folder / f).exists()
        }
    return found | {
        n: partial(_tokenizer, folder / f) for n, f in _TOKENIZERS.items() if (folder / f).exists()
    }


def _tiktoken(folder: Path, name: str, text: str) -> int:
    return len(_encoding(folder, name).encode(text, disallowed_special=()))


@cache
def _encoding(folder: Path, name: str) -> Any:
    import tiktoken

    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        return tiktoken.get_encoding(name)
    finally:
        os.environ.pop("TIKTOKEN_CACHE_DIR")
        if before is not None:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


def _tokenizer(path: Path, text: str) -> int:
    return len(_loaded(path).encode(text).ids)


@cache
def _loaded(path: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))
