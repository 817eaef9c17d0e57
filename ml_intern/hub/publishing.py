"""From an experiment to a repository: what goes into it, and what is remembered so that it happens once."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ml_intern.claims.evidence import Evidence
from ml_intern.claims.papers import Papers
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.model import fingerprint
from ml_intern.evals.opened import earlier
from ml_intern.evals.store import Evals
from ml_intern.hub import trail as trailing
from ml_intern.hub.card import CardFacts, loose_words, model_card, tidy, unresolved
from ml_intern.hub.client import Hub
from ml_intern.hub.confirming import over_seeds
from ml_intern.hub.names import Kind
from ml_intern.hub.objects import write_atomic
from ml_intern.hub.origin import Origin
from ml_intern.hub.sealing import sealed_by_splits
from ml_intern.hub.staging import parameters
from ml_intern.jobs.launch import recipe_files, recipes
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.record import recipe_hash
from ml_intern.ledger import Experiment, Ledger
from ml_intern.ledger.numbers import numbers_of_comparison

SAMPLES = 5
PLACES = {"output_dir": "output", "checkpoint_dir": "checkpoints", "metrics_file": "metrics.jsonl"}


class Intent(BaseModel):
    """A publication that was begun: written before the first byte leaves, read after a crash."""

    key: str
    kind: Kind
    repo: str
    subject: str
    """The experiment or the dataset."""
    card: str
    commit: str = ""

    @property
    def mark(self) -> str:
        """What the commit carries, so that it is recognised on the Hub."""
        return f"ml-intern: {hashlib.sha256(self.key.encode()).hexdigest()[:32]}"

    def save(self, folder: Path) -> None:
        """Write it down, durably."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(_file(folder, self.key), self.model_dump_json().encode())

    @classmethod
    def load(cls, folder: Path, key: str) -> Intent | None:
        """What was begun under a key, if anything."""
        path = _file(folder, key)
        return cls.model_validate_json(path.read_text()) if path.exists() else None


def trained_model(experiment: Experiment, jobs: Jobs) -> Path:
    """The folder of the model that an experiment was measured with; the newest where nothing was measured.

    Raises:
        ToolError: No job of the experiment made a model, or the measured weights are gone.
    """
    found = [p for job in reversed(experiment.jobs) if (p := _model_of(jobs, job))]
    if not found:
        raise ToolError(
            f"{experiment.id} has no trained model to publish.",
            "Wait for its training, or choose another experiment.",
        )
    if not experiment.model:
        return found[0]
    measured = next((p for p in found if fingerprint(p) == experiment.model), None)
    if measured is None:
        raise ToolError(
            f"The weights that {experiment.id} was measured with are gone.",
            "Evaluate its model again, then publish.",
        )
    return measured


def with_training(row: Experiment, of: Experiment) -> Experiment:
    """A row that answers with another one's weights, with the training that made them."""
    if row.id == of.id:
        return row
    kept = ("jobs", "config", "data", "code_hash", "environment", "seed", "cost", "facts")
    return row.model_copy(update={name: getattr(of, name) for name in kept})


def card_facts(
    experiment: Experiment,
    staged: Path,
    repo: str,
    session: str,
    hub: Hub,
    jobs: Jobs,
    data: DatasetStore,
    ledger: Ledger,
    evals: Evals | None = None,
    origin: Origin | None = None,
    papers: Papers | None = None,
    journal: Path | None = None,
) -> CardFacts:
    """What a card needs beside the ledger's row."""
    seen = ledger.scores(experiment=experiment.id)
    specs = [jobs.spec(j) for j in experiment.jobs if _model_of(jobs, j)]
    known = [s for s in specs if recipe_hash(s.method) == experiment.code_hash]
    trained = trailing.trainings(experiment, jobs, ledger)
    scored = trailing.evals_of(experiment, ledger, evals)
    return CardFacts(
        repo=repo,
        session=session,
        parameters=parameters(staged),
        config=_config(staged),
        lineage=lineage(
            experiment, data, trailing.datasets_of(trained) + trailing.sealing_datasets(scored, data)
        ),
        recipe=known[-1].method if known else "",
        job_config=known[-1].config if known else {},
        load=load_command(hub, repo),
        evals={s.split: s.eval for s in seen},
        samples=next((s.samples[:SAMPLES] for s in reversed(seen) if s.samples), []),
        trainings=trained,
        scored=scored,
        reproduce=reproduce_command(hub, repo),
        by_hand=trailing.by_hand(trained, known[-1].method) if known else "",
        origin=origin,
        curves=[*curve_numbers(jobs, ledger), *seed_numbers(experiment, ledger)],
        opened=[*earlier(evals.settings.state, session, evals.list()).values()] if evals else (),
        papers=papers or Papers(),
        sealed=sealed_by_splits({s.eval for s in seen}, data, journal) if journal else (),
    )


