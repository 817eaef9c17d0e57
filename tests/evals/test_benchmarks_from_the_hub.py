"""``--eval NAME``: the host fetches a benchmark from the Hub and seals it; nobody reads it afterwards."""

from __future__ import annotations

import http.server
import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.context import Services, ToolContext
from ml_intern.errors import ToolError, UsageError
from ml_intern.evals import fetching
from ml_intern.evals.named import Kept, bring
from ml_intern.hub.client import Hub
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings
from ml_intern.tools import auditing, datasets, reshaping
from ml_intern.tools import hub as hub_tools

THINGS = ["lanterns", "kites", "oars", "baskets", "ropes"]
SYLLABLES = [
    "ba",
    "de",
    "fi",
    "go",
    "lu",
    "ma",
    "ne",
    "pi",
    "ro",
    "su",
    "ta",
    "ve",
    "wi",
    "zo",
    "ka",
    "le",
    "mi",
    "no",
]
CARD = """---
license: mit
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
- config_name: socratic
  data_files:
  - split: train
    path: socratic/train-*
  - split: test
    path: socratic/test-*
---
# Sums
"""


def sums(kind: str, count: int) -> list[dict[str, str]]:
    """Sums in words, each about people and places of its own; those of `test` and of `train` share none."""
    draw = random.Random(kind)

    def name() -> str:
        return "".join(draw.choices(SYLLABLES, k=4)).capitalize()

    rows = []
    for n in range(count):
        a, b, what = 20 + n, 1 + n % 17, THINGS[n % 5]
        who = f"On the way from {name()} to {name()}, {name()} of {name()} carries {a} {what}"
        question = f"{who} and {name()} from {name()} brings {b} more. How many {what} come to {name()}?"
        rows.append({"question": question, "answer": f"{a} and {b} make {a + b}.\n#### {a + b:,}"})
    return rows


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.chdir(tmp_path)
    settings = Settings(state=tmp_path / "state", hub="embedded")
    folder = settings.state / "sessions" / "one"
    (folder / "workspace").mkdir(parents=True)
    made = assemble("one", folder, folder / "workspace", settings, BareSandbox(), lambda event: None)
    yield made
    made.hub.close()


@pytest.fixture
def ctx(services: Services) -> ToolContext:
    return ToolContext(services, "call", "key")


def upload(hub: Hub, repository: str, files: dict[str, list[dict[str, Any]] | str], folder: Path) -> None:
    """A dataset of the Hub: tables by their names, texts as they are."""
    for name, content in files.items():
        path = folder / repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        elif name.endswith(".parquet"):
            pl.DataFrame(content).write_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
    with hub.reach():
        hub.api.create_repo(repository, repo_type="dataset", exist_ok=True)
        hub.api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=folder / repository)


def gsm8k(hub: Hub, folder: Path, **changed: Any) -> None:
    """As it lies on the Hub, but small and with other sums."""
    socratic = [{"question": r["question"], "answer": "Why? " + r["answer"]} for r in sums("test", 90)]
    files: dict[str, Any] = {
        "README.md": CARD,
        "main/train-00000-of-00001.parquet": sums("train", 120),
        "main/test-00000-of-00001.parquet": sums("test", 90),
        "socratic/train-00000-of-00001.parquet": sums("train", 120),
        "socratic/test-00000-of-00001.parquet": socratic,
    }
    upload(hub, "openai/gsm8k", {k: v for k, v in (files | changed).items() if v is not None}, folder)


def seal(services: Services, said: str = "gsm8k", **given: Any) -> None:
    settings = services.settings.model_copy(update={"eval": said, **given})
    for brought in bring(settings, lambda: services.hub):
        brought.seal(services.evals)


