"""A run in a real terminal: the live view, questions of the gate, Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from cli_process import DOUBLE, environment

QUESTION = b"allow? [y/n/a/e] "


def in_terminal(home: Path, *words: str, answers: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[int, str]:
    """Run the double in a pseudo-terminal and type each answer at its cue; exit code and screen text."""
    main, side = pty.openpty()
    env = environment(home, TERM="xterm-256color", LINES="40")
    process = subprocess.Popen(
        [sys.executable, str(DOUBLE), *words],
        stdin=side,
        stdout=side,
        stderr=side,
        env=env,
        cwd=home,
        start_new_session=True,
        # The terminal becomes the process's own, so that ^C typed into it is a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(side)
    seen, waiting, searched = b"", list(answers), 0
    while select.select([main], [], [], 120)[0]:
        try:
            piece = os.read(main, 65536)
        except OSError:  # Linux says EIO when the last process of the terminal has left.
            break
        seen += piece
        if waiting and (place := seen.find(waiting[0][0], searched)) >= 0:
            searched = place + len(waiting[0][0])
            os.write(main, waiting.pop(0)[1])
    os.close(main)
    return process.wait(120), re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", seen.decode())


def test_live_view(tmp_path: Path) -> None:
    code, screen = in_terminal(tmp_path, "training", "train it")
    assert code == 0
    for told in (
        "● step 1",
        "inspect_dataset(",
        "✓ inspect_dataset",
        "baseline-1 succeeded",
        "exp-2 kept",
        "█",
        "published",
    ):
        assert told in screen
    assert "owned" not in screen


@pytest.mark.parametrize(
    ("answers", "code", "told"),
    [
        ([b"y\n"], 0, "allowed=True"),
        ([b"a\n"], 0, "always=True"),
        ([b"what\n", b"y\n"], 0, "allowed=True"),
        ([b"n it is not ready\n"], 4, "reason='it is not ready'"),
        ([b"\x04"], 4, "reason='nobody answered'"),
    ],
)
def test_questions_of_the_gate(tmp_path: Path, answers: list[bytes], code: int, told: str) -> None:
    got, screen = in_terminal(tmp_path, "ask", "train it", answers=tuple((QUESTION, a) for a in answers))
    assert got == code and told in screen
    assert "publish_model asks for permission: others can see it" in screen and 'repo = "me/x"' in screen


def test_no_is_asked_for_its_reason(tmp_path: Path) -> None:
    answers = ((QUESTION, b"n\n"), (b"the brain reads it", b"too early\n"))
    code, screen = in_terminal(tmp_path, "ask", "train it", answers=answers)
    assert code == 4 and "reason='too early'" in screen


def test_arguments_can_be_edited(tmp_path: Path) -> None:
    changed = json.dumps({"private": True}).encode()
    answers = ((QUESTION, b"e\n"), (b'{"private": true}: ', changed + b"\n"))
    code, screen = in_terminal(tmp_path, "ask", "train it", answers=answers)
    assert code == 0 and "'private': True" in screen
    answers = ((QUESTION, b"e\n"), (b'{"private": true}: ', b'{"prvate": true}\n'), (QUESTION, b"n no\n"))
    code, screen = in_terminal(tmp_path, "ask", "train it", answers=answers)
    assert code == 4 and "Write an object with some of: experiment, repo, private" in screen


def stopped(
    home: Path, scenario: str, numbers: list[signal.Signals], *words: str, **more: str
) -> tuple[int, str, str]:
    """Run a scenario that waits, send signals to it; exit code, stdout, stderr.

    Each signal but the last is waited for until it was heard: two that come together are one to a process.
    """
    process = started(home, scenario, *words, **more)
    for count, number in enumerate(numbers, 1):
        process.send_signal(number)
        while count < len(numbers) and not (home / "heard").exists():
            assert process.poll() is None
            time.sleep(0.02)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def started(home: Path, scenario: str, *words: str, **more: str) -> subprocess.Popen[str]:
    """A scenario that has begun to wait."""
    ready = home / "ready"
    process = subprocess.Popen(
        [sys.executable, str(DOUBLE), scenario, "train it", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env=environment(home, READY=str(ready), HEARD=str(home / "heard"), **more),
    )
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_once_waits_for_the_cell(tmp_path: Path, number: signal.Signals) -> None:
    code, out, err = stopped(tmp_path, "interrupt", [number])
    assert code == 130 and "waiting for the cell to end" in out and "KeyboardInterrupt" in out
    assert err.count("ml-intern: ") == 1 and "Traceback" not in err


def test_ctrl_c_twice_stops_at_once(tmp_path: Path) -> None:
    code, out, err = stopped(tmp_path, "stubborn", [signal.SIGINT, signal.SIGINT])
    assert code == 130 and "waiting for the cell" in out and "Traceback" not in err
    assert err == "ml-intern: Stopped at once.\n"


def test_ctrl_c_twice_still_gives_one_json_object(tmp_path: Path) -> None:
    code, out, _ = stopped(tmp_path, "stubborn", [signal.SIGINT, signal.SIGINT], "--json")
    told = json.loads(out)
    assert code == 130 and told["status"] == "interrupted" and told["session"] == "20260101-120000-abcd"


def test_one_ctrl_c_too_many_does_not_cut_the_end_off(tmp_path: Path) -> None:
    process = started(tmp_path, "interrupt", "--json")
    for _ in range(20):
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    code = process.returncode
    assert code == 130 and json.loads(out)["status"] == "interrupted"


def test_ctrl_c_answers_an_open_question(tmp_path: Path) -> None:
    code, screen = in_terminal(tmp_path, "ask", "train it", answers=((QUESTION, b"\x03"),))
    assert code == 4 and "reason='the run was interrupted'" in screen


def test_a_thread_that_is_stuck_does_not_hold_the_exit_after_a_stop(tmp_path: Path) -> None:
    code, out, err = stopped(tmp_path, "stuck", [signal.SIGINT], "--json", THREADS_S="0.5")
    assert code == 130 and json.loads(out)["status"] == "interrupted"
    assert err.count("ml-intern: ") == 1 and "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_further_signal_ends_the_wait_for_threads_at_once(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path, "stuck", THREADS_S="600")
    process.send_signal(signal.SIGINT)
    assert process.stderr and process.stderr.readline().startswith("ml-intern: ")  # the last word
    while process.poll() is None:
        process.send_signal(number)
        time.sleep(0.1)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "· interrupted" in out and err == ""
