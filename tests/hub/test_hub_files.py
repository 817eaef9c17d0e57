from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "local/files"
LARGE = 12 * 2**20


@pytest.fixture
def repo(api: HfApi) -> str:
    return api.create_repo(REPO).repo_id


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path


def test_regular_and_large_files_come_back_as_they_went(
    api: HfApi, repo: str, large: Path, tmp_path: Path
) -> None:
    api.upload_file(path_or_fileobj=large, path_in_repo="deep/er/large.bin", repo_id=repo)
    api.upload_file(path_or_fileobj=b"text\r\n\xff", path_in_repo="tëxt & more.txt", repo_id=repo)
    api.upload_file(path_or_fileobj=b"", path_in_repo="empty.safetensors", repo_id=repo)
    for path, content in (
        ("deep/er/large.bin", large.read_bytes()),
        ("tëxt & more.txt", b"text\r\n\xff"),
        ("empty.safetensors", b""),
    ):
        found = api.hf_hub_download(repo, path, cache_dir=tmp_path / "cache")
        assert Path(found).read_bytes() == content


def test_metadata_tell_large_files_from_regular_ones(api: HfApi, repo: str, large: Path) -> None:
    api.upload_file(path_or_fileobj=large, path_in_repo="large.bin", repo_id=repo)
    api.upload_file(path_or_fileobj=b"small", path_in_repo="weights.safetensors", repo_id=repo)
    api.upload_file(path_or_fileobj=b"text", path_in_repo="a.txt", repo_id=repo)
    api.upload_file(path_or_fileobj=b"a\0b", path_in_repo="binary", repo_id=repo)
    files = {s.rfilename: s for s in api.model_info(repo, files_metadata=True).siblings or []}
    sha256 = hashlib.sha256(large.read_bytes()).hexdigest()
    assert (files["large.bin"].lfs.sha256, files["large.bin"].size) == (sha256, LARGE)
    assert files["weights.safetensors"].lfs and files["binary"].lfs and not files["a.txt"].lfs
    assert files["a.txt"].blob_id == hashlib.sha1(b"blob 4\0text").hexdigest()


def test_a_folder_is_one_commit(api: HfApi, repo: str, large: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "b.txt").write_text("b")
    (folder / "large.bin").write_bytes(large.read_bytes())
    api.upload_file(path_or_fileobj=b"old", path_in_repo="old.txt", repo_id=repo)
    done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="all", delete_patterns="*.txt")
    assert api.list_repo_commits(repo)[0].commit_id == done.oid
    assert api.list_repo_files(repo) == [".gitattributes", "large.bin", "sub/b.txt"]
    snapshot = Path(api.snapshot_download(repo, cache_dir=tmp_path / "cache"))
    assert (snapshot / "sub" / "b.txt").read_text() == "b"
    assert (snapshot / "large.bin").read_bytes() == large.read_bytes()


def test_a_commit_adds_copies_and_deletes_at_once(api: HfApi, repo: str, large: Path) -> None:
    api.upload_file(path_or_fileobj=large, path_in_repo="large.bin", repo_id=repo)
    api.upload_file(path_or_fileobj=b"a", path_in_repo="dir/a.txt", repo_id=repo)
    api.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=repo)
    api.create_commit(
        repo,
        operations=[
            CommitOperationAdd("new.txt", b"new"),
            CommitOperationCopy("large.bin", "copy.bin"),
            CommitOperationCopy("b.txt", "c.txt"),
            CommitOperationDelete("dir/"),
            CommitOperationDelete("b.txt"),
        ],
        commit_message="much",
        commit_description="in one",
    )
    newest = api.list_repo_commits(repo)[0]
    assert (newest.title, newest.message) == ("much", "in one")
    assert api.list_repo_files(repo) == [".gitattributes", "c.txt", "copy.bin", "large.bin", "new.txt"]


