"""The sandbox's end of the link: starts one command, and loses or doubles nothing of what it says or hears.

E2B gives the output of a command to whoever is connected; what is said while nobody is, is lost, and an input
whose answer is lost may or may not have arrived. So the two ends number their messages: this one keeps what
the host has not acknowledged and says it again when asked, and drops an input that it has had already.

It also knows what the host has of the mirrored folders. Before it passes on a frame that the host will answer
with its own hands (`call`, `done`), it tells what changed in them: the host need not ask.

Standard library only; uploaded and run as root inside, while the command runs as an ordinary user without a
way back.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from ml_intern.sandbox.e2b_bundle import CHUNK, read_bundle, write_bundle
from ml_intern.sandbox.e2b_command import Command, adopt_orphans, end_tree, ordinary_user
from ml_intern.sandbox.e2b_outbox import Outbox
from ml_intern.sandbox.e2b_tree import INLINE_TOGETHER, TooMany, Tree

OUTPUT_END = 200_000
SETTLED_S = 2.0


def _make_way(folder: str) -> None:
    """What an earlier cell put in the place of the kernel's own folder is moved aside."""
    if os.path.islink(folder) or (os.path.lexists(folder) and not os.path.isdir(folder)):  # noqa: PTH112, PTH114
        os.rename(folder, f"{folder}.{time.time_ns()}")  # noqa: PTH104


