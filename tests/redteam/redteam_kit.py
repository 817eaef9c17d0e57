"""Attempts at what no number may rest on, played by a brain that wants to: real session, sandbox, tools, Hub.

An `Attempt` is one cell as such a mind would write it, what stops it, and the message that it reads. All
attempts of a file are cells of one session, one after the other; before and after each of them the host looks
at everything that an attempt could have moved (`standing`). `table.py` makes README.md of the same data.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs
from support.scripted_runs import Plays, cell

from ml_intern.brains.base import Ending, answer
from ml_intern.events import CellFinished, Event
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.record import record_start
from ml_intern.outside.mcp_servers import McpServers
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

WALLS = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
DONE = "final_answer('I am done.')"
ANY = "…"
"""In a message: what differs from run to run, or does not matter."""


@dataclass(frozen=True)
class Attempt:
    """Something that must not work.

    Attributes:
        name: What is tried, in words.
        guard: What stops it, in words.
        message: What the brain reads, exactly but for `ANY`; the folders of a session have names in capitals.
        cell: What the brain writes.
        may: What of `standing` it moves rightly (a dataset that was made without the rows, say).
        after: What else must hold at the end.
        waits: Why it is not stopped yet; nothing where it is.
    """

    name: str
    guard: str
    message: str
    cell: str
    may: Sequence[str] = ()
    after: Callable[[World], None] | None = None
    waits: str = ""


@dataclass
class Tried:
    """What became of an attempt: whether its cell failed, what the brain read, how all stood around it."""

    ok: bool
    said: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass
class World:
    """A session after all attempts of a file."""

    session: Session
    project: Path
    tried: dict[str, Tried]
    prompts: list[str]
    events: list[Event] = field(default_factory=list)

    def check(self, attempt: Attempt) -> None:
        """Stopped, without any effect, and told in these words."""
        tried = self.tried[attempt.name]
        assert fits(attempt.message, tried.said), f"the brain read:\n{tried.said}"
        moved = {key for key, value in tried.after.items() if tried.before[key] != value} - {*attempt.may}
        assert not moved, {key: (tried.before[key], tried.after[key]) for key in moved}
        assert any(fits(attempt.message, self.named(prompt)) for prompt in self.prompts)
        if attempt.after:
            attempt.after(self)

    def named(self, text: str) -> str:
        """A text with names in the place of this session's folders."""
        return with_names(text, self.session, self.project)


class Attacker(Plays):
    """Plays the cells of the attempts, and has the host look before and after each."""

    def __init__(
        self, cells: Sequence[str], look: Callable[[], dict[str, Any]], window: int, end: str
    ) -> None:
        super().__init__([*map(cell, cells), cell(end)], window)
        self.look, self.seen = look, list[dict[str, Any]]()
        self.dictated = "[]"
        """What it answers where a tool has it write data."""

    def generate(self, messages: list[Any], **given: Any) -> Any:
        """The next cell; where a tool or a compaction asks for a text, that."""
        if "stop_sequences" not in given:
            return answer(self.dictated, Ending("stop"), 0, 0)
        self.seen.append(self.look())
        return super().generate(messages, **given)


def standing(session: Session, project: Path) -> dict[str, Any]:
    """All that an attempt could move: what trains, what is measured, what is published, what belongs to others."""
    services = session.services
    hub = services.hub.storage
    return {
        "jobs": [job.id for job in services.jobs.list()],
        "datasets": [info.id for info in services.datasets.list()],
        "experiments": [e.model_dump(mode="json") for e in services.ledger.list()],
        "scores": [(s.eval, s.split, s.model, s.experiment) for s in services.ledger.scores()],
        "comparisons": len(services.ledger.comparisons()),
        "evals": [(e.name, e.sha256, e.queries_used) for e in services.evals.list()],
        "published": list(session.published),
        "hub": digest(hub),
        "project": digest(project),
        "settings": session.settings.model_dump(mode="json"),
        "caps": dict(session.budget.caps),
    }


def digest(folder: Path) -> dict[str, str]:
    """The files below a folder by their content."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()[:12] for p in files}


def with_names(text: str, session: Session, project: Path) -> str:
    """A text with names in the place of a session's folders, the longest first."""
    places = {
        session.workspace: "WORKSPACE",
        session.folder: "SESSION",
        session.settings.state: "STATE",
        project: "PROJECT",
    }
    for path, name in places.items():
        text = text.replace(str(path), name)
    return text


