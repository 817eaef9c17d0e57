"""What a session found: the answer, the experiments, how they compare."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from ml_intern.hub.card import show, table
from ml_intern.hub.claims import claims
from ml_intern.ledger import Comparison, Experiment
from ml_intern.reports.story import SHOWN, Story, is_number, shown
from ml_intern.reports.words import address, line, more, not_measured, p_value, short, signed, value

LONGEST_ANSWER = 20_000
"""Characters of the answer."""
HELD = 6
"""Comparisons with the best experiment that are told where it has none of its own."""


def outcome(story: Story) -> str:
    """The answer in three lines with intervals, then what was published and what it cost."""
    lines = [*_best(story), *_gain(story), *_test(story)]
    lines += [f"- {line(sentence)}" for sentence in story.opened]
    lines += [
        f"- Published: [{line(p.repo)}](<{address(p.url)}>), commit `{p.commit}`."
        for e in story.experiments
        for p in e.published
    ]
    if story.doubtful:
        names = ", ".join(f"`{id}`" for id in list(story.doubtful)[:10])
        lines.append(f"- **Not measured**: the notes of {names} state numbers that nobody measured.")
    seconds = math.fsum(e.cost.seconds for e in story.experiments)
    count = len(story.experiments)
    plural = "s" if count != 1 else ""
    lines.append(f"- {count} experiment{plural}, {seconds:.1f} seconds of jobs, {dollars(story)}.")
    return "\n".join(lines)


def _best(story: Story) -> Iterator[str]:
    e = story.best
    if e is not None:
        score = f" {line(e.primary or '')} {value(e.score)}" if e.score else ""
        yield f"- Best by dev score: `{e.id}`, {_change(e, story)}:{score or ' not measured'}."


def _gain(story: Story) -> Iterator[str]:
    """Of the comparisons of the best experiment that with its parent, or the newest; else those with it."""
    e = story.best
    own = [c for c in story.comparisons if e is not None and c.b == e.id]
    others = {(c.b, c.eval, c.metric): c for c in story.comparisons if e is not None and c.a == e.id}
    if own:
        chosen = next((c for c in reversed(own) if e is not None and c.a == e.parent), own[-1])
        yield f"- Against `{chosen.a}`: {_difference(chosen)}; {_standing(chosen)}."
    elif others:
        yield from (f"- `{c.b}` against it: {_by(c)}." for c in list(others.values())[-HELD:])
    elif e is not None:
        yield "- It was compared with no other: nobody knows whether it is a gain."


def _by(c: Comparison) -> str:
    return f"{line(c.metric)} on {line(c.eval)} {_difference(c)}; {_standing(c)}"


def _test(story: Story) -> Iterator[str]:
    e = story.frozen
    if e is not None:
        told = "; ".join(f"{line(n)} {value(m)}" for n, m in e.test.items()) or "no eval has a test split"
        yield f"- Sealed test, scored once for `{e.id}`: {told}."


def answer(story: Story) -> str:
    """What the agent said at the end, as a quotation: its words make no section, no link and no table."""
    words = [line(text).replace("#", "\\#") for text in story.record.answer[:LONGEST_ANSWER].splitlines()]
    if not any(words):
        return ""
    cut = "\n>\n> …" if len(story.record.answer) > LONGEST_ANSWER else ""
    told = (
        "The agent's own words at the end of the session. Its numbers were held against what was measured "
        "and read: one that nothing vouches for is marked \\[not verified\\], but in an answer that is JSON."
    )
    return f"{told}\n\n" + "\n".join(f"> {text}  " if text else ">" for text in words) + cut


def reproduction(story: Story) -> str:
    """What a reproduction came to; nothing where the session is none."""
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


def experiments(story: Story) -> str:
    """The experiments that matter most, and how many others there are."""
    if not story.experiments:
        return "None."
    rows = shown(story.experiments, story.best)
    names = list(dict.fromkeys(name for e in rows for name in e.dev))[:6]
    head = ["experiment", "parent", "change", "seed", *(f"dev {line(n)}" for n in names), "verdict", "notes"]
    cells = [
        [f"`{e.id}`", f"`{e.parent}`" if e.parent else "", _change(e, story), str(e.seed)]
        + [value(e.dev[n]) if n in e.dev else "" for n in names]
        + [_verdict(e), _notes(e, story)]
        for e in rows
    ]
    rest = more(len(story.experiments) - len(rows), "experiment", _verdicts(story, rows))
    return table(head, cells) + rest


def _verdicts(story: Story, rows: Sequence[Experiment]) -> str:
    named = {e.id for e in rows}
    left = Counter(e.verdict for e in story.experiments if e.id not in named)
    return ", ".join(f"{count} {verdict}" for verdict, count in left.most_common())


def _verdict(e: Experiment) -> str:
    return f"{e.verdict} (again, of `{e.replicates}`)" if e.replicates else e.verdict


def _change(e: Experiment, story: Story) -> str:
    return f"{short(e.change)}{not_measured(_of_the_change(e, story))}"


def _of_the_change(e: Experiment, story: Story) -> list[str]:
    """Of the numbers that were hoped for those in its change; the tree has the hypothesis with the others."""
    hoped = story.expected.get(e.id, [])
    own = {claim.shown for claim in claims(e.change)} if hoped else set()
    return [n for n in hoped if n in own]


def _notes(e: Experiment, story: Story) -> str:
    return f"{short(e.notes)}{not_measured(story.doubtful.get(e.id))}"


def comparisons(story: Story) -> str:
    """Each comparison with its interval, p value, correction and confirmation."""
    if not story.comparisons:
        return ""
    newest = list(story.comparisons)[-SHOWN:]
    rows = [
        [
            f"`{c.b}` against `{c.a}`",
            f"{line(c.metric)} on {line(c.eval)}",
            _difference(c),
            p_value(c.p),
            p_value(c.p_corrected) if c.p_corrected is not None else "",
            {"held": "yes", "lost": "no", "open": "too few seeds", "untried": "not tried"}[c.confirmation],
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
    rest = more(len(story.comparisons) - len(newest), "earlier comparison")
    return f"{why}\n\n{table(head, rows)}{rest}" + (f"\n\n{told}" if told else "") + _replaced(story)


def _replaced(story: Story) -> str:
    """What comparisons said before others took their place: notes of that time may quote it."""
    standing = {c.pair: c for c in story.comparisons}
    lines = [
        f"- `{c.b}` against `{c.a}` in {line(c.metric)}: {c.figures}, replaced by {standing[c.pair].figures}"
        for c in list(story.replaced)[-20:]
    ]
    return "\n\nSaid earlier and replaced since:\n\n" + "\n".join(lines) if lines else ""


def _difference(c: Comparison) -> str:
    return f"{signed(c.difference)} ({signed(c.low)} to {signed(c.high)})"


def _standing(c: Comparison) -> str:
    held = {
        "held": ", confirmed on new seeds",
        "lost": ", not confirmed on new seeds",
        "open": ", too few new seeds to tell whether it holds",
        "untried": "",
    }[c.confirmation]
    corrected = "" if c.p_corrected is None else f", {p_value(c.p_corrected)} corrected"
    return f"{c.verdict} (p {p_value(c.p)}{corrected}){held}"


def dollars(story: Story) -> str:
    """What all experiments cost; a price that is not known is not nothing."""
    known = [e.cost.usd for e in story.experiments]
    return (
        "an unknown number of dollars" if None in known else f"{math.fsum(u or 0 for u in known):.2f} dollars"
    )
