"""Fields that make a training faster: what cannot hold together is told in one line before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from ml_intern.errors import ToolError
from ml_intern.jobs import preflight
from ml_intern.jobs.asking import Training, training_spec
from ml_intern.jobs.speed import check_speed

FLASH = {"model_init_kwargs": {"attn_implementation": "flash_attention_2"}}


def told(config: dict[str, Any], method: str = "sft", gpus: int = 0, here: bool = True) -> str:
    try:
        check_speed(method, preflight.check_config(method, config), gpus, here)
    except ToolError as error:
        assert "\n" not in error.message and error.message.startswith(f"The config does not fit {method}: ")
        return error.message
    return ""


@pytest.mark.parametrize("method", preflight.METHODS)
def test_nothing_is_said_of_what_each_method_takes_by_itself(method):
    assert told({}, method) == told({"bf16": True}, method) == told({"fp16": True}, method, 1) == ""


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "uncut": ({"padding_free": True}, "set max_length to None, or packing to true"),
    "uncut at a length": ({"padding_free": True, "max_length": 64}, "set max_length to None"),
    "rows of no length": ({"packing": True, "max_length": None}, "packing needs max_length"),
    "wrapped": ({"padding_free": True, "packing": True, "packing_strategy": "wrapped"}, "do not go together"),
    "two precisions": ({"bf16": True, "fp16": True}, "choose one"),
    "fp16": ({"fp16": True}, "fp16 needs a GPU"),
    "flash": (FLASH, "flash_attention_2 needs a GPU"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_hold_is_told_with_what_to_write(name):
    config, words = WRONG[name]
    assert words in told(config)


@pytest.mark.parametrize(
    "config",
    [{"padding_free": True, "max_length": None}, {"padding_free": True, "packing": True}, {"packing": True}],
)
def test_rows_without_padding_are_taken_where_they_can_be(config):
    assert told(config) == told(config, gpus=1) == ""


def test_several_problems_are_told_at_once():
    line = told({"padding_free": True, "bf16": True, "fp16": True, **FLASH}, gpus=0)
    for words in ("padding_free", "bf16 and fp16", "flash_attention_2 needs a GPU"):
        assert words in line


def test_dpo_is_told_that_trl_pads_all_the_same():
    assert "does nothing with dpo" in told({"padding_free": True}, "dpo")
    assert told({"padding_free": False}, "dpo") == ""


def test_compilation_asks_for_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "torch_compile needs a C++ compiler" in told({"torch_compile": True})
    assert "torch_compile needs a C compiler" in told({"torch_compile": True}, gpus=1)
    assert told({"torch_compile": True}, here=False) == "", "nobody knows what is installed elsewhere"
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    assert told({"torch_compile": True}) == ""
    assert "C compiler" in told({"torch_compile": True}, gpus=1)


def test_flash_attention_asks_for_its_package(monkeypatch):
    monkeypatch.setattr("ml_intern.jobs.speed.find_spec", lambda _: None)
    assert "needs the package flash_attn" in told(FLASH, gpus=1)
    assert told(FLASH, gpus=1, here=False) == "", "nobody knows what is installed elsewhere"
    monkeypatch.setattr("ml_intern.jobs.speed.find_spec", lambda _: object())
    assert told(FLASH, gpus=1) == ""


def test_a_training_that_is_asked_for_is_checked():
    nothing: Any = None
    with pytest.raises(ToolError, match="set max_length to None"):
        training_spec(nothing, Training("sft", "base", "examples", {"padding_free": True}), 1)
