"""The brain of a reproduction: no language model. It says the cells of the plan and checks what they made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from smolagents.models import ChatMessage

from ml_intern.brains.base import Brain, Ending, answer, role_of
from ml_intern.brains.playbook_brain import failure_in
from ml_intern.durations import parse_duration
from ml_intern.errors import Denied, InternError, ToolError, UsageError
from ml_intern.hub.trail import files_of
from ml_intern.jobs.model import FINISHED
from ml_intern.jobs.record import read_result
from ml_intern.reproducing import cells, keeping
from ml_intern.reproducing.card import Row, Trained
from ml_intern.reproducing.comparing import (
    Made,
    Outcome,
    Weights,
    differing_files,
    numbers,
    read_outcome,
)
from ml_intern.reproducing.finding import training_files
from ml_intern.reproducing.plan import Plan, Step, given_rows
from ml_intern.workspace.safe_files import write_file

if TYPE_CHECKING:
    from ml_intern.context import Services
    from ml_intern.data.store import DatasetInfo
    from ml_intern.ledger import Experiment


class NotReproduced(InternError):
    """What came out is not what the card says."""


class ReproductionBrain(Brain):
    """Plays the plan of a card, step by step.

    Which step comes next follows from the messages, and what was made from the session's folder, so that a
    session that was killed goes on where it was.

    Args:
        key: Names the plan that `ml_intern.reproducing.keeping` keeps.
        state: The state folder.
    """

    language_model = False
    vouched = True
    context_tokens = 100_000_000  # Nothing is summarised: nobody reads the prompt.

    def __init__(self, key: str, state: Path) -> None:
        super().__init__(model_id="reproduce")
        self.plan: Plan = keeping.load(state, key)
        self.label = f"reproduce:{key}"
        self._services: Services | None = None
        self._other = ""
        self._places = {name: place.ref for name, place in self.plan.places.items() if place.ref}

    @property
    def trusted(self) -> bool:  # type: ignore[override]
        """The cells are our own; the card's code is not, and never runs without walls."""
        return not self.plan.options.run_card_code

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """Nothing."""
        return 0.0

    def prepare(self, prompt: str) -> None:
        """Refuse what cannot be done before anything is made.

        Raises:
            UsageError: Something that is needed is not at hand, or this is another sentence.
        """
        if prompt.strip() != keeping.prompt_for(self.plan.called):
            raise UsageError("A reproduction does what its card says and takes no further sentence.")
        if self.plan.missing:
            raise UsageError(" ".join(self.plan.missing))

    def begin(self, services: Services) -> None:
        """Look from now on at what the session makes; put the card's own recipes where scripts lie.

        Raises:
            Denied: Code of the card shall run, and there are no walls: when a session goes on, neither.
        """
        self._services = services
        walls = services.jobs.sandbox
        if self.plan.options.run_card_code and (walls is None or not walls.isolated):
            raise Denied("--run-card-code runs foreign code: not without walls.", "Leave --sandbox none out.")
        for name in self.plan.foreign:
            job = next(t for t in self.plan.card.trainings if t.name == name)
            text = cells.script_of(job, training_files(self.plan.folder), job.recipe_config)
            path = services.files.writable(f"{cells.CODE}/{job.name}.py")
            write_file(services.files.workspace, path, text.encode())

    def generate(
        self,
        messages: list[Any],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The cell of the next step, once the last one is found to have made what it should.

        Raises:
            NotReproduced: It made something else, or failed.
        """
        played = sum(role_of(message) == "assistant" for message in messages)
        if played and (wrong := failure_in(messages)):
            self._give_up(wrong if wrong.endswith(".") else f"{wrong}.")
        if 1 < played <= len(self.plan.steps) + 1:
            self._check(self.plan.steps[played - 2])
        code = self._code(played)
        return answer(f"{self._prose(played)}\n{self.tags[0]}\n{code}\n{self.tags[1]}", Ending("stop"), 0, 0)

    def verdict(self) -> InternError | None:
        """A run that came to its end has not therefore reproduced anything."""
        found = read_outcome(self.services.folder)
        if found is None or found.get("reproduced"):
            return None
        return NotReproduced(str(found.get("says")))

    @property
    def services(self) -> Services:
        """The session's."""
        assert self._services is not None
        return self._services

    # What comes next

    def _prose(self, played: int) -> str:
        if played == 0:
            return f"A reproduction of {self.plan.called}: {len(self.plan.steps)} steps."
        if played <= len(self.plan.steps):
            return f"Step {played} of {len(self.plan.steps)}: {self.plan.steps[played - 1].says}."
        return "All steps are done; the numbers beside those of the card."

    def _code(self, played: int) -> str:
        if played == 0:
            self._check_evals()
            return cells.open_row(self.plan.called, self.plan.card.experiment.seed)
        if played <= len(self.plan.steps):
            return self._cell(self.plan.steps[played - 1])
        outcome = self.outcome()
        outcome.write(self.services.folder)
        verdict = "kept" if outcome.reproduced and self._row().dev else "inconclusive"
        closed = cells.call("finish_experiment", id=self._row().id, verdict=verdict)
        return f"{closed}\nfinal_answer({outcome.markdown()!r})"

    def _check_evals(self) -> None:
        """An eval that the person gave is there from the start: is it the card's?"""
        rows = self.plan.card.data
        made = {row.arguments.get("eval") for row in rows if row.operation == "split_dataset"}
        for step in self.plan.steps:
            if step.kind == "score" and step.name not in made:
                self._eval(step.name)

    def _cell(self, step: Step) -> str:
        card, refs = self.plan.card, self._refs()
        if step.kind == "data":
            row = card.row(step.name)
            assert row is not None
            scored = next((e for e in card.evals if e.name == row.arguments.get("eval")), None)
            refs |= {row.id: self._places[row.id]} if row.id in self._places else {}
            return cells.data(row, refs, scored.model_dump() if scored else None)
        if step.kind == "train":
            job = next(t for t in card.trainings if t.name == step.name)
            own = self._row().id if card.last is job else None
            write = cells.train_with_card if job.name in self.plan.foreign else cells.train
            longest = parse_duration(self.services.settings.job_timeout, "job_timeout")
            return write(job, refs, own, longest)
        if step.kind == "score":
            return cells.score(self._job_of(card.trainings[-1].name), self._eval(step.name), self._row().id)
        return cells.test(self._row().id)

    def _refs(self) -> dict[str, str]:
        """What the card's datasets and models are called here."""
        known = {row.id: row.sha256 for row in self.plan.card.data}
        made = {id: info.id for id, info in self._made().items() if known[id] in ("", info.sha256)}
        given = {id: str(path) for id, path in given_rows(self.plan.card, self.plan.options).items()}
        jobs = {t.name: self._job_of(t.name) for t in self.plan.card.trainings if self._has(t.name)}
        # A base model that is a path goes by the name of its training, until that has made a job.
        return {**self._places, **jobs, **made, **given}

    def _row(self) -> Experiment:
        return self.services.ledger.list()[0]

    def _has(self, name: str) -> bool:
        return any(job.name == name for job in self.services.jobs.list())

    def _job_of(self, name: str) -> str:
        """The newest job of a name: one that was cut off before may be there, too."""
        return [job.id for job in self.services.jobs.list() if job.name == name][-1]

    def _eval(self, name: str) -> str:
        """The eval of today that holds the card's items.

        Raises:
            NotReproduced: None does.
        """
        wanted = next(e for e in self.plan.card.evals if e.name == name)
        infos = self.services.evals.list()
        same = [i.name for i in infos if (i.sha256 == wanted.sha256 if wanted.sha256 else i.name == name)]
        if not same:
            hashes = ", ".join(f"{i.name} {i.sha256[:12]}" for i in infos) or "none"
            sought = f"the items of {name!r} (sha256 {wanted.sha256[:12]}…"
            self._give_up(f"no eval at hand holds {sought}; at hand: {hashes}).")
        return same[0]

    # What was made

    def _made(self) -> dict[str, DatasetInfo]:
        """The datasets of today by the card's ids: those of the same rows, else the newest of their name."""
        infos = sorted(self.services.datasets.list(), key=lambda info: info.created)
        found: dict[str, DatasetInfo] = {}
        for row in self.plan.card.data:
            same = [i for i in infos if row.sha256 and i.sha256 == row.sha256]
            named = [i for i in infos if i.id.partition("@")[0] == row.name]
            if same or named:
                found[row.id] = (same or named)[-1]
        return found

    def _check(self, step: Step) -> None:
        """A dataset or base model that differs ends it: what is trained on it would be another experiment."""
        card = self.plan.card
        if step.kind == "data":
            row = card.row(step.name)
            assert row is not None
            self._check_row(row)
            for scored in (e for e in card.evals if e.name == row.arguments.get("eval")):
                self._eval(scored.name)
        elif step.kind == "train":
            job = next(t for t in card.trainings if t.name == step.name)
            for row in (row for id in job.datasets if (row := card.row(id))):
                if row.operation == "launch_training":
                    self._check_row(row)
            self._check_base(job)

    def _check_base(self, job: Trained) -> None:
        """A model of the Hub or of a folder must have the weights that it had then."""
        if not job.base_sha256 or job.model.job or job.name in self.plan.foreign:
            return
        status = self.services.jobs.status(self._job_of(job.name))
        now = read_result(Path(status.output)).get("base_model_sha256")
        if now and now != job.base_sha256:
            self._give_up(
                f"the base model of {job.name} has other weights (sha256 {str(now)[:16]}…) than then "
                f"({job.base_sha256[:16]}…)."
            )

    def _check_row(self, row: Row) -> None:
        now = self._made().get(row.id)
        if not row.sha256:
            return
        if now is None:
            self._give_up(f"{row.operation} made no dataset {row.id}.")
        elif now.sha256 != row.sha256:
            self._other = row.id
            self._give_up(
                f"{row.operation} made {now.rows:,} rows for {row.id} (sha256 {now.sha256[:16]}…); the card "
                f"has {row.rows:,} ({row.sha256[:16]}…). The source or the code that reads it is another one."
            )

    def _give_up(self, why: str) -> None:
        outcome = self.outcome()
        outcome.failed = why
        outcome.write(self.services.folder)
        raise NotReproduced(outcome.says)

    def outcome(self) -> Outcome:
        """What stands so far, beside the card."""
        card = self.plan.card
        made = self._made()
        data = [
            Made(row.id, row.rows, made[row.id].rows, row.sha256, made[row.id].sha256)
            for row in reversed(card.data)
            if row.id in made and (made[row.id].sha256 == row.sha256 or row.id == self._other)
        ]
        weights = [found for job in card.trainings if (found := self._weights(job.name))]
        rows = self.services.ledger.list()
        last = weights[-1] if weights and card.last and weights[-1].name == card.last.name else None
        same = bool(last and last.same) or bool(
            last and card.experiment.model and last.now == card.experiment.model
        )
        return Outcome(
            self.plan.called,
            self.plan.revision,
            data,
            weights,
            numbers(card, rows[0] if rows else None, same, set()),
            list(self.plan.lacking),
            list(self.plan.differences),
        )

    def _weights(self, name: str) -> Weights | None:
        from ml_intern.evals.model import fingerprint

        job = next(t for t in self.plan.card.trainings if t.name == name)
        if not self._has(name):
            return None
        status = self.services.jobs.status(self._job_of(name))
        if status.state not in FINISHED:
            return None
        try:
            model = self.services.jobs.model_path(status.id)
            return Weights(
                name, job.fingerprint, fingerprint(model), differing_files(job.files, files_of(model))
            )
        except ToolError:
            return None
