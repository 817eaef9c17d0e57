"""Datasets are versioned, whole, and know where they come from."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.errors import ToolError
from ml_intern.workspace.files import Files

texts = st.text(alphabet=st.characters(codec="utf-8"))
ROWS = [{"text": "größer", "n": 1}, {"text": "kleiner", "n": None}]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    for name in ("work", "project"):
        (tmp_path / name).mkdir()
    return DatasetStore(tmp_path / "datasets", Files(tmp_path / "work", tmp_path / "project"))


def _lineage(**more: object) -> Lineage:
    return Lineage(source="test", operation="make", **more)  # type: ignore[arg-type]


def test_what_is_saved_is_opened(store: DatasetStore) -> None:
    info = store.save("words", ROWS, _lineage(rows_before=3, arguments={"a": 1}))
    assert (info.id, info.rows, info.columns) == ("words@1", 2, {"text": "text", "n": "integer"})
    table = store.open("words@1")
    assert table.rows.to_dicts() == ROWS
    assert (table.parent, table.fingerprint) == ("words@1", info.sha256)
    assert [json.loads(line) for line in store.path("words").read_text().splitlines()] == ROWS
    assert store.info("words") == info
    assert (info.lineage.rows_before, info.lineage.rows_after, info.lineage.arguments) == (3, 2, {"a": 1})
    assert info.lineage.code


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries({"text": texts, "tags": st.lists(texts), "n": st.none() | st.integers(-9, 9)}),
        min_size=1,
    )
)
def test_any_rows_come_back_as_they_were(store: DatasetStore, rows: list[dict[str, object]]) -> None:
    assert store.open(store.save("any", rows, _lineage()).id).rows.to_dicts() == rows


def test_versions_and_the_newest(store: DatasetStore) -> None:
    assert [store.save("words", [{"text": t}], _lineage()).id for t in ("a", "b", "c")] == [
        "words@1",
        "words@2",
        "words@3",
    ]
    assert store.open("words").rows["text"].to_list() == ["c"]
    assert store.open("words@2").rows["text"].to_list() == ["b"]
    assert [info.id for info in store.list()] == ["words@1", "words@2", "words@3"]


def test_a_save_lists_the_versions_as_often_whatever_their_number(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []
    iterdir = Path.iterdir

    def noted(folder: Path) -> Iterator[Path]:
        listed.append(folder)
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", noted)

    def looks(text: str) -> int:
        listed.clear()
        store.save("words", [{"text": text}], _lineage())
        return len(listed)

    first, *later = [looks(text) for text in "abcdefgh"]
    assert first <= 2 and set(later) == {2}
    listed.clear()
    assert store.info("words@3").id == "words@3" and listed == []


def test_the_same_again_makes_nothing_new(store: DatasetStore) -> None:
    first = store.save("words", ROWS, _lineage())
    assert store.save("words", ROWS, _lineage()) == first
    assert store.save("words", ROWS, _lineage(arguments={"other": True})).id == "words@2"


def test_many_threads_get_versions_of_their_own(store: DatasetStore) -> None:
    other = DatasetStore(store.folder, store.files)
    made: list[str] = []

    def save(number: int) -> None:
        which = store if number % 2 else other
        made.append(which.save("words", [{"text": str(number)}], _lineage()).id)

    threads = [threading.Thread(target=save, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(f"words@{n}" for n in range(1, 13))
    assert sorted(store.open(ref).rows["text"][0] for ref in made) == sorted(map(str, range(12)))


def test_a_crash_while_writing_leaves_nothing_to_see(store: DatasetStore) -> None:
    store.save("words", ROWS, _lineage())
    (store.folder / "words" / ".draft-left" / "data.jsonl").parent.mkdir()
    assert [info.id for info in store.list()] == ["words@1"]
    assert store.save("words", ROWS[:1], _lineage()).id == "words@2"


def test_a_dataset_that_was_changed_on_disk_is_refused(store: DatasetStore) -> None:
    store.save("words", ROWS, _lineage())
    assert store.open("words").rows.height == 2
    store.path("words").write_text('{"text": "other"}\n')
    with pytest.raises(ToolError, match="was changed on disk"):
        store.open("words")
    (store.folder / "words" / "1" / "lineage.json").write_text("{")
    with pytest.raises(ToolError, match="is damaged"):
        store.open("words")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 200, "name@1"])
def test_names_that_are_no_folder(store: DatasetStore, name: str) -> None:
    with pytest.raises(ToolError, match="no name for a dataset"):
        store.save(name, ROWS, _lineage())


def test_no_rows_and_bytes_are_refused(store: DatasetStore) -> None:
    with pytest.raises(ToolError, match="0 of 9 rows"):
        store.save("words", [], _lineage(rows_before=9))
    with pytest.raises(ToolError, match="cannot be stored"):
        store.save("pictures", pl.DataFrame({"image": [b"\xff\x00"]}), _lineage())
    assert store.list() == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("wrods", "did you mean 'words'?"),
        ("words@9", "There are words@1"),
        ("data.jsnol", "did you mean 'data.jsonl'?"),
        ("python-stdlb", "did you mean 'python-stdlib'?"),
        ("owner/name", "There is no dataset or file 'owner/name'"),
        ("/etc/passwd", "lies outside of what tools may read"),
        ("../secret.txt", "lies outside of what tools may read"),
        (".ssh/id.txt", "lies outside of what tools may read"),
        ("", "Name a dataset"),
    ],
)
def test_what_cannot_be_opened(store: DatasetStore, source: str, told: str) -> None:
    store.save("words", ROWS, _lineage())
    (store.files.workspace / "data.jsonl").write_text('{"a": 1}\n')
    (store.files.workspace.parent / "secret.txt").write_text("secret\n")
    (store.files.workspace / ".ssh").mkdir()
    (store.files.workspace / ".ssh" / "id.txt").write_text("key\n")
    with pytest.raises(ToolError) as caught:
        store.open(source)
    assert told in str(caught.value)
    assert "?." not in str(caught.value)


def test_paths_are_found_in_the_workspace_first(store: DatasetStore) -> None:
    (store.files.project / "a.txt").write_text("project\n")
    assert store.open("a.txt").rows["text"].to_list() == ["project"]
    (store.files.workspace / "a.txt").write_text("workspace\n")
    assert store.open("a.txt").rows["text"].to_list() == ["workspace"]


def test_a_path_with_a_split(store: DatasetStore) -> None:
    for split in ("train", "test"):
        (store.files.workspace / f"{split}.jsonl").write_text(json.dumps({"split": split}) + "\n")
    table = store.open(f"{store.files.workspace}:test")
    assert table.rows["split"].to_list() == ["test"]
    assert table.source == str(store.files.workspace)
    with pytest.raises(ToolError, match="has no splits"):
        store.open("train.jsonl:test")


def test_a_hub_id_is_fetched(store: DatasetStore, tmp_path: Path) -> None:
    """The snapshot of huggingface_hub is a folder of links to blobs."""
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for split in ("train", "test"):
        pl.DataFrame({"split": [split]}).write_parquet(tmp_path / f"blob-{split}")
        (snapshot / f"{split}-00000-of-00001.parquet").symlink_to(tmp_path / f"blob-{split}")
    asked: list[str] = []

    def fetch(ref: str) -> Path:
        asked.append(ref)
        return snapshot

    store.fetch = fetch
    assert store.open("owner/name").rows["split"].to_list() == ["train"]
    assert store.open("owner/name:test").rows["split"].to_list() == ["test"]
    assert asked == ["owner/name", "owner/name"]
    with pytest.raises(ToolError, match=r"no dataset or file '\./owner/name'"):
        store.open("./owner/name")


def test_a_slip_in_a_path_is_no_name_on_the_hub(store: DatasetStore) -> None:
    asked: list[str] = []

    def fetch(ref: str) -> Path:
        asked.append(ref)
        return store.folder

    store.fetch = fetch
    (store.files.project / "exam.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(
        ToolError, match=r"no dataset or file 'data/exam\.jsonl' \(did you mean 'exam\.jsonl'\?\)"
    ):
        store.open("data/exam.jsonl")
    assert asked == []