def curve_numbers(jobs: Jobs, ledger: Ledger) -> list[float]:
    """What the trainings of all experiments wrote: that a loss was 537 at step 5 is measured, too."""
    found: set[float] = set()
    for job in {job for experiment in ledger.list() for job in experiment.jobs}:
        with suppress(ToolError):
            for row in jobs.metrics(job):
                found.update(float(value) for value in row.values() if isinstance(value, int | float))
    return sorted(value for value in found if math.isfinite(value))


def seed_numbers(experiment: Experiment, ledger: Ledger) -> list[float]:
    """On how many seeds an experiment was measured, and their mean."""
    found = over_seeds(experiment, ledger)
    return [float(found.n), found.mean] if found else []


def write_card(
    folder: Path, experiment: Experiment, ledger: Ledger, facts: CardFacts, evidence: Evidence | None = None
) -> str:
    """Put the card and the trail of its numbers into a staged folder.

    Raises:
        ToolError: The card states a number that nobody measured.
    """
    check_words(ledger, facts.numbers(), evidence)
    check_card(experiment, ledger, facts)
    text = model_card(experiment, ledger, facts)
    (folder / "README.md").write_text(text, encoding="utf-8")
    if facts.recipe and facts.job_config:
        _write_training(folder / "training", facts)
    (folder / "ml_intern.json").write_text(
        json.dumps(trail(experiment, ledger, facts), indent=2, ensure_ascii=False)
    )
    return text


def check_card(experiment: Experiment, ledger: Ledger, facts: CardFacts) -> None:
    """Look at every number that the card states of itself.

    The brain's words have been checked by themselves, and make nothing known to the rest of the card.

    Raises:
        ToolError: It states a number that nobody measured.
    """
    text = model_card(experiment, ledger, facts, words=False)
    before = [number.value for c in ledger.replaced() for number in numbers_of_comparison(c)]
    if numbers := unresolved(text, ledger, [*facts.numbers(), *before]):
        where = next((row for row in text.splitlines() if numbers[0] in row), "").strip(" |-")
        raise ToolError(
            f"Not published: the card states {_listed(numbers)}, which is not in the ledger.",
            f"It stands in {where[:160]!r}.",
        )


def _write_training(folder: Path, facts: CardFacts) -> None:
    """The recipe as it ran, and its configuration with places that a stranger has."""
    folder.mkdir()
    methods = {facts.recipe, *(t["method"] for t in facts.trainings if t["method"] in recipes())}
    for file in dict.fromkeys(file for method in sorted(methods) for file in recipe_files(method)):
        shutil.copyfile(file, folder / file.name)
    config = {**facts.job_config, "data": "data.jsonl", **PLACES}
    if "model_ref" in config:
        config["model"] = config["model_ref"]
    if facts.trainings and (base := facts.trainings[-1]["model"].get("job")):
        config["model"] = f"{base}/model"
    trailing.write_bases(folder, facts.trainings[:-1])
    text = json.dumps(tidy(config), indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text, encoding="utf-8")


