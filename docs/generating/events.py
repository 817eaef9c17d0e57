"""The reference of what a session tells the world: events, the object of --json, exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields

from generating.markdown import Docstring, code, document, prose, sentence, table
from ml_intern import errors, events
from ml_intern.cli.ending import failure
from ml_intern.result import RunResult

INTRO = """\
A session is one stream of typed events; every view of it reads the same ones. `MLIntern.stream` yields
them, and `event.to_json()` is one JSON object: `event` names its kind, and the fields below stand beside
it. Fields may be added later; the ones here stay."""

EVERY = """\
Every event has `at` (seconds since the epoch) and `source` (empty for the session itself, `research:2`
for what a sub-agent did)."""

JSON = """\
## The JSON object of a run

With `--json` a run prints one JSON object on the standard output and nothing else. A run that could not
begin has the same keys, with the reason in `errors`."""

OTHERS = """\
The commands that list something print one object with a key of that name: `sessions`, `jobs`,
`experiments`, `tools`, `evals`, `playbooks`, `checks` (doctor). Their own failures print the object
above."""

CODES = """\
The code says what to do next: `2` is a matter of the words, `3` and `130` are resumed with `ml-intern
resume`, `4` with `--yes` or in a terminal."""


def page() -> str:
    """Events and the object of --json."""
    kinds = [kind for _, kind in inspect.getmembers(events, inspect.isclass) if _is_event(kind)]
    kinds.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
    told = [part for kind in kinds for part in _event(kind)]
    return document("Events and --json", INTRO, EVERY, "## Events", *told, JSON, _result(), OTHERS)


def _is_event(kind: type) -> bool:
    return issubclass(kind, events.Event) and kind is not events.Event


def _event(kind: type[events.Event]) -> Iterator[str]:
    told = Docstring.of(kind)
    yield f"### {kind.__name__}"
    yield from told.prose
    described = told.sections.get("Attributes", {})
    inherited = {f.name for f in fields(events.Event)} - set(described)
    rows = [
        (code(f.name), code(str(f.type)), prose(sentence(described.get(f.name, ""))))
        for f in fields(kind)
        if f.name not in inherited
    ]
    if any(row[2] for row in rows):
        yield table(("field", "type", "what"), rows)
    else:
        yield table(("field", "type"), [row[:2] for row in rows])


TOLD = {
    "experiments": "The rows of the ledger",
    "claims": "The answer's numbers: `verified`, `unverified`, `computed`, `quoted`, `overstated`; or null",
    "replay": "Of `ml-intern replay` alone: where it differs from the session that it played",
    "reproduction": "Of `ml-intern reproduce` alone: the card's numbers beside those of today",
}
"""What the words of `RunResult`, which are for Python, do not say of the JSON."""
JSON_TYPES = {str: "string", int: "number", float: "number", dict: "object", list: "array"}


def _result() -> str:
    told = Docstring.of(RunResult).sections["Attributes"] | TOLD
    types = {name: JSON_TYPES[type(value)] for name, value in failure("", 1, "").items()}
    types |= dict.fromkeys(("claims", "replay", "reproduction"), JSON_TYPES[dict])
    rows = [(code(name), code(kind), prose(sentence(told[name]))) for name, kind in types.items()]
    return table(("key", "type", "what"), rows)


def exit_codes() -> str:
    """The exit codes, from the errors that carry them."""
    kinds = [k for _, k in inspect.getmembers(errors, inspect.isclass) if issubclass(k, errors.InternError)]
    own = [k for k in kinds if k is errors.InternError or "exit_code" in vars(k)]
    rows = [("`0`", "", "Done.")]
    for kind in sorted(own, key=lambda kind: kind.exit_code):
        told = Docstring.of(kind).prose[0]
        rows.append((code(str(kind.exit_code)), code(kind.__name__), told))
    return document("Exit codes", table(("code", "error", "what"), rows), CODES)
