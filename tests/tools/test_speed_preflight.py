"""Fields that make a training faster: what cannot hold together is told before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_intern.errors import ToolError
from ml_intern.jobs import fitting, preflight
from ml_intern.jobs.recipes._conflicts import conflicts

FLASH = {"model_init_kwargs": {"attn_implementation": "flash_attention_2"}}


def told(config: dict[str, Any], method: str = "sft", gpus: int = 0) -> str:
    plan = preflight.check_config(method, config)
    lines = conflicts(method, plan.trainer, plan.recipe)
    try:
        fitting.check_machine(plan, gpus)
    except ToolError as error:
        lines.append(error.message)
    return "\n".join(lines)


@pytest.mark.parametrize("method", preflight.METHODS)
def test_nothing_is_said_of_what_each_method_takes_by_itself(method: str) -> None:
    assert told({}, method) == told({"bf16": True}, method) == told({"fp16": True}, method, 1) == ""


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "uncut": ({"padding_free": True}, "max_length=None"),
    "uncut at a length": ({"padding_free": True, "max_length": 64}, "add packing=True"),
    "rows of no length": ({"packing": True, "max_length": None}, "packing needs a max_length"),
    "wrapped": ({"padding_free": True, "packing": True, "packing_strategy": "wrapped"}, "do not go together"),
    "two precisions": ({"bf16": True, "fp16": True}, "exclude each other"),
    "fp16": ({"fp16": True}, "fp16 needs a GPU"),
    "flash": (FLASH, "flash_attention_2 needs a GPU"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_hold_is_told_with_what_to_write(name: str) -> None:
    config, words = WRONG[name]
    assert words in told(config)


@pytest.mark.parametrize(
    "config",
    [{"padding_free": True, "max_length": None}, {"padding_free": True, "packing": True}, {"packing": True}],
)
def test_rows_without_padding_are_taken_where_they_can_be(config: dict[str, Any]) -> None:
    assert told(config) == told(config, gpus=1) == ""


def test_several_problems_are_told_at_once() -> None:
    lines = told({"padding_free": True, "bf16": True, "fp16": True, **FLASH})
    for words in ("padding_free", "bf16 and fp16", "flash_attention_2 needs a GPU"):
        assert words in lines


def test_dpo_is_told_that_trl_pads_all_the_same() -> None:
    assert "does nothing with dpo" in told({"padding_free": True}, "dpo")
    assert told({"padding_free": False}, "dpo") == ""


def test_compilation_asks_for_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "torch_compile needs a C++ compiler" in told({"torch_compile": True})
    assert "torch_compile needs a C compiler" in told({"torch_compile": True}, gpus=1)
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    assert told({"torch_compile": True}) == ""
    assert "C compiler" in told({"torch_compile": True}, gpus=1)


def test_flash_attention_asks_for_its_package() -> None:
    assert "flash_attn" in told(FLASH, gpus=1)
