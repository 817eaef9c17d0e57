"""The model card, written from the ledger: every number in it was measured, or it is not in it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from ml_intern.claims.evidence import Evidence
from ml_intern.claims.notes import loose_numbers
from ml_intern.claims.papers import TOLD, Papers, loose
from ml_intern.hub.claims import unresolved
from ml_intern.hub.confirming import OverSeeds, held_against, luck_of_the_seed, over_seeds
from ml_intern.hub.origin import Origin, lineage_section
from ml_intern.hub.sealing import Sealed
from ml_intern.ledger import Experiment, Ledger, Measured
from ml_intern.papers.ids import try_id
from ml_intern.secrets.masking import mask

__all__ = ["CardFacts", "line", "loose_words", "model_card", "table", "tidy", "unresolved"]

_PATH = re.compile(r"(?<![\w:/.])~?/(?:[^\s/'\"]+/)+([^\s/'\"]*)")
MOST_PAPERS = 60
_UNNAMED = "a source whose name has numbers that nobody measured"
_WITHHELD = "(told with numbers that nobody measured, so not repeated here)"


@dataclass(frozen=True)
class CardFacts:
    """What the card says beside the ledger.

    Attributes:
        repo: ``namespace/name``.
        session: The session that trained the model.
        parameters: Counted in the weights.
        config: The model's ``config.json``.
        lineage: Datasets, the newest first: id, rows, operation, source, sha256.
        recipe: Name of the recipe that trained; empty when its code has changed since.
        job_config: What the recipe was given.
        load: Command that loads the model.
        samples: What the model wrote when asked for nothing.
        evals: Name of the evaluation, by split.
    """

    repo: str
    session: str
    parameters: int
    config: Mapping[str, Any] = field(default_factory=dict)
    lineage: Sequence[Mapping[str, Any]] = ()
    recipe: str = ""
    job_config: Mapping[str, Any] = field(default_factory=dict)
    load: str = ""
    samples: Sequence[str] = ()
    evals: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None
    """What the weights were held against."""
    curves: Sequence[float] = ()
    """What the trainings wrote: steps and the values of their metrics."""
    trainings: Sequence[Mapping[str, Any]] = ()
    """The jobs behind the model, those of its base models first; see `ml_intern.hub.trail`."""
    scored: Sequence[Mapping[str, Any]] = ()
    """The evaluations, by the hash of their items."""
    reproduce: str = ""
    """Command that does it again."""
    by_hand: str = ""
    """Commands that train without ML Intern."""
    opened: Sequence[str] = ()
    """What other sessions have scored on the same test splits, in sentences."""
    papers: Papers = field(default_factory=Papers)
    """What was read in the session."""
    sealed: Sequence[Sealed] = ()
    """The evaluations whose items lay open until a split of the session sealed them."""

    def numbers(self) -> list[float]:
        """The values that come from here, with the level of the intervals."""
        rows = [float(d[k]) for d in self.lineage for k in ("rows", "rows_before") if d.get(k) is not None]
        fields = [
            float(v) for v in self.config.values() if isinstance(v, int | float) and not isinstance(v, bool)
        ]
        counts = [float(n) for told in self.opened for n in re.findall(r"(\d+) times before", told)]
        found = [
            *counts,
            95.0,
            0.95,
            float(self.parameters),
            float(len(self.lineage)),
            *rows,
            *fields,
            *self.curves,
        ]
        return found + (self.origin.numbers() if self.origin else [])


def model_card(experiment: Experiment, ledger: Ledger, facts: CardFacts, words: bool = True) -> str:
    """The card of one experiment, as Markdown with front matter.

    Args:
        experiment: Its row.
        ledger: The session's.
        facts: What is known beside it.
        words: With the notes and changes that the brain wrote, which are checked by themselves. Without
            them it is all that the host says, whose numbers they cannot vouch for.
    """
    others = ledger.list()
    sections = [
        _what(experiment, facts),
        _results(experiment, ledger, facts),
        _samples(facts),
        _method(experiment, ledger, facts, words),
        _papers(facts, words),
        _data(experiment, ledger, facts),
        lineage_section(facts.origin),
        _tried(experiment, others, ledger, words, facts.papers),
        _cost(experiment, others),
        _environment(experiment),
        _reproduce(experiment, facts),
        _limits(experiment, facts, ledger),
    ]
    body = "\n\n".join(s for s in sections if s)
    return mask(f"---\n{_front_matter(experiment, facts)}---\n\n# {facts.repo}\n\n{body}\n")


def loose_words(
    ledger: Ledger, known: Iterable[float], evidence: Evidence | None = None
) -> dict[str, list[str]]:
    """The notes of experiments that state numbers which nobody measured: where, and which numbers.

    With evidence, what follows from it counts as measured, too; else what stands in the ledger or is known.
    """
    known = list(known)
    found = {
        f"the notes of {e.id}": loose_numbers(e.notes, evidence, e.finished)
        if evidence is not None
        else unresolved(line(e.notes), ledger, known)
        for e in ledger.list()
    }
    return {where: numbers for where, numbers in found.items() if numbers}


def _front_matter(experiment: Experiment, facts: CardFacts) -> str:
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": facts.evals.get(split, "sealed"), "type": "sealed", "split": split},
            "metrics": [
                {"type": name, "name": name, "value": _rounded(m.value)} for name, m in metrics.items()
            ],
        }
        for split, metrics in (("test", experiment.test), ("dev", experiment.dev))
        if metrics
    ]
    data: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["ml-intern", *([str(facts.config["model_type"])] if facts.config.get("model_type") else [])],
    }
    base = experiment.config.get("base_model") or experiment.config.get("model")
    if isinstance(base, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        data["base_model"] = base
    if results:
        data["model-index"] = [{"name": facts.repo.rpartition("/")[2], "results": results}]
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _what(experiment: Experiment, facts: CardFacts) -> str:
    kind = facts.config.get("model_type") or "causal"
    words = [
        f"A {kind} language model with {facts.parameters:,} parameters, trained by ML Intern "
        f"(session `{facts.session}`, experiment `{experiment.id}`)."
    ]
    if facts.load:
        words.append(f"```\n{facts.load}\n```")
    return "\n\n".join(words)


def _results(experiment: Experiment, ledger: Ledger, facts: CardFacts) -> str:
    rows = [
        [name, split, show(m.value), f"{show(m.low)} to {show(m.high)}", f"{m.n:,}", _better(m)]
        for split, metrics in (("test", experiment.test), ("dev", experiment.dev))
        for name, m in metrics.items()
    ]
    if not rows:
        return "## Results\n\nNo held-out evaluation was registered, so nothing was measured."
    measured = table(["metric", "split", "value", "95 % interval", "items", "better"], rows)
    told = (
        "Decisions were made on the dev split. The test split was sealed until this experiment was chosen, "
        "and scored once."
        if experiment.test
        else "All decisions were made on the dev split, so these values are a little too good. "
        "No test split was scored."
    )
    if experiment.inference is not None:
        told = f"Each answer is a choice among several: {line(tidy(str(experiment.inference)))}. {told}"
    if seeds := over_seeds(experiment, ledger):
        told = f"{told}\n\n{_of_seeds(seeds)}"
    return f"## Results\n\n{measured}\n\n{_who_saw(ledger, facts)}{told}"


def _who_saw(ledger: Ledger, facts: CardFacts) -> str:
    """Whose items were measured on, and who may have seen them."""
    names = list(dict.fromkeys(facts.evals.values()))
    late = [sealed for sealed in facts.sealed if sealed.eval in names]
    closed = [f"`{name}`" for name in names if name not in {sealed.eval for sealed in late}]
    told = [f"Held-out items of {' and '.join(closed)}, which no cell and no training saw."] if closed else []
    if late:
        told.append(f"Held-out items of {' and '.join(f'`{sealed.eval}`' for sealed in late)}.")
        told += [sealed.told(_source({"source": sealed.source}, ledger, facts)) for sealed in late]
    return " ".join([*told, ""])


def _of_seeds(seeds: OverSeeds) -> str:
    low, high = show(seeds.low), show(seeds.high)
    return (
        f"On {seeds.n} seeds the dev mean of {seeds.metric} is {show(seeds.mean)}, from {low} to {high}; "
        "the table is of the published one."
    )


def _samples(facts: CardFacts) -> str:
    if not facts.samples:
        return ""
    lines = "\n".join(json.dumps(s, ensure_ascii=False) for s in facts.samples)
    return f"## What it writes\n\nThe first samples drawn from nothing, not chosen:\n\n```\n{lines}\n```"


def _method(experiment: Experiment, ledger: Ledger, facts: CardFacts, words: bool) -> str:
    known = facts.numbers()
    lines = [
        f"- Change: {_told(experiment.change, ledger, known, facts.papers) if words else ''}",
        f"- Hypothesis: {_told(experiment.hypothesis, ledger, known, facts.papers) if words else ''}",
        f"- Held against: {held_against(experiment, ledger)}",
        f"- Seed: {experiment.seed}",
    ]
    if facts.recipe:
        lines.insert(0, f"- Recipe: `{facts.recipe}`")
    settings = [[f"`{k}`", line(v)] for k, v in _flat(experiment.config)]
    shown = f"\n\n{table(['setting', 'value'], settings)}" if settings else ""
    return "## Method\n\n" + "\n".join(lines) + shown


def _data(experiment: Experiment, ledger: Ledger, facts: CardFacts) -> str:
    rows = [
        [
            f"`{d.get('id', '')}`",
            f"{d['rows']:,}" if isinstance(d.get("rows"), int) else "",
            line(d.get("operation", "")),
            _source(d, ledger, facts),
            f"`{d['sha256']}`" if d.get("sha256") else "",
        ]
        for d in facts.lineage
    ]
    if not rows:
        rows = [[f"{role}: `{line(d)}`", "", "", "", ""] for role, d in experiment.data.items()]
    if not rows:
        return ""
    return f"## Data\n\n{_order(facts.lineage)}" + (
        table(["dataset", "rows", "made by", "from", "sha256"], rows) + _as_read(ledger, facts)
    )


def _source(made: Mapping[str, Any], ledger: Ledger, facts: CardFacts) -> str:
    """What a dataset was made from, by name. A name may not state what nobody measured."""
    name = line(tidy(str(made.get("source", ""))))
    return _UNNAMED if unresolved(name, ledger, facts.numbers()) else name


def _as_read(ledger: Ledger, facts: CardFacts) -> str:
    """What was recorded of the sources when they were read: it stands, whatever became of the files."""
    told = {
        f"- {_source(d, ledger, facts)}: {d['rows_before']:,} rows, sha256 `{d['source_sha256']}`"
        for d in facts.lineage
        if not d.get("parents") and isinstance(d.get("rows_before"), int) and d.get("source_sha256")
    }
    return "\n\nThe sources as they were read:\n\n" + "\n".join(sorted(told)) if told else ""


def _order(lineage: Sequence[Mapping[str, Any]]) -> str:
    """How the rows of the table hang together: what was made from what, where it is not one chain."""
    if len(lineage) < 2:
        return ""
    made = [(d.get("id"), d.get("parents") or []) for d in lineage]
    if all(below in parents for (_, parents), (below, _) in itertools.pairwise(made)):
        return "Newest first; each was made from the one below it.\n\n"
    known = {id for id, _ in made}
    told = [
        f"`{id}` from " + " and ".join(f"`{p}`" for p in parents if p in known)
        for id, parents in made
        if known.intersection(parents)
    ]
    return f"Newest first. Made from another one of these: {', '.join(told) or 'none'}.\n\n"


def _papers(facts: CardFacts, words: bool) -> str:
    """What was read, with links. Titles are others' words, whose numbers claim nothing of this model."""
    told = [
        f"- {line(title[:300]) or 'Paper'}, [{line(id)}](<{found.url}>)" if words else f"- <{found.url}>"
        for id, title in list(facts.papers.titles.items())[:MOST_PAPERS]
        if (found := try_id(id)) is not None
    ]
    ahead = (
        "Read in the session that trained this model; that it was read does not say that its advice was used."
    )
    return f"## Papers\n\n{ahead}\n\n" + "\n".join(told) if told else ""


