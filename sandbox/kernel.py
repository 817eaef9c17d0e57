"""The persistent interpreter that runs cells, in any sandbox that has CPython 3.11.

One file, standard library only: it is started by path and never imported by the host. Frames are JSON lines
over the original stdin and stdout, which are moved away before any cell runs. The main thread runs cells; a
reader thread routes frames, so that an interrupt or a tool's reply arrives while a cell runs; a third thread
tells the host what the cell prints.

Host to kernel: init, exec, return, interrupt, snapshot, restore, exit.
Kernel to host: ready, call, output, done.
"""

from __future__ import annotations

import ast
import builtins
import codecs
import faulthandler
import io
import json
import linecache
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from _queue import SimpleQueue
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

FRAME_LIMIT = 8 << 20  # bytes of one frame; the host drops longer ones
VALUE_CHARS = 10_000
ERROR_CHARS = 10_000
ANSWER_CHARS = 500_000  # a character takes up to twelve bytes in JSON
OUTPUT_CHARS = 200_000
STREAM_CHUNK = 16 << 10  # bytes told at one tick, from both ends; the file has it all
STREAM_TICK = 0.05  # seconds
DIGEST_NAMES = 50
FIELDS: dict[str, dict[str, type]] = {  # of the host's frames, what each kind must have
    "init": {},
    "exec": {"id": int, "code": str},
    "return": {"id": int},
    "interrupt": {"id": int},
    "snapshot": {"id": int, "path": str},
    "restore": {"id": int, "path": str},
    "exit": {},
}
CELL = "<cell "  # file names of cells begin like this
MODULE = "ml_intern_kernel"


class ToolError(Exception):
    """A call that failed: `message` says what went wrong, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class FinalAnswer(BaseException):
    """Ends the cell that called `final_answer`. Cells never catch it, see `LetThrough`."""


LONG_TEXT, MOST_NAMED = 80, 5
"""Characters of a text that is printed once, and names of fields that are not printed at all."""


class Result(dict[str, Any]):
    """What a tool returned: a dict whose fields are attributes too, at every depth."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no field {name!r}; there are: {', '.join(map(str, self))}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *map(str, self)]

    def __repr__(self) -> str:
        quiet = self.__dict__.get("_quiet")
        return repr(brief(dict(self), quiet)) if quiet else super().__repr__()


def brief(value: Any, quiet: Sequence[str], said: set[str] | None = None) -> Any:
    """A result as it is printed: without what is empty, what only repeats, and long texts a second time.

    `not_shown` names the fields that are left out.
    """
    said = set() if said is None else said
    if isinstance(value, str) and len(value) >= LONG_TEXT:
        known = value in said
        said.add(value)
        return "as above" if known else value
    if isinstance(value, list):
        return [brief(item, quiet, said) for item in value]
    if not isinstance(value, dict):
        return value
    full = {name: item for name, item in value.items() if item is not None and item not in ("", [], {})}
    left = [name for name in full if name in quiet]
    if len(left) > MOST_NAMED:
        left = [*left[: MOST_NAMED - 1], f"{len(left) - MOST_NAMED + 1} more"]
    shown = {name: brief(item, quiet, said) for name, item in full.items() if name not in quiet}
    return {**shown, "not_shown": left} if left else shown


def print_briefly(value: Any, quiet: Sequence[str]) -> Any:
    """Let a result, or each in a list of them, leave out these fields when it is printed."""
    for found in value if isinstance(value, list) else [value]:
        if isinstance(found, Result):
            found.__dict__["_quiet"] = tuple(quiet)
    return value


class LetThrough(ast.NodeTransformer):
    """Adds ``except FinalAnswer: raise`` before the handlers of every try statement of a cell."""

    def visit_Try(self, node: ast.Try) -> ast.AST:
        """Put the clause first, so that a bare except below never sees the final answer."""
        self.generic_visit(node)
        if node.handlers:
            name = ast.Name("__final_answer__", ast.Load())
            clause = ast.ExceptHandler(type=name, name=None, body=[ast.Raise()])
            node.handlers.insert(0, ast.fix_missing_locations(ast.copy_location(clause, node.handlers[0])))
        return node


