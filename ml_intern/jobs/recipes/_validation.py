"""What a training is measured by beside its own loss or reward: rows set apart, other texts, samples.

Rows that are set apart before the first step tell overfitting from learning. It is no evaluation: they come
from the training data. A reward that can be had cheaply will be, and then every number that goes into it
looks well: two things tell, a measure that nothing is rewarded for, here the bits for a byte of texts that it
does not train on, and what it really writes, for somebody to read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from _common import append, is_first, read_rows, say, wrong

Row = TypeVar("Row")
MOMENTS = 10
"""In how many parts a run is cut; it is looked at on both sides of each."""
TEXTS = 2**16
"""Characters of held-out texts that are measured at each moment."""
SAMPLES = 4
LONGEST = 500
FILE_BYTES = 2**18
_LOGITS_AT_ONCE = 2**24


def set_apart(rows: list[Row], share: float | None) -> tuple[list[Row], list[Row]]:
    """The rows to train on, and a `share` of them that is set apart: one at the least.

    Which ones follows from the rows alone, so that the curves of two seeds are about the same rows.
    """
    if not share:
        return rows, []
    count = max(1, round(len(rows) * share))
    if count >= len(rows):
        raise wrong("bad_data", f"{len(rows)} rows are too few to set some apart for validation.")
    order = sorted(range(len(rows)), key=lambda index: hashlib.sha1(repr(rows[index]).encode()).digest())
    apart = set(order[:count])
    kept = [row for index, row in enumerate(rows) if index not in apart]
    return kept, [rows[index] for index in order[:count]]


def validation_fields(config: dict[str, Any]) -> dict[str, Any]:
    """The trainer's fields for a curve of the start, ten points and the end; none without `validation`."""
    if not config.get("validation"):
        return {}
    fields = {
        "eval_strategy": "steps",
        "eval_steps": 0.1,
        "eval_on_start": True,
        "prediction_loss_only": True,
    }
    return {name: value for name, value in fields.items() if name not in config.get("trainer", {})}


# Held-out texts


def held_out_texts(path: str) -> list[str]:
    """Texts of a jsonl file with a column `text`: some of all over it, as many as are measured."""
    every = []
    for number, row in enumerate(read_rows(Path(path)), 1):
        if not isinstance(text := row.get("text"), str):
            raise wrong("bad_data", f"Row {number} of held_out_texts has no text.")
        every += [text] if text else []
    texts, size = [], 0
    for text in sorted(every, key=lambda text: hashlib.sha1(text.encode("utf-8", "replace")).digest()):
        if size < TEXTS:
            texts.append(text[: TEXTS - size])
            size += len(texts[-1])
    if not texts:
        raise wrong("bad_data", "held_out_texts are empty.")
    return texts


def bits_per_byte(model: Any, tokenizer: Any, texts: list[str]) -> float:
    """Bits that the model needs for a byte of the texts, each after the tokenizer's start token.

    Of a text that is longer than the model's window, the beginning counts.
    """
    import torch

    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    config = model.config.get_text_config()
    window = min(1024, getattr(config, "max_position_embeddings", None) or 1024)
    encoded = [ids[:window] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    size = sum(
        len(text.encode()) if len(ids) < window else len(tokenizer.decode(ids).encode())
        for text, ids in zip(texts, encoded, strict=True)
    )
    was_training, nats = model.training, 0.0
    model.eval()
    with torch.inference_mode():
        for group in _groups(sorted(encoded, key=len), config.vocab_size):
            nats += _nats(model, [[start, *ids] for ids in group])
    model.train(was_training)
    return nats / math.log(2) / size


def _groups(encoded: list[list[int]], vocabulary: int) -> Iterator[list[list[int]]]:
    """Batches of like length whose logits fit."""
    group: list[list[int]] = []
    for ids in encoded:
        if group and (len(group) + 1) * len(ids) * vocabulary > _LOGITS_AT_ONCE:
            yield group
            group = []
        group.append(ids)
    yield group


def _nats(model: Any, rows: list[list[int]]) -> float:
    """Padding stands at the right, where a causal model does not look, and is no target."""
    import torch

    tensors = [torch.tensor(row) for row in rows]
    table = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True).to(model.device)
    targets = torch.nn.utils.rnn.pad_sequence([t[1:] for t in tensors], batch_first=True, padding_value=-100)
    logits = model(input_ids=table[:, :-1], use_cache=False).logits.float().transpose(1, 2)
    loss = torch.nn.functional.cross_entropy(logits, targets.to(model.device), reduction="sum")
    return float(loss)


def texts_callback(config: dict[str, Any], tokenizer: Any) -> Any:
    """A Trainer callback: eval_bits_per_byte at the start, after each tenth of the steps and at the end."""
    from transformers.trainer_callback import TrainerCallback

    path, texts = Path(config["metrics_file"]), held_out_texts(config["held_out_texts"])

    class HeldOutTexts(TrainerCallback):  # type: ignore[misc]
        """Measures."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """The start; that of a resumed run was measured when it was one."""
            if state.global_step == 0:
                self.measure(state, more["model"])

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """After a tenth, and after the last step, wherever that is."""
            every = max(1, math.ceil(state.max_steps / MOMENTS))
            if state.global_step % every == 0 or state.global_step >= state.max_steps:
                self.measure(state, more["model"])

        def measure(self, state: Any, model: Any) -> None:
            """One process measures; the others wait for it at the next step."""
            if is_first():
                bits = bits_per_byte(model, tokenizer, texts)
                append(path, state, {"eval_bits_per_byte": bits})
                say(f"step {state.global_step}/{state.max_steps} eval_bits_per_byte {bits:.4g}")

    return HeldOutTexts()


# Samples


class Watch:
    """Keeps some of what a policy writes, early to late, with what it earned; and counts how many differ.

    `samples.jsonl` has a few completions of the first batch, of one after each tenth of the steps and of the
    last one: rows of step, prompt, completion, tokens and rewards. It is cut where it would grow too large.
    """

    def __init__(self, path: Path, rewards: int) -> None:
        self._path = path
        self._expected = rewards
        self._earned: dict[str, list[float | None]] = {}
        self._next = 0.0

    def see(self, name: str, completions: list[str], earned: list[float | None], columns: Any) -> None:
        """What one reward gave for a batch; when the last has given, the batch is looked at."""
        self._earned[name] = earned
        if len(self._earned) < self._expected:
            return
        earned_by, self._earned = self._earned, {}
        if log := columns.get("log_metric"):
            log("completions/distinct", len(set(completions)) / len(completions))
        state = columns.get("trainer_state")
        if state is None or not is_first():
            return
        step, total = state.global_step, state.max_steps
        if step >= self._next or step == total - 1:
            self._next = math.floor(step * MOMENTS / max(1, total) + 1) * total / MOMENTS
            self._keep(step, completions, earned_by, columns)

    def _keep(self, step: int, completions: list[str], earned: dict[str, Any], columns: Any) -> None:
        """Completions of a prompt stand side by side: take them from all over the batch."""
        if self._path.exists() and self._path.stat().st_size > FILE_BYTES:
            return
        count = min(SAMPLES, len(completions))
        with self._path.open("a") as file:
            for at in (n * len(completions) // count for n in range(count)):
                row = {
                    "step": step,
                    "prompt": columns["prompts"][at][-LONGEST:],
                    "completion": completions[at][:LONGEST],
                    "tokens": len(columns["completion_ids"][at]) if "completion_ids" in columns else None,
                    "rewards": {name: values[at] for name, values in earned.items()},
                }
                file.write(json.dumps(row) + "\n")
