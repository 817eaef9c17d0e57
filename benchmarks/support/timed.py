"""Run a script as it is, and write down what its Trainer took:  python timed.py told.json script.py ...

Recipes and plain scripts are measured by the same lines so, and neither has to measure itself: when the
script imports Transformers' Trainer, its `train` gets clocks around it. That of the processor tells what a
training costs also where other work takes the machine from it.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

TRAINER = "transformers.trainer"


class Watch(MetaPathFinder):
    """Waits for the Trainer's import and wraps it there; everything else is left alone."""

    def __init__(self, told: Path):
        self.told = told

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != TRAINER:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        assert spec and spec.loader
        run = spec.loader.exec_module

        def run_and_wrap(module: ModuleType) -> None:
            run(module)
            wrap(module.Trainer, self.told)

        spec.loader.exec_module = run_and_wrap  # type: ignore[method-assign]
        return spec


def wrap(trainer: Any, told: Path) -> None:
    """Put the clocks around `train`."""
    train = trainer.train

    def timed(self: Any, *args: Any, **named: Any) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        done = train(self, *args, **named)
        told.write_text(
            json.dumps(
                {
                    "loop_s": time.perf_counter() - wall,
                    "loop_cpu_s": time.process_time() - processor,
                    **result(self),
                }
            )
        )
        return done

    trainer.train = timed


def result(trainer: Any) -> dict[str, Any]:
    """What was trained, and the most memory that it took on a GPU, in MiB."""
    import torch

    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    parameters = sum(p.numel() for p in trainer.model.parameters())
    return {
        "loss": losses[-1] if losses else None,
        "steps": trainer.state.global_step,
        "tokens": int(trainer.state.num_input_tokens_seen),
        "parameters": parameters,
        "gpu_mb": gpu,
    }


def main() -> None:
    told, script, *rest = sys.argv[1:]
    sys.argv = [script, *rest]
    sys.path[0] = str(Path(script).parent)
    sys.meta_path.insert(0, Watch(Path(told)))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