class Channel:
    """The way to the host. A frame is written whole: an interrupt waits until it is out."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.lock = threading.Lock()
        self.shielded = False
        self.late = False

    def send(self, **frame: Any) -> None:
        """Write one frame."""
        data = json.dumps(frame, default=jsonable).encode() + b"\n"
        if len(data) > FRAME_LIMIT:
            raise ValueError(f"{len(data) >> 20} MB do not fit into one frame of {FRAME_LIMIT >> 20} MB")
        if threading.current_thread() is not threading.main_thread():
            self._write(data)
            return
        self.shielded = True
        try:
            self._write(data)
        finally:
            self.shielded = False
        if self.late:
            self.late = False
            raise KeyboardInterrupt

    def _write(self, data: bytes) -> None:
        with self.lock:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self.fd, rest) :]


class Output:
    """What cells, their libraries and their child processes print: one file behind fds 1 and 2.

    A file, because a pipe fills and then blocks the cell, and because everything that is written to the two
    descriptors then stands in the order in which it was written.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.limit = 20_000
        self.cell = 0
        self.start = 0
        self.told = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.lock = threading.Lock()
        self.busy = threading.Event()
        self.fd = -1
        self.streams = [
            io.TextIOWrapper(io.FileIO(n, "w", closefd=False), "utf-8", "backslashreplace") for n in (1, 2)
        ]
        for stream in self.streams:
            stream.reconfigure(write_through=True)

    def open(self, path: str | None) -> None:
        """Send fds 1 and 2 to a file: the host's, which outlives a crash, or a private one."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            self.fd = os.open(path, flags | os.O_NOFOLLOW) if path else -1
        except OSError:
            self.fd = -1
        if self.fd < 0:
            private = f"{os.environ.get('TMPDIR', '/tmp')}/cell-output-{os.getpid()}-{time.time_ns()}"
            self.fd = os.open(private, flags | os.O_CREAT | os.O_EXCL, 0o600)
            os.unlink(private)  # noqa: PTH108 - reached by its descriptor, and gone with the kernel
        self.attach()
        unbuffer_c_streams()
        threading.Thread(target=self._follow, name="output", daemon=True).start()

    def attach(self) -> None:
        """Point fds 1 and 2 at the file, whatever an earlier cell did to them."""
        os.dup2(self.fd, 1)
        os.dup2(self.fd, 2)
        sys.stdout, sys.stderr = self.streams

    def begin(self, cell: int) -> None:
        """A cell starts; what background work printed since the last one belongs to it."""
        with self.lock:
            self.attach()
            if os.fstat(self.fd).st_size == self.told:
                os.ftruncate(self.fd, 0)
                self.told = 0
            self.start = self.told
            self.cell = cell
        self.busy.set()

    def end(self) -> dict[str, Any]:
        """A cell ended: its text, whole or head and tail with the path of the whole."""
        for stream in (sys.stdout, sys.stderr, *self.streams):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass
        flush_c_streams()
        self.busy.clear()
        self._tell(last=True)
        size = os.fstat(self.fd).st_size
        with self.lock:
            self.told = size
        return self._collect(size)

    def _collect(self, end: int) -> dict[str, Any]:
        size = max(0, end - self.start)
        if size <= self.limit:
            return {
                "output": os.pread(self.fd, size, self.start).decode("utf-8", "replace"),
                "output_bytes": size,
            }
        half = self.limit // 2
        head = os.pread(self.fd, half, self.start).decode("utf-8", "ignore")
        tail = os.pread(self.fd, half, end - half).decode("utf-8", "ignore")
        path = self._keep(end)
        where = f"; the whole text is in {path}" if path else ""
        text = f"{head}\n… {size - 2 * half} of {size} bytes left out{where} …\n{tail}"
        return {"output": text, "output_bytes": size, "output_path": path}

    def _keep(self, end: int) -> str:
        """Copy a long text to where later cells and the host's read_file find it."""
        path = os.path.abspath(f"cell_outputs/cell-{self.cell}.txt")  # noqa: PTH100
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            with open(path, "wb") as file:  # noqa: PTH123
                at = self.start
                while at < end and (chunk := os.pread(self.fd, min(1 << 20, end - at), at)):
                    file.write(chunk)
                    at += len(chunk)
        except OSError:
            return ""
        return path

    def _follow(self) -> None:
        while True:
            self.busy.wait()
            time.sleep(STREAM_TICK)
            self._tell()

    def _tell(self, last: bool = False) -> None:
        with self.lock:
            size = os.fstat(self.fd).st_size
            if size < self.told:  # a cell truncated its own output
                self.told = self.start = size
            behind = size - self.told
            if behind == 0:
                return
            skipped = max(0, behind - STREAM_CHUNK)
            half = STREAM_CHUNK // 2 if skipped else behind
            chunk = os.pread(self.fd, half, self.told)
            text = self.decoder.decode(chunk, final=last and not skipped)
            self.told += len(chunk)
            if skipped:
                self.decoder.reset()
                self.told = max(self.told, size - STREAM_CHUNK + half)
                chunk = os.pread(self.fd, size - self.told, self.told)
                self.told += len(chunk)
                text += f"\n… {skipped} bytes …\n{self.decoder.decode(chunk, final=last)}"
            offset = self.told
        try:
            self.channel.send(type="output", id=self.cell, text=text, offset=offset)
        except OSError:
            pass