class Inside:
    """Serves one host and one command."""

    def __init__(self, frames: IO[bytes], out: int) -> None:
        self.frames = frames
        self.outbox = Outbox(out)
        self.received = 0
        self.host = b""
        self.user: pwd.struct_passwd | None = None
        self.trees: dict[int, Tree] = {}
        self.files = threading.RLock()
        self.command: Command | None = None
        self.output = ""
        self.over = False

    # Messages of the host

    def serve(self, nonce: str) -> None:
        """Take messages until the stream ends."""
        adopt_orphans()
        threading.Thread(target=self.outbox.serve, daemon=True).start()
        self.outbox.resume(nonce, 0, 0, {"received": 0})
        while line := self.frames.readline():
            number, acknowledged, kind, length, host = line.split()
            payload = self.frames.read(int(length))
            self.frames.read(1)
            self.host = self.host or host
            if kind == b"c":
                self._control(host, json.loads(payload))
            if host == self.host:
                self.outbox.acknowledge(int(acknowledged))
                self._take(int(number), kind, payload)
        end_tree()

    def _control(self, host: bytes, order: dict[str, Any]) -> None:
        """Begin anew for the host, or for one that takes its place; the old one is told and heard no more."""
        if "resume" not in order:
            return
        if order["resume"] is None:
            self.host = host
        if host == self.host:
            mark = {"received": self.received, "over": self.over}
            self.outbox.resume(order["nonce"], order["resume"], order["skip"], mark)
        else:
            self.outbox.control(b'\n#%s {"lost": true}\n' % order["nonce"].encode())

    def _take(self, number: int, kind: bytes, payload: bytes) -> None:
        if kind != b"c" and number == self.received + 1:
            self.received = number
            if kind == b"q":
                self._answer(json.loads(payload))
            elif self.command:
                self.command.feed(payload)
        self.outbox.control(b"0 p %d\n%d\n" % (len(str(self.received)), self.received))

    def _answer(self, request: dict[str, Any]) -> None:
        do: Callable[[dict[str, Any]], Any] = getattr(self, "do_" + request["do"])
        try:
            reply = {"value": do(request)}
        except (OSError, ValueError, KeyError, TooMany) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        self._say("r", {"id": request["id"], **reply})

    def _say(self, kind: str, value: dict[str, Any]) -> None:
        self.outbox.add(kind, json.dumps(value).encode())

    # Folders

    def do_open(self, request: dict[str, Any]) -> None:
        """Make the mirrored folders and take what the host knows of them."""
        self.user = self.user or ordinary_user()
        for number, told in request["trees"].items():
            with self.files:
                tree = Tree(
                    **{**told, "known": {path: tuple(s) for path, s in told.get("known", {}).items()}}
                )
                self._make(tree)
                self.trees[int(number)] = tree

    def _make(self, tree: Tree) -> None:
        os.makedirs(tree.path, exist_ok=True)  # noqa: PTH103
        above = os.path.dirname(tree.path)  # noqa: PTH120
        while above != "/":  # a host's workspace may lie below /root, which the user here cannot pass
            mode = os.lstat(above).st_mode
            if not mode & stat.S_IXOTH and os.geteuid() == 0:
                os.chmod(above, stat.S_IMODE(mode) | stat.S_IXOTH)  # noqa: PTH101
            above = os.path.dirname(above)  # noqa: PTH120
        if self.user and os.geteuid() == 0 and tree.write and not tree.only:
            os.chown(tree.path, self.user.pw_uid, self.user.pw_gid)

    @contextmanager
    def _acting(self, tree: Tree) -> Iterator[None]:
        """Where the user may write, be the user: root would follow where the user leads."""
        with self.files:
            if not (self.user and os.geteuid() == 0 and tree.write and not tree.only):
                yield
                return
            os.setegid(self.user.pw_gid)
            os.seteuid(self.user.pw_uid)
            try:
                yield
            finally:
                os.seteuid(0)
                os.setegid(0)

    def do_put(self, request: dict[str, Any]) -> str:
        """Take small files, new folders and removals of the host; what could not be taken."""
        for number, path in request["gone"]:
            with self._acting(self.trees[number]):
                self.trees[number].drop(path, folder=False)
        for number, path in request["gone_folders"]:
            with self._acting(self.trees[number]):
                self.trees[number].drop(path, folder=True)
        failed = ""
        for number, path in request["folders"]:
            try:
                with self._acting(self.trees[number]):
                    self.trees[number].make_folder(path)
            except OSError as error:
                failed = failed or f"{path!r}: {error.strerror}"
        for header, data in request["files"]:
            failed = failed or self._put(header, [base64.b64decode(data)])
        return failed

    def do_unpack(self, request: dict[str, Any]) -> str:
        """Take a bundle that the host uploaded; what could not be taken."""
        failed = ""
        with open(request["file"], "rb") as stream:  # noqa: PTH123
            os.unlink(request["file"])  # noqa: PTH108
            for header, content in read_bundle(stream):
                failed = failed or self._put(header, content)
        return failed

    def do_place(self, request: dict[str, Any]) -> str:
        """Take one large file that the host uploaded; why it could not be taken."""
        with open(request["file"], "rb") as stream:  # noqa: PTH123
            os.unlink(request["file"])  # noqa: PTH108
            return self._put(request["header"], iter(lambda: stream.read(CHUNK), b""))

    def _put(self, header: dict[str, Any], content: Iterable[bytes]) -> str:
        tree = self.trees[header["tree"]]
        try:
            with self._acting(tree):
                tree.put(header["path"], header["mtime"], header["mode"], content)
                if self.user and tree.write and tree.only and os.geteuid() == 0:
                    path = os.path.join(tree.path, header["path"])  # noqa: PTH118
                    os.chown(path, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)
        except OSError as error:
            return f"{header['path']!r}: {error.strerror}"
        return ""

    def do_scan(self, request: dict[str, Any]) -> None:
        """Tell what changed, because the host asks."""
        self._report(0)

    def do_pack(self, request: dict[str, Any]) -> int:
        """Put files into one, for the host to fetch; how many bytes that is."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(request["file"], flags, 0o600), "wb") as out:
            write_bundle(out, self._opened(request["paths"]))
            return out.tell()

    def _opened(self, paths: list[Any]) -> Iterator[tuple[dict[str, Any], IO[bytes]]]:
        for number, path in paths:
            tree = self.trees[number]
            try:
                with self._acting(tree):
                    file = tree.open(path)
            except OSError:
                continue
            with file:
                sign = os.fstat(file.fileno())
                yield {"tree": number, "path": path, "mtime": sign.st_mtime_ns}, file

    def do_drop(self, request: dict[str, Any]) -> None:
        """Remove a bundle that the host has fetched."""
        os.unlink(request["file"])  # noqa: PTH108

    def do_exists(self, request: dict[str, Any]) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(request["path"])  # noqa: PTH113

    def do_remove(self, request: dict[str, Any]) -> None:
        """Remove a file of the user's."""
        with self._acting(self.trees[request["tree"]]):
            os.unlink(request["path"])  # noqa: PTH108

    def _report(self, answers: int, last: bool = False, settle_s: float = 0, always: bool = True) -> None:
        told: dict[str, Any] = {}
        room = INLINE_TOGETHER
        with self.files:
            try:
                for number, tree in self.trees.items():
                    if tree.write:
                        with self._acting(tree):
                            changes, room = tree.changes(room, settle_s)
                        if changes:
                            told[str(number)] = changes
            except TooMany:
                told = {"many": True}
            if told or always:
                # Within the lock: reports leave in the order in which they were made.
                self._say("s", {"trees": told, "answers": answers, "last": last})

    # The command

    def do_start(self, request: dict[str, Any]) -> None:
        """Start the command as the ordinary user."""
        self.output = request.get("output") or ""
        if self.output:
            tree, path = self._output_tree()
            with self._acting(tree):
                _make_way(self.output.rpartition("/")[0])
                tree.put(path, time.time_ns(), 0o600, [])
        self.command = Command(self.user, self._pass_on, self._report, self._leave)
        self.command.start(request)
        if request.get("every"):
            threading.Thread(target=self._look_again, args=(request["every"],), daemon=True).start()

    def do_kill(self, request: dict[str, Any]) -> None:
        """End the command and all that it started; its end is told as any end is."""
        end_tree()
        if self.command is None:
            self._leave(-signal.SIGKILL, "")

    def do_leave(self, request: dict[str, Any]) -> None:
        """Nobody needs this end any more."""
        end_tree()
        os._exit(0)

    def _pass_on(self, data: bytes) -> None:
        # The host gets text, and counts its characters: bytes that are none travel in another spelling.
        if data.isascii():
            self.outbox.add("k", data, patient=True)
        else:
            self.outbox.add("b", base64.b64encode(data), patient=True)

    def _look_again(self, every: float) -> None:
        """A job's folders are told as they change, without being asked."""
        while self.command and self.command.running:
            time.sleep(every)
            self._report(0, settle_s=SETTLED_S, always=False)

    def _leave(self, code: int, words: str) -> None:
        self._report(0, always=False)
        size, end = self._output_end()
        self.over = True
        self._say("x", {"code": code, "words": words, "size": size, "end": end})

    def _output_tree(self) -> tuple[Tree, str]:
        root, folder, name = self.output.rsplit("/", 2)
        return Tree(root), f"{folder}/{name}"

    def _output_end(self) -> tuple[int, str]:
        """What the cells last wrote: the host may not have heard it."""
        if not self.output:
            return 0, ""
        tree, path = self._output_tree()
        try:
            with self._acting(tree), tree.open(path) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - OUTPUT_END))
                return size, base64.b64encode(file.read(OUTPUT_END)).decode()
        except OSError:
            return 0, ""


def main() -> None:
    """Keep the pipes to the host away from the command, then serve."""
    frames, out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    if os.geteuid() == 0:
        os.setgroups([])
    os.umask(0o022)
    inside = Inside(os.fdopen(frames, "rb", 1 << 16), out)
    signal.signal(signal.SIGTERM, lambda *_: inside.do_leave({}))
    inside.serve(sys.argv[1])


def end_marked(mark: str) -> None:
    """Tell the other ends that have this mark on their command line to leave."""
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123
                    words = file.read().decode("utf-8", "replace").split("\0")
                if "ml_intern.sandbox.e2b_inside" in words and mark in words:
                    os.kill(int(name), signal.SIGTERM)
            except OSError:
                continue


if __name__ == "__main__":
    end_marked(sys.argv[2]) if sys.argv[1] == "--end" else main()
