"""A sweep in a process that can be killed:  python sweeping_child.py FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.sweep_services import TINY, services_in

from ml_intern.context import ToolContext
from ml_intern.tools.sweeping import sweep

BASE = {
    "method": "pretrain",
    "model": TINY,
    "dataset": "train",
    "config": {"max_steps": 40, "logging_steps": 5},
}
ASKED = {
    "base": BASE,
    "space": {"lr": {"low": 1e-4, "high": 1e-1, "log": True}, "batch_size": [4, 8]},
    "metric": "loss",
    "trials": 4,
    "sampler": "random",
    "halving": False,
}

if __name__ == "__main__":
    services = services_in(Path(sys.argv[1]))
    sweep(ToolContext(services, "call-1", "the-key", needs=("hub:read",)), **ASKED)
