"""What a reproduction will do, in order, and what it cannot have: made from a card before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ml_intern.jobs.launch import recipes
from ml_intern.jobs.model import FOREIGN
from ml_intern.jobs.preflight import METHODS
from ml_intern.jobs.record import recipe_hash
from ml_intern.ledger.environment import environment
from ml_intern.reproducing.card import Base, Card, Row, Trained
from ml_intern.reproducing.finding import Found, held_hash, training_files
from ml_intern.reproducing.sources import Place, check_names, names_of, place_of, roots_of, sha256_of

MADE_BY = ("reformat_dataset", "filter_dataset", "deduplicate_dataset", "split_dataset", "mix_datasets")
"""Operations that come out the same each time; what a model wrote does not."""
_WRITTEN = "generate_data"


@dataclass(frozen=True)
class Options:
    """What the person said beside the card.

    Attributes:
        data: Where sources, datasets and base models are, by name.
        eval: A file or name to score with, where the eval cannot be made from the data.
        run_card_code: Whether the recipes that lie in the card may run, in the walls.
    """

    data: Mapping[str, Path] = field(default_factory=dict)
    eval: str | None = None
    run_card_code: bool = False


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        kind: ``data``, ``train``, ``score`` or ``test``.
        name: The card's name of what comes of it: a dataset, a job, an eval.
        says: The same in words.
        seconds: What it took the first time, where that is known.
    """

    kind: Literal["data", "train", "score", "test"]
    name: str
    says: str
    seconds: float | None = None


@dataclass
class Plan:
    """The steps, and what stands in their way.

    Attributes:
        steps: In the order in which they are done.
        places: Where the source of a dataset or a base model is, by the card's name.
        missing: What must be had before anything can start.
        lacking: What is not at hand, without which the rest is done.
        differences: What is otherwise here than it was then.
        foreign: Trainings that only the card's own code can run.
        seconds: What the jobs took the first time.
    """

    card: Card
    called: str
    folder: Path
    options: Options
    revision: str = ""
    steps: list[Step] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def paths(self) -> list[Path]:
        """Files and folders that tools must read for it."""
        return [place.path for place in self.places.values() if place.path is not None]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "card": self.called,
            "revision": self.revision,
            "experiment": self.card.experiment.id,
            "steps": [
                {"kind": s.kind, "name": s.name, "says": s.says, "seconds": s.seconds} for s in self.steps
            ],
            "missing": self.missing,
            "lacking": self.lacking,
            "differences": self.differences,
            "seconds": self.seconds,
        }


def make_plan(found: Found, options: Options, here: Path) -> Plan:
    """The plan for a card.

    Raises:
        UsageError: ``--data`` names what the card does not have.
    """
    card = with_trainings(found.card)
    plan = Plan(card, found.called, found.folder, options, found.revision)
    bases = [job.model.path for job in card.trainings if job.model.path]
    check_names(options.data, [*(n for row in card.data for n in names_of(row)), *bases])
    for id, path in given_rows(card, options).items():
        row = card.row(id)
        if row and row.sha256 and path.is_file() and sha256_of(path) != row.sha256:
            plan.differences.append(f"{path.name} is not, byte for byte, the card's {id}.")
    for thing in _in_order(card, options):
        if isinstance(thing, Row):
            _plan_row(plan, thing, here)
        else:
            _plan_training(plan, thing, here)
    if not card.trainings:
        plan.missing.append("The card tells of no training: there is nothing to run again.")
    _plan_scores(plan)
    plan.differences += _other_machine(card)
    plan.seconds = round(sum(job.seconds for job in card.trainings), 1)
    return plan


