"""``--eval lm-eval:TASK``: lm-eval asks and scores, our jobs answer, and the documents are sealed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.errors import Interrupted, ToolError, UsageError
from ml_intern.evals.bridge import measuring, process
from ml_intern.evals.bridge.tasks import place_of
from ml_intern.evals.named import Brought, Kept, bring
from ml_intern.evals.scorers import scorer
from ml_intern.evals.store import Evals
from ml_intern.hub.client import Hub
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings

needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm-eval is not installed (the extra lm-eval)"
)
WORDS = "amber basalt copper dune ember fjord garnet heath island juniper kelp lagoon".split()  # noqa: SIM905
FERRY = """
task: ferry
dataset_path: json
dataset_kwargs:
  data_files:
    test: FILE
output_type: multiple_choice
test_split: test
doc_to_text: "Q: {{question}}\\nA:"
doc_to_choice: "{{options}}"
doc_to_target: gold
metric_list:
  - metric: acc
  - metric: acc_norm
  - metric: brier_score
"""
SAYING = """
task: saying
dataset_path: json
dataset_kwargs:
  data_files:
    test: FILE
output_type: generate_until
test_split: test
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{options[gold]}}"
generation_kwargs:
  until: ["\\n", "."]
  max_gen_toks: 6
metric_list:
  - metric: exact_match
"""
TEXTS = """
task: texts
dataset_path: json
dataset_kwargs:
  data_files:
    test: FILE
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - metric: bits_per_byte
  - metric: word_perplexity
