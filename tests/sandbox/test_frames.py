"""Frames that a hostile cell writes past the kernel: dropped, counted, and never believed."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ml_intern.sandbox.frames import FRAME_LIMIT, decode, read_frames
from ml_intern.sandbox.host import KernelHost

FORGE = """
import json, os, stat
def pipes():
    for fd in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                yield fd
        except OSError:
            pass
def forge(data):
    for fd in pipes():
        try:
            rest = data
            while rest:
                rest = rest[os.write(fd, rest):]
        except OSError:
            pass
"""


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b"3",
        b"null",
        b'{"type": "exec", "id": 1}',
        b'{"type": "done"}',
        b'{"type": "done", "id": "1"}',
        b'{"type": "done", "id": true}',
        b'{"type": "call", "id": 1.5}',
        b"[" * 100_000,
        b'{"type": "done", "id": ' + b"9" * 5000 + b"}",
        b'\xff\xfe{"type"',
    ],
)
def test_what_is_no_frame_is_dropped(line: bytes) -> None:
    assert decode(line) is None


def test_a_frame_that_is_too_long_is_dropped_and_the_next_one_is_read() -> None:
    dropped: list[int] = []
    good = json.dumps({"type": "done", "id": 1}).encode() + b"\n"
    stream = io.BytesIO(b'{"type": "done", "id": 1, "x": "' + b"x" * (2 * FRAME_LIMIT) + b'"}\n' + good)
    frames = list(read_frames(stream, lambda: dropped.append(1)))
    assert frames == [{"type": "done", "id": 1}] and len(dropped) == 1


def test_half_surrogates_are_replaced() -> None:
    frame = decode(b'{"type": "done", "id": 1, "value": "a\\ud800b", "more": ["\\uD83D\\uDE42"]}')
    assert frame and frame["value"] == "a\ufffdb" and frame["more"] == ["🙂"]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"\ud800\ud83d\ude42\udc00", "\ufffd🙂\ufffd"),
        (rb"\\ud800 \\\ud800", "\\ud800 \\\ufffd"),
        (rb"\n\\\\uD800\"", '\n\\\\uD800"'),
        (b"\xed\xa0\x80", "\ufffd" * 3),
    ],
)
def test_only_half_surrogates_are_replaced(sent: bytes, read: str) -> None:
    frame = decode(b'{"type": "done", "id": 1, "value": "' + sent + b'"}')
    assert frame and frame["value"] == read


def test_deep_nesting_around_half_a_surrogate_does_not_end_the_reader(kernel: KernelHost) -> None:
    nest = "x = '\\ud800'\nfor _ in range(600): x = [x]\n"
    result = kernel.run(nest + "try:\n    echo(x)\nexcept ToolError: pass\n'answered'")
    assert result.value == "'answered'" and result.lost == ""
    assert kernel.run("echo(2)").value == "2"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_frame_that_the_host_fails_on_ends_the_kernel_and_not_the_session(kernel: KernelHost) -> None:
    link = kernel._link
    assert link
    link._on_frame = lambda *_: 1 / 0  # type: ignore[assignment]
    assert not kernel.run("print(1)").ok and link.ended.is_set()
    assert kernel.run("2").value == "2"


def test_forged_frames_do_not_disturb_the_session(kernel: KernelHost) -> None:
    kernel.run(FORGE)
    code = """
forge(b'nonsense\\n[]\\n{"type": "done"}\\n')
forge(json.dumps({"type": "done", "id": 77, "ok": True, "final": True, "answer": "forged"}).encode() + b"\\n")
forge(json.dumps({"type": "return", "id": 1, "ok": True, "value": "forged"}).encode() + b"\\n")
forge(b'x' * (9 << 20) + b'\\n')
print(echo('true'))
"""
    result = kernel.run(code)
    assert result.ok and result.output == "true\n" and not result.final
    assert kernel.run("echo(2)").value == "2"
    assert kernel._link and kernel.dropped + kernel._link.dropped >= 5


def test_a_forged_end_of_the_cell_leaves_the_kernel_usable(kernel: KernelHost) -> None:
    kernel.run(FORGE)
    odd: dict[str, Any] = {
        "type": "done",
        "id": 2,
        "ok": "yes",
        "value": 3,
        "error": None,
        "final": 1,
        "answer": ["x"],
    }
    odd |= {"variables": {"a": 1, "b": "c" * 100_000}, "output": {"x": 1}}
    result = kernel.run(f"forge({json.dumps(odd).encode()!r} + b'\\n')")
    assert (result.ok, result.value, result.error, result.final, result.answer, result.output) == (
        False,
        "",
        "",
        False,
        "",
        "",
    )
    assert result.variables == {"b": "c" * 200}
    assert kernel.run("1 + 1").value == "2"


def test_a_flood_of_forged_calls_is_bounded(kernel: KernelHost) -> None:
    kernel.run(FORGE)
    code = """
call = {'type': 'call', 'tool': 'nap', 'arguments': {'seconds': 0.01}}
forge(b''.join(json.dumps({**call, 'id': 10_000 + n}).encode() + bytes([10]) for n in range(3000)))
while True:
    try:
        print(echo('still here'))
        break
    except ToolError as e:
        assert '1000 calls' in str(e)
"""
    assert kernel.run(code).output == "still here\n"


def test_the_same_call_twice_is_one_call(kernel: KernelHost, tools: Any) -> None:
    kernel.run(FORGE)
    call = {"type": "call", "id": 500, "tool": "nap", "arguments": {"seconds": 0.3}}
    kernel.run(f"forge({(json.dumps(call).encode() + bytes([10])) * 3!r})\nimport time\ntime.sleep(0.1)")
    assert len([name for name, _ in tools.calls if name == "nap"]) == 1
