"""A process that begins the long session, or goes on with it: `python long_child.py STATE`.

Forty steps and more through the real tools: a training, jobs, publications to the embedded Hub, calls that
cost money, questions to a person, summaries of a window that is too small. `KILL_AT` ends the process as kill
-9 does, at a place by name; see `Aim`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from long_cells import CELLS
from narrow import narrow
from resumed_child import TOOLS

from ml_intern.agent.view import text_of
from ml_intern.brains.base import Brain, Ending, answer
from ml_intern.events import ApprovalNeeded
from ml_intern.hub.client import Hub
from ml_intern.jobs.local import Jobs
from ml_intern.journal.journal import Journal
from ml_intern.router.approval import Answer
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

ROOM = 5_000
"""Characters of the window beside the system prompt."""
OUTPUT = 500
SUMMARY = (500, 50)
"""Tokens of a question for a summary and of its answer."""
THINKS_S = 0.15
"""So long a person looks at a question, and a brain at its steps: a kill has time to meet them there."""


class Aim:
    """Where `KILL_AT` says that the process ends: the first of several places that it comes to.

    ``result/publish_model:before`` is the moment before the first such line of the journal, of that tool
    where one is named; ``brain:after:7`` the moment after the seventh, ``line:after:7`` after any seven. ``mark/summary:after`` is the moment
    at which a mark was set: `summary`, `question`, `push`, `pushed`, `training`, `learning`, `job`, `waiting`.
    """

    def __init__(self, state: Path) -> None:
        self._left = {
            place: int((place + ":1").split(":")[2]) for place in os.environ.get("KILL_AT", "").split()
        }
        self._marks = state / "marks.jsonl"
        self._tools: dict[str, str] = {}

    def at(self, kind: str, tool: str, when: str) -> None:
        """Something is about to happen, or has happened."""
        for place in self._left:
            what, wanted, *_ = place.split(":")
            if what in (kind, f"{kind}/{tool}") and wanted == when:
                self._left[place] -= 1
                if self._left[place] == 0:
                    self._write(mark="killed", at=place)
                    os.kill(os.getpid(), signal.SIGKILL)

    def tool_of(self, kind: str, payload: dict[str, Any]) -> str:
        """The tool that a line of the journal is about: only some of them name it."""
        call = str(payload.get("call", ""))
        if tool := payload.get("tool"):
            self._tools[call] = str(tool)
        return self._tools.get(call, "") if kind != "compaction" else str(payload["how"])

    def mark(self, name: str, **more: Any) -> None:
        """Write down that something has happened, then perhaps end."""
        self._write(mark=name, **more)
        self.at("mark", name, "after")

    def _write(self, **line: Any) -> None:
        with self._marks.open("a") as file:
            file.write(json.dumps(line) + "\n")

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Something that lasts: marked at both ends."""
        self.mark(name)
        yield
        self.mark(f"{name} over")


