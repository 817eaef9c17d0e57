"""Events that are one line of a page: questions and answers, jobs, experiments, notices, publications."""

from __future__ import annotations

from collections.abc import Iterator

from ml_intern.cli.board import shorten, show_metrics
from ml_intern.events import (
    ApprovalAnswered,
    ApprovalNeeded,
    ContextCompacted,
    Event,
    ExperimentChanged,
    JobChanged,
    Notice,
    Published,
)
from ml_intern.webapp.markup import cut, text

_JOB_OVER = {"succeeded": "good", "failed": "bad", "cancelled": "quiet"}


def lines_of(event: Event) -> Iterator[tuple[str, str]]:
    """Events that are one line: the item's id (empty: a new one) and its HTML."""
    match event:
        case ApprovalNeeded():
            yield f"ask-{event.call}", line(f"Asks to {event.tool}: {event.reason}", "ask")
        case ApprovalAnswered():
            word = "Allowed" if event.allowed else "Denied"
            by = "" if event.by == "person" else " (nobody answered)"
            yield (
                "",
                line(
                    f"{word}{by}{': ' if event.reason else ''}{event.reason}",
                    "good" if event.allowed else "bad",
                ),
            )
        case JobChanged():
            yield f"job-{event.job}", _job(event)
        case ExperimentChanged():
            measured = show_metrics(event.metrics)
            told = f"Experiment {event.experiment}: {shorten(event.change, 120)}"
            yield (
                f"experiment-{event.experiment}",
                line(" · ".join(filter(None, (told, event.verdict, measured))), "quiet"),
            )
        case Published():
            yield f"published-{event.kind_of_repo}-{event.repo}", _published(event)
        case Notice():
            level = {"warning": "warn", "error": "bad"}.get(event.level, "quiet")
            yield "", line(event.text, level)
        case ContextCompacted():
            yield "", line(f"Older steps were {event.how} to make room.", "quiet")


def plain(words: str) -> str:
    """Text with its line ends."""
    return text(cut(words)).replace("\n", "<br>")


def line(words: str, kind: str) -> str:
    """One line; its kind says how it looks."""
    return f'<div class="mi-line mi-{kind}">{plain(words)}</div>'


def _published(event: Published) -> str:
    shown = text(event.url)
    link = f'<a href="{shown}" target="_blank" rel="noopener noreferrer">{shown}</a>'
    if not event.url.startswith(("http://", "https://")):
        link = shown
    return (
        f'<div class="mi-published"><b>Published {text(event.kind_of_repo)}</b> '
        f"<span>{text(event.repo)}</span> {link}</div>"
    )


def _job(event: JobChanged) -> str:
    share = min(1.0, event.step / event.total_steps) if event.total_steps > 0 else 0.0
    steps = f"{event.step:,} / {event.total_steps:,}" if event.total_steps > 0 else ""
    shown = {name: value for name, value in event.metrics.items() if name in ("loss", "eval_loss", "reward")}
    kind = _JOB_OVER.get(event.state, "runs")
    return (
        f'<div class="mi-job mi-{kind}"><span class="mi-dot"></span><b>{text(event.name)}</b> '
        f'<span class="mi-state">{text(event.state)}</span>'
        f"{bar(share)}<span>{steps}</span><span>{text(show_metrics(shown))}</span></div>"
    )


def bar(share: float) -> str:
    """How far something has come, 0 to 1."""
    return f'<progress max="100" value="{100 * share:.0f}"></progress>'
