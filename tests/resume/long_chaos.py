"""The long session: how it is begun, where a kill met it, and what must be the same at its end."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from chaos import done, lines_of, start, told
from long_child import SUMMARY

from ml_intern.hub.names import RepoName
from ml_intern.hub.storage import Storage

CHILD = Path(__file__).parent / "long_child.py"
SAME = (
    "answer",
    "status",
    "errors",
    "steps",
    "reserved",
    "plan",
    "jobs",
    "published",
    "experiments",
)
REPOS = (("dataset", "lines"), ("model", "tiny-model"))


def begin(state: Path, **env: str) -> subprocess.Popen[str]:
    """Begin the session, or go on with it."""
    state.mkdir(exist_ok=True)
    return start(state, CHILD, **env)


def finish(state: Path) -> dict[str, Any]:
    """Go on to the end."""
    found = told(begin(state))
    assert found is not None
    return found


def journal(state: Path) -> list[tuple[str, dict[str, Any]]]:
    """The lines of the journal: kind and payload."""
    files = list(state.glob("sessions/*/journal.sqlite"))
    if not files:
        return []
    connection = sqlite3.connect(files[0])
    try:
        rows = connection.execute("select kind, payload from journal order by seq").fetchall()
    except sqlite3.OperationalError:  # killed before there was a table
        return []
    finally:
        connection.close()
    return [(kind, json.loads(payload)) for kind, payload in rows]


def phases(state: Path) -> list[str]:
    """Where a process was when it was killed; several things may be under way at a time."""
    found = set(_marked(state)) | set(_running(state))
    lines = journal(state)
    calls = {p["call"]: p["tool"] for kind, p in lines if kind == "intent"}
    over = {p["call"] for kind, p in lines if kind == "result"}
    found |= {f"call of {tool}" for call, tool in calls.items() if call not in over}
    cells = [(kind, p["step"]) for kind, p in lines if kind in ("cell", "cell_done")]
    if cells and cells[-1][0] == "cell":
        found.add("in a cell")
    if rebuilding(lines):
        found.add("rebuilding")
    return sorted(found) or ["between the steps"]


def killed_at(state: Path) -> str:
    """The place at which the last process ended."""
    last = lines_of(state / "marks.jsonl")[-1]
    assert last["mark"] == "killed", last
    return str(last["at"])


def rebuilding(lines: list[tuple[str, dict[str, Any]]]) -> bool:
    """Whether finished cells ran again when the process ended."""
    texts = [n for n, (kind, p) in enumerate(lines) if kind == "event" and "rebuilt" in p.get("text", "")]
    return bool(texts) and not any(kind == "cell" for kind, _ in lines[texts[-1] :])


def _marked(state: Path) -> list[str]:
    marks = [line["mark"] for line in lines_of(state / "marks.jsonl")]
    last = marks[len(marks) - marks[::-1].index("begin") :] if "begin" in marks else []
    if not last and not rebuilding(journal(state)):
        return ["starting, or no mark yet"]
    names = {"summary": "in a summary", "question": "a question is open", "push": "in a push"}
    ends = {"summary": "summary over", "question": "question over", "push": "pushed"}
    return [words for name, words in names.items() if last.count(name) > last.count(ends[name])]


def _running(state: Path) -> list[str]:
    found = []
    for path in state.glob("sessions/*/jobs/[!.]*/status.json"):
        if json.loads(path.read_text())["state"] in ("queued", "running"):
            found.append("a training runs" if path.parent.name.startswith("tiny") else "a job runs")
    return found


def check(state: Path, found: dict[str, Any], whole: dict[str, Any]) -> None:
    """The same end as that of the run that nobody disturbed, and nothing twice."""
    lines = journal(state)
    assert {n: (found[n], whole[n]) for n in SAME if found[n] != whole[n]} == {}
    assert paid(found, lines) == paid(whole, whole["lines"])
    assert not [text for text in found["notices"] if "another result" in text or "twice" in text]
    keys = Counter(line["key"] for line in done(state))
    assert max(keys.values()) == 1 and len(keys) == whole["works"]
    check_jobs(state)
    check_pushes(state)
    check_questions(lines)


def paid(found: dict[str, Any], lines: list[tuple[str, dict[str, Any]]]) -> dict[str, float]:
    """What was spent, without the summaries: how many there are may hang on a digit in a prompt."""
    count = sum(kind == "compaction" and p["how"] == "summarised" for kind, p in lines)
    spent = {**found["spent"], **found["tokens"]}
    spent["tokens"] -= count * sum(SUMMARY)
    spent["input"] -= count * SUMMARY[0]
    spent["output"] -= count * SUMMARY[1]
    return {**spent, "usd": round(spent["usd"] - count * SUMMARY[0] / 1000, 6)}


def check_jobs(state: Path) -> None:
    """Each job was launched once, and ran once."""
    folders = [path.parent for path in state.glob("sessions/*/jobs/[!.]*/spec.json")]
    assert sorted(folder.name for folder in folders) == ["second-1", "third-1", "tiny-1"]
    for folder in folders:
        steps = [row["step"] for row in lines_of(folder / "metrics.jsonl") if "loss" in row]
        assert len(steps) == len(set(steps)) and steps, folder.name
        if folder.name != "tiny-1":
            assert (folder / "output" / "starts.txt").read_text() == "once\n"


def check_pushes(state: Path) -> None:
    """One commit a publication, and no push was tried after it had arrived."""
    storage = Storage(state / "hub")
    for kind, name in REPOS:
        history = list(storage.get(RepoName.of(kind, "local", name)).history())  # type: ignore[arg-type]
        assert len(history) == 2, [commit.message for commit in history]  # the first makes .gitattributes
    marks = [line["mark"] for line in lines_of(state / "marks.jsonl") if line["mark"].startswith("push")]
    assert marks.count("pushed") <= len(REPOS)


def check_questions(lines: list[tuple[str, dict[str, Any]]]) -> None:
    """A person was asked about three calls, answered each once, and "always" held."""
    asked = {p["call"]: p["tool"] for kind, p in lines if kind == "question"}
    assert sorted(asked.values()) == ["announce", "announce", "publish_model"]
    answers = Counter(p["call"] for kind, p in lines if kind == "answer")
    assert set(answers) == set(asked) and max(answers.values()) == 1
    assert sum(kind == "standing" for kind, _ in lines) == 1
