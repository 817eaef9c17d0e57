"""Listeners of the host on every address that an attack could reach, and addresses to listen on."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

METADATA, PUBLIC, DNS, PUBLIC_6 = "169.254.169.254", "1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"
PRIVATE = ("10.0.0.1", "172.16.0.1", "192.168.1.1")
OWN = "100.64.0.9"
"""What stands for the address of the host's own network card."""
CLONE_NEWNET = 0x40000000


def own_network() -> str:
    """Give this process a network in which metadata, private and public addresses are its own.

    Then "it was not reached" is not a matter of this machine having no way to the internet. Root only; why it
    was not done, or nothing.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "only root, with ip (iproute2), makes a network of its own"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return f"no network namespace can be made: {os.strerror(ctypes.get_errno())}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (METADATA, PUBLIC, DNS, OWN, *PRIVATE):
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "-6", "addr", "add", f"{PUBLIC_6}/128", "dev", "lo"], check=False)
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    return ""


class Listeners:
    """Sockets of the host; `visits` is what came."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.visits: list[str] = []
        self.open: dict[str, list[str | int]] = {}
        self._mark = mark
        self._tcp("v4", socket.AF_INET, "127.0.0.1", 0)
        self._tcp("v6", socket.AF_INET6, "::1", 0)
        for name, address in (("metadata", METADATA), ("public", PUBLIC), ("public dns", DNS)):
            self._tcp(name, socket.AF_INET, address, 80 if name == "metadata" else 53)
        for address in PRIVATE:
            self._tcp(f"private {address}", socket.AF_INET, address, 0)
        self._tcp("public v6", socket.AF_INET6, PUBLIC_6, 443)
        for number, address in enumerate(_own_addresses()):
            self._tcp(f"host {number}", socket.AF_INET, address, 0)
        self._udp("udp", "127.0.0.1", 0)
        self._udp("dns", "127.0.0.1", 53)
        self._udp("dns public", DNS, 53)
        self._unix("abstract", "\0" + mark + ".abstract")
        self._unix("path", str(folder / "host.socket"))

    def _tcp(self, name: str, family: int, address: str, port: int) -> None:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._bound(listener, (address, port)):
            self.open[name] = [address, listener.getsockname()[1]]
            self._serve(name, listener)

    def _unix(self, name: str, address: str) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if self._bound(listener, address):
            self.open[name] = [address]
            self._serve(name, listener)

    def _udp(self, name: str, address: str, port: int) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if self._bound(listener, (address, port)):
            self.open[name] = [address, listener.getsockname()[1]]
            threading.Thread(target=self._hear, args=(name, listener), daemon=True).start()

    @staticmethod
    def _bound(listener: socket.socket, address: object) -> bool:
        try:
            listener.bind(address)  # type: ignore[arg-type]
        except OSError:  # not this machine's address, or the port is taken: nothing to listen on
            listener.close()
            return False
        return True

    def _serve(self, name: str, listener: socket.socket) -> None:
        listener.listen(64)
        threading.Thread(target=self._accept, args=(name, listener), daemon=True).start()

    def _accept(self, name: str, listener: socket.socket) -> None:
        while True:
            caller, _ = listener.accept()
            self.visits.append(name)
            with caller:
                caller.sendall(f"HTTP/1.0 200 OK\r\n\r\n{self._mark}".encode())

    def _hear(self, name: str, listener: socket.socket) -> None:
        while True:
            listener.recvfrom(4096)
            self.visits.append(name)


def _own_addresses() -> list[str]:
    try:
        told = socket.gethostbyname_ex(socket.gethostname())[2]
    except OSError:
        told = []
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    return [a for a in dict.fromkeys([OWN, *found, *told]) if ":" not in a and not a.startswith("127.")]
