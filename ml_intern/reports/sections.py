"""The sections of a report as Markdown, each made of the story and nothing else."""

from __future__ import annotations

from ml_intern.reports import findings, workings
from ml_intern.reports.story import Story
from ml_intern.reports.tree import tree
from ml_intern.reports.words import line

TREE, CURVES, DATA, EXPERIMENTS = "Tree of experiments", "Learning curves", "Data", "Experiments"
PAPERS = "Papers"


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
        ("What came of it", findings.outcome(story)),
        ("The agent's answer", findings.answer(story)),
        ("Reproduction", findings.reproduction(story)),
        (EXPERIMENTS, findings.experiments(story)),
        ("Comparisons", findings.comparisons(story)),
        (TREE, tree(story)),
        ("Evaluations", workings.evals(story)),
        (CURVES, workings.last_values(story)),
        ("Alerts", workings.alerts(story)),
        (DATA, workings.data(story)),
        ("Contamination", workings.contamination(story)),
        ("Cost", workings.cost(story)),
        ("Jobs", workings.jobs(story)),
        ("Denied and failed", workings.refused(story)),
        (PAPERS, workings.papers(story)),
        ("Environment", workings.environment(story)),
        ("How to reproduce", workings.reproduce(story)),
    ]
