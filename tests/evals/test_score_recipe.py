"""score.py against Transformers by hand, one answer at a time and without padding; and a whole best_of_n."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.hand_made import BOS, EOS, characters, judge, writer

from ml_intern.evals.store import Evals
from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.ledger.model import Inference
from ml_intern.settings import Settings

pytestmark = pytest.mark.slow
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789+=? !"
ROWS = [
    {"prompt": prompt, "completion": said}
    for prompt in ("2+2=", "what is 10+1?", "a")
    for said in ("4", "11", "", "i do not know that", "4")
]


@pytest.fixture(scope="module")
def score() -> Iterator[ModuleType]:
    sys.path.insert(0, str(RECIPES))
    yield importlib.import_module("score")
    sys.path.remove(str(RECIPES))


def random_reward_model(folder: Path, kind: str = "Llama", **config: Any) -> Path:
    import torch
    import transformers

    tokenizer = characters(LETTERS)
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "max_position_embeddings": 48}
    made = getattr(transformers, f"{kind}Config")(
        **{"vocab_size": len(tokenizer), "num_labels": 1, **sizes, **ids, **config}
    )
    model = getattr(transformers, f"{kind}ForSequenceClassification")(made)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rewarded(score: ModuleType, folder: Path, rows: list[dict[str, Any]], batch: int = 4) -> list[Any]:
    import torch

    model, tokenizer = score.load(str(folder))
    with torch.inference_mode():
        return list(score.rewards_of(model, tokenizer, rows, batch, lambda done, total: None))


def by_hand(folder: Path, inputs: list[Any]) -> list[float]:
    """Each alone: nothing is padded."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for given in inputs:
        ids = tokenizer(*given) if isinstance(given, tuple) else {"input_ids": given}
        with torch.no_grad():
            found.append(float(model(**{k: torch.tensor([v]) for k, v in ids.items()}).logits[0, 0]))
    return found


def values(found: list[Any]) -> list[float]:
    return [row["reward"] for row in found]


def test_as_text_with_its_end(score: ModuleType, tmp_path: Path) -> None:
    folder = random_reward_model(tmp_path / "m", reward_input="text")
    tokenizer = characters(LETTERS)
    texts = [tokenizer(row["prompt"] + row["completion"] + EOS)["input_ids"] for row in ROWS]
    found = rewarded(score, folder, ROWS)
    assert values(found) == pytest.approx(by_hand(folder, texts), abs=1e-4)
    assert len({round(value, 3) for value in values(found)}) == 12  # 4 different answers to 3 prompts
    assert values(rewarded(score, folder, ROWS, batch=1)) == pytest.approx(values(found), abs=1e-4)
    messages = [
        {"messages": [{"role": "user", "content": r["prompt"]}], "completion": r["completion"]} for r in ROWS
    ]
    assert values(rewarded(score, folder, messages)) == pytest.approx(values(found), abs=1e-4)


def test_where_the_end_token_also_pads_it_is_as_in_training(score: ModuleType, tmp_path: Path) -> None:
    """A tokenizer without a pad token pads with its end, and the model is read off before it."""
    folder = random_reward_model(tmp_path / "m", reward_input="text", pad_token_id=1)
    tokenizer = characters(LETTERS)
    texts = [tokenizer(row["prompt"] + row["completion"] + EOS)["input_ids"] for row in ROWS]
    assert values(rewarded(score, folder, ROWS)) == pytest.approx(by_hand(folder, texts), abs=1e-4)


@pytest.mark.parametrize("named", [True, False], ids=["the tokenizer says", "nobody says"])
def test_a_model_that_does_not_say_what_pads(score: ModuleType, tmp_path: Path, named: bool) -> None:
    folder = random_reward_model(tmp_path / "m", pad_token_id=None)
    file = folder / "tokenizer_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in told.items() if named or k != "pad_token"}))
    tokenizer = characters(LETTERS)
    texts = [tokenizer(row["prompt"] + row["completion"] + EOS)["input_ids"] for row in ROWS]
    found = values(rewarded(score, folder, ROWS))
    if named:
        assert found == pytest.approx(by_hand(folder, texts), abs=1e-4)
    else:  # Its end token pads, as in TRL's training, so it is read off at the last token before the end.
        last = [ids[:-1] for ids in texts]
        assert found == pytest.approx(by_hand(folder, last), abs=1e-4)