def test_the_same_upload_again_makes_no_commit(api: HfApi, repo: str, large: Path) -> None:
    for _ in range(2):
        done = api.upload_file(path_or_fileobj=large, path_in_repo="large.bin", repo_id=repo)
        again = api.upload_file(path_or_fileobj=b"t", path_in_repo="a.txt", repo_id=repo)
    assert len(api.list_repo_commits(repo)) == 3
    assert done.oid == again.oid


def test_deleting_what_is_not_there_says_so(api: HfApi, repo: str) -> None:
    with pytest.raises(EntryNotFoundError):
        api.delete_file("nothing.txt", repo_id=repo)
    with pytest.raises(EntryNotFoundError):
        api.delete_folder("nothing", repo_id=repo)
    assert len(api.list_repo_commits(repo)) == 1


def test_a_path_cannot_be_a_file_and_a_folder(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id=repo)
    with pytest.raises(HfHubHTTPError):
        api.upload_file(path_or_fileobj=b"b", path_in_repo="a/b", repo_id=repo)


def test_a_stale_parent_is_refused(api: HfApi, repo: str) -> None:
    parent = api.model_info(repo).sha
    api.upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=repo, parent_commit=parent)
    with pytest.raises(HfHubHTTPError) as caught:
        api.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=repo, parent_commit=parent)
    assert caught.value.response.status_code == 412
    assert api.list_repo_files(repo) == [".gitattributes", "a.txt"]


def test_branches_and_tags_keep_their_files(api: HfApi, repo: str, tmp_path: Path) -> None:
    api.upload_file(path_or_fileobj=b"one", path_in_repo="a.txt", repo_id=repo)
    api.create_tag(repo, tag="v1", tag_message="first")
    api.create_branch(repo, branch="try/it", revision="v1")
    api.upload_file(path_or_fileobj=b"two", path_in_repo="a.txt", repo_id=repo)
    api.upload_file(path_or_fileobj=b"three", path_in_repo="a.txt", repo_id=repo, revision="try/it")
    newest = str(api.model_info(repo).sha)

    def read(revision: str) -> str:
        return Path(api.hf_hub_download(repo, "a.txt", revision=revision, cache_dir=tmp_path)).read_text()

    assert [read(r) for r in ("v1", "main", "try/it", newest, newest[:10])] == [
        "one",
        "two",
        "three",
        "two",
        "two",
    ]
    refs = api.list_repo_refs(repo)
    assert sorted(b.name for b in refs.branches) == ["main", "try/it"]
    assert [(t.name, t.ref) for t in refs.tags] == [("v1", "refs/tags/v1")]
    for again in (lambda: api.create_branch(repo, branch="try/it"), lambda: api.create_tag(repo, tag="v1")):
        with pytest.raises(HfHubHTTPError) as caught:
            again()
        assert caught.value.response.status_code == 409
    api.create_branch(repo, branch="try/it", exist_ok=True)
    api.delete_tag(repo, tag="v1")
    api.delete_branch(repo, branch="try/it")
    assert api.list_repo_refs(repo).tags == []
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(repo, tag="v1")
    with pytest.raises(HfHubHTTPError):
        api.delete_branch(repo, branch="main")


def test_squashing_keeps_the_files_and_drops_the_history(api: HfApi, repo: str) -> None:
    for i in range(3):
        api.upload_file(path_or_fileobj=str(i).encode(), path_in_repo=f"{i}.txt", repo_id=repo)
    before = api.list_repo_files(repo)
    api.super_squash_history(repo, commit_message="one")
    assert [c.title for c in api.list_repo_commits(repo)] == ["one"]
    assert api.list_repo_files(repo) == before


def test_what_is_missing_is_named_rightly(api: HfApi, repo: str, tmp_path: Path) -> None:
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "none.txt", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download(repo, "a.txt", revision="none", cache_dir=tmp_path)
    with pytest.raises(RepositoryNotFoundError):
        api.hf_hub_download("local/none", "a.txt", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"", path_in_repo="a", repo_id=repo, revision="none")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info(repo)
    assert not api.file_exists(repo, "none.txt") and api.file_exists(repo, ".gitattributes")


