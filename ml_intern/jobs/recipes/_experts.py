"""Mixture-of-experts models from scratch: what a checkpoint would bring and a fresh model lacks.

It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

from typing import Any

STEP = 0.001
"""By how much a bias moves in a step: the "bias update speed" of the DeepSeek-V3 report (2412.19437), 4.2."""


def prepare_experts(model: Any, asked: dict[str, Any], seed: int) -> str:
    """Make a fresh mixture of experts one that can learn; what was done, in words, empty for a dense model.

    Some layers of DeepSeek-V4 route by a fixed table from token to experts, which is all zeros until a
    checkpoint fills it: every token would go to the first expert. Others have a loss that keeps the load
    even, which counts only where the router's logits are asked for.
    """
    told = []
    tables = [m for m in model.modules() if getattr(m, "tid2eid", None) is not None]
    for number, layer in enumerate(tables):
        _fill(layer, seed + number)
    if tables:
        told.append(f"{len(tables)} layers route by a table, filled at random")
    config = model.config.get_text_config()
    weight = getattr(config, "router_aux_loss_coef", None)
    if routers := _biased(model):
        told.append(f"biases keep the load of {len(routers)} layers even")
    elif weight and hasattr(config, "output_router_logits") and "output_router_logits" not in asked:
        config.output_router_logits = True
        told.append(f"the loss has {weight:g} of an even load in it")
    return "; ".join(told)


def balance_callback(model: Any) -> Any:
    """A Trainer callback that evens the load of experts without a loss; None where no router has a bias.

    After each step the bias of an expert that got less than its share goes up and that of the others down.
    The library never moves it: in a checkpoint it is what it was trained to be.
    """
    routers = _biased(model)
    if not routers:
        return None
    import torch
    from transformers.trainer_callback import TrainerCallback

    loads = {router: torch.zeros_like(router.e_score_correction_bias) for router in routers}

    def count(router: Any, _: Any, output: Any) -> None:
        chosen = _chosen(output)
        if router.training and chosen is not None:
            load = loads[router].to(chosen.device)
            loads[router] = load + torch.bincount(chosen.reshape(-1), minlength=len(load)).to(load)

    for router in routers:
        router.register_forward_hook(count)

    class Balance(TrainerCallback):  # type: ignore[misc]
        """Moves the biases."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """After the weights have moved, and before anything is saved."""
            for router, load in loads.items():
                if args.world_size > 1:
                    torch.distributed.all_reduce(load)
                bias = router.e_score_correction_bias
                bias.add_(STEP * torch.sign(load.mean() - load).to(bias))
                loads[router] = torch.zeros_like(load)

    return Balance()


def _fill(layer: Any, seed: int) -> None:
    """As many tokens to each expert as to any other, and none twice to the same."""
    import torch

    entries, each = layer.tid2eid.shape
    draw = torch.Generator().manual_seed(seed)
    first = torch.arange(entries)[torch.randperm(entries, generator=draw)] % layer.num_experts
    apart = torch.stack(
        [torch.randperm(layer.num_experts - 1, generator=draw)[: each - 1] for _ in range(entries)]
    )
    others = (first[:, None] + 1 + apart) % layer.num_experts
    layer.tid2eid.copy_(torch.cat([first[:, None], others], dim=1))


def _biased(model: Any) -> list[Any]:
    return [m for m in model.modules() if "e_score_correction_bias" in dict(m.named_buffers(recurse=False))]


def _chosen(output: Any) -> Any:
    """The experts that a router chose: the whole numbers in what it gives."""
    parts = output if isinstance(output, tuple) else (output,)
    return next((p for p in parts if hasattr(p, "dtype") and not p.is_floating_point()), None)
