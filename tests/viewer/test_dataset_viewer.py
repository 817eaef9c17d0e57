from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.loopback import Answer, Asked, Loopback, Reply

from ml_intern.context import Services, ToolContext
from ml_intern.data.results import DatasetView
from ml_intern.errors import ToolError
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.secrets.secrets import Secrets
from ml_intern.session.services import assemble
from ml_intern.settings import Settings
from ml_intern.tools.datasets import inspect_dataset
from ml_intern.viewer.client import Viewer, ViewerError
from ml_intern.viewer.features import bare, in_words
from ml_intern.web.client import Web

REPO = "lab/reviews"
TEXT = {"dtype": "string", "_type": "Value"}
LABEL = {"names": ["neg", "pos"], "_type": "ClassLabel"}
BUSY = {"error": "The server is busier than usual and the response is not ready yet. Please retry later."}


@dataclass
class Museum:
    """A viewer that has one dataset: a list of rows for each subset and split."""

    rows: dict[tuple[str, str], list[dict[str, Any]]]
    features: dict[str, Any] = field(default_factory=lambda: {"text": TEXT, "label": LABEL})
    failing: dict[str, Reply] = field(default_factory=dict)
    cut: tuple[str, ...] = ()

    def __call__(self, asked: Asked) -> Reply:
        if asked.path in self.failing:
            return self.failing[asked.path]
        if asked.query.get("dataset") != REPO:
            return Reply({"error": "The dataset does not exist, or is not accessible."}, 404)
        if asked.path == "/splits":
            named = [{"dataset": REPO, "config": c, "split": s} for c, s in self.rows]
            return Reply({"splits": named, "pending": [], "failed": []})
        found = self.rows[asked.query["config"], asked.query["split"]]
        first = int(asked.query.get("offset", 0))
        shown = found[first : first + int(asked.query.get("length", 100))]
        features = [
            {"feature_idx": n, "name": k, "type": v} for n, (k, v) in enumerate(self.features.items())
        ]
        numbered = [
            {"row_idx": first + n, "row": row, "truncated_cells": list(self.cut)}
            for n, row in enumerate(shown)
        ]
        total = {} if asked.path == "/first-rows" else {"num_rows_total": len(found), "partial": False}
        return Reply({"features": features, "rows": numbered, **total})


def reviews(count: int) -> list[dict[str, Any]]:
    return [{"text": f"It was film number {n} of that evening.", "label": n % 2} for n in range(count)]


@pytest.fixture
def museum() -> Museum:
    return Museum({("plain", "train"): reviews(230), ("plain", "test"): reviews(40)})


@pytest.fixture
def server(serve: Callable[[Answer], Loopback], museum: Museum) -> Loopback:
    return serve(museum)


@pytest.fixture
def services(tmp_path: Path, server: Loopback) -> Iterator[Services]:
    settings = Settings(
        state=tmp_path / "state",
        hub="embedded",
        web_mirrors={"dataset-viewer": server.url},
        web_cache=tmp_path / "pages",
    )
    folder = settings.state / "sessions" / "s"
    (folder / "workspace").mkdir(parents=True)
    made = assemble("s", folder, folder / "workspace", settings, BareSandbox(), lambda event: None)
    made.secrets = Secrets({"HF_TOKEN": "hf_" + "Zq4" * 11})
    yield made
    made.hub.close()
    if made.web:
        made.web.engine.close()


@pytest.fixture
def look(services: Services) -> Callable[..., DatasetView]:
    ctx = ToolContext(services, "call-1", "key-1", needs=("hub:read",))
    return lambda source=REPO, **more: inspect_dataset(ctx, source, **more)


def on_the_hub(services: Services, rows: list[dict[str, Any]], name: str = "train") -> None:
    """Put the dataset on the session's own Hub as well, to be downloaded."""
    api = services.hub.api
    api.create_repo(REPO, repo_type="dataset", exist_ok=True)
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    api.upload_file(
        path_or_fileobj=body, path_in_repo=f"data/{name}.jsonl", repo_id=REPO, repo_type="dataset"
    )


def test_a_first_look_needs_no_download(look: Callable[..., DatasetView], server: Loopback) -> None:
    view = look(rows=3)
    assert (view.rows, view.split, view.splits) == (230, "train", ["train", "test"])
    assert view.columns == {"text": "text", "label": "class: neg, pos"}
    assert view.sample[0] == {"text": "It was film number 0 of that evening.", "label": 0}
    assert "without a download" in view.notes[0] and "offset=3" in view.more
    assert server.paths() == ["/splits", "/rows"]
    assert not any("authorization" in asked.headers for asked in server.asked), "a token is not for a mirror"


