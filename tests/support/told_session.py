"""A session's folder that has something of everything a report tells, written without running anything."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from ml_intern.journal.journal import Journal
from ml_intern.ledger import Comparison, Experiment, Ledger, Measured, Scores

SHA = "ab" * 32


class Told:
    """Writes a session piece by piece."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.random = random.Random(7)
        card = {"id": folder.name, "prompt": "make a model that counts calls", "status": "done", "model": "m"}
        (folder / "session.json").write_text(json.dumps({**card, "created": "2026-11-21T13:00:00+00:00"}))

    def job(
        self, name: str, method: str, curve: Any, steps: int = 200, state: str = "succeeded", gpus: int = 0
    ) -> str:
        """A job with its metrics: `curve` gives the loss at a step."""
        folder = self.folder / "jobs" / name
        folder.mkdir(parents=True)
        failure = (
            {"kind": "nan", "message": "loss is not a number at step 120"} if state == "failed" else None
        )
        status = {"method": method, "state": state, "created": len(list(folder.parent.iterdir())),
                  "seconds": steps / 10, "failure": failure}  # fmt: skip
        (folder / "status.json").write_text(json.dumps(status))
        (folder / "spec.json").write_text(json.dumps({"place": {"gpus": gpus}}))
        rows = [
            {"step": n, "loss": curve(n) * (1 + self.random.gauss(0, 0.05)), "grad_norm": 1.0,
             "learning_rate": 1e-3 * (1 - n / steps), "total_steps": steps}
            for n in range(1, steps + 1)
        ]  # fmt: skip
        (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return name

    def experiment(
        self, change: str, job: str, value: float | None, verdict: str = "", parent: str | None = None,
        notes: str = "", seed: int = 0, replicates: str | None = None,
    ) -> Experiment:  # fmt: skip
        """A row with its score and verdict."""
        row = self.ledger.start("it helps", change, parent, seed, replicates=replicates)
        self.ledger.attach(
            row.id, job=job, seconds=20.5, usd=0.02, config={"method": "sft", "change": change.partition(", seed")[0]},
            data={"train": {"id": "calls-train@1", "rows": 8000, "sha256": SHA}}, code_hash=SHA,
        )  # fmt: skip
        if value is not None:
            self.ledger.record(row.id, "calls", "dev", scores("dev", value, f"weights of {row.id}"))
        if verdict:
            self.ledger.finish(row.id, verdict, notes)  # type: ignore[arg-type]
        return self.ledger.get(row.id)

    def compare(self, a: Experiment, b: Experiment, verdict: str, confirmed: bool | None = None) -> None:
        """A paired comparison."""
        assert a.score and b.score
        gain = b.score.value - a.score.value
        self.ledger.record_comparison(
            Comparison(
                a=a.id, b=b.id, eval="calls", metric="exact_match", value_a=a.score.value,
                value_b=b.score.value, difference=gain, low=gain - 0.03, high=gain + 0.03, p=0.00002, n=500,
                higher_is_better=True, verdict=verdict, method="McNemar", variants=3, p_corrected=0.00006,
                confirmed=confirmed, new_seeds=2 if confirmed else 0, seeds_b=3 if confirmed else 1,
                detectable=0.06, says=f"{b.id} is {verdict} than {a.id}",
            )  # type: ignore[arg-type]
        )  # fmt: skip

    def dataset(self, id: str, operation: str, source: str, before: int, rows: int, *parents: str) -> None:
        """A dataset's lineage."""
        name, _, version = id.partition("@")
        folder = self.folder / "datasets" / name / version
        folder.mkdir(parents=True)
        made = {"source": source, "operation": operation, "rows_before": before, "parents": parents}
        told = {
            "id": id,
            "rows": rows,
            "sha256": SHA,
            "lineage": made,
            "created": float(len(list(folder.parents[1].iterdir()))),
        }
        (folder / "lineage.json").write_text(json.dumps(told))

    def seal(self, name: str = "calls") -> None:
        """An evaluation without its items."""
        folder = self.folder / "evals" / "items" / name
        folder.mkdir(parents=True)
        told = {"name": name, "rows": {"dev": 500, "test": 500}, "scorers": ["exact_match"], "sha256": SHA,
                "primary": "exact_match", "higher_is_better": True}  # fmt: skip
        (folder / "eval.json").write_text(json.dumps(told))

    def journal(self, *calls: tuple[str, bool, dict[str, Any]]) -> None:
        """Calls with what came of them: tool, whether it went well, the result or refusal."""
        journal = Journal(self.folder / "journal.sqlite")
        for n, (tool, ok, told) in enumerate(calls):
            journal.append(
                "intent", {"call": f"call-{n}", "tool": tool, "arguments": told.get("arguments", {})}
            )
            journal.append("result", {"call": f"call-{n}", "ok": ok, **told})
        spent = {"usd": 1.25, "tokens": 120_000, "gpu_hours": 0.5, "seconds": 3700.0}
        journal.append("finished", {"budget": {"spent": spent}})
        journal.close()

    def close(self) -> Path:
        """The folder."""
        self.ledger.close()
        return self.folder


def scores(split: str, value: float, model: str) -> Scores:
    """One scoring."""
    found = Measured(value=value, low=value - 0.04, high=value + 0.04, n=500, higher_is_better=True)
    return Scores(
        eval="calls", split=split, model=model, primary="exact_match",  # type: ignore[arg-type]
        metrics={"exact_match": found},
    )  # fmt: skip


def falling(n: int) -> float:
    """A loss as it should be."""
    return 0.8 + 5 * math.exp(-n / 40)


def diverging(n: int) -> float:
    """A loss that goes up and away."""
    return falling(n) if n < 60 else falling(60) * 1.12 ** (n - 60)


def everything(folder: Path) -> Path:
    """Pretraining, fine-tuning, preferences, a sweep, all verdicts, replications, a run that diverged."""
    told = Told(folder)
    told.seal()
    told.dataset("calls-train@1", "split_dataset", "/home/ada/my data/calls.jsonl", 10_000, 8000)
    told.dataset("calls-clean@1", "filter_dataset", "calls-train@1", 8000, 7311, "calls-train@1")
    told.dataset("pairs@1", "reformat_dataset", "owner/pairs:train", 900, 900)
    told.dataset("mix@1", "mix_datasets", "calls-clean@1 + pairs@1", 8211, 9000, "calls-clean@1", "pairs@1")
    base = told.experiment("pretrain from nothing", told.job("base-1", "pretrain", falling), 0.21, "kept")
    sft = told.experiment(
        "fine-tuned", told.job("tuned-1", "sft", lambda n: falling(n) / 2, gpus=1), 0.71, "kept", base.id,
        notes="0.71 against 0.21, and 98.7% on my own laptop",
    )  # fmt: skip
    told.compare(base, sft, "better", confirmed=True)
    dpo = told.experiment(
        "preferences on top", told.job("preferred-1", "dpo", falling, 60), 0.72, "inconclusive", sft.id
    )
    told.compare(sft, dpo, "inconclusive")
    told.experiment(
        "learning rate 1", told.job("too-fast-1", "sft", diverging, 200, "failed"), None, "crashed", base.id
    )
    worse = told.experiment("half of the data", told.job("half-1", "sft", falling), 0.6, "discarded", sft.id)
    told.compare(sft, worse, "worse")
    for n in range(12):
        name = told.job(f"sweep-1-trial-{n}-1", "sft", falling, 40)
        told.experiment(f"learning_rate={n}e-4", name, 0.5 + n / 60, "discarded", base.id)
    for n in (11, 12):
        name = told.job(f"again-{n}-1", "sft", falling)
        told.experiment(
            f"fine-tuned, seed {n}", name, 0.7, "inconclusive", base.id, seed=n, replicates=sft.id
        )
    told.ledger.freeze(sft.id, f"weights of {sft.id}")
    told.ledger.record(sft.id, "calls", "test", scores("test", 0.705, f"weights of {sft.id}"))
    told.ledger.record_published(sft.id, "local/calls", "http://127.0.0.1:8765/local/calls", "c" * 40)
    told.journal(
        ("split_dataset", True, {"value": {"dropped_duplicates": 7, "notes": []}}),
        ("filter_dataset", True, {"value": {"notes": ["12 rows that are held out in calls are left out."]}}),
        ("launch_training", False, {"message": "3 of 100 training rows hold items of calls: 3 as it stands"}),
        ("publish_model", False, {"message": "It is public, and nobody said yes.", "denied": True}),
        ("launch_training", False, {"message": "learning_rte is no field, did you mean learning_rate?"}),
        ("read_paper", True, {"arguments": {"id": "2305.18290"}, "value": {}}),
    )
    return told.close()


def many(folder: Path, count: int) -> Path:
    """So many experiments, each with a job and a score."""
    told = Told(folder)
    told.seal()
    first = told.experiment("a baseline", told.job("first-1", "sft", falling), 0.3, "kept")
    for n in range(1, count):
        job = told.job(f"run-{n}-1", "sft", falling, 20)
        told.experiment(f"change {n}", job, 0.3 + (n % 7) / 100, "discarded", first.id, notes=f"no gain {n}")
    return told.close()
