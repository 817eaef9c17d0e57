"""Load a published model as a stranger would. Runs alone: python verify.py REPO COMMIT

Prints one JSON object: the number of parameters, and whether the model computes finite numbers.
"""

from __future__ import annotations

import gc
import json
import os
import sys


def main(repo: str, revision: str) -> dict[str, object]:
    """Load tokenizer and model from the Hub that the environment names, and run one forward pass."""
    gc.disable()  # the heap only grows while modules are imported
    import torch
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    gc.freeze()
    gc.enable()

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    tokenizer = AutoTokenizer.from_pretrained(repo, revision=revision)
    model = AutoModelForCausalLM.from_pretrained(repo, revision=revision)
    ids = tokenizer("def", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(ids if ids.numel() else torch.zeros((1, 1), dtype=torch.long)).logits
    count = sum(p.numel() for p in model.parameters())
    return {"parameters": count, "finite": bool(torch.isfinite(logits).all())}


if __name__ == "__main__":
    found = main(sys.argv[1], sys.argv[2])
    sys.stdout.write(json.dumps(found) + "\n")