class Kernel:
    """Runs cells one after another in one namespace."""

    def __init__(self, frames: io.FileIO, channel: Channel, errors: int) -> None:
        self.frames = frames
        self.errors = errors
        self.channel = channel
        self.output = Output(channel)
        self.pid = os.getpid()
        self.queue: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.waiting: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self.lock = threading.Lock()
        self.calls = 0
        self.in_cell = False
        self.stop = 0
        self.answer: str | None = None
        self.started = self.ready = False
        self.seen: dict[str, tuple[int, str]] = {}
        self.sources: dict[str, str] = {}
        self.tools: dict[str, Callable[..., Any]] = {}
        self.groups: dict[str, list[dict[str, Any]]] = {}
        self.help = self.tell  # bound once: it is known for what it is
        self.module = type(sys)("__main__")
        self.names = self.module.__dict__

    # The reader thread

    def read_frames(self) -> None:
        """Route the host's frames; the end of the stream is the end of the kernel."""
        try:
            with io.BufferedReader(self.frames, 1 << 16) as lines:
                for line in lines:
                    self.take(line)
        except BaseException as problem:  # noqa: BLE001 - without this thread nobody would ever answer
            os.write(self.errors, f"kernel: {type(problem).__name__}: {problem}\n".encode())
            os._exit(70)
        os._exit(0)

    def take(self, line: bytes) -> None:
        """Route one line; what is no frame is dropped and told, for the next one may be fine."""
        try:
            frame = json.loads(line, object_hook=Result)
            if not is_frame(frame):
                raise ValueError("a line that is no frame")
            self.route(frame)
        except Exception as problem:
            if not self.ready:  # nobody could ever use it; the host tells why
                raise
            os.write(self.errors, f"kernel: dropped: {type(problem).__name__}: {problem}\n"[:500].encode())

    def route(self, frame: dict[str, Any]) -> None:
        """Hand a frame to whom it concerns."""
        kind = frame["type"]
        if kind == "return":
            box = self.waiting.get(frame["id"])
            if box is not None:
                box.put(frame)
        elif kind == "interrupt":
            self.stop = frame["id"]
            if self.output.cell == self.stop:  # one that waits sees `stop` when it begins
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        elif kind == "snapshot":
            # On a thread of its own: it is asked for when the main thread does not come back.
            threading.Thread(target=self.snapshot, args=(frame,), daemon=True).start()
        elif kind == "exit":
            os._exit(0)
        elif kind == "init":
            self.init(frame)
        else:
            self.queue.put(frame)

    def init(self, frame: dict[str, Any]) -> None:
        """Take the tools; the first time also the folder, the output file and the limits."""
        if not self.started:
            self.started = True
            os.chdir(frame.get("workspace") or ".")
            # Last, so that a file of the workspace never shadows a library.
            sys.path.append(os.getcwd())  # noqa: PTH109
            self.output.limit = min(int(frame.get("output_chars") or self.output.limit), OUTPUT_CHARS)
            bound_files(int(frame.get("file_mb") or 0))
            self.output.open(frame.get("output_file"))
        self.set_tools(frame.get("tools") or [])
        self.ready = True
        self.channel.send(type="ready", python=sys.version.split()[0], pid=os.getpid())

    def set_tools(self, tools: list[dict[str, Any]]) -> None:
        """Put proxies for the host's tools into the namespace; those that went away go."""
        fresh = {tool["name"]: make_proxy(tool, self.call) for tool in tools}
        for name, old in self.tools.items():
            if self.names.get(name) is old:
                del self.names[name]
        self.tools = fresh
        self.groups = {}
        for tool in tools:
            self.groups.setdefault(tool.get("group") or "others", []).append(tool)
        self.names["help"] = self.help
        self.names.update(self.tools)

    def tell(self, *topics: Any) -> None:
        """What `help` is in cells: of a group by its name, of a tool by its name or itself, else Python's."""
        topic = topics[0] if topics else None
        if not topics:
            told = [f"- {name}: {', '.join(t['name'] for t in tools)}" for name, tools in self.groups.items()]
            sys.stdout.write("\n".join(["help(…) of a tool, or of a group by its name:", *told, ""]))
        elif isinstance(topic, str) and topic in self.groups:
            sys.stdout.write(f"{group_help(topic, self.groups[topic])}\n")
        elif isinstance(topic, str) and (near := self.near(topic)):
            sys.stdout.write(f"There is no tool and no group {topic!r}. Did you mean help({near!r})?\n")
        else:
            builtins.help(self.tools.get(topic, topic) if isinstance(topic, str) else topic)

    def meant(self, problem: BaseException) -> str:
        """Where a cell called a tool that is none: the nearest one, with its signature."""
        if type(problem) is not NameError or not isinstance(problem.name, str):
            return ""
        near = self.near(problem.name)
        if near in self.groups:
            return (
                f"\nThe tools of {near}: {', '.join(t['name'] for t in self.groups[near])}; help({near!r})."
            )
        briefs = [
            tool.get("signature") for tools in self.groups.values() for tool in tools if tool["name"] == near
        ]
        return f"\nDid you mean {briefs[0]}?" if briefs and briefs[0] else ""

    def near(self, name: str) -> str:
        """The tool or group that a name comes closest to, by its letters or by its words; nothing if none."""
        module = name.partition(".")[0] in sys.stdlib_module_names
        if module or name in self.tools or hasattr(builtins, name):
            return ""
        from difflib import SequenceMatcher, get_close_matches

        known = [*self.tools, *(group for group in self.groups if group not in self.tools)]
        if name in self.groups:
            return name
        if close := get_close_matches(name, known, n=1, cutoff=0.7):
            return close[0]
        words = {word for word in name.lower().split("_") if len(word) > 3}
        alike = [tool for tool in self.tools if words & set(tool.split("_"))]
        return max(alike, key=lambda tool: SequenceMatcher(None, name, tool).ratio(), default="")

    # The main thread

    def serve(self) -> NoReturn:
        """Run what the queue brings, for ever."""
        while True:
            try:
                frame = self.queue.get()
                if frame["type"] == "exec":
                    self.run_cell(frame)
                elif frame["type"] == "restore":
                    self.restore(frame)
            except KeyboardInterrupt:
                continue

    def on_interrupt(self, *_: object) -> None:
        """SIGINT: stops the cell, unless there is none or a frame is half written."""
        if not self.in_cell:
            return
        if self.channel.shielded:
            self.channel.late = True
            return
        raise KeyboardInterrupt

    def run_cell(self, frame: dict[str, Any]) -> None:
        """Run one cell and report how it went."""
        cell, code = frame["id"], frame["code"]
        signal.signal(signal.SIGINT, self.on_interrupt)
        self.names.update(final_answer=self.final_answer, ToolError=ToolError)
        builtins.__final_answer__ = FinalAnswer  # type: ignore[attr-defined]
        self.answer, self.channel.late = None, False
        self.output.begin(cell)
        value = error = ""
        try:
            self.in_cell = True
            if self.stop == cell:  # the interrupt was faster than the cell
                raise KeyboardInterrupt
            value = self.execute(code, f"{CELL}{cell}>")
        except FinalAnswer:
            pass
        except SystemExit as stop:
            error = f"SystemExit: {stop.code}" if stop.code else ""
        except BaseException as problem:  # noqa: BLE001 - whatever a cell raises is its result
            error = explain(problem) + self.meant(problem)
        finally:
            self.in_cell = False
        if os.getpid() != self.pid:  # the cell forked and its child came back here
            os._exit(0)
        self.report(cell, value, error)

    def report(self, cell: int, value: str, error: str) -> None:
        """Send `done`. An answer counts also where code after it failed."""
        final = self.answer is not None
        changed = self.digest()
        self.channel.send(
            type="done",
            id=cell,
            ok=final or not error,
            value=value[:VALUE_CHARS],
            error="" if final else error,
            final=final,
            answer=(self.answer or "")[:ANSWER_CHARS],
            variables=changed,
            **self.output.end(),
        )

    def execute(self, code: str, name: str) -> str:
        """Run a cell's statements; the repr of its last expression, or an empty string."""
        lines = code.splitlines(keepends=True)
        linecache.cache[name] = (len(code), None, lines, name)
        tree = ast.parse(code, name)
        self.remember(tree, lines)
        tree = LetThrough().visit(tree)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        if tree.body:
            self.evaluate(compile_cell(tree, name, "exec"))
        if last is None:
            return ""
        value = self.evaluate(compile_cell(ast.Expression(last.value), name, "eval"))
        return "" if value is None else shown(value)

    def evaluate(self, code: Any) -> Any:
        """Run a code object in the namespace; a top-level ``await`` works as in a notebook."""
        value = eval(code, self.names)
        if code.co_flags & 0x80:  # inspect.CO_COROUTINE; inspect is slow to import
            import asyncio

            return asyncio.run(value)
        return value

    def final_answer(self, answer: Any = None) -> NoReturn:
        """Give the final answer and end the cell. The first answer counts."""
        if self.answer is None:
            self.answer = answer_text(answer)
        raise FinalAnswer

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Ask the host to run a tool; works from any thread, several at a time."""
        if os.getpid() != self.pid:
            raise ToolError(
                f"{name} was called from a child process.", "Call tools from the cell or from threads."
            )
        box: SimpleQueue[dict[str, Any]] = SimpleQueue()
        with self.lock:
            self.calls += 1
            call = self.calls
        self.waiting[call] = box
        try:
            self.channel.send(type="call", id=call, cell=self.output.cell, tool=name, arguments=arguments)
            reply = box.get()
        except (TypeError, ValueError, RecursionError) as problem:
            raise ToolError(
                f"{name}: an argument cannot be sent: {problem}.", "Pass plain values or a path."
            ) from None
        finally:
            self.waiting.pop(call, None)
        if reply.get("ok"):
            return reply.get("value")
        raise ToolError(reply.get("message") or "The call failed.", reply.get("hint") or "")

    # What the host learns of variables

    def variables(self) -> dict[str, Any]:
        """The cell's own variables: no modules, no tools, no private names."""
        own = {"help": self.help, **self.tools, "ToolError": ToolError}
        own["final_answer"] = self.names.get("final_answer")
        return {
            name: value
            for name, value in list(self.names.items())
            if not name.startswith("_") and own.get(name) is not value and not isinstance(value, type(sys))
        }

    def digest(self) -> dict[str, str]:
        """New and changed variables in words, ``df: DataFrame(100, 3)``; a deleted one is ``""``."""
        now = {name: (id(value), describe(value)) for name, value in self.variables().items()}
        changed = {name: text for name, (key, text) in now.items() if self.seen.get(name) != (key, text)}
        changed.update({name: "" for name in self.seen if name not in now})
        self.seen = now
        return dict(list(changed.items())[:DIGEST_NAMES])

    def remember(self, tree: ast.Module, lines: list[str]) -> None:
        """Keep the source of imports and definitions: a snapshot carries code as code."""
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                found = [(alias.asname or alias.name).split(".")[0] for alias in node.names]
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found = [node.name]
            else:
                continue
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            text = "".join(lines[first - 1 : node.end_lineno])
            for name in found:
                self.sources.pop(name, None)  # to the end: later definitions may need earlier ones
                self.sources[name] = text

    def snapshot(self, frame: dict[str, Any]) -> None:
        """Write the variables that pickle to a file; say which did not."""
        seconds = frame.get("seconds")
        deadline = time.monotonic() + (seconds if isinstance(seconds, int | float) else 60)
        saved: dict[str, bytes] = {}
        skipped: dict[str, str] = {}
        code = {n: text for n, text in self.sources.items() if n in self.names}
        for name, value in self.variables().items():
            if name in code and callable(value):
                continue
            if time.monotonic() > deadline:
                skipped[name] = "no time was left"
                continue
            try:
                saved[name] = pickle.dumps(value, protocol=5)
            except Exception as problem:  # noqa: BLE001 - pickling runs foreign code
                skipped[name] = f"{type(problem).__name__}"
        error = ""
        try:
            with open(frame["path"], "wb") as file:  # noqa: PTH123
                pickle.dump({"code": code, "values": saved}, file, protocol=5)
        except (OSError, ValueError) as problem:
            error, saved = str(problem), {}
        names = [*saved, *(n for n in code if not isinstance(self.names.get(n), type(sys)))]
        self.channel.send(
            type="done", id=frame["id"], ok=not error, error=error, saved=names, skipped=skipped
        )

    def restore(self, frame: dict[str, Any]) -> None:
        """Read a snapshot of an earlier kernel: code first, then values."""
        restored: list[str] = []
        skipped: dict[str, str] = {}
        try:
            with open(frame["path"], "rb") as file:  # noqa: PTH123
                kept = pickle.load(file)
        except Exception as problem:  # noqa: BLE001 - a damaged file raises anything
            kept, skipped = {"code": {}, "values": {}}, {"": f"{type(problem).__name__}: {problem}"}
        for number, (name, text) in enumerate(kept["code"].items()):
            source = f"{CELL}restored {number}>"
            linecache.cache[source] = (len(text), None, text.splitlines(keepends=True), source)
            attempt(name, partial(self._define, text, source), skipped)
            if name in self.names:
                self.sources[name] = text
                restored.append(name)
        for name, data in kept["values"].items():
            attempt(name, partial(self._unpickle, name, data), skipped)
            if name not in skipped:
                restored.append(name)
        restored = [n for n in restored if n in self.variables()]
        self.digest()
        self.channel.send(type="done", id=frame["id"], ok=True, saved=restored, skipped=skipped)

    def _define(self, text: str, source: str) -> None:
        exec(compile_cell(LetThrough().visit(ast.parse(text, source)), source, "exec"), self.names)

    def _unpickle(self, name: str, data: bytes) -> None:
        self.names[name] = pickle.loads(data)


