"""A session's evidence, from a real ledger, real job folders and datasets; the numbers are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ml_intern.claims.evidence import Evidence
from ml_intern.claims.gathering import Heard, ToolTold, gathered
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Comparison, Ledger, Measured, Scores
from ml_intern.settings import Settings
from ml_intern.workspace.files import Files

PROMPT = "fine-tune tiny-base on chats.jsonl for at most 30 minutes, aim at 0.9 exact match, budget 5 usd"


def measured(value: float, low: float, high: float, n: int = 400) -> Measured:
    """A value with its interval."""
    return Measured(value=value, low=low, high=high, n=n, higher_is_better=True)


def _job(
    folder: Path, job: str, method: str, config: dict[str, Any], rows: list[dict[str, float]], s: float
) -> None:
    place = folder / "jobs" / job
    (place / "output" / "model").mkdir(parents=True)
    (place / "spec.json").write_text(json.dumps({"name": job, "method": method, "config": config}))
    status = {"id": job, "name": job, "method": method, "state": "succeeded", "created": 1.0, "seconds": s}
    (place / "status.json").write_text(json.dumps(status))
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "output" / "result.json").write_text(json.dumps({"parameters": 287_744, "tokens_seen": 81_920}))


def ledger_of(folder: Path) -> Ledger:
    """Four experiments: a baseline, a gain, one that is not clearly apart, one that crashed."""
    ledger = Ledger(folder / "ledger.sqlite")
    base = ledger.start("the defaults learn", "TRL's defaults")
    better = ledger.start("a larger step learns more", "learning rate 2e-3", parent=base.id)
    unclear = ledger.start("longer is better", "640 steps", parent=better.id)
    crashed = ledger.start("large batches", "batch 4096", parent=better.id)
    dev = {
        base.id: {
            "exact_match": measured(0.5425, 0.4925, 0.5925),
            "numeric_match": measured(0.6075, 0.5575, 0.655),
        },
        better.id: {
            "exact_match": measured(0.8575, 0.8225, 0.89),
            "numeric_match": measured(0.885, 0.8525, 0.915),
        },
        unclear.id: {
            "exact_match": measured(0.8700, 0.8350, 0.9025),
            "numeric_match": measured(0.8975, 0.8675, 0.925),
        },
    }
    for i, (id, metrics) in enumerate(dev.items()):
        steps, rate = (640 if id == unclear.id else 160), (2e-5 if id == base.id else 2e-3)
        told = {"learning_rate": rate, "max_steps": steps, "per_device_train_batch_size": 8, "method": "sft"}
        ledger.attach(
            id, job=f"run-{i + 1}", config=told, seconds=[41.2, 44.9, 171.3][i], usd=[0.02, 0.03, 0.11][i]
        )
        ledger.attach(id, data={"train": {"id": "chats@2", "rows": 8123, "sha256": "ab"}})
        scores = Scores(
            eval="chats", split="dev", model=f"w{i}", primary="exact_match", metrics=metrics, seconds=3.4
        )
        ledger.record(id, "chats", "dev", scores)
    ledger.finish(crashed.id, "crashed", "out of memory")
    for a, b, verdict, values in (
        (base.id, better.id, "better", (0.5425, 0.8575, 0.315, 0.2625, 0.3675, 0.0002)),
        (better.id, unclear.id, "inconclusive", (0.8575, 0.87, 0.0125, -0.0125, 0.0375, 0.36)),
    ):
        value_a, value_b, difference, low, high, p = values
        found = Comparison(
            a=a, b=b, eval="chats", metric="exact_match", value_a=value_a, value_b=value_b, difference=difference,
            low=low, high=high, p=p, n=400, higher_is_better=True, verdict=verdict, method="McNemar's mid-p",
            detectable=0.055,
        )  # type: ignore[arg-type]  # fmt: skip
        ledger.record_comparison(found)
    ledger.freeze(better.id, "w1")
    test = {"exact_match": measured(0.8325, 0.795, 0.8675), "numeric_match": measured(0.8625, 0.8275, 0.895)}
    ledger.record(
        better.id,
        "chats",
        "test",
        Scores(eval="chats", split="test", model="w1", primary="exact_match", metrics=test),
    )
    return ledger


def evidence_of(folder: Path, *told: ToolTold, printed: tuple[str, ...] = ()) -> Evidence:
    """What such a session knows."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(state=folder / "state")
    ledger = ledger_of(folder)
    for i, last in enumerate((2.3104, 0.4127, 0.3981), 1):
        steps = 640 if i == 3 else 160
        rows = [
            {
                "step": s,
                "loss": 5.2071 + (last - 5.2071) * s / steps,
                "mean_token_accuracy": 0.2 + 0.7331 * s / steps,
            }
            for s in range(0, steps + 1, 20)
        ]
        config = {"model": "tiny-base", "rows": 8123, "trainer": {"learning_rate": 2e-3, "max_steps": steps}}
        _job(folder, f"run-{i}", "sft", config, rows, [41.2, 44.9, 171.3][i - 1])
    _job(folder, "probe-1", "script", {"code": "print(0.97)"}, [{"step": 1, "accuracy": 0.9731}], 2.0)
    files = Files(folder / "workspace", folder, [], [], [])
    store = DatasetStore(folder / "datasets", files, lambda ref: Path(), lambda *args: None)  # type: ignore[arg-type]
    lineage = Lineage(source="chats.jsonl", operation="deduplicate_dataset", rows_before=9001)
    store.save("chats", [{"text": f"row {i}"} for i in range(8123)], lineage)
    calls = (
        ToolTold(
            "inspect_dataset", {"source": "chats.jsonl"}, {"rows": 9001, "columns": ["prompt", "answer"]}
        ),
        ToolTold(
            "audit_dataset", {"source": "chats.jsonl"}, {"exact_duplicates": 611, "length": {"mean": 143.27}}
        ),
        ToolTold("read_paper", {"id": "2305.1"}, "We reach 61.7% on the benchmark with 7B parameters."),
        ToolTold("list_hardware", {}, {"cpu_cores": 2, "memory_gb": 16}),
    )
    heard = Heard(
        told=(*calls, *told),
        said=(PROMPT,),
        printed=("0.9731\nmedian length 88.5", *printed),
        budget={"usd": {"spent": 0.16, "cap": 5.0}, "seconds": {"spent": 742.0, "cap": 1800.0}},
        seconds=742.0,
    )
    return gathered(ledger, Jobs(folder / "jobs", None, settings, lambda event: None), store, None, heard)
