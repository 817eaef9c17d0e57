"""What stays below the cell: the answer, the experiments with their intervals, curves, what was published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ml_intern.cli.board import clean
from ml_intern.durations import show_duration
from ml_intern.jobs.curves import is_number
from ml_intern.notebook.figure import that_matter
from ml_intern.notebook.frames import courses
from ml_intern.notebook.parts import block, esc, link, markdown, table, tag
from ml_intern.notebook.progress import CODE_CHARS, OUTPUT_CHARS, Turn, costs, notices
from ml_intern.reports import drawing, words
from ml_intern.reports.story import shown

if TYPE_CHECKING:
    from ml_intern.ledger import Experiment, Measured
    from ml_intern.result import RunResult
    from ml_intern.session.undoing import Undone

CURVES = ("loss", "eval_loss", "reward")
METRICS = 4
"""Metrics that the table has; `experiments` of the result has all."""
ALL_CELLS_CHARS = 60_000


def outcome(result: RunResult, turn: Turn | None = None) -> str:
    """The page of a result.

    Args:
        result: What came of the run.
        turn: What was seen meanwhile: its cells, warnings and questions are told, too.
    """
    if turn is not None and turn.further:
        result = _news(result, turn)
    parts = [_head(result, turn)]
    parts += [markdown(result.answer)] if result.answer else []
    parts += _published(result)
    parts += _troubles(result, turn)
    parts += _asked(turn) if turn else []
    parts += _experiments(result)
    parts += _curves(result, turn)
    parts += _cells(turn) if turn else []
    return block(parts)


def _news(result: RunResult, turn: Turn) -> RunResult:
    """The result without what came of earlier turns; what new experiments are held against stays."""
    new = turn.board.experiments.keys()
    against = {e.parent for e in result.ledger if e.id in new}
    published = {item.repo for item in turn.board.published}
    return replace(
        result,
        ledger=[e for e in result.ledger if e.id in new or e.id in against],
        published=[item for item in result.published if item["repo"] in published],
        errors=[],
    )


def _head(result: RunResult, turn: Turn | None) -> str:
    seconds = result.budget.get("seconds", {}).get("spent") or 0.0
    told = [
        f"{result.steps} step{'s' if result.steps != 1 else ''}",
        *costs(result.budget, result.tokens.get("input", 0), result.tokens.get("output", 0), seconds),
        result.session,
    ]
    title = f" <b>{esc(turn.prompt, 200)}</b><br>" if turn else " "
    return f'<p>{tag(result.status)}{title}<span class="soft">{" · ".join(map(esc, told))}</span></p>'


def _troubles(result: RunResult, turn: Turn | None) -> Iterator[str]:
    """Warnings as they were told; errors, which a result always has."""
    if turn is not None:
        yield from notices(turn.notices)
    told = {notice.text for notice in turn.notices} if turn else set()
    for error in result.errors:
        if error not in told:
            yield f'<p class="bad">{esc(error, 600)}</p>'
    if result.status in ("interrupted", "limit"):
        ways = '<code>agent.resume()</code> or <code>agent.tell("…")</code>'
        yield f'<p class="soft">It goes on with {ways}.</p>'


def _published(result: RunResult) -> Iterator[str]:
    for item in result.published:
        yield f"<p>Published the {esc(item['type'])} {link(item['url'], item['repo'])}</p>"


def _experiments(result: RunResult) -> Iterator[str]:
    if not result.ledger:
        return
    rows = shown(result.ledger, result.best, 30)
    names = list(dict.fromkeys(name for e in rows for name in e.dev))
    first = next((e.primary for e in reversed(rows) if e.primary in names), None)
    names = sorted(names, key=lambda name: name != first)[:METRICS]
    head = ["experiment", "change", "parent", "seed", *(f"dev {esc(n)}" for n in names), "verdict"]
    yield "<h4>Experiments</h4>" + table(head, [_row(e, names, result.best) for e in rows])
    if left := len(result.ledger) - len(rows):
        yield f'<p class="soft">And {left} more: <code>result.experiments</code> has all.</p>'
    for e in rows:
        for name, measured in e.test.items():
            yield f"<p>Sealed test of <code>{esc(e.id)}</code>: {esc(name)} {_value(measured)}</p>"
    if first and sum(first in e.dev for e in rows) > 1:
        yield drawing.interval_chart(f"dev {first} with 95 % intervals", rows, first)


def _row(e: Experiment, names: Sequence[str], best: Experiment | None) -> list[str]:
    mark = " ★" if best is not None and best.id == e.id else ""
    return [
        f"<code>{esc(e.id)}</code>{mark}",
        esc(e.change, 160),
        f"<code>{esc(e.parent)}</code>" if e.parent else "",
        str(e.seed),
        *(_value(e.dev.get(name)) for name in names),
        drawing.badge(e.verdict),
    ]


def _value(measured: Measured | None) -> str:
    return f'<span class="num">{esc(words.value(measured))}</span>'


def _curves(result: RunResult, turn: Turn | None) -> Iterator[str]:
    found = dict(courses(result.folder))
    if turn is not None and turn.further:
        found = {job: rows for job, rows in found.items() if job in turn.board.jobs}
    for name in CURVES:
        series = {
            job: [(float(row["step"]), float(row[name])) for row in rows if is_number(row.get(name))]
            for job, rows in found.items()
        }
        series = {job: points for job, points in series.items() if len(points) > 1}
        chosen = {job: series[job] for job in that_matter(list(series), result.ledger, result.best)}
        yield drawing.line_chart(name, chosen, left_out=len(series) - len(chosen)) if chosen else ""


def _asked(turn: Turn) -> Iterator[str]:
    for question, answer in turn.asked.values():
        word = "not answered" if answer is None else "allowed" if answer.allowed else "denied"
        told = f": {answer.reason}" if answer is not None and answer.reason else ""
        yield f'<p class="soft"><b>{esc(question.tool)}</b> {word}{esc(told, 300)}</p>'


def _cells(turn: Turn) -> Iterator[str]:
    """The cells that ran, folded; of very much text the newest."""
    if not turn.cells:
        return
    parts: list[str] = []
    room = ALL_CELLS_CHARS
    for cell in reversed(turn.cells):
        code, output = cell.code[:CODE_CHARS], _tail(cell.observation)
        room -= len(code) + len(output)
        if room < 0:
            break
        mark = "✗" if cell.ok is False else "✓"
        told = f'<p class="soft">{mark} step {cell.step} · {show_duration(cell.seconds)}</p>'
        seen = f'<pre class="soft">{esc(output)}</pre>' if output else ""
        parts.append(f"{told}<pre>{esc(code)}</pre>{seen}")
    count = len(turn.cells)
    left = f"<p class='soft'>{count - len(parts)} earlier ones</p>" if len(parts) < count else ""
    many = f"{count} cell{'s' if count != 1 else ''}"
    yield f"<details><summary>{many}</summary>{left}{''.join(reversed(parts))}</details>"


def _tail(text: str) -> str:
    flat = clean(text).strip()
    return flat if len(flat) <= OUTPUT_CHARS else f"…{flat[-OUTPUT_CHARS:]}"


def experiment(e: Experiment) -> str:
    """The page of one experiment."""
    rows = [
        ["change", esc(e.change)],
        ["hypothesis", esc(e.hypothesis)],
        ["parent", esc(e.parent or "")],
        ["seed", str(e.seed)],
        *([f"dev {esc(name)}", _value(m)] for name, m in e.dev.items()),
        *([f"test {esc(name)}", _value(m)] for name, m in e.test.items()),
        ["jobs", esc(", ".join(e.jobs))],
        [
            "cost",
            "unknown" if e.cost.usd is None else f"{e.cost.usd:.2f} usd, {show_duration(e.cost.seconds)}",
        ],
        ["notes", esc(e.notes)],
    ]
    published = [["published", link(p.url, p.repo)] for p in e.published]
    head = f"<p><code>{esc(e.id)}</code> {drawing.badge(e.verdict)}</p>"
    return block([head, table([], [row for row in [*rows, *published] if row[1]])])


def undone(found: Undone) -> str:
    """The page of a turn that was taken back."""
    what = f"the turn “{esc(found.prompt, 200)}”" if found.prompt else "the first turn"
    files = "The workspace is as it was." if found.workspace else "The workspace stays as it is."
    stays = "".join(f"<li>{esc(call)}</li>" for call in found.stays)
    lasting = f"<p>What nothing takes back:</p><ul>{stays}</ul>" if stays else ""
    steps = f"{found.steps} step{'s' if found.steps != 1 else ''}"
    return block([f"<p>Undone: {what}, {steps}. {files}</p>", lasting])
