"""Repositories, files and folders as clients read them."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import yaml

from ml_intern.hub.objects import pointer
from ml_intern.hub.repository import Repo
from ml_intern.hub.trees import Commit


def describe(repo: Repo, commit: Commit, *, blobs: bool = False, siblings: bool = False) -> dict[str, Any]:
    """A repository as clients read it."""
    set_, card, config = repo.settings, _read_card(repo, commit), _read_config(repo, commit)
    found: dict[str, Any] = {
        "_id": commit.oid[:24],
        "id": repo.name.id,
        "modelId": repo.name.id,
        "author": repo.name.namespace,
        "sha": commit.oid,
        "lastModified": moment(repo.commit().date),
        "createdAt": moment(set_["created"]),
        "private": bool(set_.get("private")),
        "gated": set_.get("gated", False),
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": _tags(card, commit),
        "cardData": card,
        "usedStorage": sum(e.size for e in commit.files.values()),
    }
    found.update({k: card[k] for k in ("pipeline_tag", "library_name") if isinstance(card.get(k), str)})
    if config:
        found["config"] = _plain({k: config[k] for k in ("architectures", "model_type") if k in config})
    if repo.name.kind == "space":
        found["sdk"] = set_.get("sdk") or card.get("sdk")
    if siblings:
        found["siblings"] = [_sibling(commit, path, blobs) for path in commit.files]
    return found if repo.name.kind == "model" else {k: v for k, v in found.items() if k != "modelId"}


def front_matter(text: str, *, strict: bool = False) -> dict[str, Any]:
    """The YAML at the head of a card; empty when there is none or, unless `strict`, when it is broken."""
    if not text.startswith("---"):
        return {}
    head = text.split("\n---", 1)[0].removeprefix("---")
    try:
        found = _plain(yaml.safe_load(head))
    except (yaml.YAMLError, RecursionError) as error:
        if strict:
            raise yaml.YAMLError(str(error) or "nested too deeply") from None
        return {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    """What JSON can carry: dates, NaN and the like become text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    finite = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    return value if finite or value is None else str(value)


def moment(seconds: float) -> str:
    """A time as the Hub writes it, in thousandths of a second."""
    whole, thousandths = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{thousandths:03}Z"


def describe_paths(repo: Repo, commit: Commit, paths: list[str], expand: bool) -> list[dict[str, Any]]:
    """Files and folders as clients read them; `expand` adds the newest commit that changed each."""
    changed = repo.last_changes(commit.oid, paths) if expand else {}
    rows = []
    for path in paths:
        row = _file_row(commit, path) if path in commit.files else _folder_row(commit, path)
        if path in changed:
            last = changed[path]
            row["lastCommit"] = {"id": last.oid, "title": last.title, "date": moment(last.date)}
        rows.append(row)
    return rows


def _file_row(commit: Commit, path: str) -> dict[str, Any]:
    entry = commit.files[path]
    row: dict[str, Any] = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
    if entry.lfs:
        row["lfs"] = {
            "oid": entry.sha256,
            "size": entry.size,
            "pointerSize": _pointer_size(entry.sha256, entry.size),
        }
    return row


def _folder_row(commit: Commit, path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": commit.folders[path]}


def _sibling(commit: Commit, path: str, blobs: bool) -> dict[str, Any]:
    entry, row = commit.files[path], dict[str, Any](rfilename=path)
    if blobs:
        row.update(size=entry.size, blobId=entry.oid)
        if entry.lfs:
            size = _pointer_size(entry.sha256, entry.size)
            row["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": size}
    return row


def _pointer_size(sha256: str, size: int) -> int:
    return len(pointer(sha256, size))


def _read_card(repo: Repo, commit: Commit) -> dict[str, Any]:
    return front_matter(_read_text(repo, commit, "README.md"))


def _read_config(repo: Repo, commit: Commit) -> dict[str, Any]:
    try:
        found = json.loads(_read_text(repo, commit, "config.json") or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_text(repo: Repo, commit: Commit, path: str) -> str:
    entry = commit.files.get(path)
    if entry is None or entry.size > 1_000_000:
        return ""
    return repo.path_of(entry).read_text("utf-8", "replace")


def _tags(card: dict[str, Any], commit: Commit) -> list[str]:
    def many(key: str) -> list[str]:
        value = card.get(key) or []
        return [str(v) for v in (value if isinstance(value, list) else [value])]

    found = [*many("tags"), *many("library_name"), *many("pipeline_tag"), *many("language")]
    found += [f"license:{v}" for v in many("license")] + [f"dataset:{v}" for v in many("datasets")]
    found += ["safetensors"] if any(p.endswith(".safetensors") for p in commit.files) else []
    return list(dict.fromkeys(found))
