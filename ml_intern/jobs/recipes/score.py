"""Give answers a reward with a reward model:  python score.py config.json

config.json:
    model             folder of a model for sequence classification with a single output, with its tokenizer;
                      code in it is never run
    tasks             a list, each with a `name` and a `kind`:
      {"kind": "reward", "file": answers.jsonl}   rows {"prompt": …, "completion": …}
                                                   or {"messages": […], "completion": …}
          writes {"reward", "cut"} a row; the reward is null where it is no finite number, and `cut` says that
          the beginning of the prompt was dropped, as the whole does not fit into the model
    batch_size        0 chooses by the size of the model
    output_dir        <name>.jsonl of each task goes here
    metrics_file      progress, one JSON line a batch

An answer is read as the model was trained to read it. reward.py notes that in the model's config.json, as
`reward_input`: "text" is the prompt, the answer and the end token; "messages" goes through the chat template.
A model without that word is given messages if its tokenizer has a template, a pair of texts if it is an
encoder (BERT and its kin), and text else.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from _common import now, quick_imports, read_rows, say, start, stop, told

UNUSED = ("tensorflow", "jax", "torchvision", "PIL", "datasets", "pandas", "sklearn", "scipy", "peft")
LONGEST_WINDOW = 4096
TOKENS_AT_ONCE = 2**16


def load(folder: str) -> tuple[Any, Any]:
    """The reward model and its tokenizer."""
    import torch
    from transformers.models.auto.modeling_auto import AutoModelForSequenceClassification
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    on_gpu = torch.cuda.is_available()
    own = {"trust_remote_code": False, "local_files_only": True}
    with told("bad_config", "The reward model cannot be read", OSError, ValueError, KeyError):
        model, found = AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            output_loading_info=True,
            dtype="auto" if on_gpu else torch.float32,
            **own,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **own)
    if fresh := sorted(found["missing_keys"]):
        stop(
            "bad_config",
            f"The model is no reward model: its files lack {fresh[0]!r}, which gives the reward.",
        )
    if model.config.num_labels != 1:
        stop("bad_config", f"The model has {model.config.num_labels} outputs; a reward model has one.")
    return model.eval().to("cuda" if on_gpu else "cpu"), tokenizer


def form_of(model: Any, tokenizer: Any) -> str:
    """How the model was trained to read an answer: ``text``, ``messages`` or ``pair``."""
    noted = getattr(model.config, "reward_input", None)
    if noted in ("text", "messages"):
        return str(noted)
    if tokenizer.chat_template:
        return "messages"
    # Transformers calls the head of a decoder `score` and that of an encoder `classifier`.
    return "text" if hasattr(model, "score") else "pair"


def window_of(model: Any) -> int:
    """Tokens that the model can look at, and no more than is useful."""
    config = model.config.get_text_config()
    names = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
    known = [int(found) for name in names if (found := getattr(config, name, None))]
    # RoBERTa's positions begin behind its pad token.
    past = (config.pad_token_id or 0) + 1 if "roberta" in str(config.model_type) else 0
    return min([LONGEST_WINDOW, *known]) - past


def encode(tokenizer: Any, row: dict[str, Any], form: str, window: int) -> tuple[list[int], list[int], bool]:
    """Tokens of an answer, the part of a pair that each belongs to, and whether some did not fit."""
    from jinja2 import TemplateError

    said, prompt = str(row["completion"]), row.get("prompt")
    if form == "messages":
        asked = row.get("messages") or [{"role": "user", "content": prompt}]
        talk = [*asked, {"role": "assistant", "content": said}]
        with told(
            "bad_data", "The reward model's chat template refuses an answer", TemplateError, ValueError
        ):
            ids = tokenizer.apply_chat_template(talk, return_dict=False)
    else:
        if prompt is None:
            prompt = "\n".join(str(m["content"]) for m in row["messages"])
        if form == "pair":
            found = tokenizer(prompt, said, truncation="longest_first", max_length=window)
            whole = len(tokenizer(prompt, said)["input_ids"])
            parts = found.get("token_type_ids") or [0] * len(found["input_ids"])
            return found["input_ids"], parts, whole > len(found["input_ids"])
        end = tokenizer.eos_token or ""
        ids = tokenizer(prompt + (said if said.endswith(end) else said + end))["input_ids"]
    return ids[-window:], [0] * min(len(ids), window), len(ids) > window


def rewards_of(model: Any, tokenizer: Any, rows: list[dict[str, Any]], batch: int, tell: Any) -> list[Any]:
    """A row for each answer; what is the same twice is read once."""
    form, window = form_of(model, tokenizer), window_of(model)
    config = model.config.get_text_config()
    known_pads = (config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    # Where the model says what pads, it is read off before it: as it was trained.
    config.pad_token_id = pad = next(token for token in known_pads if token is not None)
    read = [encode(tokenizer, row, form, window) for row in rows]
    say(f"{len(rows)} answers, read as {form}, at most {window} tokens")
    different = sorted({(tuple(ids), tuple(parts)) for ids, parts, _ in read}, key=lambda e: (len(e[0]), e))
    known: dict[Any, float] = {}
    for first in batches(different, batch):
        group = different[first]
        known.update(zip(group, _forward(model, group, pad), strict=True))
        tell(len(known), len(different))
    found = [(known[tuple(ids), tuple(parts)], cut) for ids, parts, cut in read]
    return [{"reward": value if math.isfinite(value) else None, "cut": cut} for value, cut in found]


def batches(pieces: list[Any], batch: int) -> list[slice]:
    """Slices of pieces that are sorted by length, each of bounded size."""
    found, begin = [], 0
    for end in range(1, len(pieces) + 1):
        full = end - begin == batch or end == len(pieces)
        if full or (end + 1 - begin) * len(pieces[end][0]) > TOKENS_AT_ONCE:
            found.append(slice(begin, end))
            begin = end
    return found


def _forward(model: Any, group: list[tuple[tuple[int, ...], tuple[int, ...]]], pad: int) -> list[float]:
    """Padding stands at the right; a decoder is read off at the last token that is none."""
    import torch

    width = max(len(ids) for ids, _ in group)
    table = torch.full((len(group), width), pad)
    mask, kinds = torch.zeros_like(table), torch.zeros_like(table)
    for place, (ids, parts) in enumerate(group):
        table[place, : len(ids)] = torch.tensor(ids)
        kinds[place, : len(ids)] = torch.tensor(parts)
        mask[place, : len(ids)] = 1
    given = {"input_ids": table, "attention_mask": mask}
    if kinds.any():
        given["token_type_ids"] = kinds
    logits = model(**{name: part.to(model.device) for name, part in given.items()}).logits
    found: list[float] = logits[:, 0].float().tolist()
    return found


def main(config: dict[str, Any]) -> None:
    """Load once, do the tasks in order."""
    began = time.monotonic()
    with quick_imports("accelerate", *UNUSED):
        import torch

        model, tokenizer = load(config["model"])
    batch = config.get("batch_size") or (256 if model.num_parameters() < 5e7 else 32)
    output, before = Path(config["output_dir"]), 0
    say(f"model ready after {time.monotonic() - began:.1f} s")

    def tell(done: int, total: int) -> None:
        """One line a batch; answers count as steps, those of earlier tasks too."""
        nonlocal before
        line = {"step": before + done, "total_steps": before + total, "time": round(now(), 3)}
        before += total if done == total else 0
        with Path(config["metrics_file"]).open("a") as file:
            file.write(json.dumps(line) + "\n")

    with torch.inference_mode():
        for task in config["tasks"]:
            found = rewards_of(model, tokenizer, read_rows(Path(task["file"])), batch, tell)
            fresh = output / f"{task['name']}.jsonl.new"
            fresh.write_text("".join(json.dumps(row) + "\n" for row in found))
            fresh.rename(output / f"{task['name']}.jsonl")
            say(f"{task['name']}: {len(found)} rows, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    start(main, "score")
