"""Keeps the plan of a reproduction in the state folder, so that its session goes on after any end.

What is kept: the card as it was read, its training folder, what the person said, and where the sources
were found.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from ml_intern.errors import UsageError
from ml_intern.hub.objects import write_atomic
from ml_intern.reproducing.card import FILE, read_card
from ml_intern.reproducing.finding import Found, training_files
from ml_intern.reproducing.plan import Options, Plan, make_plan
from ml_intern.reproducing.sources import roots_of

_OPTIONS = "options.json"


def prompt_for(called: str) -> str:
    """The prompt of the session."""
    return f"reproduce {called}"


def keep(state: Path, found: Found, plan: Plan) -> str:
    """Write a plan down; its key."""
    options = {
        "called": found.called,
        "revision": found.revision,
        "data": {name: str(path) for name, path in _found(plan).items()},
        "eval": plan.options.eval,
        "run_card_code": plan.options.run_card_code,
    }
    card = (found.folder / FILE).read_bytes()
    files = {name: path.read_bytes() for name, path in training_files(found.folder).items()}
    parts = [json.dumps(options, sort_keys=True).encode(), card, *(n.encode() + b for n, b in files.items())]
    key = hashlib.sha256(b"\0".join(hashlib.sha256(p).digest() for p in parts)).hexdigest()[:16]
    folder = _folder(state, key)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "training").mkdir(parents=True)
    for name, data in files.items():
        (folder / "training" / name).write_bytes(data)
    (folder / FILE).write_bytes(card)
    write_atomic(folder / _OPTIONS, json.dumps(options, indent=1).encode())
    return key


def load(state: Path, key: str) -> Plan:
    """The plan again.

    Raises:
        UsageError: There is none of that key.
    """
    folder = _folder(state, key)
    try:
        if not re.fullmatch(r"[0-9a-f]{16}", key):
            raise ValueError
        told: dict[str, Any] = json.loads((folder / _OPTIONS).read_text(encoding="utf-8"))
        data = {str(name): Path(path) for name, path in told["data"].items()}
        options = Options(data, told["eval"], bool(told["run_card_code"]))
        found = Found(str(told["called"]), read_card(folder / FILE), folder, str(told["revision"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"There is no reproduction {key[:40]!r}.", "ml-intern reproduce CARD begins one."
        ) from None
    return make_plan(found, options, folder / "nothing")


def _found(plan: Plan) -> dict[str, Path]:
    """What the person named and what was found by itself, by a name that the card has."""
    names: dict[str, Path] = dict(plan.options.data)
    for name, root in (pair for row in plan.card.data for pair in roots_of(row).items()):
        place = plan.places.get(name)
        if place is not None and place.path is not None:
            names.setdefault(root.source, place.path)
    for job in plan.card.trainings:
        place = plan.places.get(job.name)
        if place is not None and place.path is not None and job.model.path:
            names.setdefault(job.model.path, place.path)
    return names


def _folder(state: Path, key: str) -> Path:
    return state / "reproductions" / key