def _tried(
    experiment: Experiment, others: Sequence[Experiment], ledger: Ledger, words: bool, papers: Papers
) -> str:
    metric = experiment.primary or ""
    rows = []
    for e in others:
        m = e.dev.get(metric)
        value = f"{show(m.value)} ({show(m.low)} to {show(m.high)})" if m else ""
        mark = " (this model)" if e.id == experiment.id else ""
        rows.append(
            [
                f"`{e.id}`{mark}",
                f"`{e.parent}`" if e.parent else "",
                _told(e.change, ledger, (), papers) if words else "",
                str(e.seed),
                value,
                e.verdict,
                line(e.notes) if words else "",
            ]
        )
    head = ["experiment", "parent", "change", "seed", f"dev {metric}".strip(), "verdict", "notes"]
    found = "\n".join(f"- {line(c.says)}" for c in ledger.comparisons())
    compared = f"\n\nCompared on the same items:\n\n{found}" if found else ""
    return f"## Experiments tried\n\n{table(head, rows)}{compared}{_replaced(ledger)}"


def _replaced(ledger: Ledger) -> str:
    """What comparisons said that others have replaced: a note of that time may quote it."""
    lines = [
        f"- `{old.b}` against `{old.a}` in {line(old.metric)}: {old.figures}, replaced by {new.figures}"
        for old, new in ledger.replacements()
    ]
    ahead = "\n\nSaid earlier and replaced since; notes of that time may quote it:\n\n"
    return ahead + "\n".join(lines) if lines else ""


