"""The report of a session: what was asked, tried, measured, concluded and published.

Made from the session's folder alone, so it can be written during a run, after it, and after a crash.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from ml_intern.hub import curves
from ml_intern.hub.card import line, show, table
from ml_intern.hub.objects import write_atomic
from ml_intern.hub.pages import STYLE, markdown
from ml_intern.jobs.metrics import rows as metric_rows
from ml_intern.ledger import Comparison, Experiment, Ledger, Measured
from ml_intern.masking import mask

_TREE = "Tree of experiments"
_CURVES = ("loss", "eval_loss", "grad_norm", "learning_rate", "reward", "entropy")


@dataclass(frozen=True)
class Story:
    """Everything the report tells.

    Attributes:
        card: ``session.json``.
        jobs: ``status.json`` of each job, oldest first.
        metrics: Rows of metrics by job.
    """

    card: dict[str, Any]
    experiments: Sequence[Experiment]
    comparisons: Sequence[Comparison]
    best: Experiment | None
    jobs: Sequence[dict[str, Any]] = ()
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def write_report(session: Path, to: Path | None = None) -> Path:
    """Write ``report.md`` and ``report.html``; the path of the HTML file, which needs no other file.

    Args:
        session: The session's folder.
        to: Where the report goes; ``report`` in the session's folder when it is not said.
    """
    target = to or session / "report"
    target.mkdir(parents=True, exist_ok=True)
    story = read_story(session)
    text = mask(report_markdown(story))
    write_atomic(target / "report.md", text.encode())
    write_atomic(target / "report.html", mask(report_html(story)).encode())
    return target / "report.html"


def read_story(session: Path) -> Story:
    """Collect what a session's folder says. What is missing is left out."""
    ledger = Ledger(session / "ledger.sqlite")
    try:
        experiments, comparisons, best = ledger.list(), ledger.comparisons(), ledger.best()
    finally:
        ledger.close()
    jobs = sorted(
        (found for p in session.glob("jobs/*/status.json") if (found := {"id": p.parent.name, **_read(p)})),
        key=lambda j: j.get("created") or 0,
    )
    metrics = {j["id"]: metric_rows(session / "jobs" / j["id"] / "metrics.jsonl") for j in jobs}
    return Story(_read(session / "session.json"), experiments, comparisons, best, jobs, metrics)


def report_markdown(story: Story) -> str:
    """The report as Markdown."""
    return (
        "\n\n".join([_head(story), *(f"## {title}\n\n{text}" for title, text in _sections(story) if text)])
        + "\n"
    )


def report_html(story: Story) -> str:
    """The report as one HTML page without scripts, with the curves in it."""
    parts = [markdown(_head(story))]
    for title, text in _sections(story):
        drawn = _pictures(title, story)
        if text or drawn:
            parts.append(markdown(f"## {title}\n\n{'' if title == _TREE else text}") + drawn)
    name = f"Session {story.card.get('id', '')}"
    body = "".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _head(story: Story) -> str:
    card = story.card
    told = [
        f"# Session {card.get('id', '')}".rstrip(),
        f"> {line(card['prompt'])}" if card.get("prompt") else "",
        ", ".join(
            f"{name} {line(card[key])}"
            for name, key in (("status", "status"), ("model", "model"), ("begun", "created"))
            if card.get(key)
        ),
    ]
    return "\n\n".join(t for t in told if t)


def _sections(story: Story) -> list[tuple[str, str]]:
    return [
        ("What came of it", _outcome(story)),
        ("Experiments", _experiments(story)),
        ("Comparisons", "\n".join(f"- {line(c.says)}" for c in story.comparisons)),
        (_TREE, _tree(story.experiments) if story.experiments else ""),
        ("Learning curves", _last_values(story)),
        ("Jobs", _jobs(story)),
    ]


