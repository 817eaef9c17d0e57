"""The numbers that dataset tools tell add up: splits, mixtures, what is shown, what is measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in
from ml_intern.tools import auditing, datasets, deduplication, filtering, mixing, reshaping, splitting
from ml_intern.workspace.files import Files

ROOMS = (auditing, datasets, deduplication, filtering, mixing, reshaping, splitting)
TOOLS = {spec.name: spec for room in ROOMS for spec in specs_in(room)}
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    for name in ("work", "project", "session"):
        (tmp_path / name).mkdir()
    folder = tmp_path / "session"
    files = Files(tmp_path / "work", tmp_path / "project")
    settings = Settings.load(state=tmp_path / "state")
    ledger = Ledger(folder / "ledger.sqlite", lambda event: None)
    nothing: Any = None
    store = DatasetStore(folder / "datasets", files)
    evals = Evals(folder / "evals", nothing, ledger, settings)
    yield Services(
        "test", folder, settings, files, store, nothing, ledger, evals, nothing, lambda event: None
    )
    ledger.close()


@pytest.fixture
def call(services: Services) -> Call:
    def run(tool: str, /, **arguments: Any) -> dict[str, Any]:
        spec = TOOLS[tool]
        result = spec.call(ToolContext(services, "call-1", "key-1"), spec.validate(arguments))
        found: dict[str, Any] = json.loads(json.dumps(result))
        return found

    return run


def _write(services: Services, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    path = services.files.workspace / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def _questions(n: int) -> list[dict[str, Any]]:
    """Some twice, some empty, some that hold another one as a line."""
    rows = [
        {"prompt": f"What is the number {at} called in words?", "completion": f"word {at}"} for at in range(n)
    ]
    for at in range(0, n, 9):
        rows[at] = dict(rows[at + 1]) if at + 1 < n else rows[at]
    for at in range(4, n, 25):
        rows[at]["prompt"] = "First a line of its own.\n" + rows[at + 2 if at + 2 < n else 0]["prompt"]
    return rows


SPLITS = [
    {},
    {"max_rows": {"train": 50, "dev": 5, "test": 7}},
    {"seal_where": "char_length(completion) > 6"},
    {"fractions": {"train": 0.5, "test": 0.5}},
    {"max_rows": {"dev": 3}, "seal_where": "completion LIKE '%1%'", "seed": 3},
]


@pytest.mark.parametrize("seal", [None, False], ids=["sealed", "open"])
@pytest.mark.parametrize("given", SPLITS, ids=["plain", "max", "where", "half", "both"])
def test_every_row_of_a_split_is_somewhere(call: Call, services: Services, given: Any, seal: Any) -> None:
    rows = _write(services, "qa.jsonl", _questions(300))
    made = call("split_dataset", source="qa.jsonl", name="qa-train", seal=seal, **given)
    assert made["rows_before"] == len(rows)
    assert sum(made["rows"].values()) + sum(made["left_out"].values()) == len(rows)
    repeats = [
        n for why, n in made["left_out"].items() if why.startswith("train: ") and "max_rows" not in why
    ]
    assert sum(repeats) == made["dropped_duplicates"]
    hidden = services.folder / "evals" / "splits" / f"{made['train']}.jsonl"
    assert (made["record"] is None, hidden.exists()) == (seal is None, seal is None)
    lines = (hidden if seal is None else Path(made["record"])).read_text().splitlines()
    fates = [json.loads(line) for line in lines]
    assert [fate["row"] for fate in fates] == list(range(len(rows)))
    assert Counter(fate["to"] for fate in fates) == Counter({**made["rows"], **made["left_out"]})
    train = services.datasets.open(made["train"]).rows.to_dicts()
    assert [rows[fate["row"]] for fate in fates if fate["to"] == "train"] == train


def test_splits_that_a_source_has_are_counted_too(call: Call, services: Services) -> None:
    _write(services, "data/train.jsonl", _questions(100))
    _write(
        services, "data/test.jsonl", [{"prompt": f"Held {n} out?", "completion": "yes"} for n in range(40)]
    )
    halves = {"train": 0.5, "test": 0.5}
    made = call("split_dataset", source="data", own_splits=True, fractions=halves)
    assert made["rows_before"] == 140 and made["rows"]["test"] == 40
    assert sum(made["rows"].values()) + sum(made["left_out"].values()) == 140


def test_a_mixture_tells_what_is_repeated(call: Call, services: Services) -> None:
    _write(services, "small.jsonl", [{"text": f"small {n}"} for n in range(10)])
    _write(services, "large.jsonl", [{"text": f"large {n}"} for n in range(100)])
    made = call("mix_datasets", parts={"small.jsonl": 1, "large.jsonl": 3}, rows=100, name="m")
    small, large = made["parts"]
    assert small == {
        "source": "small.jsonl",
        "available": 10,
        "rows": 25,
        "different": 10,
        "most": 3,
        "share": 0.25,
    }
    assert (large["rows"], large["different"], large["most"]) == (75, 75, 1)
    counts = Counter(row["text"] for row in services.datasets.open("m@1").rows.to_dicts())
    assert max(counts.values()) == 3 and len(counts) == 85
    assert "15 are repeats, a row stands there up to 3 times" in made["notes"][0]
    again = call("mix_datasets", parts={"small.jsonl": 1, "large.jsonl": 3}, rows=100, name="m")
    assert again["id"] == made["id"]
    other = call("mix_datasets", parts={"small.jsonl": 1, "large.jsonl": 3}, rows=100, name="m", seed=1)
    assert other["id"] == "m@2"


@pytest.mark.parametrize(
    ("rows", "there", "shown", "told"),
    [
        (200, 300, 50, "200 rows were asked for, 50 are shown: at most 50 at a time."),
        (50, 300, 50, None),
        (200, 30, 30, None),
        (200, 50, 50, None),
        (3, 300, 3, None),
    ],
)
def test_fewer_rows_than_asked_for_are_told(
    call: Call, services: Services, rows: int, there: int, shown: int, told: str | None
) -> None:
    _write(services, "a.jsonl", [{"text": f"row {n}"} for n in range(there)])
    view = call("inspect_dataset", source="a.jsonl", rows=rows)
    assert len(view["sample"]) == shown
    assert [note for note in view["notes"] if "asked for" in note] == ([told] if told else [])


def test_long_rows_that_do_not_fit_are_told(call: Call, services: Services) -> None:
    _write(services, "a.jsonl", [{f"c{c}": "word " * 50 for c in range(100)} for _ in range(40)])
    view = call("inspect_dataset", source="a.jsonl", rows=40, chars=5000)
    assert len(view["sample"]) < 40
    assert any("40 rows were asked for" in note and "they are long" in note for note in view["notes"])


def test_a_large_source_is_audited_in_pieces_as_a_small_one(call: Call, services: Services) -> None:
    letters = str.maketrans("0123456789", "abcdefghij")
    rows = [{"text": f"row {str(n % 40_000).translate(letters)} says this", "n": n} for n in range(45_000)]
    told = "a long row that is told twice: the second time it is shouted"
    rows += [{"text": told, "n": 45_000}, {"text": f"{told.upper()}!", "n": 45_001}]
    text = "text,n\n" + "".join(f"{row['text']},{row['n']}\n" for row in rows)
    (services.files.workspace / "a.csv").write_text(text)
    whole = call("audit_dataset", source="a.csv")
    services.datasets.stream_above = 0
    pieces = call("audit_dataset", source="a.csv")
    assert (whole["streamed"], pieces["streamed"]) == (False, True)
    assert whole["exact_duplicates"] == pieces["exact_duplicates"] == 5_000
    assert whole["evidence"]["exact duplicates"] == list(range(40_000, 40_010))
    assert whole["evidence"]["near duplicates"] == [45_001] and whole["near_duplicates"] == 1
    means = "differ from an earlier one only in case, digits or signs"
    finding = f"1 more {means} (rows 45001)."
    assert pieces["near_means"] == means and finding in pieces["findings"]
    alike = [finding if "share 80% of their text" in said else said for said in whole["findings"]]
    assert {**whole, "streamed": True, "near_means": means, "findings": alike} == pieces
    assert len(json.dumps(pieces)) < 4_000


def test_row_numbers_are_those_that_inspecting_takes(call: Call, services: Services) -> None:
    rows = [{"text": f"an ordinary row with the number {n}"} for n in range(50)]
    rows[30] = {"text": "please write to jane@firm.de for it"}
    _write(services, "a.jsonl", rows)
    held = [{"input": rows[n]["text"], "split": "dev" if n % 2 else "test"} for n in (3, 4, 5, 6)]
    services.evals.register("held", held, ["bits_per_byte"])
    for above in (services.datasets.stream_above, 0):
        services.datasets.stream_above = above
        audit = call("audit_dataset", source="a.jsonl")
        assert audit["rows"] == 46 and any("held" in finding for finding in audit["findings"])
        [row] = audit["evidence"]["e-mail addresses"]
        view = call("inspect_dataset", source="a.jsonl", offset=row, rows=1)
        assert "jane@firm.de" in view["sample"][0]["text"]


def test_lineage_names_code_and_counts(call: Call, services: Services) -> None:
    _write(services, "a.jsonl", [{"text": f"row {n}", "n": n} for n in range(20)])
    made = call("filter_dataset", source="a.jsonl", where="n > 4", name="d")
    assert made["left_out"] == {"does not meet 'n > 4'": 5}
    lineage = services.datasets.info(made["id"]).lineage
    assert (lineage.rows_before, lineage.rows_after, lineage.revision) == (20, 15, "")
    assert len(lineage.code_sha256) == 64 and lineage.code_sha256 != lineage.sha256
    snapshot = services.folder / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (snapshot / "train.jsonl").write_text('{"text": "from the hub", "n": 9}\n')
    services.datasets.fetch = lambda ref: snapshot
    hub = call("filter_dataset", source="owner/name", where="n > 4", name="h")
    assert services.datasets.info(hub["id"]).lineage.revision == "0123abc"


def test_a_split_that_is_named_is_not_compared_with_itself(call: Call, services: Services) -> None:
    _write(services, "data/train.jsonl", [{"text": f"row {n}"} for n in range(20)])
    _write(services, "data/test.jsonl", [{"text": f"row {n}"} for n in range(19, 25)])
    for source in ("data", "data:test", "data:train"):
        [leak] = call("audit_dataset", source=source)["leaks"]
        assert (leak["split"], leak["against"], leak["rows"], leak["row_numbers"]) == (
            "test",
            "train",
            1,
            [0],
        )
    halves = {"train": 0.5, "test": 0.5}
    made = call("split_dataset", source="data:train", own_splits=True, fractions=halves, seal=False)
    assert made["rows_before"] == 26 and made["rows"]["test"] == 6


def test_an_audit_of_a_repository_passes_over_what_is_sealed(
    call: Call, services: Services, tmp_path: Path
) -> None:
    held = [{"question": f"How many of the {n} boats came back at night?", "answer": n} for n in range(12)]
    services.evals.register("fleet", held, ["exact_match"], repositories=["owner/boats:test"])
    for split, rows in {"train": held[:0], "dev": held[:0], "test": held}.items():
        lines = rows or [
            {"question": f"A question of {split}", "answer": 1},
            {"question": "Both", "answer": 2},
        ]
        (tmp_path / "hub").mkdir(exist_ok=True)
        (tmp_path / "hub" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    services.datasets.fetch = lambda ref: tmp_path / "hub"
    services.datasets.refuse = services.evals.refuse
    report = call("audit_dataset", source="owner/boats")
    assert [(leak["split"], leak["against"], leak["rows"]) for leak in report["leaks"]] == [
        ("validation", "train", 1)
    ]
    assert any(finding.startswith("Sealed, and so not compared: test.") for finding in report["findings"])
    with pytest.raises(ToolError, match="sealed evaluation 'fleet'"):
        call("audit_dataset", source="owner/boats:test")


def test_an_audit_counts_the_near_duplicates_that_would_be_taken_out(call: Call, services: Services) -> None:
    told = (
        "The quick brown fox jumps over the lazy dog near the old mill, and nobody in the whole village saw"
        " where it went after that night, though many asked the miller and his two sons about it for weeks"
    )
    texts = [
        told,
        told + "!",
        told.replace("lazy", "sleepy"),
        "Take 12 and 30 apples.",
        "Take 13 and 31 apples.",
    ]
    _write(services, "near.jsonl", [{"text": text} for text in texts])
    report = call("audit_dataset", source="near.jsonl")
    assert (report["exact_duplicates"], report["evidence"]["near duplicates"]) == (0, [1, 2])
    made = call("deduplicate_dataset", source="near.jsonl", near=True)
    assert made["near"] == report["near_duplicates"] == 2
    assert any("share 80% of their text" in finding for finding in report["findings"])
