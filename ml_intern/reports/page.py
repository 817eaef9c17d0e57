"""A report as one HTML file: no scripts, nothing loaded, read on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Sequence

from ml_intern.hub.pages import markdown
from ml_intern.ledger import Experiment
from ml_intern.papers.drawing import graph_svg
from ml_intern.papers.graph import Graph
from ml_intern.reports import drawing, lineage
from ml_intern.reports.sections import (
    CURVES,
    DATA,
    EXPERIMENTS,
    PAPERS,
    TREE,
    head,
    sections,
)
from ml_intern.reports.story import DRAWN, SHOWN, Story, is_number, shown
from ml_intern.reports.tree import best_of, branches
from ml_intern.reports.words import escape
from ml_intern.reports.workings import METRICS

STYLE = (
    ":root{color-scheme:light dark;--ink:#1b1f24;--page:#fff;--line:#d0d7de;--soft:#57606a;--box:#f3f4f6;"
    "--link:#0a58ca}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--page:#15181c;--line:#3a424c;--soft:#9aa4b0;"
    "--box:#22272e;--link:#7db4ff}}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem;"
    "color:var(--ink);background:var(--page);overflow-wrap:anywhere}"
    "h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid var(--line)}"
    "blockquote{margin:0;padding:.2rem .8rem;border-left:4px solid var(--line);color:var(--soft)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;margin:.6rem 0;font-size:.9rem}"
    "td,th{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top;"
    "overflow-wrap:normal}"
    "code,pre{background:var(--box);border-radius:4px}code{padding:.1em .3em}pre{padding:.8rem;overflow:auto}"
    "a{color:var(--link)}figure{margin:1rem 0}figcaption{color:var(--soft);font-size:.9rem}"
    "svg{max-width:100%;height:auto}svg text{font-size:12px;fill:currentColor}"
    "svg .grid{stroke:var(--line)}svg .edge{stroke:var(--soft)}svg .box{fill:var(--box);stroke:var(--line)}"
    ".key{white-space:nowrap}ul.tree,ul.tree ul{padding-left:1.1rem}"
    ".verdict{color:#fff;border-radius:4px;padding:0 .4em;font-size:.85em}"
    "@media(max-width:40rem){body{font-size:15px;padding:0 .6rem}h1{font-size:1.25rem}"
    "svg text{font-size:16px}}"
    "@media print{body{max-width:none}figure,tr{break-inside:avoid}}"
)


def report_html(story: Story) -> str:
    """The report as one page, with the curves, the tree and the graph of the data in it."""
    parts = [markdown(head(story))]
    for title, text in sections(story):
        drawn = _pictures(title, story) if text else ""
        if text:
            parts.append(markdown(f"## {title}\n\n{'' if title == TREE else text}") + drawn)
    body = (
        "".join(parts).replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    )
    name = f"Session {escape(str(story.card.get('id', '')))}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _pictures(title: str, story: Story) -> str:
    if title == TREE:
        return tree_html(story)
    if title == EXPERIMENTS:
        rows = shown(story.experiments, story.best)
        names = dict.fromkeys(e.primary for e in rows if e.primary)
        return "".join(
            drawing.interval_chart(f"dev {name} with 95 % intervals", rows, name) for name in names
        )
    if title == PAPERS:
        return "".join(_citations(graph) for graph in story.graphs)
    if title == CURVES:
        return "".join(_curve(story, name) for name in METRICS)
    return lineage.graph(story.data) if title == DATA else ""


def _citations(graph: Graph) -> str:
    told = "Years to the right, citations upwards; the paper that it began with is red."
    return f"<figure>{graph_svg(graph)}<figcaption>{told}</figcaption></figure>"


def _curve(story: Story, name: str) -> str:
    series = _series(story, name)
    chosen = dict(list(series.items())[:DRAWN])
    marks = [
        (float(seen.step), f"{job}: {seen.kind.replace('_', ' ')}")
        for job in chosen
        for seen in story.alerts.get(job, [])
    ]
    return drawing.line_chart(
        name, chosen, marks if name in ("loss", "reward") else (), len(series) - len(chosen)
    )


def _series(story: Story, name: str) -> dict[str, list[tuple[float, float]]]:
    found = {
        job: [
            (float(r["step"]), float(r[name]))
            for r in rows
            if is_number(r.get("step")) and is_number(r.get(name))
        ]
        for job, rows in story.metrics.items()
    }
    return {job: points for job, points in found.items() if points}


def tree_html(story: Story) -> str:
    """The experiments as nested lists, each below the one it was held against; the first of very many."""
    parts: list[str] = []
    depth = -1
    count = 0
    for at, node in branches(story):
        count += 1
        if count > 2 * SHOWN:
            continue
        at = min(at, 12)
        if at > depth:
            parts.append('<ul class="tree">' * (at - depth))
        else:
            parts.append("</li>" + "</ul></li>" * (depth - at))
        parts.append(f"<li>{_sweep(story, node) if isinstance(node, tuple) else _node(node, story.expected)}")
        depth = at
    parts.append("</li></ul>" * (depth + 1))
    more = f"<p>And {count - 2 * SHOWN:,} more.</p>" if count > 2 * SHOWN else ""
    return "".join(parts) + more


def _node(e: Experiment, expected: dict[str, list[str]]) -> str:
    score = f" · {escape(e.primary or '')} {e.score.value:.4g}" if e.score else ""
    again = f" · again, of {escape(e.replicates)}" if e.replicates else ""
    named = f"<strong>{escape(e.id)}</strong> {drawing.badge(e.verdict)}"
    loose = expected.get(e.id)
    hoped = f". {escape(e.hypothesis[:300])}" if e.hypothesis else ""
    mark = f" <strong>(not measured: {escape(', '.join(loose[:5]))})</strong>" if loose else ""
    return f"{named}{score}{again}<br>{escape(e.change[:300])}{hoped}{mark}"


def _sweep(story: Story, trials: Sequence[Experiment]) -> str:
    top = best_of(trials)
    best = (
        f" · best {escape(top.id)} {escape(top.primary or '')} {top.score.value:.4g}"
        if top and top.score
        else ""
    )
    counts = {v: sum(e.verdict == v for e in trials) for v in dict.fromkeys(e.verdict for e in trials)}
    told = " ".join(f"{drawing.badge(v)} {n}" for v, n in counts.items())
    return f"<strong>{escape(story.sweep_of(trials[0]))}</strong>, {len(trials)} trials {told}{best}"
