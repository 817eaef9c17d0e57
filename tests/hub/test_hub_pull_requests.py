from __future__ import annotations

import warnings

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.community import DiscussionComment, DiscussionWithDetails
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

REPO = "local/talk"


@pytest.fixture
def talk(api: HfApi) -> HfApi:
    api.create_repo("talk")
    files = {"a.txt": b"one\ntwo\nthree\n", "gone.txt": b"bye\n", "data.bin": b"\0\1\2"}
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    api.create_commit(REPO, operations, commit_message="files")
    return api


def proposed(api: HfApi, **files: bytes) -> int:
    operations = [CommitOperationAdd(f"{name}.txt", data) for name, data in files.items()]
    made = api.create_commit(REPO, operations, commit_message="a change", create_pr=True)
    assert made.pr_num
    return made.pr_num


def details(api: HfApi, num: int) -> DiscussionWithDetails:
    return api.get_discussion_details(REPO, num)


def test_a_pull_request_shows_what_it_changes(talk: HfApi) -> None:
    operations = [
        CommitOperationAdd("a.txt", b"one\n2\nthree"),
        CommitOperationAdd("new/b.txt", b"fresh\n"),
        CommitOperationAdd("data.bin", b"\0\3"),
        CommitOperationDelete("gone.txt"),
    ]
    talk.create_commit(REPO, operations, commit_message="much", create_pr=True)
    found = details(talk, 1)
    assert found.is_pull_request and found.status == "open" and found.target_branch == "refs/heads/main"
    assert found.conflicting_files == [] and found.git_reference == "refs/pr/1"
    diff = found.diff or ""
    for line in ("-two", "+2", "--- a/a.txt", "+++ b/a.txt", "new file mode 100644", "+++ b/new/b.txt", "+fresh",
                 "deleted file mode 100644", "-bye", "\\ No newline at end of file",
                 "Binary files a/data.bin and b/data.bin differ"):  # fmt: skip
        assert line in diff.splitlines(), line
    assert diff.count("diff --git") == 4


def test_a_pull_request_grows_by_commits_to_its_revision(talk: HfApi) -> None:
    num = proposed(talk, b=b"b")
    talk.upload_file(path_or_fileobj=b"c", path_in_repo="c.txt", repo_id=REPO, revision=f"refs/pr/{num}")
    assert "+++ b/c.txt" in (details(talk, num).diff or "")
    assert f"refs/pr/{num}" in [
        r.ref for r in talk.list_repo_refs(REPO, include_pull_requests=True).pull_requests
    ]
    assert talk.file_exists(REPO, "c.txt", revision=f"refs/pr/{num}") and not talk.file_exists(REPO, "c.txt")


def test_conflicts_are_named_before_a_merge_and_refuse_it(talk: HfApi) -> None:
    num = proposed(talk, a=b"mine", b=b"b")
    talk.upload_file(path_or_fileobj=b"theirs", path_in_repo="a.txt", repo_id=REPO)
    assert details(talk, num).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError) as caught:
        talk.merge_pull_request(REPO, num)
    assert caught.value.response.status_code == 409
    assert not talk.file_exists(REPO, "b.txt") and details(talk, num).status == "open"


def test_a_merge_keeps_what_main_got_meanwhile_and_happens_once(talk: HfApi) -> None:
    num = proposed(talk, b=b"b")
    talk.upload_file(path_or_fileobj=b"m", path_in_repo="main.txt", repo_id=REPO)
    talk.merge_pull_request(REPO, num, comment="good")
    assert {"a.txt", "b.txt", "main.txt"} <= set(talk.list_repo_files(REPO))
    found = details(talk, num)
    assert found.status == "merged" and found.merge_commit_oid == talk.repo_info(REPO).sha
    for again in (lambda: talk.merge_pull_request(REPO, num),
                  lambda: talk.change_discussion_status(REPO, num, "open")):  # fmt: skip
        with pytest.raises(HfHubHTTPError) as caught:
            again()
        assert caught.value.response.status_code == 400


@pytest.mark.thorough
def test_a_closed_pull_request_is_not_merged(talk: HfApi) -> None:
    num = proposed(talk, b=b"b")
    talk.change_discussion_status(REPO, num, "closed", comment="no")
    with pytest.raises(HfHubHTTPError):
        talk.merge_pull_request(REPO, num)
    talk.change_discussion_status(REPO, num, "open")
    talk.merge_pull_request(REPO, num)
    assert talk.file_exists(REPO, "b.txt")


def test_comments_are_edited_and_hidden(talk: HfApi) -> None:
    num = talk.create_discussion(REPO, title="Why is it so?", description="I ask").num
    said = talk.comment_discussion(REPO, num, "beacuse")
    assert talk.edit_discussion_comment(REPO, num, said.id, "because").content == "because"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert talk.hide_discussion_comment(REPO, num, said.id).hidden
    comments = [e for e in details(talk, num).events if isinstance(e, DiscussionComment)]
    assert [(c.content, c.edited, c.hidden) for c in comments] == [("I ask", False, False), ("", True, True)]
    with pytest.raises(HfHubHTTPError) as caught:
        talk.edit_discussion_comment(REPO, num, "f" * 24, "x")
    assert caught.value.response.status_code == 404


@pytest.mark.thorough
def test_an_empty_pull_request_waits_as_a_draft(talk: HfApi) -> None:
    made = talk.create_pull_request(REPO, title="Soon more", description="wait")
    assert (made.status, made.diff, made.conflicting_files) == ("draft", "", [])
    talk.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO, revision=made.git_reference)
    assert "+b" in (details(talk, made.num).diff or "")
    assert [
        d.num
        for d in talk.get_repo_discussions(REPO, discussion_type="pull_request", discussion_status="open")
    ]


def test_branches_begin_anywhere_and_end(talk: HfApi) -> None:
    first = talk.list_repo_commits(REPO)[-1].commit_id
    talk.create_branch(REPO, branch="old", revision=first)
    talk.create_branch(REPO, branch="feature/x")
    assert talk.list_repo_files(REPO, revision="old") == [".gitattributes"]
    assert talk.file_exists(REPO, "a.txt", revision="feature/x")
    with pytest.raises(HfHubHTTPError) as caught:
        talk.create_branch(REPO, branch="old")
    assert caught.value.response.status_code == 409
    talk.create_branch(REPO, branch="old", exist_ok=True)
    talk.delete_branch(REPO, branch="feature/x")
    assert sorted(b.name for b in talk.list_repo_refs(REPO).branches) == ["main", "old"]
    with pytest.raises(HfHubHTTPError):
        talk.delete_branch(REPO, branch="main")
    with pytest.raises(RevisionNotFoundError):
        talk.list_repo_files(REPO, revision="feature/x")
