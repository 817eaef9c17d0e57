"""What a cell can do, in a kernel with walls and in one without."""

from __future__ import annotations

import json

import pytest

from ml_intern.sandbox.host import KernelHost


def test_state_persists_and_the_last_expression_is_shown(kernel: KernelHost) -> None:
    first = kernel.run("x = [1, 2]\nprint('made')")
    second = kernel.run("x.append(3)\nx")
    assert first.ok and first.output == "made\n" and first.value == ""
    assert second.value == "[1, 2, 3]" and second.output == ""


def test_digest_tells_new_changed_and_deleted_variables(kernel: KernelHost) -> None:
    made = kernel.run(
        "class Table:\n    shape = (100, 3)\nn, text, df = 5, 'abc', Table()\nimport os\n_hidden = 1"
    )
    assert made.variables == {"Table": "class", "n": "int 5", "text": "str[3] 'abc'", "df": "Table(100, 3)"}
    assert kernel.run("n = 6").variables == {"n": "int 6"}
    assert kernel.run("del text").variables == {"text": ""}
    assert kernel.run("pass").variables == {}


def test_traceback_has_the_cells_own_lines_only(kernel: KernelHost) -> None:
    kernel.run("def inner(text):\n    import json\n    return json.loads(text)")
    failed = kernel.run("value = '{'\ninner(value)")
    assert not failed.ok
    assert "inner(value)" in failed.error and "return json.loads(text)" in failed.error
    assert "decoder.py" not in failed.error and "kernel.py" not in failed.error
    assert failed.error.splitlines()[-1].startswith("json.decoder.JSONDecodeError")


def test_syntax_error_shows_the_line(kernel: KernelHost) -> None:
    failed = kernel.run("x = 1\nif x = 2:\n    pass")
    assert not failed.ok and "if x = 2:" in failed.error and "SyntaxError" in failed.error


def test_a_cause_in_the_cell_is_kept_and_one_in_a_library_is_not(kernel: KernelHost) -> None:
    failed = kernel.run("try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('no a') from e")
    assert "KeyError: 'a'" in failed.error and "ValueError: no a" in failed.error
    failed = kernel.run("import enum\nclass E(enum.Enum):\n    A = 1\nE('nothing')")
    assert failed.error.splitlines()[-1] == "ValueError: 'nothing' is not a valid E"


@pytest.mark.parametrize(
    "code",
    [
        "final_answer('done')",
        "try:\n    final_answer('done')\nexcept:\n    print('swallowed')\nprint('went on')",
        "try:\n    final_answer('done')\nexcept BaseException as e:\n    print('caught')\nprint('went on')",
        "for _ in 'abc':\n    try:\n        final_answer('done')\n    except BaseException:\n"
        "        continue\n"
        "print('went on')",
        "def f():\n    try:\n        final_answer('done')\n    except (KeyError, BaseException):\n"
        "        pass\n"
        "f()\nprint('went on')",
        "import asyncio\nasync def f():\n    final_answer('done')\nawait f()\nprint('went on')",
    ],
)
def test_final_answer_ends_the_cell(kernel: KernelHost, code: str) -> None:
    result = kernel.run(code)
    assert result.final and result.ok and result.answer == "done"
    assert result.output == "" and result.error == ""


@pytest.mark.parametrize(
    "code",
    [
        "import contextlib\nwith contextlib.suppress(BaseException):\n    final_answer('first')\n"
        "final_answer('second')",
        "def f():\n    try:\n        final_answer('first')\n    finally:\n        return 1\nf()\n1 / 0",
        "import threading\nt = threading.Thread(target=final_answer, args=('first',))\nt.start()\nt.join()",
    ],
)
def test_final_answer_counts_where_nothing_can_stop_the_swallowing(kernel: KernelHost, code: str) -> None:
    result = kernel.run(code)
    assert result.final and result.ok and result.answer == "first" and result.output == ""


def test_final_answers_are_text(kernel: KernelHost) -> None:
    assert json.loads(kernel.run("final_answer({'a': [1, (2, 3)]})").answer) == {"a": [1, [2, 3]]}
    assert kernel.run("final_answer(3.5)").answer == "3.5"
    assert kernel.run("final_answer()").answer == "None"
    assert not kernel.run("1").final


def test_final_answer_is_there_again_after_it_was_overwritten(kernel: KernelHost) -> None:
    kernel.run("final_answer = 3")
    assert kernel.run("final_answer('yes')").answer == "yes"


def test_exit_ends_the_cell_and_not_the_kernel(kernel: KernelHost) -> None:
    kernel.run("x = 1")
    assert kernel.run("import sys\nsys.exit()").ok
    assert kernel.run("sys.exit('bad')").error == "SystemExit: bad"
    assert kernel.run("x").value == "1"


def test_top_level_await_works(kernel: KernelHost) -> None:
    assert kernel.run("import asyncio\nawait asyncio.sleep(0, 'slept')").value == "'slept'"


def test_a_repr_that_raises_is_told(kernel: KernelHost) -> None:
    result = kernel.run("class Odd:\n    def __repr__(self):\n        raise RuntimeError\nOdd()")
    assert result.ok and result.value == "<Odd whose repr raises RuntimeError>"


def test_a_cell_reads_no_input(kernel: KernelHost) -> None:
    assert "EOFError" in kernel.run("input('name? ')").error


def test_classes_of_cells_pickle(kernel: KernelHost) -> None:
    code = "import pickle\nclass P:\n    n = 3\nvalues = P(), add(1).parts[0]\n"
    code += "[pickle.loads(pickle.dumps(v)).n for v in values]"
    assert kernel.run(code).value == "[3, 7]"


def test_a_file_of_the_workspace_shadows_no_library(kernel: KernelHost) -> None:
    kernel.run("open('random.py', 'w').write('raise SystemError')\nopen('mine.py', 'w').write('n = 4')")
    assert kernel.run("import random, mine\nrandom.Random(0).randint(0, 0) + mine.n").value == "4"


def test_a_forked_child_that_comes_back_does_not_speak_for_the_kernel(kernel: KernelHost) -> None:
    result = kernel.run(
        "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\n"
        "x = 'child' if pid == 0 else 'parent'\nx"
    )
    assert result.value == "'parent'"
    assert kernel.run("x").value == "'parent'" and kernel.dropped == 0
