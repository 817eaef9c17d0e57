"""E2B on loopback: its control plane, and the agent in each sandbox, as the unmodified client speaks to them.

Commands run as real processes in a mount, process and network namespace of their sandbox, so absolute paths are
those of a machine of its own. What a cloud does to a connection can be switched on: latency, tiny chunks,
streams that break, requests whose answer is lost, refusals, sandboxes whose time is over.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import secrets
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ml_intern.sandbox.environment import python_paths

KEY = "e2b_" + "0" * 40
NOT_FOUND = "The sandbox was not found"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
READ = 32 << 10


class Process:
    """A command in a sandbox; who is connected hears it, and what is said to nobody is lost."""

    def __init__(self, box: Box, request: dict[str, Any], user: str, chunk: int) -> None:
        config = request["process"]
        self.args = [config["cmd"], *config.get("args", [])]
        ids = {"root": 0, "user": 1000}[user]
        home = "/root" if user == "root" else "/home/user"
        drop = (
            []
            if user == "root"
            else [shutil.which("setpriv") or "setpriv", f"--reuid={ids}", f"--regid={ids}", "--clear-groups"]
        )
        enter = [
            "nsenter",
            "-t",
            str(box.inside),
            "-m",
            "-n",
            "-i",
            "-p",
            "-u",
            f"--wd={config.get('cwd') or home}",
            "--",
        ]
        env = {"PATH": "/python:/usr/bin:/bin", "HOME": home, "USER": user, **config.get("envs", {})}
        self.popen = subprocess.Popen(
            [*enter, *drop, *self.args],
            stdin=subprocess.PIPE if request.get("stdin") else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
        )
        self.pid = self.popen.pid
        self.chunk = chunk
        self.listeners: list[SimpleQueue[tuple[float, dict[str, Any] | None]]] = []
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        self.over = False
        self._readers = [
            threading.Thread(target=self._read, args=(stream, name), daemon=True)
            for stream, name in ((self.popen.stdout, "stdout"), (self.popen.stderr, "stderr"))
        ]

    def go(self) -> None:
        for reader in self._readers:
            reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    def listen(self) -> SimpleQueue[tuple[float, dict[str, Any] | None]]:
        queue: SimpleQueue[tuple[float, dict[str, Any] | None]] = SimpleQueue()
        with self.lock:
            self.listeners.append(queue)
        return queue

    def leave(self, queue: SimpleQueue[Any]) -> None:
        with self.lock, contextlib.suppress(ValueError):
            self.listeners.remove(queue)

    def write(self, data: bytes) -> None:
        with self.writing:
            assert self.popen.stdin
            self.popen.stdin.write(data)
            self.popen.stdin.flush()

    def kill(self, number: int) -> None:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        for pid in [int(word) for word in children.read_text().split()] or [self.pid]:
            os.kill(pid, number)

    def _say(self, event: dict[str, Any] | None) -> None:
        with self.lock:
            for queue in self.listeners:
                queue.put((time.monotonic(), event))

    def _read(self, stream: Any, name: str) -> None:
        while data := os.read(stream.fileno(), READ):
            size = self.chunk or len(data)
            for at in range(0, len(data), size):
                self._say({"data": {name: base64.b64encode(data[at : at + size]).decode()}})

    def _wait(self) -> None:
        code = self.popen.wait()
        for reader in self._readers:
            reader.join(2)
        told = {"exitCode": code if code >= 0 else -1, "exited": code >= 0, "status": f"exit status {code}"}
        self.over = True
        self._say({"end": told})
        self._say(None)


class Box:
    """One sandbox: a folder that is its root, and a process that holds its namespaces."""

    def __init__(self, server: E2BServer, request: dict[str, Any]) -> None:
        self.id = "i" + secrets.token_hex(9)
        self.request = request
        self.token = secrets.token_hex(16)
        self.root = Path(tempfile.mkdtemp(prefix="e2b-", dir=server.folder))
        self.started = time.time()
        self.timeout(request.get("timeout", 300))
        self.alive, self.paused = True, False
        self.processes: dict[int, Process] = {}
        self._furnish(server.python)
        self.keeper = server.spawner.submit(self._start).result()
        self.inside = self._find_inside()

    def timeout(self, seconds: float) -> None:
        self.ends = time.time() + seconds

    def _furnish(self, program: str) -> None:
        self.root.chmod(0o755)
        for name in ("etc", "home/user", "opt", "root", "python", "run", "var/tmp", "tmp"):
            (self.root / name).mkdir(parents=True)
        (self.root / "root").chmod(0o711)  # the Python that runs the tests may lie below it
        for name in ("tmp", "var/tmp"):
            (self.root / name).chmod(0o1777)
        os.chown(self.root / "home/user", 1000, 1000)
        (self.root / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/bash\n"
            "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
        )
        (self.root / "etc/group").write_text("root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n")
        python = self.root / "python/python3"
        if program:
            python.write_text(program)
            python.chmod(0o755)

    def _start(self) -> subprocess.Popen[bytes]:
        binds: list[str] = []
        for system in map(Path, SYSTEM):
            if system.is_symlink():
                binds += ["--symlink", str(system.readlink()), str(system)]
            elif system.is_dir():
                binds += ["--ro-bind", str(system), str(system)]
        own = Path(__file__).resolve().parents[2]
        bound = [Path("/usr")]
        for path in sorted(python_paths(), key=lambda path: len(path.parts)):
            if own in (path, *path.parents) and Path(sys.prefix) not in (path, *path.parents):
                continue  # of the project nothing is there but what the client brings
            if not any(above in (path, *path.parents) for above in bound):
                # bubblewrap would make these for itself alone, and cells run as another user.
                (self.root / str(path).lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                binds += ["--ro-bind", str(path), str(path)]
                bound.append(path)
        return subprocess.Popen(
            [
                "bwrap", "--bind", str(self.root), "/", *binds, "--proc", "/proc", "--dev", "/dev",
                "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent",
                "--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--", "sleep", "infinity",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def _find_inside(self) -> int:
        """The process that holds the namespaces, once its root is set up: it runs `sleep`."""
        for _ in range(500):
            for pid in self.pids(self.keeper.pid):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "sleep":
                        return pid
            time.sleep(0.01)
        raise RuntimeError("the sandbox's namespaces did not come up")

    @staticmethod
    def pids(root: int) -> list[int]:
        found, waiting = [], [root]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                found += [int(word) for word in words]
                waiting += [int(word) for word in words]
        return found

    def members(self) -> list[int]:
        """All processes of the sandbox, as the host numbers them."""
        mine = Path(f"/proc/{self.inside}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "ns/pid").readlink() == mine:
                    found.append(int(entry.name))
        return found

    def signal_all(self, number: int) -> None:
        for pid in self.members():
            with contextlib.suppress(OSError):
                if pid != self.inside:
                    os.kill(pid, number)
        if number == signal.SIGCONT:
            self._wake()

    def _wake(self) -> None:
        """nsenter stops itself with what it has started, outside of the sandbox where nothing else wakes it."""
        for process in list(self.processes.values()):
            process.popen.send_signal(signal.SIGCONT)

    def cut(self) -> None:
        for process in self.processes.values():
            process._say(None)

    def end(self) -> None:
        if self.alive:
            self.alive = False
            self.keeper.kill()
            self.keeper.wait()
            self._wake()
            self.cut()

    def place(self, path: str) -> Path:
        """A path inside, where it lies on this machine."""
        found = Path(os.path.realpath(self.root / path.lstrip("/")))
        if found != self.root and self.root not in found.parents:
            raise PermissionError(path)
        return found

    def described(self) -> dict[str, Any]:
        def when(at: float) -> str:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

        return {
            "templateID": self.request["templateID"],
            "sandboxID": self.id,
            "clientID": "c",
            "envdVersion": "0.6.7",
            "startedAt": when(self.started),
            "endAt": when(self.ends),
            "cpuCount": 2,
            "memoryMB": 512,
            "diskSizeMB": 1024,
            "state": "paused" if self.paused else "running",
            "metadata": self.request.get("metadata", {}),
        }


class _Plane(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """With http.server's own 5, a connection that finds the queue full waits for seconds until TCP tries again."""