def fits(message: str, text: str) -> bool:
    """Whether a text holds a message, of which `ANY` may be anything within a line."""
    return re.search("[^\n]*".join(map(re.escape, message.split(ANY))), text) is not None


@contextmanager
def session_in(base: Path, **settings: Any) -> Iterator[tuple[Path, Path]]:
    """A project folder that is the current one, and a state folder."""
    project, state = base / "project", base / "state"
    project.mkdir()
    there = Path.cwd()
    os.chdir(project)
    try:
        yield project, state
    finally:
        os.chdir(there)


def play(
    base: Path,
    attempts: Sequence[Attempt],
    prepare: Callable[[Session, Path], Mapping[str, str] | None] = lambda session, project: None,
    files: Mapping[str, str] = {},
    setup: Sequence[str] = (),
    dictated: str = "[]",
    window: int = 512_000,
    end: str = DONE,
    between: Callable[[Session], None] = lambda session: None,
    hear: Callable[[Session, Event], None] = lambda session, event: None,
    prompt: str = "make the best model of riddles that you can",
    **settings: Any,
) -> World:
    """Run a session in which a brain tries all of this.

    Args:
        base: An empty folder.
        attempts: What is tried.
        prepare: What the host does before the first cell; words that it returns are filled into the cells.
        files: Of the project folder.
        setup: Cells before the attempts, which must work.
        dictated: What the brain answers where a tool has it write data.
        window: Of the brain, in tokens.
        end: The cell with which it ends.
        between: What the host does before each cell.
        hear: What it does with each event.
        prompt: What the person says.
        **settings: Of the session.
    """
    with session_in(base) as (project, state):
        for name, text in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        given = Settings.load(state=state, hub="embedded", go_on=False, max_steps=500, **settings)
        sandbox = choose_sandbox("local", trusted=False, settings=given, env={})
        brain = Attacker((), dict, window, end)
        mcp = McpServers(given.mcp_servers) if given.mcp_servers else None
        session = Session(given, prompt, brain, sandbox, None, mcp=mcp)
        try:
            words = {
                "WORKSPACE": str(session.workspace),
                "SESSION": str(session.folder),
                "STATE": str(state),
                "PROJECT": str(project),
                **(prepare(session, project) or {}),
            }
            cells = [filled(code, words) for code in [*setup, *(a.cell for a in attempts)]]

            def look() -> dict[str, Any]:
                between(session)
                return standing(session, project)

            played = Attacker(cells, look, window, end)
            played.dictated = dictated
            session.brain = session.research_brain = played
            events = []
            for event in session.run():
                events.append(event)
                hear(session, event)
            return _world(session, project, played, events, attempts, len(setup))
        finally:
            session.close()


def _world(
    session: Session,
    project: Path,
    brain: Attacker,
    events: list[Event],
    attempts: Sequence[Attempt],
    skipped: int,
) -> World:
    done = {e.step: e for e in events if isinstance(e, CellFinished) and not e.source}
    ran = [done[step] for step in sorted(done)]
    for finished in ran[:skipped]:
        assert finished.ok, finished.observation
    assert len(ran) == skipped + len(attempts) + 1, [
        e for e in events if e.kind in ("Notice", "SessionFinished")
    ]
    tried = {}
    for n, attempt in enumerate(attempts, skipped):
        said = with_names(ran[n].observation, session, project)
        tried[attempt.name] = Tried(ran[n].ok, said, brain.seen[n], brain.seen[n + 1])
    return World(session, project, tried, brain.prompts, events)


def filled(code: str, words: Mapping[str, str]) -> str:
    """A cell with the words of this session in it."""
    for name, value in words.items():
        code = code.replace(name, value)
    return code.strip()


def cases(attempts: Sequence[Attempt]) -> list[Any]:
    """The attempts as parameters of a test; those that are not stopped yet are expected to fail, strictly."""
    names = [attempt.name for attempt in attempts]
    assert len(set(names)) == len(names)
    return [
        pytest.param(a, id=a.name, marks=[pytest.mark.xfail(strict=True, reason=a.waits)] if a.waits else [])
        for a in attempts
    ]