class Researcher(Brain):
    """Says the cell of the step that comes next; a summary where it is asked for one."""

    label = "scripted"

    def __init__(self, aim: Aim) -> None:
        super().__init__()
        self._aim = aim

    def generate(self, messages: list[Any], **given: Any) -> Any:
        if "stop_sequences" not in given:
            with self._aim.during("summary"):
                time.sleep(THINKS_S)
            return answer("What was done: see the plan.", Ending("stop"), *SUMMARY)
        seen = re.findall(r"^Observation of step (\d+):", text_of(messages[-1]), re.M)
        step = int(seen[-1]) if seen else 0
        code = CELLS[step]
        text = "I think about it." if code is None else f"Step {step + 1}.\n<cell>\n{code}\n</cell>"
        return answer(text, Ending("stop"), 10 * (step + 1), step + 5)

    def price(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens / 1000


def watched(state: Path, aim: Aim) -> Callable[[ApprovalNeeded], Answer]:
    """A person who says yes, to the second announcement for good."""

    def ask(question: ApprovalNeeded) -> Answer:
        line = {"call": question.call, "tool": question.tool, "repo": question.arguments.get("repo")}
        with (state / "asked.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        with aim.during("question"):
            time.sleep(THINKS_S)
        return Answer(True, always=question.arguments.get("repo") == "me/second")

    return ask


def wire(aim: Aim) -> None:
    """Let journal, pushes, jobs and waiting say where they are."""
    import ml_intern.session.session

    class Told(Journal):
        def append(self, kind: str, payload: dict[str, Any], *, durable: bool = False) -> int:
            tool = aim.tool_of(kind, payload)
            for name in ("line", kind):
                aim.at(name, tool, "before")
            number = super().append(kind, payload, durable=durable)
            for name in ("line", kind):
                aim.at(name, tool, "after")
            return number

    publish, wait = Hub.publish_folder, Jobs.wait

    def pushing(hub: Hub, folder: Path, repo: str, *more: Any, **named: Any) -> Any:
        from huggingface_hub import HfApi

        send = HfApi.create_commit

        def commit(api: HfApi, *args: Any, **words: Any) -> Any:
            aim.mark("push", repo=repo)
            done = send(api, *args, **words)
            aim.mark("pushed", repo=repo)
            return done

        HfApi.create_commit = commit  # type: ignore[method-assign]
        try:
            return publish(hub, folder, repo, *more, **named)
        finally:
            HfApi.create_commit = send  # type: ignore[method-assign]

    def waiting(jobs: Jobs, *args: Any, **named: Any) -> Any:
        aim.at("mark", "waiting", "after")
        return wait(jobs, *args, **named)

    ml_intern.session.session.Journal = Told  # type: ignore[misc]
    Hub.publish_folder = pushing  # type: ignore[method-assign]
    Jobs.wait = waiting  # type: ignore[method-assign]


def look_after_jobs(state: Path, aim: Aim) -> None:
    """Say that a job runs, or that the training learns: from outside, as a person would see it."""

    def look() -> None:
        while True:
            for path in state.glob("sessions/*/jobs/[!.]*/status.json"):
                if json.loads(path.read_text())["state"] == "running":
                    training = path.parent.name.startswith("tiny")
                    measured = path.with_name("metrics.jsonl").stat().st_size > 0
                    aim.at("mark", "training" if training else "job", "after")
                    aim.at("mark", "learning" if training and measured else "", "after")
            time.sleep(0.01)

    threading.Thread(target=look, daemon=True).start()


def main() -> None:
    """Run to the end; the last line of stdout is what came of it."""
    state = Path(sys.argv[1])
    aim = Aim(state)
    aim.mark("begin")
    wire(aim)
    look_after_jobs(state, aim)
    tools = state / "own_tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "own.py").write_text(TOOLS.format(ran=str(state / "ran.jsonl")))
    settings = Settings.load(
        state=state,
        tools=[tools],
        budget="50 usd, 1h, 100k tokens, 9 jobs",
        sandbox=os.environ.get("RESUME_SANDBOX", "none"),
        hub="embedded",
        recent_steps=4,
        max_output_tokens=OUTPUT,
    )
    folder = next(iter(state.glob("sessions/*")), None)
    brain = Researcher(aim)
    narrow(brain, ROOM, OUTPUT)
    session = Session(settings, "do it", brain, sandbox(settings), watched(state, aim), folder=folder)
    notices = [event.text for event in session.run() if event.kind == "Notice"]  # type: ignore[attr-defined]
    told = came_of(session) | {"notices": notices}
    session.close()
    aim.mark("end")
    print(json.dumps(told), flush=True)


def sandbox(settings: Settings) -> Any:
    """Bare, or the walls that `RESUME_SANDBOX` names."""
    from ml_intern.sandbox.choose import choose_sandbox

    if settings.sandbox == "none":
        return BareSandbox("a test")
    return choose_sandbox(settings.sandbox, trusted=False, settings=settings)


def came_of(session: Session) -> dict[str, Any]:
    """What a run leaves behind, in the words in which two runs are compared."""
    result = session.result()
    return {
        "answer": result.answer,
        "status": result.status,
        "errors": result.errors,
        "steps": result.steps,
        "tokens": result.tokens,
        "spent": {unit: row["spent"] for unit, row in result.budget.items() if unit != "seconds"},
        "reserved": {unit: row["reserved"] for unit, row in result.budget.items()},
        "plan": session.services.notes.get("plan"),
        "jobs": [[job["name"], job["state"]] for job in result.jobs],
        "published": [[row["repo"], row["type"]] for row in result.published],
        "experiments": [
            [row.id, row.verdict, row.jobs, [p.repo for p in row.published]]
            for row in session.services.ledger.list()
        ],
    }


if __name__ == "__main__":
    main()