def check_words(ledger: Ledger, known: Sequence[float], evidence: Evidence | None = None) -> None:
    """Look at what the experiments' notes claim.

    Raises:
        ToolError: They state a number that nobody measured.
    """
    for where, numbers in loose_words(ledger, known, evidence).items():
        raise ToolError(
            f"Not published: {where} state {_listed(numbers)}, which nobody measured.",
            "Say it without the number, or with the measured one: finish_experiment(id, verdict, notes).",
        )


def known_numbers(staged: Path, curves: Sequence[float] = ()) -> list[float]:
    """What a staged model itself says: its parameters and the fields of its configuration; and the curves."""
    facts = CardFacts(
        repo="", session="", parameters=parameters(staged), config=_config(staged), curves=curves
    )
    return facts.numbers()


def trail(experiment: Experiment, ledger: Ledger, facts: CardFacts) -> dict[str, Any]:
    """The ledger's row, its comparisons and the data's lineage, for who wants to check or do it again."""
    kept = experiment.model_dump(mode="json", exclude={"hypothesis", "change", "notes", "published", "jobs"})
    related = [c.model_dump(mode="json") for c in ledger.comparisons() if experiment.id in (c.a, c.b)]
    before = [
        c.model_dump(mode="json", exclude={"notes", "says"})
        for c in ledger.replaced()
        if experiment.id in (c.a, c.b)
    ]
    found = {
        "session": facts.session,
        "experiment": kept,
        "comparisons": related,
        "replaced": before,
        "data": list(facts.lineage),
        "trainings": list(facts.trainings),
        "evals": list(facts.scored),
        "weights": facts.origin.to_json() if facts.origin else None,
    }
    tidied: dict[str, Any] = tidy(found)
    return tidied


def lineage(experiment: Experiment, data: DatasetStore, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The datasets behind an experiment, and behind `more` datasets, the newest first."""
    waiting = [
        d["id"] for d in experiment.data.values() if isinstance(d, dict) and isinstance(d.get("id"), str)
    ]
    waiting += [*(d for d in experiment.data.values() if isinstance(d, str)), *more]
    found: dict[str, dict[str, Any]] = {}
    while waiting:
        ref = waiting.pop(0)
        if ref in found:
            continue
        try:
            info = data.info(ref)
        except ToolError:
            continue
        found[ref] = {
            "id": info.id,
            "rows": info.rows,
            "rows_before": info.lineage.rows_before,
            "operation": info.lineage.operation,
            "arguments": info.lineage.arguments,
            "source": info.lineage.source,
            "sha256": info.sha256,
            "revision": info.lineage.revision,
            "source_sha256": info.lineage.sha256,
            "parents": info.lineage.parents,
            "code_sha256": info.lineage.code_sha256,
            "created": info.created,
        }
        waiting += info.lineage.parents
    return sorted(found.values(), key=lambda row: -row["created"])


def load_command(hub: Hub, repo: str) -> str:
    """What a person types to load a model of this Hub."""
    # The name was checked: it holds nothing that a shell or Python would read otherwise.
    code = f"from transformers import AutoModelForCausalLM as M; print(M.from_pretrained('{repo}'))"
    env = "" if hub.official else f"HF_ENDPOINT={hub.endpoint} "
    return f'{env}python -c "{code}"'


def reproduce_command(hub: Hub, repo: str) -> str:
    """What a person types to do the whole again and hold the numbers against those of the card."""
    env = "" if hub.official else f"HF_ENDPOINT={hub.endpoint} "
    return f"{env}ml-intern reproduce {repo}"


def serve_command(hub: Hub) -> str:
    """What must run for `load_command` to work once the session is over; nothing for a remote Hub."""
    if not hub.embedded:
        return ""
    return (
        f"ml-intern hub serve --root {shlex.quote(str(hub.storage))} --port {hub.endpoint.rpartition(':')[2]}"
    )


def _config(staged: Path) -> dict[str, Any]:
    try:
        found = json.loads((staged / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _model_of(jobs: Jobs, job: str) -> Path | None:
    try:
        return jobs.model_path(job)
    except ToolError:
        return None


def _listed(numbers: list[str]) -> str:
    shown = ", ".join(numbers[:5])
    return shown + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def _file(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
