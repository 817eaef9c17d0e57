from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ml_intern.errors import InternError, ToolError
from ml_intern.events import Event, ExperimentChanged
from ml_intern.ledger import Experiment, ItemScores, Ledger, Measured, Scores


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def ledger(tmp_path: Path, told: list[Event]) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite", told.append)


def scores(value: float, eval: str = "held-out", model: str = "m") -> Scores:
    name = "bits_per_byte"
    measured = Measured(value=value, low=value - 0.1, high=value + 0.1, n=400, higher_is_better=False)
    items = {name: ItemScores(np.full(3, value), np.ones(3), np.array([0, 0, 1]))}
    return Scores(eval=eval, split="dev", model=model, primary=name, metrics={name: measured}, items=items)


def record(ledger: Ledger, experiment: Experiment, value: float) -> None:
    ledger.record(experiment.id, "held-out", "dev", scores(value, model=experiment.id))


def test_another_stage_takes_the_place_of_the_first_ones_configuration(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    e = ledger.start("two stages", "answers after text")
    ledger.attach(e.id, job="a", config={"method": "pretrain", "lr_scheduler_type": "constant"})
    ledger.attach(e.id, job="b", config={"method": "sft", "model": "a", "max_steps": 5})
    ledger.attach(e.id, job="b", config={"recoveries": 1})
    row = ledger.get(e.id)
    assert row.config == {"method": "sft", "model": "a", "max_steps": 5, "recoveries": 1}
    assert row.jobs == ["a", "b"]


def test_an_experiment_from_start_to_finish(ledger: Ledger, told: list[Event]) -> None:
    base = ledger.start("the defaults learn something", "baseline", seed=3)
    child = ledger.start("steps are too small", "learning rate 3e-3", parent=base.id)
    assert (base.id, child.id, child.parent, base.verdict) == ("exp-1", "exp-2", "exp-1", "open")
    assert base.environment["python"] == ".".join(map(str, sys.version_info[:3]))
    ledger.attach(
        child.id, job="train-1", config={"learning_rate": 3e-3}, seconds=8.5, facts={"parameters": 302_000}
    )
    ledger.attach(
        child.id, data={"train": {"id": "statements@2", "rows": 8000, "sha256": "ab"}}, code_hash="cd"
    )
    record(ledger, child, 3.75)
    closed = ledger.finish(child.id, "kept", "as expected")
    assert closed == ledger.get("exp-2")
    assert (closed.jobs, closed.cost.seconds, closed.data["train"]["rows"]) == (["train-1"], 8.5, 8000)
    assert closed.score == closed.metrics["bits_per_byte"] == closed.dev["bits_per_byte"]
    assert closed.finished is not None
    last = told[-1]
    assert isinstance(last, ExperimentChanged)
    assert (last.experiment, last.verdict, last.metrics) == ("exp-2", "kept", {"bits_per_byte": 3.75})


def test_saying_it_again_changes_nothing(ledger: Ledger) -> None:
    first = ledger.start("h", "c", key="call-1")
    assert ledger.start("h", "c", key="call-1") == first
    assert ledger.by_key("call-1") == first
    assert ledger.by_key("call-2") is None
    for port in (1, 2):  # an embedded Hub has another one in each process
        ledger.attach(first.id, job="a", seconds=2.0)
        ledger.attach(first.id, job="b", seconds=3.0, usd=0.5)
        ledger.record_published(first.id, "me/model", f"http://x:{port}", "c0ffee")
    now = ledger.get(first.id)
    assert (now.jobs, now.cost.seconds, now.cost.usd, len(now.published)) == (["a", "b"], 5.0, 0.5, 1)
    assert len(ledger.list()) == 1


def test_what_is_not_there(ledger: Ledger) -> None:
    with pytest.raises(ToolError, match="start_experiment"):
        ledger.get("exp-1")
    ledger.start("h", "c")
    with pytest.raises(ToolError, match="did you mean 'exp-1'"):
        ledger.get("exp1")
    with pytest.raises(ToolError, match="no experiment 'exp-9'"):
        ledger.start("h", "c", parent="exp-9")
    assert len(ledger.list()) == 1


def test_best_prefers_what_was_kept_and_follows_the_direction(ledger: Ledger) -> None:
    assert ledger.best() is None
    a, b, c, d = (ledger.start("h", name) for name in "abcd")
    for e, value in ((a, 5.0), (b, 4.0), (c, 3.0)):
        record(ledger, e, value)
    assert ledger.best().id == c.id  # type: ignore[union-attr]
    ledger.finish(a.id, "kept")
    ledger.finish(b.id, "kept")
    ledger.finish(c.id, "discarded")
    assert ledger.best().id == b.id  # type: ignore[union-attr]
    assert ledger.best("accuracy") is None
    assert ledger.get(d.id).score is None


def test_two_evals_with_a_metric_of_one_name_stay_apart(ledger: Ledger) -> None:
    e = ledger.start("h", "c")
    ledger.record(e.id, "code", "dev", scores(3.0, "code"))
    ledger.record(e.id, "prose", "dev", scores(5.0, "prose"))
    ledger.record(e.id, "code", "dev", scores(2.9, "code"))
    assert {k: m.value for k, m in ledger.get(e.id).dev.items()} == {
        "bits_per_byte": 2.9,
        "bits_per_byte of prose": 5.0,
    }


def test_items_are_kept_but_shown_to_nobody(ledger: Ledger) -> None:
    e = ledger.start("h", "c")
    record(ledger, e, 3.0)
    assert ledger.scores(experiment=e.id)[0].items == {}
    [kept] = ledger.scores(experiment=e.id, items=True)
    assert kept.items["bits_per_byte"].numerator.tolist() == [3, 3, 3]
    assert kept.items["bits_per_byte"].groups.tolist() == [0, 0, 1]  # type: ignore[union-attr]
    assert "numerator" not in kept.model_dump_json()
    assert ledger.queries("held-out") == 1


def test_one_experiment_is_frozen_and_stays_so(ledger: Ledger) -> None:
    a, b = ledger.start("h", "a"), ledger.start("h", "b")
    assert ledger.frozen() is None
    ledger.freeze(a.id, "weights")
    assert ledger.freeze(a.id, "weights").frozen
    with pytest.raises(ToolError, match="opened for exp-1"):
        ledger.freeze(b.id, "weights")
    with pytest.raises(ToolError, match="other weights"):
        ledger.freeze(a.id, "others")
    assert ledger.frozen().id == a.id  # type: ignore[union-attr]
    assert not ledger.get(b.id).frozen


def test_every_number_has_its_place(ledger: Ledger) -> None:
    e = ledger.start("this should give 99.7", "learning rate", seed=17)
    ledger.attach(
        e.id,
        job="train-1",
        config={
            "model": "scratch:0.3M",
            "trainer": {"learning_rate": 3e-3, "bf16": False},
            "sizes": [64, 128],
        },
        data={"train": {"id": "statements@2", "rows": 8123}},
        seconds=8.25,
        facts={"parameters": 270_816},
    )
    record(ledger, e, 3.75)
    ledger.finish(e.id, "kept", "I believe it is 42.5 now")
    found = {source: value for value, source in ledger.numbers()}
    assert found["exp-1 seed"] == 17
    assert found["exp-1 config model"] == 300_000
    assert found["exp-1 config trainer learning_rate"] == 3e-3
    assert found["exp-1 data train rows"] == 8123
    assert found["exp-1 data train id"] == 2
    assert found["exp-1 facts parameters"] == 270_816
    assert found["exp-1 cost seconds"] == 8.25
    assert (found["exp-1 dev bits_per_byte"], found["exp-1 dev bits_per_byte n"]) == (3.75, 400)
    assert found["number of experiments"] == 1
    # What the brain says is no source, and neither is a switch.
    assert not {99.7, 42.5} & {value for value, _ in ledger.numbers()}
    assert not any("bf16" in source for _, source in ledger.numbers())


def test_threads_write_whole_rows(ledger: Ledger) -> None:
    e = ledger.start("h", "c")

    def work(k: int) -> None:
        ledger.attach(e.id, job=f"job-{k}", config={f"field_{k}": k}, seconds=1.0)
        ledger.start("h", f"c{k}", key=f"key-{k % 5}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(20)))
    now = ledger.get(e.id)
    assert sorted(now.jobs) == sorted(f"job-{k}" for k in range(20))
    assert (len(now.config), now.cost.seconds) == (20, 20.0)
    assert [x.id for x in ledger.list()] == [f"exp-{k}" for k in range(1, 7)]


def test_values_without_a_finite_number_survive(ledger: Ledger) -> None:
    e = ledger.start("h", "c")
    ledger.attach(e.id, facts={"final_loss": math.nan, "worst": math.inf})
    assert math.isnan(ledger.get(e.id).facts["final_loss"])
    assert math.isinf(ledger.list()[0].facts["worst"])


def test_a_killed_writer_leaves_a_readable_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    writer = textwrap.dedent("""
        import itertools, sys
        from pathlib import Path
        from ml_intern.ledger import Ledger
        ledger = Ledger(Path(sys.argv[1]))
        for k in itertools.count():
            e = ledger.start("h", "c", key=f"k{k}")
            ledger.attach(e.id, job=f"job-{k}", config={"k": k, "pad": "x" * 500}, seconds=1.0)
            ledger.finish(e.id, "discarded", "done")
            print(k, flush=True)
    """)
    seen = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", writer, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            seen = max(seen, int(line))
            if int(line) % 20 == 19:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    ledger = Ledger(path)
    rows = ledger.list()
    assert len(rows) > seen
    # A second writer found the first one's rows by their keys.
    assert [e.id for e in rows] == [f"exp-{k + 1}" for k in range(len(rows))]
    assert all(e.verdict == "discarded" and len(e.jobs) == 1 for e in rows[: seen + 1])
    ledger.start("life", "goes on")
    assert len(ledger.list()) == len(rows) + 1


def test_a_reader_beside_the_writer(ledger: Ledger, tmp_path: Path) -> None:
    reader = Ledger(tmp_path / "ledger.sqlite")
    e = ledger.start("h", "c")
    assert reader.get(e.id) == e
    reader.close()


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"not a database at all, but long enough to be looked at" * 50)
    with pytest.raises(InternError, match="cannot be read"):
        Ledger(file)