class E2BServer:
    """A control plane with its sandboxes.

    Args:
        latency_s: What each request takes more; half of it is also what an event is late.
        chunk: Bytes of output in one event; 0: as they come.
        drop_every: After about so many events a stream breaks, and of so many inputs one gets no answer.
        seed: Of the points where that happens.

    Attributes:
        python: The program that new sandboxes have as python3.
        refusals: Statuses that the next requests get, one each.
        requests: Method and path of each.
        dropped: How often something was broken.
        events_late_s: What an event is late beside that.
        deaf: Processes take no input, as if they had ended a moment ago.
    """

    def __init__(self, latency_s: float = 0, chunk: int = 0, drop_every: int = 0, seed: int = 0) -> None:
        self.python = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
        self.latency_s, self.chunk, self.drop_every = latency_s, chunk, drop_every
        self.events_late_s, self.deaf = 0.0, False
        self.random = random.Random(seed)
        self.requests: list[str] = []
        self.boxes: dict[str, Box] = {}
        self.templates = {"code-interpreter-v1", "mine"}
        self.refusals: list[int] = []
        self.dropped = 0
        self.lock = threading.Lock()

    @staticmethod
    def problem() -> str:
        """Why no sandbox can be made here; nothing where one can."""
        if os.geteuid() != 0:
            return "sandboxes of the E2B server need root"
        for name in ("bwrap", "nsenter", "setpriv", "bash"):
            if shutil.which(name) is None:
                return f"{name} is not installed"
        trial = "bwrap --ro-bind / / --proc /proc --dev /dev --unshare-pid --unshare-net true"
        if subprocess.run(trial.split(), capture_output=True, check=False).returncode:
            return "namespaces cannot be made here"
        return ""

    def __enter__(self) -> E2BServer:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True, prefix="e2b-server-")
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self.spawner = ThreadPoolExecutor(1)  # namespaces die with the thread that made them
        self.http = _Plane(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.closed = threading.Event()
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        threading.Thread(target=self._clock, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        for box in list(self.boxes.values()):
            box.end()
        self.http.shutdown()
        self.http.server_close()
        self.spawner.shutdown()
        self._folder.cleanup()

    @property
    def env(self) -> dict[str, str]:
        """For `E2BSandbox`."""
        return {"E2B_API_KEY": KEY, "E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url}

    @property
    def alive(self) -> list[Box]:
        """The sandboxes that run or are paused."""
        return [box for box in self.boxes.values() if box.alive]

    def count(self, *words: str) -> int:
        """How many requests there were with one of these words."""
        return sum(any(word in request for word in words) for request in self.requests)

    def break_streams(self) -> None:
        """Break every stream that is open now."""
        for box in self.alive:
            box.cut()

    def chance(self) -> int:
        with self.lock:
            return self.random.randint(1, 2 * self.drop_every) if self.drop_every else 0

    def _clock(self) -> None:
        while not self.closed.wait(0.05):
            for box in self.alive:
                if time.time() > box.ends and not box.paused:
                    box.end()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: E2BServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_DELETE = do_PUT = do_GET

    def _serve(self) -> None:
        hub = self.server_of
        url = urllib.parse.urlsplit(self.path)
        self.query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        body = self._body()
        hub.requests.append(f"{self.command} {url.path}")
        time.sleep(hub.latency_s / 2)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self.headers.get("E2b-Sandbox-Id"):
                self._inside(url.path, body)
            else:
                self._plane(url.path, body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _reply(self, status: int, value: Any = None, data: bytes | None = None) -> None:
        time.sleep(self.server_of.latency_s / 2)
        content = data if data is not None else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/octet-stream" if data is not None else "application/json"
        )
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, message: str) -> None:
        self._reply(status, {"code": status, "message": message})

    # The control plane

    def _plane(self, path: str, body: bytes) -> None:
        hub = self.server_of
        given = json.loads(body) if body else {}
        if self.headers.get("X-API-KEY") != KEY:
            self._refuse(401, "invalid API key")
        elif hub.refusals:
            self._refuse(hub.refusals.pop(0), "refused")
        elif path == "/v2/sandboxes" and self.command == "POST":
            self._make(given)
        elif path == "/v2/sandboxes":
            wanted = dict(urllib.parse.parse_qsl(urllib.parse.unquote(self.query.get("metadata", ""))))
            boxes = [b for b in hub.alive if wanted.items() <= b.request.get("metadata", {}).items()]
            self._reply(200, [box.described() for box in boxes])
        elif found := re.fullmatch(r"(?:/v2)?/sandboxes/(\w+)(?:/(\w+))?", path):
            box = hub.boxes.get(found[1])
            if box is None or not box.alive:
                self._refuse(404, f"sandbox {found[1]} not found")
            else:
                self._order(box, found[2] or self.command, given)
        else:
            self._refuse(404, "no such route")

    def _make(self, given: dict[str, Any]) -> None:
        if given["templateID"] not in self.server_of.templates:
            self._refuse(404, f"template '{given['templateID']}' not found")
            return
        box = Box(self.server_of, given)
        self.server_of.boxes[box.id] = box
        self._reply(201, self._access(box))

    @staticmethod
    def _access(box: Box) -> dict[str, Any]:
        return {**box.described(), "envdAccessToken": box.token, "domain": None}

    def _order(self, box: Box, order: str, given: dict[str, Any]) -> None:
        if order == "DELETE":
            box.end()
            self._reply(204)
        elif order == "timeout":
            box.timeout(given["timeout"])
            self._reply(204)
        elif order == "pause":
            box.paused = True
            box.signal_all(signal.SIGSTOP)
            box.cut()
            self._reply(204)
        elif order == "connect":
            if box.paused:
                box.paused = False
                box.signal_all(signal.SIGCONT)
            box.ends = max(box.ends, time.time() + given.get("timeout", 300))
            self._reply(200, self._access(box))
        else:
            self._reply(200, box.described())

    # The agent in the sandbox

    def _inside(self, path: str, body: bytes) -> None:
        hub = self.server_of
        box = hub.boxes.get(self.headers["E2b-Sandbox-Id"])
        if box is None or not box.alive or box.paused:
            self._refuse(502, NOT_FOUND)
        elif path == "/health":
            self._reply(204)
        elif self.headers.get("X-Access-Token") != box.token:
            self._refuse(401, "unauthorized")
        elif hub.refusals:
            self._refuse(hub.refusals.pop(0), "refused")
        elif path == "/files":
            self._files(box, body)
        elif path.startswith("/process.Process/"):
            self._process(box, path.rpartition("/")[2], body)
        else:
            self._refuse(404, "no such route")

    def _user(self) -> str:
        word = self.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(word).decode().rstrip(":") or "user"

    def _files(self, box: Box, body: bytes) -> None:
        if self.command == "GET":
            place = box.place(self.query["path"])
            if place.is_file():
                self._reply(200, data=place.read_bytes())
            else:
                self._refuse(404, "file not found")
            return
        written = []
        for path, data in self._parts(body):
            place = box.place(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            if self.query.get("username") != "root":
                os.chown(place, 1000, 1000)
            written.append({"name": place.name, "type": "file", "path": path})
        self._reply(200, written)

    def _parts(self, body: bytes) -> list[tuple[str, bytes]]:
        kind = self.headers["Content-Type"]
        if not kind.startswith("multipart/"):
            return [(self.query["path"], body)]
        boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
        found = []
        for part in body.split(boundary)[1:-1]:
            head, _, data = part.partition(b"\r\n\r\n")
            name = re.search(rb'filename="([^"]*)"', head)
            path = self.query.get("path") or urllib.parse.unquote(name[1].decode() if name else "")
            found.append((path, data[:-2]))
        return found

    def _process(self, box: Box, method: str, body: bytes) -> None:
        if method in ("Start", "Connect"):
            self._stream(box, method, json.loads(body[5:]))
            return
        given = json.loads(body or b"{}")
        if method == "List":
            live = [p for p in box.processes.values() if not p.over]
            self._reply(
                200,
                {
                    "processes": [
                        {"pid": p.pid, "config": {"cmd": p.args[0], "args": p.args[1:]}} for p in live
                    ]
                },
            )
            return
        process = box.processes.get(given["process"]["pid"])
        if process is None or process.over or (self.server_of.deaf and method == "SendInput"):
            self._reply(404, {"code": "not_found", "message": "process not found"})
        elif method == "SendInput":
            self._input(process, base64.b64decode(given["input"]["stdin"]))
        elif method == "SendSignal":
            with contextlib.suppress(OSError):
                process.kill(signal.SIGKILL if given["signal"].endswith("KILL") else signal.SIGTERM)
            self._reply(200, {})
        else:
            self._reply(404, {"code": "unimplemented", "message": method})

    def _input(self, process: Process, data: bytes) -> None:
        hub = self.server_of
        fate = self.server_of.chance() if hub.drop_every else 0
        if fate == 1:  # it never arrived
            self._hang_up()
            return
        try:
            process.write(data)
        except OSError as error:
            self._reply(500, {"code": "internal", "message": str(error)})
            return
        if fate == 2:  # it arrived, and nobody learns of it
            self._hang_up()
        else:
            self._reply(200, {})

    def _hang_up(self) -> None:
        self.server_of.dropped += 1
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)

    def _stream(self, box: Box, method: str, given: dict[str, Any]) -> None:
        hub = self.server_of
        process = None
        if method == "Start":
            process = Process(box, given, self._user(), hub.chunk)
            box.processes[process.pid] = process
        else:
            process = box.processes.get(given["process"]["pid"])
        time.sleep(hub.latency_s / 2)
        self.send_response(200)
        self.send_header("Content-Type", "application/connect+json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if process is None or process.over:
            self._event(2, {"error": {"code": "not_found", "message": "process not found"}})
            self.wfile.write(b"0\r\n\r\n")
            return
        queue = process.listen()
        try:
            self._event(0, {"event": {"start": {"pid": process.pid}}})
            if method == "Start":
                process.go()
            self._events(queue)
        finally:
            process.leave(queue)

    def _events(self, queue: SimpleQueue[tuple[float, dict[str, Any] | None]]) -> None:
        hub = self.server_of
        left = hub.chance() * 2
        while True:
            try:
                at, event = queue.get(timeout=1.0)
            except Empty:
                self._event(0, {"event": {"keepalive": {}}})
                continue
            time.sleep(max(0.0, at + hub.latency_s / 2 + hub.events_late_s - time.monotonic()))
            left -= 1
            if event is None or (hub.drop_every and left == 0):
                self._hang_up()
                return
            self._event(0, {"event": event})
            if "end" in event:
                self._event(2, {})
                self.wfile.write(b"0\r\n\r\n")
                return

    def _event(self, flags: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        packet = struct.pack(">BI", flags, len(data)) + data
        self.wfile.write(b"%x\r\n%s\r\n" % (len(packet), packet))


def _handler(server: E2BServer) -> type[_Handler]:
    return type("Handler", (_Handler,), {"server_of": server})
