from __future__ import annotations

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from ml_intern.hub.server import ServerThread


def test_the_user_of_an_open_hub_is_local(api: HfApi) -> None:
    assert api.whoami()["name"] == "local"


def test_a_created_repository_has_a_url_and_a_first_commit(api: HfApi, server: ServerThread) -> None:
    url = api.create_repo("tiny", private=True)
    assert (str(url), url.repo_id, url.repo_type) == (f"{server.endpoint}/local/tiny", "local/tiny", "model")
    info = api.model_info("local/tiny")
    assert info.private and info.author == "local" and len(info.sha or "") == 40
    assert [c.title for c in api.list_repo_commits("local/tiny")] == ["initial commit"]


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_one_name_may_be_used_once_for_each_kind(api: HfApi, kind: str) -> None:
    more = {"space_sdk": "static"} if kind == "space" else {}
    first = api.create_repo("same", repo_type=kind, **more)
    assert api.create_repo("same", repo_type=kind, exist_ok=True, **more) == first
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("same", repo_type=kind, **more)
    assert caught.value.response.status_code == 409
    assert api.repo_info("local/same", repo_type=kind).id == "local/same"


def test_another_namespace_may_be_named(api: HfApi) -> None:
    assert api.create_repo("lab/tiny").repo_id == "lab/tiny"
    assert api.repo_exists("lab/tiny") and not api.repo_exists("local/tiny")


def test_deleting_a_repository_takes_everything_with_it(api: HfApi) -> None:
    api.create_repo("gone")
    api.delete_repo("local/gone")
    assert not api.repo_exists("local/gone")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("local/gone")
    api.delete_repo("local/gone", missing_ok=True)
    api.create_repo("gone")
    assert api.list_repo_files("local/gone") == [".gitattributes"]


def test_a_repository_can_be_renamed_but_not_onto_another(api: HfApi) -> None:
    api.create_repo("old")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="local/old")
    api.move_repo("local/old", "lab/new")
    assert "a.txt" in api.list_repo_files("lab/new")
    assert not api.repo_exists("local/old")
    api.create_repo("old")
    with pytest.raises(HfHubHTTPError):
        api.move_repo("local/old", "lab/new")


def test_visibility_can_be_changed(api: HfApi) -> None:
    api.create_repo("shy", private=True)
    api.update_repo_settings("local/shy", private=False)
    assert api.model_info("local/shy").private is False


def test_listing_pages_through_everything_once(api: HfApi) -> None:
    names = [f"local/m{i:03}" for i in range(107)]
    for name in names:
        api.create_repo(name)
    found = [m.id for m in api.list_models()]
    assert sorted(found) == names
    assert len(list(api.list_models(limit=3))) == 3


def test_search_by_words_author_and_tag(api: HfApi) -> None:
    for name in ("local/tiny-llama", "lab/tiny-gpt", "lab/Large-Llama"):
        api.create_repo(name)
    card = b"---\ntags: [fast]\nlicense: mit\npipeline_tag: text-generation\n---\n# it"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="lab/tiny-gpt")
    assert {m.id for m in api.list_models(search="llama")} == {"local/tiny-llama", "lab/Large-Llama"}
    assert {m.id for m in api.list_models(author="lab")} == {"lab/tiny-gpt", "lab/Large-Llama"}
    assert [m.id for m in api.list_models(filter="fast")] == ["lab/tiny-gpt"]
    assert [m.id for m in api.list_models(filter=["fast", "license:mit"])] == ["lab/tiny-gpt"]
    assert [m.pipeline_tag for m in api.list_models(pipeline_tag="text-generation")] == ["text-generation"]
    assert list(api.list_models(search="nothing")) == []
    assert list(api.list_datasets()) == []


def test_discussions_and_pull_requests(api: HfApi) -> None:
    api.create_repo("talk")
    api.upload_file(path_or_fileobj=b"one", path_in_repo="a.txt", repo_id="local/talk")
    opened = api.create_discussion("local/talk", title="A question", description="why?")
    api.comment_discussion("local/talk", opened.num, comment="because")
    api.rename_discussion("local/talk", opened.num, new_title="An answer")
    api.change_discussion_status("local/talk", opened.num, new_status="closed")
    details = api.get_discussion_details("local/talk", opened.num)
    assert (details.title, details.status) == ("An answer", "closed")
    assert [e.content for e in details.events if e.type == "comment"] == ["why?", "because"]

    request = api.upload_file(
        path_or_fileobj=b"two", path_in_repo="b.txt", repo_id="local/talk", create_pr=True
    )
    assert request.pr_revision == "refs/pr/2"
    assert "b.txt" in api.list_repo_files("local/talk", revision="refs/pr/2")
    assert "b.txt" not in api.list_repo_files("local/talk")
    api.merge_pull_request("local/talk", 2)
    assert "b.txt" in api.list_repo_files("local/talk")
    found = api.get_repo_discussions("local/talk")
    assert [(d.num, d.status) for d in found] == [(2, "merged"), (1, "closed")]


def test_a_pull_request_that_main_has_overtaken_is_not_merged(api: HfApi) -> None:
    api.create_repo("race")
    api.upload_file(path_or_fileobj=b"one", path_in_repo="a.txt", repo_id="local/race")
    api.upload_file(path_or_fileobj=b"two", path_in_repo="a.txt", repo_id="local/race", create_pr=True)
    api.upload_file(path_or_fileobj=b"three", path_in_repo="a.txt", repo_id="local/race")
    with pytest.raises(HfHubHTTPError) as caught:
        api.merge_pull_request("local/race", 1)
    assert caught.value.response.status_code == 409
