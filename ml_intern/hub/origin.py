"""Where a model's weights come from: held against its declared base and every other model at hand.

A model that is nearer to a stranger than to the base that it says it was trained from is somebody else's
work. How much nearer is too near, `CLOSER`: a training that moves a model by ``t`` in a direction of its own
leaves it ``sqrt(t**2 + s**2)`` away from a relative of the base that is ``s`` away from it, which is farther
than ``t``; to come below 0.7 of ``t`` its direction would have to agree with the relative's by a cosine of
more than 0.71.
A copy with noise is found until the noise is as long as what the relative was
tuned by.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.evals.templates import told_of
from ml_intern.hub.bases import Model, by_recipe, declared, downloaded, handed_on, known_as, made_by_the_agent
from ml_intern.hub.likeness import RELATED, Likeness, likeness
from ml_intern.hub.weights import tensors, weights_hash

if TYPE_CHECKING:
    from ml_intern.context import ToolContext
    from ml_intern.hub.client import Hub
    from ml_intern.jobs.local import Jobs
    from ml_intern.ledger import Experiment

CLOSER = 0.7
UNTRAINED = re.compile(
    r"\b(untrained|as it comes|as it came|not trained|no training|without training|unchanged)\b", re.I
)
SAME = 1e-6
"""A distance below which nothing was trained: float32 keeps seven digits."""

LEAST_BY_SCRIPT = 0.002
"""A distance up to which a script has trained nothing: values rounded to bfloat16 are 0.0017 apart."""

LEAST_SHARED = 0.3
"""Share of the parameters that two models must have in common to be related."""

DEEPEST, MOST_FOLDERS = 6, 5_000
"""How far a folder is searched for models."""


@dataclass(frozen=True)
class Relation:
    """How like the published weights are to a model at hand."""

    name: str
    distance: float | None
    shared: float
    renamed: int
    exact: bool
    declared: bool
    typical: float | None = None
    sha256: str = ""

    @classmethod
    def of(cls, model: Model, found: Likeness, declared: bool) -> Relation:
        """Name a likeness."""
        return cls(
            model.name,
            found.distance,
            found.shared,
            found.renamed,
            found.exact,
            declared,
            found.typical,
            weights_hash(model.folder),
        )


@dataclass(frozen=True)
class Origin:
    """What the weights of a model were held against.

    Attributes:
        weights: Hash of them.
        relations: The declared base first, then whatever else was at hand, the nearest first.
        notes: What a reader should know beside.
    """

    weights: str = ""
    relations: Sequence[Relation] = ()
    notes: Sequence[str] = field(default=())

    def numbers(self) -> list[float]:
        """The numbers that a card tells of it."""
        told = [n for r in self.relations for n in (r.distance, r.shared, float(r.renamed)) if n is not None]
        return [*told, float(len(self.relations)), 1.4]

    def to_json(self) -> dict[str, Any]:
        """What the trail keeps of it."""
        return {
            "weights_sha256": self.weights,
            "relations": [asdict(r) for r in self.relations],
            "notes": list(self.notes),
        }


def origin_of(ctx: ToolContext, experiment: Experiment, model: Path, staged: Path) -> Origin:
    """Hold a model's weights against all models at hand.

    Args:
        ctx: The session's services.
        experiment: The one that is to be published.
        model: The folder of its model, in its job's output.
        staged: The copy that will be published.

    Raises:
        ToolError: They are somebody else's, or its own base's.
    """
    tensors(staged)  # what cannot be read of the model itself stops it
    said = declared(ctx.jobs, model)
    notes = list(_base_changed(experiment, said))
    others = list(at_hand(ctx.hub, ctx.jobs, ctx.files.workspace, [model, *(b.folder for b in said)]))
    unread = [m for m in others if not _readable(m.folder)]
    notes += [f"{m.name} cannot be read as safetensors and was not held against it." for m in unread]
    others = [m for m in others if m not in unread]
    bases = list(_own(ctx, said, others))
    relations = [Relation.of(m, likeness(staged, m.folder), True) for m in bases]
    known = {r.sha256 for r in relations}
    strangers = []
    for other in others:
        if weights_hash(other.folder) not in known:  # the base under another name
            strangers.append((other, Relation.of(other, likeness(staged, other.folder), False)))
    strangers.sort(key=lambda each: (each[1].distance is None, each[1].distance or 0.0))
    judge(experiment, relations, strangers, bases, [m for m in bases if _may_be_a_copy(ctx.jobs, m)])
    first = bases[0] if bases else None
    if told := told_of(staged, first.folder if first else None, first.name if first else ""):
        notes.append(told)
    return Origin(weights_hash(staged), [*relations, *(r for _, r in strangers)], notes)


def _own(ctx: ToolContext, said: Sequence[Model], others: Sequence[Model]) -> Iterator[Model]:
    """The bases that a model has by right: not a stranger's copy that a cell or a script has made.

    Where scripts alone stand between such a copy and the model it is left out, and the stranger stays one.
    Where a recipe has trained it, the stranger is the base, and told as one.
    """
    mine = [m for m in said if not made_by_the_agent(ctx.jobs, ctx.files.workspace, m.folder)]
    theirs = [m for m in others if downloaded(ctx.jobs, m.folder)]
    for base in said:
        whose = None if base in mine else _whose(base, theirs, mine)
        if whose is None or not base.scripted:
            yield from (base, whose) if whose else (base,)


def _readable(folder: Path) -> bool:
    try:
        return bool(tensors(folder))
    except ToolError:
        return False


def _whose(copy: Model, theirs: Sequence[Model], mine: Sequence[Model]) -> Model | None:
    """The nearest stranger that a base is a copy of, unless it is as near to a base that it has by right."""
    bases = [Relation.of(m, likeness(copy.folder, m.folder), True) for m in mine]
    found = [(m, Relation.of(m, likeness(copy.folder, m.folder), False)) for m in theirs]
    near = [(r.distance or 0.0, m) for m, r in found if _closer(r, bases)]
    return min(near, key=lambda each: each[0])[1] if near else None


def _may_be_a_copy(jobs: Jobs, base: Model) -> bool:
    return base.scripted and not by_recipe(jobs, base.folder)


def judge(
    experiment: Experiment,
    relations: Sequence[Relation],
    strangers: Sequence[tuple[Model, Relation]],
    bases: Sequence[Model],
    scripted: Sequence[Model] = (),
) -> None:
    """Refuse weights that are somebody else's.

    Args:
        experiment: The one that is to be published.
        relations: To its bases.
        strangers: The others.
        bases: The bases.
        scripted: Those from which scripts alone have made it: a copy, perhaps with a little noise.

    Raises:
        ToolError: Whose they are, in one line.
    """
    words = f"{experiment.change} {experiment.hypothesis}"
    copied = {m.name for m in scripted}
    for base in reversed(relations):  # of copies in a row, what was copied first
        if UNTRAINED.search(words) or not _nothing_trained(base, base.name in copied):
            continue
        moved = "" if base.exact else f" (at a distance of {base.distance:.2g})"
        raise ToolError(
            f"Not published: the weights of {experiment.id} are those of its base, "
            f"{base.name}{moved}: nothing was trained.",
            "To publish a baseline as it comes, say so in the change of its experiment (untrained).",
        )
    for other, found in strangers:
        if not _closer(found, relations) or any(_one_model(other, base) for base in bases):
            continue
        told = f"at a distance of {found.distance:.2g}" if found.distance else "value by value"
        own = f"its base {relations[0].name}" if relations else "what it says, a model trained from nothing"
        raise ToolError(
            f"Not published: the weights of {experiment.id} are those of {found.name} ({told}), "
            f"not of {own}.",
            "Publish what was trained here, and name what it starts from: launch_training(model=…) or "
            "launch_script(inputs=[…]).",
        )


def _closer(found: Relation, bases: Sequence[Relation]) -> bool:
    """Whether a model is much nearer to a stranger than to its bases, all in all or typically."""
    if found.shared < LEAST_SHARED:
        return False
    for mine, theirs in (
        (found.distance, [b.distance for b in bases if b.shared >= LEAST_SHARED]),
        (found.typical, [b.typical for b in bases if b.shared >= LEAST_SHARED]),
    ):
        related = [d for d in theirs if d is not None and d < RELATED]
        limit = CLOSER * min(related) if related else RELATED
        if mine is not None and mine < limit:
            return True
    return False


def _nothing_trained(base: Relation, scripted: bool) -> bool:
    if scripted and base.shared > LEAST_SHARED and base.distance is not None:
        return base.exact or base.distance <= LEAST_BY_SCRIPT
    if base.shared < 1 and not base.exact:
        return base.distance is not None and base.distance <= SAME and base.shared > LEAST_SHARED
    return base.exact


def _one_model(other: Model, base: Model) -> bool:
    found = likeness(other.folder, base.folder)
    return found.distance is not None and found.distance <= SAME


# What is declared, and what is at hand


def template_note(jobs: Jobs, model: Path) -> str:
    """What is odd in the chat template of a model that a job has made, against its base's; or nothing."""
    bases = declared(jobs, model)
    return told_of(model, bases[0].folder if bases else None, bases[0].name if bases else "")


