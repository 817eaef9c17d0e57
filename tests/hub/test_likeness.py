"""Weights held together: copies in every disguise are known, trainings and strangers are told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml_intern.hub.likeness import likeness
from ml_intern.hub.weights import tensors, weights_hash

State = dict[str, torch.Tensor]
LAYERS, WIDTH, WORDS = 4, 48, 200


def model(seed: int) -> State:
    """Something with the shapes of a small language model."""
    rng = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng) * 0.02

    state = {"model.embed_tokens.weight": drawn(WORDS, WIDTH), "model.norm.weight": torch.ones(WIDTH)}
    for i in range(LAYERS):
        for part, shape in (
            ("q", (WIDTH, WIDTH)),
            ("k", (WIDTH, WIDTH)),
            ("up", (2 * WIDTH, WIDTH)),
            ("down", (WIDTH, 2 * WIDTH)),
        ):
            state[f"model.layers.{i}.{part}_proj.weight"] = drawn(*shape)
        state[f"model.layers.{i}.norm.weight"] = torch.ones(WIDTH)
    return state


def kept(state: State, folder: Path, files: int = 1) -> Path:
    folder.mkdir(parents=True)
    names = list(state)
    for i in range(files):
        part = {n: state[n].contiguous() for n in names[i::files]}
        save_file(part, folder / f"model-{i}.safetensors")
    return folder


def moved(state: State, share: float, seed: int) -> State:
    """Every matrix changed by a share of its length in a direction of its own, as a training does."""
    rng = torch.Generator().manual_seed(seed)
    found = dict(state)
    for name, tensor in state.items():
        if tensor.dim() > 1:
            step = torch.randn(tensor.shape, generator=rng)
            found[name] = tensor + step * (share * tensor.norm() / step.norm())
    return found


def renamed(state: State) -> State:
    return {f"net.block_{hash_of(name)}": tensor for name, tensor in state.items()}


def hash_of(name: str) -> int:
    return sum(ord(c) * 31**i for i, c in enumerate(name)) % 10_007


def shuffled(state: State) -> State:
    order = [2, 0, 3, 1]
    return {
        name.replace(f"layers.{i}.", f"layers.{order[i]}.") if f"layers.{i}." in name else name: tensor
        for i in range(LAYERS)
        for name, tensor in state.items()
        if f"layers.{i}." in name or (i == 0 and "layers." not in name)
    }


def rows_put_in(state: State) -> State:
    found = {n: t.clone() for n, t in state.items()}
    for tensor in found.values():
        if tensor.dim() > 1:
            tensor[0] = torch.randn(tensor.shape[1], generator=torch.Generator().manual_seed(5))
    return found


def grown(state: State) -> State:
    words = state["model.embed_tokens.weight"]
    more = torch.randn(9, WIDTH, generator=torch.Generator().manual_seed(3)) * 0.02
    return {**state, "model.embed_tokens.weight": torch.cat([words, more])}


DISGUISES: dict[str, tuple[Callable[[State], State], float]] = {
    "as it is": (lambda s: s, 0.0),
    "renamed": (renamed, 0.0),
    "bfloat16": (lambda s: {n: t.bfloat16() for n, t in s.items()}, 0.0),
    "half": (lambda s: {n: t.half() for n, t in s.items()}, 0.0),
    "eight bits": (lambda s: {n: t.to(torch.float8_e4m3fn) for n, t in s.items()}, 0.05),
    "double": (lambda s: {n: t.double() for n, t in s.items()}, 0.0),
    "a little noise": (lambda s: moved(s, 0.01, 9), 0.011),
    "noise and renamed": (lambda s: renamed(moved(s, 0.05, 9)), 0.051),
    "renamed and bfloat16": (lambda s: renamed({n: t.bfloat16() for n, t in s.items()}), 0.0),
    "layers in another order": (shuffled, 0.0),
    "a layer dropped": (lambda s: {n: t for n, t in s.items() if "layers.2." not in n}, 0.0),
    "more words": (grown, 0.0),
    "fewer words": (lambda s: {n: t[:150] if "embed" in n else t for n, t in s.items()}, 0.0),
    "rows put in": (rows_put_in, 0.0),
    "scaled": (lambda s: {n: t * 1.01 for n, t in s.items()}, 0.0101),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_copy_is_known_in_its_disguise(tmp_path: Path, name: str) -> None:
    disguise, limit = DISGUISES[name]
    original = kept(model(1), tmp_path / "a", files=2)
    found = likeness(kept(disguise(model(1)), tmp_path / "b"), original)
    assert found.nearest is not None and found.nearest <= limit + 1e-7 and found.shared > 0.9
    assert found.exact == (name in ("as it is", "bfloat16", "half", "double", "renamed", "renamed and bfloat16",
                                    "layers in another order", "a layer dropped", "fewer words"))  # fmt: skip
    assert (found.renamed > 0) == ("renamed" in name or "order" in name)


def test_rows_that_were_put_in_do_not_hide_the_others(tmp_path: Path) -> None:
    a = kept(model(1), tmp_path / "a")
    found = likeness(kept(renamed(rows_put_in(model(1))), tmp_path / "b"), a)
    assert found.shared > 0.9 and found.renamed > 0


def test_strangers_are_far_apart_and_trainings_near(tmp_path: Path) -> None:
    base = model(1)
    place = kept(base, tmp_path / "base")
    other = likeness(kept(model(2), tmp_path / "other"), place)
    assert other.distance is not None and 1.3 < other.distance < 1.5 and not other.exact
    for share in (0.001, 0.03, 0.2):
        found = likeness(kept(moved(base, share, 7), tmp_path / f"tuned-{share}"), place)
        assert found.distance == pytest.approx(share, rel=0.02) and not found.exact


def test_an_adapter_that_was_merged_stays_near(tmp_path: Path) -> None:
    base = model(1)
    tuned = dict(base)
    rng = torch.Generator().manual_seed(4)
    for i in range(LAYERS):
        name = f"model.layers.{i}.q_proj.weight"
        a, b = torch.randn(WIDTH, 4, generator=rng), torch.randn(4, WIDTH, generator=rng)
        tuned[name] = base[name] + 1e-3 * (a @ b)
    found = likeness(kept(tuned, tmp_path / "b"), kept(base, tmp_path / "a"))
    assert found.distance is not None and 0 < found.distance < 0.2 and not found.exact


def test_norms_alone_are_a_training(tmp_path: Path) -> None:
    base = model(1)
    tuned = {n: t * 1.1 if "norm" in n else t for n, t in base.items()}
    assert not likeness(kept(tuned, tmp_path / "b"), kept(base, tmp_path / "a")).exact


def test_another_architecture_shares_nothing(tmp_path: Path) -> None:
    small = {"w": torch.randn(7, 33), "v": torch.randn(12, 31)}
    found = likeness(kept(small, tmp_path / "b"), kept(model(1), tmp_path / "a"))
    assert found.distance is None and found.shared == 0


def test_what_is_not_finite_is_no_copy(tmp_path: Path) -> None:
    broken = {n: torch.full_like(t, float("nan")) for n, t in model(1).items()}
    found = likeness(kept(broken, tmp_path / "b"), kept(model(1), tmp_path / "a"))
    assert found.distance is not None and not found.distance < 1 and not found.exact


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16])
def test_values_of_few_bits_are_read_as_torch_reads_them(tmp_path: Path, dtype: torch.dtype) -> None:
    values = (torch.arange(-40, 40) / 8).repeat(2).reshape(2, 80).to(dtype)
    place = kept({"w": values}, tmp_path / "a")
    (tensor,) = tensors(place)
    assert np.array_equal(tensor.read(0, 160), values.float().numpy().ravel())


def test_the_hash_is_the_recipes(tmp_path: Path) -> None:
    from ml_intern.jobs.recipes._common import sha256_of

    place = kept(model(1), tmp_path / "a", files=3)
    assert weights_hash(place) == sha256_of(*sorted(place.glob("*.safetensors")))
    before = weights_hash(place)
    kept_file = next(place.glob("*.safetensors"))
    kept_file.write_bytes(kept_file.read_bytes()[:-1] + b"\1")
    assert weights_hash(place) != before
