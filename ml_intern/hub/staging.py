"""The files of a model, taken out of a job's folder with care: code that we did not write wrote into it."""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import struct
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError

WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "chat_template*",
    "preprocessor_config.json",
)
_HEADER_LIMIT = 100_000_000


def stage_model(model: Path, target: Path) -> list[str]:
    """Copy what makes up a model, and nothing else, into an empty folder.

    Only regular files are taken: a link in the folder could lead to any file of this machine. Optimizer
    states, checkpoints, pickles and scripts stay behind.

    Raises:
        ToolError: There are no weights in safetensors, or a file is not what it seems.
    """
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    names = [n for n in sorted(p.name for p in model.iterdir()) if any(fnmatch(n, w) for w in WANTED)]
    for name in names:
        _copy_regular(model / name, target / name)
    if not any(n.endswith(".safetensors") for n in names):
        raise ToolError(
            f"{model.name!r} holds no weights in safetensors.", "Save the model with save_pretrained."
        )
    if not {"config.json", "adapter_config.json"} & set(names):
        raise ToolError(f"{model.name!r} has no config.json.", "Save the model with save_pretrained.")
    return names


def parameters(folder: Path) -> int:
    """Parameters in the weights of a folder, from the headers of its files: shared tensors count once.

    Raises:
        ToolError: A file is not safetensors.
    """
    return sum(_count(path) for path in sorted(folder.glob("*.safetensors")))


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError("the header is too long")
            header: dict[str, Any] = json.loads(file.read(length))
        return sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise ToolError(f"{path.name} cannot be read as safetensors: {error}.") from None


def _copy_regular(source: Path, target: Path) -> None:
    """Open without following links, and look at what was opened, not at what the name led to before."""
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ToolError(
            f"{source.name} cannot be published: {error.strerror}.", "It must be a plain file."
        ) from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise ToolError(f"{source.name} cannot be published: it is not a plain file of its own.")
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy, 2**20)