def is_frame(frame: Any) -> bool:
    """Whether it is of a known kind and has the fields that this kind needs."""
    kind = frame.get("type") if isinstance(frame, dict) else None
    needs = FIELDS.get(kind) if isinstance(kind, str) else None
    return needs is not None and all(type(frame.get(name)) is kind for name, kind in needs.items())


def attempt(name: str, action: Callable[[], Any], skipped: dict[str, str]) -> None:
    """Do one part of a restoration; note what failed and go on."""
    try:
        action()
    except Exception as problem:  # noqa: BLE001 - restoring runs foreign code
        skipped[name] = type(problem).__name__


def make_proxy(tool: dict[str, Any], call: Callable[[str, dict[str, Any]], Any]) -> Callable[..., Any]:
    """A function with the tool's name, signature and help, which asks the host.

    What does not fit the signature is passed on: the host knows what was meant.
    """
    name, parameters = tool["name"], [p["name"] for p in tool["parameters"]]

    def proxy(*args: Any, **kwargs: Any) -> Any:
        if len(args) > len(parameters):
            raise ToolError(
                f"{name} takes {len(parameters)} arguments, not {len(args)}.", f"Signature: {signature}"
            )
        given = dict(zip(parameters, args, strict=False))
        twice = sorted(given.keys() & kwargs.keys())
        if twice:
            raise ToolError(f"{name} got {twice[0]!r} twice.", f"Signature: {signature}")
        return print_briefly(call(name, given | kwargs), tool.get("quiet") or ())

    signature = tool.get("signature") or f"{name}({', '.join(parameters)})"
    proxy.__name__ = proxy.__qualname__ = name
    proxy.__module__ = "__main__"
    proxy.__doc__ = tool.get("doc") or ""
    # inspect.signature and help() follow __wrapped__: a stub costs less than importing inspect.
    proxy.__wrapped__ = signature_stub(tool)  # type: ignore[attr-defined]
    return proxy


