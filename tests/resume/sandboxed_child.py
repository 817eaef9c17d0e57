"""A scripted session in a sandbox of a kind: `python sandboxed_child.py STATE KIND`; it goes on if it was begun.

It is killed with -9 once, by its brain after ``DIE_IN_STEP`` cells, or by the tool ``die`` in the middle of a cell.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from resumed_child import Scripted

from ml_intern.claims.answers import MARK
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

TOOLS = '''
import os
import signal
from pathlib import Path

from ml_intern import tool


@tool(effect="read")
def die(ctx) -> str:
    """Kill the host once."""
    there = Path({died!r}).exists()
    Path({died!r}).touch()
    if not there:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@tool(effect="read")
def first(ctx, now: int) -> bool:
    """Whether nobody has died yet."""
    return not Path({died!r}).exists()
'''

BEAT = "while true; do echo beat >> beat.txt; sleep 0.02; done"
CELLS = (
    "import time\nborn = time.time_ns()\nopen('log.txt', 'a').write('one line\\n')\nprint(born)",
    "job = launch_script('import time\\ntime.sleep(1.5)\\nprint(\"trained\")', name='training')\nn = 1",
    "open('log.txt', 'a').write('another line\\n')\nwrite_file('kept.txt', 'a line of a tool')\n"
    f"import subprocess\nif first(time.time_ns()):\n    subprocess.Popen(['sh', '-c', {BEAT!r}])\nprint(die())\nn += 1",
    "def size():\n    return os.path.getsize('beat.txt') if os.path.exists('beat.txt') else 0\n"
    "import os\nbefore = size()\ntime.sleep(0.5)\nstill = size() == before",
    "status = wait_for_job(job.id)",
    "lines = sum(open(name).read().count('line') for name in ('log.txt', 'kept.txt'))",
    "final_answer(f'{n} {still} {status.state} {lines} {born}')",
)


class Mortal(Scripted):
    """Kills its process once, in a step."""

    cells = CELLS

    def __init__(self, state: Path) -> None:
        super().__init__()
        self._died = state / "died"

    def generate(self, messages: list[Any], **given: Any) -> Any:
        said = super().generate(messages, **given)
        if f"Step {os.environ.get('DIE_IN_STEP', '')}." in str(said.content) and not self._died.exists():
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return said


def main() -> None:
    """Run to the end; the last line of stdout is what came of it."""
    state, kind = Path(sys.argv[1]), sys.argv[2]
    tools = state / "own_tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "own.py").write_text(TOOLS.format(died=str(state / "died")))
    image = {"docker_image": os.environ["IMAGE"]} if kind == "docker" else {}
    given = {"tools": [tools], "yes": ["compute"], "sandbox": kind, **image}
    # Its answer is figures that the test reads, which nobody measured.
    settings = Settings.load(state=state, answer_checks=0, **given)
    sandbox = choose_sandbox(kind, trusted=False, settings=settings)
    folder = next(iter(state.glob("sessions/*")), None)
    session = Session(settings, "do it", Mortal(state), sandbox, None, folder=folder)
    notices = [event.text for event in session.run() if event.kind == "Notice"]  # type: ignore[attr-defined]
    result = session.result()
    jobs = [[job["name"], job["state"]] for job in result.jobs]
    answer = result.answer.replace(MARK, "")
    told = {"answer": answer, "status": result.status, "errors": result.errors, "jobs": jobs}
    cells = session.agent.python_executor.recorded.cells
    told |= {"notices": notices, "first": cells[1].observation if 1 in cells else ""}
    session.close()
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