"""
SHOUTING = SAYING.replace("task: saying", "task: shouting").replace("Q: ", "SHOUT: ").replace("FILE", "MORE")
SPOKEN = "group: spoken\ntask: [shouting, saying]\n"
SECRET = """
task: secret
unsafe_code: true
""" + SAYING.replace("task: saying", "")


def documents(count: int) -> list[dict[str, Any]]:
    rows = []
    for n in range(count):
        a, b, c, d = (WORDS[(n * k + k) % 12] + f"{n}{k}" for k in (1, 2, 3, 5))
        question = f"Of {a} the ferryman asks {b} on day {n}: who rows from {c} to {d} when it rains?"
        rows.append(
            {"question": question, "options": [f"Old {w}" for w in (a, b, c)], "gold": n % 3, "kind": "river"}
        )
    return rows


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    for name, rows in (("documents", documents(40)), ("more", documents(100)[40:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"FILE": str(folder / "documents.jsonl"), "MORE": str(folder / "more.jsonl")}
    texts = (FERRY, SAYING, TEXTS, SECRET, SHOUTING, SPOKEN)
    for name, text in zip(("ferry", "saying", "texts", "secret", "shouting", "spoken"), texts, strict=True):
        for word, path in files.items():
            text = text.replace(word, path)
        (folder / f"{name}.yaml").write_text(text)
    return folder


class Answers(AnsweringJobs):
    """A model that finds options of `skill` and up right; its answers hang on the prompt alone."""

    def _answer(self, task: dict[str, Any], config: dict[str, Any], output: Path) -> None:
        text = Path(task["file"]).read_text()
        self.read.append(text)
        rows = [json.loads(line) for line in text.splitlines()]
        found: list[dict[str, Any]] = []
        for row in rows:
            if task["kind"] == "likelihood":
                found.append({"nats": 0.5 * len(row["text"]), "tokens": 9, "lossless": True})
            elif task["kind"] == "continuations":
                good = self._right(row["prompt"]) == row["continuation"].strip()
                found.append({"nats": 1.0 if good else 5.0, "greedy": good})
            else:
                found.append({"row": 0, "sample": 0, "text": self._right(row["prompt"]), "finished": True})
        (output / f"{task['name']}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))

    def _right(self, prompt: str) -> str:
        """What is right for a third of the documents, and for the others the first option."""
        doc = next(d for d in documents(100) if d["question"] in prompt)
        return str(doc["options"][0])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return Settings(state=tmp_path / "state", hub="embedded", dev_queries=5)


@pytest.fixture
def evals(tmp_path: Path, settings: Settings) -> Evals:
    jobs: Any = Answers(tmp_path / "evals" / "jobs")
    return Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), settings)


def brought(settings: Settings, said: str, evals: Evals | None = None) -> Brought:
    hub = Hub(settings, settings.state, {})
    try:
        asked = settings.model_copy(update={"eval": f"lm-eval:{said}"})
        return bring(asked, lambda: hub, evals.folder if evals else None)[0]
    finally:
        hub.close()


@pytest.mark.thorough
@needs_lm_eval
def test_a_task_is_sealed_asked_and_scored(
    settings: Settings, evals: Evals, tasks: Path, tmp_path: Path
) -> None:
    given = brought(settings, f"{tasks}/ferry")
    info = given.seal(evals)
    assert info.scorers == ["lm_eval.acc", "lm_eval.acc_norm"] and sum(info.rows.values()) == 40
    assert info.lm_eval is not None and (info.lm_eval.task, info.lm_eval.shots) == ("ferry", [0])
    assert "Not taken: brier_score" in given.told and {
        tasks / "documents.jsonl",
        tasks / "ferry.yaml",
    } == set(given.files)

    scores = evals.evaluate(make_model(tmp_path / "m", 0.5), "ferry")
    dev = [d for d, i in zip(documents(40), evals._items("ferry"), strict=True) if i.split == "dev"]
    assert scores.value.n == len(dev) == info.rows["dev"]
    assert scores.value.value == pytest.approx(sum(d["gold"] == 0 for d in dev) / len(dev))
    assert scores.value.low < scores.value.value < scores.value.high and scores.queries_left == 4
    assert not scores.samples, "documents are shown to nobody"

    # The job is asked about dev documents alone, and nothing in it tells which option is right.
    jobs: Any = evals.jobs
    asked = [json.loads(line) for text in jobs.read for line in text.splitlines()]
    assert len(asked) == 3 * len(dev) and all(set(row) == {"prompt", "continuation"} for row in asked)
    assert all(any(d["question"] in row["prompt"] for d in dev) for row in asked)
    # The same weights cost nothing; others are asked the same, and lm-eval is not asked again what to ask.
    before = (evals.folder / "lm_eval" / "ferry" / "dev.jsonl").stat().st_mtime_ns
    assert evals.evaluate(tmp_path / "m", "ferry").queries_left == 4
    better = evals.evaluate(make_model(tmp_path / "n", 0.5, seed=1), "ferry")
    assert better.value == scores.value and better.queries_left == 3
    assert (evals.folder / "lm_eval" / "ferry" / "dev.jsonl").stat().st_mtime_ns == before

    kept = brought(settings.model_copy(), f"{tasks}/ferry", evals)
    assert isinstance(kept, Kept) and kept.files == given.files and kept.seal(evals).sha256 == info.sha256

    # What was sealed is guarded, in whatever column it stands.
    row = documents(40)[7]
    clean = {"text": "A clean row about nothing in particular, with the kind river.", "kind": "river"}
    assert evals.guard([clean, {"text": f"Say: {row['question']} So it is."}]).row_numbers == [1]
    assert evals.guard([{"messages": f"{row['question']} {row['options'][row['gold']]}"}]).contaminated == 1


@needs_lm_eval
@pytest.mark.thorough
def test_a_group_whose_answers_are_written(
    settings: Settings, evals: Evals, tasks: Path, tmp_path: Path
) -> None:
    """The tasks of a group are slices; documents are scored in whatever order lm-eval takes its tasks."""
    info = brought(settings, f"{tasks}/spoken").seal(evals)
    assert sum(info.rows.values()) == 100 and info.slices == ["saying", "shouting"]
    said = evals.evaluate(make_model(tmp_path / "m", 0.5), "spoken")
    known = {d["question"]: d["gold"] == 0 for d in documents(100)}
    dev = [i for i in evals._items("spoken") if i.split == "dev"]
    right = [next(ok for question, ok in known.items() if question in i.input) for i in dev]
    assert said.primary == "lm_eval.exact_match" and said.outputs["share_unfinished"] == 0
    assert said.items["lm_eval.exact_match"].numerator.tolist() == [float(ok) for ok in right]
    assert "shouting" in said.slices["lm_eval.exact_match"]
    jobs: Any = evals.jobs
    [task] = jobs.specs[0].config["tasks"]
    assert (task["kind"], task["max_new_tokens"], task["stop"]) == ("generate", 6, ["\n", "."])


@needs_lm_eval
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("FOLDER/ferri", "there is no task 'ferri' in that folder; it has ferry, saying, secret, shouting"),
        ("FOLDER/secret", "runs programs that a model wrote.*humaneval"),
    ],
)
def test_a_task_that_cannot_be_used_is_told(settings: Settings, tasks: Path, said: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as error:
        brought(settings, said.replace("FOLDER", str(tasks)))
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


PARITY = """
import json, sys
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
folder, model, samples, output = sys.argv[1:]
samples = json.loads(samples)
found = simple_evaluate(
    model="hf", model_args={"pretrained": model, "dtype": "float32", "device": "cpu"}, tasks=list(samples),
    task_manager=TaskManager(include_path=folder, include_defaults=False), batch_size=8, bootstrap_iters=0,
    samples=samples,
)
told = {
    name: {
        "answers": [answer[0] for row in found["samples"][name] for answer in row["resps"]],
        "metrics": {k: v for k, v in found["results"][name].items() if isinstance(v, float)},
    }
    for name in samples
}
with open(output, "w") as file:
    json.dump(told, file)
