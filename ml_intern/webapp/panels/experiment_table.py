"""The experiments of a session as HTML: table, intervals, tree, and one of them against its parent."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from ml_intern.durations import show_duration
from ml_intern.hub.card import show
from ml_intern.ledger import Comparison, Experiment, Measured
from ml_intern.reports.drawing import interval_chart
from ml_intern.reports.page import tree_html
from ml_intern.reports.story import Story, shown
from ml_intern.reports.words import escape, p_value, signed
from ml_intern.webapp.panels.ledgers import Ledgered
from ml_intern.webapp.panels.markup import badge, empty, note, pickable, table

_HEAD = ("Experiment", "Verdict", "Dev score [95 %]", "Against parent [95 %]", ">Seed", ">Time", ">Cost")
_LONGEST = 300
MOST_ROWS = 200


def experiment_table(found: Ledgered, picked: str) -> str:
    """All experiments, the newest first."""
    if found.problem:
        return note(found.problem, "red")
    if not found.experiments:
        return empty("No experiments yet. Each run with a hypothesis and a measured result gets a row here.")
    rows = [
        pickable(e.id, e.id == picked, _cells(e, found.against_parent(e)))
        for e in list(reversed(found.experiments))[:MOST_ROWS]
    ]
    left = len(found.experiments) - len(rows)
    return table(_HEAD, rows, tall=True) + (f'<p class="soft">And {left:,} older ones.</p>' if left else "")


def _cells(e: Experiment, held: Comparison | None) -> str:
    of = f" of {e.parent}" if e.parent else ""
    again = f" · again, of {e.replicates}" if e.replicates else ""
    named = f'<div class="name">{escape(e.change[:_LONGEST])}</div>'
    named += f'<div class="soft">{escape(e.id + of + again)}{" · test opened" if e.frozen else ""}</div>'
    usd = "–" if e.cost.usd is None else f"${e.cost.usd:,.2f}"
    ran = show_duration(e.cost.seconds) if e.cost.seconds else "–"
    return (
        f'<td class="wide">{named}</td><td>{badge(e.verdict, e.notes[:_LONGEST])}</td><td>{_score(e)}</td>'
        f'<td>{_gain(held)}</td><td class="num">{e.seed}</td><td class="num">{ran}</td>'
        f'<td class="num">{usd}</td>'
    )


def _score(e: Experiment) -> str:
    if e.score is None:
        return '<span class="soft">not measured</span>'
    return f'{measured(e.score)}<div class="soft">{escape((e.primary or "")[:_LONGEST])}</div>'


def measured(m: Measured) -> str:
    """A value with its interval."""
    return f'<span class="line"><b>{show(m.value)}</b> [{show(m.low)}, {show(m.high)}]</span>'


def _gain(c: Comparison | None) -> str:
    if c is None:
        return '<span class="soft">–</span>'
    told = f"{signed(c.difference)} [{signed(c.low)}, {signed(c.high)}]"
    sure = {
        "held": " · held on new seeds",
        "lost": " · did not hold",
        "open": " · too few seeds to tell",
    }.get(c.confirmation, "")
    return f'<span class="line">{told}</span><div class="soft">{escape(c.verdict)}{sure}</div>'


def experiment_detail(found: Ledgered, e: Experiment | None) -> str:
    """Everything that the ledger holds of one experiment, its comparisons first."""
    if e is None:
        return '<p class="soft">Pick an experiment to see how it stands against the others.</p>'
    parts = [f"<h4>{escape(e.id)} {badge(e.verdict)}</h4>", f"<p>{escape(e.change[:2000])}</p>"]
    if e.hypothesis:
        parts.append(f'<p class="soft">Hypothesis: {escape(e.hypothesis[:2000])}</p>')
    if e.notes:
        parts.append(note(e.notes[:4000]))
    parts += [note(f"Also differs from its parent: {', '.join(e.also)}", "amber")] if e.also else []
    parts += [_compared(c) for c in found.about(e)[-6:]]
    parts.append(_values(e))
    parts.append(_settings(e))
    parts += [_published(p.repo, p.url) for p in e.published]
    return "".join(parts)


def _compared(c: Comparison) -> str:
    colour = {"better": "green", "worse": "red"}.get(c.verdict, "amber")
    p = f", p {p_value(c.p)}" + (f", {p_value(c.p_corrected)} corrected" if c.p_corrected is not None else "")
    told = (
        f"{c.b} against {c.a}: {c.metric} {show(c.value_a)} → {show(c.value_b)}, "
        f"{signed(c.difference)} [{signed(c.low)}, {signed(c.high)}]{p}, {c.n:,} items: {c.verdict}."
    )
    return note(told, colour, " ".join([c.says, *c.notes])[:2000])


def _values(e: Experiment) -> str:
    rows = [(f"dev {n}", m) for n, m in e.dev.items()] + [(f"test {n}", m) for n, m in e.test.items()]
    if not rows:
        return ""
    cells = [
        f"<tr><td>{escape(n)}</td><td>{measured(m)}</td><td class='num'>{m.n:,}</td></tr>" for n, m in rows
    ]
    return "<h4>Measured</h4>" + table(("Metric", "Value [95 %]", ">Items"), cells)


def _settings(e: Experiment) -> str:
    told = {
        **e.config,
        **{f"data {role}": d.get("id", d) if isinstance(d, dict) else d for role, d in e.data.items()},
    }
    told |= {"jobs": ", ".join(e.jobs)} if e.jobs else {}
    if not told:
        return ""
    cells = [
        f"<tr><td>{escape(str(n)[:_LONGEST])}</td><td>{escape(str(v)[:_LONGEST])}</td></tr>"
        for n, v in told.items()
    ]
    return "<h4>What was run</h4>" + table(("Field", "Value"), cells)


def _published(repo: str, url: str) -> str:
    """A link only where it leads to a page, never one that runs something."""
    named = escape(repo)
    if urlsplit(url).scheme in ("http", "https"):
        named = f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{named}</a>'
    return f'<div class="note green"><p>Published: {named}</p></div>'


def intervals(found: Ledgered) -> str:
    """The dev value of each experiment with its interval, one picture a metric that decides."""
    rows = shown(found.experiments, None, 40)
    names = dict.fromkeys(e.primary for e in rows if e.primary)
    return "".join(interval_chart(f"dev {name} with 95 % intervals", rows, name) for name in names)


def tree(found: Ledgered) -> str:
    """Each experiment below the one that it was held against."""
    if not found.experiments:
        return ""
    story = Story({}, list(found.experiments), list(found.comparisons), None)
    return f"<h4>Tree</h4>{tree_html(story)}"


def find(experiments: Sequence[Experiment], id: str) -> Experiment | None:
    """The experiment of that id."""
    return next((e for e in experiments if e.id == id), None)
