"""Tokens a second of a shape on this machine, and how much of a GPU's arithmetic that uses.

    python speed.py [--size full] [--shape whale] [--steps 20] [--rows 8] [--length 2048]

It trains on made-up tokens, so that nothing is read and nothing waits. The first steps are not counted. The
share of the peak is reckoned with six operations for each parameter that a token passes (attention's scores
are left out); it is shown only where the peak of the GPU is known.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from count import PLANS, flops_per_token, made, parameters

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "L40S": 362e12}
"""Dense bf16 operations a second, as their maker's data sheets tell them (SXM where there are several)."""


def measured(shape: dict[str, Any], rows: int, length: int, steps: int, warmup: int = 3) -> dict[str, Any]:
    """Train for a few steps and take the time."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = made(shape, device).train()
    ready(model)
    learner = torch.optim.AdamW(model.parameters(), 1e-4)
    times, loss = [], torch.tensor(0.0)
    for _ in range(warmup + steps):
        ids = torch.randint(3, shape["vocab_size"], (rows, length), device=device)
        began = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        learner.step()
        learner.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    spent = sum(times[warmup:])
    told: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "parameters": parameters(shape)["total"],
        "tokens_per_second": round(rows * length * steps / spent),
        "seconds_per_step": round(spent / steps, 4),
    }
    if device == "cuda":
        told["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    peak = next((value for name, value in PEAKS.items() if f" {name}" in f" {told['device']}"), None)
    if peak:
        told["utilisation"] = round(told["tokens_per_second"] * flops_per_token(shape) / peak, 4)
    return told


def ready(model: Any) -> None:
    """Words spread over the experts of layers that route by a table: zeros would make a step look cheap."""
    import torch

    for layer in model.modules():
        table = getattr(layer, "tid2eid", None)
        if table is not None:
            first = torch.randint(layer.num_experts, (len(table), 1), device=table.device)
            table.copy_((first + torch.arange(table.shape[1], device=table.device)) % layer.num_experts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=sorted(PLANS), default="full")
    parser.add_argument("--shape", default="whale")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, help="sequences of a step; nothing: the plan's")
    parser.add_argument("--length", type=int, help="tokens of a sequence; nothing: the plan's")
    given = parser.parse_args()
    plan = PLANS[given.size]
    if given.shape not in plan["shapes"]:
        parser.error(f"{given.shape!r} is none of {', '.join(plan['shapes'])}")
    rows, length = (
        given.rows or plan["pretrain"]["batch_size"],
        given.length or plan["pretrain"]["max_length"],
    )
    print(json.dumps(measured(plan["shapes"][given.shape], rows, length, given.steps)))


if __name__ == "__main__":
    main()
