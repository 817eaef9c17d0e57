"""A stand-in for jobs: answers an evaluation at once, as well as the model's folder says it can."""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_intern.jobs.model import Failure, JobSpec, JobStatus


def make_model(folder: Path, skill: float, seed: int = 0, **more: Any) -> Path:
    """A folder that looks like a model; `skill` between 0 and 1 is how good its answers are."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes([seed]))
    (folder / "config.json").write_text(json.dumps({"skill": skill, "seed": seed, **more}))
    return folder


class AnsweringJobs:
    """`submit`, `wait`, `resume` and `cancel` as an evaluation uses them. `specs` holds what was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.specs: list[JobSpec] = []
        self.read: list[str] = []
        self._states: dict[str, JobStatus] = {}
        self._lock = threading.Lock()

    def submit(self, spec: JobSpec) -> JobStatus:
        known = next((s for s in list(self._states.values()) if s.name == spec.key), None)
        if known:
            return known
        with self._lock:
            self.specs.append(spec)
            id = f"job-{len(self.specs)}"
        output = self.folder / id / "output"
        output.mkdir(parents=True)
        config = json.loads((Path(spec.config["model"]) / "config.json").read_text())
        status = JobStatus(
            id=id,
            name=spec.key or "",
            method=spec.method,
            state="succeeded",
            output=str(output),
        )
        if config.get("fails"):
            failure = Failure(
                kind="code_error", message="ValueError: no", last_lines=["Traceback", "ValueError: no"]
            )
            status = status.model_copy(update={"state": "failed", "failure": failure})
        else:
            for task in spec.config["tasks"]:
                self._answer(task, config, output)
        self._states[status.id] = status
        return status

    def resume(self, job: str) -> JobStatus:
        return self._states[job]

    def cancel(self, job: str) -> JobStatus:
        return self._states[job]

    def wait(
        self, ids: list[str], cancelled: Callable[[], bool], on_progress: Callable[[JobStatus], None]
    ) -> Any:
        found = [self._states[job] for job in ids]
        for status in found:
            on_progress(status)
        return found

    def _answer(self, task: dict[str, Any], config: dict[str, Any], output: Path) -> None:
        text = Path(task["file"]).read_text()
        self.read.append(text)
        rows = [json.loads(line) for line in text.splitlines()]
        warmth = f" {task['temperature']}" if task["name"] == "completions" and "temperature" in task else ""
        draw = random.Random(f"{config['seed']} {task['name']} {task.get('seed', 0)}{warmth}")
        if task["kind"] == "reward":
            answers = [self._reward(row, config, draw) for row in rows]
        elif task["kind"] == "likelihood":
            answers = [self._nats(row["text"], config, draw) for row in rows]
        else:
            asked = [(n, k, row) for n, row in enumerate(rows) for k in range(task.get("samples", 1))]
            answers = [
                {"row": n, "sample": k, **self._complete(row["prompt"], config, draw)} for n, k, row in asked
            ]
        (output / f"{task['name']}.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))

    def _nats(self, text: str, config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
        bits = 8 * (1 - config["skill"]) * len(text.encode()) * draw.uniform(0.9, 1.1)
        nats = None if config.get("diverged") else bits * math.log(2)
        return {"nats": nats, "tokens": len(text), "lossless": not config.get("forgets")}

    def _reward(self, row: dict[str, Any], config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
        """Higher for a right answer, with noise where there is little skill."""
        a, b = row["prompt"].rstrip("=").split("+")
        right = row["completion"] == str(int(a) + int(b))
        noise = draw.gauss(0, 1) * 4 * (1 - config["skill"])
        return {"reward": None if config.get("diverged") else 4 * right - 2 + noise, "cut": False}

    def _complete(self, prompt: str, config: dict[str, Any], draw: random.Random) -> dict[str, Any]:
        right = draw.random() < config["skill"]
        if not prompt:
            return {"text": f"x = {draw.random()}" if right else "x = (", "tokens": 3, "finished": True}
        a, b = prompt.rstrip("=").split("+")
        off = draw.randint(1, config["spread"]) if "spread" in config and not right else not right
        return {"text": str(int(a) + int(b) + off), "tokens": 2, "finished": True}
