from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi

from ml_intern.context import Services, ToolContext
from ml_intern.errors import ToolError
from ml_intern.events import Event, Notice, Published
from ml_intern.hub import committing
from ml_intern.hub.outgoing import check_file
from ml_intern.prices import Price
from ml_intern.router.budget import Budget
from ml_intern.router.gate import Gate
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.secrets.masking import add_secret
from ml_intern.session.services import assemble
from ml_intern.settings import Settings
from ml_intern.tools.hub import inspect_repo, read_hub_file
from ml_intern.tools.hub_files import (
    create_collection,
    hub_branches,
    hub_pull_requests,
    search_hub,
    write_hub_file,
)

Call = Callable[..., ToolContext]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
)
WORDS = [
    "alder",
    "brook",
    "candle",
    "dusk",
    "ember",
    "fjord",
    "gravel",
    "harbour",
    "inlet",
    "jigsaw",
    "kernel",
    "lantern",
    "meadow",
    "nettle",
    "orchard",
    "pebble",
    "quarry",
    "ribbon",
    "saddle",
    "thistle",
    "umber",
    "velvet",
    "willow",
    "yarrow",
    "zephyr",
    "anvil",
    "barley",
    "copper",
]


def _items(count: int) -> list[dict[str, str]]:
    draw = random.Random(3)
    asked = [" ".join(draw.choice(WORDS) for _ in range(14)) for _ in range(count)]
    return [{"question": f"{text.capitalize()}?", "answer": draw.choice(WORDS)} for text in asked]


ITEMS = _items(40)
"""Questions that have nothing in common."""


@pytest.fixture
def events() -> list[Event]:
    return []


@contextmanager
def serving(folder: Path, emit: Callable[[Event], None]) -> Iterator[Services]:
    settings = Settings(state=folder / "state", hub="embedded")
    session = settings.state / "sessions" / "s"
    (session / "workspace").mkdir(parents=True)
    made = assemble("s", session, session / "workspace", settings, BareSandbox(), emit)
    yield made
    made.hub.close()


def calls_of(services: Services) -> Call:
    """The context of a call; each has a key of its own unless one is given."""
    count = iter(range(1000))
    return lambda key="": ToolContext(services, "call-1", key or f"key-{next(count)}")


@pytest.fixture
def services(tmp_path: Path, events: list[Event]) -> Iterator[Services]:
    with serving(tmp_path, events.append) as made:
        yield made


@pytest.fixture
def call(services: Services) -> Call:
    return calls_of(services)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """For tests after which everything is as before."""
    with serving(tmp_path_factory.mktemp("shared"), lambda event: None) as made:
        rows = [{**row, "split": "dev" if n % 2 else "test"} for n, row in enumerate(ITEMS)]
        made.evals.register(
            "market", rows, ["exact_match"], input="question", target="answer", split_by="split"
        )
        yield made


def nothing_there(services: Services) -> bool:
    return not services.hub.storage.exists() or not list(services.hub.storage.glob("repos/*/*/*"))


@pytest.fixture
def hub(services: Services) -> HfApi:
    return services.hub.api


@pytest.fixture
def sealed(services: Services) -> None:
    rows = [{**row, "split": "dev" if n % 2 else "test"} for n, row in enumerate(ITEMS)]
    services.evals.register(
        "market", rows, ["exact_match"], input="question", target="answer", split_by="split"
    )


def wrote(ctx: ToolContext, path: str, text: str, repo: str = "thing", **more: Any) -> Any:
    return write_hub_file(ctx, repo, path, text, **more)


def test_a_file_makes_a_private_repository_and_is_read_back(call: Call, events: list[Event]) -> None:
    done = wrote(call(), "docs/guide.md", "# How to\n", message="A guide")
    assert (done.repo, done.changed, done.pull_request) == ("local/thing", True, None)
    view = inspect_repo(call(), "thing", files=100)
    assert view.private and view.commit == done.commit and "docs/guide.md" in view.files
    assert read_hub_file(call(), "thing", "docs/guide.md", offset=0).text == "# How to\n"
    assert [e.repo for e in events if isinstance(e, Published)] == ["local/thing"]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_every_kind_of_repository_takes_a_card(call: Call, hub: HfApi, kind: str) -> None:
    card = "---\nlicense: apache-2.0\n---\n# Thing\n"
    wrote(call(), "README.md", card, kind=kind)
    assert hub.repo_info("local/thing", repo_type=kind).card_data.license == "apache-2.0"
    again = wrote(call(), "README.md", card, kind=kind)
    assert not again.changed and len(hub.list_repo_commits("local/thing", repo_type=kind)) == 2