def test_other_rows_and_splits_are_shown(look: Callable[..., DatasetView]) -> None:
    assert look(rows=2, offset=228).sample[-1]["text"].startswith("It was film number 229")
    assert look(rows=2, offset=228).more == ""
    assert look(split="test").rows == look(f"{REPO}:test").rows == 40
    assert look(rows=2, offset=500).sample == []
    with pytest.raises(ToolError, match="no split 'nowhere'"):
        look(split="nowhere")


def test_subsets_are_told(look: Callable[..., DatasetView], museum: Museum) -> None:
    museum.rows = {("b", "train"): reviews(3), ("a", "train"): reviews(5), ("a", "test"): reviews(2)}
    view = look()
    assert (view.split, view.rows) == ("b/train", 3) and "want the split as 'b/train'" in " ".join(view.notes)
    assert look(f"{REPO}:a/train").rows == 5 and look(split="test").split == "a/test"
    museum.rows = {("default", "train"): reviews(4), ("a", "train"): reviews(5)}
    assert look(f"{REPO}:a/train").rows == 5


@pytest.mark.parametrize(
    ("path", "reply", "told"),
    [
        ("/splits", Reply({"error": "Not found."}, 404), "closed"),
        pytest.param("/splits", Reply({"error": "Unauthorized"}, 401), "closed", marks=pytest.mark.thorough),
        ("/splits", Reply(BUSY, 500), "not ready"),
        pytest.param(
            "/splits",
            Reply("Internal Server Error.", 500, {"content-type": "text/plain"}),
            "broken",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "/splits", Reply({"error": "too many configs"}, 501), "broken", marks=pytest.mark.thorough
        ),
        ("/splits", Reply(b"{not json"), "unreachable|broken"),
        pytest.param("/splits", Reply({"splits": []}), "no split", marks=pytest.mark.thorough),
        ("/splits", Reply({"splits": "x", "pending": None}), "no split"),
    ],
    ids=["404", "401", "not ready", "plain 500", "501", "malformed", "empty", "of another shape"],
)
def test_what_the_viewer_has_not_is_downloaded_and_told(
    look: Callable[..., DatasetView], museum: Museum, services: Services, path: str, reply: Reply, told: str
) -> None:
    on_the_hub(services, reviews(6))
    museum.failing[path] = reply
    view = look()
    assert view.rows == 6 and view.notes[0].endswith("So it was downloaded.")
    assert any(word in view.notes[0] for word in told.split("|")), view.notes


def test_the_first_rows_stand_in_for_pages(look: Callable[..., DatasetView], museum: Museum) -> None:
    museum.failing["/rows"] = Reply({"error": "Unexpected error."}, 500)
    view = look(rows=2)
    assert len(view.sample) == 2 and "first 100 rows alone" in " ".join(view.notes)


def test_who_is_not_on_the_viewer_is_not_asked(
    look: Callable[..., DatasetView], server: Loopback, services: Services
) -> None:
    (services.files.workspace / "rows.jsonl").write_text('{"text": "x"}\n')
    look("rows.jsonl")
    look("python-stdlib", rows=1)
    look("rows.jsonl:train")
    with pytest.raises(ToolError):
        look("lab/none@main")
    assert server.paths() == []
    on_the_hub(services, reviews(6))
    services.hub.download_dataset(REPO)
    assert look().rows == 6 and server.paths() == [], "what is here is read here"


def test_a_gated_dataset_that_nobody_may_read_says_so(look: Callable[..., DatasetView]) -> None:
    with pytest.raises(ToolError, match="no dataset 'lab/secret'"):
        look("lab/secret")


def test_what_is_sealed_is_not_shown(
    look: Callable[..., DatasetView], museum: Museum, services: Services
) -> None:
    rows = [{**row, "split": "dev" if n % 2 else "test"} for n, row in enumerate(held(30))]
    services.evals.register("quiz", rows, ["exact_match"], input="text", target="label", split_by="split")
    museum.rows = {("plain", "train"): [*reviews(10), *({"text": r["text"], "label": 0} for r in held(2))]}
    on_the_hub(services, museum.rows["plain", "train"])
    view = look(rows=50)
    assert view.rows == 10 and "held out" in " ".join(view.notes)
    assert held(1)[0]["text"] not in str(view)


