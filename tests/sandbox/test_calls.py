"""Calls from cells to the host's tools."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

from ml_intern.sandbox.host import KernelHost
from ml_intern.sandbox.kernel import Result, print_briefly


def test_results_are_dicts_with_attributes_at_every_depth(kernel: KernelHost) -> None:
    assert (
        kernel.run("r = add(2, b=3)\nr.sum, r['sum'], r.parts[0].n, isinstance(r, dict)").value
        == "(5, 5, 7, True)"
    )
    assert "no field 'total'; there are: sum, parts" in kernel.run("r.total").error


def test_a_failed_call_raises_tool_error_with_message_and_hint(kernel: KernelHost) -> None:
    result = kernel.run(
        "try:\n    add(1, c=2)\nexcept ToolError as e:\n    print(e.message, '|', e.hint, '|', e)"
    )
    assert (
        result.output == "unknown argument 'c', did you mean 'b'? | Use b."
        " | unknown argument 'c', did you mean 'b'? Use b.\n"
    )
    error = kernel.run("add(1, c=2)").error
    assert (
        error.endswith("ToolError: unknown argument 'c', did you mean 'b'? Use b.")
        and "kernel.py" not in error
    )


def test_proxies_are_real_functions(kernel: KernelHost) -> None:
    code = "import inspect\nprint(inspect.signature(add), add.__name__, add.__doc__)"
    assert kernel.run(code).output == "(a: 'Any', b: 'Any' = 1) add Help of add.\n"
    assert "Help of add." in kernel.run("help(add)").output


def test_arguments_that_fit_no_signature(kernel: KernelHost) -> None:
    assert "add takes 2 arguments, not 3" in kernel.run("add(1, 2, 3)").error
    assert "add got 'a' twice" in kernel.run("add(1, a=2)").error


def test_arguments_become_plain_values(kernel: KernelHost) -> None:
    code = """
import dataclasses, pathlib
@dataclasses.dataclass
class Point:
    x: int
    y: set
class Array:
    def tolist(self): return [1, 2]
class Frame:
    def to_dict(self, orient): return [{"orient": orient}]
echo([pathlib.Path("/a"), Point(1, {2}), Array(), Frame(), (1, 2)])
"""
    assert kernel.run(code).value == "['/a', {'x': 1, 'y': [2]}, [1, 2], [{'orient': 'records'}], [1, 2]]"


def test_an_argument_that_cannot_be_sent_is_an_error_of_the_cell(kernel: KernelHost) -> None:
    assert "echo: an argument cannot be sent: object is no plain value" in kernel.run("echo(object())").error
    assert "do not fit into one frame" in kernel.run("echo('x' * (9 << 20))").error
    assert kernel.run("len(echo('x' * (7 << 20)))").value == str(7 << 20)


def test_threads_call_in_parallel(kernel: KernelHost) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda n: echo(n) if meet(n) is None else None, range(4))))
"""
    assert kernel.run(code).output == "[0, 1, 2, 3]\n"


def test_many_calls_each_get_their_own_reply(kernel: KernelHost) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(16) as pool:
    print(list(pool.map(echo, range(500))) == list(range(500)))
"""
    assert kernel.run(code).output == "True\n"


def test_a_bug_in_a_tool_does_not_hang_the_cell(kernel: KernelHost) -> None:
    kernel.set_tools([{"name": "broken", "parameters": [], "doc": "", "signature": "broken()"}])
    assert "ToolError: broken failed inside: RuntimeError: a bug" in kernel.run("broken()").error


def test_the_tools_can_change(kernel: KernelHost) -> None:
    kernel.run("nap = 'my own'")
    kernel.set_tools([{"name": "fresh", "parameters": [], "doc": "", "signature": "fresh()"}])
    assert kernel.run("fresh()").ok
    assert "NameError" in kernel.run("add(1)").error
    assert kernel.run("nap").value == "'my own'"


def test_a_child_process_cannot_call(kernel: KernelHost) -> None:
    code = """
import os
if os.fork() == 0:
    try:
        echo(1)
    except ToolError as e:
        print(e.message)
    os._exit(0)
os.wait() and None
"""
    assert kernel.run(code).output == "echo was called from a child process.\n"


def test_a_thread_that_outlives_its_cell_cannot_call(kernel: KernelHost) -> None:
    kernel.run("""
import threading
import os, time
def later():
    while not os.path.exists('ended'):
        time.sleep(0.02)
    try:
        echo(1)
    except ToolError as e:
        told.append(e.message)
    open('told', 'w').close()
told = []
thread = threading.Thread(target=later)
thread.start()
""")
    workspace = Path(kernel.mounts.workspace)
    (workspace / "ended").touch()
    for _ in range(1000):
        if (workspace / "told").exists():
            break
        time.sleep(0.05)
    assert kernel.run("thread.join(60)\ntold").value == "['echo was called while no cell runs.']"


def test_what_only_repeats_is_not_printed_and_can_be_read(kernel: KernelHost) -> None:
    # The very functions of the kernel; that a tool's proxy uses them is seen over MCP and in whole runs.
    found = Result(id="exp-1", config=Result(rate=0.1), notes="", jobs=[], parent=None, seed=0, done=False)
    print_briefly([found], ["config"])
    assert repr(found) == "{'id': 'exp-1', 'seed': 0, 'done': False, 'not_shown': ['config']}" == str(found)
    assert found.config.rate == 0.1 and found.notes == "" and "not_shown" not in found
    assert json.loads(json.dumps(found)) == found and pickle.loads(pickle.dumps(found)) == found
    assert repr(Result(notes="")) == "{'notes': ''}"
    told = "With 200 items nobody can tell so small a difference from nothing. " * 2
    both = print_briefly(Result(dev=Result(says=told, n=1), test=Result(says=told, n=2)), ["n"])
    assert repr(both).count("With 200 items") == 2 and "'says': 'as above'" in repr(both)
    proxied = kernel.run("r = add(2, b=3)\nprint(r)").output
    assert proxied == "{'sum': 5, 'parts': [{'n': 7}]}\n"


def test_the_nearest_tool_is_named(kernel: KernelHost) -> None:
    assert kernel.run("adds(1)").error.endswith("Did you mean add(...)?")
    assert "Did you mean help('echo')" in kernel.run("help('ecoh')").output
    assert "Did you mean help('others')" in kernel.run("help('other')").output
    assert "Did you mean" not in kernel.run("help('lenn')").output
    assert (
        "NAME" in kernel.run("help('json')").output
        and "Did you mean" not in kernel.run("nothing_like_it").error
    )
    # A word that a tool's name has is enough, and a group is told with its tools.
    assert kernel.run("please_echo(1)").error.endswith("Did you mean echo(...)?")
    assert "The tools of others: echo, add, nap, meet" in kernel.run("others").error