def test_a_space_runs_what_is_written_and_says_so(call: Call, hub: HfApi, events: list[Event]) -> None:
    done = wrote(call(), "app.py", "import gradio as gr\n", kind="space")
    assert done.notes == ["app.py is code: the Space runs it as soon as it is there."]
    assert done.notes[0] in [e.text.partition(": ")[2] for e in events if isinstance(e, Notice)]
    assert hub.space_info("local/thing").sdk == "gradio"
    assert "trust_remote_code" in wrote(call(), "modeling.py", "x = 1\n", repo="other").notes[0]


def test_a_call_that_is_made_again_commits_once(call: Call, hub: HfApi) -> None:
    done = wrote(call("k"), "a.txt", "one")
    wrote(call(), "a.txt", "two")
    assert wrote(call("k"), "a.txt", "one").commit == done.commit
    assert read_hub_file(call(), "thing", "a.txt", offset=0).text == "two"
    asked = {"pull_request": True}
    first = wrote(call("p"), "b.txt", "b", **asked)
    assert wrote(call("p"), "b.txt", "b", **asked).pull_request == first.pull_request == 1
    assert len(list(hub.get_repo_discussions("local/thing"))) == 1


def test_who_commits_in_between_is_not_overwritten(
    call: Call, hub: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote(call(), "a.txt", "one")
    looked = committing.check_file

    def late(*args: Any) -> list[str]:
        hub.upload_file(path_or_fileobj=b"theirs", path_in_repo="a.txt", repo_id="local/thing")
        return looked(*args)

    monkeypatch.setattr(committing, "check_file", late)
    with pytest.raises(ToolError, match="has moved since it was read"):
        wrote(call(), "a.txt", "ours")
    assert read_hub_file(call(), "thing", "a.txt", offset=0).text == "theirs"


def test_a_public_repository_is_written_only_when_asked(call: Call, hub: HfApi) -> None:
    hub.create_repo("thing", private=False)
    for more in ({}, {"pull_request": True}):
        with pytest.raises(ToolError, match="exists and is public"):
            wrote(call(), "a.txt", "one", **more)
    assert wrote(call(), "a.txt", "one", private=False).changed
    assert hub.model_info("local/thing").private is False


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("model.safetensors", "model", "Use publish_model"),
        ("weights/PyTorch_Model.BIN", "space", "Use publish_model"),
        ("x.gguf", "dataset", "Use publish_model"),
        ("config.json", "model", "Use publish_model"),
        ("tokenizer_config.json", "model", "Use publish_model"),
        ("chat_template.jinja", "model", "Use publish_model"),
        ("ml_intern.json", "model", "Use publish_model"),
        ("training/sft.py", "model", "Use publish_model"),
        ("data/train.jsonl", "dataset", "Use publish_dataset"),
        ("rows.csv", "dataset", "Use publish_dataset"),
        ("a.parquet", "space", "use publish_dataset"),
        ("a.tar.gz", "model", "nobody could look into it"),
        ("../up.md", "model", "not a path"),
        (".git/config", "model", "not a path"),
    ],
    ids=lambda value: str(value).replace("/", "-"),
)
def test_what_other_tools_write_is_refused(shared: Services, path: str, kind: Any, told: str) -> None:
    with pytest.raises(ToolError) as caught:
        wrote(calls_of(shared)(), path, "text", kind=kind)
    assert told in f"{caught.value.message} {caught.value.hint}"
    assert nothing_there(shared)