def _outcome(story: Story) -> str:
    published = [p for e in story.experiments for p in e.published]
    lines = []
    if story.best:
        lines.append(f"- Best by dev score: `{story.best.id}`, {line(story.best.change)}.")
    frozen = next((e for e in story.experiments if e.frozen), None)
    if frozen:
        told = (
            "; ".join(f"{name} {_show(m)}" for name, m in frozen.test.items()) or "no eval has a test split"
        )
        lines.append(f"- Sealed test, scored once for `{frozen.id}`: {told}.")
    lines += [f"- Published: [{line(p.repo)}]({p.url}), commit `{p.commit}`." for p in published]
    seconds = sum(e.cost.seconds for e in story.experiments)
    known = [e.cost.usd for e in story.experiments]
    usd = "an unknown number of dollars" if None in known else f"{sum(u or 0 for u in known):.2f} dollars"
    count = len(story.experiments)
    lines.append(f"- {count} experiment{'s' if count != 1 else ''}, {seconds:.1f} seconds of jobs, {usd}.")
    return "\n".join(lines)


def _experiments(story: Story) -> str:
    names = list(dict.fromkeys(name for e in story.experiments for name in e.dev))
    head = ["experiment", "parent", "change", "seed", *(f"dev {n}" for n in names), "verdict", "notes"]
    rows = [
        [f"`{e.id}`", f"`{e.parent}`" if e.parent else "", line(e.change), str(e.seed)]
        + [_show(e.dev[n]) if n in e.dev else "" for n in names]
        + [e.verdict, line(e.notes)]
        for e in story.experiments
    ]
    return table(head, rows) if rows else "None."


def _tree(experiments: Sequence[Experiment], parent: str | None = None, depth: int = 0) -> str:
    known = {e.id for e in experiments}
    lines = []
    for e in experiments:
        if (e.parent if e.parent in known else None) == parent:
            lines.append(f"{'  ' * depth}- `{e.id}` {e.verdict}: {line(e.change)}. {line(e.hypothesis)}")
            if below := _tree(experiments, e.id, depth + 1):
                lines.append(below)
    return "\n".join(lines)


def _last_values(story: Story) -> str:
    names = [n for n in _CURVES if any(n in row for rows in story.metrics.values() for row in rows)]
    rows = []
    for job, found in story.metrics.items():
        last = {k: v for row in found for k, v in row.items() if isinstance(v, int | float)}
        if found:
            values = [f"{last[n]:.4g}" if n in last else "" for n in names]
            rows.append([f"`{job}`", str(int(last.get("step", 0))), *values])
    return table(["job", "step", *(f"last {n}" for n in names)], rows) if rows else ""


def _jobs(story: Story) -> str:
    rows = [
        [
            f"`{j['id']}`",
            line(str(j.get("method", ""))),
            str(j.get("state", "")),
            _duration(j),
            line(_failure(j)),
        ]
        for j in story.jobs
    ]
    return table(["job", "method", "state", "seconds", "failure"], rows) if rows else ""


def _pictures(title: str, story: Story) -> str:
    if title == _TREE:
        return curves.tree(story.experiments)
    if title == "Experiments":
        metrics = dict.fromkeys(e.primary for e in story.experiments if e.primary)
        return "".join(
            curves.interval_chart(f"dev {m} with 95 % intervals", story.experiments, m) for m in metrics
        )
    if title == "Learning curves":
        return "".join(curves.line_chart(name, _series(story, name)) for name in _CURVES)
    return ""


def _series(story: Story, name: str) -> dict[str, list[tuple[float, float]]]:
    found = {
        job: [
            (float(r["step"]), float(r[name]))
            for r in rows
            if _number(r.get("step")) and _number(r.get(name))
        ]
        for job, rows in story.metrics.items()
    }
    return {job: points for job, points in found.items() if points}


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _show(m: Measured) -> str:
    return f"{show(m.value)} ({show(m.low)} to {show(m.high)})"


def _duration(job: dict[str, Any]) -> str:
    began, ended = job.get("started"), job.get("ended")
    return f"{float(ended) - float(began):.1f}" if _number(began) and _number(ended) else ""


def _failure(job: dict[str, Any]) -> str:
    found = job.get("failure")
    return f"{found.get('kind', '')}: {found.get('message', '')}" if isinstance(found, dict) else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
