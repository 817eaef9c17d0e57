"""The sections of a report as Markdown, each made of the story and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from ml_intern.durations import show_duration
from ml_intern.hub.card import show, table, tidy
from ml_intern.ledger import Comparison, Experiment, Measured
from ml_intern.reports.story import SHOWN, Job, Story, counted, is_number, shown
from ml_intern.reports.words import line

TREE, CURVES, DATA, EXPERIMENTS = "Tree of experiments", "Learning curves", "Data", "Experiments"
METRICS = ("loss", "eval_loss", "grad_norm", "learning_rate", "reward", "entropy")
LONGEST = 300


def report_markdown(story: Story) -> str:
    """The report as Markdown."""
    parts = [head(story), *(f"## {title}\n\n{text}" for title, text in sections(story) if text)]
    return "\n\n".join(parts) + "\n"


def head(story: Story) -> str:
    """What was asked, and of whom."""
    card = story.card
    told = [
        f"# Session {line(str(card.get('id', '')))}".rstrip(),
        f"> {line(card['prompt'])}" if card.get("prompt") else "",
        ", ".join(
            f"{name} {line(card[key])}"
            for name, key in (("status", "status"), ("model", "model"), ("begun", "created"))
            if card.get(key)
        ),
    ]
    return "\n\n".join(t for t in told if t)


def sections(story: Story) -> list[tuple[str, str]]:
    """Titles and texts; a text that is empty has nothing to tell."""
    return [
        ("What came of it", outcome(story)),
        ("Reproduction", _reproduction(story)),
        (EXPERIMENTS, _experiments(story)),
        ("Comparisons", _comparisons(story)),
        (TREE, tree(story)),
        ("Evaluations", _evals(story)),
        (CURVES, _last_values(story)),
        ("Alerts", _alerts(story)),
        (DATA, _data(story)),
        ("Contamination", _contamination(story)),
        ("Cost", _cost(story)),
        ("Jobs", _jobs(story)),
        ("Denied and failed", _refused(story)),
        ("Papers", _papers(story)),
        ("Environment", _environment(story)),
        ("How to reproduce", _reproduce(story)),
    ]


def outcome(story: Story) -> str:
    """The answer in three lines with intervals, then what was published and what it cost."""
    lines = [*_best(story), *_gain(story), *_test(story)]
    lines += [
        f"- Published: [{line(p.repo)}](<{_address(p.url)}>), commit `{p.commit}`."
        for e in story.experiments
        for p in e.published
    ]
    if story.doubtful:
        names = ", ".join(f"`{id}`" for id in list(story.doubtful)[:10])
        lines.append(f"- **Not measured**: the notes of {names} state numbers that nobody measured.")
    seconds = math.fsum(e.cost.seconds for e in story.experiments)
    count = len(story.experiments)
    plural = "s" if count != 1 else ""
    lines.append(f"- {count} experiment{plural}, {seconds:.1f} seconds of jobs, {_dollars(story)}.")
    return "\n".join(lines)


def _best(story: Story) -> Iterator[str]:
    e = story.best
    if e is not None:
        score = f" {line(e.primary or '')} {_value(e.score)}" if e.score else ""
        yield f"- Best by dev score: `{e.id}`, {line(e.change)}:{score or ' not measured'}."


def _gain(story: Story) -> Iterator[str]:
    """Of the comparisons of the best experiment the one with its parent, else the newest."""
    e = story.best
    own = [c for c in story.comparisons if e is not None and c.b == e.id]
    if own:
        chosen = next((c for c in reversed(own) if e is not None and c.a == e.parent), own[-1])
        yield f"- Against `{chosen.a}`: {_difference(chosen)}; {_standing(chosen)}."
    elif e is not None:
        yield "- It was compared with no other: nobody knows whether it is a gain."


def _test(story: Story) -> Iterator[str]:
    e = story.frozen
    if e is not None:
        told = "; ".join(f"{line(n)} {_value(m)}" for n, m in e.test.items()) or "no eval has a test split"
        yield f"- Sealed test, scored once for `{e.id}`: {told}."


def _reproduction(story: Story) -> str:
    found = story.reproduction
    if found is None:
        return ""
    numbers = found.get("numbers")
    rows = [
        [line(str(n.get("what"))), _pair(n.get("card")), _pair(n.get("now")), line(str(n.get("verdict")))]
        for n in (numbers if isinstance(numbers, list) else [])
        if isinstance(n, dict)
    ]
    told = f"Of the card {line(str(found.get('card')))}. {line(str(found.get('says')))}"
    return f"{told}\n\n{table(['number', 'card', 'now', 'verdict'], rows[:SHOWN])}" if rows else told


def _pair(value: object) -> str:
    if not isinstance(value, dict) or not is_number(value.get("value")):
        return ""
    low, high = value.get("low"), value.get("high")
    inner = f" ({show(low)} to {show(high)})" if is_number(low) and is_number(high) else ""
    return f"{show(value['value'])}{inner}"


def _experiments(story: Story) -> str:
    if not story.experiments:
        return "None."
    rows = shown(story.experiments, story.best)
    names = list(dict.fromkeys(name for e in rows for name in e.dev))[:6]
    head = ["experiment", "parent", "change", "seed", *(f"dev {line(n)}" for n in names), "verdict", "notes"]
    cells = [
        [f"`{e.id}`", f"`{e.parent}`" if e.parent else "", _short(e.change), str(e.seed)]
        + [_value(e.dev[n]) if n in e.dev else "" for n in names]
        + [_verdict(e), _notes(e, story)]
        for e in rows
    ]
    more = _more(len(story.experiments) - len(rows), "experiment", _verdicts(story, rows))
    return table(head, cells) + more


def _verdicts(story: Story, rows: Sequence[Experiment]) -> str:
    named = {e.id for e in rows}
    left = Counter(e.verdict for e in story.experiments if e.id not in named)
    return ", ".join(f"{count} {verdict}" for verdict, count in left.most_common())


def _verdict(e: Experiment) -> str:
    return f"{e.verdict} (again, of `{e.replicates}`)" if e.replicates else e.verdict


def _notes(e: Experiment, story: Story) -> str:
    doubtful = story.doubtful.get(e.id)
    mark = f" **(not measured: {line(', '.join(doubtful[:5]))})**" if doubtful else ""
    return f"{_short(e.notes)}{mark}"


def _comparisons(story: Story) -> str:
    if not story.comparisons:
        return ""
    newest = list(story.comparisons)[-SHOWN:]
    rows = [
        [
            f"`{c.b}` against `{c.a}`",
            f"{line(c.metric)} on {line(c.eval)}",
            _difference(c),
            _p(c.p),
            _p(c.p_corrected) if c.p_corrected is not None else "",
            {True: "yes", False: "no", None: "not tried"}[c.confirmed],
            f"{c.seeds_a} and {c.seeds_b}",
            show(c.detectable) if c.detectable is not None else "",
            c.verdict,
        ]
        for c in newest
    ]
    head = [
        "pair",
        "metric",
        "difference, 95 %",
        "p",
        "p, Holm",
        "confirmed",
        "seeds",
        "detectable",
        "verdict",
    ]
    told = "\n".join(f"- {line(c.says)}" for c in newest[-20:] if c.says)
    why = (
        "Paired over the same items. Holm's correction is for all variants held against one experiment; "
        "confirmed means that the gain held on new seeds which the host drew; detectable is the difference "
        "that would have been seen four times in five."
    )
    more = _more(len(story.comparisons) - len(newest), "earlier comparison")
    return f"{why}\n\n{table(head, rows)}{more}" + (f"\n\n{told}" if told else "")


def _difference(c: Comparison) -> str:
    return f"{_signed(c.difference)} ({_signed(c.low)} to {_signed(c.high)})"


def _standing(c: Comparison) -> str:
    held = {True: ", confirmed on new seeds", False: ", not confirmed on new seeds", None: ""}[c.confirmed]
    corrected = "" if c.p_corrected is None else f", {_p(c.p_corrected)} corrected"
    return f"{c.verdict} (p {_p(c.p)}{corrected}){held}"


def tree(story: Story) -> str:
    """The experiments, each below the one it was held against; the trials of a sweep as one line."""
    lines = [
        f"{'  ' * min(depth, 8)}- {_sweep_line(story, e) if isinstance(e, tuple) else _node(e)}"
        for depth, e in branches(story)
    ]
    more = _more(len(lines) - 2 * SHOWN, "line")
    return "\n".join(lines[: 2 * SHOWN]) + more


Node: TypeAlias = "Experiment | tuple[Experiment, ...]"
"""An experiment, or the trials of a sweep."""


def branches(story: Story) -> Iterator[tuple[int, Node]]:
    """Each node of the tree with its depth, in the order in which they are read; without recursion."""
    known = {e.id for e in story.experiments}
    below: dict[str | None, list[Experiment]] = {}
    for e in story.experiments:
        below.setdefault(e.parent if e.parent in known else None, []).append(e)
    waiting = [(0, node) for node in reversed(_grouped(story, below, None))]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        own = node if isinstance(node, tuple) else (node,)
        children = [child for e in own for child in _grouped(story, below, e.id)]
        waiting += [(depth + 1, child) for child in reversed(children)]


def _grouped(story: Story, below: dict[str | None, list[Experiment]], parent: str | None) -> list[Node]:
    """The children of an experiment; those that are trials of one sweep together."""
    groups: dict[str, list[Experiment]] = {}
    for e in below.get(parent, []):
        groups.setdefault(story.sweep_of(e) or e.id, []).append(e)
    return [tuple(found) if story.sweep_of(found[0]) else found[0] for found in groups.values()]


def _node(e: Experiment) -> str:
    score = f" {line(e.primary or '')} {_value(e.score)}." if e.score else ""
    again = f" (again, of `{e.replicates}`)" if e.replicates else ""
    return f"`{e.id}` {e.verdict}{again}: {_short(e.change)}. {_short(e.hypothesis)}{score}"


def _sweep_line(story: Story, trials: Sequence[Experiment]) -> str:
    verdicts = Counter(e.verdict for e in trials)
    told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    top = best_of(trials)
    best = f"; best `{top.id}` {line(top.primary or '')} {_value(top.score)}" if top and top.score else ""
    ids = f"`{trials[0].id}` to `{trials[-1].id}`" if len(trials) > 1 else f"`{trials[0].id}`"
    return f"{line(story.sweep_of(trials[0]))}, {len(trials)} trials {ids}: {told}{best}"


def best_of(trials: Iterable[Experiment]) -> Experiment | None:
    """The best dev score of some experiments of one metric."""
    scored = [e for e in trials if e.score]
    best = scored[0] if scored else None
    for e in scored[1:]:
        if best and e.primary == best.primary and e.score and best.score and e.score.beats(best.score):
            best = e
    return best


def _evals(story: Story) -> str:
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


def _last_values(story: Story) -> str:
    tables = {job: rows for job, rows in story.metrics.items() if rows}
    names = [n for n in METRICS if any(n in row for rows in tables.values() for row in rows)]
    cells = []
    for job, found in tables.items():
        last = {k: v for row in found for k, v in row.items() if is_number(v)}
        values = [f"{last[n]:.4g}" if n in last else "" for n in names]
        cells.append([f"`{job}`", str(int(last.get("step", 0))), *values])
    more = _more(len(story.jobs) - len(story.metrics), "job")
    return table(["job", "step", *(f"last {n}" for n in names)], cells) + more if cells else ""


def _alerts(story: Story) -> str:
    lines = [
        f"- `{job}`, step {seen.step}, {seen.kind.replace('_', ' ')}: "
        f"{line(seen.message)} {line(seen.suggestion)}"
        for job, found in story.alerts.items()
        for seen in found
    ]
    return "\n".join(lines[:SHOWN]) + _more(len(lines) - SHOWN, "alert") if lines else ""


def _data(story: Story) -> str:
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
    return told + _more(story.more_data, "earlier dataset") if told else ""


def _contamination(story: Story) -> str:
    if not story.evals:
        return ""
    items = sum(sum(e.rows.values()) for e in story.evals)
    trained = sum(j.method in ("pretrain", "sft", "dpo", "reward", "grpo") for j in story.jobs)
    lines = [
        f"Every row of the {trained} trainings that started was held against {items:,} items of "
        f"{len(story.evals)} sealed evaluation{'s' if len(story.evals) != 1 else ''} before its start."
    ]
    lines += [f"- {line(text)}" for text in story.record.dropped[:SHOWN]]
    lines += [f"- Stopped, {line(r.tool)}: {_short(r.message)}" for r in story.record.guarded[:SHOWN]]
    if len(lines) == 1:
        lines.append("Nothing was stopped or left out.")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _cost(story: Story) -> str:
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
        parts.append(f"All experiments: {total:.1f} seconds of jobs, {_dollars(story)}.")
        more = _more(len(story.experiments) - len(rows), "experiment")
        parts.append(table(["experiment", "seconds of jobs", "GPU hours", "dollars"], rows) + more)
    return "\n\n".join(p for p in parts if p)


def _dollars(story: Story) -> str:
    known = [e.cost.usd for e in story.experiments]
    return (
        "an unknown number of dollars" if None in known else f"{math.fsum(u or 0 for u in known):.2f} dollars"
    )


def _jobs(story: Story) -> str:
    if not story.jobs:
        return ""
    wanted = [j for j in story.jobs if j.failure] + [j for j in story.jobs if not j.failure]
    named = {j.id for j in wanted[:SHOWN]}
    rows = [_job(j) for j in story.jobs if j.id in named]
    states = ", ".join(f"{count} {state}" for state, count in counted(story.jobs).most_common())
    more = _more(len(story.jobs) - len(rows), "job", f"of all: {states}")
    return table(["job", "method", "state", "seconds", "failure"], rows) + more


def _job(j: Job) -> list[str]:
    seconds = f"{j.seconds:.1f}" if j.seconds is not None else ""
    return [f"`{j.id}`", line(j.method), line(j.state), seconds, _short(j.failure)]


def _refused(story: Story) -> str:
    found = [
        *(r for r in story.record.refused if r.denied),
        *(r for r in story.record.refused if not r.denied),
    ]
    lines = [
        f"- {'Denied' if r.denied else 'Failed'}, {line(r.tool)}: {_short(r.message)}" for r in found[:SHOWN]
    ]
    return "\n".join(lines) + _more(len(found) - SHOWN, "call") if lines else ""


def _papers(story: Story) -> str:
    return "\n".join(f"- {line(id)}" for id in list(dict.fromkeys(story.record.papers))[:SHOWN])


def _environment(story: Story) -> str:
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


def _reproduce(story: Story) -> str:
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


def _value(m: Measured | None) -> str:
    return "" if m is None else f"{show(m.value)} ({show(m.low)} to {show(m.high)})"


def _signed(value: float) -> str:
    return f"+{show(value)}" if value > 0 else show(value)


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def _short(text: str) -> str:
    return line(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _address(url: str) -> str:
    return "".join(c for c in url if c.isprintable() and c not in "<> ")


def _more(count: int, what: str, told: str = "") -> str:
    if count <= 0:
        return ""
    return f"\n\nAnd {count:,} more {what}{'s' if count != 1 else ''}{f' ({told})' if told else ''}."