def group_help(name: str, tools: list[dict[str, Any]]) -> str:
    """The signatures and first lines of a group's tools, and the fields of what they return."""
    lines = [f"The tools of {name}. A parameter without a type is text; help(tool) tells one in full.", ""]
    lines += [f"- {tool.get('brief') or tool.get('signature') or tool['name']}" for tool in tools]
    if results := dict.fromkeys(line for tool in tools for line in tool.get("results") or ()):
        lines += ["", "Fields of the results:", *(f"- {result}" for result in results)]
    return "\n".join(lines)


def signature_stub(tool: dict[str, Any]) -> Any:
    """A function of the right signature that nobody calls."""
    shown_parameters, keyword_only = [], False
    for p in tool["parameters"]:
        text = f"{p['name']}: {p.get('annotation', 'Any')!r}"
        if "default" in p:
            keyword_only = True
            text += f" = _defaults[{p['name']!r}]"
        elif keyword_only:  # a required one after an optional one: Python would not accept it
            text += " = ..."
        shown_parameters.append(text)
    space: dict[str, Any] = {"_defaults": {p["name"]: p.get("default") for p in tool["parameters"]}}
    source = f"def {tool['name']}({', '.join(shown_parameters)}): ..."
    exec(compile(source, "<signature>", "exec", dont_inherit=True), space)
    return space[tool["name"]]


