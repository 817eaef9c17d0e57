"""The last words of a run: the answer, the experiments, what it cost, and where everything is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ml_intern.cli.board import clean, show_spent
from ml_intern.cli.calm import count
from ml_intern.cli.experiments import lines_of


def ending(
    result: Mapping[str, Any],
    report: str = "",
    state: Path | None = None,
    comparisons: Sequence[Mapping[str, Any]] = (),
    width: int | None = None,
) -> list[str]:
    """Lines for people.

    Args:
        result: The object that `--json` prints.
        report: Where the report is, or why there is none.
        state: The state folder, where a flag named one: the person then needs it again.
        comparisons: How experiments stand against each other, as the ledger has it.
        width: Columns of the terminal; None: nothing is cut.
    """
    lines = clean(result["answer"]).splitlines()
    if result["experiments"]:
        lines += ["", *lines_of(result["experiments"], comparisons, width), ""]
    lines += [f"published  {item['type']} {item['repo']} {item['url']}" for item in result["published"]]
    lines += _serve_again(result["published"], state)
    if report:
        lines.append(f"report     {report}")
    lines += [f"session    {result['session']} · {result['status']} · {_spent(result)}"]
    return lines


def failure(line: str, code: int, session: str | None = None) -> dict[str, Any]:
    """What `--json` says of a run without a result: the keys of every other run, with the reason."""
    status = {2: "usage", 3: "limit", 4: "denied", 5: "no_brain", 130: "interrupted"}.get(code, "failed")
    nothing: dict[str, Any] = {"session": session, "status": status, "answer": "", "steps": 0}
    nothing |= {"tokens": {"input": 0, "output": 0}, "cost": 0.0, "budget": {}, "experiments": [], "jobs": []}
    return nothing | {"published": [], "errors": [line]}


def _serve_again(published: list[dict[str, Any]], state: Path | None) -> list[str]:
    """The embedded Hub ends with the run; its addresses hold again once it is served on the same port."""
    ports = {
        url.port for item in published if (url := urlsplit(item["url"])).hostname in ("127.0.0.1", "::1")
    }
    where = f" --state {shlex.quote(str(state))}" if state else ""
    return [f"serve it   ml-intern hub serve --port {port}{where}" for port in sorted(filter(None, ports))]


def _spent(result: Mapping[str, Any]) -> str:
    tokens, budget = result["tokens"], result["budget"]
    parts = [count(result["steps"], "step")]
    if tokens["output"]:
        parts.append(f"{tokens['input']:,}+{tokens['output']:,} tokens")
    # Time and money are told in any case, the others where they have a ceiling.
    told = {"seconds": {"cap": None}, "usd": {"spent": result["cost"], "cap": None}} | budget
    for unit, use in told.items():
        if "spent" in use and (use["cap"] is not None or unit in ("seconds", "usd")):
            parts.append(show_spent(unit, use["spent"], use["cap"]))
    return " · ".join(parts)
