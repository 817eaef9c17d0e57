"""Tables, pictures and pages of a result, without a kernel."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ml_intern import MLIntern
from ml_intern.errors import UsageError
from ml_intern.events import (
    ApprovalNeeded,
    CellFinished,
    CellStarted,
    ExperimentChanged,
    JobChanged,
    Notice,
    SessionStarted,
    ToolStarted,
)
from ml_intern.ledger import Cost, Experiment, Measured, Publication
from ml_intern.notebook.outcome import outcome, undone
from ml_intern.notebook.parts import markdown
from ml_intern.notebook.progress import Turn, progress
from ml_intern.result import RunResult
from ml_intern.session.undoing import Undone

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m"


def measured(value: float) -> Measured:
    return Measured(value=value, low=value - 0.1, high=value + 0.1, n=100, higher_is_better=True)


def made(id: str, value: float | None, **more: Any) -> Experiment:
    dev = {} if value is None else {"accuracy": measured(value)}
    given = {"hypothesis": f"why {id}", "change": f"change {id}", "dev": dev, "primary": "accuracy"}
    return Experiment(**{"id": id, **given, **more})


def a_result(folder: Path, ledger: list[Experiment], **more: Any) -> RunResult:
    given: dict[str, Any] = {
        "session": "20260101-120000-abcd",
        "status": "done",
        "answer": "It is **better**.",
        "exit_code": 0,
        "steps": 3,
        "tokens": {"input": 10, "output": 5},
        "cost": 0.5,
        "budget": {"usd": {"spent": 0.5, "cap": 2.0}, "seconds": {"spent": 75.0, "cap": None}},
        "ledger": ledger,
        "best": ledger[0] if ledger else None,
        "jobs": [],
        "published": [],
        "errors": [],
        "folder": folder,
    }
    return RunResult(**{**given, **more})


def a_job(folder: Path, name: str, losses: list[float]) -> None:
    job = folder / "jobs" / name
    job.mkdir(parents=True)
    rows = [{"step": n, "total_steps": len(losses), "loss": loss} for n, loss in enumerate(losses, 1)]
    (job / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class _Tags(HTMLParser):
    """The elements of a page, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("br", "img", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag


def harmless(page: str) -> str:
    """The page, once it is known that it is whole, loads nothing and runs nothing."""
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    for tag, attributes in tags.seen:
        assert tag not in ("script", "img", "iframe", "object", "link", "form", "input")
        assert not any(name.startswith("on") or name in ("src", "srcdoc") for name in attributes)
        assert not (attributes.get("href") or "").lower().startswith(("javascript:", "data:", "file:"))
    return page


def test_the_experiments_are_a_typed_table(tmp_path: Path) -> None:
    ledger = [
        made("exp-1", 0.5, verdict="kept", seed=2**31, jobs=["a-1", "a-2"], cost=Cost(seconds=3.0, usd=0.25)),
        made("exp-2", None, parent="exp-1", verdict="crashed", cost=Cost(usd=None)),
        made("exp-3", 0.7, parent="exp-1", test={"accuracy": measured(0.6)}, notes="good"),
    ]
    table = a_result(tmp_path, ledger).experiments
    assert list(table.columns) == [
        *("id", "change", "hypothesis", "parent", "verdict", "seed", "replicates"),
        *("accuracy", "accuracy_low", "accuracy_high"),
        *("test_accuracy", "test_accuracy_low", "test_accuracy_high"),
        *("cost", "seconds", "job", "notes"),
    ]
    assert table["accuracy"].dtype == "float64" and table["seed"].tolist() == [2**31, 0, 0]
    assert table["accuracy_high"].tolist()[::2] == pytest.approx([0.6, 0.8])
    assert table["parent"].isna().tolist() == [True, False, False]
    assert table["accuracy"].isna().tolist() == [False, True, False]
    assert table.loc[0, "job"] == "a-2" and table.loc[0, "cost"] == 0.25 and table["cost"].isna()[1]
    assert table.sort_values("accuracy").iloc[-2].id == "exp-3"


def test_without_experiments_the_columns_are_there(tmp_path: Path) -> None:
    result = a_result(tmp_path, [])
    assert len(result.experiments) == 0 and {"id", "verdict", "seed", "cost"} <= set(result.experiments)
    assert list(result.metrics.columns) == ["job", "step"] and len(result.metrics) == 0
    with pytest.raises(UsageError, match="No experiment has been measured"):
        result.plot()
    with pytest.raises(UsageError, match="No job has told"):
        result.curves()


def test_a_metric_with_the_name_of_a_column_takes_another(tmp_path: Path) -> None:
    e = made("exp-1", None, dev={"cost": measured(1), "seed": measured(2)}, seed=7)
    table = a_result(tmp_path, [e]).experiments
    assert table.loc[0, "dev_cost"] == 1 and table.loc[0, "seed"] == 7 and table.loc[0, "dev_seed"] == 2
    assert table.columns.is_unique


def test_the_json_of_a_result_has_lists_as_before(tmp_path: Path) -> None:
    result = a_result(tmp_path, [made("exp-1", 0.5)])
    told = result.to_json()
    assert told["experiments"][0]["id"] == "exp-1" and json.dumps(told, default=str)
    assert replace(result, status="failed").experiments.equals(result.experiments)


def test_metrics_and_curves_of_the_jobs(tmp_path: Path) -> None:
    a_job(tmp_path, "a-1", [3.0, 2.0, 1.0])
    a_job(tmp_path, "b-1", [3.0, 2.5])
    result = a_result(tmp_path, [])
    table = result.metrics
    assert list(table.columns) == ["job", "step", "loss"] and table["step"].dtype == "int64"
    assert table.groupby("job")["loss"].last().to_dict() == {"a-1": 1.0, "b-1": 2.5}
    figure = result.curves("loss")
    assert ElementTree.fromstring(figure.svg).tag.endswith("svg") and "b-1" in figure.svg
    assert figure.save(tmp_path / "loss.svg").read_text() == figure._repr_svg_()
    with pytest.raises(UsageError, match="did you mean 'loss'"):
        result.curves("los")


def test_of_many_jobs_the_variants_are_drawn_and_not_their_replications(tmp_path: Path) -> None:
    ledger = [made(f"exp-{n}", 0.5, jobs=[f"variant-{n}"]) for n in range(1, 8)]
    ledger += [made(f"exp-{n}", 0.5, jobs=[f"seed-{n}"], replicates="exp-7") for n in range(8, 13)]
    for name in ("base", *(e.jobs[0] for e in ledger)):
        a_job(tmp_path, name, [3.0, 2.0])
    result = a_result(tmp_path, ledger)
    figure = result.curves("loss")
    names = [f"variant-{n}" for n in range(1, 8)]
    assert [job for job in ("base", *(e.jobs[0] for e in ledger)) if f">{job}<" in figure.svg] == [
        "base",
        *names,
    ]
    assert figure.left_out == 5 and "and 5 jobs that are not drawn" in figure.svg
    page = outcome(result)
    assert all(name in page for name in names) and "and 5 more that are not drawn" in page
    chosen = result.curves("loss", jobs=["seed-9", "variant-1"])
    assert ">seed-9<" in chosen.svg and ">variant-2<" not in chosen.svg and chosen.left_out == 11
    with pytest.raises(UsageError, match="did you mean 'seed-9'"):
        result.curves("loss", jobs=["sed-9"])
    with pytest.raises(UsageError, match="8 jobs"):
        result.curves("loss", jobs=[e.jobs[0] for e in ledger[:9]])


def test_of_too_many_variants_those_that_matter_are_drawn(tmp_path: Path) -> None:
    ledger = [made(f"exp-{n}", 0.5, jobs=[f"variant-{n}"], parent="exp-1") for n in range(2, 14)]
    ledger = [made("exp-1", 0.4, jobs=["first"], verdict="kept"), *ledger]
    for e in ledger:
        a_job(tmp_path, e.jobs[0], [3.0, 2.0])
    best = ledger[3]
    figure = a_result(tmp_path, ledger, best=best).curves("loss")
    assert all(f">{name}<" in figure.svg for name in ("first", best.jobs[0], "variant-13"))
    assert figure.left_out == 5
    assert a_result(tmp_path, []).curves("loss").left_out == 5, "without experiments the newest"


def test_intervals_of_the_experiments(tmp_path: Path) -> None:
    result = a_result(tmp_path, [made(EVIL, 0.5), made("exp-2", 0.6, verdict="kept")])
    figure = result.plot()
    assert figure.title == "dev accuracy with 95 % intervals"
    assert "script" not in {e.tag.rpartition("}")[2] for e in ElementTree.fromstring(figure.svg).iter()}
    with pytest.raises(UsageError, match="accuracy"):
        result.plot("f1")


def test_the_page_of_a_result_says_all_of_it(tmp_path: Path) -> None:
    a_job(tmp_path, "a-1", [3.0, 2.0, 1.0])
    ledger = [made("exp-1", 0.5, verdict="kept", jobs=["a-1"]), made("exp-2", 0.7, verdict="inconclusive")]
    published = [{"repo": "me/m", "url": "https://hub.example/me/m", "type": "model"}]
    page = harmless(a_result(tmp_path, ledger, published=published, errors=["It broke."])._repr_html_())
    for told in (
        "<strong>better</strong>",
        "exp-1",
        "0.5 (0.4 to 0.6)",
        "inconclusive",
        "It broke.",
        "1m 15s",
    ):
        assert told in page
    assert 'href="https://hub.example/me/m"' in page and "0.50 of 2 usd" in page
    assert page.count("<svg") == 2


@pytest.mark.parametrize("where", ["answer", "experiment", "event", "url"])
def test_words_of_others_are_shown_and_not_obeyed(tmp_path: Path, where: str) -> None:
    e = made("exp-1", 0.5, change=EVIL, notes=EVIL, hypothesis=EVIL) if where == "experiment" else None
    turn = Turn("go")
    if where == "event":
        turn.take(Notice("error", EVIL))
        turn.take(CellStarted(1, f"print('{EVIL}')"))
        turn.take(ToolStarted("c1", "read_file", "read", {"path": EVIL}))
        turn.take(JobChanged("job-1", EVIL, "running", 1, 2, {"loss": float("nan")}))
        turn.take(ApprovalNeeded("c2", "forget", "destroy", {"what": EVIL}, "free", EVIL))
    url = "javascript:alert(1)" if where == "url" else "https://hub.example/x"
    published = [{"repo": EVIL, "url": url, "type": "model"}]
    answer = f"{EVIL} ![x](https://evil.example/a.png) [y](javascript:alert(1))" if where == "answer" else "x"
    result = a_result(tmp_path, [e] if e else [], answer=answer, published=published)
    pages = [progress(turn, {}), outcome(result, turn), *([e._repr_html_()] if e else [])]
    for page in pages:
        assert "\x1b" not in harmless(page) and "<script" not in page


def test_credentials_do_not_stand_in_a_page(tmp_path: Path) -> None:
    token = "hf_" + "x" * 30
    assert token not in a_result(tmp_path, [made("exp-1", 0.5, notes=token, change=token)])._repr_html_()


def test_lines_of_an_answer_stay_lines() -> None:
    assert markdown("one\ntwo").count("<br") == 1


def test_progress_tells_what_goes_on() -> None:
    turn = Turn("train")
    turn.take(SessionStarted("id", "train", "playbook:demo", "local", "bubblewrap", "/w"))
    turn.take(CellStarted(2, "wait_for_job(job)"))
    for step, loss in enumerate([3.0, 2.5, 2.0], 1):
        turn.take(JobChanged("base-1", "base", "running", step, 4, {"loss": loss}))
    spent = {"usd": {"spent": 0.25, "cap": 2.0}, "seconds": {"spent": 5.0, "cap": 600.0}}
    page = harmless(progress(turn, spent))
    for told in ("step 2 runs", "0.25 of 2 usd", "of 10m 0s", "base-1", "3/4", "width:75%", "<polyline"):
        assert told in page
    turn.take(CellFinished(2, True, "", 1.0))
    assert "wait_for_job(job)" not in progress(turn, spent)


def test_warnings_are_folded_and_told_once() -> None:
    turn = Turn("train")
    for n in [0, 0, *range(8)]:
        turn.take(Notice("warning", f"warning {n}."))
    page = harmless(progress(turn, {}))
    assert page.count("warning 0.") == 1 and "5 earlier warnings" in page


def test_the_page_of_a_further_turn_tells_what_is_new(tmp_path: Path) -> None:
    a_job(tmp_path, "a-1", [3.0, 2.0, 1.0])
    ledger = [made("exp-1", 0.5), made("exp-2", 0.6), made("exp-3", 0.7, parent="exp-2")]
    published = [{"repo": "me/old", "url": "https://hub.example/me/old", "type": "model"}]
    result = a_result(tmp_path, ledger, published=published, errors=["An old error."])
    turn = Turn("now smaller", further=True)
    turn.take(ExperimentChanged("exp-3", "smaller", "open", {}))
    page = harmless(outcome(result, turn))
    assert "exp-3" in page and "exp-2" in page and "exp-1" not in page
    assert "me/old" not in page and "An old error." not in page and "loss" not in page
    assert "exp-1" in outcome(result, Turn("the first")) and "exp-1" in result._repr_html_()


def test_an_undone_turn() -> None:
    page = harmless(undone(Undone("do <it>", 2, True, ["publish_model (c-1)"])))
    assert "do &lt;it&gt;" in page and "publish_model" in page


def test_an_experiment_shows_itself() -> None:
    e = made("exp-1", 0.5, published=[Publication(repo="me/m", url="https://hub.example/me/m", commit="abc")])
    assert "0.5 (0.4 to 0.6)" in harmless(e._repr_html_()) and "me/m" in e._repr_html_()


def test_a_run_inside_a_loop_and_further_words_in_a_script(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def inside() -> RunResult:
        with MLIntern("playbook:") as agent:
            first = agent.run("say hello to Ada")
            second = agent.tell("say hello to Bob")
            third = agent.tell("say hello to Cy")
            assert (first.answer, second.answer) == ("Hello, Ada!", "Hello, Bob!")
            assert first.session == second.session == third.session and (first.steps, third.steps) == (2, 6)
            return third

    assert asyncio.run(inside()).status == "done"
    assert capsys.readouterr().out == "", "a script's run is quiet"
    with MLIntern("playbook:", show=True) as agent:
        result = agent.run("say hello to Di")
    assert "Hello, Di!" in capsys.readouterr().out
    page = result.report()
    assert page.is_file() and page == result.folder / "report" / "report.html"
    shown = page._repr_mimebundle_()
    assert "sandbox=" in shown["text/html"] and "<h1>" not in shown["text/html"]


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    probe = (
        "import sys, ml_intern.result, ml_intern.notebook.kernel\n"
        "assert not ml_intern.notebook.kernel.in_notebook()\n"
        "print([m for m in ('IPython', 'pandas', 'nbformat', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