def with_trainings(card: Card) -> Card:
    """A card of before trainings were listed: its one training, as far as the ledger's row tells it."""
    config = dict(card.experiment.config)
    method, model = config.pop("method", None), config.pop("model", None)
    if card.trainings or not isinstance(method, str) or method not in METHODS:
        return card
    base = Base(scratch=model) if method == "pretrain" else Base(path=str(model)[:400])
    rows = [row.id for row in card.data[:1]]
    told = {k: v for k, v in config.items() if k not in ("base_model_sha256", "recoveries", "stopped_early")}
    only = Trained(
        name="training",
        method=method,
        model=base,
        dataset=rows[0] if rows else "",
        datasets=rows,
        config=told,
        seed=card.experiment.seed,
        code_sha256=card.experiment.code_hash,
        fingerprint=card.experiment.model,
    )
    return card.model_copy(update={"trainings": [only]})


def given_rows(card: Card, options: Options) -> dict[str, Path]:
    """The datasets that the person hands over as they are, by id."""
    return {row.id: options.data[n] for row in card.data for n in (row.id, row.name) if n in options.data}


def _in_order(card: Card, options: Options) -> Iterator[Row | Trained]:
    """Datasets and trainings, each after what it is made of."""
    rows = {row.id: row for row in sorted(card.data, key=lambda row: row.created)}
    jobs = {job.name: job for job in card.trainings}
    given, done = given_rows(card, options), set[str]()
    # A stack in place of recursion: a card may name a thousand datasets, each made of the one before.
    waiting = [(name, False) for name in reversed([*rows, *jobs])]
    while waiting:
        name, ready = waiting.pop()
        thing = rows.get(name) or jobs.get(name)
        if thing is None or name in given or (name in done and not ready):
            continue
        if ready:
            yield thing
            continue
        done.add(name)
        waiting += [(name, True), *((before, False) for before in reversed(_needs(thing)))]


def _needs(thing: Row | Trained) -> list[str]:
    if isinstance(thing, Trained):
        return [*thing.datasets, thing.dataset, *([thing.model.job] if thing.model.job else [])]
    hard = thing.arguments.get("difficulty")
    model = hard.get("model") if isinstance(hard, dict) else None
    return [*thing.parents, *([model] if isinstance(model, str) else [])]


def _plan_row(plan: Plan, row: Row, here: Path) -> None:
    if row.operation not in (*MADE_BY, "launch_training"):
        why = "a model wrote it" if row.operation == _WRITTEN else f"{row.operation!r} made it"
        plan.missing.append(
            f"The dataset {row.id} cannot be made again: {why} (rows {row.rows:,}, sha256 {row.sha256}). "
            f"Give it with --data {row.name}=PATH."
        )
        return
    for name, root in roots_of(row).items():
        place = plan.places[name] = place_of(root, plan.options.data, here)
        if place.lacks:
            plan.missing.append(f"{place.lacks} Say where it is: --data {_called(root)}=PATH.")
        if place.differs:
            plan.differences.append(place.differs)
    if row.operation == "launch_training":
        return  # It was trained on as it is: its launch stores it.
    before = f"{row.rows_before:,} rows of {', '.join(row.parents) or row.source[:100]}"
    plan.steps.append(Step("data", row.id, f"{row.operation}: {before} to {row.rows:,} rows, {row.id}"))


def _called(row: Row) -> str:
    return Path(row.source.rpartition(":")[0] or row.source).name[:80]


def _plan_training(plan: Plan, job: Trained, here: Path) -> None:
    place = plan.places[job.name] = _base_place(job, plan.options, here)
    if place.lacks:
        plan.missing.append(place.lacks)
    _plan_code(plan, job)
    base = job.model
    start = base.job or (f"{base.hub}@{base.revision[:12]}" if base.hub else base.path) or "nothing"
    says = f"{job.method} {job.name}: from {start[:80]}, on {job.dataset or 'its data'}, seed {job.seed}"
    plan.steps.append(Step("train", job.name, says, job.seconds))
    if plan.card.row(job.dataset) is None:
        plan.missing.append(f"The card does not tell which rows {job.name} was trained on.")
    if job.changed:
        names = ", ".join(str(n)[:40] for n in list(job.changed)[:5])
        plan.differences.append(f"{job.name} got over a failure then, and went on with other {names}.")


