"""Code of answers against tests, in real walls; and every way we know to pass without solving anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml_intern.errors import ToolError
from ml_intern.evals import programs
from ml_intern.evals.means import Means
from ml_intern.evals.model import Asking, Item
from ml_intern.evals.programs import passed, program_of
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Sandbox
from ml_intern.sandbox.docker import DockerSandbox
from ml_intern.sandbox.local import LocalSandbox


@pytest.fixture(scope="module", params=["local", pytest.param("docker", marks=pytest.mark.thorough)])
def walls(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    sandbox: Sandbox
    if request.param == "docker":
        from support.docker_engine import ensure_engine, sandbox_image

        ensure_engine()
        sandbox = DockerSandbox(sandbox_image())
    elif problem := LocalSandbox.problem():
        pytest.skip(problem)
    else:
        sandbox = LocalSandbox()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def means(walls: Sandbox, tmp_path: Path) -> Means:
    return Means(sandbox=walls, folder=tmp_path / "evals" / "code")


def item(tests: str, prompt: str = "Write it.") -> Item:
    return Item(split="dev", input=prompt, tests=tests)


ADD = "assert add(2, 3) == 5\nassert add(-1, 1) == 0"
RIGHT = "def add(a, b):\n    return a + b\n"

HONEST: dict[str, tuple[str, str]] = {
    "plain": (RIGHT, ADD),
    "in fences": (f"Here it is:\n```python\n{RIGHT}```\nUse it so:\n```\nprint(add(1, 2))\n```\n", ADD),
    "its own helpers": ("import math\ndef add(a, b):\n    return int(math.fsum([a, b]))\n", ADD),
    "a name of Python's": ("def sum(a, b):\n    return a + b\n", "assert sum(10, 15) == 25"),
    "changes its argument": (
        "def tidy(x, d):\n    x.sort()\n    d['n'] = len(x)\n",
        "x, d = [3, 1, 2], {}\ntidy(x, d)\nassert x == [1, 2, 3] and d == {'n': 3}",
    ),
    "plain data of all kinds": (
        "import collections\n"
        "def many():\n"
        "    return {'a': (1, 2.5), 3: {4, None}, 'f': float('inf')}, b'x', 2**200, collections.Counter('aab'), 1j\n",
        "a, b, c, d, e = many()\n"
        "assert a == {'a': (1, 2.5), 3: {4, None}, 'f': float('inf')} and type(a['a']) is tuple\n"
        "assert b == b'x' and c == 2**200 and d['a'] == 2 and e == 1j",
    ),
    "a class": (
        "class Stack:\n"
        "    def __init__(self): self.items = []\n"
        "    def push(self, x): self.items.append(x)\n"
        "    def pop(self): return self.items.pop()\n"
        "    def __len__(self): return len(self.items)\n"
        "    def __eq__(self, other): return self.items == other.items\n",
        "s, t = Stack(), Stack()\ns.push(4)\ns.push(5)\nassert len(s) == 2 and s.pop() == 5\nt.push(4)\n"
        "assert s == t and isinstance(s, Stack) and s.items == [4]\nt.pop()\nassert s != t",
    ),
    "errors": (
        "class Odd(ValueError): pass\ndef half(n):\n    if n % 2: raise Odd(f'{n} is odd')\n    return n // 2\n",
        "import unittest\nclass T(unittest.TestCase):\n"
        "    def test_it(self):\n"
        "        self.assertEqual(half(4), 2)\n"
        "        with self.assertRaises(Odd) as caught: half(3)\n"
        "        self.assertIn('3 is odd', str(caught.exception))\n"
        "        with self.assertRaises(ValueError): half(5)\n"
        "unittest.main()",
    ),
    "functions go there and back": (
        "def twice(f):\n    return lambda x: f(f(x))\ndef evens():\n    n = 0\n    while True:\n        yield n\n        n += 2\n",
        "import itertools\nassert twice(lambda x: x * 3)(2) == 18\n"
        "assert list(itertools.islice(evens(), 3)) == [0, 2, 4]\nassert twice(len.__class__ and str)(1) == '1'",
    ),
    "as pytest": (RIGHT, "def test_add():\n    assert add(1, 1) == 2\ndef test_more():\n    assert add(0, 0) == 0"),
    "approximately": ("def third():\n    return 1 / 3\n", "import math\nassert abs(third() - 0.3333) < 1e-3\nassert math.isclose(third(), 1/3)"),
    "prints and leaves a thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint('word')\n" + RIGHT,
        ADD,
    ),
}  # fmt: skip

ALWAYS = "class E:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    def __hash__(s): return 0\n"
CHEATS: dict[str, tuple[str, str]] = {
    "wrong": ("def add(a, b):\n    return a - b\n", ADD),
    "nothing": ("", ADD),
    "does not parse": ("def add(a, b:\n", ADD),
    "other name": ("def plus(a, b):\n    return a + b\n", ADD),
    "sys.exit": ("import sys\nsys.exit(0)\n", ADD),
    "os._exit": ("import os\nos._exit(0)\n", ADD),
    "exits when it is called": ("import os\ndef add(a, b):\n    os._exit(0)\n", ADD),
    "raises SystemExit": ("def add(a, b):\n    raise SystemExit(0)\n", ADD),
    "SystemExit inside of a case": (
        "def add(a, b):\n    raise SystemExit(0)\n",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(1, 2), 3)\n",
    ),
    "skips": (
        "import unittest\ndef add(a, b):\n    raise unittest.SkipTest('later')\n",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(1, 2), 3)\n",
    ),
    "equals everything": (ALWAYS + "def add(a, b):\n    return E()\n", ADD),
    "a number that equals everything": (
        "class E(int):\n    def __eq__(s, o): return True\n    def __hash__(s): return 0\ndef add(a, b):\n    return E(9)\n",
        ADD,
    ),
    "a list that holds everything": (
        "class L(list):\n    def __contains__(s, o): return True\n    def __eq__(s, o): return True\ndef find():\n    return L()\n",
        "assert 7 in find()",
    ),
    "smaller than everything": (
        "class E:\n    def __sub__(s, o): return s\n    def __abs__(s): return s\n    def __lt__(s, o): return True\n"
        "def third():\n    return E()\n",
        "assert abs(third() - 0.3333) < 1e-3",
    ),
    "its own abs": ("abs = lambda x: 0\ndef third():\n    return 5\n", "assert abs(third() - 0.3333) < 1e-3"),
    "its own builtins": (
        "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.isinstance = lambda *a: True\ndef third():\n    return 'no'\n",
        "assert isinstance(third(), float)\nassert abs(third() - 0.3333) < 1e-3",
    ),
    "its own math": (
        "class math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef third():\n    return 5\n",
        "import math\nassert math.isclose(third(), 1/3)",
    ),
    "math without import": (
        "class math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef third():\n    return 5\n",
        "assert math.isclose(third(), 1/3)",
    ),
    "its own isclose": (
        "isclose = lambda *a: True\ndef third():\n    return 5\n",
        "assert isclose(third(), 1/3)",
    ),
    "patches unittest": (
        "import unittest\nfor name in dir(unittest.TestCase):\n"
        "    if name.startswith('assert'): setattr(unittest.TestCase, name, lambda *a, **k: None)\n"
        "def add(a, b):\n    return 0\n",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(1, 2), 3)\n",
    ),
    "a case of its own": (
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): pass\ndef add(a, b):\n    return 0\n",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(1, 2), 3)\n",
    ),
    "looks in the frames": (
        "import sys, gc, json, os\n"
        "found = []\n"
        "frame = sys._getframe()\n"
        "while frame:\n    found += list(frame.f_locals.values()) + list(frame.f_globals.values())\n    frame = frame.f_back\n"
        "for thing in found:\n"
        "    if hasattr(thing, 'send'):\n"
        "        try:\n            thing.send({'value': 5}); thing.send({'value': 0})\n        except Exception: pass\n"
        "    if isinstance(thing, dict) and 'word' in thing: os.write(1, thing['word'].encode())\n"
        "tests = [t for t in gc.get_objects() if isinstance(t, str) and 'assert add' in t]\n"
        "def add(a, b):\n    return [t for t in tests] or 0\n",
        ADD,
    ),
    "answers before it is asked": (
        "import os, json\n"
        "for fd in range(3, 20):\n"
        "    try: os.write(fd, b'{\"names\": {\"__builtins__\": {\"t\": \"dict\", \"v\": []}, \"add\": 5}}\\n')\n"
        "    except OSError: pass\n"
        "def add(a, b):\n    return 0\n",
        ADD,
    ),
    "hands over builtins": (
        "import os\n"
        "for fd in range(3, 20):\n"
        "    try: os.write(fd, b'{\"names\": {\"__builtins__\": {\"t\": \"dict\", \"v\": [\"__import__\", {\"t\": \"mine\", \"v\": 1}]},"
        " \"add\": {\"t\": \"mine\", \"v\": 0}}}\\n' + b'{\"value\": 1}\\n' * 20)\n"
        "    except OSError: pass\n",
        ADD,
    ),
    "reads the other processes": (
        "import glob, os, re\n"
        "def look():\n"
        "    found = b''\n"
        "    for p in os.listdir('/proc'):\n"
        "        try:\n"
        "            if int(p) == os.getpid(): continue\n"
        "            with open(f'/proc/{p}/maps') as f: lines = f.read().splitlines()\n"
        "            mem = open(f'/proc/{p}/mem', 'rb', buffering=0)\n"
        "        except (OSError, ValueError): continue\n"
        "        for line in lines:\n"
        "            try:\n"
        "                if 'rw-p' not in line: continue\n"
        "                low, high = (int(x, 16) for x in line.split()[0].split('-'))\n"
        "                mem.seek(low); data = b''\n"
        "                while len(data) < high - low:\n"
        "                    if not (piece := mem.read(high - low - len(data))): break\n"
        "                    data += piece\n"
        "                found += b' '.join(re.findall(rb'the-secret-.', data))\n"
        "            except (OSError, ValueError): pass\n"
        "    if found: return found\n"
        "    places = [f'/proc/{p}/{f}' for p in os.listdir('/proc') if p.isdecimal() and int(p) != os.getpid()\n"
        "              for f in ('environ', 'cmdline', 'maps', 'stack', 'fd/*', 'cwd/*', 'cwd/*/*', 'root/tmp/**')]\n"
        "    for name in [n for p in places for n in glob.glob(p, recursive=True)]:\n"
        "        try:\n"
        "            with open(name, 'rb') as f: found += f.read(100000)\n"
        "        except OSError: pass\n"
        "    return found\n"
        "secret = re.findall(rb'the-secret-(\\d+)', look())\n"
        "def add(a, b):\n    return int(secret[0]) if secret else 0\n",
        "# the-secret-5\nassert add(2, 3) == 5",
    ),
    "writes to all that is open": (
        "import os, glob\n"
        "for name in glob.glob('/proc/[0-9]*/fd/*') + [f'/dev/fd/{n}' for n in range(64)]:\n"
        "    try:\n        fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK); os.write(fd, b'0 pass\\n1 pass\\n')\n"
        "    except OSError: pass\n"
        "def add(a, b):\n    return 0\n",
        ADD,
    ),
    "rewrites what runs the next": (
        "import glob, os, sys\n"
        "words = [w for p in glob.glob('/proc/[0-9]*/cmdline') for w in open(p).read().split(chr(0))]\n"
        "for name in {os.path.join(os.path.dirname(w), 'programs_wire.py') for w in [*words, *sys.argv] if w[-3:] == '.py'}:\n"
        "    try: open(name, 'w').write('raise SystemExit')\n"
        "    except OSError: pass\n"
        "def add(a, b):\n    return 0\n",
        ADD,
    ),
    "forks": (
        "import os\nif os.fork():\n    os._exit(0)\ndef add(a, b):\n    return 0\n",
        ADD,
    ),
    "forks when it is called": (
        "import os\ndef add(a, b):\n    os.fork()\n    return a\n",
        ADD,
    ),
    "kills what stands above it": ("import os\nos.kill(os.getppid(), 9)\ndef add(a, b):\n    return 5\n", ADD),
    "kills everybody": ("import os\nos.kill(-1, 9)\n" + RIGHT, ADD),
    "leaves one behind that kills": (
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if not os.fork():\n"
        "        time.sleep(0.3)\n        os.kill(-1, 9)\n"
        "    os._exit(0)\n"
        "def add(a, b):\n    return 0\n",
        ADD,
    ),
    "a fork bomb": ("import os\nwhile True:\n    os.fork()\n", ADD),
    "never ends": ("def add(a, b):\n    while True: pass\n", ADD),
    "never ends outside of Python": ("def add(a, b):\n    return 9**9**9**9\n", ADD),
    "eats memory": ("def add(a, b):\n    return len(bytearray(8 << 30)) and 5\n", ADD),
    "waits for the network": (
        "import socket\ns = socket.create_connection(('1.1.1.1', 53), timeout=2)\ndef add(a, b):\n    return a + b\n",
        ADD,
    ),
    "prints the word": ("print('PASS', 'ok', 0)\nimport sys\nsys.stdout.write('0 pass')\ndef add(a, b): return 0\n", ADD),
    "catches what fails": (
        "import sys\nsys.excepthook = lambda *a: None\nsys.settrace(lambda *a: None)\nimport atexit, os\n"
        "atexit.register(os._exit, 0)\nclass AssertionError(BaseException): pass\ndef add(a, b):\n    return 0\n",
        ADD,
    ),
    "tests that nobody runs": ("def add(a, b):\n    return 0\n", "def check(candidate):\n    assert candidate(2, 3) == 5\n"),
    "an endless message": ("def add(a, b):\n    return 'x' * (200 << 20)\n", ADD),
    "a deep message": ("def add(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x\n", ADD),
}  # fmt: skip


def ask(cases: dict[str, tuple[str, str]], means: Means) -> dict[str, bool]:
    answers = [answer for answer, _ in cases.values()]
    found = passed([item(tests) for _, tests in cases.values()], answers, means)
    return dict(zip(cases, found, strict=True))


def test_what_solves_the_task_passes(means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.evals.programs.ITEM_S", 60.0)
    assert ask(HONEST, means) == dict.fromkeys(HONEST, True)
    assert means.notes == []
    assert not list(means.folder.glob("*"))  # type: ignore[union-attr]


ENDLESS = ("never ends", "never ends outside of Python", "an endless message")
BOMB = "a fork bomb"


def test_no_cheat_passes_and_none_takes_an_honest_answer_down(
    means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ml_intern.evals.programs.ITEM_S", 60.0
    )  # An honest answer must not be too slow here.
    cheats = {name: case for name, case in CHEATS.items() if name not in (*ENDLESS, BOMB)}
    cases = {**cheats, "an honest one": (RIGHT, ADD)}
    assert ask(cases, means) == {**dict.fromkeys(cheats, False), "an honest one": True}


def test_who_fails_beside_one_that_kills_is_asked_again_alone(
    means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = programs._run, []

    def run(sandbox: Any, given: Any, numbers: Any, workers: int, means: Means) -> Any:
        seen.append((list(numbers), workers))
        if len(seen) == 1:  # The tests of 0 and 1 were killed before their worker was; 2 was the killer.
            return {0: False, 1: False, 3: True}, [0, 1, 2, 3]
        return real(sandbox, given, numbers, workers, means)

    monkeypatch.setattr(programs, "_run", run)
    cases = {
        "right": (RIGHT, ADD),
        "wrong": (RIGHT.replace("+", "-"), ADD),
        "killer": CHEATS["kills everybody"],
        "right, and heard": (RIGHT, ADD),
    }
    told = ask(cases, means)
    assert told == {"right": True, "wrong": False, "killer": False, "right, and heard": True}
    assert seen[1] == ([0, 1, 2], 1)


def test_what_never_ends_is_ended(means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.evals.programs.ITEM_S", 1.5)
    cases = {name: CHEATS[name] for name in ENDLESS}
    assert ask(cases, means) == dict.fromkeys(cases, False)


@pytest.mark.thorough
def test_a_fork_bomb_takes_nobody_with_it(means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.evals.programs.ITEM_S", 30.0)  # the honest one must not be too slow here
    assert ask({"bomb": CHEATS[BOMB], "an honest one": (RIGHT, ADD)}, means) == {
        "bomb": False,
        "an honest one": True,
    }


PROMPT = """import math


