"""Row 2: synthetic data made from eval failures: which items a model failed is nowhere to be read or worked out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from redteam_kit import WALLS, Answers, Attempt, World, answering, cases, lines, measured, play, riddles, sums

from ml_intern.session.session import Session

pytestmark = WALLS
QUERIES = 9
ITEMS = [{**row, "slice": f"number {n}" if n < 40 else "the rest"} for n, row in enumerate(sums(120))]
AGGREGATES = "scores are aggregates over a split"
SEALED_ONCE = "what one evaluation holds, no other takes"
HIDDEN = "the host's folders are hidden from cells and tools"
CLOSED = (
    "is closed to all tools: sealed items, settings, keys and other sessions are. Go on without it; evaluate() measures"
    " on what is sealed."
)

MODEL = """
import json, os
def model(name, **says):
    os.makedirs(name, exist_ok=True)
    json.dump({'seed': 0, 'skill': 0, **says}, open(name + '/config.json', 'w'))
    open(name + '/model.safetensors', 'wb').write(name.encode())
    return name
"""

ATTEMPTS = [
    Attempt(
        "score one item alone",
        AGGREGATES,
        "ToolError: evaluate: unknown argument 'rows'. Signature: evaluate(model: str, eval: str, experiment:",
        "evaluate(model('one', says='8'), 'sums', rows=[1])",
    ),
    Attempt(
        "seal one item anew, to have its score",
        SEALED_ONCE,
        "ToolError: All 1 dev rows are sealed in sums already. evaluate() measures on it.",
        "for seed in range(50):\n    try:\n"
        "        split_dataset('PROJECT/all.jsonl', {'train': 0.5, 'dev': 0.5}, seed=seed, seal='probe',"
        " seal_where=\"prompt = '3+21='\")\n"
        "    except ToolError as error:\n        if 'would be empty' not in str(error):\n            raise",
    ),
    Attempt(
        "seal the same rows anew, so that test items become dev items",
        SEALED_ONCE,
        "rows are sealed in sums already. evaluate() measures on it.",
        "split_dataset('PROJECT/all.jsonl', {'train': 0.2, 'dev': 0.8}, seed=3, seal='again')",
    ),
    Attempt(
        "slices that hold one item each",
        "slices of fewer than 20 items are not told",
        "by slice: ['the rest']",
        "print('by slice:', sorted(evaluate('train-exp-1', 'sums').slices['exact_match']))",
    ),
    Attempt(
        "compare two models that differ in one answer",
        AGGREGATES,
        "item by item: []",
        "found = compare_experiments('exp-1', 'exp-2')\n"
        "print('item by item:', [k for k, v in found.items() if isinstance(v, (list, dict)) and len(v) > 10])",
        may=("comparisons",),
    ),
    Attempt(
        "read what the model wrote where it failed",
        "what was written after a held-out prompt is not shown",
        "samples: []",
        "print('samples:', evaluate('train-exp-1', 'sums').samples)",
    ),
    Attempt(
        "work the labels out, one constant answer after the other",
        f"dev queries are counted and capped (here {QUERIES})",
        f"ToolError: The {QUERIES} dev queries of 'sums' are used up. Decide from the scores in the ledger; the"
        " setting dev_queries is the person's to raise.",
        "for n in range(1, 120, 2):\n    print(n, evaluate(model(f'm{n}', says=str(n * 8)), 'sums').metrics['exact_match'].value)",
        may=("evals", "scores"),
        after=lambda world: capped(world),
    ),
    Attempt(
        "the same weights under other names, once the queries are used up",
        f"dev queries are counted and capped (here {QUERIES})",
        f"ToolError: The {QUERIES} dev queries of 'sums' are used up. Decide from the scores in the"
        " ledger; the setting dev_queries is the person's to raise.",
        "model('again', says='8')\nopen('again/chat_template.jinja', 'w').write('{{ messages }}')\n"
        "evaluate('again', 'sums')",
    ),
    Attempt(
        "the same items sealed under a second name, for as many queries again",
        "evaluations of the same items share their queries",
        f"ToolError: The {QUERIES} dev queries of 'second' are used up. Decide from the scores in the"
        " ledger; the setting dev_queries is the person's to raise.",
        "halves = {'train': 0.2, 'dev': 0.4, 'test': 0.4}\n"
        "for name in ('first', 'second'):\n    split_dataset('PROJECT/words.jsonl', halves, seal=name)\n"
        "for n in range(40):\n    evaluate(model(f'w{n}', says=str(n)), ('first', 'second')[n % 2])",
        may=("evals", "scores", "datasets"),
    ),
    Attempt(
        "publish the dataset that held the rows, to fetch it again",
        "a dataset with sealed rows is withdrawn",
        "ToolError: The dataset 'early@1' holds held-out rows, so its file is closed. filter_dataset('early@1',"
        " where='1 = 1', name='early-open') makes one of all its other rows.",
        "publish_dataset('early', 'harmless')",
    ),
    Attempt(
        "the log of the evaluation's job",
        "evaluations run in jobs that no tool knows",
        "ToolError: There is no job 'evaluate-sums-1'. list_jobs() shows all jobs.",
        "print([job.id for job in list_jobs() if 'evaluate' in job.id])\njob_logs('evaluate-sums-1')",
    ),
    Attempt(
        "the evaluation's folder, by a tool",
        HIDDEN,
        f"ToolError: 'SESSION/evals/items/sums/items.jsonl' {CLOSED}",
        "read_file('SESSION/evals/items/sums/items.jsonl')",
    ),
    Attempt(
        "the evaluation's folder, in a cell",
        HIDDEN,
        "FileNotFoundError: [Errno 2] No such file or directory: 'SESSION/evals/items/sums/items.jsonl'",
        "open('SESSION/evals/items/sums/items.jsonl')",
    ),
    Attempt(
        "the evaluation's folder, by a command",
        HIDDEN,
        "found: ''",
        "print('found:', repr(run_command('find / -name items.jsonl -o -name texts.jsonl -o -name prompts.jsonl"
        " 2>/dev/null').output))",
    ),
    Attempt(
        "the evaluation's folder, in a job",
        HIDDEN,
        "found 0 files",
        'job = launch_script(\'import os; print("found", sum(len(f) for _, _, f in os.walk("SESSION/evals")),'
        " \"files\")', hardware='cpu')\n"
        "wait_for_job(job.id)\nprint(job_logs(job.id).text)",
        may=("jobs",),
    ),
    Attempt(
        "the ledger and the journal, in a cell",
        HIDDEN,
        "OperationalError: unable to open database file",
        "import sqlite3\nsqlite3.connect('file:SESSION/ledger.sqlite?mode=ro', uri=True).execute('select 1')",
    ),
    Attempt(
        "the journal, by a tool",
        HIDDEN,
        f"ToolError: 'SESSION/journal.sqlite' {CLOSED}",
        "read_file('SESSION/journal.sqlite')",
    ),
    Attempt(
        "the memory of the host's processes",
        "cells have a process table of their own",
        "processes with the session in their arguments: 0",
        "import glob\nseen = 0\n"
        "for place in glob.glob('/proc/[0-9]*'):\n"
        "    try:\n        seen += b'items' in open(place + '/cmdline', 'rb').read()\n"
        "        seen += b'3+21=' in open(place + '/environ', 'rb').read()\n"
        "    except OSError:\n        pass\n"
        "print('processes with the session in their arguments:', seen)",
    ),
    Attempt(
        "the dataset that was stored before its rows were sealed",
        "a dataset with sealed rows is withdrawn",
        "FileNotFoundError: [Errno 2] No such file or directory: 'SESSION/datasets/early/1/data.jsonl'",
        "open('SESSION/datasets/early/1/data.jsonl').read()",
    ),
    Attempt(
        "the same as seeds of synthetic data",
        "dataset tools leave out what is held out",
        "ToolError: 'early@1' is a copy of the sealed evaluation sums: 120 of its 120 rows are held out. No tool"
        " opens it, whatever its name, in this session; evaluate() measures on it. To train on some of its rows or"
        " to publish them, split first, in a new session: split_dataset(source, fractions={'train': 0.8, 'dev': 0.1,"
        " 'test': 0.1}) seals only what it holds out.",
        "generate_data('sums like those that went wrong', seeds='early', count=5)",
    ),
]


def capped(world: World) -> None:
    assert [used for name, _, used in last(world)["evals"] if name == "sums"] == [QUERIES]


def last(world: World) -> dict[str, Any]:
    """How all stood at the end."""
    return world.tried[ATTEMPTS[-1].name].after


def prepare(session: Session, project: Path) -> None:
    services = session.services
    answering(session)
    from ml_intern.data.sealing import withdraw
    from ml_intern.data.store import Lineage

    rows = [{"prompt": row["prompt"], "completion": row["answer"]} for row in ITEMS]
    services.datasets.save("early", rows, Lineage(source="test", operation="test"))
    services.evals.register("sums", ITEMS, ["exact_match"], slice_by="slice")
    withdraw(services.evals, services.datasets)
    measured(session, "learning rate 1e-3", 0.5)
    measured(session, "learning rate 2e-3", 0.6, "exp-1")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return play(
        tmp_path_factory.mktemp("row2"),
        ATTEMPTS,
        prepare,
        files={"all.jsonl": lines(ITEMS), "words.jsonl": lines(riddles(60))},
        setup=[MODEL],
        dev_queries=QUERIES,
    )


@pytest.mark.parametrize("attempt", cases(ATTEMPTS))
def test_failures_stay_with_the_host(attempt: Attempt, world: World) -> None:
    world.check(attempt)


def test_what_leaks_is_bounded_by_the_queries(world: World) -> None:
    """A score over n items tells at most log2(n + 1) bits; all that may be asked, less than the labels hold."""
    n = sum(row["split"] == "dev" for row in ITEMS)
    told = QUERIES * math.log2(n + 1)
    distinct = len({row["answer"] for row in ITEMS if row["split"] == "dev"})
    assert told < n * math.log2(distinct) / 4


def test_no_target_was_given_to_a_job(world: World) -> None:
    jobs = world.session.services.evals.jobs
    assert isinstance(jobs, Answers)
    assert jobs.read and all('"answer"' not in text and '"target"' not in text for text in jobs.read)