def test_a_template_that_refuses_is_told(score: ModuleType, tmp_path: Path) -> None:
    folder = random_reward_model(tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system prompt') }}")
    with pytest.raises(SystemExit, match=r"bad_data: The reward model.s chat template refuses .*no system"):
        rewarded(score, folder, ROWS)


def test_as_messages_through_the_template(score: ModuleType, tmp_path: Path) -> None:
    folder = random_reward_model(tmp_path / "m")
    turns = "{% for m in messages %}{{ m['role'][0] }}{{ m['content'] }}!{% endfor %}"
    (folder / "chat_template.jinja").write_text(turns + "{% if add_generation_prompt %}???{% endif %}")
    tokenizer = characters(LETTERS)
    texts = [tokenizer(f"u{row['prompt']}!a{row['completion']}!")["input_ids"] for row in ROWS]
    assert values(rewarded(score, folder, ROWS)) == pytest.approx(by_hand(folder, texts), abs=1e-4)
    # A word of the recipe that trained it counts more than a template that came with the tokenizer.
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "reward_input": "text"}))
    plain = [tokenizer(row["prompt"] + row["completion"] + EOS)["input_ids"] for row in ROWS]
    assert values(rewarded(score, folder, ROWS)) == pytest.approx(by_hand(folder, plain), abs=1e-4)


def test_an_encoder_reads_a_pair(score: ModuleType, tmp_path: Path) -> None:
    folder = random_reward_model(tmp_path / "m", "Bert")
    pairs = [(row["prompt"], row["completion"]) for row in ROWS]
    assert values(rewarded(score, folder, ROWS)) == pytest.approx(by_hand(folder, pairs), abs=1e-4)


def test_what_does_not_fit_loses_its_beginning(score: ModuleType, tmp_path: Path) -> None:
    folder = random_reward_model(tmp_path / "m")
    long = {"prompt": "abc" * 40, "completion": "the end"}
    found = rewarded(score, folder, [long, ROWS[0]])
    assert [row["cut"] for row in found] == [True, False]
    ids = characters(LETTERS)(long["prompt"] + long["completion"] + EOS)["input_ids"][-48:]
    assert found[0]["reward"] == pytest.approx(by_hand(folder, [ids])[0], abs=1e-4)


def test_what_is_no_reward_model_is_refused(score: ModuleType, tmp_path: Path) -> None:
    ways = {"=": [(1.0, "a", "b")]}
    for folder, words in (
        (writer(tmp_path / "w", ways, LETTERS), "no reward model"),
        (random_reward_model(tmp_path / "two", num_labels=2), "has 2 outputs"),
    ):
        with pytest.raises(SystemExit, match=words):
            score.load(str(folder))


# Three kinds of prompts. "x": the likeliest way is wrong, but most ways are right. "y": the likeliest answer is
# wrong, and the judge knows its way. "z": all ways are wrong.
WAYS = {
    "x": [(0.4, "a", "1"), (0.2, "b", "2"), (0.2, "c", "2"), (0.2, "d", "2")],
    "y": [(0.6, "e", "1"), (0.4, "f", "2")],
    "z": [(0.5, "g", "3"), (0.5, "h", "4")],
}
WORTH = {"a": -9.0, "b": 9.0, "c": 9.0, "d": 9.0, "e": -9.0, "f": 9.0}


@pytest.mark.thorough
def test_a_whole_best_of_n_does_what_theory_says(tmp_path: Path) -> None:
    """Greedy knows none; votes find "x"; with rewards "y" as well; nobody finds "z"."""
    jobs = Jobs(tmp_path / "evals" / "jobs", None, Settings(), lambda event: None)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    evals = Evals(tmp_path / "evals", jobs, ledger, Settings())
    model = writer(tmp_path / "writer", WAYS, LETTERS)
    # Its tokenizer numbers the letters in another way: what goes from one to the other is text.
    rewards = judge(tmp_path / "judge", WORTH, LETTERS + "#$%&*", reward_input="text")
    kinds = "xxxxyyyyzz"
    rows = [{"prompt": f"{k}{kinds[k % 10]}", "answer": "2", "split": "dev"} for k in range(100)]
    asking = {"max_new_tokens": 4}
    evals.register("ways", rows, ["numeric_match"], asking=asking)
    how = Inference(model="writer", n=16, temperature=1.0, weighting="weighted", reward_model="judge")
    scores = evals.best_of_n(model, "ways", how, rewards)
    assert scores.voting
    found = {name: measured.value for name, measured in scores.voting.methods.items()}
    assert found["greedy"] == 0
    assert found["one_sample"] == pytest.approx(0.4 * 0.6 + 0.4 * 0.4, abs=0.05)
    # With 16 draws the right answer wins "x" five times in seven, and "y" once in seven.
    assert found["majority"] == pytest.approx(0.4 * 0.79 + 0.4 * 0.17, abs=0.12)
    assert found["weighted"] == pytest.approx(0.8, abs=0.03)
    assert found["best"] == pytest.approx(0.8, abs=0.03)
    assert found["any_right"] == pytest.approx(0.8, abs=0.01)
    assert scores.voting.rewards["accuracy"] == 1
    better = {(c.method, c.against) for c in scores.voting.comparisons if c.verdict == "better"}
    assert better >= {("majority", "greedy"), ("weighted", "majority"), ("best", "majority")}
    assert [status.method for status in jobs.list()] == ["generate", "generate", "score"]
    assert BOS not in json.dumps(scores.model_dump())
