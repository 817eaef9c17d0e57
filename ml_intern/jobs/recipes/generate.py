"""Ask a causal language model:  python generate.py config.json

One process answers a list of tasks, so that an evaluation pays for the imports and the weights once.

config.json:
    model             folder with safetensors and tokenizer.json; code in it is never run
    tasks             a list, each with a `name` and a `kind`:
      {"kind": "likelihood", "file": texts.jsonl}                     rows {"text": ...}
          writes {"nats", "tokens", "lossless"} a row
      {"kind": "generate", "file": prompts.jsonl, "max_new_tokens": 64, "temperature": 0, "samples": 1,
       "seed": 0, "stop": [], "only_read": false}                     rows {"prompt": …} or {"messages": […]}
          writes {"row", "sample", "text", "tokens", "finished"} a completion; an empty prompt starts at BOS;
          where the window is too small for prompt and answer also {"window", "limit"}, the tokens that the
          answer could have, and "dropped", those that the prompt has lost at its beginning;
          what is only read, and not scored, is drawn from a model with broken weights as well
      {"kind": "options", "file": questions.jsonl}    rows {"prompt" or "messages": …, "options": [text, …]}
          writes {"nats": [a number an option]} a row; see _options.py for what a token of an option is
      {"kind": "continuations", "file": pairs.jsonl}                 rows {"prompt": …, "continuation": …}
          writes {"nats", "greedy"} a row: whether greedy decoding gives it; see _continuations.py
    batch_size        0 chooses by the size of the model
    output_dir        <name>.jsonl of each task goes here
    metrics_file      progress, one JSON line a batch

What a likelihood is: the nats of all tokens of the text, given the tokenizer's start token (BOS, else EOS)
and what precedes. The end token is not counted, as it stands for no byte of the text. Longer texts than the
model's window are read in windows that overlap by half, and every token counts once. `lossless` says whether
decoding gives the text back: where it does not, the nats are those of another text.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from _causal import LENGTH, looks_ahead
from _common import now, quick_imports, read_rows, start, stop
from _continuations import continuations, encode_pairs
from _experts import ask_no_routers
from _options import encode_options, option_pieces, plainly

UNUSED = ("tensorflow", "jax", "torchvision", "PIL")
LONGEST_WINDOW = 2048
LEAST_ANSWER = 16
"""Tokens that are kept for an answer before a prompt is cut."""
LOGITS_AT_ONCE = 2**25
"""Elements of one batch of logits: 128 MB in float32."""


def load(folder: str) -> tuple[Any, Any, int, set[int]]:
    """The model, its tokenizer, the token that a text starts with, and those that end one."""
    import torch
    from safetensors import SafetensorError
    from tokenizers import Tokenizer
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = json.loads((Path(folder) / "config.json").read_text())
    if config.get("auto_map") and config.get("model_type") not in CONFIG_MAPPING_NAMES:
        stop("bad_config", "The model needs code that comes with it, and such code is never run.")
    made = config.get("architectures") or [""]
    if made[0].endswith("ForSequenceClassification"):  # It would be given a fresh head, and no word said.
        stop("bad_config", "The model is a reward model: it gives scores, no text.")
    on_gpu = torch.cuda.is_available()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            # Half precision on a CPU is slow, and float32 compares models that were saved in different types.
            dtype="auto" if on_gpu else torch.float32,
        ).eval()
    except SafetensorError as error:
        stop("bad_config", f"The weights cannot be read as safetensors: {error}.")
    model.to("cuda" if on_gpu else "cpu")
    ask_no_routers(model)
    if not (Path(folder) / "tokenizer.json").exists():
        stop("bad_config", "The model has no tokenizer.json; save it with a fast tokenizer.")
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    start, ends = special_tokens(Path(folder), tokenizer, model)
    return model, tokenizer, start, ends


def special_tokens(folder: Path, tokenizer: Any, model: Any) -> tuple[int, set[int]]:
    """The tokenizer's word counts before the configuration's, whose defaults (1 and 2) often mean nothing."""
    file = folder / "tokenizer_config.json"
    named = json.loads(file.read_text()) if file.exists() else {}

    def token(kind: str) -> int | None:
        entry = named.get(f"{kind}_token")
        text = entry.get("content") if isinstance(entry, dict) else entry
        found = tokenizer.token_to_id(text) if text else None
        return found if isinstance(found, int) else None

    configured = getattr(model.generation_config, "eos_token_id", None)
    ends: set[Any] = {*(configured if isinstance(configured, list) else [configured]), token("eos")} - {None}
    starts = [token("bos"), token("eos"), model.config.bos_token_id]
    known = [found for found in starts if found is not None]
    if not known:
        stop("bad_config", "The tokenizer has neither a BOS nor an EOS token to start a text with.")
    return known[0], ends


# Likelihood


def likelihood(
    model: Any, tokenizer: Any, start: int, texts: list[str], batch: int, tell: Any
) -> list[dict[str, Any]]:
    """Nats of each text."""
    encoded = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    check_causal(model, start)
    nats = [0.0] * len(texts)
    pieces = [piece for i, ids in enumerate(encoded) for piece in windows(i, [start, *ids], window_of(model))]
    pieces.sort(key=lambda piece: len(piece[1]))
    done = 0
    for group in batches(pieces, batch, model.config.get_text_config().vocab_size):
        for (i, _, _), part in zip(group, nats_of(model, group), strict=True):
            nats[i] += part
        done += len(group)
        tell(done, len(pieces))
    return [
        {
            "nats": nats[i] if math.isfinite(nats[i]) else None,
            "tokens": len(ids),
            "lossless": tokenizer.decode(ids, skip_special_tokens=False) == texts[i],
        }
        for i, ids in enumerate(encoded)
    ]


def options(
    model: Any, tokenizer: Any, start: int, ends: set[int], task: dict[str, Any], batch: int, tell: Any
) -> list[dict[str, Any]]:
    """Nats of each option of each question, all in shared batches."""
    check_causal(model, start)
    rows = read_rows(Path(task["file"]))
    encoded = encode_options(rows, tokenizer, start, ends, task["model"])
    size = window_of(model)
    pieces = [
        piece
        for row, options in enumerate(encoded)
        for at, (ids, new) in enumerate(options)
        for piece in option_pieces((row, at), ids, new, size, windows)
        if new
    ]
    pieces.sort(key=lambda piece: len(piece[1]))
    nats = [
        [0.0 if new else plainly(text) for (_, new), text in zip(options, row["options"], strict=True)]
        for row, options in zip(rows, encoded, strict=True)
    ]
    done = 0
    for group in batches(pieces, batch, model.config.get_text_config().vocab_size):
        for ((row, at), _, _), part in zip(group, nats_of(model, group), strict=True):
            nats[row][at] += part
        done += len(group)
        tell(done, len(pieces))
    return [{"nats": [n if math.isfinite(n) else None for n in found]} for found in nats]


def continued(
    model: Any, tokenizer: Any, start: int, ends: set[int], task: dict[str, Any], batch: int, tell: Any
) -> list[dict[str, Any]]:
    """Nats of each continuation, and whether greedy decoding gives it."""
    check_causal(model, start)
    pairs = encode_pairs(read_rows(Path(task["file"])), tokenizer, start, ends)
    fitting = partial(batches, batch=batch, vocabulary=model.config.get_text_config().vocab_size)
    found: list[dict[str, Any]] = continuations(model, pairs, window_of(model), fitting, tell)
    return found


def window_of(model: Any) -> int:
    """Tokens the model can look at, and no more than is useful."""
    config = model.config.get_text_config()
    names = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
    known = [int(found) for name in names if (found := getattr(config, name, None))]
    return min([LONGEST_WINDOW, *known])


def windows(i: Any, ids: list[int], size: int) -> Iterator[tuple[Any, list[int], int]]:
    """Stretches of at most `size` + 1 tokens, and how many at the end of each are to be counted."""
    if len(ids) < 2:
        return
    end = min(len(ids), size + 1)
    yield i, ids[:end], end - 1
    while end < len(ids):
        new = min(max(1, size // 2), len(ids) - end)
        end += new
        yield i, ids[end - size - 1 : end], new


def batches(pieces: list[Any], batch: int, vocabulary: int) -> Iterator[list[Any]]:
    """Groups of pieces of like length whose logits fit."""
    group: list[Any] = []
    for piece in pieces:
        if group and (len(group) == batch or (len(group) + 1) * len(piece[1]) * vocabulary > LOGITS_AT_ONCE):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def nats_of(model: Any, group: list[tuple[Any, list[int], int]]) -> list[float]:
    """Padding stands at the right, where a causal model does not look, so it needs no mask."""
    import torch

    width = max(len(ids) for _, ids, _ in group)
    table = torch.zeros((len(group), width), dtype=torch.long)
    counted = torch.zeros((len(group), width - 1), dtype=torch.bool)
    for place, (_, ids, new) in enumerate(group):
        table[place, : len(ids)] = torch.tensor(ids)
        counted[place, len(ids) - 1 - new : len(ids) - 1] = True
    table, counted = table.to(model.device), counted.to(model.device)
    logits = model(input_ids=table[:, :-1], use_cache=False).logits.float()
    each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), table[:, 1:], reduction="none")
    found: list[float] = torch.where(counted, each.double(), 0.0).sum(1).tolist()
    return found


def check_causal(model: Any, start: int) -> None:
    """A model that sees the next token predicts it; its likelihoods would mean nothing."""
    if looks_ahead(model, start, min(LENGTH, window_of(model))):
        stop("bad_config", "The model looks at later tokens; it is not a causal language model.")


# Generation


def generate(
    model: Any, tokenizer: Any, start: int, ends: set[int], task: dict[str, Any], batch: int, tell: Any
) -> list[dict[str, Any]]:
    """Completions of each prompt, `samples` of them; prompts of like length go together."""
    import torch

    rows = read_rows(Path(task["file"]))
    window, most = window_of(model), task.get("max_new_tokens", 64)
    # A long prompt shortens the answer; only one that leaves next to no room for it loses its beginning.
    room = max(1, window - min(most, LEAST_ANSWER))
    whole = [encode_prompt(tokenizer, start, ends, row, task["model"]) for row in rows]
    prompts = [ids[-room:] for ids in whole]
    wanted = [(len(ids), i, k) for i, ids in enumerate(prompts) for k in range(task.get("samples", 1))]
    wanted.sort()
    answers: dict[tuple[int, int], dict[str, Any]] = {}
    for first in range(0, len(wanted), batch):
        group = wanted[first : first + batch]
        # A seed a batch: what one batch draws does not hang on how much the ones before it drew.
        torch.manual_seed(task.get("seed", 0) * 1_000_003 + first)
        limit = max(1, min(most, window - group[-1][0]))
        told = {**task, "max_new_tokens": limit}
        new = continue_prompts(model, [prompts[i] for _, i, _ in group], start, ends, told)
        for (_, i, k), ids in zip(group, new, strict=True):
            answers[i, k] = {"row": i, "sample": k, **completion(tokenizer, ids, ends, task.get("stop", []))}
            if limit < most:
                dropped = len(whole[i]) - len(prompts[i])
                answers[i, k] |= {"window": window, "dropped": dropped, "limit": limit}
        tell(first + len(group), len(wanted))
    return [answers[key] for key in sorted(answers)]


def encode_prompt(tokenizer: Any, start: int, ends: set[int], row: dict[str, Any], folder: str) -> list[int]:
    """A prompt as the model was taught to read it; a conversation goes through the chat template."""
    if "messages" in row:
        from transformers.models.auto.tokenization_auto import AutoTokenizer

        chat = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        ids: list[int] = chat.apply_chat_template(
            row["messages"], add_generation_prompt=True, return_dict=False
        )
        return ids
    ids = tokenizer.encode(row["prompt"], add_special_tokens=True).ids
    while len(ids) > 1 and ids[-1] in ends:  # Some tokenizers close what is only begun.
        ids = ids[:-1]
    return ids or [start]


def continue_prompts(
    model: Any, prompts: list[list[int]], start: int, ends: set[int], task: dict[str, Any]
) -> list[list[int]]:
    """New tokens of each prompt."""
    import torch

    width = max(map(len, prompts))
    table = torch.full((len(prompts), width), start)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for place, ids in enumerate(prompts):
        table[place, width - len(ids) :] = torch.tensor(ids)
        mask[place, width - len(ids) :] = 1
    temperature = task.get("temperature", 0)
    how: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        # top_k 0: the model's own distribution, not the best fifty that a default would leave.
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": task.get("top_p", 1.0)}
    if task.get("only_read"):
        # Scores that are not finite would end the job, and with it the likelihoods that tell the reason.
        how["remove_invalid_values"] = True
    out = model.generate(
        input_ids=table.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=task.get("max_new_tokens", 64),
        eos_token_id=sorted(ends) or None,
        pad_token_id=min(ends, default=start),
        **how,
    )
    new: list[list[int]] = out[:, width:].tolist()
    return new


def completion(tokenizer: Any, ids: list[int], ends: set[int], stops: list[str]) -> dict[str, Any]:
    """The text up to the end token or the first stop word."""
    end = next((k for k, token in enumerate(ids) if token in ends), None)
    text = tokenizer.decode(ids[:end], skip_special_tokens=True)
    cut = min((at for word in stops if (at := text.find(word)) >= 0), default=None)
    tokens = len(ids) if end is None else end
    return {"text": text[:cut], "tokens": tokens, "finished": end is not None or cut is not None}


# The process


def say(line: str) -> None:
    """A line of the job's log."""
    sys.stdout.write(line + "\n")


