"""A run against a provider: paid calls, a publication and a job, each leaving a line; and what must hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from provider import Provider

from ml_intern import MLIntern
from ml_intern.events import Event, Notice
from ml_intern.result import RunResult

TOOLS = '''
import json
import time
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
def slowly(ctx, what: str, seconds: float) -> str:
    """Take some time."""
    time.sleep(seconds)
    return work(ctx, what)
'''

CELLS = (
    "told = rent(0.5)\nprint('größer', told)",
    "told += announce('me/x', 'hello')\nopen('log.txt', 'a').write('line\\n')",
    "told += rent(0.25)",
    'final_answer(f\'{told} {open("log.txt").read().count("line")}\')',
)
ANSWER = "rented for 0.5me/x: hellorented for 0.25 1"
WORKS = 3
TOKENS = {"input": 40, "output": 20}
"""Of the run that nobody disturbs, as the provider counts them."""


def said(code: str) -> str:
    """A reply with a cell; not all of its letters are ASCII."""
    return f"Als Nächstes … 下一步.\n<cell>\n{code}\n</cell>"


def told_to(server: Provider, request: int) -> str:
    """The last message of a request: what the brain was told of the step before."""
    return str(server.asked[request]["messages"][-1]["content"])


TEXTS = [said(code) for code in CELLS]


class Run:
    """One state folder, one script of cells, runs and resumes."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.ran = folder / "ran.jsonl"
        tools = folder / "own_tools"
        tools.mkdir(parents=True)
        (tools / "own.py").write_text(TOOLS.format(ran=str(self.ran)))
        self.settings = {
            "state": folder / "state",
            "tools": [tools],
            "yes": ["compute", "publish"],
            "sandbox": "none",
            "budget": "5 usd, 1h, 100k tokens",
            "compute": "local",
            "connect_timeout_s": 60,
            **settings,
        }
        self.events: list[Event] = []

    def begin(self, provider: Provider, **settings: Any) -> RunResult:
        given = {"model": "openai:x", "base_url": provider.url, **self.settings, **settings}
        intern = MLIntern(**given)
        self.events = []
        for event in intern.stream("do it"):
            self.events.append(event)
        return intern.last

    def resume(self, **settings: Any) -> RunResult:
        return MLIntern(**{"state": self.settings["state"], **settings}).resume()

    @property
    def warnings(self) -> list[str]:
        return [e.text for e in self.events if isinstance(e, Notice) and e.level == "warning"]

    def keys(self) -> Counter[str]:
        lines = self.ran.read_text().splitlines() if self.ran.exists() else []
        return Counter(json.loads(line)["key"] for line in lines)

    def check_work(self, result: RunResult) -> None:
        """The run has come to its end, and everything was done once."""
        assert (result.status, result.exit_code, result.answer) == ("done", 0, ANSWER)
        assert len(self.keys()) == WORKS and max(self.keys().values()) == 1

    def check(self, result: RunResult) -> None:
        """The run has come to its end as if nothing had happened."""
        self.check_work(result)
        assert result.tokens == TOKENS and result.steps == len(CELLS)
        assert result.budget["tokens"]["spent"] == sum(TOKENS.values())
        assert result.budget["usd"]["spent"] == 0.75 and result.budget["usd"]["reserved"] == 0
