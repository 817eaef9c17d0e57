"""A session plays again without its brain: what is the same, what differs and where, what is not there any more."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from resumed_child import Scripted
from support.own_tools import write_tools

from ml_intern.brains.base import Ending, answer, role_of
from ml_intern.cli.sessions import find_unfinished
from ml_intern.errors import UsageError
from ml_intern.router.approval import Answer
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.comparing import LONGEST, compare
from ml_intern.session.replaying import Replay
from ml_intern.session.session import Session
from ml_intern.settings import Settings

CELLS = (
    "import time\nsaid = announce('me/x', 'hello')\nprint(said)",
    "print(time.time_ns())",
    "final_answer(said)",
)


class Plays(Scripted):
    """Three cells, one of them with another result each time."""

    cells = CELLS


class Says(Scripted):
    """Replies of a test's own, by step."""

    def __init__(self, *replies: str) -> None:
        super().__init__()
        self.replies = replies

    def generate(self, messages: list[Any], **_: Any) -> Any:
        step = sum(role_of(m) == "assistant" for m in messages)
        return answer(self.replies[step], Ending("stop"), 10, 10)


def cell(code: str) -> str:
    return f"Next.\n<cell>\n{code}\n</cell>"


Record = Callable[..., Session]


@pytest.fixture
def record(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Runs a session to its end; with a folder, one that goes on."""
    monkeypatch.chdir(tmp_path)
    tools, _ = write_tools(tmp_path)

    def run(*replies: str, folder: Path | None = None, mcp: Any = None, **settings: Any) -> Session:
        given = Settings.load(
            **{"state": own_state, "tools": [tools], "yes": ["publish"], "sandbox": "none", **settings}
        )
        brain = Says(*replies) if replies else Plays()
        session = Session(given, "do it", brain, BareSandbox("test"), None, mcp=mcp, folder=folder)
        play(session)
        return session

    return run


@pytest.fixture
def recorded(record: Record, tmp_path: Path) -> tuple[Path, Path]:
    """The folder of a finished session, and the file in which its tool writes down that it ran."""
    session = record()
    assert session.finished is not None and session.finished.status == "done"
    return session.folder, tmp_path / "ran.txt"


def play(session: Session) -> tuple[Any, list[str]]:
    told = [getattr(event, "text", "") for event in session.run() if event.kind == "Notice"]
    result = session.result()
    session.close()
    return result, told


def test_recorded_results_do_nothing_a_second_time(recorded: tuple[Path, Path]) -> None:
    folder, ran = recorded
    before = (folder / "session.json").read_bytes()
    result, told = play(Replay.of(folder, False, None))
    assert result.answer == "announce me/x hello True"
    assert len(ran.read_text().splitlines()) == 1
    assert result.folder != folder and (folder / "session.json").read_bytes() == before
    assert any("differs in step 2, line 1" in line for line in told)


def test_a_replay_that_differs_says_where_and_fails(recorded: tuple[Path, Path]) -> None:
    result, _ = play(Replay.of(recorded[0], False, None))
    assert (result.exit_code, result.status) == (1, "failed")
    found = result.to_json()["replay"]
    assert (found["of"], found["live"], found["ended"], found["same"]) == (
        recorded[0].name,
        False,
        "done",
        False,
    )
    [difference] = found["differences"]
    assert (difference["step"], difference["line"]) == (2, 1)
    assert difference["expected"].isdecimal() and difference["got"].isdecimal()
    assert difference["expected"] != difference["got"]
    assert f"expected '{difference['expected']}'" in result.errors[-1]


def test_a_replay_that_is_the_same_succeeds(record: Record) -> None:
    first = record(
        cell("x = announce('me/x')\nopen('a', 'w').write(x)"), cell("final_answer(open('a').read())")
    )
    replay = Replay.of(first.folder, False, None)
    result, told = play(replay)
    assert (result.exit_code, result.answer) == (0, "announce me/x  True")
    assert result.to_json()["replay"]["same"] and "The replay told the same in every step." in told


def test_a_replay_is_neither_resumed_nor_played_again(record: Record, own_state: Path) -> None:
    first = record(cell("print(announce('me/x'))"), cell("final_answer(1)"))
    replay, live = Replay.of(first.folder, False, None), Replay.of(first.folder, True, None)
    for one in (replay, live):
        play(one)
        with pytest.raises(UsageError, match=f"is a replay of {first.id}"):
            Session.resume(one.folder)
    with pytest.raises(UsageError, match="is itself a replay"):
        Replay.of(replay.folder, False, None)
    assert play(Replay.of(live.folder, False, None))[0].exit_code == 0, "its tools did run"
    differing = Replay.of(
        record(cell("import time\ntime.time_ns()"), cell("final_answer(1)")).folder, False, None
    )
    play(differing)
    with pytest.raises(UsageError, match="no unfinished session"):
        find_unfinished(own_state, None)


def test_live_tools_run_again(recorded: tuple[Path, Path]) -> None:
    folder, ran = recorded
    result, _ = play(Replay.of(folder, True, None))
    assert result.answer == "announce me/x hello True" and len(ran.read_text().splitlines()) == 2


# The gate

OPEN = cell("try:\n    print(announce('me/x', private=False))\nexcept ToolError as e:\n    print(e)")


def test_a_yes_of_then_is_none_for_a_live_replay(record: Record, tmp_path: Path) -> None:
    first = record(OPEN, cell("final_answer(1)"))
    assert first.finished is not None and first.finished.exit_code == 0
    result, _ = play(Replay.of(first.folder, True, None))
    assert result.exit_code == 4 and "--yes publish" in result.errors[-1]
    assert len((tmp_path / "ran.txt").read_text().splitlines()) == 1
    result, _ = play(Replay.of(first.folder, True, None, yes=["publish"]))
    assert result.exit_code == 0 and len((tmp_path / "ran.txt").read_text().splitlines()) == 2


def test_a_person_is_asked_in_a_live_replay_and_in_no_other(record: Record, tmp_path: Path) -> None:
    first, asked = record(OPEN, cell("final_answer(1)")), list[Any]()

    def person(question: Any) -> Answer:
        asked.append(question)
        return Answer(True)

    assert play(Replay.of(first.folder, False, person))[0].exit_code == 0 and asked == []
    assert play(Replay.of(first.folder, True, person))[0].exit_code == 0
    assert [question.tool for question in asked] == ["announce"]


# How the session ended


def test_a_session_that_met_a_limit_and_one_that_went_on(record: Record) -> None:
    replies = [cell(f"x = {n}\nprint(x)") for n in range(4)] + [cell("final_answer(x)")]
    first = record(*replies, max_steps=3)
    assert first.finished is not None and first.finished.exit_code == 3
    result, told = play(Replay.of(first.folder, False, None))
    assert result.exit_code == 0 and result.to_json()["replay"]["ended"] == "limit"
    assert any("Here the session ended: The limit of 3 steps" in line for line in told)
    record(*replies, folder=first.folder, max_steps=9)
    result, _ = play(Replay.of(first.folder, False, None))
    assert (result.exit_code, result.answer, result.steps) == (0, "3", 5)
    assert result.to_json()["replay"]["ended"] == "done"


CIRCLES = [cell("print('again')")] * 12
WORDS = ["I think about it."] * 3


@pytest.mark.parametrize(
    ("replies", "why"),
    [(CIRCLES, "same"), ([cell("x = 1"), *WORDS], "no usable cell")],
    ids=["circles", "words"],
)
def test_a_session_that_ended_in_an_error_ends_so_again(record: Record, replies: list[str], why: str) -> None:
    first = record(*replies)
    assert first.finished is not None and first.finished.exit_code == 1 and why in first.errors[-1]
    result, told = play(Replay.of(first.folder, False, None))
    assert result.exit_code == 0 and result.errors == []
    assert any(f"Here the session ended: {first.errors[-1]}" == line for line in told)


def test_a_session_that_was_stuck_and_went_on_plays_to_its_end(record: Record) -> None:
    stuck = record(*CIRCLES)
    done = sum(ran.ok for ran in Replay.of(stuck.folder, False, None).was.cells.values())
    assert done < 12
    replies = [*CIRCLES[:done], cell("final_answer('out')")]
    went_on = record(*replies, folder=stuck.folder)
    assert went_on.finished is not None and went_on.finished.answer == "out"
    result, _ = play(Replay.of(stuck.folder, False, None))
    assert (result.exit_code, result.answer) == (0, "out")


def test_a_step_that_is_not_reached_is_a_difference(record: Record, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    first = record(
        cell(f"import os\nif os.path.exists({str(flag)!r}): final_answer('early')\nprint('later')"),
        cell("final_answer('late')"),
    )
    flag.touch()
    result, _ = play(Replay.of(first.folder, False, None))
    assert result.exit_code == 1
    assert [(d["step"], d["line"]) for d in result.to_json()["replay"]["differences"]] == [(1, 1), (2, 0)]


# What is not there any more


def test_tools_that_are_gone(recorded: tuple[Path, Path], record: Record, tmp_path: Path) -> None:
    first = record(cell("print(announce('me/x'), forget.__doc__)"), cell("final_answer(1)"))
    shutil.rmtree(tmp_path / "own_tools")
    result, _ = play(Replay.of(first.folder, False, None))
    assert result.exit_code == 0
    with pytest.raises(UsageError, match="own_tools' does not exist"):
        Replay.of(first.folder, True, None)
    replay = Replay.of(first.folder, True, None, tools=[])
    result, told = play(replay)
    assert "Tools that are not there any more: announce, forget, rent." in told
    assert result.exit_code == 1 and "The cell failed. NameError: name" in result.errors[-1]


def test_an_argument_that_was_renamed_since_is_known_by_its_old_name(record: Record, tmp_path: Path) -> None:
    first = record(cell("print(announce('me/x', 'hello'))"), cell("final_answer(1)"))
    source = tmp_path / "own_tools" / "own.py"
    source.write_text(
        source.read_text().replace("repo: str, text", "where: str, words").replace("{repo} {text}", "")
    )
    result, _ = play(Replay.of(first.folder, False, None))
    assert result.exit_code == 0, result.errors


@pytest.mark.thorough
def test_mcp_servers(record: Record, tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the package mcp is not installed")
    from ml_intern.outside.mcp_servers import McpServers

    server = Path(__file__).parents[1] / "outside" / "tracker_server.py"
    entry: dict[str, Any] = {"command": sys.executable, "args": [str(server)], "effects": {"*": "read"}}
    calls = cell("tracker__create_issue('second')\nprint(tracker__count())"), cell("final_answer(1)")
    first = record(*calls, mcp=McpServers({"tracker": entry}))
    replay = Replay.of(first.folder, False, None)
    assert replay.mcp.servers == [] and play(replay)[0].exit_code == 0
    result, told = play(Replay.of(first.folder, True, None))
    assert result.exit_code == 1 and any("tracker__count" in line for line in told)
    result, _ = play(Replay.of(first.folder, True, None, mcp_servers={"tracker": entry}))
    assert result.exit_code == 0


def test_a_renamed_folder_and_paths_in_results(record: Record, tmp_path: Path) -> None:
    first = record(
        cell("job = launch_script('print(1)', name='a')\nprint(job.output, announce('me/x'))"),
        cell("import os\nprint(os.getcwd())\nprint(os.path.isdir(job.output))"),
        cell("final_answer(1)"),
        yes=["compute"],
    )
    assert play(Replay.of(first.folder, False, None))[0].errors == []
    moved = first.folder.rename(first.folder.with_name("moved"))
    shutil.copytree(moved, first.folder)
    assert play(Replay.of(moved, False, None))[0].errors == []


# The comparison


def test_where_two_observations_part() -> None:
    assert compare(1, "a\nb", "a\nb") is None
    found = compare(3, "a\nb\nc", "a\nx")
    assert found is not None and str(found) == "step 3, line 2: expected 'b', got 'x'"
    found = compare(1, "a\nb", "a")
    assert found is not None and (found.line, found.got) == (2, "(nothing)")
    found = compare(1, "x" * 5000 + "then", "x" * 5000 + "now")
    assert found is not None and found.expected.endswith("then") and found.got.endswith("now")
    assert len(found.expected) <= LONGEST + 1
    found = compare(1, "a", "a\n")
    assert found is not None and found.expected != found.got


def test_recorded_results_bring_the_files_that_their_calls_wrote(
    own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writes(Scripted):
        cells = (
            "given = open('of-the-person').read()\n_ = write_file('notes', 'by a tool')",
            "open('notes', 'a').write(' and a cell')\nprint(given, open('notes').read())",
            "final_answer(open('notes').read())",
        )

    monkeypatch.chdir(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    (work / "of-the-person").write_text("given")
    settings = Settings.load(state=own_state, sandbox="none", workspace=work)
    session = Session(settings, "do it", Writes(), BareSandbox("test"), None)
    assert play(session)[0].answer == "by a tool and a cell"
    (work / "of-the-person").unlink()
    result, told = play(Replay.of(session.folder, False, None))
    assert result.answer == "by a tool and a cell" and not any("differs" in text for text in told), told
    assert {path.name for path in work.iterdir()} == {"notes", ".ml-intern"}