def test_what_is_no_text_is_refused_but_images_are_not(call: Call, services: Services, hub: HfApi) -> None:
    place = services.files.workspace
    (place / "plot.png").write_bytes(PNG)
    (place / "fake.png").write_bytes(b"weights")
    (place / "blob.md").write_bytes(b"\0\1\2")
    (place / "pointer.md").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (place / "link.md").symlink_to("/etc/hostname")
    os.link(place / "plot.png", place / "twice.png")
    (place / "one.png").write_bytes(PNG)
    assert write_hub_file(call(), "thing", "plot.png", source="one.png").changed
    for path, told in (
        ("fake.png", "no png image"),
        ("blob.md", "neither text nor an image"),
        ("pointer.md", "points to a large file"),
        ("link.md", "outside of what tools may read"),
        ("twice.png", "not a plain file of its own"),
        ("none.md", "There is no file"),
    ):
        with pytest.raises(ToolError, match=told):
            write_hub_file(call(), "thing", path, source=path)
    for text, source in ((None, None), ("a", "one.png")):
        with pytest.raises(ToolError, match="What is to be written"):
            write_hub_file(call(), "thing", "a.md", text, source)
    assert set(hub.list_repo_files("local/thing")) == {".gitattributes", "plot.png"}


NUMBERS = {
    "a sentence": ("README.md", "It reaches an accuracy of 0.931."),
    "a table": ("README.md", "| model | accuracy |\n|---|---|\n| ours | **93.1** |"),
    "an entity": ("README.md", "accuracy 0&#46;931"),
    "a tag inside": ("README.md", "accuracy 0<b></b>.931"),
    "an escape": ("README.md", "accuracy 0\\.931"),
    "a block of code": ("README.md", "```\naccuracy: 0.931\n```"),
    "behind much text": ("README.md", "word " * 12_100 + "accuracy 0.931"),
    "the index of a card": (
        "README.md",
        "---\nmodel-index:\n- name: x\n  results:\n  - metrics:\n    - type: accuracy\n      value: 0.931\n---\n",
    ),
    "a results file": ("results.json", '{"eval_accuracy": {"value": 0.931}}'),
    "a YAML file": (".eval_results/x.yaml", "- metric: accuracy\n  value: 0.931\n"),
    "a table file": ("results.csv", "model,accuracy\nours,0.931\n"),
    "lines of JSON": ("results.jsonl", '{"metric": "f1", "value": 0.931}\n'),
    "a Space's words": ("app.py", "gr.Markdown('accuracy 0.931')\n"),
    "a comment": ("run.py", "# reaches an accuracy of 93.1 %\n"),
    "a drawing": ("plot.svg", "<svg><text>accuracy 0.931</text></svg>"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_nobody_measured_is_refused_in_every_form(shared: Services, name: str) -> None:
    path, text = NUMBERS[name]
    with pytest.raises(ToolError, match="states what nobody measured"):
        wrote(calls_of(shared)(), path, text, kind="space")
    assert nothing_there(shared)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "README.md",
            "---\nlicense: apache-2.0\nsdk_version: 5.0.1\npython_version: 3.11\n---\n# Python 3.11\n1. a",
        ),
        ("settings.json", '{"hidden_size": 320, "learning_rate": 2e-5, "eps": 1e-05}'),
        ("app.py", "LR = 0.001\nif score > 0.5:\n    pass\n"),
        ("README.md", "Smith et al. (2024) report an accuracy of 0.92 in their paper."),
    ],
    ids=["a card", "settings", "code", "a citation"],
)
def test_numbers_that_claim_nothing_of_ours_pass(shared: Services, path: str, text: str) -> None:
    check_file(calls_of(shared)(), "space", path, text.encode(), None)


def test_what_was_measured_may_be_said_and_what_stood_there_may_stay(
    call: Call, hub: HfApi, services: Services
) -> None:
    old = "# Theirs\nIt reaches an accuracy of 0.87.\n"
    hub.create_repo("thing", private=True)
    hub.upload_file(path_or_fileobj=old.encode(), path_in_repo="README.md", repo_id="local/thing")
    assert wrote(call(), "README.md", old + "\nMore words.\n").changed
    with pytest.raises(ToolError, match=r"0\.88"):
        wrote(call(), "README.md", old.replace("0.87", "0.88"))
    row = services.ledger.start("it helps", "a change")
    services.ledger.attach(row.id, config={"learning_rate": 0.003}, seconds=8.5)
    assert wrote(call(), "README.md", "Trained with a learning rate of 0.003.\n").changed


