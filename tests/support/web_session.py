"""A session's folder for the tabs of the web app: jobs in every state, experiments, files, hostile names."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.told_session import Told, falling

from ml_intern.journal.journal import Journal

NASTY = (
    '"><img src=x onerror="window.bad=1"><script>window.bad=1</script>${window.bad=1}{{7*7}}`\'&amp;\u202e'
)
"""What a job, a file or a log may be called by somebody who means harm."""


class WebSession:
    """Writes a session piece by piece; see `everything`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = Told(folder)
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        card = json.loads((folder / "session.json").read_text())
        (folder / "session.json").write_text(json.dumps({**card, "workspace": str(self.workspace)}))

    def job(
        self, id: str, name: str = "", method: str = "sft", state: str = "succeeded", steps: int = 200,
        done: int | None = None, curve: Callable[[int], float] = falling, rate: float | None = None,
        log: str = "", **status: Any,
    ) -> Path:  # fmt: skip
        """A job's folder as its supervisor leaves it."""
        folder = self.folder / "jobs" / id
        (folder / "output").mkdir(parents=True)
        place = {"compute": "local", "usd_per_hour": rate}
        spec = {"name": name or id, "method": method, "place": place, "config": {"asked": {}}}
        (folder / "spec.json").write_text(json.dumps(spec))
        count = steps if done is None else done
        now = time.time()
        told = {"id": id, "name": name or id, "method": method, "state": state, "created": now,
                "started": now - count, "seconds": None if state == "running" else count / 1.0, **status}  # fmt: skip
        (folder / "status.json").write_text(json.dumps(told))
        (folder / "log.txt").write_text(
            log or "".join(f"step {n}: loss {curve(n):.4f}\n" for n in range(1, count))
        )
        self.measure(id, range(1, count + 1), steps, curve)
        return folder

    def measure(self, id: str, steps: range, total: int, curve: Callable[[int], float] = falling) -> None:
        """Further rows of metrics."""
        rows = []
        for n in steps:
            row = {
                "step": n,
                "total_steps": total,
                "loss": curve(n),
                "grad_norm": 1 + 1 / n,
                "learning_rate": 1e-3,
            }
            row |= {"eval_loss": curve(n) * 1.05} if n % 20 == 0 else {}
            rows.append(row | {"time": time.time() - (steps.stop - n)})
        with (self.folder / "jobs" / id / "metrics.jsonl").open("a") as file:
            file.write("".join(json.dumps(r) + "\n" for r in rows))

    def model(self, id: str) -> None:
        """What a training leaves."""
        folder = self.folder / "jobs" / id / "output" / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        (folder / "model.safetensors").write_bytes(b"weights" * 1000)

    def close(self) -> Path:
        """The folder."""
        return self.told.close()


def everything(folder: Path) -> Path:
    """Something of everything that the tabs show."""
    made = WebSession(folder)
    told = made.told
    made.job("base-1", "baseline", "pretrain")
    made.model("base-1")
    made.job("tuned-1", "fine-tuned on chats", curve=lambda n: falling(n) / 2, rate=1.2)
    made.model("tuned-1")
    failure = {
        "kind": "nan",
        "message": "loss is not a number from step 120 on",
        "hint": "Lower learning_rate by ten.",
    }
    made.job("fast-1", "learning rate 1", state="failed", done=120, failure=failure,
             curve=lambda n: falling(n) * (1 if n < 60 else 1.09 ** (n - 60)))  # fmt: skip
    made.job("nasty-1", NASTY, done=40, state="cancelled", log=f"{NASTY}\n\x1b[31mred\x1b[0m\n")
    made.job("wait-1", "waits", state="queued", done=0, started=None)
    made.job("live-1", "goes on", state="running", done=80, curve=lambda n: falling(n) * 0.8, rate=0.6)
    base = told.experiment("pretrain from nothing", "base-1", 0.21, "kept")
    tuned = told.experiment("fine-tuned on chats", "tuned-1", 0.71, "kept", base.id)
    told.compare(base, tuned, "better", confirmed=True)
    crashed = told.experiment("learning rate 1", "fast-1", None, "crashed", base.id)
    nasty = told.experiment(NASTY, "nasty-1", 0.5, "discarded", tuned.id, notes=NASTY)
    told.compare(tuned, nasty, "worse")
    assert crashed.parent == base.id
    told.ledger.record_published(tuned.id, "local/calls", "http://127.0.0.1:8765/local/calls", "c" * 40)
    journal = Journal(folder / "journal.sqlite")
    journal.append("cell", {"step": 1, "code": "print(6 * 7)"})
    journal.append("cell_done", {"step": 1, "ok": True, "observation": "42"})
    journal.close()
    told.journal(("launch_training", True, {"value": {}}))
    work = made.workspace
    (work / "notes.md").write_text("# Notes\n")
    (work / "data").mkdir()
    (work / "data" / "train.csv").write_text("question,answer\n1+1,2\n")
    (work / "<img src=x onerror=window.bad=1>.txt").write_text("x")
    (work / ".hidden").write_text("secret")
    (work / "link.txt").symlink_to("/etc/passwd")
    (work / "folder").symlink_to("/etc")
    (folder / "evals" / "items" / "calls").mkdir(parents=True)
    (folder / "evals" / "items" / "calls" / "test.jsonl").write_text('{"label": "sealed"}\n')
    return made.close()
