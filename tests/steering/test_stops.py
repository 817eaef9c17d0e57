"""A cell, a step, a run can be stopped; after the first two the run goes on and the brain knows why."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from steered import Talking, open_session, prompts, run

from ml_intern.agent.inbox import Inbox
from ml_intern.events import Event
from ml_intern.session.replaying import Replay

SLEEPER = "import time\nprint('begun', flush=True)\ntime.sleep(600)"


def sleeping_first(n: int, seen: str) -> str:
    return SLEEPER if n == 0 else "final_answer('went on')"


def on_output(act: Any) -> Any:
    def hear(event: Event) -> None:
        if event.kind == "CellOutput" and "begun" in event.text:  # type: ignore[attr-defined]
            act()

    return hear


def test_a_cell_alone(tmp_path: Path) -> None:
    session = open_session(tmp_path, sleeping_first)
    began = time.monotonic()
    result = run(session, on_output(lambda: session.stop("cell")))
    assert result.answer == "went on" and result.exit_code == 0 and time.monotonic() - began < 200
    assert (
        "The person stopped this cell" in prompts(session)[1] and "KeyboardInterrupt" in prompts(session)[1]
    )


def test_a_cell_from_another_process(tmp_path: Path) -> None:
    session = open_session(tmp_path, sleeping_first)
    assert run(session, on_output(lambda: Inbox(session.folder).stop("cell"))).answer == "went on"


def test_a_call_that_waits_in_the_cell_gives_up(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str:
        if n == 0:
            return "job = launch_script('import time; time.sleep(300)', name='long')\nprint('begun', flush=True)\nwait_for_job(job.id)"
        return "cancel_job(job.id)\nfinal_answer('went on')"

    session = open_session(tmp_path, reply, yes=["compute"])
    result = run(session, on_output(lambda: threading.Timer(1.0, lambda: session.stop("cell")).start()))
    assert result.answer == "went on" and result.exit_code == 0, result.errors


def test_an_answer_that_is_being_written(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str | None:
        return "final_answer('asked again')" if "stopped your answer" in seen else None

    session = open_session(tmp_path, reply)
    brain = session.brain
    assert isinstance(brain, Talking)

    def later() -> None:
        assert brain.thinking.wait(200)
        session.say("be quick")
        assert not session.stop("cell"), "no cell runs"
        assert session.stop("step")

    helper = threading.Thread(target=later)
    helper.start()
    result = run(session)
    helper.join()
    assert result.answer == "asked again" and "be quick" in prompts(session)[-1]


def test_nothing_runs(tmp_path: Path) -> None:
    session = open_session(tmp_path, lambda n, seen: "final_answer('x')")
    assert not session.stop("cell") and not session.stop("step")
    assert run(session).answer == "x"


def test_a_run(tmp_path: Path) -> None:
    session = open_session(tmp_path, sleeping_first)
    result = run(session, on_output(lambda: Inbox(session.folder).stop("run")))
    assert result.status == "interrupted" and result.exit_code == 130
    again = open_session(tmp_path, lambda n, seen: "final_answer('later')", session.folder)
    assert run(again, on_output(lambda: again.stop("cell"))).answer == "later"


def test_a_run_that_is_stopped_while_a_cell_stops_ends(tmp_path: Path) -> None:
    stubborn = "import time\nprint('begun', flush=True)\nfor _ in range(60):\n    try: time.sleep(1)\n    except KeyboardInterrupt: pass"
    session = open_session(
        tmp_path, lambda n, seen: stubborn if n == 0 else "final_answer('x')", cell_grace_s=1
    )

    def both() -> None:
        assert session.stop("cell")
        session.stop("run")

    assert run(session, on_output(both)).status == "interrupted"


def test_a_stopped_cell_is_stopped_again_when_the_kernel_is_rebuilt(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str:
        return {0: f"x = 1\n{SLEEPER}\nx = 2", 1: "print('next')"}.get(n, "final_answer(str(x))")

    session = open_session(tmp_path, reply, max_steps=2)
    assert run(session, on_output(lambda: session.stop("cell"))).status == "limit"
    again = open_session(tmp_path, reply, session.folder, max_steps=5)
    began = time.monotonic()
    assert run(again).answer == "1" and time.monotonic() - began < 200


def test_on_a_slower_machine_it_is_stopped_where_it_was_then(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    late = f"import os, time\nos.path.exists({str(slow)!r}) and time.sleep(3)"

    def reply(n: int, seen: str) -> str:
        return {0: f"{late}\nx = 1\n{SLEEPER}\nx = 2", 1: "print('next')"}.get(n, "final_answer(str(x))")

    session = open_session(tmp_path, reply, max_steps=2)
    assert run(session, on_output(lambda: session.stop("cell"))).status == "limit"
    slow.touch()
    again = open_session(tmp_path, reply, session.folder, max_steps=5)
    assert run(again).answer == "1"


def test_a_cell_stopped_in_a_call_stops_there_again_when_it_is_resumed_or_replayed(tmp_path: Path) -> None:
    """The host's wait gives up with the cell; lines that were never reached are not run later either."""

    go = tmp_path / "go"
    script = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"

    def reply(n: int, seen: str) -> str:
        return {
            0: f"job = launch_script({script!r}, name='long')\ndone = False",
            1: "print('begun', flush=True)\nwait_for_job(job.id)\ndone = True",
            2: "print('next')",
        }.get(n, "wait_for_job(job.id)\nfinal_answer(str(done))")

    session = open_session(tmp_path, reply, yes=["compute"], max_steps=3)

    def stop(event: Event) -> None:
        if event.kind == "ToolStarted" and event.tool == "wait_for_job":  # type: ignore[attr-defined]
            threading.Timer(0.2, lambda: session.stop("cell")).start()

    assert run(session, stop).status == "limit"
    go.touch()
    assert "Not stopped with it: long-1." in prompts(session)[2]
    again = open_session(tmp_path, reply, session.folder, yes=["compute"], max_steps=9)
    assert run(again).answer == "False"
    played = Replay.of(session.folder, False, None, state=tmp_path)
    result = run(played)
    assert result.answer == "False" and result.exit_code == 0, result.errors
