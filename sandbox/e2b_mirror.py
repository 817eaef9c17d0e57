"""The workspace in an E2B sandbox: what the host changed goes in, what the code inside changed comes out.

Both ends remember each file's size and time as they last agreed on them, so an exchange costs what changed.
Small files travel within messages that are sent anyway; larger ones as one bundle over E2B's files. Counts
and bytes are bounded.
"""

from __future__ import annotations

import base64
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO, Any

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.e2b_account import HOME
from ml_intern.sandbox.e2b_folder import Folder
from ml_intern.sandbox.e2b_link import Channel, Report
from ml_intern.sandbox.e2b_stream import Reply
from ml_intern.sandbox.e2b_transfer import (
    BUNDLE_BYTES,
    WAIT_S,
    Item,
    Key,
    divide,
    download,
    parts,
    upload,
)
from ml_intern.sandbox.e2b_tree import MAX_FILES
from ml_intern.sandbox.shared import FOLDER
from ml_intern.workspace.safe_files import open_file

EXCHANGE_BYTES = 1 << 30
"""What one exchange of a session carries in either direction; a job's bound is what it may grow by."""

SHOWN_BYTES = 64 << 20
"""For a session, a file of a read-only folder that is larger is not copied; for a job it is."""

END = 1 << 62


class Mirror:
    """All that one kernel's or job's mounts mean in a sandbox.

    Args:
        limits: `growth_mb` bounds what is taken out.
        job: All inputs go in, whatever their size.

    Attributes:
        channel: The link whose other end keeps the sandbox's half.
        output: Path of the kernel's output file inside.
    """

    def __init__(self, limits: Limits, job: bool = False) -> None:
        self.channel: Channel | None = None
        self.output = ""
        self._growth = (limits.growth_mb << 20) if limits.growth_mb else END
        self._exchange = END if job else EXCHANGE_BYTES
        self._shown = None if job else SHOWN_BYTES
        self._waiting: list[Reply] = []
        self._folders: dict[int, Folder] = {}
        self._lock = threading.RLock()
        self._reports: deque[Report] = deque()
        self._fresh = 0
        self._counting = threading.Lock()
        self._bundles = 0

    @property
    def skipped(self) -> int:
        """How many things the sandbox told that were not taken over: they made no sense, or did not fit."""
        return sum(folder.skipped for folder in self._folders.values())

    def heard(self, report: Report) -> None:
        """A report came; called by the link, in order."""
        answers = int(report.get("answers") or 0)
        with self._counting:
            self._reports.append(report)
            self._fresh = 1 if report.get("last") else self._fresh + answers

    def open(self, channel: Channel, mounts: Mounts) -> None:
        """Make the folders inside, and tell the other end what both know of them."""
        with self._lock:
            self.channel = channel
            self._plan(mounts)
            self._tell(channel, 0)

    def renewed(self) -> None:
        """The sandbox is a new one and has nothing."""
        with self._lock, self._counting:
            self._folders.clear()
            self._reports.clear()
            self._fresh = 0

    def settled(self) -> None:
        """From here on growth counts."""
        for folder in self._folders.values():
            folder.base = folder.size()

    def _plan(self, mounts: Mounts) -> None:
        """Mounts as mirrored folders; single files are taken together by their folder."""
        shown = [path.absolute() for path in mounts.read_only]
        writable = [mounts.workspace.absolute(), *(path.absolute() for path in mounts.writable)]
        apart = [*shown, *writable, *(path.absolute() for path in mounts.hidden)]
        for write, paths in ((True, writable), (False, shown)):
            for path in paths:
                if path.is_dir():
                    skip = [str(p.relative_to(path)) for p in apart if path in p.parents]
                    most = None if write else self._shown
                    self._add(Folder(path, write, skip=[*skip, FOLDER], most=most))
                elif path.is_file():
                    self._add(Folder(path.parent, write, [path.name], append=path.suffix == ".jsonl"))

    def _add(self, new: Folder) -> None:
        if not any(folder.takes_in(new) for folder in self._folders.values()):
            self._folders[len(self._folders)] = new

    def _tell(self, channel: Channel, first: int) -> None:
        trees = {str(n): folder.told() for n, folder in self._folders.items() if n >= first}
        channel.request("open", lazy=True, trees=trees)

    # In

    def push(self, mounts: Mounts | None = None) -> None:
        """Bring in what the host changed; nothing is sent where nothing changed.

        Raises:
            InternError: It is too much, or the sandbox could not take what went in before.
        """
        with self._lock:
            channel = self._link()
            before = len(self._folders)
            if mounts is not None:
                self._plan(mounts)
            if len(self._folders) > before:
                self._tell(channel, before)
            self._push(channel)

    def _push(self, channel: Channel) -> None:
        put: dict[str, list[Any]] = {"gone": [], "gone_folders": [], "folders": [], "files": []}
        changed: list[tuple[int, str, int]] = []
        for number, folder in self._folders.items():
            files, inner = folder.look()
            gone = [path for path in folder.known if path not in files and path not in folder.owed]
            put["gone"] += [(number, path) for path in gone]
            put["gone_folders"] += [(number, path) for path in sorted(folder.folders - inner, reverse=True)]
            put["folders"] += [(number, path) for path in sorted(inner - folder.folders)]
            changed += [(number, path, files[path].st_size) for path in folder.changed(files)]
            folder.folders = inner
            for path in gone:
                folder.forget(path)
        self._bound(sum(size for *_, size in changed), "go into")
        small, rest = divide(changed)
        put["files"] = self._inline(small)
        if any(put.values()):
            self._waiting.append(channel.request("put", lazy=True, **put))
        for part in parts(rest):
            self._upload(channel, part)
        self._complain()

    def _inline(self, paths: list[tuple[int, str]]) -> list[Any]:
        told = []
        for header, file, folder, here in self._opened(paths):
            data = file.read()
            told.append([header, base64.b64encode(data).decode()])
            folder.agree(header["path"], here, (len(data), here.st_mtime_ns))
        return told

    def _opened(
        self, paths: list[tuple[int, str]]
    ) -> Iterator[tuple[dict[str, Any], IO[bytes], Folder, os.stat_result]]:
        for number, path in paths:
            folder = self._folders[number]
            try:
                fd = open_file(folder.path, folder.path / path)
            except InternError:
                continue  # gone meanwhile
            with os.fdopen(fd, "rb") as file:
                here = os.fstat(fd)
                mode = here.st_mode & 0o777 | (0o444 if not folder.write else 0)
                header = {"tree": number, "path": path, "mtime": here.st_mtime_ns, "mode": mode}
                yield header, file, folder, here

    def _upload(self, channel: Channel, paths: list[Key]) -> None:
        agreed: list[tuple[Folder, str, os.stat_result]] = []

        def items() -> Iterator[Item]:
            for header, file, folder, here in self._opened(paths):
                agreed.append((folder, header["path"], here))
                yield header, file

        self._waiting.append(upload(channel, self._bundle("in"), items(), len(paths) == 1))
        for folder, path, here in agreed:
            folder.agree(path, here, (here.st_size, here.st_mtime_ns))

    def _complain(self) -> None:
        """What could not be written inside is told once; the host's file is tried again when it changes."""
        waiting, self._waiting = self._waiting, []
        for reply in waiting:
            if not reply.here:
                self._waiting.append(reply)
            elif failed := reply.value(0):
                raise InternError(f"A file cannot be written in the E2B sandbox: {str(failed)[:300]}.")

    # Out

    def pull(self, ask: bool = False) -> None:
        """Take out what changed inside. Where the last frame came with its report, nothing is asked.

        Args:
            ask: Somebody changed files whose end no frame tells of.

        Raises:
            InternError: It is more than may come out.
        """
        with self._lock:
            with self._counting:
                told = self._fresh > 0
                self._fresh = max(0, self._fresh - 1)
            channel = self.channel
            if (ask or not told) and channel is not None and not channel.ended.is_set():
                try:
                    channel.request("scan").value(WAIT_S)
                except InternError:
                    if not channel.ended.is_set():
                        raise
            self.take()

    def take(self) -> None:
        """Take over what was reported, without asking.

        Raises:
            InternError: It is more than may come out.
        """
        with self._lock:
            while self._reports:
                self._note(self._reports.popleft())
            self._fetch()

    def _note(self, report: Report) -> None:
        told = report.get("trees")
        if not isinstance(told, dict):
            return
        if told.get("many"):
            raise InternError(
                f"The sandbox has more than {MAX_FILES:,} files in its workspace, and none were taken out.",
                "Remove some, or pack them into one.",
            )
        for number, changes in told.items():
            folder = self._folders.get(int(number)) if str(number).isdecimal() else None
            if folder is not None and folder.write and isinstance(changes, dict):
                folder.note(changes)

    def _fetch(self) -> None:
        """Bring the host's files to what is owed: from the reports, else from the sandbox."""
        wanted: list[tuple[int, str]] = []
        for number, folder in self._folders.items():
            if folder.owed and folder.size() > folder.base + self._growth:
                raise InternError(
                    f"The files inside grew by more than {self._growth >> 20} MB, and no more are taken out"
                    f" ({str(folder.path)!r}).",
                    "Remove some of them in the sandbox.",
                )
            wanted += [(number, path) for path in _from_reports(folder)]
        if wanted and self.channel is not None and not self.channel.ended.is_set():
            sized = [(number, path, self._folders[number].owed[path][1]) for number, path in wanted]
            self._bound(sum(size for *_, size in sized), "come out of")
            for part in parts(sized):
                self._download(self.channel, part)

    def _download(self, channel: Channel, wanted: list[Key]) -> None:
        total = sum(self._folders[number].owed[path][1] for number, path in wanted)
        for (number, path), mtime, content in download(channel, self._bundle("out"), wanted, total):
            if total > BUNDLE_BYTES:
                self._folders[number].take_large(path, content, mtime)
            else:
                data = b"".join(content)
                self._folders[number].take(path, data, (len(data), mtime))
        for number, path in wanted:
            if self._folders[number].owed.pop(path, None):  # gone meanwhile, or not to be read
                self._folders[number].skipped += 1

    # Parts

    def _link(self) -> Channel:
        if self.channel is None or self.channel.ended.is_set():
            why = f": {self.channel.end.reason}" if self.channel and self.channel.end.reason else ""
            raise InternError(f"The link to the E2B sandbox has ended{why}.")
        return self.channel

    def _bundle(self, way: str) -> str:
        self._bundles += 1
        return f"{HOME}/{way}-{os.getpid()}-{id(self):x}-{self._bundles}"

    def _bound(self, total: int, way: str) -> None:
        if total > self._exchange:
            raise InternError(
                f"{total >> 20} MB of files would {way} the E2B sandbox at once;"
                f" {self._exchange >> 20} MB may.",
                "Move large files out of the workspace or remove them, or run with --sandbox local.",
            )


def _from_reports(folder: Folder) -> list[str]:
    """Take over what the reports carried; what else is owed."""
    wanted = []
    for path, (_, size, mtime, start, content) in list(folder.owed.items()):
        if content is None:
            wanted.append(path)
            continue
        try:
            data = base64.b64decode(content, validate=True)
        except ValueError:
            data = b""
        if len(data) + start != size:
            del folder.owed[path]
            folder.skipped += 1
        elif folder.take(path, data, (size, mtime), start):
            wanted.append(path)
    return wanted
