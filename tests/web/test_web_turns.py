"""Each host is asked as often as it wants to be, by all threads and processes together."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.loopback import Answer, Loopback, Reply

from ml_intern.errors import Interrupted
from ml_intern.web.client import Web
from ml_intern.web.manners import MANNERS, Manners, manners_of
from ml_intern.web.pace import Pacer

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]
FRESH = {"Cache-Control": "no-store"}
NEVER_EARLY = 0.02
"""A clock that is read twice may lie by so much."""


def _together(*work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _not_before(times: list[float], begun: float, pause: float) -> None:
    """The n-th may come late on a slow machine, but never before n pauses have passed."""
    for number, moment in enumerate(sorted(times)):
        assert moment >= begun + number * pause - NEVER_EARLY


def test_pauses_lie_between_requests_of_all_threads(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(headers=FRESH))
    web = make_web(manners=(Manners("127.0.0.1", every_s=0.3),))
    begun = time.monotonic()
    _together(*[lambda path=path: web.get(f"{server.url}/{path}") for path in range(4)])  # type: ignore[misc]
    _not_before([asked.at for asked in server.asked], begun, 0.3)


def test_one_connection_means_one_at_a_time(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(headers=FRESH, delay_s=0.15))
    web = make_web(manners=(Manners("127.0.0.1", single=True),))
    _together(*[lambda path=path: web.get(f"{server.url}/{path}") for path in range(5)])  # type: ignore[misc]
    assert (len(server.asked), server.most_at_once) == (5, 1)
    two = threading.Barrier(2, timeout=60)
    free = serve(lambda asked: Reply(str(two.wait()), headers=FRESH))
    other = make_web(manners=())
    _together(*[lambda path=path: other.get(f"{free.url}/{path}") for path in range(2)])  # type: ignore[misc]
    assert free.most_at_once == 2


def test_a_key_shortens_the_pause(tmp_path: Path) -> None:
    manners = Manners("x.example", every_s=60.0, keyed_s=0.0)
    assert (manners.pause(False), manners.pause(True)) == (60.0, 0.0)


_CHILD = """
import sys, time
from pathlib import Path
from ml_intern.web.manners import Manners
from ml_intern.web.pace import Pacer
pacer = Pacer(Path(sys.argv[1]))
for _ in range(3):
    with pacer.turn(Manners("x.example", every_s=0.2, single=True)):
        print(time.time(), flush=True)
"""


def test_processes_share_the_turns(tmp_path: Path) -> None:
    begun = time.time()
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    times = [float(line) for child in children for line in child.communicate(timeout=60)[0].split()]
    assert len(times) == 6
    _not_before(times, begun, 0.2)


def test_the_turn_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = _CHILD.replace("print(time.time(), flush=True)", "print(1, flush=True); time.sleep(600)")
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    child.kill()
    child.wait()
    with Pacer(tmp_path).turn(Manners("x.example", single=True)):
        pass


def test_who_waits_for_a_turn_can_be_stopped(tmp_path: Path) -> None:
    pacer, slow = Pacer(tmp_path), Manners("x.example", every_s=50.0)
    told: list[str] = []
    with pacer.turn(slow):
        pass
    begun = time.monotonic()
    with (
        pytest.raises(Interrupted),
        pacer.turn(slow, stop=lambda: time.monotonic() - begun > 0.2, tell=told.append),
    ):
        raise AssertionError("it was not our turn")
    assert time.monotonic() - begun < 20
    assert told and "for the next turn at x.example" in told[0]


@pytest.mark.parametrize(
    "written", [b"", b"junk", b"nan nan", b"1e300 1e300", b"99999999999 99999999999", b"inf"]
)
def test_a_file_of_turns_that_makes_no_sense_holds_nobody(written: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.example.next").write_bytes(written)
    with Pacer(tmp_path).turn(Manners("x.example", every_s=1.0)):
        pass


def test_strange_hosts_make_no_strange_files(tmp_path: Path) -> None:
    for host in ("../../evil", "a" * 300, "ü.example", "[::1]", ""):
        with Pacer(tmp_path / "turns").turn(Manners(host, every_s=0.01)):
            pass
    assert {path.parent for path in tmp_path.rglob("*.next")} == {tmp_path / "turns"}
    assert [path.name for path in tmp_path.iterdir()] == ["turns"]


def test_arxiv_is_asked_once_in_three_seconds_wherever_it_is() -> None:
    for host in ("export.arxiv.org", "arxiv.org"):
        manners = manners_of(host)
        assert (manners.host, manners.every_s, manners.single) == (".arxiv.org", 3.0, True)
    assert manners_of("notarxiv.org").every_s == 0
    assert all(manners.source.startswith("https://") for manners in MANNERS)