def main(config: dict[str, Any]) -> None:
    """Load once, do the tasks in order."""
    began = time.monotonic()
    with quick_imports("datasets", "pandas", "sklearn", "scipy", "peft", "accelerate", *UNUSED):
        import torch

        model, tokenizer, start, ends = load(config["model"])
    batch = config.get("batch_size") or (256 if model.num_parameters() < 5e7 else 32)
    output = Path(config["output_dir"])
    before = 0

    def tell(done: int, total: int) -> None:
        """One line a batch; items count as steps, those of earlier tasks too."""
        nonlocal before
        row = {
            "step": before + done,
            "total_steps": before + total,
            "time": round(now(), 3),
        }
        before += total if done == total else 0
        with Path(config["metrics_file"]).open("a") as file:
            file.write(json.dumps(row) + "\n")

    say(f"model ready after {time.monotonic() - began:.1f} s")
    with torch.inference_mode():
        for task in config["tasks"]:
            if task["kind"] == "likelihood":
                texts = [row["text"] for row in read_rows(Path(task["file"]))]
                found = likelihood(model, tokenizer, start, texts, batch, tell)
            elif task["kind"] == "generate":
                found = generate(
                    model, tokenizer, start, ends, {**task, "model": config["model"]}, batch, tell
                )
            elif task["kind"] == "options":
                asked = {**task, "model": config["model"]}
                found = options(model, tokenizer, start, ends, asked, batch, tell)
            elif task["kind"] == "continuations":
                found = continued(model, tokenizer, start, ends, task, batch, tell)
            else:
                kinds = "likelihood, generate, options or continuations"
                stop("bad_config", f"The kind {task['kind']!r} is not known: {kinds}.")
            fresh = output / f"{task['name']}.jsonl.new"
            fresh.write_text("".join(json.dumps(row) + "\n" for row in found))
            fresh.rename(output / f"{task['name']}.jsonl")
            say(f"{task['name']}: {len(found)} rows, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    start(main, "generate")