def _cost(experiment: Experiment, others: Sequence[Experiment]) -> str:
    def told(usd: float | None) -> str:
        return "unknown" if usd is None else f"{usd:.2f} dollars"

    total = sum(e.cost.seconds for e in others)
    machine = experiment.environment
    lines = [
        f"- This model: {experiment.cost.seconds:.1f} seconds of jobs, {told(experiment.cost.usd)}.",
        f"- All experiments of the session: {total:.1f} seconds of jobs.",
    ]
    if machine.get("cpu"):
        memory = f", {machine['memory_gb']} GB of memory" if machine.get("memory_gb") else ""
        lines.append(f"- Machine: `{machine['cpu']}`, {machine.get('cpu_cores', '?')} cores{memory}.")
        lines.append(f"- GPU: `{machine.get('gpu') or 'none'}`.")
    return "## Cost and hardware\n\n" + "\n".join(lines)


def _environment(experiment: Experiment) -> str:
    found = experiment.environment
    packages = found.get("packages")
    versions = {"python": found.get("python"), **(packages if isinstance(packages, dict) else {})}
    lines = "\n".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"## Environment\n\n```\n{lines}\n```" if lines else ""


def _reproduce(experiment: Experiment, facts: CardFacts) -> str:
    lines = [
        "`ml_intern.json` in this repository holds the whole configuration, the data's hashes and the scores."
    ]
    if facts.reproduce:
        lines.append(
            "This makes the data again from its source, runs the trainings, those of base models first, "
            "scores the model and holds every number against this card; with `--dry-run` it says what it "
            f"would do and what it lacks:\n\n```\n{facts.reproduce}\n```"
        )
        if "127.0.0.1" in facts.reproduce:
            lines.append(
                "That address is an embedded Hub: `ml-intern hub serve` opens it again. On the machine of "
                "the session, `--state` with its state folder does without the address."
            )
    if facts.recipe:
        commands = facts.by_hand or f"python training/{facts.recipe}.py training/config.json"
        lines.append(
            "By hand: `training` holds the recipe as it ran and its configuration. With the versions above:"
            f"\n\n```\n{commands}\n```"
        )
    if experiment.code_hash:
        lines.append(f"Hash of the code that trained: `{experiment.code_hash}`.")
    return "## How to reproduce\n\n" + "\n\n".join(lines)


