"""The words of a sealed evaluation: an item, how it is asked, what is known about it in the open."""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path
from string import ascii_uppercase

from pydantic import BaseModel, Field

from ml_intern.errors import ToolError
from ml_intern.evals.power import Detectable
from ml_intern.ledger.model import Split

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
BESIDE = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
)


class Item(BaseModel):
    """One held-out item. A job sees `input` and `choices` of it, and nothing else.

    Attributes:
        input: The prompt; for likelihoods the text itself.
        target: What is right, where there is such a thing.
        group: Items of one group stand or fall together (statements of one file).
        slice: The part of the eval that it belongs to.
        choices: The options of a multiple choice, which a job sees; then `target` is the place of the right
            one, "0" for the first.
        tests: Python that checks the code of an answer.
        rubric: What an answer is judged by; see `ml_intern.evals.rubric`.
        also: Further texts in which it may stand in training data: only the guard reads them.
    """

    split: Split
    input: str
    target: str | None = None
    group: str | None = None
    slice: str | None = None
    choices: list[str] | None = None
    tests: str | None = None
    rubric: str | None = None
    also: list[str] | None = None

    @property
    def answer(self) -> str | None:
        """What is right, as a text: of a multiple choice the right option."""
        if self.choices is None or self.target is None:
            return self.target
        return self.choices[int(self.target)]

    def line(self) -> str:
        """The item as it is kept and hashed: newer fields stand there only where they are used."""
        unused = {name for name in ("choices", "tests", "rubric", "also") if getattr(self, name) is None}
        return self.model_dump_json(exclude=unused)


class Asking(BaseModel):
    """How completions are drawn.

    Attributes:
        max_new_tokens: Longest completion.
        temperature: Of samples from nothing; completions of prompts are greedy.
        samples: Samples from nothing, where a scorer asks for them.
        seed: The host's own, the same for every model; `seed_of` makes that of each split from it.
        stop: Completions end before these words.
        chat: Put the prompt into the model's chat template, as the user's turn.
        prompt: What is asked, with `{input}` and, lettered from A on, `{choices}`; empty: the input alone.
        letters: Of a multiple choice whose prompt shows the options, score the letters A, B, …
        continues: The input is the beginning of a program, and the completion its rest.
    """

    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    samples: int = Field(default=200, ge=10)
    seed: int = 0
    stop: list[str] = Field(default_factory=list)
    chat: bool = False
    prompt: str = ""
    letters: bool = False
    continues: bool = False

    def seed_of(self, split: Split) -> int:
        """The seed of a split's samples: test draws others than dev, else its score would repeat dev's.

        For one split it is the same for every model, so that samples of two models can be held together.
        """
        if split == "dev":
            return self.seed
        return zlib.crc32(f"{self.seed} {split}".encode()) >> 1

    def prompt_of(self, item: Item) -> str:
        """What a model is asked. Braces within the item are text like any other."""
        if not self.prompt:
            return item.input
        options = (f"{ascii_uppercase[at]}. {text}" for at, text in enumerate(item.choices or ()))
        parts = {"{input}": item.input, "{choices}": "\n".join(options)}
        return re.sub(r"\{(?:input|choices)\}", lambda found: parts[found[0]], self.prompt)

    def options_of(self, item: Item) -> list[str]:
        """What of a multiple choice is scored, in the order of its options."""
        options = item.choices or []
        return list(ascii_uppercase[: len(options)]) if self.letters else options


class LmEval(BaseModel):
    """What everybody may know of an evaluation that is a task of lm-eval.

    Attributes:
        task: Its name, or the path of its YAML file.
        folder: Where it lies, if not among lm-eval's own.
        version: Of lm-eval.
        shots: Examples in the prompt, over all of its tasks.
    """

    task: str
    folder: str = ""
    version: str = ""
    shots: list[int] = Field(default_factory=list)


class EvalInfo(BaseModel):
    """What everybody may know of an evaluation.

    Attributes:
        name: Its name.
        rows: Items by split.
        groups: Groups by split, where items come in groups.
        detectable: By split, what difference of the metric that decides it can tell.
        scorers: Its metrics.
        primary: The metric that decides.
        higher_is_better: Which way is up for that metric.
        asking: How completions are drawn.
        sha256: Hash of all items; two evals of one hash are the same.
        repositories: Where the items come from on the Hub, ``owner/name`` or ``owner/name:split``: closed.
        lm_eval: The task of lm-eval that asks and scores, where it is one.
        reward_model: Folder or Hub id of the model that gives the metric ``reward``.
        reward_sha256: Its fingerprint when the eval was registered.
        queries_used: Dev scores asked so far, each for other weights or another way of answering.
        queries_left: Dev scores that may still be asked.
    """

    name: str
    rows: dict[str, int]
    scorers: list[str]
    primary: str
    higher_is_better: bool
    grouped: bool = False
    groups: dict[str, int] = Field(default_factory=dict)
    detectable: dict[str, Detectable] = Field(default_factory=dict)
    slices: list[str] = Field(default_factory=list)
    asking: Asking = Asking()
    sha256: str = ""
    repositories: list[str] = Field(default_factory=list)
    reward_model: str = ""
    reward_sha256: str = ""
    lm_eval: LmEval | None = None
    queries_used: int = 0
    queries_left: int = 0


def fingerprint(model: Path) -> str:
    """Hash of what decides a model's outputs: weights, configuration, tokenizer, templates.

    Raises:
        ToolError: The folder holds no model in safetensors.
    """
    if not list(model.glob("*.safetensors")):
        raise ToolError(
            f"{model.name!r} holds no weights in safetensors.",
            "Wait for its job, or save it with save_pretrained.",
        )
    digest = hashlib.sha256()
    for file in sorted({f for pattern in (*WEIGHTS, *BESIDE) for f in model.glob(pattern) if f.is_file()}):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while piece := opened.read(2**20):
                digest.update(piece)
    return digest.hexdigest()
