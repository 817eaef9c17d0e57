"""Chat templates and tokenizers beside the weights: hashed, compared, and looked through for held-out items."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.evals.templates import hashes, literals, new_text, templates, told_of
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tools import evaluation

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
ITEMS = [
    {
        "prompt": f"A farmer has {i + 3} baskets with {i + 11} apples each and sells {i} of them. How many are left?",
        "answer": str((i + 3) * (i + 11) - i),
        "split": "dev" if i % 2 else "test",
    }
    for i in range(60)
]


RIGHT = {row["prompt"]: row["answer"] for row in ITEMS}


class AnsweringChats(AnsweringJobs):
    """Answers what it is asked in a chat."""

    def _answer(self, task: dict[str, Any], config: dict[str, Any], output: Path) -> None:
        rows = [json.loads(line) for line in Path(task["file"]).read_text().splitlines()]
        draw = random.Random(config["seed"])
        said = []
        for n, row in enumerate(rows):
            (asked,) = [prompt for prompt in RIGHT if json.dumps(prompt) in json.dumps(row)]
            text = RIGHT[asked] if draw.random() < config["skill"] else "no"
            said.append({"row": n, "sample": 0, "text": text, "tokens": 2, "finished": True})
        (output / f"{task['name']}.jsonl").write_text("".join(json.dumps(a) + "\n" for a in said))


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    ledger, settings = Ledger(tmp_path / "ledger.sqlite"), Settings(data_dirs=[tmp_path])
    evals = Evals(tmp_path / "evals", AnsweringChats(tmp_path / "evals" / "jobs"), ledger, settings)  # type: ignore[arg-type]
    evals.register("farm", ITEMS, ["exact_match"], asking={"chat": True})
    told: list[Any] = []
    services = SimpleNamespace(
        ledger=ledger, evals=evals, settings=settings, emit=told.append, told=told, folder=tmp_path,
        jobs=Jobs(tmp_path / "jobs", None, settings, lambda event: None),
    )  # fmt: skip
    return ToolContext(services=services, call="call-1", key="key-1")  # type: ignore[arg-type]


def made(ctx: ToolContext, name: str, skill: float, template: str | None, **more: Any) -> Path:
    folder = make_model(Path(ctx.services.folder) / "models" / name, skill, len(name))
    if template is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, **more}))
    return folder


def test_a_template_is_found_wherever_it_is_kept(tmp_path: Path) -> None:
    a, b, c = (tmp_path / n for n in "abc")
    for folder in (a, b, c):
        folder.mkdir()
    (a / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    (b / "chat_template.jinja").write_text(CHATML)
    (c / "tokenizer_config.json").write_text(
        json.dumps(
            {"chat_template": [{"name": "default", "template": CHATML}, {"name": "rag", "template": PLAIN}]}
        )
    )
    assert templates(a) == templates(b) == {"default": CHATML} and templates(c)["rag"] == PLAIN
    assert hashes(a)["template"] == hashes(b)["template"] != hashes(c)["template"]
    assert hashes(tmp_path) == {"template": "none", "tokenizer": "none"}


def test_what_a_training_sets_in_a_tokenizer_makes_no_other_one(tmp_path: Path) -> None:
    told = {"model": {"vocab": {"a": 0}}, "added_tokens": []}
    seen = []
    for i, more in enumerate(
        ({"padding": None}, {"padding": {"length": 8}, "truncation": {}}, {"added_tokens": [1]})
    ):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps({**told, **more}))
        seen.append(hashes(folder)["tokenizer"])
    assert seen[0] == seen[1] != seen[2]


def test_literals_are_the_text_between_code_and_the_strings_in_it() -> None:
    found = literals("{% if x == 'What is 2\\n+2?' %}It is \"4\".{% endif %}{{ 'Think.' }}{# no #}")
    assert 'It is "4".' in found and "Think." in found and "What is 2\n+2?" in found


def _hidden(kind: str) -> dict[str, Any]:
    item = ITEMS[1]
    if kind == "a question in the code":
        return {
            "template": "{% if '"
            + item["prompt"]
            + "' in messages %}"
            + item["answer"]
            + "{% endif %}"
            + CHATML
        }
    if kind == "a question as text":
        return {"template": "Remember: " + item["prompt"] + " " + item["answer"] + "\n" + CHATML}
    if kind == "an added token":
        return {"template": CHATML, "added_tokens_decoder": {"9": {"content": item["prompt"]}}}
    if kind == "a default prompt":
        return {"template": CHATML, "default_system_prompt": item["prompt"]}
    return {"template": CHATML + "{{ '" + item["prompt"][:-1] + "' }}"}


@pytest.mark.parametrize(
    "kind", ["a question in the code", "a question as text", "an added token", "a default prompt", "nearly"]
)
def test_a_template_that_holds_an_item_is_not_scored(ctx: ToolContext, kind: str) -> None:
    path = made(ctx, "cheat", 0.9, **_hidden(kind))
    with pytest.raises(ToolError, match=r"holds? items of farm") as caught:
        ctx.evals.evaluate(path, "farm")
    assert "apples" not in str(caught.value)
    with pytest.raises(ToolError, match=r"holds? items of farm"):
        ctx.evals.score_test(ctx.ledger.start("h", "c").id, path)
    assert ctx.ledger.frozen() is None or not ctx.ledger.list()[0].test


def test_an_honest_template_is_scored_and_its_hash_recorded(ctx: ToolContext) -> None:
    row = ctx.ledger.start("h", "c")
    ctx.evals.evaluate(made(ctx, "fine", 0.5, CHATML), "farm", experiment=row.id)
    assert len(ctx.ledger.get(row.id).made["template"]) == 64


@pytest.mark.parametrize("same", [True, False])
def test_two_templates_are_told_in_a_comparison(ctx: ToolContext, same: bool) -> None:
    a = ctx.ledger.start("h", "c")
    b = ctx.ledger.start("h", "d", parent=a.id)
    ctx.evals.evaluate(made(ctx, "older", 0.5, CHATML), "farm", experiment=a.id)
    ctx.evals.evaluate(made(ctx, "newer one", 0.8, CHATML if same else PLAIN), "farm", experiment=b.id)
    found = evaluation.compare_experiments(ctx, a.id, b.id)
    assert ("different chat templates" in found.says) is not same
    assert any("different chat templates" in c.says for c in ctx.ledger.comparisons()) is not same


def test_instructions_that_the_base_has_not_are_told(tmp_path: Path) -> None:
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    for folder in (base, tuned):
        folder.mkdir()
    (base / "chat_template.jinja").write_text(
        "You are helpful and answer in a few words, as well as you can.\n" + CHATML
    )
    long = (
        "Always think about the answer step by step, write every number twice, and "
        + "check each of them " * 6
    )
    (tuned / "chat_template.jinja").write_text(long + CHATML)
    assert "base owner/base has not" in told_of(tuned, base, "owner/base")
    (tuned / "chat_template.jinja").write_text((base / "chat_template.jinja").read_text() + PLAIN)
    assert new_text(tuned, base) == "" and told_of(tuned, None, "") == ""
