"""The link into an E2B sandbox over connections that break: nothing is lost, nothing happens twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.e2b_server import E2BServer

from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.e2b import E2BSandbox
from ml_intern.sandbox.e2b_stream import Broken, Parser
from ml_intern.sandbox.host import CallReply, KernelHost

needs_server = pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())
ECHO = {"name": "echo", "parameters": [{"name": "value", "annotation": "Any"}], "signature": "echo(value)"}
FIFTY = """
from concurrent.futures import ThreadPoolExecutor as Pool
def one(i):
    print(f'züg {i}\\n', end='', flush=True)
    open(f'file-{i}.txt', 'w').write(f'{i}' * 100)
    return echo(i).n
assert [one(i) for i in range(25)] == list(range(25))
assert sorted(Pool(8).map(one, range(25, 50))) == list(range(25, 50))
"""


class Counter:
    """A tool that writes into the workspace and remembers who called."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.calls: list[int] = []

    def __call__(self, name: str, arguments: dict[str, int]) -> CallReply:
        self.calls.append(arguments["value"])
        (self.workspace / f"tool-{arguments['value']}.txt").write_text("ä" * 50)
        return CallReply(True, {"n": arguments["value"], "text": "ö" * 30})


def run(server: E2BServer, workspace: Path, work: Callable[[KernelHost, Counter], None]) -> None:
    sandbox, tool = E2BSandbox(server.env), Counter(workspace)
    kernel = KernelHost(sandbox, Mounts(workspace), Limits(), [ECHO], tool, timeout_s=60, grace_s=2)
    try:
        kernel.start()
        work(kernel, tool)
        assert kernel.dropped == 0
    finally:
        kernel.close()
        sandbox.stop()


@needs_server
@pytest.mark.parametrize(("chunk", "drop_every", "seed"), [(0, 4, 1), (7, 40, 2), (300, 12, 3)])
def test_no_call_is_lost_or_made_twice_where_connections_break(
    tmp_path: Path, chunk: int, drop_every: int, seed: int
) -> None:
    def work(kernel: KernelHost, tool: Counter) -> None:
        result = kernel.run(FIFTY)
        assert result.ok, result.error
        assert sorted(tool.calls) == list(range(50))
        assert sorted(result.output.split()) == sorted(("züg " * 50).split() + [str(i) for i in range(50)])
        for i in range(50):
            assert (tmp_path / f"file-{i}.txt").read_text() == f"{i}" * 100
        assert server.dropped >= 10

    with E2BServer(chunk=chunk, drop_every=drop_every, seed=seed) as server:
        run(server, tmp_path, work)


@pytest.mark.thorough
@needs_server
def test_no_cell_runs_twice_where_answers_are_lost(tmp_path: Path) -> None:
    with E2BServer(drop_every=2, seed=4) as server:

        def work(kernel: KernelHost, tool: Counter) -> None:
            kernel.run("n = 0")
            for _ in range(30):
                assert kernel.run("n += 1").ok
            assert kernel.run("n").value == "30"

        run(server, tmp_path, work)


TWICE = """#!/bin/sh
'''exec' '{python}' "$0" "$@"
' '''
import sys
nonce = [word for word in sys.argv if len(word) == 16][-1]
def say(text):
    sys.stdout.write(text); sys.stdout.flush()
say(f'\\n#{{nonce}} {{{{"received": 0, "next": 1, "skip": 0}}}}\\n')
for number, word in ((1, "one "), (1, "one "), (2, "two "), (1, "one "), (4, "four")):
    say(f"{{number}} k {{len(word)}}\\n{{word}}\\n")
sys.stdin.read()
"""


@needs_server
def test_a_message_counts_once_and_in_order(tmp_path: Path) -> None:
    with E2BServer() as server:
        server.python = TWICE.format(python=sys.executable)
        sandbox = E2BSandbox(server.env)
        process = sandbox.start_kernel(Mounts(tmp_path), Limits())
        heard = process.stdout.read(8)
        for _ in range(1000):
            if process.channel.attached:  # asked again for the third
                break
            time.sleep(0.05)
        sandbox.stop()
        assert heard + process.stdout.read() == b"one two " and process.channel.attached


@needs_server
def test_a_stream_that_breaks_while_the_cell_is_silent(tmp_path: Path) -> None:
    with E2BServer() as server:

        def work(kernel: KernelHost, tool: Counter) -> None:
            assert kernel.run("echo(1).n").value == "1"
            server.break_streams()
            assert kernel.run("echo(2).n").value == "2" and tool.calls == [1, 2]

        run(server, tmp_path, work)


@needs_server
def test_refusals_in_between_are_waited_out(tmp_path: Path) -> None:
    with E2BServer() as server:

        def work(kernel: KernelHost, tool: Counter) -> None:
            server.refusals = [429, 503, 500]
            assert kernel.run("echo(1).n").value == "1" and tool.calls == [1]

        run(server, tmp_path, work)


@needs_server
def test_waiting_frames_share_a_request(tmp_path: Path) -> None:
    with E2BServer(latency_s=0.4) as server:

        def work(kernel: KernelHost, tool: Counter) -> None:
            kernel.run("from concurrent.futures import ThreadPoolExecutor as Pool\npool = Pool(16)")
            before, began = server.count("SendInput"), time.monotonic()
            assert kernel.run("sum(r.n for r in pool.map(echo, range(64)))").value == str(sum(range(64)))
            assert server.count("SendInput") - before < 40
            assert time.monotonic() - began < 64 * 0.4

        run(server, tmp_path, work)


@needs_server
def test_large_frames_pass_in_both_directions(tmp_path: Path) -> None:
    with E2BServer(drop_every=30, seed=5) as server:

        def work(kernel: KernelHost, tool: Counter) -> None:
            text = "x" * 2_000_000
            assert kernel.run(f"t = {text!r}\nlen(t)").value == "2000000"
            assert kernel.run("final_answer('y' * 400_000)").answer == "y" * 400_000

        run(server, tmp_path, work)


def message(number: int, payload: str) -> str:
    return f"{number} k {len(payload)}\n{payload}\n"


MARK = '\n#abc {"received": 0, "next": 1, "skip": 0}\n'


def test_text_before_the_mark_is_no_message() -> None:
    parser = Parser("abc")
    stream = f"a login shell's greeting\n1 k 3\nold\n{MARK}{message(1, 'new')}"
    found = [m for i in range(len(stream)) for m in parser.feed(stream[i])]
    assert [kind for _, kind, _ in found] == ["m", "k"] and found[1] == (1, "k", "new")


def test_a_message_cut_in_two_goes_on_where_it_was_cut() -> None:
    first = Parser("abc")
    whole = message(1, "one") + message(2, "two\nlines")
    assert [m[0] for m in first.feed(MARK + whole[:-4])] == [0, 1]
    held = first.rest(1)
    second = Parser("def", held)
    mark = f'\n#def {{"received": 0, "next": 2, "skip": {len(held)}}}\n'
    assert list(second.feed("noise" + mark + whole[-4:]))[1:] == [(2, "k", "two\nlines")]


@pytest.mark.parametrize(
    "stream",
    [
        MARK + "x" * 300,
        MARK + "1 k -3\n",
        MARK + "1 k 99999999999\n",
        MARK + "1 k\nabc\n",
        "\n#abc " + "x" * 10_000,
        '\n#abc {"skip": 7}\n',
    ],
)
def test_what_is_no_message_breaks_the_stream(stream: str) -> None:
    with pytest.raises(Broken):
        list(Parser("abc").feed(stream))