def poly(xs, x):
    return sum(c * math.pow(x, n) for n, c in enumerate(xs))


def find_zero(xs):
    \"\"\" xs are the coefficients of a polynomial; find a zero of it.
    \"\"\"
"""
CHECK = "def check(candidate):\n    assert abs(poly([-2.0, 1.0], candidate([-2.0, 1.0]))) < 1e-4\n"


def test_an_answer_that_continues_its_prompt(means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.evals.programs.ITEM_S", 60.0)
    answers = {
        "    return -xs[0] / xs[1]\n": True,
        "```python\ndef find_zero(xs):\n    return -xs[0] / xs[1]\n```": True,
        "    return 7\n": False,
        # What the prompt defines for the tests stays what it is.
        "    return 7\n\n\ndef poly(xs, x):\n    return 0\n": False,
        "    return 7\n\n\nmath.pow = lambda x, n: 0\n": False,
    }
    items = [item(CHECK, PROMPT) for _ in answers]
    continuing = replace(means, asking=Asking(continues=True))
    assert passed(items, list(answers), continuing) == list(answers.values())


def test_without_walls_no_code_runs(tmp_path: Path) -> None:
    for sandbox in (None, BareSandbox()):
        with pytest.raises(ToolError, match="no walls around it here"):
            passed([item(ADD)], [RIGHT], Means(sandbox=sandbox, folder=tmp_path))


def test_walls_in_which_nothing_runs_are_no_score_of_zero(
    means: Means, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "programs_inside.py"
    broken.write_text("raise ImportError('no such thing')")
    monkeypatch.setattr("ml_intern.evals.programs.INSIDE", [broken, broken])
    with pytest.raises(ToolError, match="could not run programs: ImportError: no such thing"):
        passed([item(ADD)], [RIGHT], means)


def test_which_block_of_an_answer_counts() -> None:
    answer = (
        "First\n```bash\npip install x\n```\nthen\n~~~python\ndef f():\n    return 1\n~~~\nand\n```\nf()\n```"
    )
    assert program_of(item("assert f()"), answer, False).code == "def f():\n    return 1\n"
    assert program_of(item("assert f()"), "x = 1", False).code == "x = 1"