def test_a_benchmark_is_fetched_and_sealed(services: Services, tmp_path: Path) -> None:
    gsm8k(services.hub, tmp_path / "up")
    settings = services.settings.model_copy(update={"eval": "gsm8k"})
    [brought] = bring(settings, lambda: services.hub)
    info = brought.seal(services.evals)

    assert sum(info.rows.values()) == 90 and min(info.rows.values()) > 25, "halved by content"
    assert (info.scorers, info.primary) == (["numeric_match", "math_match"], "numeric_match")
    assert info.asking.prompt == "Question: {input}\nAnswer:" and info.asking.max_new_tokens == 512
    targets = {item.target for item in services.evals._items("gsm8k")}
    assert targets == {str(20 + n + 1 + n % 17) for n in range(90)}, "what stands behind #### and no more"
    assert brought.told.startswith("gsm8k: 90 items of openai/gsm8k (test, commit ") and "mit" in brought.told
    fetched = {p.name.split("-")[0] for p in services.hub.cache.rglob("*.parquet")}
    assert fetched == {"test"}, "the rest of the repository is not downloaded"
    assert services.settings.state in services.hub.cache.parents, "where no cell and no tool reads"

    # The session goes on: nothing is asked of a Hub that may be gone by then.
    def gone() -> Hub:
        raise AssertionError

    [kept] = bring(settings, gone, services.evals.folder)
    assert isinstance(kept, Kept) and kept.seal(services.evals).sha256 == info.sha256


