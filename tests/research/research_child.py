"""A process that begins a session with sub-agents, or goes on with it: `python research_child.py STATE`.

``KILL_AT=12:before`` (or ``after``) ends it like a kill -9 at that line of the journal, counted in this
process. Its last line on stdout says what came of the run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from research_kit import Talks, lines
from resume.resumed_child import Fragile

import ml_intern.session.session
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

TOOLS = '''
import json
from pathlib import Path

from ml_intern import tool

SEEN = Path({seen!r})


@tool(effect="read")
def look_up(ctx, word: str) -> str:
    """Look a word up."""
    with SEEN.open("a") as file:
        file.write(ctx.key + "\\n")
    return word.upper()
'''

MAIN = (
    "parts = research_many(['<a> one', '<b> two', '<a> one'], context='all of it')",
    "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(3) as pool:\n"
    "    more = list(pool.map(research, ['<b> x', '<b> x', '<c> y']))",
    "final_answer('|'.join(part.answer for part in [*parts, *more]))",
)
A = (
    "said = [look_up(w) for w in ('ann', 'bob')]\nopen('log', 'a').write('a')",
    "said += [look_up('ann')]\nopen('log', 'a').write('b')",
    "final_answer(' '.join(said) + open('log').read())",
)
B = (
    "n = len(look_up('cid'))",
    "try:\n    look_up(wrd='x')\nexcept ToolError:\n    n += 1",
    "final_answer(str(n))",
)
C = ("x = 1", "import os\nos._exit(1)", "final_answer('c')")


def main() -> None:
    """Run to the end, and tell what came of it."""
    ml_intern.session.session.Journal = Fragile  # type: ignore[misc]
    state = Path(sys.argv[1])
    tools = state / "own_tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "own.py").write_text(TOOLS.format(seen=str(state / "seen.txt")))
    settings = Settings.load(
        state=state, tools=[tools], budget="50 usd, 1h, 100k tokens", research_parallel=3
    )
    folder = next(iter(state.glob("sessions/*")), None)
    brain = Talks(MAIN, a=A, b=B, c=C)
    session = Session(settings, "do it", brain, BareSandbox("a test"), None, folder=folder)
    for _ in session.run():
        pass
    result = session.result()
    spent = {unit: row["spent"] for unit, row in result.budget.items() if unit != "seconds"}
    session.close()
    said = sorted(f"{line.get('source', '')} {line['step']}" for line in lines(session, "brain"))
    ended = sorted(line["finding"]["research"] for line in lines(session, "research_done"))
    told = {"answer": result.answer, "status": result.status, "steps": result.steps, "tokens": result.tokens}
    print(
        json.dumps({**told, "spent": spent, "said": said, "ended": ended, "errors": result.errors}),
        flush=True,
    )


if __name__ == "__main__":
    main()