def _limits(experiment: Experiment, facts: CardFacts, ledger: Ledger) -> str:
    lines = [
        "- It was measured on the splits above and nothing else. Nobody looked at safety or at bias.",
        "- The intervals are about the choice of items, not about the luck of a seed.",
        "- The data went through the steps above and no others: personal data in the source is in the model.",
    ]
    if seeds := luck_of_the_seed(experiment, ledger):
        lines.append(seeds)
    lines += [f"- {line(sentence)}" for sentence in facts.opened]
    if not experiment.test:
        lines.append("- No sealed test split was scored.")
    if facts.parameters < 100_000_000:
        lines.append("- It is a small model: it imitates the form of its data and knows very little.")
    return "## Limits\n\n" + "\n".join(lines)


def _told(text: str, ledger: Ledger, known: Iterable[float], papers: Papers) -> str:
    """Words that the brain wrote ahead of the measurement: shown where their numbers hold or are papers'."""
    plain = line(text)
    missing, quoted = loose(plain, ledger, known, papers)
    return _WITHHELD if missing else f"{plain} {TOLD}" if quoted else plain


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def line(value: Any) -> str:
    """One line that cannot leave its cell of a table, open a code block or become HTML."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return re.sub(r"([|`<>\[\]])", r"\\\1", text)


def _flat(config: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif value is not None and len(str(value)) < 200:
            yield f"{before}{key}", tidy(value)


def tidy(value: Any) -> Any:
    """Where a file lay on the machine is nobody's business: its name is enough. Walks what JSON can carry."""
    if isinstance(value, Mapping):
        return {tidy(k): tidy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(v) for v in value]
    return _PATH.sub(r"\1", mask(value)) if isinstance(value, str) else value


def _better(measured: Measured) -> str:
    return "higher" if measured.higher_is_better else "lower"


def show(value: float) -> str:
    """A measured value with four digits."""
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    # Zeros that were measured are shown, but a share of 0.065 is not made longer than it is.
    return f"{value:#.4g}" if abs(value) >= 1 else f"{value:.4g}"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
