"""A server that misbehaves in every way that servers do: pages come, or one line says why not."""

from __future__ import annotations

import gzip
import itertools
import threading
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate

import pytest
from support.loopback import Answer, Asked, Loopback, Reply, endless

from ml_intern.errors import Interrupted
from ml_intern.web.client import Web
from ml_intern.web.errors import (
    BadAnswer,
    Blocked,
    Missing,
    Throttled,
    TooLarge,
    Unreachable,
    WebError,
)

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]


def _first(*faults: Reply) -> Answer:
    """Each fault once, then a good answer."""
    left = itertools.chain(faults, itertools.repeat(Reply({"good": True})))
    return lambda asked: next(left)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_error_is_tried_again_and_told(status: int, serve: Serve, make_web: Make) -> None:
    told: list[str] = []
    server = serve(_first(Reply(status=status), Reply(status=status)))
    assert make_web(tell=told.append).get_json(server.url).data == {"good": True}
    assert len(server.asked) == 3
    assert len(told) == 2 and all(f"answered with status {status}; trying again" in line for line in told)


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_honoured(as_date: bool, serve: Serve, make_web: Make) -> None:
    def fault(asked: Asked) -> Reply:
        if len(server.asked) > 1:
            return Reply({"good": True})
        return Reply(
            status=429, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True) if as_date else "1"}
        )

    server = serve(fault)
    make_web().get_json(server.url)
    first, second = server.asked
    assert second.at - first.at >= 0.9


def test_who_asks_for_an_hour_is_left_alone_by_everybody(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(
        Throttled, match=r"limits the rate of requests \(status 429\); it asks to wait 3600 s"
    ):
        make_web().get(server.url)
    with pytest.raises(Throttled, match=r"left alone for another 3\d\d\d s"):
        make_web().get(f"{server.url}/other")
    assert len(server.asked) == 1


def test_a_rate_limit_without_end_is_explained(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(status=429))
    with pytest.raises(Throttled, match="status 429"):
        make_web(tries=2).get(server.url)
    assert len(server.asked) == 3


def test_errors_without_end_are_explained(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"<html>oops</html>", status=500))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 answers with status 500\. Try again later\."):
        make_web(tries=1).get(server.url)


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_mistake_of_ours_is_not_repeated(status: int, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply({"error": "No such field: tittle."}, status=status))
    with pytest.raises(WebError, match=f"status {status}: No such field: tittle\\.") as told:
        make_web().get(server.url)
    assert len(server.asked) == 1 and told.value.status == status


def test_what_does_not_exist_is_told(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply({"message": "gone"}, status=404))
    with pytest.raises(Missing, match="/nothing does not exist: gone"):
        make_web().get(f"{server.url}/nothing")
    assert len(server.asked) == 1


def test_a_broken_connection_is_tried_again(serve: Serve, make_web: Make) -> None:
    server = serve(_first(Reply(b'{"good"', length=50), Reply(iter([b'{"go']), length=50)))
    assert make_web().get_json(server.url).data == {"good": True}
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "body", [b'{"half": ', b"", b"<html>down for maintenance</html>", b'\xff\xfe{"a": 1}'], ids=repr
)
def test_what_is_no_json_is_asked_again_then_explained(body: bytes, serve: Serve, make_web: Make) -> None:
    server = serve(_first(Reply(body)))
    assert make_web().get_json(server.url).data == {"good": True}
    always = serve(lambda asked: Reply(body))
    with pytest.raises(BadAnswer, match=r"The answer of 127\.0\.0\.1 cannot be read"):
        make_web().get_json(always.url)
    assert len(always.asked) == 3


def test_what_cannot_be_read_is_not_kept(serve: Serve, make_web: Make) -> None:
    server = serve(_first(*[Reply(b"{", headers={"Cache-Control": "max-age=3600"})] * 3))
    web = make_web()
    with pytest.raises(BadAnswer):
        web.get_json(server.url)
    assert web.get_json(server.url).data == {"good": True}


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("utf-8", "naïve".encode()),
        ("latin-1", "naïve".encode("latin-1")),
        ("utf-8", "naïve".encode("latin-1")),
        ("ascii", "naïve".encode()),
        ("no-such-charset", "naïve".encode()),
        ("hex", "naïve".encode()),
        ("utf-16", "naïve".encode("utf-16")),
    ],
)
def test_a_wrong_charset_is_no_error(label: str, body: bytes, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(body, headers={"Content-Type": f"text/html; charset={label}"}))
    text = make_web().get(server.url).text
    assert text in ("naïve", "na�ve")


def test_json_in_latin_1_is_read(serve: Serve, make_web: Make) -> None:
    body = '{"name": "José"}'.encode("latin-1")
    server = serve(lambda asked: Reply(body, headers={"Content-Type": "application/json; charset=latin-1"}))
    assert make_web().get_json(server.url).data == {"name": "José"}


def test_json_that_is_nested_without_end_is_explained(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"[" * 200_000))
    with pytest.raises(BadAnswer, match="cannot be read"):
        make_web().get_json(server.url)


