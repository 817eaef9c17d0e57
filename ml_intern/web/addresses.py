"""Which addresses may be reached: public ones, by http and https, and what the person has opened.

A model that invents a URL must not reach the machine's own network, nor a cloud's metadata service. A name is
judged by the addresses it leads to, at the moment of connecting, and the connection goes to the very address
that was judged: a name that answers differently a second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore

from ml_intern.web.errors import Blocked, Unreachable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = {"http": 80, "https": 443}
MOST_ADDRESSES = 4
OPEN_HINT = "A person can open it with the setting web_private."

_CLOSED = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10",
        "fec0::/10", "ff00::/8",
    )
]  # fmt: skip
"""What is not public, beside what `ipaddress` knows: its table differs between versions of Python.
Source: the special-purpose address registries of IANA."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is anybody's; one that carries an IPv4 address within it is judged by that."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    inner = _inner(ip)
    if inner is not None:
        return is_public(str(inner))
    closed = any(ip in network for network in _CLOSED if network.version == ip.version)
    return ip.is_global and not (closed or ip.is_multicast or ip.is_reserved)


def _inner(ip: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address in a mapped, 6to4, Teredo, NAT64 or compatible one."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


class Doors:
    """Judges URLs and addresses.

    Args:
        opened: What the person has opened besides: ``host``, ``host:port``, an address or a network
            (``10.0.0.0/8``), each also as a URL. Without a port it is open at all of them.

    Raises:
        ValueError: An entry is none of these.
    """

    def __init__(self, opened: Iterable[str] = ()) -> None:
        self._hosts: set[tuple[str, int | None]] = set()
        self._networks: list[Network] = []
        for entry in opened:
            self._open(entry.strip())

    def _open(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry, strict=False))
            return
        except ValueError:
            pass
        parts = urlsplit(entry if "://" in entry else f"//{entry}")
        if not parts.hostname:
            raise ValueError(f"{entry!r} is no host")
        port = parts.port or (PORTS.get(parts.scheme) if parts.scheme else None)
        self._hosts.add(((parts.hostname or "").lower(), port))

    def opens(self, url: str) -> bool:
        """Whether the person has opened the host of a URL."""
        try:
            parts, port = _split(url)
        except Blocked:
            return False
        return self._opened(parts.hostname or "", port)

    def check(self, url: str) -> SplitResult:
        """What can be told from a URL alone; its parts.

        Raises:
            Blocked: Scheme, port, a password in it, or an address that is not public.
        """
        parts, port = _split(url)
        host = parts.hostname or ""
        if self._opened(host, port):
            return parts
        _check_port(host, port)
        if _is_literal(host) and not self._allowed(host):
            raise _private(host)
        return parts

    def addresses(self, host: str, port: int) -> list[str]:
        """Where a host may be reached: every address that its name leads to, none of them private.

        Raises:
            Blocked: One of them is.
            Unreachable: The name leads nowhere.
        """
        if not self._opened(host, port):
            _check_port(host, port)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unreachable(
                f"The name {host} cannot be resolved ({error}).", "Check the name and the network."
            ) from None
        ips = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        closed = [] if self._opened(host, port) else [ip for ip in ips if not self._allowed(ip)]
        if closed:
            raise _private(host, closed[0])
        return ips[:MOST_ADDRESSES]

    def _opened(self, host: str, port: int | None) -> bool:
        return bool({(host.lower(), port), (host.lower(), None)} & self._hosts) or self._in_opened(host)

    def _allowed(self, address: str) -> bool:
        return is_public(address) or self._in_opened(address)

    def _in_opened(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks if network.version == ip.version)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to judged addresses only. TLS still asks for the name, so a certificate must fit it."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that takes it."""
        *others, last = self.doors.addresses(host, port)
        for address in others:
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Any = None
    ) -> httpcore.NetworkStream:
        """Never."""
        raise Blocked("A socket of this machine is not open to tools.")


def _split(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise Blocked(f"{url[:200]!r} is no URL ({error}).", "Give one that begins with https://.") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise Blocked(
            f"{url[:200]!r} cannot be fetched: only http and https are.", "Give an https:// address."
        )
    if parts.username is not None or parts.password is not None:
        raise Blocked(
            f"The URL for {parts.hostname} has a user or a password in it.", "Leave it out: keys go apart."
        )
    return parts, port


def _check_port(host: str, port: int) -> None:
    if port not in PORTS.values():
        raise Blocked(f"Port {port} of {host} is not open to tools, only 80 and 443 are.", OPEN_HINT)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _private(host: str, address: str = "") -> Blocked:
    leads = f" leads to {address}, which" if address and address != host else ""
    return Blocked(f"{host}{leads} is not a public address, so no tool fetches from it.", OPEN_HINT)
