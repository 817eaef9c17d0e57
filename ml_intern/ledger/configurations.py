"""Which experiments are one configuration on several seeds, and what differs between two of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_intern.ledger.model import Experiment

_HAPPENED = ("recoveries", "stopped_early")
"""What became of a run is no part of what was asked."""
_SHORT = 40
_LARGER = 1.1
"""A model that is larger by less than that differs by its vocabulary, say; beyond, it is another model."""


def configurations(experiments: Sequence[Experiment]) -> dict[str, str]:
    """By experiment one word for all that decides its result but the seed: replications share it.

    An experiment of which nothing is known but its name is a configuration of its own.
    """
    by_id = {e.id: e for e in experiments}
    words = {e.id: _word(e) for e in experiments}
    for e in experiments:
        of = by_id.get(e.replicates or "")
        # A run that was opened as a replication is held to it at its launch; see `jobs.record.demand_same`.
        if of is not None and bool(of.config) == bool(e.config):
            words[e.id] = words[of.id]
    return words


def same_configuration(a: Experiment, b: Experiment) -> bool:
    """Whether two experiments differ in their seed alone."""
    words = configurations([a, b])
    return words[a.id] == words[b.id]


def _word(e: Experiment) -> str:
    if not e.config:
        return e.id
    asked = {name: value for name, value in e.config.items() if name not in _HAPPENED}
    data = {role: _version(info) for role, info in e.data.items()}
    told = json.dumps([asked, data, e.code_hash], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def trained(e: Experiment) -> bool:
    """Whether a seed moves it: a model as it comes has none."""
    return bool(e.config or e.jobs or e.replicates)


def replications(e: Experiment, experiments: Sequence[Experiment]) -> list[Experiment]:
    """All experiments of one configuration, that one included, oldest first."""
    words = configurations(experiments)
    return [other for other in experiments if words[other.id] == words[e.id]]


def first_of(runs: Sequence[Experiment]) -> Experiment:
    """What names a configuration: the first of its experiments that is no replication of the host's."""
    return next((run for run in runs if run.replicates is None), runs[0])


def differences(older: Experiment, newer: Experiment) -> dict[str, str]:
    """What differs between two experiments, by field: ``{"learning_rate": "2e-05 to 0.003"}``."""
    if not older.config or not newer.config:
        return {}
    was, now = older.config, newer.config
    found = {
        name: f"{_shown(was.get(name))} to {_shown(now.get(name))}"
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name) and name not in ("base_model_sha256", *_HAPPENED)
    }
    for role in dict.fromkeys([*older.data, *newer.data]):
        before, after = older.data.get(role, {}), newer.data.get(role, {})
        if _version(before) != _version(after):
            found[f"{role} data"] = f"{before.get('id')} to {after.get('id')}"
    if older.code_hash != newer.code_hash and was.get("method") == now.get("method"):
        found["code"] = "other code"
    sizes = [e.facts.get("parameters", 0.0) for e in (older, newer)]
    if min(sizes) > 0 and max(sizes) > _LARGER * min(sizes):
        found["parameters"] = f"{sizes[0]:,.0f} to {sizes[1]:,.0f}"
    if older.seed != newer.seed:
        found["seed"] = f"{older.seed} to {newer.seed}"
    return found


def undeclared(change: str, found: Mapping[str, str]) -> list[str]:
    """Of the differences those that the words of `change` do not name. A single one is the change itself."""
    if len(found) < 2:
        return []
    return [f"{name}: {how}" for name, how in found.items() if not _named(change, name, how)]


def _named(change: str, name: str, how: str) -> bool:
    words = {_stem(word) for word in re.findall(r"[a-z]+", change.lower())}
    telling = {_stem(w) for w in re.findall(r"[a-z]{3,}", name.lower())} - {
        "num",
        "max",
        "per",
        "device",
        "train",
    }
    new = how.rpartition(" to ")[2]
    # "batch" names per_device_train_batch_size, "3e-3" names 0.003, "clean-train" names its version.
    return bool(words & (telling - {"size"})) or _value_in(change, new)


def _value_in(change: str, value: str) -> bool:
    if (number := _number(value)) is not None:
        return number in {_number(found) for found in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", change)}
    word = value.partition("@")[0]
    return len(word) > 2 and word.lower() in change.lower()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _stem(word: str) -> str:
    return word.removesuffix("s")


def _version(info: Any) -> Any:
    return (info.get("sha256") or info.get("id")) if isinstance(info, Mapping) else info


def _shown(value: Any) -> str:
    """A value in a few words. Of a path its own name, of a job's model the job: a card may repeat it."""
    if value is None:
        return "its default"
    if isinstance(value, Mapping):
        inner = value.get("config", value)
        kind = inner.get("model_type") if isinstance(inner, Mapping) else None
        return f"a new {kind}" if kind else "a description of its own"
    if isinstance(value, str) and value.startswith("/"):
        job = re.search(r"/jobs/([^/]+)/", value)
        return job[1] if job else value.rstrip("/").rpartition("/")[2]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"