def test_an_endless_body_is_cut_off(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(endless(b"x" * 65536)))
    with pytest.raises(TooLarge, match=r"longer than 1 MB"):
        make_web().get(server.url, limit=1_000_000)
    assert len(server.asked) == 1


def _bomb(packed: bytes, times: int) -> bytes:
    return packed * times


@pytest.mark.parametrize("nested", [False, True], ids=["one member", "many members"])
def test_a_gzip_bomb_is_cut_off(nested: bool, serve: Serve, make_web: Make) -> None:
    packed = gzip.compress(bytes(50_000_000)) if not nested else gzip.compress(bytes(1_000_000)) * 50
    server = serve(lambda asked: Reply(packed, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TooLarge):
        make_web().get(server.url, limit=2_000_000)


def test_a_compressed_answer_is_unpacked(serve: Serve, make_web: Make) -> None:
    def answer(asked: Asked) -> Reply:
        pack = {"/gzip": gzip.compress, "/deflate": zlib.compress}[asked.path]
        return Reply(pack(b'{"a": 1}'), headers={"Content-Encoding": asked.path[1:]})

    server = serve(answer)
    web = make_web()
    assert web.get_json(f"{server.url}/gzip").data == web.get_json(f"{server.url}/deflate").data == {"a": 1}
    assert web.get_json(f"{server.url}/gzip").cached


def test_half_of_a_compressed_answer_is_asked_again(serve: Serve, make_web: Make) -> None:
    half = gzip.compress(b'{"a": 1}' * 1000)[:-20]
    server = serve(_first(Reply(half, headers={"Content-Encoding": "gzip"})))
    assert make_web().get_json(server.url).data == {"good": True}


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd", "compress"])
def test_packing_that_nobody_asked_for_is_refused(encoding: str, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"abc", headers={"Content-Encoding": encoding}))
    with pytest.raises(BadAnswer, match="packs its answer as"):
        make_web().get(server.url)
    assert server.asked[0].headers["accept-encoding"] == "gzip, deflate"


def test_a_drip_ends_at_its_time(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(endless(b"x", pause_s=0.05)))
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="took longer than 0 s"):
        make_web(tries=0).get(server.url, total_s=0.3)
    assert time.monotonic() - begun < 60


def test_a_stopped_run_does_not_wait(serve: Serve, make_web: Make) -> None:
    stopped = threading.Event()
    server = serve(lambda asked: Reply(b"late", delay_s=120))
    web = make_web(stop=stopped.is_set)
    threading.Timer(0.3, stopped.set).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        web.get(server.url)
    assert time.monotonic() - begun < 60


def test_a_stopped_run_does_not_wait_for_a_retry(serve: Serve, make_web: Make) -> None:
    stopped = threading.Event()
    server = serve(lambda asked: Reply(status=503, headers={"Retry-After": "50"}))
    web = make_web(stop=stopped.is_set, tell=lambda text: stopped.set())
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        web.get(server.url)
    assert time.monotonic() - begun < 20
    assert len(server.asked) == 1


def test_nobody_at_the_address_is_explained(serve: Serve, make_web: Make) -> None:
    with Loopback(lambda asked: Reply()) as gone:
        url = gone.url
    with pytest.raises(Unreachable, match="gives no answer"):
        make_web(tries=1).get(url)


REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
def test_redirects_are_followed(status: int, serve: Serve, make_web: Make) -> None:
    server = serve(
        lambda asked: (
            Reply(b"there") if asked.path == "/b" else Reply(status=status, headers={"Location": "/b#x"})
        )
    )
    page = make_web().get(f"{server.url}/a")
    assert (page.content, page.url) == (b"there", f"{server.url}/b")


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:80/",
        "http://[::ffff:192.168.0.1]/",
        "http://0x7f000001/",
        "http://localhost/",
        "file:///etc/passwd",
        "http://user:pass@example.com/",
        "gopher://example.com/",
        "http://127.0.0.1:1/\r\nx",
        "//[bad",
        "http://example.com:6379/",
    ],
)
def test_a_redirect_into_the_own_network_is_refused(target: str, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(status=302, headers={"Location": target.replace("\r\n", "")}))
    opened = f"127.0.0.1:{server.port}"
    with pytest.raises(Blocked):
        make_web(private=[opened]).get(server.url)
    assert len(server.asked) == 1


def test_redirects_in_circles_end(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(status=302, headers={"Location": f"/{len(server.asked)}"}))
    with pytest.raises(BadAnswer, match="more than 5 times"):
        make_web().get(server.url)
    assert len(server.asked) == 6


def test_a_question_by_post_is_not_sent_elsewhere_as_another(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(status=302, headers={"Location": "/b"}))
    with pytest.raises(BadAnswer, match="sends a question"):
        make_web().ask_json(f"{server.url}/a", {"ids": []})
    moved = serve(
        lambda asked: (
            Reply({"got": asked.json})
            if asked.path == "/b"
            else Reply(status=307, headers={"Location": "/b"})
        )
    )
    assert make_web().ask_json(f"{moved.url}/a", {"ids": [1]}).data == {"got": {"ids": [1]}}
