"""The last words of a run: the answer, the experiments, what it cost, and where everything is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ml_intern.cli.board import clean, show_measured, show_number
from ml_intern.durations import show_duration


def ending(result: Mapping[str, Any], report: str = "", state: Path | None = None) -> list[str]:
    """Lines for people.

    Args:
        result: The object that `--json` prints.
        report: Where the report is, or why there is none.
        state: The state folder, where a flag named one: the person then needs it again.
    """
    lines = clean(result["answer"]).splitlines()
    if result["experiments"]:
        lines += ["", *_experiments(result["experiments"])]
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


def _experiments(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each row of the ledger; the one whose test split was opened says what came of it."""
    table = [
        (
            row["id"],
            row["verdict"],
            show_measured(row.get("dev") or {}),
            clean(row["change"]),
            row.get("test") or {},
        )
        for row in rows
    ]
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    lines = []
    for id_, verdict, dev, change, test in table:
        cells = (cell.ljust(width) for cell, width in zip((id_, verdict, dev), widths, strict=True))
        lines.append("  ".join([*cells, change]).rstrip())
        if test:
            lines.append(f"{'':{widths[0]}}  sealed test: {show_measured(test)}")
    return lines


def _serve_again(published: list[dict[str, Any]], state: Path | None) -> list[str]:
    """The embedded Hub ends with the run; its addresses hold again once it is served on the same port."""
    ports = {
        url.port for item in published if (url := urlsplit(item["url"])).hostname in ("127.0.0.1", "::1")
    }
    where = f" --state {shlex.quote(str(state))}" if state else ""
    return [f"serve it   ml-intern hub serve --port {port}{where}" for port in sorted(filter(None, ports))]


def _spent(result: Mapping[str, Any]) -> str:
    tokens = result["tokens"]
    parts = [f"{result['steps']} steps"]
    if used := result["budget"].get("seconds"):
        parts.append(show_duration(used["spent"]))
    if tokens["output"]:
        parts.append(f"{tokens['input']:,}+{tokens['output']:,} tokens")
    parts.append(f"{result['cost']:.2f} usd")
    for unit, use in result["budget"].items():
        if use["cap"] is not None:
            parts.append(
                f"{unit.replace('_', '-')} used {show_number(use['spent'])} of {show_number(use['cap'])}"
            )
    return " · ".join(parts)
