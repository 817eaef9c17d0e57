"""Runs below a cell, in a real kernel: what is shown, asked, interrupted, and what stays for further words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from notebook_kernel import Kernel
from support.fixtures import scripted_server  # noqa: F401
from support.own_tools import write_tools

pytest.importorskip("ipykernel", reason="ipykernel is not installed")
manager = pytest.importorskip("jupyter_client.manager", reason="jupyter_client is not installed")

FORGET = """
try:
    said = forget('the old runs')
except ToolError as error:
    said = str(error)
final_answer(said)
"""


@pytest.fixture
def kernel(tmp_path: Path, own_state: Path) -> Iterator[Kernel]:
    started, client = manager.start_new_kernel(cwd=str(tmp_path), startup_timeout=120)
    try:
        yield Kernel(client, started.interrupt_kernel)
    finally:
        client.stop_channels()
        started.shutdown_kernel(now=True)


def test_a_run_shows_itself_and_stays_for_more_words(kernel: Kernel) -> None:
    """One kernel for all of it: a kernel takes seconds to start."""
    setup = 'from ml_intern import MLIntern\nagent = MLIntern("playbook:")'
    assert kernel.run(setup).outputs == []

    ran = kernel.run('agent.run("say hello to Ada")')
    assert ran.kinds == ["display_data"], "one output, also where the result is the value of the cell"
    assert "Hello, Ada!" in ran.html() and ">done</span>" in ran.html() and "<script" not in ran.html()
    assert any(">works</span>" in page and "say hello to Ada" in page for page in ran.pages)
    assert "Hello, Ada!" in ran.outputs[0]["data"]["text/plain"]

    again = kernel.run(
        'result = agent.tell("say hello to Bob")\nresult.status, result.steps, agent.last is result'
    )
    assert again.kinds == ["display_data", "execute_result"] and again.value == "('done', 4, True)"
    assert "Hello, Bob!" in again.html()
    assert kernel.run("result").kinds == ["display_data"], "in a later cell it is shown again"

    refused = kernel.run('agent.run("sing a song")')
    assert refused.kinds == ["error"] and refused.outputs[0]["text"].startswith(
        "UsageError: The playbook brain"
    )
    assert "Traceback" not in refused.outputs[0]["text"]

    quiet = kernel.run(
        'with MLIntern("playbook:", show=False) as silent:\n    told = silent.run("say hello to Cy").answer\ntold'
    )
    assert quiet.kinds == ["execute_result"] and quiet.value == "'Hello, Cy!'"

    inside = kernel.run(
        "import asyncio\n"
        "asyncio.get_running_loop()\n"
        'other = await asyncio.to_thread(agent.run, "say hello to Di")\n'
        "other.answer"
    )
    assert inside.value == "'Hello, Di!'"

    empty = kernel.run("result.experiments")
    assert empty.kinds == ["execute_result"] and "verdict" in empty.html()


@pytest.mark.thorough
def test_questions_and_interrupts_below_the_cell(
    kernel: Kernel,
    scripted_server: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    once = tmp_path / "slept"
    sleep = (
        f"from pathlib import Path\nif not Path({str(once)!r}).exists():\n    Path({str(once)!r}).touch()\n"
    )
    sleep += "    import time\n    time.sleep(600)"
    cells = ["x = 41\nfinal_answer('first')", FORGET, FORGET, "final_answer(x + 1)", sleep]
    cells += ["final_answer('went on')", FORGET, FORGET]
    server = scripted_server([f"Next.\n<cell>\n{code}\n</cell>" for code in cells])
    tools, was_run = write_tools(tmp_path)

    def forgotten() -> list[str]:
        return was_run.read_text().splitlines()

    given = f"'openai:x', base_url={server.url!r}, sandbox='none', tools=[{str(tools)!r}]"
    kernel.run(f"from ml_intern import MLIntern\nagent = MLIntern({given})\nagent.run('one')")

    asked = kernel.run("agent.tell('two').status", ["perhaps", 'e {"what": "<b>x</b>"}', "y"])
    assert len(asked.questions) == 3 and "cannot be undone" in asked.questions[0]
    assert "price free" in asked.questions[0] and "reaches" in asked.questions[0]
    assert asked.value == "'done'" and forgotten() == ["forget <b>x</b>"]
    page = next(page for page in asked.pages if ">asks</span>" in page)
    assert "the old runs" in page and "forget" in page
    assert all("<b>x</b>" not in page for page in asked.pages)

    refused = kernel.run("agent.tell('three').answer", ["n they are mine"])
    assert "they are mine" in refused.value and len(forgotten()) == 1

    assert kernel.run("agent.tell('four').answer").value == "'42'", "the variables of the first run are there"

    stopped = kernel.run("agent.tell('five').status", stop=once.exists)
    assert stopped.kinds == ["display_data", "execute_result"] and stopped.value == "'interrupted'"
    assert "agent.resume()" in stopped.html()

    assert kernel.run("agent.tell('go on').answer").value == "'went on'"

    left = kernel.run("agent.tell('seven').status", [None])
    assert left.value == "'interrupted'" and len(forgotten()) == 1

    alone = kernel.run(
        "agent = MLIntern(agent.settings.model, " + given.partition(", ")[2] + ")\nagent.run('eight').status",
        stdin=False,
    )
    assert alone.questions == [] and alone.value == "'denied'" and len(forgotten()) == 1