def compile_cell(tree: Any, name: str, mode: str) -> Any:
    """Compile without this file's own future statements."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(ast.fix_missing_locations(tree), name, mode, flags=flags, dont_inherit=True)


def explain(problem: BaseException) -> str:
    """The traceback with the cell's own lines only, then the error."""
    if isinstance(problem, KeyboardInterrupt):
        frames = traceback.extract_tb(problem.__traceback__)
        lines = [f"line {f.lineno}: {f.line}" for f in frames if f.filename.startswith(CELL)]
        return "KeyboardInterrupt" + (f" at {lines[-1]}" if lines else "")
    try:
        told = traceback.TracebackException(type(problem), problem, problem.__traceback__, compact=True)
        keep_own_lines(told, set())
        text = "".join(told.format())
    except Exception:  # noqa: BLE001 - an exception whose text raises
        text = f"{type(problem).__name__} (its text cannot be shown)"
    text = text.rstrip()
    return text if len(text) <= ERROR_CHARS else f"{text[: ERROR_CHARS // 2]}\n…\n{text[-ERROR_CHARS // 2 :]}"


def keep_own_lines(told: traceback.TracebackException, done: set[int]) -> None:
    """Drop the frames of libraries, and earlier errors that only libraries saw."""
    if id(told) in done:
        return
    done.add(id(told))
    told.stack = traceback.StackSummary.from_list([f for f in told.stack if f.filename.startswith(CELL)])
    for name in ("__cause__", "__context__"):
        earlier = getattr(told, name)
        if earlier is not None:
            keep_own_lines(earlier, done)
            if not earlier.stack:
                setattr(told, name, None)
    for part in getattr(told, "exceptions", None) or ():
        keep_own_lines(part, done)


