"""How a session worked: evaluations, curves, data, contamination, cost, jobs, refusals, environment."""

from __future__ import annotations

import math

from ml_intern.durations import show_duration
from ml_intern.hub.card import table, tidy
from ml_intern.papers.graph import Graph
from ml_intern.papers.ids import try_id
from ml_intern.reports.findings import dollars
from ml_intern.reports.story import SHOWN, Job, Story, counted, is_number, shown
from ml_intern.reports.words import LONGEST, line, more, short

BEST = 5
"""Papers of a citation graph that are named."""
METRICS = ("loss", "eval_loss", "grad_norm", "learning_rate", "reward", "entropy")


def evals(story: Story) -> str:
    """The sealed evaluations: what they can tell, and how often dev was asked."""
    rows = [
        [
            f"`{line(e.name)}`",
            ", ".join(f"{split} {count:,}" for split, count in e.rows.items()),
            ", ".join(e.scorers),
            f"{story.queries.get(e.name, 0)}",
            f"`{e.sha256[:16]}`",
        ]
        for e in story.evals
    ]
    if not rows:
        return ""
    told = [
        f"- `{line(e.name)}`, {split}: {line(d.says)}"
        for e in story.evals
        for split, d in e.detectable.items()
    ]
    return "\n\n".join([table(["eval", "items", "scorers", "dev queries", "sha256"], rows), "\n".join(told)])


def last_values(story: Story) -> str:
    """Where the curves of the jobs that matter ended."""
    tables = {job: rows for job, rows in story.metrics.items() if rows}
    names = [n for n in METRICS if any(n in row for rows in tables.values() for row in rows)]
    cells = []
    for job, found in tables.items():
        last = {k: v for row in found for k, v in row.items() if is_number(v)}
        values = [f"{last[n]:.4g}" if n in last else "" for n in names]
        cells.append([f"`{job}`", str(int(last.get("step", 0))), *values])
    rest = more(len(story.jobs) - len(story.metrics), "job")
    return table(["job", "step", *(f"last {n}" for n in names)], cells) + rest if cells else ""


def alerts(story: Story) -> str:
    """What the rules saw in the curves."""
    lines = [
        f"- `{job}`, step {seen.step}, {seen.kind.replace('_', ' ')}: "
        f"{line(seen.message)} {line(seen.suggestion)}"
        for job, found in story.alerts.items()
        for seen in found
    ]
    return "\n".join(lines[:SHOWN]) + more(len(lines) - SHOWN, "alert") if lines else ""


def data(story: Story) -> str:
    """The datasets of the session, with rows and hashes."""
    rows = [
        [
            f"`{d.id}`",
            line(d.operation),
            line(", ".join(d.parents) or str(tidy(d.source))[:LONGEST]),
            f"{d.rows_before:,}",
            f"{d.rows:,}",
            f"`{d.sha256[:16]}`",
        ]
        for d in story.data
    ]
    told = table(["dataset", "made by", "from", "rows in", "rows out", "sha256"], rows) if rows else ""
    return told + more(story.more_data, "earlier dataset") if told else ""


def contamination(story: Story) -> str:
    """What the guard looked at, what it left out and what it stopped."""
    if not story.evals:
        return ""
    items = sum(sum(e.rows.values()) for e in story.evals)
    trained = sum(j.method in ("pretrain", "sft", "dpo", "reward", "grpo") for j in story.jobs)
    lines = [
        f"Before a training starts, the guard holds each of its rows against all items sealed by then. "
        f"{trained} trainings started; sealed are now {items:,} items of {len(story.evals)} "
        f"evaluation{'s' if len(story.evals) != 1 else ''}."
    ]
    lines += [f"- {line(text)}" for text in story.record.dropped[:SHOWN]]
    lines += [f"- Stopped, {line(r.tool)}: {short(r.message)}" for r in story.record.guarded[:SHOWN]]
    if len(lines) == 1:
        lines.append("Nothing was stopped or left out.")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def cost(story: Story) -> str:
    """What was spent, in all and by experiment."""
    gpu = {j.id: (j.seconds or 0.0) * j.gpus / 3600 for j in story.jobs}
    rows = [
        [
            f"`{e.id}`",
            f"{e.cost.seconds:.1f}",
            f"{math.fsum(gpu.get(j, 0.0) for j in e.jobs):.3g}",
            "unknown" if e.cost.usd is None else f"{e.cost.usd:.2f}",
        ]
        for e in shown(story.experiments, story.best)
    ]
    spent = story.record.spent
    words = [
        f"{spent['usd']:.2f} dollars" if "usd" in spent else "",
        f"{spent['gpu_hours']:.3g} GPU hours" if "gpu_hours" in spent else "",
        f"{show_duration(spent['seconds'])} of wall time" if "seconds" in spent else "",
        f"{spent['tokens']:,.0f} tokens of the brain" if "tokens" in spent else "",
        f"{story.record.cells} cells" if story.record.cells else "",
    ]
    whole = ", ".join(w for w in words if w)
    parts = [f"In all: {whole}." if whole else ""]
    if rows:
        total = math.fsum(e.cost.seconds for e in story.experiments)
        parts.append(f"All experiments: {total:.1f} seconds of jobs, {dollars(story)}.")
        rest = more(len(story.experiments) - len(rows), "experiment")
        parts.append(table(["experiment", "seconds of jobs", "GPU hours", "dollars"], rows) + rest)
    return "\n\n".join(p for p in parts if p)


