"""What leaves for a Hub file by file or in words, looked at before it goes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.hub.client import REPLACED
from ml_intern.hub.names import Kind, Problem, file_path
from ml_intern.hub.staging import WANTED
from ml_intern.hub.stating import TABLES, unmeasured
from ml_intern.secrets.masking import holds_known_secret, holds_secret

if TYPE_CHECKING:
    from ml_intern.context import ToolContext

LARGEST_TEXT, LARGEST_IMAGE = 1_000_000, 5_000_000
"""Bytes; what is larger is data or weights, for which there are tools."""
FEW_LINES = 3
"""A line of a program is an item by chance; so many are not."""

WEIGHTS = tuple(
    f"*.{s}"
    for s in (
        *(
            "safetensors",
            "bin",
            "pt",
            "pth",
            "ckpt",
            "gguf",
            "ggml",
            "h5",
            "hdf5",
            "keras",
            "onnx",
            "msgpack",
        ),
        *("tflite", "pb", "npz", "npy", "pkl", "pickle", "joblib", "ot", "mlmodel", "model", "index.json"),
    )
)
OF_A_MODEL = (*WANTED, *REPLACED, "config.json", "ml_intern.json")
"""What the numbers of a published model rest on."""
ROWS = frozenset(
    {*TABLES, ".parquet", ".arrow", ".feather", ".orc", ".avro", ".lance", ".db", ".sqlite", ".duckdb"}
)
PACKED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".lz4"})
CODE = frozenset({".py", ".js", ".mjs", ".ts", ".sh", ".ipynb", ".java", ".c", ".cpp", ".rs", ".go", ".css"})
_AROUND = " \t#/*->+|\"'`,:;"
"""What stands around an item where a line is a comment, a point of a list, a text in code."""
_IMAGES = {
    ".png": b"\x89PNG\r\n\x1a\n",
    ".jpg": b"\xff\xd8\xff",
    ".jpeg": b"\xff\xd8\xff",
    ".gif": b"GIF8",
    ".webp": b"RIFF",
}


def check_path(path: str, kind: Kind) -> str:
    """The path of a file that may be written singly.

    Raises:
        ToolError: It is none, or another tool writes such files.
    """
    try:
        path = file_path(path.strip().removeprefix("./"))
    except Problem as problem:
        raise ToolError(problem.message) from None
    name = path.rpartition("/")[2].lower()
    suffix = PurePosixPath(name).suffix
    if any(fnmatch(name, pattern) for pattern in WEIGHTS):
        raise ToolError(f"{path} would be weights, which come with their numbers.", "Use publish_model.")
    if kind == "model" and (of_a_model(path) or path.lower().startswith("training/")):
        raise ToolError(
            f"{path} belongs to the model, and its card's numbers rest on it.", "Use publish_model."
        )
    if kind == "dataset" and suffix in ROWS:
        raise ToolError(f"{path} would be rows, which come with their lineage.", "Use publish_dataset.")
    if suffix in PACKED or suffix in ROWS - TABLES:
        raise ToolError(
            f"{path} is packed: nobody could look into it.", "Write text, or use publish_dataset."
        )
    return path


def of_a_model(path: str) -> bool:
    """Whether a file is one of those that make up a model."""
    name = path.rpartition("/")[2].lower()
    return any(fnmatch(name, pattern.lower()) for pattern in (*OF_A_MODEL, *WEIGHTS))


def check_file(ctx: ToolContext, kind: Kind, path: str, data: bytes, before: bytes | None) -> list[str]:
    """Look at a file before it is uploaded; what the person and the readers should know of it.

    Args:
        ctx: Of the call.
        kind: Of the repository.
        path: In the repository.
        data: The bytes.
        before: What stands there now, if anything.

    Raises:
        ToolError: It may not be published so.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _IMAGES:
        _check_image(ctx, path, suffix, data)
        return []
    text = _text(path, data)
    _refuse_secrets(path, text, data_only=suffix in TABLES)
    _refuse_items(ctx, path, text, suffix, strict=kind == "dataset" or suffix in TABLES)
    refuse_numbers(ctx, path, text, (before or b"").decode("utf-8", "replace"))
    return notes_on(kind, path, text)


def check_words(ctx: ToolContext, **told: str) -> None:
    """Look at words that others will read: messages, titles, descriptions, comments, each by what it is.

    Raises:
        ToolError: They hold a credential, a held-out item, or a number that nobody measured.
    """
    for what, text in told.items():
        what = f"the {what.replace('_', ' ')}"
        _refuse_secrets(what, text, data_only=False)
        _refuse_items(ctx, what, text, "", strict=False)
        refuse_numbers(ctx, what, text, "")