def shown(value: Any) -> str:
    """The repr of a value; a repr that raises is told, not raised."""
    try:
        return repr(value)[:VALUE_CHARS]
    except Exception as problem:  # noqa: BLE001 - a repr is foreign code
        return f"<{type(value).__name__} whose repr raises {type(problem).__name__}>"


def describe(value: Any) -> str:
    """A value in a few words: ``DataFrame(100, 3)``, ``list[12]``, ``int 5``."""
    kind = type(value).__name__
    try:
        if isinstance(value, bool | int | float | complex | None):
            return f"{kind} {value!r}"[:80]
        if isinstance(value, str | bytes):
            return f"{kind}[{len(value)}] {value[:40]!r}"
        if isinstance(value, type):
            return "class"
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
            return f"{kind}{tuple(shape)}"
        if isinstance(value, list | tuple | dict | set | frozenset) or hasattr(type(value), "__len__"):
            return f"{kind}[{len(value)}]"
    except Exception:  # noqa: BLE001 - lengths, shapes and reprs are foreign code
        pass
    return kind


def answer_text(answer: Any) -> str:
    """A final answer is a string: other types would make the agent import torch."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, dict | list | tuple):
        try:
            return json.dumps(answer, ensure_ascii=False, default=jsonable)
        except (TypeError, ValueError, RecursionError):
            pass
    return str(answer)


def jsonable(value: Any) -> Any:
    """What JSON lacks, as what it has: paths, sets, arrays, tables, models."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    for method, arguments in (
        ("to_dicts", ()),
        ("to_dict", ("records",)),
        ("tolist", ()),
        ("model_dump", ()),
    ):
        convert = getattr(value, method, None)
        if callable(convert) and not isinstance(value, type):
            try:
                return convert(*arguments)
            except TypeError:
                continue
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise TypeError(f"{type(value).__name__} is no plain value")