class Answers(AnsweringJobs):
    """Stands in for the job of an evaluation, so that hundreds of them take no time; all else is real.

    A model is a folder whose ``config.json`` says how it answers sums: `says`, always that; `sloppy`, with
    words before the number; else right with the probability `skill`.
    """

    def __init__(self, real: Jobs) -> None:
        super().__init__(real.folder.parent / "answers")
        self._real = real

    def __getattr__(self, name: str) -> Any:
        """All but the asking is the real one's."""
        return getattr(self._real, name)

    def _complete(self, prompt: str, config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
        if "says" in config:
            return {"text": config["says"], "tokens": 1, "finished": True}
        told = super()._complete(prompt, config, draw)
        return {**told, "text": f"It is {told['text']}"} if config.get("sloppy") else told


def sums(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Sums, half of them dev."""
    return [
        {"prompt": f"{i}+{i * 7}=", "answer": str(i * 8), "split": "dev" if i % 2 else "test"}
        for i in range(first, first + count)
    ]


def answering(session: Session) -> Answers:
    """Have evaluations answered by `Answers`."""
    jobs = Answers(session.services.evals.jobs)
    session.services.evals.jobs = jobs  # type: ignore[assignment]
    return jobs


def ended_job(
    session: Session,
    job: str,
    experiment: str | None = None,
    weights: int = 0,
    model: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """A training that has ended, with a tiny model; the model's folder."""
    folder = session.folder / "jobs" / job
    made = tiny_model(folder / "output" / "model", weights, **(model or {}))
    told = {
        "model": None,
        "model_ref": "scratch:0.3M",
        "dataset": "lines@1",
        "data_sha256": "ab",
        "rows": 20,
        "asked": dict(config or {}),
        "seed": seed,
    }
    spec = {"name": job, "method": "pretrain", "experiment": experiment, "config": told}
    status = {**spec, "id": job, "state": "succeeded", "created": 1.0}
    status.pop("config")
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 5.5}\n')
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return made


def measured(
    session: Session,
    change: str,
    skill: float,
    parent: str | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    sloppy: bool = False,
    evals: Sequence[str] = ("sums",),
) -> str:
    """An experiment that was trained as `config` says and measured; its id. See `Answers` for its skill."""
    services = session.services
    row = services.ledger.start("it helps", change, parent, seed)
    job, number = f"train-{row.id}", int(row.id.partition("-")[2])
    answers = {"skill": skill, "seed": number, **({"sloppy": True} if sloppy else {})}
    model = ended_job(session, job, row.id, number, answers, config or {"change": change}, seed)
    record_start(services.ledger, services.jobs.spec(job), job)
    for eval in evals:
        services.evals.evaluate(model, eval, experiment=row.id)
    return row.id


# What sessions are about


def riddles(count: int, seed: int = 7) -> list[dict[str, str]]:
    """Questions that have nothing in common but their form, each with an answer."""
    draw = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]

    def word() -> str:
        return "".join(draw.choice(syllables) for _ in range(draw.choice((2, 3, 4))))

    return [
        {
            "question": f"{word()} {word()} {word()} {word()}, {word()} {word()} {word()}: {word()} "
            f"{word()} {word()} {word()} {word()} {word()}?".capitalize(),
            "answer": f"{word()} {draw.randrange(1000, 9999)}",
        }
        for _ in range(count)
    ]


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def tiny_model(folder: Path, weights_seed: int = 0, **more: Any) -> Path:
    """A Llama of a few thousand random weights with a tokenizer of bytes and a chat template."""
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(["<eos>", *alphabet])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<eos>"])
    made.save(str(folder / "tokenizer.json"))
    size, inner, vocabulary = 16, 32, 257
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": "<eos>",
                "pad_token": "<eos>",
                "chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
            }
        )
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": size,
        "intermediate_size": inner,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        **more,
    }
    (folder / "config.json").write_text(json.dumps(config))
    draw = np.random.default_rng(weights_seed)

    def weights(*shape: int) -> Any:
        return (0.1 * draw.standard_normal(shape)).astype(np.float32)

    layer = "model.layers.0."
    tensors = {
        "model.embed_tokens.weight": weights(vocabulary, size),
        "model.norm.weight": np.ones(size, np.float32),
        layer + "input_layernorm.weight": np.ones(size, np.float32),
        layer + "post_attention_layernorm.weight": np.ones(size, np.float32),
        **{f"{layer}self_attn.{n}_proj.weight": weights(size, size) for n in "qkvo"},
        layer + "mlp.gate_proj.weight": weights(inner, size),
        layer + "mlp.up_proj.weight": weights(inner, size),
        layer + "mlp.down_proj.weight": weights(size, inner),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder
