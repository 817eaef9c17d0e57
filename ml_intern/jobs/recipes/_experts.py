"""Mixture-of-experts models from scratch: what a checkpoint would bring and a fresh model lacks.

It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

from typing import Any

STEP = 0.001
"""By how much a bias moves in a step: the "bias update speed" of the DeepSeek-V3 report (2412.19437), 4.2."""


def prepare_experts(model: Any, asked: dict[str, Any], seed: int, how: str = "balanced") -> str:
    """Make a fresh mixture of experts one that can learn; what was done, in words, empty for a dense model.

    Some layers of DeepSeek-V4 route by a fixed table from token to experts, which is all zeros until a
    checkpoint fills it: every token would go to the first expert. Others have a loss that keeps the load
    even, which counts only where the router's logits are asked for.

    Args:
        model: Fresh from its config; its tables are filled in place.
        asked: The fields of the config that somebody wrote: what is in them stays.
        seed: Of the tables.
        how: "balanced" does all of it, "filled" the tables alone, "as made" nothing, to hold it against.
    """
    told = []
    tables = [m for m in model.modules() if getattr(m, "tid2eid", None) is not None]
    if how == "as made":
        return "they stay as the library makes them" if tables or _routers(model) else ""
    for number, layer in enumerate(tables):
        _fill(layer, seed + number)
    if tables:
        told.append(f"{len(tables)} layers route by a table, filled at random")
    if how == "filled":
        return "; ".join(told)
    config = model.config.get_text_config()
    weight = getattr(config, "router_aux_loss_coef", None)
    if routers := _biased(model):
        told.append(f"biases keep the load of {len(routers)} layers even")
    elif weight and hasattr(config, "output_router_logits") and "output_router_logits" not in asked:
        config.output_router_logits = True
        told.append(f"the loss has {weight:g} of an even load in it")
    return "; ".join(told)


def ask_no_routers(model: Any) -> None:
    """Leave the loss of an even load to training: with it in the config, a model generates no second token.

    Transformers (5.23) holds the routers' logits of the new token against the mask of the whole text then.
    TRL asks for them in the config of every mixture of experts that it fine-tunes.
    """
    config = model.config.get_text_config()
    if getattr(config, "output_router_logits", False):
        config.output_router_logits = False


def experts_callback(model: Any, how: str = "balanced") -> Any:
    """A Trainer callback that counts the load of each expert and evens it; None for a dense model.

    Each log gets `expert_share`, the largest share of a layer's tokens that went to one expert since the log
    before; `loads()` has the shares of all. Padding is not counted. Where a router has a bias and `how` is
    "balanced", the bias of an expert that got less than its share goes up after each step, and that of the
    others down. The library never moves it: in a checkpoint it is what it was trained to be.
    """
    routers = _routers(model)
    if not routers:
        return None
    import torch
    from transformers.trainer_callback import TrainerCallback

    moved = (
        [r for r in routers.values() if hasattr(r, "e_score_correction_bias")] if how == "balanced" else []
    )
    counted = Counted(model, routers)

    class Experts(TrainerCallback):  # type: ignore[misc]
        """Counts, and moves the biases."""

        loads = counted.shares

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """After the weights have moved, and before anything is saved."""
            for router, load in counted.step(args.world_size).items():
                if router in moved:
                    bias = router.e_score_correction_bias
                    bias.add_(STEP * torch.sign(load.mean() - load).to(bias))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            """The last log of a training tells of its speed alone."""
            if logs is not None and "loss" in logs and (shares := counted.close()):
                logs["expert_share"] = max(max(layer) for layer in shares.values())

    return Experts()


class Counted:
    """How many tokens of the training each expert of each layer got: in this step, and since the last log."""

    def __init__(self, model: Any, routers: dict[str, Any]) -> None:
        """Listen to the routers, and to the model for which of its tokens are padding."""
        self._names = {router: name for name, router in routers.items()}
        self._step: dict[Any, Any] = {}
        self._since: dict[Any, Any] = {}
        self._last: dict[str, list[float]] = {}
        self._mask: Any = None
        model.register_forward_pre_hook(self._begin, with_kwargs=True)
        for router in self._names:
            router.register_forward_hook(self._count)

    def step(self, processes: int) -> dict[Any, Any]:
        """Close a step: its tokens, of all processes, by router."""
        import torch

        done, self._step = self._step, {}
        for router, load in done.items():
            if processes > 1:
                torch.distributed.all_reduce(load)
            self._since[router] = self._since.get(router, 0) + load
        return done

    def close(self) -> dict[str, list[float]]:
        """Close the time since the last log: the shares of each layer's experts in it."""
        if self._since:
            self._last = {self._names[r]: (load / load.sum()).tolist() for r, load in self._since.items()}
        self._since = {}
        return self._last

    def shares(self) -> dict[str, list[float]]:
        """What the last log told of: each layer's experts with their shares of its tokens."""
        return {name: [round(share, 4) for share in layer] for name, layer in self._last.items()}

    def _begin(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        mask: Any = given.get("attention_mask")
        self._mask = mask.reshape(-1) if getattr(mask, "ndim", 0) == 2 else None

    def _count(self, router: Any, _: Any, output: Any) -> None:
        import torch

        chosen: Any = _chosen(output)
        if not router.training or chosen is None:
            return
        # Added up where it is: to index by the mask, or to count by bins, makes a GPU wait.
        real = torch.ones(len(chosen), device=chosen.device)
        if self._mask is not None and len(self._mask) == len(chosen):
            real = self._mask.to(real)
        empty = torch.zeros(len(router.weight), device=chosen.device)
        load = empty.index_add_(0, chosen.reshape(-1), real.repeat_interleave(chosen.shape[-1]))
        self._step[router] = self._step.get(router, 0) + load


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


def _routers(model: Any) -> dict[str, Any]:
    """The routers by name: a layer of their own, with a row of weights for each expert."""
    known = ((n, m) for n, m in model.named_modules() if type(m).__name__.endswith("Router"))
    return {n: m for n, m in known if getattr(m, "num_experts", None) == len(getattr(m, "weight", ()))}


def _chosen(output: Any) -> Any:
    """The experts that a router chose: the whole numbers in what it gives."""
    parts = output if isinstance(output, tuple) else (output,)
    return next((p for p in parts if hasattr(p, "dtype") and not p.is_floating_point()), None)