def bound_files(megabytes: int) -> None:
    """Stop a runaway file, the output's first of all, before it fills the disk; a cell may lift the bound."""
    if megabytes:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (min(megabytes << 20, hard) if hard > 0 else megabytes << 20, hard)
        )


def unbuffer_c_streams() -> None:
    """Make the C library print at once, in order with Python; it buffers when it sees a file."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        for name in ("stdout", "stderr"):
            libc.setvbuf(ctypes.c_void_p.in_dll(libc, name), None, 2, 0)
    except (ImportError, OSError, ValueError, AttributeError):
        pass


def flush_c_streams() -> None:
    """Write out what C code buffered all the same."""
    ctypes = sys.modules.get("ctypes")
    if ctypes is not None:
        try:
            ctypes.CDLL(None).fflush(None)
        except (OSError, AttributeError):
            pass


def hide_final_answer(args: Any) -> None:
    """A thread that gives the final answer ends without a traceback."""
    if args.exc_type is not FinalAnswer:
        threading.__excepthook__(args)


def main() -> None:
    """Move the protocol off fds 0, 1 and 2, then serve."""
    frames, replies, errors = (os.dup(fd) for fd in (0, 1, 2))
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)
    # A crash in C code names the cell's line on the process's own error stream.
    faulthandler.enable(errors)
    sys.modules[MODULE] = sys.modules["__main__"]
    Result.__module__ = MODULE
    kernel = Kernel(io.FileIO(frames), Channel(replies), errors)
    sys.modules["__main__"] = kernel.module
    threading.excepthook = hide_final_answer
    signal.signal(signal.SIGINT, kernel.on_interrupt)
    threading.Thread(target=kernel.read_frames, name="frames", daemon=True).start()
    kernel.serve()


if __name__ == "__main__":
    main()