def _base_changed(experiment: Experiment, bases: Sequence[Model]) -> Iterator[str]:
    """Whether the base is another than at the launch: its files, or what the training has read."""
    told = experiment.base.get("weights")
    read = experiment.config.get("base_model_sha256")
    if told and bases and told not in {weights_hash(m.folder) for m in bases}:
        yield f"The files of its base {bases[0].name} are others than when its training was launched."
    elif told and read and told != read:
        yield "The training has read another base than the one that it was launched with."


def at_hand(hub: Hub, jobs: Jobs, workspace: Path, apart: Sequence[Path]) -> Iterator[Model]:
    """Every other model of the Hub's cache, the workspace, and what jobs have left.

    Of the results of jobs those alone that a script has made and another script was given.
    """
    seen = {p.resolve() for p in apart}
    results = {(jobs.folder / job.id / "output" / "model").resolve() for job in jobs.list()}
    results -= {p.resolve() for p in handed_on(jobs, apart[0])}
    for folder in _models_below(hub.cache):
        if folder.resolve() not in seen and folder.parent.name == "plain":
            yield Model(_cached_name(folder), folder)
    for root in (workspace, *(jobs.folder / job.id / "output" for job in jobs.list())):
        for folder in _models_below(root):
            real = folder.resolve()
            if real not in seen and real not in results:
                seen.add(real)
                inside = folder.relative_to(root.parent).as_posix()
                yield Model(inside if root == workspace else known_as(jobs, folder), folder)


