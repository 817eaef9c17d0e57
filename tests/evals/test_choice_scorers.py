"""Multiple choice by likelihood: what is registered, what a job sees, and what is counted."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from ml_intern.errors import ToolError
from ml_intern.evals.model import Asking, EvalInfo, Item
from ml_intern.evals.results import scored
from ml_intern.evals.scorers import Outputs, scorer
from ml_intern.evals.store import Evals
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def evals(tmp_path: Path) -> Evals:
    jobs = Jobs(tmp_path / "evals" / "jobs", None, Settings(), lambda event: None)
    return Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), Settings())


def kept(evals: Evals, name: str) -> list[Item]:
    lines = (evals.folder / "items" / name / "items.jsonl").read_text().splitlines()
    return [Item.model_validate_json(line) for line in lines]


OPTIONS = ["a fish", "a bird", "a dog"]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"answer": 1, "choices": OPTIONS}, "1"),
        ({"answer": "B", "choices": OPTIONS}, "1"),
        ({"answer": "b", "choices": OPTIONS}, "1"),
        ({"answer": "a bird", "choices": OPTIONS}, "1"),
        ({"answer": "1", "choices": OPTIONS}, "1"),
        ({"label": "2", "endings": OPTIONS}, "2"),
        ({"answer": "2", "options": ["4", "2", "0"]}, "1"),
        ({"answer": 2, "options": ["4", "2", "0"]}, "2"),
        ({"answerKey": "3", "choices": {"text": OPTIONS, "label": ["1", "2", "3"]}}, "2"),
        ({"answer": "A", "choices": json.dumps(OPTIONS)}, "0"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else value,
)
def test_which_option_is_right(evals: Evals, row: dict[str, Any], right: str) -> None:
    rows = [{"question": "It flies?", **row}]
    evals.register("q", rows, ["multiple_choice"])
    assert kept(evals, "q")[0].target == right
    assert len(kept(evals, "q")[0].choices or ()) == 3


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answer": "E", "choices": OPTIONS}, "says 'E' is right, which is none of its 3 options"),
        ({"answer": 3, "choices": OPTIONS}, "'3' is right, which is none"),
        ({"answer": 0, "choices": ["only"]}, "no list of 2 to 26 options"),
        ({"answer": 0, "choices": "a or b"}, "no list of 2 to 26 options"),
        ({"answer": 0, "choices": ["a", " "]}, "no list of 2 to 26 options"),
        ({"answer": 0}, "no column 'choices or options or endings' for the options"),
        ({"choices": OPTIONS}, "for the right answer"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_rows_that_are_no_multiple_choice(evals: Evals, row: dict[str, Any], told: str) -> None:
    with pytest.raises(ToolError, match=told):
        evals.register("q", [{"question": "It flies?", **row}], ["multiple_choice"])


def test_items_without_the_new_fields_keep_their_hash(evals: Evals) -> None:
    evals.register("old", [{"question": "2+2=", "answer": "4", "split": "dev"}], ["exact_match"])
    line = (evals.folder / "items" / "old" / "items.jsonl").read_text().strip()
    assert line == '{"split":"dev","input":"2+2=","target":"4","group":null,"slice":null}'


def outputs(nats: list[list[float]], choices: list[list[str]], targets: list[str]) -> Outputs:
    items = [Item(split="dev", input="q", target=t, choices=c) for t, c in zip(targets, choices, strict=True)]
    return Outputs(options=nats, items=items)


def test_the_sum_and_the_mean_over_bytes_may_choose_differently() -> None:
    found = outputs([[2.0, 3.0]], [["ab", "ééé"]], ["1"])
    assert scorer("multiple_choice").score(found).numerator.tolist() == [0]
    assert scorer("multiple_choice_normalized").score(found).numerator.tolist() == [1]  # 3 / 6 bytes < 2 / 2


def test_a_model_that_cannot_choose_is_not_right() -> None:
    found = outputs([[1.0, 1.0], [1.0, 1.0]], [["a", "b"], ["a", "a"]], ["0", "1"])
    assert scorer("multiple_choice").score(found).numerator.tolist() == [0, 1]


def test_a_model_that_chooses_by_place_is_told() -> None:
    items = [Item(split="dev", input="q", target=str(n % 3), choices=OPTIONS) for n in range(30)]
    info = EvalInfo(
        name="q",
        rows={"dev": 30},
        scorers=["multiple_choice"],
        primary="multiple_choice",
        higher_is_better=True,
    )
    rows = {"options": [{"nats": [1.0, 2.0, 3.0]}] * 30}
    scores = scored(info, "dev", "m", items, rows, 0.0)
    assert scores.value.value == pytest.approx(1 / 3)
    assert scores.outputs == {"chose_A": 1.0, "chose_B": 0.0, "chose_C": 0.0}
    assert "Option A is chosen in 100% of the items, right in 33% of them." in scores.warnings


def test_the_prompt_of_a_template() -> None:
    item = Item(split="dev", input="{choices}?", target="0", choices=["x", "y"])
    asking = Asking(prompt="Q: {input}\n{choices}\nAnswer:", letters=True)
    assert asking.prompt_of(item) == "Q: {choices}?\nA. x\nB. y\nAnswer:"
    assert asking.options_of(item) == ["A", "B"]


# With a real model


def by_hand(network: Any, ids: list[int], new: int) -> float:
    """Nats of the last tokens, from one plain forward pass of one sequence."""
    import torch

    with torch.no_grad():
        scores = network(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(float(scores[at - 1, ids[at]]) for at in range(len(ids) - new, len(ids)))


QUESTIONS: list[dict[str, Any]] = [
    {"prompt": "value_1 =", "options": ["items[1] + 1", "no", "items"]},  # the space goes to the option
    {"prompt": "value_1 = ", "options": ["items[1] + 1", "no", "items"]},  # here it stands in the prompt
    {"prompt": "val", "options": ["ue_1", " ue"]},  # one option would merge with the prompt's last token
    {"prompt": "", "options": ["value_2", "x"]},
    {"prompt": " ".join(f"value_{n}" for n in range(40)) + " =", "options": ["items[1]", "no"]},  # too long
    {"prompt": "x", "options": ["é ☃" * 40, "no"]},  # an option that is longer than the window
]


@pytest.mark.slow
@pytest.mark.thorough
def test_likelihoods_of_options_against_a_computation_by_hand(tmp_path: Path) -> None:
    from test_generate_recipe import tiny_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = tiny_model(tmp_path / "model")
    jobs = Jobs(tmp_path / "jobs", None, Settings(), lambda event: None)
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    task = {"name": "options", "kind": "options", "file": str(file)}
    spec = JobSpec(
        name="ask", method="generate", config={"model": str(model), "tasks": [task]}, timeout_s=200
    )
    [status] = jobs.wait([jobs.submit(spec).id])
    assert status.state == "succeeded", jobs.logs(status.id).text
    lines = (Path(status.output) / "options.jsonl").read_text().splitlines()
    found = [json.loads(line)["nats"] for line in lines]
    assert [len(nats) for nats in found] == [len(q["options"]) for q in QUESTIONS]
    tokens = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    size = 64

    def encode(text: str) -> list[int]:
        return list(tokens(text, add_special_tokens=False)["input_ids"])

    for question, nats in list(zip(QUESTIONS, found, strict=True))[:5]:
        prompt, border = question["prompt"], question["prompt"] and not question["prompt"][-1].isspace()
        wholes = [encode(prompt + (" " if border and o[0] != " " else "") + o) for o in question["options"]]
        alone = encode(prompt)
        same = min(
            next((k for k in range(min(len(alone), len(w))) if alone[k] != w[k]), min(len(alone), len(w)))
            for w in wholes
        )
        for whole, said in zip(wholes, nats, strict=True):
            ids = whole if same else [tokens.bos_token_id, *whole]
            assert said == pytest.approx(by_hand(network, ids[-(size + 1) :], len(whole) - same), rel=1e-4)
    # A token is counted once, however many windows an option takes.
    many = len(encode("x " + QUESTIONS[5]["options"][0])) - 1
    assert many > 2 * size
    assert found[5][0] / many == pytest.approx(math.log(300), rel=0.1)
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_whole_multiple_choice_in_a_real_job(evals: Evals, tmp_path: Path) -> None:
    from test_generate_recipe import LINES, tiny_model

    model = tiny_model(tmp_path / "model")
    (model / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'] }}:{% endfor %}{% if add_generation_prompt %}!{% endif %}"
    )
    rows = [
        {
            "question": line,
            "choices": [f"THE-OPTION-{i}", "no"],
            "answer": i % 2,
            "split": "dev",
            "part": str(i % 2),
        }
        for i, line in enumerate(LINES)
    ]
    both = ["multiple_choice", "multiple_choice_normalized"]
    evals.register("plain", rows, both, slice_by="part")
    scores = evals.evaluate(model, "plain")
    # Two letters are always likelier than eleven, for a model that knows nothing; by the byte they are not.
    assert scores.metrics["multiple_choice"].value == 0.5
    assert scores.slices["multiple_choice"]["1"].value == 1
    assert scores.outputs == {"chose_A": 0, "chose_B": 1}
    assert any("Option B is chosen in 100%" in warning for warning in scores.warnings)
    assert scores.metrics["multiple_choice"].n == 60
    evals.register(
        "chat",
        rows,
        ["multiple_choice"],
        asking={"chat": True, "prompt": "{input}\n{choices}", "letters": True},
    )
    assert 0 <= evals.evaluate(model, "chat").value.value <= 1
    seen = "".join(file.read_text() for file in (evals.folder / "inputs").rglob("options.jsonl"))
    assert "THE-OPTION-3" in seen
    assert '"options": ["A", "B"]' in seen
    assert "target" not in seen and "answer" not in seen
