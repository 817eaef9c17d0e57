"""What a step costs beside the language model: ours against a bare smolagents `CodeAgent`, in one run.

The same scripted replies go to both. Ours runs the cells in a kernel of its own process, validates, journals
and emits events; the bare agent runs them in its own interpreter in the same process and keeps nothing.

`start_s` is imports and start-up until the first question to the model, `ms_per_step` the mean time from one
question to the next, `ms_at_start` and `ms_at_end` the median over the steps around a tenth of the run and
over the last ones, `end_by_start` their ratio, `peak_mb` the most memory that was resident in the agent's own
process, `sent_mchars` all characters sent, in millions, `prompt_chars` the mean length of a prompt,
`prompt_max` the longest, `prefix_share` how much of a prompt is, byte for byte, the beginning of the one
before it: what a provider's prompt cache can reuse. `--window` is the model's window in tokens; the bare
agent knows none.

    python benchmarks/step_overhead.py [--steps 10 50 200 500] [--window 32000] [--sandbox none]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CELL = "rows = [{{'step': {n}, 'loss': 2.0 / ({n} + 1)}} for _ in range(3)]\nfor row in rows:\n    print(row)"
LINES = "\nprint('metrics of the run, as a real cell prints them: ' + 'loss 1.234 ' * 40)"


def reply(n: int, steps: int, opening: str, closing: str) -> str:
    code = "final_answer('done')" if n == steps else CELL.format(n=n) + LINES
    return f"Step {n}: read the numbers and go on.\n{opening}\n{code}\n{closing}"


def characters(messages: list[Any]) -> int:
    total = 0
    for message in messages:
        content = message.content
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content or []]
        total += sum(map(len, parts))
    return total


def shared_prefix(before: str, now: str) -> float:
    """Share of `now` that is the beginning of `before`, too."""
    if now.startswith(before):
        return len(before) / len(now)
    low, high = 0, min(len(before), len(now))
    while low < high:  # the longest common beginning, by halving
        middle = (low + high + 1) // 2
        low, high = (middle, high) if before[:middle] == now[:middle] else (low, middle - 1)
    return low / len(now)


def whole(messages: list[Any]) -> str:
    return "\n".join(
        content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content or [])
        for content in (message.content for message in messages)
    )


def one(kind: str, steps: int, sandbox: str, window: int) -> dict[str, float]:
    sent: list[int] = []
    asked: list[float] = []
    left: list[float] = []
    shares: list[float] = []
    before = [""]

    def script(messages: list[Any], opening: str, closing: str) -> str:
        asked.append(time.perf_counter())
        sent.append(characters(messages))
        now = whole(messages)
        shares.append(shared_prefix(before[0], now))
        before[0] = now
        left.append(time.perf_counter())  # the figures above are this script's work, not the agent's
        return reply(len(sent), steps, opening, closing)

    began = time.perf_counter()
    run_ours(script, steps, sandbox, window) if kind == "ours" else run_bare(script, steps)
    gaps = [1000 * (then - now) for now, then in zip(left, asked[1:], strict=False)]
    around = max(3, steps // 20)
    early = statistics.median(gaps[max(0, steps // 10 - around) : steps // 10 + around])
    late = statistics.median(gaps[-2 * around :])
    return {
        "start_s": asked[0] - began,
        "ms_per_step": sum(gaps) / len(gaps),
        "ms_at_start": early,
        "ms_at_end": late,
        "end_by_start": late / early,
        "total_s": time.perf_counter() - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "sent_mchars": sum(sent) / 1e6,
        "prompt_chars": sum(sent) / steps,
        "prompt_max": max(sent),
        "prefix_share": sum(shares[1:]) / len(shares[1:]),
    }


def run_ours(script: Any, steps: int, sandbox: str, window: int) -> None:
    from ml_intern.brains.base import Brain, Ending, answer
    from ml_intern.sandbox.choose import choose_sandbox
    from ml_intern.session.session import Session
    from ml_intern.settings import Settings

    class Scripted(Brain):
        label = "scripted"
        context_tokens = window

        def generate(self, messages: list[Any], **given: Any) -> Any:
            if "stop_sequences" not in given:  # it is asked for a summary
                return answer("Done: the numbers of all steps were read.", Ending("stop"), 0, 0)
            return answer(script(messages, *self.tags), Ending("stop"), 0, 0)

    with tempfile.TemporaryDirectory() as state:
        settings = Settings.load(state=Path(state), sandbox=sandbox, max_steps=steps + 1)
        session = Session(settings, "count", Scripted(), choose_sandbox(sandbox, trusted=True), None)
        for _ in session.run():
            pass
        assert session.result().status == "done", session.errors
        session.close()


def run_bare(script: Any, steps: int) -> None:
    from smolagents import CodeAgent, LogLevel
    from smolagents.models import ChatMessage, MessageRole, Model
    from smolagents.monitoring import TokenUsage

    class Scripted(Model):
        def generate(self, messages: list[Any], **_: Any) -> ChatMessage:
            text = script(messages, "<code>", "</code>")
            return ChatMessage(role=MessageRole.ASSISTANT, content=text, token_usage=TokenUsage(0, 0))

    agent = CodeAgent(tools=[], model=Scripted(), max_steps=steps + 1, verbosity_level=LogLevel.OFF)
    assert agent.run("count") == "done"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 50, 200, 500])
    parser.add_argument("--window", type=int, default=128_000)
    parser.add_argument("--sandbox", default="none", choices=["none", "local"])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one[0], int(args.one[1]), args.sandbox, args.window)))
        return
    print(f"sandbox={args.sandbox} window={args.window}")
    print(f"{'steps':>5}  {'':13} {'ours':>10} {'bare':>10} {'ours/bare':>10}")
    for steps in args.steps:
        found = {kind: measure(kind, steps, args.sandbox, args.window) for kind in ("ours", "bare")}
        for name in found["ours"]:
            ours, bare = found["ours"][name], found["bare"][name]
            print(f"{steps:>5}  {name:13} {ours:>10.2f} {bare:>10.2f} {ours / bare:>10.2f}")


def measure(kind: str, steps: int, sandbox: str, window: int) -> dict[str, float]:
    """A process of its own for each, so that memory is its own too; imports count in both."""
    given = ["--sandbox", sandbox, "--window", str(window)]
    command = [sys.executable, __file__, *given, "--one", kind, str(steps)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