def _models_below(root: Path) -> Iterator[Path]:
    """Folders with weights in safetensors; no links are followed."""
    depth = len(root.parts)
    for place, folders, files in itertools.islice(os.walk(root), MOST_FOLDERS):
        if len(Path(place).parts) - depth >= DEEPEST:
            folders.clear()
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not f.startswith("checkpoint-"))
        if any(f.endswith(".safetensors") and not (Path(place) / f).is_symlink() for f in files):
            yield Path(place)


def _cached_name(folder: Path) -> str:
    repo = folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return f"{repo}@{folder.name[:8]}"


def lineage_section(origin: Origin | None) -> str:
    """The card's words on where the weights come from."""
    if origin is None or not (origin.relations or origin.notes):
        return ""
    rows = [
        f"| `{re.sub(r'[|`<>]', ' ', r.name)}` | {'base' if r.declared else 'at hand'} | "
        f"{_told(r)} | {r.shared:.3g} |"
        for r in origin.relations[:12]
    ]
    table = "\n".join(
        ["| model | what it is | distance | shared parameters |", "| --- | --- | --- | --- |", *rows]
    )
    notes = "".join(f"\n\n{note}" for note in origin.notes)
    return (
        "## Where the weights come from\n\n"
        f"{table}\n\nThe distance is the relative L2 distance of the shared parameters: 0 is a "
        f"copy, models that "
        f"have nothing in common are about 1.4 apart. Every model that was at hand in the "
        f"session is listed.{notes}"
    )


def _told(relation: Relation) -> str:
    if relation.distance is None:
        return "nothing in common"
    return f"{relation.distance:.3g}"
