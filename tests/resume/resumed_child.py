"""A process that begins a scripted session, or goes on with it: `python resumed_child.py STATE`.

It has a brain that plays replies, tools whose work shows on the host, and a job. ``KILL_AT=12:before`` (or
``after``) ends it like a kill -9 at that line of the journal, counted in this process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ml_intern.brains.base import Brain, Ending, answer, role_of
from ml_intern.journal.journal import Journal
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

TOOLS = '''
import json
from pathlib import Path

from ml_intern import tool
from ml_intern.tooling import Price

RAN = Path({ran!r})


def lines():
    return [json.loads(line) for line in RAN.read_text().splitlines()] if RAN.exists() else []


def again(ctx, key):
    return next((line["told"] for line in lines() if line["key"] == key), None)


def work(ctx, what):
    with RAN.open("a") as file:
        file.write(json.dumps({{"key": ctx.key, "told": what}}) + "\\n")
    return what


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd), reconcile=again)
def rent(ctx, usd: float = 0.5) -> str:
    """Rent a machine."""
    return work(ctx, f"rented for {{usd}}")


@tool(effect="publish", reconcile=again)
def announce(ctx, repo: str, text: str) -> str:
    """Tell others."""
    return work(ctx, f"{{repo}}: {{text}}")


@tool(effect="write", reconcile=again)
def note(ctx, text: str) -> str:
    """Write it down."""
    return work(ctx, text)
'''

CELLS = (
    "total = 0\nplan(['rent', {'text': 'announce', 'status': 'doing'}])",
    "total += len(rent(0.5))\nprint(total)",
    "job = launch_script('import time\\ntime.sleep(0.3)\\nprint(\"trained\")', name='training')\nprint(job.id)",
    "open('log.txt', 'w').write('one line\\n')\ntotal += 1",
    None,
    "for n in range(3):\n    total += len(note(f'note {n}'))",
    "1 / 0",
    "status = wait_for_job(job.id)\nprint(status.state)",
    "print(announce('me/model', f'total {total}'))\nplan([{'text': 'announce', 'status': 'done'}])",
    "rent(0.25), rent(0.25)\ntotal += 2",
    'final_answer(f\'{total} {status.state} {open("log.txt").read().count("line")}\')',
)


class Scripted(Brain):
    """The reply of each step follows from how many there were, as with a model at temperature zero."""

    label = "scripted"
    cells: tuple[str | None, ...] = CELLS

    def generate(self, messages: list[Any], **_: Any) -> Any:
        step = sum(role_of(m) == "assistant" for m in messages)
        code = self.cells[step]
        text = "I think about it." if code is None else f"Step {step}.\n<cell>\n{code}\n</cell>"
        return answer(text, Ending("stop"), 10 * (step + 1), step + 5)

    def price(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens / 1000


class Fragile(Journal):
    """Ends the process before or after one of its lines."""

    def append(self, kind: str, payload: dict[str, Any], *, durable: bool = False) -> int:
        at, _, when = os.environ.get("KILL_AT", "0:after").partition(":")
        self.lines = getattr(self, "lines", 0) + 1
        due = self.lines == int(at)
        if due and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        number = super().append(kind, payload, durable=durable)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def main() -> None:
    """Run to the end; the last line of stdout is what came of it."""
    import ml_intern.session.session

    ml_intern.session.session.Journal = Fragile  # type: ignore[misc]
    state = Path(sys.argv[1])
    tools = state / "own_tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "own.py").write_text(TOOLS.format(ran=str(state / "ran.jsonl")))
    given = {"yes": ["compute", "publish"], "budget": "50 usd, 1h, 100k tokens, 5 jobs", "sandbox": "none"}
    settings = Settings.load(state=state, tools=[tools], **given)
    folder = next(iter(state.glob("sessions/*")), None)
    session = Session(settings, "do it", Scripted(), BareSandbox("a test"), None, folder=folder)
    notices = [event.text for event in session.run() if event.kind == "Notice"]  # type: ignore[attr-defined]
    result = session.result()
    spent = {unit: row["spent"] for unit, row in result.budget.items() if unit != "seconds"}
    told = {
        "answer": result.answer,
        "status": result.status,
        "steps": result.steps,
        "tokens": result.tokens,
        "spent": spent,
        "reserved": {unit: row["reserved"] for unit, row in result.budget.items()},
        "seconds": result.budget["seconds"]["spent"],
        "plan": session.services.notes.get("plan"),
        "jobs": [[job["name"], job["state"]] for job in result.jobs],
        "notices": notices,
    }
    session.close()
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