def test_cut_cells_do_not_hide_an_item(
    look: Callable[..., DatasetView], museum: Museum, services: Services
) -> None:
    on_the_hub(services, reviews(6))
    museum.cut = ("text",)
    assert "cut long cells of text" in " ".join(look().notes)
    services.evals.register("quiz", [{**r, "split": "dev"} for r in held(12)], ["exact_match"],
                            input="text", target="label", split_by="split")  # fmt: skip
    assert look().rows == 6, "the whole was loaded"


def test_the_source_of_an_evaluation_stays_closed(
    look: Callable[..., DatasetView], services: Services, server: Loopback
) -> None:
    rows = [{**row, "split": "dev"} for row in held(12)]
    services.evals.register("reviews", rows, ["exact_match"], input="text", target="label", split_by="split")
    with pytest.raises(ToolError, match="no tool opens it"):
        look(split="test")
    with pytest.raises(ToolError, match="no tool opens it"):
        look(f"{REPO}:test")
    assert "/rows" not in server.paths()


def held(count: int) -> list[dict[str, str]]:
    words = [
        "amber",
        "brine",
        "cedar",
        "dune",
        "elm",
        "frost",
        "grove",
        "heron",
        "iris",
        "jade",
        "kelp",
        "larch",
    ]
    return [
        {"text": " ".join(words[(n * 5 + k * (n + 1)) % 12] + str(n) for k in range(9)), "label": words[n % 12]}
        for n in range(count)
    ]  # fmt: skip


def test_the_token_goes_to_its_own_host_only(make_web: Callable[..., Web], server: Loopback) -> None:
    own = Secrets({"HF_TOKEN": "hf_" + "Zq4" * 11}).credential("hub")
    assert own is not None and own.belongs_to("https://datasets-server.huggingface.co/rows")
    assert Viewer(make_web(server.url), own).splits(REPO).splits
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("feature", "told"),
    [
        (TEXT, "text"),
        ({"dtype": "int64", "_type": "Value"}, "integer"),
        ({"dtype": "float32", "_type": "Value"}, "number"),
        ({"dtype": "timestamp[s]", "_type": "Value"}, "time"),
        (LABEL, "class: neg, pos"),
        ({"feature": TEXT, "_type": "List"}, "list of text"),
        ([{"role": TEXT, "content": TEXT}], "list of {role: text, content: text}"),
        ({"_type": "Image"}, "image"),
        ({"languages": ["en"], "_type": "Translation"}, "translation"),
        (None, "unknown"),
    ],
    ids=["text", "integer", "number", "time", "class", "list", "messages", "image", "translation", "none"],
)
def test_types_are_told_in_words(feature: Any, told: str) -> None:
    assert in_words(feature) == told


def test_media_are_told_without_their_addresses() -> None:
    image = {"src": "https://x/y.jpg?Signature=z", "height": 2, "width": 3}
    assert bare(image, {"_type": "Image"}) == "(image 3×2)"
    assert bare([{"src": "s", "type": "audio/wav"}], {"_type": "Audio"}) == "(audio)"
    assert bare([image], {"feature": {"_type": "Image"}, "_type": "List"}) == ["(image 3×2)"]
    assert bare({"a": image}, {"a": {"_type": "Image"}}) == {"a": "(image 3×2)"}


def test_a_question_that_is_wrong_is_told(
    make_web: Callable[..., Web], museum: Museum, server: Loopback
) -> None:
    museum.failing["/filter"] = Reply({"error": "Parameter 'where' contains invalid symbols"}, 422)
    with pytest.raises(ViewerError, match="contains invalid symbols") as caught:
        Viewer(make_web(server.url)).filter(REPO, "plain", "train", "; drop")
    assert caught.value.why == "refused" and len(server.asked) == 1


def test_what_the_viewer_says_is_short_and_one_line(
    make_web: Callable[..., Web], museum: Museum, server: Loopback
) -> None:
    long = {"error": 'a "word"\nand more ' * 200, "cause_traceback": ["x" * 5000]}
    museum.failing["/size"] = Reply(long, 500)
    with pytest.raises(ViewerError) as caught:
        Viewer(make_web(server.url)).size(REPO)
    assert (
        len(caught.value.message) < 320
        and "\n" not in caught.value.message
        and 'a "word" and' in caught.value.message
    )
    assert len(server.asked) == 2, "one more try, since there is another way"