"""


@needs_lm_eval
@pytest.mark.thorough
def test_numbers_are_those_of_lm_evals_own_run(settings: Settings, tasks: Path, tmp_path: Path) -> None:
    """lm-eval runs the same tasks on the same documents by itself, with its own way to ask a model."""
    from test_generate_recipe import tiny_model

    from ml_intern.jobs.local import Jobs

    jobs = Jobs(tmp_path / "evals" / "jobs", None, settings, lambda event: None)
    evals = Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), settings)
    model = tiny_model(tmp_path / "model", positions=256)
    names = ("ferry", "saying", "texts")
    for name in names:
        brought(settings, f"{tasks}/{name}").seal(evals)
    samples = {n: [k for k, i in enumerate(evals._items(n)) if i.split == "dev"] for n in names}
    ours = {n: evals.evaluate(model, n) for n in names}
    output = tmp_path / "theirs.json"
    command = [sys.executable, "-c", PARITY, str(tasks), str(model), json.dumps(samples), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(output.read_text())

    answers = {
        job.name.split()[-1]: [
            json.loads(line) for line in Path(job.output, "lm-eval-0.jsonl").read_text().splitlines()
        ]
        for job in jobs.list()
    }
    asked = {n: theirs[n]["answers"] for n in names}
    assert [-row["nats"] for row in answers["ferry"]] == pytest.approx(
        [a[0] for a in asked["ferry"]], rel=1e-4
    )
    assert [row["greedy"] for row in answers["ferry"]] == [a[1] for a in asked["ferry"]]
    assert [row["text"] for row in answers["saying"]] == asked["saying"]
    assert [-row["nats"] for row in answers["texts"]] == pytest.approx(asked["texts"], rel=1e-4)
    for name in names:
        for metric, measured in ours[name].metrics.items():
            value = theirs[name]["metrics"][metric.removeprefix("lm_eval.") + ",none"]
            assert measured.value == pytest.approx(value, rel=1e-4), (name, metric)
    assert list(ours["texts"].metrics) == ["lm_eval.bits_per_byte"]
    assert not evals.get("texts").higher_is_better


# Without lm-eval


def test_without_lm_eval_the_way_to_it_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "installed", lambda: False)
    with pytest.raises(UsageError, match=r"lm-eval is not installed\. pip install 'ml-intern\[lm-eval\]'"):
        brought(settings, "arc_easy")


def test_an_error_of_lm_evals_own_is_told_by_its_kind_alone(tmp_path: Path) -> None:
    """Its words may quote a document."""
    with pytest.raises(ToolError) as error:
        process.run({"mode": "How many geese?"}, tmp_path / "cache")
    assert str(error.value) == "lm-eval failed with KeyError."
    assert not list((tmp_path / "cache").glob("call-*")), "nothing of a call is left"


def test_lm_eval_is_ended_when_the_person_stops(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="nothing was recorded"):
        process.run({"mode": "documents", "task": "x"}, tmp_path, cancelled=lambda: True)
    with pytest.raises(ToolError, match="more than 0 seconds"):
        process.run({"mode": "documents", "task": "x"}, tmp_path, timeout_s=0)


def test_what_stands_behind_the_colon(tmp_path: Path) -> None:
    assert place_of("arc_easy") == ("arc_easy", "")
    (tmp_path / "mine.yaml").write_text("task: mine")
    assert place_of(str(tmp_path / "mine.yaml")) == (str(tmp_path / "mine.yaml"), str(tmp_path))
    assert place_of(str(tmp_path)) == (str(tmp_path / "mine.yaml"), str(tmp_path))
    assert place_of(f"{tmp_path}/other") == ("other", str(tmp_path))
    (tmp_path / "second.yml").write_text("task: second")
    with pytest.raises(UsageError, match=r"has 2 YAML files \(mine.yaml, second.yml\)"):
        place_of(str(tmp_path))
    with pytest.raises(UsageError, match="neither a task's name nor a YAML file or folder"):
        place_of(str(tmp_path / "nowhere" / "task"))


def test_metrics_say_which_way_is_up() -> None:
    assert scorer("lm_eval.acc").higher_is_better and scorer("lm_eval.exact_match,strict").higher_is_better
    assert not scorer("lm_eval.bits_per_byte").higher_is_better
    assert not scorer("lm_eval.acc").needs_target


@pytest.mark.parametrize(
    ("how", "made"),
    [
        ({}, {"max_new_tokens": 256, "temperature": 0, "stop": []}),
        (
            {"until": "\n", "do_sample": False, "temperature": 0.7, "max_gen_toks": 9, "top_k": 5},
            {"max_new_tokens": 9, "temperature": 0, "stop": ["\n"]},
        ),
        (
            {"until": ["", "Q:"], "do_sample": True, "temperature": 0.7, "top_p": 0.9, "max_tokens": 4},
            {"max_new_tokens": 4, "temperature": 0.7, "stop": ["Q:"], "top_p": 0.9},
        ),
    ],
)
def test_ways_of_generation(tmp_path: Path, how: dict[str, Any], made: dict[str, Any]) -> None:
    request = {"kind": "generate_until", "context": "a", "how": how}
    [task] = measuring.tasks_for([request], tmp_path, seed=3)
    assert {k: task[k] for k in task if k not in ("name", "file", "kind", "samples", "seed")} == made
    assert json.loads(Path(task["file"]).read_text()) == {"prompt": "a"}


def test_a_way_that_is_not_known_is_refused(tmp_path: Path) -> None:
    how = {"do_sample": True, "temperature": 0.7, "top_k": 5}
    with pytest.raises(ToolError, match="drawn by top_k"):
        measuring.tasks_for([{"kind": "generate_until", "context": "a", "how": how}], tmp_path, seed=0)