def test_the_tree_with_its_folders_and_last_changes(api: HfApi, repo: str) -> None:
    for path in ("a.txt", "d/b.txt", "d/e/c.txt"):
        api.upload_file(path_or_fileobj=path.encode(), path_in_repo=path, repo_id=repo)
    api.upload_file(path_or_fileobj=b"new", path_in_repo="d/b.txt", repo_id=repo, commit_message="again")
    top = [i.path for i in api.list_repo_tree(repo)]
    every = {i.path: i for i in api.list_repo_tree(repo, recursive=True, expand=True)}
    assert top == [".gitattributes", "a.txt", "d"]
    assert [i.path for i in api.list_repo_tree(repo, "d/e")] == ["d/e/c.txt"]
    titles = {p: i.last_commit.title for p, i in every.items() if i.last_commit}
    assert titles["d/b.txt"] == titles["d"] == "again"
    assert "c.txt" in titles["d/e"] and titles[".gitattributes"] == "initial commit"
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "none"))
    assert [p.path for p in api.get_paths_info(repo, ["d", "a.txt", "none"])] == ["d", "a.txt"]


@pytest.mark.thorough
def test_a_large_tree_comes_in_pages(api: HfApi, repo: str) -> None:
    api.create_commit(
        repo,
        operations=[CommitOperationAdd(f"f/{i:04}.txt", str(i).encode()) for i in range(1100)],
        commit_message="many",
    )
    assert len(list(api.list_repo_tree(repo, recursive=True))) == 1102


def test_commits_at_the_same_time_all_arrive(api: HfApi, repo: str) -> None:
    def upload(i: int) -> str:
        return api.upload_file(path_or_fileobj=str(i).encode(), path_in_repo=f"{i}.txt", repo_id=repo).oid

    with ThreadPoolExecutor(8) as pool:
        oids = list(pool.map(upload, range(24)))
    assert len(set(oids)) == 24
    assert len(api.list_repo_files(repo)) == 25
    assert {c.commit_id for c in api.list_repo_commits(repo)} >= set(oids)


def test_of_commits_with_one_parent_a_single_one_wins(api: HfApi, repo: str) -> None:
    parent = api.model_info(repo).sha

    def upload(i: int) -> bool:
        try:
            api.upload_file(
                path_or_fileobj=str(i).encode(), path_in_repo="a.txt", repo_id=repo, parent_commit=parent
            )
        except HfHubHTTPError as error:
            assert error.response.status_code == 412
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(upload, range(8))) == 1
    assert len(api.list_repo_commits(repo)) == 2


def test_the_file_system_reads_and_writes(api: HfApi, repo: str) -> None:
    system = HfFileSystem(endpoint=api.endpoint, token="any", skip_instance_cache=True)
    with system.open(f"{repo}/data/a.csv", "w") as file:
        file.write("x,y\n1,2\n")
    system.invalidate_cache()
    assert system.ls(f"{repo}/data", detail=False) == [f"{repo}/data/a.csv"]
    with system.open(f"{repo}/data/a.csv", "rb") as file:
        file.seek(4)
        assert file.read(3) == b"1,2"
    assert system.glob(f"{repo}/**/*.csv") == [f"{repo}/data/a.csv"]


def test_weights_are_described_from_their_header(api: HfApi, repo: str, tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    np = pytest.importorskip("numpy")
    numpy.save_file({"w": np.zeros((3, 5), dtype="float32")}, tmp_path / "model.safetensors")
    api.upload_file(
        path_or_fileobj=tmp_path / "model.safetensors", path_in_repo="model.safetensors", repo_id=repo
    )
    assert api.get_safetensors_metadata(repo).parameter_count == {"F32": 15}