def check_names(ctx: ToolContext, **told: str) -> None:
    """Look at paths and names of branches, which others read as well.

    Raises:
        ToolError: They hold a credential or a held-out item.
    """
    for what, name in told.items():
        _refuse_secrets(f"the {what}", name, data_only=False)
        _refuse_items(ctx, f"the {what}", re.sub(r"[-_/.]+", " ", name), "", strict=False)


def refuse_numbers(ctx: ToolContext, what: str, text: str, before: str) -> None:
    """Look at the numbers of a text.

    Raises:
        ToolError: It states one that nobody measured, and which did not stand there before.
    """
    from ml_intern.claims.gathering import evidence_of

    name = "" if what.startswith("the ") else what
    if found := unmeasured(name, text, evidence_of(ctx.services), before):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ToolError(
            f"Not published: {what} states what nobody measured: {'; '.join(found[:3])}{more}.",
            "Say it without the number, or with the measured one; name whose number it is if it is cited.",
        )


def notes_on(kind: Kind, path: str, text: str) -> list[str]:
    """What a person has to know before trusting such a file."""
    suffix = PurePosixPath(path).suffix.lower()
    if kind == "space" and (suffix in CODE or path in ("Dockerfile", "requirements.txt", "packages.txt")):
        return [f"{path} is code: the Space runs it as soon as it is there."]
    if suffix in CODE or text.startswith("#!"):
        return [f"{path} is code: who loads the {kind} with trust_remote_code=True runs it."]
    if suffix == ".json" and '"auto_map"' in text:
        return [f"{path} names code (auto_map) that runs with trust_remote_code=True."]
    return []


def _text(path: str, data: bytes) -> str:
    if len(data) > LARGEST_TEXT:
        raise ToolError(
            f"{path} has {len(data):,} bytes; a single file may have {LARGEST_TEXT:,}.",
            "Rows go with publish_dataset, weights with publish_model.",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ToolError(f"{path} is neither text nor an image.", "Weights go with publish_model.")
    if text.startswith("version https://git-lfs.github.com/spec/"):
        raise ToolError(f"{path} points to a large file instead of being one.", "Write the text itself.")
    return text


def _check_image(ctx: ToolContext, path: str, suffix: str, data: bytes) -> None:
    if not data.startswith(_IMAGES[suffix]) or len(data) > LARGEST_IMAGE:
        raise ToolError(f"{path} is no {suffix[1:]} image of at most {LARGEST_IMAGE:,} bytes.")
    hidden = data.decode("latin-1")
    if holds_known_secret(hidden):
        raise ToolError(f"Not published: there is a credential in {path}.", "Draw it anew.")
    _refuse_items(ctx, path, hidden, suffix, strict=False)


def _refuse_secrets(what: str, text: str, data_only: bool) -> None:
    if holds_known_secret(text) or (not data_only and holds_secret(text)):
        raise ToolError(
            f"Not published: there is a credential in {what}.",
            "Take it out, and change it where it was given: it has been in a file.",
        )


def _refuse_items(ctx: ToolContext, what: str, text: str, suffix: str, strict: bool) -> None:
    """Refuse what holds items of a sealed evaluation; of data each row that is one counts."""
    if not ctx.evals.list() or not text.strip():
        return
    lines = [line for line in text.splitlines() if line.strip()]
    rows: list[Any] = [text, *lines, *_records(suffix, text, lines)]
    found = ctx.evals.guard(rows)
    if suffix in CODE and found.contaminated < FEW_LINES:
        found = ctx.evals.guard(rows, lines=False)
    names = {match.eval for match in found.matches}
    if strict:
        names |= set(ctx.evals.held_out(rows).values())
    if names:
        raise ToolError(
            f"Not published: {what} holds items of the sealed evaluation {', '.join(sorted(names))}.",
            "Take them out: nobody may train on what is measured.",
        )


def _records(suffix: str, text: str, lines: Iterable[str]) -> list[Any]:
    """What stands alone in a text though no line is just that: cells, comments, points of a list, JSON."""
    found: list[Any] = [bare for line in lines if (bare := line.strip(_AROUND)) != line]
    if suffix in (".csv", ".tsv"):
        cells = csv.reader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")
        return [*found, *(cell for row in cells for cell in row if cell.strip())]
    if suffix in (".jsonl", ".ndjson", ".json", ".ipynb"):
        try:
            rows = [json.loads(text)] if suffix in (".json", ".ipynb") else map(json.loads, lines)
            return [*found, *(part for row in rows for part in _texts(row))]
        except (ValueError, RecursionError):
            return found
    return [
        *found,
        *(cell for line in lines if "|" in line for cell in map(str.strip, line.split("|")) if cell),
    ]


def _texts(value: Any) -> Iterator[str]:
    """The texts in what JSON can carry."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