def test_secrets_do_not_leave(call: Call, services: Services, hub: HfApi) -> None:
    token = "hf_" + "Qx7" * 11
    add_secret("correct-horse-battery-staple-7")
    (services.files.workspace / "notes.md").write_text(f"token = {token}\n")
    refused = (
        lambda: write_hub_file(call(), "thing", "notes.md", source="notes.md"),
        lambda: wrote(call(), "a.md", "use correct-horse-battery-staple-7"),
        lambda: wrote(call(), "a.md", "fine", message=f"with {token}"),
        lambda: wrote(call(), f"{token}.md", "fine"),
        lambda: create_collection(call(), "Things", {"local/x": token}),
    )
    for each in refused:
        with pytest.raises(ToolError, match="credential"):
            each()
    assert not hub.repo_exists("local/thing") and not list(hub.list_collections())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("README.md", ITEMS[0]["question"]),
        ("app.py", "\n".join(f"# {row['question']}" for row in ITEMS[:4])),
        ("data.json", '{"q": "' + ITEMS[3]["question"] + '"}'),
        ("data.csv", "q,a\n" + "\n".join(f'"{r["question"]}",{r["answer"]}' for r in ITEMS[:2])),
        (
            "notes.txt",
            base64.b64encode((ITEMS[5]["question"] + " " + ITEMS[6]["question"]).encode()).decode(),
        ),
    ],
    ids=["a card", "comments", "JSON", "a table", "packed"],
)
def test_sealed_items_do_not_leave(shared: Services, path: str, text: str) -> None:
    with pytest.raises(ToolError, match="items of the sealed evaluation market"):
        wrote(calls_of(shared)(), path, text, kind="space")
    assert nothing_there(shared)


def test_sealed_items_do_not_leave_in_names_and_messages(shared: Services) -> None:
    item = ITEMS[1]["question"]
    call = calls_of(shared)
    for each in (
        lambda: wrote(call(), "a.md", "fine", message=item),
        lambda: wrote(call(), f"{item[:-1].replace(' ', '-')}.md", "fine"),
        lambda: create_collection(call(), "Things", {"local/x": item}),
        lambda: create_collection(call(), "Things", ["local/x"], item),
    ):
        with pytest.raises(ToolError, match="items of the sealed evaluation market"):
            each()
    assert nothing_there(shared)


def test_branches_are_made_written_to_and_deleted(call: Call) -> None:
    wrote(call(), "a.txt", "one")
    assert list(hub_branches(call(), "thing").branches) == ["main"]
    with pytest.raises(ToolError, match="no branch 'try'") as caught:
        wrote(call(), "a.txt", "two", branch="try")
    assert "hub_branches('local/thing', create='try')" in caught.value.hint
    assert hub_branches(call(), "thing", create="try").done == "made try at main"
    wrote(call(), "a.txt", "two", branch="try")
    assert read_hub_file(call(), "thing", "a.txt", offset=0).text == "one"
    assert read_hub_file(call(), "thing", "a.txt", revision="try", offset=0).text == "two"
    for given, told in (
        ({"create": "try"}, "already"),
        ({"create": "a b"}, "not a name"),
        ({"delete": "none"}, "no branch 'none'"),
        ({"delete": "main"}, "main stays"),
        ({"create": "x", "delete": "try"}, "One at a time"),
        ({"create": "x", "start": "nowhere"}, "no such revision"),
    ):
        with pytest.raises(ToolError, match=told):
            hub_branches(call(), "thing", **given)
    assert "deleted try" in hub_branches(call(), "thing", delete="try").done
    assert list(hub_branches(call(), "thing").branches) == ["main"]


def test_a_pull_request_is_opened_shown_discussed_and_merged(call: Call, hub: HfApi) -> None:
    wrote(call(), "README.md", "# Thing\nold\n")
    [made] = hub_pull_requests(
        call(), "thing", "open", None, "New words", "Why: clearer.", {"README.md": "# Thing\nnew\n"}, offset=0
    )
    assert (made.number, made.status, made.files, made.conflicts) == (1, "open", ["README.md"], [])
    assert "-old\n+new" in made.diff and "Why: clearer." in made.comments[0]
    assert wrote(call(), "more.md", "more", branch="refs/pr/1").changed
    [said] = hub_pull_requests(call("c"), "thing", "comment", 1, "", "Looks good.", offset=0)
    hub_pull_requests(call(), "thing", "comment", 1, "", "Again.", offset=0)
    assert said.files == ["README.md", "more.md"] and said.comments[-1] == "local: Looks good."
    assert [p.number for p in hub_pull_requests(call(), "thing", offset=0)] == [1]
    [merged] = hub_pull_requests(call(), "thing", "merge", 1, offset=0)
    assert merged.status == "merged" and merged.merged_as == hub.model_info("local/thing").sha
    assert read_hub_file(call(), "thing", "more.md", offset=0).text == "more"
    for action in ("merge", "close"):
        with pytest.raises(ToolError, match="is merged"):
            hub_pull_requests(call(), "thing", action, 1, offset=0)  # type: ignore[arg-type]


