from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import Lineage
from ml_intern.errors import Interrupted, ToolError
from ml_intern.events import Event, Notice, Published
from ml_intern.hub import publishing
from ml_intern.hub.card import model_card
from ml_intern.hub.publishing import Intent
from ml_intern.journal.journal import Journal
from ml_intern.ledger.model import Measured, Scores
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.services import assemble
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in
from ml_intern.tools import hub as tools
from ml_intern.tools.jobs import wait_for_job
from ml_intern.tools.splitting import split_dataset
from ml_intern.tools.training import launch_training

SESSION = "20261121-001659-ab12"
MAKE_MODEL = """
import sys
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
made = ByteLevelBPETokenizer()
made.train_from_iterator(["def f(x): return x"], vocab_size=300, special_tokens=["<eos>"])
PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<eos>").save_pretrained(sys.argv[1])
size = dict(vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **size)).save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model"
    subprocess.run([sys.executable, "-c", MAKE_MODEL, str(path)], check=True, capture_output=True)
    return path


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def services(tmp_path: Path, events: list[Event]) -> Iterator[Services]:
    settings = Settings(state=tmp_path / "state", hub="embedded")
    folder = settings.state / "sessions" / SESSION
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps({"id": SESSION, "prompt": "train a model"}))
    made = assemble(SESSION, folder, workspace, settings, BareSandbox(), events.append)
    yield made
    made.hub.close()


@pytest.fixture
def call(services: Services) -> Callable[..., ToolContext]:
    return lambda key="key-1": ToolContext(services, "call-1", key)


def trained(services: Services, fill: Callable[[Path], object], job: str = "run-1") -> str:
    """An experiment whose job has ended; `fill` makes its model."""
    folder = services.folder / "jobs" / job
    model = folder / "output" / "model"
    model.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps({"name": "run", "method": "pretrain"}))
    status = {"id": job, "name": "run", "method": "pretrain", "state": "succeeded", "created": 1.0}
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 5.5}\n')
    fill(model)
    experiment = services.ledger.start("it learns", "learning rate 3e-3")
    data = services.datasets.save("lines", [{"text": "x = 1"}, {"text": "y = 2"}], lineage())
    config = {"learning_rate": 3e-3, "dataset": str(services.datasets.path(data.id))}
    told = {"train": {"id": data.id, "rows": 2}}
    services.ledger.attach(experiment.id, job=job, config=config, seconds=8.5, data=told)
    return experiment.id


def lineage() -> Lineage:
    return Lineage(
        source="python-stdlib", operation="reformat_dataset", arguments={"target": "lines"}, rows_before=3
    )


def copy_of(model: Path) -> Callable[[Path], object]:
    return lambda target: [(target / p.name).write_bytes(p.read_bytes()) for p in model.iterdir()]


def imitation(target: Path) -> None:
    """Weights that nothing can load, for tests that never get that far."""
    head = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    (target / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 24)
    (target / "config.json").write_text('{"model_type": "llama"}')


@pytest.mark.slow
@pytest.mark.timeout(900)  # two evaluations and a loading back, each of which imports torch
def test_a_model_is_published_once_and_loads_for_everybody(
    services: Services, call: Callable[..., ToolContext], events: list[Event], tiny_model: Path
) -> None:
    experiment = trained(services, copy_of(tiny_model))
    job = services.folder / "jobs" / "run-1" / "output" / "model"
    (job / "optimizer.pt").write_bytes(b"x")
    (job / "evil.py").write_text("boom")
    rows = [{"text": f"x = {i}", "split": "dev" if i % 2 else "test"} for i in range(60)]
    services.evals.register("statements", rows, ["bits_per_byte"], split_by="split")
    dev = services.evals.evaluate(job, "statements", experiment=experiment)
    services.ledger.finish(experiment, "kept", f"measured {dev.value.value:.2f} bits per byte")

    found = tools.publish_model(call(), experiment, "tiny")

    assert found.verified and not found.problem and found.private and found.repo == "local/tiny"
    assert found.test["bits_per_byte"].n == 30 and services.ledger.get(experiment).frozen
    assert [p.commit for p in services.ledger.get(experiment).published] == [found.commit]
    assert [e.repo for e in events if isinstance(e, Published)] == ["local/tiny"]
    files = tools.inspect_repo(call(), "tiny", files=100).files
    assert {"README.md", "config.json", "ml_intern.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert not {"optimizer.pt", "evil.py"} & set(files)
    card = Path(found.card).read_text()
    assert (
        f"{found.test['bits_per_byte'].value:#.4g}" in card
        and "lines@1" in card
        and str(services.folder) not in card
    )
    assert Path(found.report).exists() and services.files.workspace in Path(found.report).parents
    with services.hub.reach():
        titles = [c.title for c in services.hub.api.list_repo_commits("local/tiny")]
    assert len(titles) == 2, "the model came in one commit"
    trail = json.loads(tools.read_hub_file(call(), "tiny", "ml_intern.json", offset=0).text)
    assert trail["experiment"]["test"] and str(services.folder) not in json.dumps(trail)

    again = tools.publish_model(call(), experiment, "tiny")
    assert again.commit == found.commit
    with pytest.raises(ToolError, match="opened for"):
        tools.publish_model(call("key-2"), trained(services, copy_of(tiny_model), "run-2"), "other")

    env = {"PATH": os.environ["PATH"], "HOME": str(services.folder), "HF_HUB_DISABLE_XET": "1"}
    typed = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; {found.load}"
    loaded = subprocess.run(["bash", "-c", typed], env=env, capture_output=True, text=True, check=False)
    assert "LlamaForCausalLM" in loaded.stdout, loaded.stderr


@pytest.mark.slow
@pytest.mark.thorough
def test_what_a_card_says_can_be_done_again(services: Services, call: Callable[..., ToolContext]) -> None:
    rows = [{"text": f"x{i} = {i} + {i % 7}"} for i in range(400)]
    services.datasets.save("sums", rows, lineage())
    experiment = services.ledger.start("it learns", "a first try", seed=5).id
    size = {
        "config": {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    }
    job = launch_training(
        call("train"),
        "pretrain",
        {**size, "tokenizer": {"vocab_size": 280}},
        "sums",
        {"max_steps": 5, "learning_rate": 3e-3},
        experiment=experiment,
        seed=5,
    )
    wait_for_job(call("wait"), job.id)
    found = tools.publish_model(call("publish"), experiment, "sums")
    card = Path(found.card).read_text()
    assert (
        "| `learning_rate` | 0.003 |" in card and "sums@1" in card and "python training/pretrain.py" in card
    )

    with services.hub.reach():
        copy = Path(services.hub.api.snapshot_download(found.repo, local_dir=services.folder / "copy"))
    assert str(services.folder) not in (copy / "training" / "config.json").read_text()
    (copy / "data.jsonl").write_bytes(services.datasets.path("sums").read_bytes())
    argv = [sys.executable, "training/pretrain.py", "training/config.json"]
    done = subprocess.run(argv, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = copy / "output" / "model" / "model.safetensors"
    assert again.read_bytes() == (copy / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_after_a_crash_the_push_is_found_and_not_repeated(
    services: Services, call: Callable[..., ToolContext], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_intern.hub.publishing import Intent

    experiment = trained(services, copy_of(tiny_model))
    spec = tools.publish_model.__tool__  # type: ignore[attr-defined]
    assert spec.reconcile(call(), "key-1") is None, "nothing was begun"

    saved = Intent.save

    def dies_after_the_push(self: Intent, folder: Path) -> None:
        if self.commit:
            raise KeyboardInterrupt
        saved(self, folder)

    monkeypatch.setattr(Intent, "save", dies_after_the_push)
    with pytest.raises(KeyboardInterrupt):
        tools.publish_model(call(), experiment, "tiny")
    monkeypatch.undo()
    assert services.ledger.get(experiment).published == []

    found = spec.reconcile(call(), "key-1")
    assert found.verified and [p.commit for p in services.ledger.get(experiment).published] == [found.commit]
    assert spec.reconcile(call(), "another-key") is None
    with services.hub.reach():
        assert len(services.hub.api.list_repo_commits("local/tiny")) == 2


def test_what_nobody_measured_is_not_published(services: Services, call: Callable[..., ToolContext]) -> None:
    experiment = trained(services, imitation)
    services.ledger.finish(experiment, "inconclusive", "gets 93.7% right")
    with pytest.raises(ToolError, match=r"93\.7%") as caught:
        tools.publish_model(call(), experiment, "tiny")
    assert "finish_experiment" in caught.value.hint
    _nothing_was_published(services)


def test_a_link_in_the_models_folder_is_not_followed(
    services: Services, call: Callable[..., ToolContext], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hf_secret")

    def fill(target: Path) -> None:
        imitation(target)
        (target / "tokenizer.json").symlink_to(tmp_path / "secret")

    with pytest.raises(ToolError, match=r"tokenizer\.json"):
        tools.publish_model(call(), trained(services, fill), "tiny")
    _nothing_was_published(services)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: (p / "model.safetensors").unlink(), "no weights"),
        (lambda p: (p / "model.safetensors").write_bytes(b"\xff" * 40), "cannot be read"),
        (lambda p: (p / "config.json").unlink(), "no trained model"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    services: Services, call: Callable[..., ToolContext], spoil: Callable[[Path], object], words: str
) -> None:
    def fill(target: Path) -> None:
        imitation(target)
        spoil(target)

    with pytest.raises(ToolError, match=words):
        tools.publish_model(call(), trained(services, fill), "tiny")
    _nothing_was_published(services)


def test_a_stopped_run_publishes_nothing(services: Services) -> None:
    experiment = trained(services, imitation)
    ctx = ToolContext(services, "call-1", "key-1", cancelled=lambda: True)
    with pytest.raises(Interrupted):
        tools.publish_model(ctx, experiment, "tiny")
    _nothing_was_published(services)


@pytest.mark.thorough
def test_a_model_that_does_not_load_is_told(
    services: Services, call: Callable[..., ToolContext], events: list[Event]
) -> None:
    found = tools.publish_model(call(), trained(services, imitation), "broken")
    assert not found.verified and found.problem and "\n" not in found.problem
    assert any(isinstance(e, Notice) and e.level == "warning" for e in events)


def test_wrong_names_are_told_before_anything_happens(
    services: Services, call: Callable[..., ToolContext]
) -> None:
    experiment = trained(services, imitation)
    for repo in ("a/b/c", "../x", "a b", ""):
        with pytest.raises(ToolError, match="repository name"):
            tools.publish_model(call(), experiment, repo)
    with pytest.raises(ToolError, match="exp-9"):
        tools.publish_model(call(), "exp-9", "tiny")
    with pytest.raises(ToolError, match="no trained model"):
        tools.publish_model(call(), services.ledger.start("h", "c").id, "tiny")
    assert not services.ledger.get(experiment).frozen
    _nothing_was_published(services)


def sealed(services: Services) -> None:
    """An eval whose test split a publication opens."""
    rows = [{"text": f"x = {i}", "split": "dev" if i % 2 else "test"} for i in range(20)]
    services.evals.register("statements", rows, ["bits_per_byte"], split_by="split")


def test_a_target_that_is_refused_leaves_the_test_split_sealed(
    services: Services, call: Callable[..., ToolContext], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("open")
    (tmp_path / "open").mkdir()
    (tmp_path / "a.txt").rename(tmp_path / "open" / "a.txt")
    services.hub.publish_folder(tmp_path / "open", "seen", "model", False, "open")
    experiment = trained(services, imitation)
    sealed(services)
    with pytest.raises(ToolError, match="public") as caught:
        tools.publish_model(call(), experiment, "seen")
    assert "private=False" in caught.value.hint
    row = services.ledger.get(experiment)
    assert not row.frozen and not row.test
    assert not list(services.folder.glob("publish/*.json"))


@pytest.mark.slow
@pytest.mark.thorough
def test_after_a_failed_upload_publishing_goes_on(
    services: Services,
    call: Callable[..., ToolContext],
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import HfApi

    experiment = trained(services, copy_of(tiny_model))
    sealed(services)

    def refuses(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(HfApi, "upload_folder", refuses)
    with pytest.raises(ToolError, match="No space left") as caught:
        tools.publish_model(call(), experiment, "tiny")
    monkeypatch.undo()
    model = services.folder / "jobs" / "run-1" / "output" / "model"
    for part in (f"{experiment} is frozen with its test score", str(model), "publish_model"):
        assert part in caught.value.hint
    row = services.ledger.get(experiment)
    assert row.frozen and row.test and not row.published

    found = tools.publish_model(call("key-2"), experiment, "tiny")
    assert found.verified and found.test == row.test


def test_an_answer_that_was_lost_is_no_second_upload(
    services: Services, call: Callable[..., ToolContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    services.settings.tool_retries = 2
    services.datasets.save("statements", [{"text": "x = 1"}], lineage())
    publish = services.hub.publish_folder
    tried = []

    def loses(*given: Any) -> Any:
        tried.append(given)
        publish(*given)
        raise httpx.ReadError("the connection was lost")

    monkeypatch.setattr(services.hub, "publish_folder", loses)
    found = tools.publish_dataset(call(), "statements", "rows")
    assert len(tried) == 1
    with services.hub.reach():
        assert len(services.hub.api.list_repo_commits("local/rows", repo_type="dataset")) == 2
        info = services.hub.api.repo_info("local/rows", repo_type="dataset")
    assert info.sha == found.commit


def test_a_dataset_is_published_with_where_it_came_from(
    services: Services, call: Callable[..., ToolContext], events: list[Event]
) -> None:
    rows = [{"text": f"x = {i}", "label": i} for i in range(7)]
    info = services.datasets.save("statements", rows, lineage())
    found = tools.publish_dataset(call(), "statements", "rows")
    again = tools.publish_dataset(call(), "statements", "rows")
    assert (found.repo, found.rows, found.private) == ("local/rows", 7, True) and again.commit == found.commit
    view = tools.inspect_repo(call(), "rows", kind="dataset", files=10)
    assert set(view.files) == {".gitattributes", "README.md", "data/train.jsonl"}
    assert "python-stdlib" in view.card and "reformat_dataset" in view.card
    page = tools.read_hub_file(call(), "rows", "data/train.jsonl", kind="dataset", offset=0)
    assert [json.loads(line) for line in page.text.splitlines()] == rows
    assert Path(services.hub.download_dataset("local/rows:train"), "data", "train.jsonl").exists()
    assert services.datasets.open("local/rows").rows.height == 7
    assert info.sha256 in Path(found.card).read_text()
    assert [e.kind_of_repo for e in events if isinstance(e, Published)] == ["dataset", "dataset"]


def test_looking_at_repositories(
    services: Services, call: Callable[..., ToolContext], tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "README.md").write_text("---\ntags: [quick]\n---\n" + "long text. " * 3000)
    (folder / "model.safetensors").write_bytes(b"\0" * 10)
    services.hub.publish_folder(folder, "seen", "model", False, "first")
    view = tools.inspect_repo(call(), "local/seen", files=1)
    assert view.branches == ["main"] and "quick" in view.tags and (len(view.files), view.more_files) == (1, 2)
    assert len(view.card) == 2000
    text, offset = "", 0
    while offset is not None:
        page = tools.read_hub_file(call(), "seen", "README.md", offset=offset)
        text, offset = text + page.text, page.next_offset  # type: ignore[assignment]
    assert text == (folder / "README.md").read_text()
    assert [m["id"] for m in tools.search_models(call(), "SEE", limit=5)] == ["local/seen"]
    with pytest.raises(ToolError, match="not a text file"):
        tools.read_hub_file(call(), "seen", "model.safetensors", offset=0)
    with pytest.raises(ToolError, match="no such file"):
        tools.read_hub_file(call(), "seen", "none.txt", offset=0)
    with pytest.raises(ToolError, match="There is no"):
        tools.inspect_repo(call(), "local/none", files=5)
    with pytest.raises(ToolError, match="no such revision"):
        tools.inspect_repo(call(), "seen", revision="v9", files=5)


def test_the_tools_describe_themselves() -> None:
    from ml_intern.tooling import specs_in

    specs = {s.name: s for s in specs_in(tools)}
    assert {n: s.effect for n, s in specs.items()} == {
        "publish_model": "publish",
        "publish_dataset": "publish",
        "inspect_repo": "read",
        "search_models": "read",
        "read_hub_file": "read",
    }
    assert specs["publish_model"].signature.startswith(
        "publish_model(experiment: str, repo: str, private: bool = True)"
    )
    with pytest.raises(ToolError, match="did you mean 'private'"):
        specs["publish_model"].validate({"experiment": "exp-1", "repo": "x", "privat": True})
    for spec in specs.values():
        json.dumps([spec.proxy(), spec.json_schema()])


def _nothing_was_published(services: Services) -> None:
    with services.hub.reach():
        found: list[Any] = list(services.hub.api.list_models())
    assert found == []
    assert not list(services.folder.glob("publish/*.json"))


def test_what_would_refuse_a_model_does_so_before_a_person_is_asked(
    services: Services, call: Callable[..., ToolContext]
) -> None:
    experiment = trained(services, imitation)
    empty = services.ledger.start("nothing was trained", "nothing").id
    services.ledger.start("it is worse", "another", None)
    [spec] = [s for s in specs_in(tools) if s.name == "publish_model"]
    assert spec.prepare is not None

    def prepare(name: str = experiment, repo: str = "tiny", private: bool = True) -> object:
        assert spec.prepare is not None
        return spec.prepare(call(), spec.validate({"experiment": name, "repo": repo, "private": private}))

    for arguments, told in (
        ({"name": "exp-99"}, "There is no experiment 'exp-99'"),
        ({"name": empty}, "has no trained model to publish"),
        ({"repo": "not a name"}, "not a name"),
    ):
        with pytest.raises(ToolError, match=told):
            prepare(**arguments)
    prepare()
    with services.hub.reach():
        services.hub.api.create_repo("local/open", private=False)
    with pytest.raises(ToolError, match="local/open"):
        prepare(repo="open")
    services.ledger.finish(experiment, "discarded", "It reached 0.987 of everything.")
    with pytest.raises(ToolError, match=r"0\.987, which nobody measured"):
        prepare()
    services.ledger.finish(experiment, "discarded", "It reached nothing.")
    services.ledger.freeze(empty)
    with pytest.raises(ToolError, match=f"was opened for {empty}"):
        prepare()
    # What was begun before a crash goes on: whether it happened is found out first.
    Intent(key="key-1", kind="model", repo="local/tiny", subject=experiment, card="").save(
        services.folder / "publish"
    )
    prepare()


def sealed_from(services: Services, file: str, cells: list[str]) -> str:
    """A card of a model whose eval was split from a file of the workspace after these cells."""
    path = services.files.workspace / file
    rows = [{"prompt": f"How much is {n} times 7?", "completion": f"It is {n * 7}."} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    journal = Journal(services.folder / "journal.sqlite")
    for code in cells:
        journal.append("cell", {"step": 1, "code": code})
    journal.close()
    made = split_dataset(ToolContext(services, "call-2", "key-2"), file, seal="sums", name="sums")
    path.unlink()  # the agent tidies up, as it was told
    experiment = trained(services, imitation)
    services.ledger.attach(experiment, data={"train": {"id": made.train, "rows": made.rows["train"]}})
    metrics = {"exact_match": Measured(value=0.5, low=0.4, high=0.6, n=3, higher_is_better=True)}
    scores = Scores(eval=made.eval or "", split="dev", model="", primary="exact_match", metrics=metrics)
    services.ledger.record(experiment, made.eval or "", "dev", scores)
    folder = services.folder / "jobs" / "run-1" / "output" / "model"
    told = tools._told_by(ToolContext(services, "call-3", "key-3"), experiment, folder, "local/x", None)
    publishing.check_card(*told)
    return model_card(*told)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (
            ["import json", "rows = [json.loads(row) for row in open('sums.jsonl')]"],
            "a cell had read it before",
        ),
        (["made = split_dataset('sums.jsonl')"], "no cell is known to have read it before"),
    ],
    ids=["read", "not-read"],
)
def test_a_card_says_what_is_known_of_who_saw_the_items(
    services: Services, cells: list[str], told: str
) -> None:
    card = sealed_from(services, "sums.jsonl", cells)
    assert told in card and "no cell and no training saw" not in card
    assert "when sums.jsonl was split" in card


def test_what_was_recorded_of_a_source_stands_when_its_file_is_gone(services: Services) -> None:
    card = sealed_from(services, "417 sums.jsonl", [])
    digest = services.datasets.info("sums").lineage.sha256
    assert f"60 rows, sha256 `{digest}`" in card
    # Whoever names a file states nothing by it.
    assert "417" not in card and "a source whose name has numbers" in card


def test_a_dataset_is_found_where_no_model_has_the_name(
    services: Services, call: Callable[..., ToolContext], tmp_path: Path
) -> None:
    for name, kind in (("rows", "dataset"), ("app", "space"), ("both", "dataset"), ("both", "model")):
        folder = tmp_path / name / kind
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"a {kind}")
        if kind == "space":
            with services.hub.reach():
                services.hub.api.create_repo(f"local/{name}", repo_type="space", space_sdk="static")
        services.hub.publish_folder(folder, name, kind, False, "first")  # type: ignore[arg-type]
    for name, kind in (("rows", "dataset"), ("app", "space"), ("both", "model")):
        view = tools.inspect_repo(call(), name, files=5)
        assert (view.kind, view.card) == (kind, f"a {kind}")
    with pytest.raises(ToolError, match="There is no model 'local/none'"):
        tools.inspect_repo(call(), "none", files=5)