def _base_place(job: Trained, options: Options, here: Path) -> Place:
    name = job.model.path
    if name is None:
        return Place()
    path = options.data.get(name)
    if path is None:
        near = (here / Path(name).name).resolve()
        path = near if here.resolve() in near.parents and (near / "config.json").is_file() else None
    if path is None:
        return Place(
            lacks=f"The base model {name[:100]!r} of {job.name} is not at hand (sha256 of its weights "
            f"{job.base_sha256 or 'unknown'}). Say where it is: --data {Path(name).name[:80]}=PATH."
        )
    return Place(str(path), path)


def _plan_code(plan: Plan, job: Trained) -> None:
    """Whether our recipe is the one that trained; else only the card's own can do the same."""
    known = job.method in METHODS and job.method in recipes()
    own_code = job.method in FOREIGN
    if known and job.code_sha256 == recipe_hash(job.method) and not own_code:
        return
    files = training_files(plan.folder)
    held = f"{job.method}.py" in files
    if own_code and known and job.code_sha256 == recipe_hash(job.method):
        if not plan.options.run_card_code:
            plan.missing.append(
                f"{job.name} ({job.method}) runs code that stands in the card. If you trust its walls: "
                "--run-card-code."
            )
        return
    was = job.code_sha256[:12] or "none"
    why = f"The recipe {job.method!r} of {job.name} has another hash ({was}) than ours"
    if not held:
        plan.missing.append(f"{why}, and the card does not hold it.")
    elif held_hash(files, job.method) != job.code_sha256:
        plan.missing.append(f"{why}, and what the card holds is yet another one.")
    elif not plan.options.run_card_code:
        plan.missing.append(f"{why}. The card's own is foreign code: --run-card-code runs it in the walls.")
    else:
        plan.foreign.append(job.name)
        plan.differences.append(f"{job.name} runs the recipe that lies in the card.")


def _plan_scores(plan: Plan) -> None:
    card = plan.card
    done = {step.name for step in plan.steps if step.kind == "data"}
    made = {
        row.arguments.get("eval") for row in card.data if row.id in done and row.operation == "split_dataset"
    }
    at_hand = [e for e in card.evals if e.name in made or plan.options.eval]
    for scored in card.evals:
        if scored not in at_hand:
            plan.lacking.append(
                f"The sealed eval {scored.name!r} (sha256 {scored.sha256 or 'unknown'}) is not at hand: its "
                "scores are not measured again. Give its items with --eval FILE."
            )
    for scored in at_hand:
        how = "made by the split" if scored.name in made else f"from {plan.options.eval}"
        if "dev" in scored.splits:
            plan.steps.append(Step("score", scored.name, f"score on dev of {scored.name}, {how}"))
    if card.experiment.test and any("test" in e.splits for e in at_hand):
        plan.steps.append(Step("test", card.experiment.id, "freeze it and score on the sealed test split"))
    if (card.experiment.dev or card.experiment.test) and not card.evals:
        plan.lacking.append("The card does not tell which eval it was scored on.")


def _other_machine(card: Card) -> list[str]:
    """Versions and hardware that differ: with the same, a training on a CPU gives the same weights."""
    then, now = card.experiment.environment, environment()
    found = []
    was, here = then.get("packages") or {}, now["packages"]
    versions = [
        f"{str(name)[:40]} {_word(was.get(name))} then, {_word(here.get(name))} now"
        for name in sorted({*map(str, was), *here})
        if was and was.get(name) != here.get(name)
    ]
    found += [f"Other versions: {'; '.join(versions[:8])}."] if versions else []
    for name in ("python", "cpu", "gpu", "platform"):
        if name in then and then[name] != now.get(name):
            found.append(f"Another {name}: {_word(then[name])} then, {_word(now.get(name))} now.")
    for job in card.trainings:
        if job.compute != "local":
            found.append(f"{job.name} ran on {_word(job.compute)}; here it runs where the settings say.")
    return found


def _word(value: Any) -> str:
    return "".join(c for c in str(value if value is not None else "none")[:80] if c.isprintable())
