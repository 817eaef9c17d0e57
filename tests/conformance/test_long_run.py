"""A run of one sentence and very many steps under a small window; the variable asks for the full thousand."""

from __future__ import annotations

import itertools
import os
import sys
import tracemalloc
from pathlib import Path

from support.scripted_runs import cell, play

from ml_intern.journal.reading import JOURNAL, whole

STEPS = int(os.environ.get("LONG_RUN_STEPS", "200"))
WINDOW = 32_000
TASK = "train the smallest model that counts, and never touch exam.jsonl"


def reply(n: int) -> str:
    """A step that says something new, now and then with an error, no cell, or a plan."""
    if n == 2:
        return cell(
            "plan([{'text': 'count to the end', 'status': 'doing'}])\ne = start_experiment('more', 'rows')"
        )
    if n == STEPS:
        return cell("plan([{'text': 'count to the end', 'status': 'done'}])\nfinal_answer(f'{total} steps')")
    if n % 50 == 7:
        return f"I think about step {n}."
    if n % 50 == 9:
        return cell(f"open('missing-{n}.txt')")
    return cell(f"total = {n}\nprint('step {n}:', ' '.join(f'loss {{i / {n}:.3f}}' for i in range(100)))")


def test_a_long_run_ends_with_its_task_and_facts_in_sight(tmp_path: Path) -> None:
    """It finishes; the task, the system prompt and the pinned facts stand in the last prompt; memory is bounded."""
    sizes: dict[int, int] = {}

    def count(n: int) -> str:
        if n % 50 == 0:
            sizes[n] = tracemalloc.get_traced_memory()[0]
        return reply(n)

    tracemalloc.start()
    try:
        played = play(count, tmp_path, TASK, WINDOW, max_steps=STEPS + 1)
    finally:
        tracemalloc.stop()
    result, prompts = played.result, played.brain.prompts
    assert (result.status, result.answer) == ("done", f"{STEPS - 1} steps"), result.errors
    assert len(prompts) == STEPS

    limit = (WINDOW - played.session.settings.max_output_tokens) * 3.5
    system = prompts[0][: prompts[0].index("\nuser: Task:")]
    last = prompts[-1]
    assert last.startswith(system) and f"Task:\n{TASK}" in last
    assert "count to the end (doing)" in last and f"step {STEPS - 1}:" in last and "Summary" in last
    assert max(map(len, prompts)) <= limit + 5000  # the double writes the roles between the messages

    memory = played.session.agent.memory.steps
    assert len(memory) < 150 and len(played.session.agent.view._messages) <= len(memory)
    assert all(getattr(step, "model_input_messages", None) is None for step in memory)
    # The prompts that the double keeps are not the agent's: they are counted out.
    own = [size - sum(map(sys.getsizeof, prompts[:n])) for n, size in sizes.items()]
    assert own[-1] - own[1] < 10 * 2**20

    compactions = [e for e in whole(played.session.folder / JOURNAL) if e.kind == "compaction"]
    assert 1 <= len(compactions) < STEPS / 10
    kept = sum(now.startswith(before) for before, now in itertools.pairwise(prompts))
    assert kept >= STEPS - 1 - len(compactions)