def jobs(story: Story) -> str:
    """The jobs, those that failed first among those that are shown."""
    if not story.jobs:
        return ""
    wanted = [j for j in story.jobs if j.failure] + [j for j in story.jobs if not j.failure]
    named = {j.id for j in wanted[:SHOWN]}
    rows = [_job(j) for j in story.jobs if j.id in named]
    states = ", ".join(f"{count} {state}" for state, count in counted(story.jobs).most_common())
    rest = more(len(story.jobs) - len(rows), "job", f"of all: {states}")
    return table(["job", "method", "state", "seconds", "failure"], rows) + rest


def _job(j: Job) -> list[str]:
    seconds = f"{j.seconds:.1f}" if j.seconds is not None else ""
    return [f"`{j.id}`", line(j.method), line(j.state), seconds, short(j.failure)]


def refused(story: Story) -> str:
    """What was denied or failed."""
    found = [
        *(r for r in story.record.refused if r.denied),
        *(r for r in story.record.refused if not r.denied),
    ]
    lines = [
        f"- {'Denied' if r.denied else 'Failed'}, {line(r.tool)}: {short(r.message)}" for r in found[:SHOWN]
    ]
    return "\n".join(lines) + more(len(found) - SHOWN, "call") if lines else ""


def papers(story: Story) -> str:
    """The papers that were read, and the citations that were followed, with the best of those."""
    read = [
        f"- {line(title or id)} {_paper_link(id)}" for id, title in list(story.record.papers.items())[:SHOWN]
    ]
    return "\n".join([*read, *(_citations(graph) for graph in story.graphs)])


def _citations(graph: Graph) -> str:
    root = graph.nodes[graph.root].paper
    best = [f"  - {line(node.paper.title)} {_paper_link(node.paper.id)}" for _, node in graph.ranked()[:BEST]]
    counted = f"{len(graph.nodes):,} papers, {len(graph.edges):,} citations"
    return "\n".join([f"- Citations of {line(root.title)}: {counted}; the best:", *best])


def _paper_link(id: str) -> str:
    found = try_id(id)
    return f"<{found.url}>" if found else line(id)


def environment(story: Story) -> str:
    """The machine and the versions of what is published, else of the best."""
    e = story.frozen or story.best or next((e for e in story.experiments if e.environment), None)
    if e is None or not e.environment:
        return ""
    found = e.environment
    packages = found.get("packages")
    versions = {"python": found.get("python"), **(packages if isinstance(packages, dict) else {})}
    memory = f", {found['memory_gb']} GB of memory" if found.get("memory_gb") else ""
    machine = f"{line(str(found.get('cpu', '')))}, {found.get('cpu_cores', '?')} cores{memory}"
    lines = [
        f"- Machine: {machine}. GPU: {line(str(found.get('gpu') or 'none'))}.",
        "- Versions: " + ", ".join(f"{line(str(n))} {line(str(v))}" for n, v in versions.items() if v) + ".",
    ]
    if e.code_hash:
        lines.append(f"- Hash of the code that trained `{e.id}`: `{e.code_hash}`.")
    return "\n".join(lines)


def reproduce(story: Story) -> str:
    """Commands that do it again."""
    id = line(str(story.card.get("id", "")))
    published = list(dict.fromkeys(p.repo for e in story.experiments for p in e.published))
    lines = [
        f"- `ml-intern reproduce {line(repo)}` makes its data again, trains it again and holds every number "
        "of its card against the new one."
        for repo in published[:5]
    ]
    if id:
        lines.append(
            f"- `ml-intern replay {id}` plays the session again with the results that its calls had."
        )
        lines.append(f"- `ml-intern export {id}` writes its cells as a notebook.")
    return "\n".join(lines)
