"""The tree of experiments: each below the one it was held against, the trials of a sweep together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from ml_intern.ledger import Experiment
from ml_intern.reports.story import SHOWN, Story
from ml_intern.reports.words import line, more, not_measured, short, value


def tree(story: Story) -> str:
    """The experiments, each below the one it was held against; the trials of a sweep as one line."""
    lines = [
        "  " * min(depth, 8)
        + f"- {_sweep_line(story, e) if isinstance(e, tuple) else _node(e, story.expected)}"
        for depth, e in branches(story)
    ]
    rest = more(len(lines) - 2 * SHOWN, "line")
    return "\n".join(lines[: 2 * SHOWN]) + rest


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


def _node(e: Experiment, expected: dict[str, list[str]]) -> str:
    score = f" {line(e.primary or '')} {value(e.score)}." if e.score else ""
    mark = not_measured(expected.get(e.id))
    again = f" (again, of `{e.replicates}`)" if e.replicates else ""
    return f"`{e.id}` {e.verdict}{again}: {short(e.change)}. {short(e.hypothesis)}{mark}{score}"


def _sweep_line(story: Story, trials: Sequence[Experiment]) -> str:
    verdicts = Counter(e.verdict for e in trials)
    told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    top = best_of(trials)
    best = f"; best `{top.id}` {line(top.primary or '')} {value(top.score)}" if top and top.score else ""
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
