"""The dataset tools as a cell calls them: JSON in, JSON out, real files, real evaluations."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.scorers import SCORERS, ScorerName
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.local import LocalSandbox
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in
from ml_intern.tools import auditing, datasets, deduplication, filtering, mixing, reshaping, splitting
from ml_intern.workspace.files import Files

ROOMS = (auditing, datasets, deduplication, filtering, mixing, reshaping, splitting)
TOOLS = {spec.name: spec for room in ROOMS for spec in specs_in(room)}
Call = Callable[..., dict[str, Any]]
_BOTH = {"prompt": "text", "completion": "text"}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    for name in ("work", "project", "session"):
        (tmp_path / name).mkdir()
    folder = tmp_path / "session"
    files = Files(tmp_path / "work", tmp_path / "project")
    settings = Settings.load(state=tmp_path / "state")
    ledger = Ledger(folder / "ledger.sqlite", lambda event: None)
    nothing: Any = None
    yield Services(
        session="test",
        folder=folder,
        settings=settings,
        files=files,
        datasets=DatasetStore(folder / "datasets", files),
        jobs=nothing,
        ledger=ledger,
        evals=Evals(folder / "evals", nothing, ledger, settings),
        hub=nothing,
        emit=lambda event: None,
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


@pytest.fixture
def work(services: Services) -> Path:
    return services.files.workspace


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _package(folder: Path, files: int = 20) -> Path:
    """A folder of Python files; half of its code lines do not parse alone."""
    folder.mkdir()
    for n in range(files):
        body = "".join(f"def function_{n}_{k}(x):\n    return compute_{n}_{k}(x)\n" for k in range(20))
        (folder / f"module_{n}.py").write_text(f'"""Module {n}."""\nimport common_to_all\n{body}')
    return folder


def _sealed(services: Services, name: str) -> list[dict[str, Any]]:
    """What the host keeps, as a test may look and no cell can."""
    file = services.folder / "evals" / "items" / name / "items.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_inspecting_shows_little_and_says_how_to_see_more(call: Call, work: Path) -> None:
    _write_lines(work / "a.jsonl", [{"text": "x" * 1000, "n": n} for n in range(100)])
    view = call("inspect_dataset", source="a.jsonl", rows=2)
    assert (view["rows"], view["columns"]) == (100, {"text": "text", "n": "integer"})
    assert (view["format"], view["methods"]) == ("language_modeling", ["pretrain", "sft"])
    assert len(view["sample"]) == 2
    assert view["sample"][0]["text"].endswith("… (1000 characters)")
    assert "offset=2" in view["more"]
    rest = call("inspect_dataset", source="a.jsonl", rows=200, offset=98, chars=2000)
    assert [row["n"] for row in rest["sample"]] == [98, 99]
    assert len(rest["sample"][0]["text"]) == 1000
    assert rest["more"] == ""
    wide = [{f"column {c}": "word " * 100 for c in range(60)} for _ in range(60)]
    _write_lines(work / "wide.jsonl", wide)
    for name in ("a", "wide"):
        assert (
            len(json.dumps(call("inspect_dataset", source=f"{name}.jsonl", rows=10_000, chars=10_000)))
            < 30_000
        )
    assert call("inspect_dataset", source="a.jsonl", offset=1000, rows=-3)["sample"] == []


def test_inspecting_tells_which_tool_comes_next(call: Call, work: Path) -> None:
    _write_lines(work / "a.jsonl", [{"question": "1+1?", "answer": "2"}])
    view = call("inspect_dataset", source="a.jsonl")
    assert view["format"] == "unknown"
    assert "prompt_completion" in view["notes"][0]


def test_statements_are_audited_split_sealed_and_filtered(call: Call, services: Services, work: Path) -> None:
    _package(work / "src")
    audit = call("audit_dataset", source="src")
    assert audit["python_parse_share"] == pytest.approx(0.5, abs=0.05)
    split = call(
        "split_dataset", source="src", seal_where="parses_python(text)", seal="held-out", name="train"
    )
    assert (split["train"], split["eval"], split["group"]) == ("train@1", "held-out", "file")
    assert split["scorers"] == ["bits_per_byte", "python_parses"]
    assert split["dropped_duplicates"] >= 15  # The import that all files share.

    items = _sealed(services, "held-out")
    train = services.datasets.open("train@1").rows
    assert {item["split"] for item in items} == {"dev", "test"}
    assert all(item["input"].startswith(("return", "import")) for item in items)
    assert {item["input"] for item in items}.isdisjoint(train["text"])
    assert {item["group"] for item in items}.isdisjoint(train["file"])
    assert services.evals.guard(train.to_dicts()).clean

    clean = call("filter_dataset", source="train@1", where="parses_python(text)")
    assert clean["rows"] < clean["rows_before"] == train.height
    assert call("audit_dataset", source=clean["id"])["python_parse_share"] == 1


def test_sealed_rows_are_in_no_file_but_the_hidden_ones(call: Call, services: Services, work: Path) -> None:
    texts = [f"sentence number {n} of the source" for n in range(200)]
    (work / "a.txt").write_text("\n".join(texts))
    call("split_dataset", source="a.txt")
    sealed = [item["input"] for item in _sealed(services, "a")]
    assert len(sealed) == 20
    for file in services.folder.rglob("*"):
        if file.is_file() and services.folder / "evals" not in file.parents:
            content = file.read_bytes()
            assert not any(text.encode() in content for text in sealed), file
    for version in services.datasets.list():
        assert set(sealed).isdisjoint(services.datasets.open(version.id).rows["text"])


def test_the_same_call_again_gives_the_same_and_makes_nothing(
    call: Call, services: Services, work: Path
) -> None:
    _package(work / "src")
    first = call("split_dataset", source="src", seed=3)
    assert call("split_dataset", source="src", seed=3) == first
    assert [info.id for info in services.datasets.list()] == [first["train"]]
    with pytest.raises(ToolError, match="holds other rows"):
        call("split_dataset", source="src", seed=4)
    # What one evaluation holds, no other takes: this seed draws other files.
    assert call("split_dataset", source="src", seed=5, seal="second")["eval"] == "second"


def test_a_second_evaluation_keeps_training_data_clean_of_the_first(
    call: Call, services: Services, work: Path
) -> None:
    (work / "a.txt").write_text("\n".join(f"sentence number {n} of the source" for n in range(300)))
    call("split_dataset", source="a.txt", seed=0, seal="first")
    second = call("split_dataset", source="a.txt", seed=1, seal="second")
    train = services.datasets.open(second["train"]).rows
    assert second["dropped_duplicates"] > 0
    assert services.evals.guard(train.to_dicts()).clean


def test_cells_read_the_training_set_and_nothing_that_is_held_out(
    call: Call, services: Services, work: Path
) -> None:
    """In the real sandbox, as another user where the host is root, and with a umask that closes files."""
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    texts = [f"sentence {n}" for n in range(200)]
    (work / "a.txt").write_text("\n".join(texts))
    before = os.umask(0o077)
    try:
        stored = call("reformat_dataset", source="a.txt", target="lines", name="all")
        sandbox, limits = LocalSandbox(), Limits()
        mounts = Mounts(work, read_only=[services.datasets.folder], hidden=[services.folder])

        def cell(path: str) -> str:
            code = f"import sys; sys.stdout.write(open({path!r}).read())"
            return run_in_sandbox(sandbox, mounts, limits, [sys.executable, "-I", "-c", code], 60).stdout

        assert cell(stored["path"]).count("sentence") == 200
        split = call("split_dataset", source=stored["id"], seal="held")
        assert cell(split["path"]).count("sentence") == split["rows"]["train"] == 180
        assert "FileNotFoundError" in cell(stored["path"])
    finally:
        os.umask(before)
        sandbox.stop()
    assert split["path"] == str(services.datasets.path(split["train"]))
    assert "Cells cannot read all@1 any more" in split["notes"][-1]


@pytest.mark.parametrize("source", ["a.txt", "all@1"])
def test_what_is_sealed_is_shown_by_no_tool(call: Call, services: Services, work: Path, source: str) -> None:
    """Short texts on purpose: each for itself is too short to refuse a training row."""
    (work / "a.txt").write_text("\n".join(f"text {n}" for n in range(60)))
    call("reformat_dataset", source="a.txt", target="lines", name="all")
    split = call("split_dataset", source="all", seal="held")
    sealed = {item["input"] for item in _sealed(services, "held")}
    assert len(sealed) == 6

    view = call("inspect_dataset", source=source, rows=50)
    assert view["rows"] == 54
    assert "6 rows that are held out in held are left out." in view["notes"]
    rest = call("inspect_dataset", source=source, rows=50, offset=50)["sample"]
    assert sealed.isdisjoint(row["text"] for row in view["sample"] + rest)
    made = [
        call("reformat_dataset", source=source, target="lines", name="reformatted"),
        call("reformat_dataset", source=source, target="prompt_completion", mapping=_BOTH, name="asked"),
        call("filter_dataset", source=source, where="1 = 1", name="filtered"),
        call("deduplicate_dataset", source=source, name="deduplicated"),
        call("mix_datasets", parts={source: 1, split["train"]: 1}, name="mixed"),
        call("split_dataset", source=source, seal=False, name="again"),
    ]
    for answer in made:
        assert any("are left out" in note for note in answer["notes"]), answer
    for info in services.datasets.list():
        found = sealed & set(info.path.read_text().replace('"', "\n").splitlines())
        assert bool(found) == info.path.is_symlink() == (info.id == "all@1")
    with pytest.raises(ToolError, match="'all@1' holds held-out rows"):
        services.datasets.path("all@1")


def test_the_training_set_is_shown_whole_and_the_same_split_again_is_the_same(call: Call, work: Path) -> None:
    _package(work / "src")
    call("reformat_dataset", source="src", target="statements", name="all")
    split = call("split_dataset", source="all", seal="held", seal_where="parses_python(text)", name="train")
    view = call("inspect_dataset", source=split["train"])
    assert (view["rows"], view["notes"]) == (split["rows"]["train"], [])
    again = call("split_dataset", source="all", seal="held", seal_where="parses_python(text)", name="train")
    assert {**again, "notes": []} == {**split, "notes": []}
    cleaned = call("filter_dataset", source=split["train"], where="parses_python(text)")
    assert cleaned["rows_before"] == split["rows"]["train"]


def test_a_source_of_which_every_row_is_held_out(call: Call, services: Services, work: Path) -> None:
    _write_lines(work / "test.jsonl", [{"question": f"q{n}", "answer": f"{n}"} for n in range(30)])
    rows = [{"question": f"q{n}", "answer": f"{n}"} for n in range(30)]
    services.evals.register("bench", rows, ["exact_match"])
    for name, more in (("inspect_dataset", {}), ("filter_dataset", {"where": "1 = 1"})):
        with pytest.raises(ToolError, match=r"'test.jsonl' is a copy of the sealed evaluation bench: 30 of"):
            call(name, source="test.jsonl", **more)
    _write_lines(work / "few.jsonl", rows[:5])
    assert call("inspect_dataset", source="few.jsonl")["rows"] == 0
    with pytest.raises(ToolError, match=r"Nothing is left of 'few.jsonl': 5 rows that are held out in bench"):
        call("filter_dataset", source="few.jsonl", where="1 = 1")


def test_the_help_of_a_split_names_the_scorers() -> None:
    spec = TOOLS["split_dataset"]
    for name in SCORERS:
        assert repr(name) in spec.signature
        assert name in spec.doc
    assert get_args(ScorerName) == tuple(SCORERS)
    assert spec.result_fields["path"] == "Path"


def test_at_most_so_many_rows(call: Call, work: Path) -> None:
    _package(work / "src")
    most = {"train": 50, "dev": 10, "test": 12}
    assert call("split_dataset", source="src", max_rows=most)["rows"] == most


def test_without_sealing_the_parts_are_datasets(call: Call, services: Services, work: Path) -> None:
    (work / "a.txt").write_text("\n".join(f"sentence {n}" for n in range(100)))
    split = call("split_dataset", source="a.txt", seal=False)
    assert split["eval"] is None
    assert split["datasets"] == {"dev": "a-dev@1", "test": "a-test@1"}
    assert services.datasets.info("a-dev").rows == split["rows"]["dev"]
    assert services.evals.list() == []


def test_questions_are_sealed_with_prompt_and_answer(call: Call, services: Services, work: Path) -> None:
    rows = [{"question": f"What is {n} + 1?", "answer": f"{n} + 1\n#### {n + 1}"} for n in range(100)]
    _write_lines(work / "qa.jsonl", rows)
    split = call("split_dataset", source="qa.jsonl")
    assert split["scorers"] == ["numeric_match", "exact_match"]
    item = _sealed(services, "qa")[0]
    assert item["input"].endswith("+ 1?\n")
    assert item["target"].startswith(item["input"].split()[2])


def test_words_as_answers_and_chosen_scorers(call: Call, services: Services, work: Path) -> None:
    _write_lines(
        work / "qa.jsonl",
        [{"prompt": f"Word {n}?", "completion": "yes" if n % 3 else "no"} for n in range(90)],
    )
    assert call("split_dataset", source="qa.jsonl")["scorers"] == ["exact_match"]
    asked = call(
        "split_dataset",
        source="qa.jsonl",
        seal="b",
        scorers=["exact_match", "bits_per_byte"],
        primary="bits_per_byte",
    )
    assert asked["primary"] == "bits_per_byte"
    with pytest.raises(ToolError, match="did you mean 'exact_match'"):
        call("split_dataset", source="qa.jsonl", seal="c", scorers=["exact_macht"])
    with pytest.raises(ToolError, match="is not one of the scorers"):
        call("split_dataset", source="qa.jsonl", seal="c", primary="bits_per_byte")
    assert {info.name for info in services.evals.list()} == {"qa", "b"}


def test_conversations_are_asked_in_chat(call: Call, services: Services, work: Path) -> None:
    rows = [{"question": f"How many {n}?", "answer": f"There are {n} of them."} for n in range(60)]
    _write_lines(work / "qa.jsonl", rows)
    chat = call("reformat_dataset", source="qa.jsonl", target="conversational")
    assert (chat["format"], chat["methods"]) == ("conversational", ["sft"])
    call("split_dataset", source=chat["id"], seal="chat")
    assert services.evals.get("chat").asking.chat
    assert _sealed(services, "chat")[0]["input"].startswith("How many")


def test_the_splits_that_a_benchmark_comes_with(call: Call, services: Services, work: Path) -> None:
    folder = work / "bench"
    folder.mkdir()
    _write_lines(folder / "train.jsonl", [{"prompt": f"train {n}", "completion": "a"} for n in range(50)])
    _write_lines(folder / "test.jsonl", [{"prompt": f"test {n}", "completion": "b"} for n in range(20)])
    split = call(
        "split_dataset", source="bench", own_splits=True, fractions={"train": 0.8, "dev": 0.1, "test": 0.1}
    )
    assert split["rows"]["test"] == 20
    assert {i["input"] for i in _sealed(services, "bench") if i["split"] == "test"} == {
        f"test {n}" for n in range(20)
    }
    with pytest.raises(ToolError, match="no held-out splits of its own"):
        call("split_dataset", source="bench/train.jsonl", own_splits=True)


def test_leaks_between_the_splits_of_a_folder_come_first(call: Call, work: Path) -> None:
    folder = work / "data"
    folder.mkdir()
    pl.DataFrame({"text": ["one", "two", "two"]}).write_parquet(folder / "train.parquet")
    pl.DataFrame({"text": ["Two ", "three"]}).write_parquet(folder / "test.parquet")
    audit = call("audit_dataset", source="data")
    leak = {"split": "test", "against": "train", "rows": 1, "share": 0.5, "row_numbers": [0]}
    assert audit["leaks"] == [leak]
    assert "1 rows of test (50.0%) stand in train too" in audit["findings"][0]


def test_every_dataset_tells_where_it_comes_from(call: Call, services: Services, work: Path) -> None:
    _write_lines(work / "qa.jsonl", [{"question": f"q{n % 9}", "answer": "a"} for n in range(10)])
    made = call("reformat_dataset", source="qa.jsonl", target="prompt_completion")
    once = call("deduplicate_dataset", source=made["id"])
    assert (made["id"], once["id"], once["rows"]) == (
        "qa-prompt-completion@1",
        "qa-prompt-completion-deduplicated@1",
        9,
    )
    lineage = services.datasets.info(once["id"]).lineage
    assert (lineage.operation, lineage.parents, lineage.rows_before, lineage.rows_after) == (
        "deduplicate_dataset",
        [made["id"]],
        10,
        9,
    )
    parent = services.datasets.info(made["id"])
    assert lineage.sha256 == parent.sha256
    assert (parent.lineage.source, parent.lineage.parents) == ("qa.jsonl", [])


def test_a_source_is_never_touched(call: Call, work: Path) -> None:
    file = _write_lines(work / "a.jsonl", [{"text": f"text {n}"} for n in range(100)])
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    call("filter_dataset", source="a.jsonl", where="text LIKE '%1%'")
    call("reformat_dataset", source="a.jsonl", target="lines")
    call("deduplicate_dataset", source="a.jsonl", near=True)
    call("split_dataset", source="a.jsonl")
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert [p.name for p in work.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("target", ["auto", "lines", "chunks", "paragraphs", "language_modeling"])
def test_text_in_every_unit(call: Call, work: Path, target: str) -> None:
    (work / "play.txt").write_text("A:\none two\n\nB:\nthree\n")
    made = call("reformat_dataset", source="play.txt", target=target, size=5)
    assert made["format"] == "language_modeling"
    assert made["rows"] == {"lines": 4, "chunks": 5, "paragraphs": 2}.get(target, 2)


def test_mixing_by_weight(call: Call, services: Services, work: Path) -> None:
    for name, count in (("a", 100), ("b", 10)):
        _write_lines(work / f"{name}.jsonl", [{"text": f"{name} {n}"} for n in range(count)])
    mixed = call("mix_datasets", parts={"a.jsonl": 3, "b.jsonl": 1}, rows=100)
    texts = services.datasets.open(mixed["id"]).rows["text"].to_list()
    b = [t for t in texts if t.startswith("b")]
    assert (len(texts), len(b)) == (100, 25)
    assert {b.count(t) for t in set(b)} == {2, 3}
    assert b != sorted(b)
    assert call("mix_datasets", parts={"a.jsonl": 3, "b.jsonl": 1}, rows=100) == mixed
    one = call("mix_datasets", parts={"b.jsonl": 1}, rows=25, name="more")
    assert (one["rows"], one["rows_before"]) == (25, 10)
    shuffled = services.datasets.open(call("mix_datasets", parts={"a.jsonl": 2})["id"]).rows["text"].to_list()
    assert shuffled != sorted(shuffled, key=lambda t: int(t[2:])) == [f"a {n}" for n in range(100)]
    fair = call("mix_datasets", parts={"a.jsonl": 3, "b.jsonl": 1}, upsample=False)
    assert fair["rows"] == 40
    with pytest.raises(ToolError, match="has 10 rows, 25 are wanted"):
        call("mix_datasets", parts={"a.jsonl": 3, "b.jsonl": 1}, rows=100, upsample=False)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("inspect_dataset", {"source": "missing.jsonl"}, "There is no dataset or file 'missing.jsonl'"),
    ("inspect_dataset", {"source": "/etc/passwd"}, "lies outside of what tools may read"),
    ("inspect_dataset", {"source": "qa.jsonl", "split": "test"}, "has no splits"),
    ("inspect_dataset", {"source": "qa.jsonl", "row": 3}, "did you mean 'rows'"),
    ("inspect_dataset", {"source": "empty.jsonl"}, "empty.jsonl is empty"),
    ("audit_dataset", {"source": "broken.jsonl"}, "broken.jsonl line 2: not JSON"),
    ("audit_dataset", {"source": "qa.jsonl", "text": "qestion"}, "did you mean 'question'"),
    (
        "reformat_dataset",
        {"source": "qa.jsonl", "target": "prompt_completions"},
        "did you mean 'prompt_completion'",
    ),
    ("reformat_dataset", {"source": "ab.jsonl", "target": "prompt_completion"}, "the columns are a, b"),
    ("reformat_dataset", {"source": "qa.jsonl", "target": "chunks", "size": 0}, "size = 0"),
    (
        "reformat_dataset",
        {"source": "notes.txt", "target": "prompt_completion"},
        "which column is the prompt",
    ),
    ("reformat_dataset", {"source": "qa.jsonl", "target": "auto", "name": "../up"}, "no name for a dataset"),
    ("filter_dataset", {"source": "qa.jsonl", "where": "answr = 'a'"}, "did you mean 'answer'"),
    ("filter_dataset", {"source": "qa.jsonl", "where": "answer = 'z'"}, "No row of 30 meets"),
    ("filter_dataset", {"source": "qa.jsonl", "where": "answer ="}, "cannot be used"),
    ("deduplicate_dataset", {"source": "qa.jsonl", "columns": ["x"]}, "There is no column 'x'"),
    ("split_dataset", {"source": "qa.jsonl", "fractions": {"train": 0.5, "dev": 0.2}}, "add up to 0.7"),
    ("split_dataset", {"source": "qa.jsonl", "group": "answer"}, "1 groups cannot make 3 splits"),
    ("split_dataset", {"source": "ab.jsonl"}, "what an evaluation asks"),
    ("split_dataset", {"source": "qa.jsonl", "seal": "no/name"}, "'no/name'"),
    ("split_dataset", {"source": "qa.jsonl", "name": "../up"}, "no name for a dataset"),
    ("mix_datasets", {"parts": {}}, "needs a part"),
    ("split_dataset", {"source": "qa.jsonl", "scorers": ["numeric_macth"]}, "did you mean 'numeric_match'"),
    ("split_dataset", {"source": "qa.jsonl", "primary": "bits_per_bite"}, "did you mean 'bits_per_byte'"),
    ("mix_datasets", {"parts": {"qa.jsonl": 1, "ab.jsonl": 0}}, "The weight of 'ab.jsonl' is 0"),
    ("mix_datasets", {"parts": {"qa.jsonl": 1, "ab.jsonl": 1}}, "have different columns"),
    ("mix_datasets", {"parts": {"qa.jsonl": 1, "notes.txt": 1e9}, "rows": 5}, "would get no row"),
]


@pytest.mark.parametrize(("name", "arguments", "told"), WRONG, ids=[f"{n}-{t[:30]}" for n, _, t in WRONG])
def test_a_wrong_call_is_one_clear_line_and_makes_nothing(
    call: Call, services: Services, work: Path, name: str, arguments: dict[str, Any], told: str
) -> None:
    _write_lines(work / "qa.jsonl", [{"question": f"q{n}", "answer": "a"} for n in range(30)])
    _write_lines(work / "ab.jsonl", [{"a": f"x{n}", "b": f"y{n}"} for n in range(30)])
    (work / "notes.txt").write_text("one\ntwo\n")
    (work / "empty.jsonl").write_text("")
    (work / "broken.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ToolError) as caught:
        call(name, **arguments)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert services.datasets.list() == []
    assert services.evals.list() == []


@pytest.mark.thorough
def test_the_standard_library_from_end_to_end(call: Call, services: Services) -> None:
    view = call("inspect_dataset", source="python-stdlib")
    assert (view["unit"], view["group"]) == ("statements", "file")
    audit = call("audit_dataset", source="python-stdlib")
    assert 0.3 < audit["python_parse_share"] < 0.8
    split = call(
        "split_dataset",
        source="python-stdlib",
        seal_where="parses_python(text)",
        max_rows={"train": 20_000, "dev": 400, "test": 400},
    )
    assert split["rows"] == {"train": pytest.approx(20_000, abs=500), "dev": 400, "test": 400}
    assert services.evals.get("python-stdlib").rows == {"dev": 400, "test": 400}


def test_what_a_split_has_closed_has_a_way_on_that_works(call: Call, services: Services, work: Path) -> None:
    _package(work / "src")
    call("reformat_dataset", source="src", target="statements", name="all")
    split = call("split_dataset", source="all", seal="held", name="rest")
    with pytest.raises(ToolError) as closed:
        services.datasets.path("all")
    assert f"Use {split['train']}, made of it without them" in closed.value.hint
    services.datasets.path(split["train"])
    # The other way that it names: all rows but those that are held out.
    made = re.search(r"filter_dataset\('(.+?)', where='(.+?)', name='(.+?)'\)", closed.value.hint)
    assert made is not None
    opened = call("filter_dataset", source=made[1], where=made[2], name=made[3])
    services.datasets.path(opened["id"])
    assert opened["rows_before"] == split["rows_before"] > opened["rows"]
    assert opened["rows"] + sum(opened["left_out"].values()) == opened["rows_before"]
    assert services.datasets.info(opened["id"]).lineage.rows_before == split["rows_before"]


def test_what_is_sealed_as_a_whole_says_how_a_part_of_it_could_be_used(call: Call, work: Path) -> None:
    rows = [{"prompt": f"How much is {n} times 7?", "completion": f"It is {n * 7}."} for n in range(60)]
    _write_lines(work / "sums.jsonl", rows)
    call("split_dataset", source="sums.jsonl", fractions={"train": 0.02, "dev": 0.49, "test": 0.49})
    for tool, more in (
        ("filter_dataset", {"where": "1 = 1", "name": "open"}),
        ("split_dataset", {"seal": "again", "fractions": {"train": 0.02, "dev": 0.98}}),
    ):
        with pytest.raises(ToolError, match="sealed") as refused:
            call(tool, source="sums.jsonl", **more)
        assert "split first, in a new session" in refused.value.hint, tool


def test_mirrored_questions_are_found_between_splits_and_within_one(call: Call, work: Path) -> None:
    sums = [(3, 4), (5, 6), (10, 2), (8, 8)]
    made = {
        "train": [{"prompt": f"What is {a}+{b}?", "completion": f"{a + b}"} for a, b in sums],
        "test": [{"prompt": f"What is {b}+{a}?", "completion": f"{a + b}"} for a, b in [*sums, (7, 9)]],
    }
    folder = work / "data"
    folder.mkdir()
    for name, rows in made.items():
        _write_lines(folder / f"{name}.jsonl", rows)
    audit = call("audit_dataset", source="data")
    # 8+8 is the very same, and 9+7 stands nowhere else.
    assert [(k["split"], k["against"], k["row_numbers"]) for k in audit["leaks"]] == [("test", "train", [3])]
    [leak] = audit["reordered_leaks"]
    assert (leak["rows"], leak["row_numbers"], leak["share"]) == (3, [0, 1, 2], 0.6)
    assert any("3+4 and 4+3" in told for told in audit["findings"])
    _write_lines(work / "all.jsonl", [*made["train"], *made["test"]])
    audit = call("audit_dataset", source="all.jsonl")
    assert (audit["reordered"], audit["evidence"]["words in another order"]) == (3, [4, 5, 6])
    assert any(
        told.startswith("3 rows (33.3%) have the words of an earlier one") for told in audit["findings"]
    )