def test_a_pull_request_is_looked_at_like_a_file(call: Call, hub: HfApi, sealed: None) -> None:
    wrote(call(), "README.md", "# Thing\n")
    for title, text, files, told in (
        ("Good", "", {"model.safetensors": "x"}, "would be weights"),
        ("Good", "", {"README.md": "accuracy 0.931"}, "nobody measured"),
        ("Accuracy 0.931", "", {"README.md": "x"}, "nobody measured"),
        ("Good", ITEMS[0]["question"], {"README.md": "x"}, "sealed evaluation"),
        ("Good", "", {"README.md": ITEMS[0]["question"]}, "sealed evaluation"),
        ("Good", "", {}, "1 to 20 files"),
        ("Good", "", {"README.md": "# Thing\n"}, "already"),
    ):
        with pytest.raises(ToolError, match=told):
            hub_pull_requests(call(), "thing", "open", None, title, text, files, offset=0)
    assert list(hub.get_repo_discussions("local/thing")) == []


def test_a_merge_does_not_change_a_measured_model(call: Call, hub: HfApi) -> None:
    hub.create_repo("thing", private=True)
    for name in ("ml_intern.json", "config.json"):
        hub.upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id="local/thing")
    for name in ("config.json", "notes.md"):
        hub.upload_file(path_or_fileobj=b'{"a": 1}', path_in_repo=name, repo_id="local/thing", create_pr=True)
    with pytest.raises(ToolError, match="measured without that"):
        hub_pull_requests(call(), "thing", "merge", 1, offset=0)
    assert hub_pull_requests(call(), "thing", "merge", 2, offset=0)[0].status == "merged"


@pytest.mark.thorough
def test_clashes_are_told_and_long_diffs_are_paged(call: Call, hub: HfApi) -> None:
    wrote(call(), "a.txt", "one\n")
    wrote(call(), "a.txt", "\n".join(f"line {chr(97 + n % 26)}" for n in range(3000)), pull_request=True)
    wrote(call(), "a.txt", "two\n")
    [first] = hub_pull_requests(call(), "thing", "show", 1, offset=0)
    assert first.conflicts == ["a.txt"] and first.next_offset == len(first.diff)
    [second] = hub_pull_requests(call(), "thing", "show", 1, offset=first.next_offset)
    assert second.diff and second.diff != first.diff
    with pytest.raises(ToolError, match=r"clashes with main: a\.txt"):
        hub_pull_requests(call(), "thing", "merge", 1, offset=0)
    [closed] = hub_pull_requests(call(), "thing", "close", 1, "", "stale", offset=0)
    assert closed.status == "closed"


def test_items_that_somebody_else_wrote_are_not_shown(call: Call, hub: HfApi, sealed: None) -> None:
    hub.create_repo("thing", private=True)
    for row in ITEMS[:2]:
        hub.upload_file(
            path_or_fileobj=row["question"].encode(),
            path_in_repo="a.md",
            repo_id="local/thing",
            create_pr=True,
        )
    hub.comment_discussion("local/thing", 1, ITEMS[2]["question"])
    [found] = hub_pull_requests(call(), "thing", "show", 1, offset=0)
    assert found.diff.startswith("(withheld") and ITEMS[2]["question"] not in str(found)


