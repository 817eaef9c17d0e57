"""The host's end of the link into an E2B sandbox: one command there, reached over a stream that may break.

See `e2b_inside` for the other end and for why messages have numbers. One thread reads the stream and attaches
again when it breaks; one sends.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from ml_intern.errors import InternError
from ml_intern.sandbox.e2b_account import HOME
from ml_intern.sandbox.e2b_outgoing import Outgoing
from ml_intern.sandbox.e2b_stream import WORDS, Broken, End, Parser, Reply, failures

if TYPE_CHECKING:
    from e2b_code_interpreter import Sandbox

INSIDE = f"cd {HOME} && exec python3 -E -s -S -m ml_intern.sandbox.e2b_inside"
PATIENCE_S = 120.0
"""A sandbox that cannot be reached for so long is given up."""

FRUITLESS = 40
"""So many streams in a row that bring nothing: the other end speaks nonsense."""

STALL_S = 15.0
"""What was sent is confirmed over the stream; where it is not, the stream is dead without saying so."""

PING_S = 25.0
REQUEST_S = 20.0
KILL_S = 10.0
KILLED = -9
PAUSES = (0.0, 0.05, 0.1, 0.3, 1.0, 2.0, 5.0)
GONE = "the E2B sandbox is gone: it was ended, or its time was over"
LOST = "its process in the E2B sandbox is gone"
LAST_WORDS_S = 5.0
"""Input for a process that has just ended is refused before the stream has told how it ended."""

Report = dict[str, Any]


class Channel:
    """One command in a sandbox.

    Args:
        sandbox: E2B's own client of the sandbox.
        on_report: Given each report of changed folders, in order, before what the command says next.

    Attributes:
        over: The command has ended; `end` says how. Files can still be asked for.
        ended: The link has ended, too.
        stdout: What the command prints.
        attached: How often the stream was attached anew.
        sends: Requests that carried input.
    """

    def __init__(self, sandbox: Sandbox, on_report: Callable[[Report], None] = lambda report: None) -> None:
        self.sandbox = sandbox
        self.pid = 0
        self.over = threading.Event()
        self.ended = threading.Event()
        self.end = End(KILLED)
        self.attached = self.sends = 0
        reading, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        self.stdout: IO[bytes] = os.fdopen(reading, "rb", 1 << 16)
        self._on_report = on_report
        self._out = Outgoing(self.ended.is_set)
        self._replies: dict[int, Reply] = {}
        self._taken = 0
        self._confirmed = 0
        self._sent_at = 0.0
        self._heard_at = time.monotonic()
        self._epoch = 0
        self._errors = ""
        self._adopted = threading.Event()
        self._taking = threading.RLock()
        self._piping = threading.Lock()

    # Beginning

    def start(self, mark: str = "") -> None:
        """Start the other end; the mark stands on its command line, for whoever must end it."""
        nonce = secrets.token_hex(8)
        handle = self.sandbox.commands.run(
            f"{INSIDE} {nonce} {mark}",
            background=True,
            user="root",
            stdin=True,
            timeout=0,
            retain_output=False,
        )
        self.pid = handle.pid
        self._go(handle, nonce)

    def adopt(self, pid: int) -> None:
        """Take over the other end of a host that is no more; what it had not heard is dropped.

        Raises:
            InternError: There is no such command.
        """
        self.pid, self._taken = pid, -1
        self._go(None, "")
        if not self._adopted.wait(REQUEST_S) or self.over.is_set():
            self.close("it cannot be taken over")
            raise InternError("The kernel in the E2B sandbox cannot be taken over: it is gone.")

    def _go(self, handle: Any, nonce: str) -> None:
        for target, arguments in ((self._read, (0, handle, nonce)), (self._send, ())):
            threading.Thread(target=target, args=arguments, name="e2b", daemon=True).start()

    # What the host says

    def request(self, do: str, lazy: bool = False, **fields: Any) -> Reply:
        """Ask the other end for something; requests and input arrive in the order in which they were made.

        Args:
            do: What it shall do, a `do_…` of `e2b_inside`.
            lazy: Something else follows at once: let it travel in the same request.
            fields: What it needs for that.
        """
        reply = Reply()
        with self._out.changed:
            if self.ended.is_set():
                reply.settle({"error": self.end.reason or "the link has ended"})
                return reply
            number = self._out.number + 1
            self._replies[number] = reply
            self._out.add("q", json.dumps({"do": do, "id": number, **fields}).encode(), lazy)
        return reply

    def write(self, data: bytes) -> None:
        """Input for the command."""
        self._out.add_input(data)

    def _send(self) -> None:
        while not self.ended.is_set():
            data = self._out.next()
            if data:
                self._deliver(data)
            else:
                self._look_around()

    def _look_around(self) -> None:
        """Ask for a sign of life after a long silence; attach anew where what was sent is not confirmed."""
        silent = time.monotonic() - max(self._heard_at, self._sent_at)
        if self._out.held or self.ended.is_set():
            return
        if silent > PING_S + STALL_S or (silent > STALL_S and self._confirmed < self._out.sent):
            self._reattach()
        elif time.monotonic() - self._heard_at > PING_S:
            self._out.control()

    def _deliver(self, data: bytes) -> None:
        """Send, and send again where it is not sure that it arrived: the other end knows what it has."""
        began, attempt = time.monotonic(), 0
        while not self.ended.is_set():
            try:
                self.sandbox.commands.send_stdin(self.pid, data, request_timeout=REQUEST_S)
                self.sends += 1
                self._sent_at = time.monotonic()
                return
            except failures() as error:
                if reason := self._final(error, began):
                    if reason == LOST:
                        self.ended.wait(LAST_WORDS_S)
                    self.close(reason)
            self._pause(attempt)
            attempt += 1

    # What the host hears

    def _read(self, epoch: int, handle: Any, nonce: str) -> None:
        """Read the stream, and attach again when it breaks, until the link has ended."""
        held, fruitless = "", 0
        while not self.ended.is_set() and epoch == self._epoch:
            if handle is None:
                self._pause(fruitless)
                handle, nonce = self._attach(epoch, len(held))
                if handle is None:
                    return
            before = (self._taken, len(held))
            held = self._follow(epoch, handle, Parser(nonce, held))
            fruitless = 0 if (self._taken, len(held)) > before else fruitless + 1
            if fruitless > FRUITLESS:
                self.close("the sandbox's end of the link makes no sense")
            handle = None

    def _follow(self, epoch: int, handle: Any, parser: Parser) -> str:
        """Read until the stream breaks; what is there then of a message that is not whole."""
        from e2b.sandbox.commands.command_handle import CommandExitException

        try:
            for out, err, _ in handle:
                self._heard_at = time.monotonic()
                self._errors = (self._errors + (err or ""))[-WORDS:]
                with self._taking:
                    if epoch != self._epoch:
                        return ""
                    for message in parser.feed(out or ""):
                        self._take(*message)
            self._left(handle.wait().exit_code)
        except CommandExitException as error:
            self._left(error.exit_code)
        except (Broken, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ""  # what came makes no sense: ask for it again
        except failures():
            pass  # attaching tells whether it is for ever
        except Exception as error:  # noqa: BLE001 - the client's own word for a stream without an end
            if type(error) is not Exception:
                self.close(f"the link failed: {error}")
        finally:
            handle.disconnect()
        return parser.rest(self._taken)

    def _left(self, code: int) -> None:
        """The other end itself ended, which it does only when told to."""
        words = self._errors.strip()
        told = words.splitlines()[-1] if words else f"exit code {code}"
        if code in (126, 127) or "No module named" in words:
            told = f"the template must have Python 3.11 or newer as python3 ({told})"
        self._settle(
            End(code, words, reason="" if self.over.is_set() else f"it could not run inside: {told}")
        )

    def _attach(self, epoch: int, skip: int) -> tuple[Any, str]:
        began, attempt = time.monotonic(), 0
        while not (self.ended.is_set() or self._out.held or epoch != self._epoch):
            try:
                handle = self.sandbox.commands.connect(self.pid, timeout=0, retain_output=False)
            except failures() as error:
                if reason := self._final(error, began):
                    self.close(reason)
            else:
                nonce = secrets.token_hex(8)
                self.attached += 1
                after = None if self._taken < 0 else self._taken
                self._out.control(resume=after, nonce=nonce, skip=skip)
                return handle, nonce
            self._pause(attempt)
            attempt += 1
        return None, ""

    def _final(self, error: Exception, began: float) -> str:
        """Why there is no use in trying again; nothing where there is."""
        from e2b import exceptions as e

        if self._out.held:
            return ""
        if isinstance(error, e.SandboxNotRunningException | e.SandboxNotFoundException):
            return GONE
        if isinstance(error, e.AuthenticationException):
            return "the E2B sandbox does not take its access token any more"
        if isinstance(error, e.NotFoundException):
            return LOST
        if time.monotonic() - began > PATIENCE_S:
            return f"the E2B sandbox could not be reached for {PATIENCE_S:g} s"
        return ""

    def _pause(self, attempt: int) -> None:
        self.ended.wait(PAUSES[min(attempt, len(PAUSES) - 1)] * (0.75 + secrets.randbelow(500) / 1000))

    def _take(self, number: int, kind: str, payload: str) -> None:
        if kind == "m":
            self._begin(json.loads(payload))
        elif kind == "p":
            self._confirmed = max(self._confirmed, int(payload))
        elif number == self._taken + 1:
            self._hear(kind, payload)
            self._taken = number
            self._out.heard(number, len(payload) + 16)
        elif number > self._taken:
            raise Broken("a message is missing")

    def _hear(self, kind: str, payload: str) -> None:
        if kind == "k":
            self._pass_on(payload.encode("ascii", "replace"))
        elif kind == "b":
            self._pass_on(base64.b64decode(payload))
        elif kind == "s":
            self._on_report(json.loads(payload))
        elif kind == "r":
            told = json.loads(payload)
            if reply := self._replies.pop(told["id"], None):
                reply.settle(told)
        elif kind == "x":
            self._finish(End.of(payload))

    def _begin(self, mark: dict[str, Any]) -> None:
        """A new attachment: what the other end has of ours, and what it says next."""
        if mark.get("lost"):
            self.close("another process has taken over its sandbox")
            return
        received, following = int(mark["received"]), int(mark["next"])
        self._confirmed = max(self._confirmed, received)
        if self._taken < 0:
            self._taken = following - 1
            self._out.renumber(received, self._taken)
            if mark.get("over"):
                self.close(LOST)
            self._adopted.set()
        if following > self._taken + 1:
            self.close("messages of the sandbox are lost")

    def _pass_on(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                with self._piping:
                    if self.over.is_set():
                        return
                    rest = rest[os.write(self._pipe, rest) :]
            except BlockingIOError:
                self.over.wait(0.002)
            except OSError:
                return  # nobody listens any more

    # Ending

    def hold(self) -> None:
        """Let go of the stream, because the sandbox is about to be paused."""
        self._out.held = True
        with self._taking:
            self._epoch += 1

    def release(self) -> None:
        """Attach again: the sandbox was resumed."""
        with self._out.changed:
            self._out.held = False
            self._out.changed.notify_all()
        self._reattach()

    def _reattach(self) -> None:
        with self._taking:
            self._epoch += 1
        self._heard_at = self._sent_at = time.monotonic()
        threading.Thread(target=self._read, args=(self._epoch, None, ""), name="e2b", daemon=True).start()

    def kill(self) -> None:
        """End the command and all that it started."""
        if self.over.is_set():
            return
        if self._out.held:
            self.close("its sandbox is paused")
            return
        self.request("kill")
        if not self.over.wait(KILL_S):
            self.close("it did not end when it was told to")
            try:
                self.sandbox.commands.kill(self.pid, request_timeout=REQUEST_S)
            except failures():
                pass

    def leave(self) -> None:
        """Let the other end go; it ends what still runs below it."""
        self.request("leave")
        self._out.wait_empty(2.0)
        self.ended.wait(0.2)
        self.close("")

    def close(self, reason: str) -> None:
        """Nothing more will come."""
        self._settle(End(KILLED, reason=reason))

    def _settle(self, end: End) -> None:
        with self._out.changed:
            if self.ended.is_set():
                return
            self.ended.set()
            waiting, self._replies = self._replies, {}
            self._out.changed.notify_all()
        self._finish(end)
        self._adopted.set()  # whoever waits to take it over need not wait on
        for reply in waiting.values():
            reply.settle({"error": end.reason or "the link has ended"})

    def _finish(self, end: End) -> None:
        """The command has ended, one way or the other: the first word counts."""
        with self._piping:
            if not self.over.is_set():
                self.end = end
                self.over.set()
                os.close(self._pipe)
