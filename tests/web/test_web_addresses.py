"""No address within the own network is reached, however it is written, and none that a name slips in later."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.loopback import Answer, Loopback, Reply

from ml_intern.web.addresses import Doors, is_public
from ml_intern.web.client import Web
from ml_intern.web.errors import Blocked, Unreachable

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]

PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0a00:0001", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:0:53aa:64c:0:0:80ff:fffe", "::7f00:1",
    "2001:db8::1", "100::1", "fd00:ec2::254", "no address",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "151.101.1.42", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_told(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_told(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]",
     "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "１２７.０.０.１", "0"],
)  # fmt: skip
def test_loopback_is_closed_however_it_is_written(host: str, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"inside"))
    # Its port is open, elsewhere: only the address may stop it.
    web = make_web(private=[f"mirror.example:{server.port}"], tries=0)
    with pytest.raises((Blocked, Unreachable)):
        web.get(f"http://{host}:{server.port}/")
    with pytest.raises((Blocked, Unreachable)):
        web.get(f"http://{host}/")
    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("https://", "only http and https"),
        ("https://user:secret@example.com/", "a user or a password"),
        ("https://:secret@example.com/", "a user or a password"),
        ("https://example.com:22/", "Port 22"),
        ("https://example.com:99999/", "no URL"),
        ("https://[::1/", "no URL"),
        ("example.com", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("https://exa mple.com/\n", "."),
        ("", "only http and https"),
    ],
)
def test_urls_that_no_tool_fetches(url: str, said: str, make_web: Make) -> None:
    with pytest.raises((Blocked, Unreachable), match=said) as told:
        make_web(private=[], tries=0).get(url)
    assert "secret" not in str(told.value)


class _Names:
    """Answers of a name service, one after another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: str, port: int, *rest: Any, **options: Any) -> list[Any]:
        if host[0].isdigit():
            return self._real(host, port, *rest, **options)
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.mark.parametrize("addresses", [["10.0.0.7"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"]])
def test_a_public_name_with_a_private_address_is_refused(
    addresses: list[str], make_web: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Names(monkeypatch, addresses)
    with pytest.raises(Blocked, match=r"innocent\.example leads to .*, which is not a public address"):
        make_web(private=[]).get("https://innocent.example/")


def test_a_name_that_answers_differently_the_second_time_gains_nothing(
    serve: Serve, make_web: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda asked: Reply(b"inside"))
    connected: list[str] = []
    real = socket.create_connection

    def connect(address: tuple[str, int], *rest: Any, **options: Any) -> socket.socket:
        connected.append(address[0])
        if address[0] == "8.8.8.8":
            raise OSError("nobody is there in a test")
        return real(address, *rest, **options)

    monkeypatch.setattr(socket, "create_connection", connect)
    names = _Names(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    with pytest.raises(Unreachable):
        make_web(private=[], tries=0).get("http://rebinding.example/")
    assert connected == ["8.8.8.8"], "what was judged is what is connected to"
    with pytest.raises(Blocked):
        make_web(private=[], tries=0).get("http://rebinding.example/")
    assert names.asked == 2 and connected == ["8.8.8.8"] and server.asked == []


@pytest.mark.parametrize(
    "opened", ["127.0.0.1", "127.0.0.0/8", "127.0.0.1:{port}", "http://127.0.0.1:{port}/x"]
)
def test_a_person_opens_what_is_theirs(opened: str, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"mine"))
    assert make_web(private=[opened.format(port=server.port)]).get(server.url).content == b"mine"


def test_a_mirror_that_the_person_names_is_open(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"mine"))
    web = make_web(private=[], mirrors={"arxiv": f"{server.url}/"})
    assert web.base("arxiv", "https://export.arxiv.org") == server.url
    assert web.base("openalex", "https://api.openalex.org") == "https://api.openalex.org"
    assert web.get(server.url).content == b"mine"
    with pytest.raises(Blocked):
        web.get("http://127.0.0.1:1/")


def test_an_opened_port_is_open_at_its_host_only() -> None:
    doors = Doors(["mirror.example:8080"])
    assert doors.check("http://mirror.example:8080/x")
    for url in ("http://mirror.example:8081/", "http://other.example:8080/"):
        with pytest.raises(Blocked):
            doors.check(url)


def test_the_environments_proxy_is_used_and_does_not_open_the_own_network(
    serve: Serve, make_web: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(lambda asked: Reply(b"through the proxy"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    _Names(monkeypatch, ["8.8.8.8"])
    web = make_web(private=[], tries=0)
    assert web.get("http://somewhere.example/page").content == b"through the proxy"
    _Names(monkeypatch, ["10.0.0.1"])
    with pytest.raises(Blocked):
        web.get("http://inside.example/page")
    assert len(proxy.asked) == 1