class HalfRight(AnsweringJobs):
    """A model that works every second sum out as the benchmark does."""

    def _answer(self, task: dict[str, Any], config: dict[str, Any], output: Path) -> None:
        known = {f"Question: {row['question']}\nAnswer:": row["answer"] for row in sums("test", 90)}
        self.read.append(Path(task["file"]).read_text())
        prompts = [json.loads(line)["prompt"] for line in self.read[-1].splitlines()]
        texts = [known[p] if n % 2 else "I do not know." for n, p in enumerate(prompts)]
        rows = [{"row": n, "sample": 0, "text": text, "finished": True} for n, text in enumerate(texts)]
        (output / f"{task['name']}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_model_is_measured_on_it(services: Services, tmp_path: Path) -> None:
    gsm8k(services.hub, tmp_path / "up")
    seal(services)
    jobs: Any = HalfRight(services.evals.folder / "jobs")
    services.evals.jobs = jobs
    scores = services.evals.evaluate(make_model(tmp_path / "m", 0.5), "gsm8k")
    rows = services.evals.get("gsm8k").rows
    assert scores.value.n == rows["dev"] and scores.value.value == (rows["dev"] // 2) / rows["dev"]
    assert "####" not in jobs.read[0], "what is right stays with the host"
    with pytest.raises(ToolError, match="The test split is sealed"):
        services.evals.evaluate(tmp_path / "m", "gsm8k", "test")


def test_the_metric_that_the_person_named_decides(services: Services, tmp_path: Path) -> None:
    gsm8k(services.hub, tmp_path / "up")
    seal(services, metric="math_match")
    assert services.evals.get("gsm8k").primary == "math_match"


@pytest.mark.parametrize(
    "source", ["openai/gsm8k:test", "openai/gsm8k:main/test", "openai/gsm8k:socratic/test"]
)
def test_no_tool_opens_its_test_split(
    services: Services, ctx: ToolContext, tmp_path: Path, source: str
) -> None:
    gsm8k(services.hub, tmp_path / "up")
    seal(services)
    for open_ in (
        lambda: datasets.inspect_dataset(ctx, source),
        lambda: auditing.audit_dataset(ctx, source),
        lambda: reshaping.reformat_dataset(ctx, source, "language_modeling"),
        lambda: hub_tools.read_hub_file(ctx, "openai/gsm8k", "main/test-00000-of-00001.parquet", "dataset"),
    ):
        with pytest.raises(ToolError, match="where the sealed evaluation 'gsm8k' comes from"):
            open_()


def test_its_training_split_is_open_and_guarded(services: Services, ctx: ToolContext, tmp_path: Path) -> None:
    planted = [*sums("train", 120), {**sums("test", 90)[7], "answer": "I do not know. #### 0"}]
    gsm8k(services.hub, tmp_path / "up", **{"main/train-00000-of-00001.parquet": planted})
    seal(services)
    table = services.datasets.open("openai/gsm8k:main/train")
    assert table.rows.height == 121
    shown = datasets.inspect_dataset(ctx, "openai/gsm8k:main/train")
    assert shown.rows == 120 and any("held out in gsm8k" in note for note in shown.notes)
    assert auditing.audit_dataset(ctx, "openai/gsm8k:main/train").rows == 120
    assert services.evals.guard(planted).row_numbers == [120]


def test_a_search_finds_datasets_and_says_which_are_sealed(
    services: Services, ctx: ToolContext, tmp_path: Path
) -> None:
    gsm8k(services.hub, tmp_path)
    assert [(d.id, d.sealed) for d in datasets.search_datasets(ctx, "gsm8k", limit=5)] == [
        ("openai/gsm8k", "")
    ]
    seal(services)
    [found] = datasets.search_datasets(ctx, "GSM", limit=5)
    assert (found.id, found.sealed, found.gated) == ("openai/gsm8k", "gsm8k", False)
    assert datasets.search_datasets(ctx, "nothing of the kind", limit=5) == []


def test_a_renamed_copy_is_known_by_its_rows(services: Services, ctx: ToolContext, tmp_path: Path) -> None:
    gsm8k(services.hub, tmp_path / "up")
    rows = [{"text": f"Task. {r['question']} Think."} for r in sums("test", 90)]
    upload(services.hub, "thief/sums-for-school", {"train.jsonl": rows}, tmp_path / "up")
    seal(services)
    with pytest.raises(ToolError, match="is a copy of the sealed evaluation gsm8k"):
        datasets.inspect_dataset(ctx, "thief/sums-for-school")


def test_a_benchmark_with_both_splits_keeps_them(
    services: Services, ctx: ToolContext, tmp_path: Path
) -> None:
    def questions(kind: str, count: int) -> list[dict[str, Any]]:
        return [
            {
                "question": f"Which of these does a {THINGS[n % 5]} maker in {kind} need on day {n}?",
                "choices": {"text": ["glue", f"{n} nails", "rain"], "label": ["A", "B", "C"]},
                "answerKey": "ABC"[n % 3],
            }
            for n in range(count)
        ]

    # Another configuration of the same repository lies beside it, and has its own splits.
    files: dict[str, Any] = {
        f"{config}/{split}-0.parquet": questions(f"{config} {split}", count)
        for config in ("ARC-Easy", "ARC-Challenge")
        for split, count in (("train", 9), ("validation", 12), ("test", 15))
    }
    upload(services.hub, "allenai/ai2_arc", files, tmp_path / "up")
    seal(services, "arc-easy")
    info = services.evals.get("arc-easy")
    assert info.rows == {"dev": 12, "test": 15}
    assert all("ARC-Easy" in item.input for item in services.evals._items("arc-easy"))
    with pytest.raises(ToolError, match="comes from"):
        datasets.inspect_dataset(ctx, "allenai/ai2_arc:ARC-Easy/validation")


def test_a_repository_of_a_script_has_its_converted_rows(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """huggingface.co keeps them on a branch of its own, whose name no other Hub gives away."""
    monkeypatch.setattr(fetching, "CONVERTED", "converted")
    rows = [
        {
            "activity_label": "Roof work",
            "ctx": f"A man of {n} stands",
            "endings": ["up.", "on."],
            "label": str(n % 2),
        }
        for n in range(12)
    ]
    upload(
        services.hub,
        "Rowan/hellaswag",
        {"hellaswag.py": "print()", "README.md": "---\nlicense: mit\n---\n"},
        tmp_path,
    )
    with pytest.raises(UsageError, match=r"has no split 'validation'\. It has no data files"):
        seal(services, "hellaswag")
    folder = tmp_path / "converted" / "default" / "validation"
    folder.mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(folder / "0000.parquet")
    with services.hub.reach():
        api, where = services.hub.api, {"repo_type": "dataset", "revision": "converted"}
        api.create_branch("Rowan/hellaswag", branch="converted", repo_type="dataset")
        api.upload_folder(repo_id="Rowan/hellaswag", folder_path=tmp_path / "converted", **where)
    seal(services, "hellaswag")
    assert sum(services.evals.get("hellaswag").rows.values()) == 12


def test_several_at_once(services: Services, tmp_path: Path) -> None:
    gsm8k(services.hub, tmp_path / "up")
    (tmp_path / "exam.jsonl").write_text('{"input": "What is it?", "target": "A kite."}\n')
    upload(
        services.hub,
        "EleutherAI/lambada_openai",
        {"test.jsonl": [{"text": "It was a kite."}]},
        tmp_path / "up",
    )
    seal(services, "lambada, exam.jsonl, gsm8k")
    assert [e.name for e in services.evals.list()] == ["exam", "gsm8k", "lambada"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"main/test-00000-of-00001.parquet": [{"q": "How many?", "a": "#### 1"}]}, "no column 'question'"),
        (
            {"main/test-00000-of-00001.parquet": [{"question": "How many?", "answer": "1"}]},
            "no result behind ####",
        ),
        ({"main/test-00000-of-00001.parquet": None, "README.md": None}, "has no split 'main/test'. It has"),
        (
            {
                "main/test-00000-of-00001.parquet": None,
                "main/test-00000-of-00001.jsonl": "",
            },
            "test-00000-of-00001.jsonl is empty",
        ),
        ({"main/test-00000-of-00001.parquet": "no parquet"}, "test-00000-of-00001.parquet"),
    ],
    ids=["columns", "answers", "split", "empty", "broken"],
)
def test_a_repository_that_has_changed_is_told(
    services: Services, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    gsm8k(services.hub, tmp_path / "up", **changed)
    with pytest.raises(UsageError) as error:
        seal(services)
    assert told in str(error.value) and str(error.value).startswith("gsm8k")
    assert "\n" not in str(error.value) and services.evals.list() == []


def test_a_repository_or_revision_that_is_not_there(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match=r"no dataset openai/gsm8k on the embedded Hub.*ML_INTERN_HUB=remote"
    ):
        seal(services)
    gsm8k(services.hub, tmp_path / "up")
    from ml_intern.evals import benchmarks

    row = benchmarks.benchmarks()["gsm8k"].model_copy(update={"revision": "v9"})
    monkeypatch.setattr(benchmarks, "find", lambda name: row)
    with pytest.raises(UsageError, match=r"gsm8k: .*no such revision"):
        seal(services)


def test_the_hub_is_out_of_reach(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state", hub="remote", eval="gsm8k")
    hub = Hub(settings, settings.state, {"HF_ENDPOINT": "http://127.0.0.1:9"})
    with pytest.raises(UsageError) as error:
        bring(settings, lambda: hub)
    assert "http://127.0.0.1:9 is out of reach, so gsm8k cannot be fetched" in error.value.message
    assert "--eval gsm8k.jsonl" in error.value.hint and "\n" not in str(error.value)


@pytest.fixture
def refusing() -> Iterator[Callable[..., str]]:
    """A Hub that answers everything with one status and one code."""
    servers = []

    def start(status: int, code: str) -> str:
        class Refuse(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", "Access to this dataset is restricted.")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (
            403,
            "GatedRepo",
            "gpqa-diamond is gated.*Accept them on https://huggingface.co/datasets/Idavidrein/gpqa",
        ),
        (401, "", "gpqa-diamond is gated"),
        (404, "RepoNotFound", "there is no dataset Idavidrein/gpqa on http://127"),
        (500, "", "is out of reach, so gpqa-diamond cannot be fetched"),
    ],
)
def test_a_hub_that_refuses(
    refusing: Callable[..., str], tmp_path: Path, status: int, code: str, told: str
) -> None:
    settings = Settings(state=tmp_path / "state", hub="remote", eval="gpqa-diamond")
    hub = Hub(settings, settings.state, {"HF_ENDPOINT": refusing(status, code)})
    with pytest.raises(UsageError, match=told) as error:
        bring(settings, lambda: hub)
    assert "\n" not in str(error.value)
