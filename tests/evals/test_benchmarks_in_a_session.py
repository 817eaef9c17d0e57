"""A session with ``--eval`` names: what its cells can and cannot reach."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_intern import MLIntern
from ml_intern.brains.base import Brain, Ending, answer
from ml_intern.errors import UsageError
from ml_intern.evals.benchmarks import find
from ml_intern.hub.client import Hub
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.checks import check_settings
from ml_intern.session.session import Session
from ml_intern.settings import Settings
from ml_intern.trust import trust

ROWS = [
    {"text": f"Nobody in house {n} had seen the {n * 37 % 101} geese of Marrow Lane before dawn."}
    for n in range(30)
]
Start = Callable[..., Session]


@pytest.fixture
def start(tmp_path: Path, own_state: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A session whose brain says these cells; its embedded Hub has a small lambada."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")

    def make(*cells: str, folder: Path | None = None, **settings: Any) -> Session:
        class Scripted(Brain):
            label = "scripted"
            asked = 0

            def generate(self, messages: list[Any], **_: Any) -> Any:
                self.asked += 1
                code = cells[min(self.asked, len(cells)) - 1]
                return answer(f"Next.\n<cell>\n{code}\n</cell>", Ending("stop"), 10, 10)

        given = Settings.load(
            **{"state": own_state, "hub": "embedded", "workspace": tmp_path / "work", **settings}
        )
        check_settings(given)
        return Session(given, "do it", Scripted(), BareSandbox("test"), None, folder=folder)

    return make


@pytest.fixture
def lambada(tmp_path: Path, own_state: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The repository of the benchmark, with rows of our own."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    row = find("lambada")
    assert row is not None
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    hub = Hub(Settings(state=own_state, hub="embedded"), own_state, {})
    with hub.reach():
        hub.api.create_repo(row.repository, repo_type="dataset")
        hub.api.upload_folder(repo_id=row.repository, repo_type="dataset", folder_path=tmp_path / "up")
    hub.close()
    return row.repository


def finish(session: Session) -> Any:
    events = list(session.run())
    result = session.result()
    session.close()
    return result, [e.text for e in events if e.kind == "Notice"]


PROBE = """
said = []
calls = [
    lambda: inspect_dataset("EleutherAI/lambada_openai:test"),
    lambda: inspect_dataset("EleutherAI/lambada_openai"),
    lambda: split_dataset("EleutherAI/lambada_openai"),
    lambda: read_hub_file("EleutherAI/lambada_openai", "test.jsonl", "dataset"),
    lambda: inspect_dataset("exam.jsonl"),
    lambda: list_files(STATE),
]
for call in calls:
    try:
        said.append(str(call()))
    except ToolError as error:
        said.append("refused")
final_answer("|".join(said) + "|" + ",".join(e["name"] for e in list_evals()))
"""


def test_cells_see_names_and_nothing_else(
    start: Start, lambada: str, tmp_path: Path, own_state: Path
) -> None:
    (tmp_path / "exam.jsonl").write_text('{"input": "How many geese?", "target": "37"}\n')
    session = start(PROBE.replace("STATE", repr(str(own_state))), eval=["lambada", "exam.jsonl"])
    result, notices = finish(session)
    assert result.answer == "refused|" * 6 + "exam,lambada"
    told = next(text for text in notices if text.startswith("lambada: "))
    assert f"30 items of {lambada} (test, commit " in told and "leaderboards" in told
    assert "Marrow Lane" not in json.dumps(result.to_json()) + str(notices)

    # It goes on where there is no Hub any more: what was sealed is there, and closed.
    (own_state / "hub").rename(own_state / "gone")
    again = start("final_answer('x')", eval="lambada,exam.jsonl", folder=session.folder)
    assert [e.name for e in again.services.evals.list()] == ["exam", "lambada"]
    assert not any(notice.startswith("lambada") for notice in finish(again)[1])


def test_the_first_name_decides(start: Start, lambada: str) -> None:
    session = start("final_answer('x')", eval="LAMBADA")
    assert session.settings.eval_name == "lambada" and session.services.evals.get("lambada").rows["dev"] > 8
    session.close()


def test_what_cannot_be_fetched_leaves_no_session_behind(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    intern = MLIntern(model="playbook:", eval="gsm8k", hub="embedded", sandbox="none", yes=["network"])
    with pytest.raises(UsageError, match="there is no dataset openai/gsm8k on the embedded Hub"):
        intern.run("say hello to you")
    assert not list((own_state / "sessions").glob("*"))


def test_a_projects_own_task_needs_the_persons_word_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "person"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "person"))
    monkeypatch.delenv("ML_INTERN_TRUST_PROJECT", raising=False)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "utils.py").write_text("def f(doc): return doc")
    file = tmp_path / "ml-intern.toml"
    file.write_text('eval = ["gsm8k", "lm-eval:tasks/mine"]')
    trust(file)
    assert Settings.load().eval == "gsm8k,lm-eval:tasks/mine"
    (tmp_path / "tasks" / "utils.py").write_text("def f(doc): return 0")
    with pytest.raises(UsageError, match="ml-intern trust"):
        Settings.load()


def test_a_task_in_the_workspace_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_intern.evals.bridge import process

    monkeypatch.setattr(process, "installed", lambda: True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.yaml").write_text("task: mine")
    settings = Settings(eval=f"lm-eval:{tmp_path / 'work' / 'mine.yaml'}", workspace=tmp_path / "work")
    with pytest.raises(
        UsageError, match="lies in the workspace, where cells could change what the host runs"
    ):
        check_settings(settings)