def test_a_collection_is_made_added_to_and_found(call: Call, hub: HfApi) -> None:
    hub.create_repo("m")
    hub.create_repo("d", repo_type="dataset")
    made = create_collection(call(), "Small things", {"local/m": "the model", "datasets/local/d": "its rows"})
    assert made.private and made.items == ["local/m", "datasets/local/d"] and not made.missing
    more = create_collection(call(), "Small things", ["papers/2311.12983", "local/none"])
    assert (
        more.slug == made.slug
        and more.items[-1] == "papers/2311.12983"
        and list(more.missing) == ["local/none"]
    )
    [found] = search_hub(call(), "small", "collection", 5)
    assert found["slug"] == made.slug and found["items"][0] == "local/m: the model"
    assert len(search_hub(call(), made.slug, "collection", 5)[0]["items"]) == 3
    with pytest.raises(ToolError, match="exists and is public"):
        hub.update_collection_metadata(made.slug, private=False)
        create_collection(call(), "Small things", ["local/m"])
    for title, items, told in (
        ("", ["local/m"], "1 to 59"),
        ("x" * 60, ["local/m"], "1 to 59"),
        ("A", [], "1 to 100"),
    ):
        with pytest.raises(ToolError, match=told):
            create_collection(call(), title, items)


def test_spaces_are_found(call: Call) -> None:
    wrote(call(), "README.md", "---\nsdk: gradio\n---\n", repo="show", kind="space")
    [found] = search_hub(call(), "sho", "space", 5)
    assert (found["id"], found["sdk"]) == ("local/show", "gradio")


def lost(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The answer to the next call of a method is lost on its way back."""
    real = getattr(HfApi, method)

    def call(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(HfApi, method, real)
        real(*args, **more)
        raise httpx.ReadTimeout("lost")

    monkeypatch.setattr(HfApi, method, call)


def test_what_was_done_before_an_answer_was_lost_is_not_done_again(
    call: Call, hub: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(method: str, tool: Callable[..., Any], *given: Any, **more: Any) -> Any:
        spec, key = tool.__tool__, f"key-{method}-{given}"  # type: ignore[attr-defined]
        assert spec.reconcile(call(key), key) is None
        lost(monkeypatch, method)
        with pytest.raises(httpx.ReadTimeout):
            tool(call(key), *given, **more)
        tool(call(key), *given, **more)  # as the router tries again
        return spec.reconcile(call(key), key)

    wrote(call(), "README.md", "# Thing\n")
    done = again("create_commit", write_hub_file, "thing", "a.txt", "one")
    assert done.commit == hub.model_info("local/thing").sha and done.path == "a.txt"
    proposed = ("thing", "open", None, "Better", "Why", {"a.txt": "two"})
    [opened] = again("create_commit", hub_pull_requests, *proposed, offset=0)
    assert opened.number == 1 and len(list(hub.get_repo_discussions("local/thing"))) == 1
    asked = {"offset": 0, "text": "Good."}
    assert again("comment_discussion", hub_pull_requests, "thing", "comment", 1, **asked)[0].comments[1:] == [
        "local: Good."
    ]
    [merged] = again("merge_pull_request", hub_pull_requests, "thing", "merge", 1, offset=0)
    assert merged.status == "merged" and len(hub.list_repo_commits("local/thing")) == 4


@pytest.mark.parametrize(
    ("tool", "given", "effect", "action"),
    [
        (hub_branches, {}, "read", "allow"),
        (hub_branches, {"create": "x"}, "publish", "ask"),
        (hub_branches, {"delete": "x"}, "destroy", "ask"),
        (hub_pull_requests, {}, "read", "allow"),
        (hub_pull_requests, {"action": "show", "number": 1}, "read", "allow"),
        (hub_pull_requests, {"action": "comment", "number": 1}, "publish", "allow"),
        (hub_pull_requests, {"action": "comment", "number": 1, "private": False}, "publish", "ask"),
        (hub_pull_requests, {"action": "close", "number": 1, "private": False}, "publish", "ask"),
        (hub_pull_requests, {"action": "merge", "number": 1}, "destroy", "ask"),
        (write_hub_file, {"path": "a.md", "text": "x"}, "publish", "allow"),
        (write_hub_file, {"path": "a.md", "text": "x", "private": False}, "publish", "ask"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_the_gate_asks_about_what_a_call_does(
    tool: Any, given: dict[str, Any], effect: str, action: str
) -> None:
    arguments = tool.__tool__.validate({"repo": "thing", **given})
    spec = tool.__tool__.for_call(arguments)
    decided = Gate([], Budget({})).decide(spec, arguments.model_dump(mode="json"), Price())
    assert (spec.effect, decided.action) == (effect, action)
    standing = Gate([], Budget({})).standing(spec, arguments.model_dump(mode="json"), Price(), decided)
    assert isinstance(standing, str) == (effect == "destroy"), "what cannot be undone is asked each time"
