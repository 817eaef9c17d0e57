from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from ml_intern.hub.server import ServerThread


@pytest.fixture
def stocked(api: HfApi) -> HfApi:
    api.create_repo("llama")
    api.create_repo("rows", repo_type="dataset")
    api.create_repo("show", repo_type="space", space_sdk="gradio")
    api.create_repo("shy", private=True)
    return api


def status(caught: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return caught.value.response.status_code


def test_a_collection_is_made_filled_changed_and_deleted(stocked: HfApi, server: ServerThread) -> None:
    made = stocked.create_collection("Small models!", description="What fits a laptop")
    assert (
        made.slug.startswith("local/small-models-")
        and made.url == f"{server.endpoint}/collections/{made.slug}"
    )
    assert (made.description, made.private, made.items) == ("What fits a laptop", False, [])
    for id, kind in (("local/llama", "model"), ("local/rows", "dataset"), ("local/show", "space")):
        found = stocked.add_collection_item(made.slug, id, kind, note=f"a {kind}")
    stocked.add_collection_item(made.slug, "2311.12983", "paper")
    assert [(i.item_id, i.item_type, i.note, i.position) for i in found.items][-1] == (
        "local/show", "space", "a space", 2,
    )  # fmt: skip

    items = stocked.get_collection(made.slug).items
    stocked.update_collection_item(made.slug, items[3].item_object_id, position=0, note="first")
    stocked.delete_collection_item(made.slug, items[0].item_object_id)
    stocked.delete_collection_item(made.slug, items[0].item_object_id, missing_ok=True)
    left = stocked.get_collection(made.slug).items
    assert [(i.item_id, i.note) for i in left] == [
        ("2311.12983", "first"), ("local/rows", "a dataset"), ("local/show", "a space"),
    ]  # fmt: skip

    changed = stocked.update_collection_metadata(made.slug, title="Smaller", private=True, theme="green")
    assert (changed.title, changed.private, changed.theme, changed.slug) == (
        "Smaller",
        True,
        "green",
        made.slug,
    )
    stocked.delete_collection(made.slug)
    stocked.delete_collection(made.slug, missing_ok=True)
    with pytest.raises(HfHubHTTPError) as caught:
        stocked.get_collection(made.slug)
    assert status(caught) == 404


def test_what_is_there_already_says_so(stocked: HfApi) -> None:
    made = stocked.create_collection("Twice")
    with pytest.raises(HfHubHTTPError) as caught:
        stocked.create_collection("Twice")
    assert status(caught) == 409
    assert stocked.create_collection("Twice", exists_ok=True).slug == made.slug
    stocked.add_collection_item(made.slug, "local/llama", "model")
    with pytest.raises(HfHubHTTPError) as caught:
        stocked.add_collection_item(made.slug, "local/llama", "model")
    assert status(caught) == 409
    assert len(stocked.add_collection_item(made.slug, "local/llama", "model", exists_ok=True).items) == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("id", "kind", "expected"),
    [("local/none", "model", 404), ("local/llama", "dataset", 404), ("local/llama", "book", 400)],
    ids=["missing", "of another kind", "unknown kind"],
)
def test_what_is_not_there_cannot_be_listed(stocked: HfApi, id: str, kind: str, expected: int) -> None:
    made = stocked.create_collection("Things")
    with pytest.raises(HfHubHTTPError) as caught:
        stocked.add_collection_item(made.slug, id, kind)  # type: ignore[arg-type]
    assert status(caught) == expected and stocked.get_collection(made.slug).items == []


def test_collections_are_found_by_owner_and_item(stocked: HfApi) -> None:
    ours = stocked.create_collection("Ours")
    theirs = stocked.create_collection("Theirs", namespace="lab")
    for _ in range(2):
        stocked.add_collection_item(theirs.slug, "local/llama", "model", exists_ok=True)
    assert {c.slug for c in stocked.list_collections()} == {ours.slug, theirs.slug}
    assert [c.slug for c in stocked.list_collections(owner="lab")] == [theirs.slug]
    assert [c.slug for c in stocked.list_collections(item="models/local/llama")] == [theirs.slug]
    assert [c.slug for c in stocked.list_collections(owner=["lab", "local"], limit=1)] != []
    assert list(stocked.list_collections(item="spaces/local/show")) == []


@pytest.mark.thorough
@pytest.mark.parametrize("slug", ["repos/x", "local/%2e%2e", "local/a%2Fb", "local/none-1"])
def test_a_strange_slug_leads_nowhere(stocked: HfApi, root: Path, slug: str) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        stocked.get_collection(slug)
    assert status(caught) == 404


@pytest.fixture
def closed(root: Path) -> Iterator[ServerThread]:
    running = ServerThread(root, token="hf_" + "w" * 30)
    yield running
    running.stop()


def test_readers_without_a_token_see_what_is_public(closed: ServerThread) -> None:
    owner = HfApi(endpoint=closed.endpoint, token="hf_" + "w" * 30)
    reader = HfApi(endpoint=closed.endpoint, token=False)
    owner.create_repo("shy", private=True)
    owner.create_repo("open")
    shown, hidden = owner.create_collection("Shown"), owner.create_collection("Hidden", private=True)
    for name in ("shy", "open"):
        owner.add_collection_item(shown.slug, f"local/{name}", "model")
    assert [c.slug for c in reader.list_collections()] == [shown.slug]
    assert [i.item_id for i in reader.get_collection(shown.slug).items] == ["local/open"]
    for refused in (
        lambda: reader.get_collection(hidden.slug),
        lambda: reader.create_collection("Mine", namespace="local"),
        lambda: reader.delete_collection(shown.slug),
        lambda: reader.add_collection_item(shown.slug, "local/open", "model", note="x"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            refused()
        assert status(caught) in (401, 404)


def test_spaces_are_listed_and_searched(stocked: HfApi) -> None:
    card = b"---\ntitle: Show\nsdk: gradio\ntags: [demo]\n---\n# Show"
    stocked.upload_file(
        path_or_fileobj=card, path_in_repo="README.md", repo_id="local/show", repo_type="space"
    )
    [found] = stocked.list_spaces(search="sho", sort="likes")
    assert (found.id, found.sdk, "demo" in (found.tags or [])) == ("local/show", "gradio", True)
    assert list(stocked.list_spaces(search="nothing")) == []
    assert stocked.space_info("local/show").sdk == "gradio"


STRANGE = [None, True, -1, 10**30, "", "../..", "a/b", "é" * 600, [], {}, {"id": "a/b", "type": "model"}]


def test_strange_bodies_are_answered_and_change_nothing_else(stocked: HfApi, server: ServerThread) -> None:
    made = stocked.create_collection("Fine")
    [item] = stocked.add_collection_item(made.slug, "local/llama", "model").items
    base = f"{server.endpoint}/api/collections"
    asked = [
        ("POST", base, {"title": "New"}, "namespace"),
        ("POST", base, {}, "title"),
        ("POST", f"{base}/{made.slug}/items", {}, "item"),
        ("PATCH", f"{base}/{made.slug}/items/{item.item_object_id}", {}, "position"),
        ("PATCH", f"{base}/{made.slug}/items/{item.item_object_id}", {}, "note"),
    ]
    with httpx.Client() as client:  # one for all: each reads the certificates anew
        for method, url, body, key in asked:
            for value in STRANGE:
                answer = client.request(method, url, json={**body, key: value})
                assert answer.status_code < 500, (method, url, key, value, answer.text)
    assert [i.item_id for i in stocked.get_collection(made.slug).items] == ["local/llama"]
