"""A session from its first check to its last event, with a brain that plays replies in this process."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_intern.errors import UsageError
from ml_intern.events import Event
from ml_intern.session.session import Session
from ml_intern.settings import Settings

Start = Callable[..., Session]


@pytest.fixture
def start(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A session over cells, in plain processes."""
    monkeypatch.chdir(tmp_path)

    def make(*cells: str, **settings: Any) -> Session:
        from ml_intern.brains.base import Brain, Ending, answer
        from ml_intern.sandbox.bare import BareSandbox

        class Scripted(Brain):
            label = "scripted"
            asked = 0

            def generate(self, messages: list[Any], **_: Any) -> Any:
                self.asked += 1
                code = cells[min(self.asked, len(cells)) - 1]
                return answer(f"Next.\n<cell>\n{code}\n</cell>", Ending("stop"), 10, 10)

        given = Settings.load(**{"state": own_state, **settings})
        return Session(given, "do it", Scripted(), BareSandbox("test"), None)

    return make


def finish(session: Session) -> Any:
    for _ in session.run():
        pass
    result = session.result()
    session.close()
    return result


def test_cells_run_and_the_answer_comes_back(start: Start) -> None:
    result = finish(start("x = 1", "final_answer(x + 1)"))
    assert (result.status, result.answer, result.steps, result.tokens) == (
        "done",
        "2",
        2,
        {"input": 20, "output": 20},
    )


def test_wall_time_ends_a_cell_that_runs(start: Start) -> None:
    began = time.monotonic()
    result = finish(start("import time\ntime.sleep(600)", budget="2s"))
    assert result.exit_code == 3 and "budget of 2.0s" in result.errors[0]
    assert time.monotonic() - began < 100


def test_an_interrupt_before_the_first_step_counts(start: Start) -> None:
    session = start("final_answer('no')")
    for event in session.run():
        if event.kind == "SessionStarted":
            session.interrupt()
    assert session.result().exit_code == 130
    session.close()


def test_leaving_the_stream_early_ends_the_run_in_order(start: Start) -> None:
    session = start("import time\ntime.sleep(60)")
    for event in session.run():
        if event.kind == "CellStarted":
            break
    session.close()
    assert session.finished is not None and session.finished.exit_code == 130
    assert json.loads((session.folder / "session.json").read_text())["status"] == "interrupted"


def test_many_runs_in_one_process_leave_nothing_behind(start: Start) -> None:
    finish(start("final_answer(1)"))
    gc.collect()  # what other tests of this process have left is not looked at
    fds, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(4):
        finish(start("final_answer(1)"))
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= fds + 4
    assert threading.active_count() <= threads + 2


def test_credentials_are_hidden_everywhere(start: Start) -> None:
    token = "hf_" + "x" * 30
    session = start("print('hf_' + 'x' * 30)\nfinal_answer('hf_' + 'x' * 30)")
    seen: list[Event] = list(session.run())
    result = session.result()
    session.close()
    told = json.dumps([e.to_json() for e in seen], default=str) + json.dumps(result.to_json(), default=str)
    files = b"".join(f.read_bytes() for f in session.folder.rglob("*") if f.is_file() and f.suffix != ".out")
    assert token not in told and token.encode() not in files


def test_sealed_items_and_settings_are_not_read_by_tools(start: Start, tmp_path: Path) -> None:
    (tmp_path / "exam.jsonl").write_text(
        "".join(json.dumps({"input": f"q{n}", "target": f"SECRET-{n}"}) + "\n" for n in range(40))
    )
    (tmp_path / "ml-intern.toml").write_text('api_key = "very-private"\n')
    probe = """
import json
said = []
for path in ["exam.jsonl", "ml-intern.toml", "state"]:
    for call in (read_file, list_files, inspect_dataset):
        try:
            said.append(str(call(path)))
        except ToolError as error:
            said.append("refused")
final_answer("\\n".join(said))
"""
    session = start(probe, eval="exam.jsonl", state=tmp_path / "state", workspace=tmp_path / "work")
    answer = finish(session).answer
    assert "SECRET" not in answer and "very-private" not in answer and "items" not in answer
    assert answer.count("refused") >= 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"compute": "hf-jobs"}, "HF Jobs needs a flavor"),
        (
            {"compute": "slurm", "slurm_partition": "nowhere"},
            "partition 'nowhere'|no Slurm|no sbatch|cluster",
        ),
        ({"workspace": "~"}, "home folder"),
        ({"workspace": "/"}, "home folder"),
        ({"workspace": "FILE"}, "cannot be made"),
        ({"state": "FILE/x"}, "cannot be made"),
        ({"eval": "missing.jsonl"}, "missing.jsonl"),
        ({"eval": "data/exam.parquet"}, "no file of a known kind"),
        ({"budget": "5 apples"}, "not understood"),
        ({"job_timeout": "soon"}, "job_timeout"),
        ({"yes": ["publsh"]}, "did you mean 'publish'"),
        ({"policy": [{"action": "maybe"}]}, "Policy rule 1"),
        (
            {"budget": "1 usd", "model": "openai:nobody-knows-it", "base_url": "http://127.0.0.1:9/v1"},
            "127.0.0.1:9",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    settings: dict[str, Any], told: str, own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_intern.errors import InternError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    given = {
        k: v.replace("FILE", str(tmp_path / "FILE")) if isinstance(v, str) else v for k, v in settings.items()
    }
    with pytest.raises(InternError, match=told) as caught:
        Session.create(Settings.load(**given), "say hello to you")
    assert isinstance(caught.value, UsageError) or "127.0.0.1" in told
    assert not list(own_state.glob("sessions/*"))


def test_dollars_need_known_prices(tmp_path: Path) -> None:
    from ml_intern.brains.base import Brain
    from ml_intern.session.checks import check_price

    with pytest.raises(UsageError, match="is not known"):
        check_price(Settings.load(budget="1 usd"), Brain())
    check_price(Settings.load(budget="1000 tokens"), Brain())
