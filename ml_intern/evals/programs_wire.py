"""The pipe between code that is tested and its tests, and the process that holds the code.

Calls cross it. Plain data goes by value; everything else stays where it is and is handed over as a handle.
The tests' side takes what comes for data and nothing more: no object of the code's making decides a
comparison with a value, errors are raised as classes made here, and of the tests' own objects the code can
only call the functions that it was given.

One file, standard library only: as a program, given by the command line, it is the code's side.
"""

from __future__ import annotations

import builtins
import collections
import ctypes
import decimal
import fractions
import importlib
import itertools
import json
import math
import operator
import os
import resource
import sys
import types
from typing import Any

LINE = 32 << 20
"""Longest message, in bytes."""
DIGITS = 100_000
"""Of the longest integer that crosses."""
MOST_LOOKED_AT = 100_000
"""Things in an object of the code that `in` looks at."""
DUMPABLE = 4
"""Of prctl(2): whether others of the same user may look into a process and open what it has open."""
TRUSTED_MODULES = {*sys.stdlib_module_names, "numpy", "pandas"}


class Gone(BaseException):
    """The other side has ended. No test can catch it by `except Exception`."""


class Remote:
    """Something that lives on the other side. What cannot be done with it there cannot be done with it."""

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **named: Any) -> Any:  # noqa: D102
        return self._peer.call(self._number, args, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("get", self._number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self._number, name, value)

    def __len__(self) -> int:
        found: int = _exactly(int, self._peer.ask("len", self._number))
        return found

    def __bool__(self) -> bool:
        found: bool = _exactly(bool, self._peer.ask("bool", self._number))
        return found

    def __str__(self) -> str:
        found: str = _exactly(str, self._peer.ask("str", self._number))
        return found

    def __repr__(self) -> str:
        found: str = _exactly(str, self._peer.ask("repr", self._number))
        return found

    def __iter__(self) -> Any:
        found = self._peer.ask("iter", self._number)
        return found if isinstance(found, Remote) else iter(found)

    def __next__(self) -> Any:
        return self._peer.ask("next", self._number)

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("getitem", self._number, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("setitem", self._number, key, value)

    def __delitem__(self, key: Any) -> None:
        self._peer.ask("delitem", self._number, key)

    def __contains__(self, wanted: Any) -> bool:
        return any(wanted == found for found in itertools.islice(iter(self), MOST_LOOKED_AT))

    def __eq__(self, other: object) -> bool:
        """Only things of the code are asked whether they equal each other."""
        if self is other:
            return True
        if not isinstance(other, Remote):
            return False
        found: bool = _exactly(bool, self._peer.ask("eq", self._number, other))
        return found

    def __hash__(self) -> int:
        return hash(self._number)

    def __instancecheck__(self, other: Any) -> bool:
        if not isinstance(other, Remote):
            return False
        found: bool = _exactly(bool, self._peer.ask("isinstance", self._number, other))
        return found

    def __enter__(self) -> Any:
        return self._peer.ask("enter", self._number)

    def __exit__(self, *error: Any) -> None:
        self._peer.ask("exit", self._number)


def _exactly(kind: Any, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value


class Peer:
    """One end of the pipe.

    Args:
        read: Where messages come from.
        write: Where they go.
        serves_all: The other side may do everything with what is handed to it; else it may only call
            functions, and step through iterators, that it was given.
    """

    def __init__(self, read: Any, write: Any, serves_all: bool) -> None:
        self.read, self.write, self.serves_all = read, write, serves_all
        self.dead = False
        self.calls = 0
        self._mine: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._theirs: dict[int, Remote] = {}
        self._errors: dict[int, type[Exception]] = {}

    # Messages

    def send(self, message: Any) -> None:
        """One line.

        Raises:
            Gone: Nobody reads.
        """
        try:
            self.write.write(json.dumps(message).encode() + b"\n")
            self.write.flush()
        except (OSError, ValueError):
            self.dead = True
            raise Gone from None

    def receive(self) -> Any:
        """The next message.

        Raises:
            Gone: There is none, or it is no message.
        """
        try:
            line = self.read.readline(LINE)
            if line.endswith(b"\n"):
                message = json.loads(line)
                if isinstance(message, dict):
                    return message
        except (OSError, ValueError, RecursionError, MemoryError):
            pass
        self.dead = True
        raise Gone

    def ask(self, what: str, number: int, *rest: Any) -> Any:
        """Have the other side do something, and do for it meanwhile what it asks for."""
        self.calls += what == "call"
        self.send({"do": what, "of": number, "with": [self.encode(part) for part in rest]})
        while "do" in (said := self.receive()):
            self.send(self.answer(said))
        if "raised" in said:
            raise self._error(said["raised"])
        if "args" in said and what == "call":
            self._take_over(rest[0], said["args"])
        return self.decode(said.get("value"))

    def call(self, number: int, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a function of the other side."""
        return self.ask("call", number, list(args), named)

    def serve(self) -> None:
        """Do what is asked, until nobody is there."""
        while True:
            self.send(self.answer(self.receive()))

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Do it, and say what came of it."""
        try:
            target = self._mine[asked["of"]]
            rest = [self.decode(part) for part in asked["with"]]
            value = self._do(asked["do"], target, rest)
            said = {"value": self.encode(value)}
            if asked["do"] == "call" and self.serves_all:
                said["args"] = [self.encode(a) if isinstance(a, _CHANGING) else None for a in rest[0]]
            return said
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side asked for it
            return {"raised": self._described(error)}

    def _do(self, what: str, target: Any, rest: list[Any]) -> Any:
        if what == "call" and callable(target):
            return target(*rest[0], **rest[1])
        if what == "next" and hasattr(target, "__next__"):
            return next(target)
        if what == "iter" and hasattr(target, "__next__"):
            return target
        if not self.serves_all:
            raise TypeError("this object of the tests can only be called")
        return DOING[what](target, *rest)

    def _take_over(self, args: list[Any], after: list[Any]) -> None:
        """What a function did to the lists, dicts and sets that it was given."""
        for mine, encoded in zip(args, after, strict=True):
            if not isinstance(mine, _CHANGING) or encoded is None:
                continue
            theirs = self.decode(encoded)
            if type(theirs) is type(mine) and theirs != mine:
                fill: Any = mine.update if isinstance(mine, dict | set) else mine.extend
                mine.clear()
                fill(theirs)

    # Errors

    def _described(self, error: Exception) -> dict[str, Any]:
        return {"class": self._class(type(error)), "text": str(error)[:2000]}

    def _class(self, kind: type[BaseException]) -> dict[str, Any]:
        base = next(c.__name__ for c in kind.__mro__ if getattr(builtins, c.__name__, None) is c)
        number = -1 if kind.__name__ == base else self._number(kind)
        return {"t": "error", "v": number, "name": kind.__name__, "base": base}

    def _error(self, said: Any) -> Exception:
        kind = self.decode(said["class"])
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            return RuntimeError("the code raised something odd")
        try:
            return kind(str(said["text"]))
        except TypeError:
            return RuntimeError(str(said["text"]))

    def _error_class(self, said: dict[str, Any]) -> type[Exception]:
        base = getattr(builtins, str(said["base"]), None)
        if not isinstance(base, type) or not issubclass(base, Exception):
            base = Exception
        if said["v"] == -1:
            return base
        if said["v"] not in self._errors:
            self._errors[said["v"]] = type(str(said["name"]), (base,), {})
        return self._errors[said["v"]]

    # Values

    def _number(self, thing: Any) -> int:
        if id(thing) not in self._numbers:
            self._numbers[id(thing)] = len(self._mine)
            self._mine.append(thing)  # It lives on, so that its id stays its own.
        return self._numbers[id(thing)]

    def encode(self, value: Any) -> Any:
        """A value as JSON: plain data as it is, the rest as handles."""
        if value is None or type(value) in (bool, str, int):
            return value
        if isinstance(value, Remote):
            return {"t": "yours", "v": value._number}
        if isinstance(value, types.ModuleType):
            return {"t": "module", "v": value.__name__}
        if isinstance(value, type):
            return self._type(value)
        if type(value).__module__ == "numpy":
            return self._array(value)
        if isinstance(value, BaseException) or type(value).__module__ == "enum":
            return self._handle(value)
        for name, kind, taken in WAYS:
            if isinstance(value, kind):
                inner = taken(value)
                return {"t": name, "v": list(map(self.encode, inner)) if type(inner) is list else inner}
        return self._handle(value)

    def _type(self, value: type) -> Any:
        if getattr(builtins, value.__name__, None) is value:
            return {"t": "builtin", "v": value.__name__}
        return self._class(value) if issubclass(value, Exception) else self._handle(value)

    def _array(self, value: Any) -> Any:
        if hasattr(value, "tolist"):
            plain = self.encode(value.tolist())
            return {"t": "array", "v": plain, "kind": str(value.dtype)} if value.shape else plain
        return self._handle(value)

    def _handle(self, value: Any) -> Any:
        return {"t": "mine", "v": self._number(value)}

    def decode(self, value: Any) -> Any:
        """The value of a message; of the other side nothing is believed but that it is data."""
        if not isinstance(value, dict):
            return value
        kind, inner = value["t"], value["v"]
        if kind == "yours":
            return self._mine[inner]
        if kind == "mine":
            number = _exactly(int, inner)
            return self._theirs.setdefault(number, Remote(self, number))
        if kind == "error":
            return self._error_class(value)
        if kind == "builtin":
            return _builtin_type(str(inner))
        if kind == "module":
            if str(inner).partition(".")[0] not in TRUSTED_MODULES:
                raise TypeError(f"the module {inner} is not known here")
            return importlib.import_module(str(inner))
        if kind == "array":
            return importlib.import_module("numpy").array(self.decode(inner), dtype=str(value["kind"]))
        return BACK[kind]([self.decode(v) for v in inner] if isinstance(inner, list) else inner)


def _builtin_type(name: str) -> type:
    """A type of Python's own; none that ends a program when it is raised."""
    found = getattr(builtins, name, None)
    if not isinstance(found, type) or (issubclass(found, BaseException) and not issubclass(found, Exception)):
        raise TypeError(f"{name} is no type that crosses")
    return found


_CHANGING = (list, dict, set, bytearray, collections.deque)


def _pairs(value: Any) -> list[Any]:
    return [part for key in dict.keys(value) for part in (key, dict.__getitem__(value, key))]


def _dict(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


# Bases by value: what a subclass overrides stays on its side. The order matters, subclasses first.
WAYS: list[tuple[str, Any, Any]] = [
    ("bool", bool, lambda v: str(int(v))),
    ("int", int, lambda v: int.__repr__(int.__index__(v))),
    ("float", float, lambda v: float.__repr__(v)),
    ("str", str, lambda v: str.__str__(v)),
    ("bytes", bytes, lambda v: bytes.hex(v)),
    ("bytearray", bytearray, lambda v: bytearray.hex(v)),
    ("complex", complex, lambda v: complex.__repr__(v)),
    ("decimal", decimal.Decimal, lambda v: decimal.Decimal.__str__(v)),
    ("fraction", fractions.Fraction, lambda v: fractions.Fraction.__str__(v)),
    ("range", range, lambda v: [v.start, v.stop, v.step]),
    ("list", list, lambda v: list(list.__iter__(v))),
    ("tuple", tuple, lambda v: list(tuple.__iter__(v))),
    ("set", set, lambda v: list(set.__iter__(v))),
    ("frozenset", frozenset, lambda v: list(frozenset.__iter__(v))),
    ("deque", collections.deque, lambda v: list(collections.deque.__iter__(v))),
    ("counter", collections.Counter, _pairs),
    ("ordered", collections.OrderedDict, _pairs),
    ("dict", dict, _pairs),
    ("keys", type({}.keys()), lambda v: list(v)),
    ("values", type({}.values()), lambda v: list(v)),
    ("items", type({}.items()), lambda v: list(v)),
]
BACK: dict[str, Any] = {
    "bool": lambda v: v == "1",
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": complex,
    "decimal": decimal.Decimal,
    "fraction": fractions.Fraction,
    "range": lambda v: range(*v),
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
    "counter": lambda v: collections.Counter(_dict(v)),
    "ordered": lambda v: collections.OrderedDict(_dict(v)),
    "dict": _dict,
    "keys": lambda v: dict.fromkeys(v).keys(),
    "values": lambda v: dict(enumerate(v)).values(),
    "items": lambda v: dict(v).items(),
}
DOING: dict[str, Any] = {
    "get": getattr,
    "set": setattr,
    "len": len,
    "bool": bool,
    "str": str,
    "repr": repr,
    "iter": iter,
    "next": next,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "eq": lambda a, b: bool(a == b),
    "isinstance": lambda kind, thing: isinstance(thing, kind),
    "enter": lambda thing: thing.__enter__(),
    "exit": lambda thing: thing.__exit__(None, None, None),
}


# The code


def be_code() -> None:
    """Hold the code: run it once, say what it has defined, and then do what is asked."""
    hide()
    read, write = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(0), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    peer = Peer(read, write, serves_all=True)
    item = peer.receive()
    limit(item["memory_mb"], item["seconds"])
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    exec(compile(item["code"], "answer.py", "exec"), module.__dict__)
    names = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    peer.send({"names": {name: peer.encode(value) for name, value in names.items()}})
    peer.serve()


def hide() -> None:
    """Let no other process of the same user look into this one."""
    ctypes.CDLL(None).prctl(DUMPABLE, 0, 0, 0, 0)


def limit(memory_mb: int, seconds: float) -> None:
    """Bound this process: memory, time, files."""
    bounds = {
        resource.RLIMIT_AS: memory_mb << 20,
        resource.RLIMIT_CPU: math.ceil(seconds) + 1,
        resource.RLIMIT_FSIZE: 16 << 20,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in bounds.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    sys.set_int_max_str_digits(DIGITS)


if __name__ == "__main__":
    be_code()
