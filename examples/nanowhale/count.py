"""What the plans of this example come to: parameters by where they are, tokens, and the work for a token.

    python count.py [small|full]

The models are made on PyTorch's meta device, where a parameter has a shape and takes no memory, so that the
full size is counted in a second as well.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any


def plans() -> dict[str, Any]:
    """What the cell of the playbook that begins with PLANS says, by size."""
    playbook = Path(__file__).with_name("playbook.md").read_text(encoding="utf-8")
    found: dict[str, Any] = ast.literal_eval(playbook.split("\nPLANS = ")[1].split("\n```")[0])
    return found


PLANS = plans()


def made(shape: dict[str, Any], device: str = "meta") -> Any:
    """A model of a shape, fresh, on a device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = dict(shape)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(fields.pop("model_type"), **fields))


def parameters(shape: dict[str, Any]) -> dict[str, int]:
    """How many parameters a shape has, and where.

    Returns:
        total; embedding (the table of words); head (the output's own table, 0 where it is the same one);
        layers (all the rest); routed (of the layers, the experts that are chosen from); active (what a token
        passes: all but the routed experts that it was not sent to).
    """
    model = made(shape)
    config = model.config
    total = model.num_parameters()
    embedding = model.get_input_embeddings().weight.numel()
    head = 0 if config.tie_word_embeddings else model.get_output_embeddings().weight.numel()
    routed = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    idle = (
        routed * (shape["n_routed_experts"] - shape["num_experts_per_tok"]) // shape["n_routed_experts"]
        if routed
        else 0
    )
    rest = {"layers": total - embedding - head, "routed": routed, "active": total - idle}
    return {"total": total, "embedding": embedding, "head": head, **rest}


def tokens(training: dict[str, Any]) -> int:
    """The most tokens that a training can see: steps, sequences of a step, tokens of a sequence."""
    rows: int = training["batch_size"] * training.get("gradient_accumulation_steps", 1)
    return int(training["max_steps"] * rows * training["max_length"])


def flops_per_token(shape: dict[str, Any]) -> int:
    """Six for each parameter that multiplies a token, forward and backward; attention's scores aside."""
    found = parameters(shape)
    # Looking a word up multiplies nothing; a tied table is multiplied once, at the output.
    return 6 * (found["active"] - (found["embedding"] if found["head"] else 0))


def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "full"
    plan = PLANS[size]
    for name, shape in plan["shapes"].items():
        print(name, {where: f"{count:,}" for where, count in parameters(shape).items()})
    print(f"pretraining: at most {tokens(plan['pretrain']):,} tokens")


if __name__ == "__main__":
    main()
