"""A sub-agent only reads: the router says so before the gate is asked, the walls say so of its cells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from research_kit import Talks, lines, of_json, play, told
from support.gated import CALLS, build
from support.gated import lines as router_lines
from support.own_tools import write_tools

TELL = "import json\nfinal_answer(json.dumps(found))"
HF = "hf_" + "r3S3aRcH" * 4

# The way to the host that every proxy has: what a cell can forge, whatever the prompt lists.
FORGED = """
ask = next(c.cell_contents for c in read_file.__closure__ if type(c.cell_contents).__name__ == "method")
said = []
for name, given in {calls!r}:
    try:
        ask(name, given)
        said.append(f"{{name}} was carried out")
    except ToolError as error:
        said.append(str(error))
final_answer("\\n".join(said))
"""

DOING = [
    ("write_file", {"path": "forged.txt", "content": "x"}),
    ("run_command", {"command": "touch forged.txt"}),
    ("plan", {"items": ["forged"]}),
    ("launch_script", {"code": "print(1)", "name": "forged"}),
    ("publish_dataset", {"dataset": "d", "repo": "me/forged"}),
    ("announce", {"repo": "me/forged", "text": "x"}),
    ("rent", {"usd": 1}),
    ("forget", {"what": "all"}),
    ("research", {"question": "deeper"}),
    ("research_many", {"questions": ["deeper"]}),
]


@pytest.mark.parametrize("effect_allowed", ["", "all"])
def test_the_router_refuses_all_but_reading(begin: Any, tmp_path: Path, effect_allowed: str) -> None:
    tools, ran = write_tools(tmp_path)
    yes = ["write", "compute", "publish", "destroy", "network"] if effect_allowed else []
    policy = [{"source": "research", "effect": list(yes[:4]) or "read", "action": "allow"}]
    brain = Talks(["found = research('<a> do it')", TELL], a=[FORGED.format(calls=DOING)])
    run = begin(brain, tools=[tools], yes=yes, policy=policy, budget="5 usd, 5 jobs")
    result, events = play(run)
    said = of_json(result)["answer"].splitlines()
    assert len(said) == len(DOING)
    assert all("a research sub-agent may only read" in line for line in said), said
    # It never came to the gate, nobody was asked, nothing was set aside, and the run is not a denied one.
    assert not [d for d in lines(run, "decision") if d["source"].startswith("research")]
    assert not lines(run, "question") and result.status == "done"
    refused = [r for r in lines(run, "refusal") if r["source"] == "research:1"]
    assert [r["tool"] for r in refused] == [name for name, _ in DOING]
    assert ran.read_text() == "" and not (tmp_path / "work" / "forged.txt").exists()
    assert result.jobs == [] and [e.research for e in told(events, "ResearchStarted")] == ["research:1"]


def test_no_name_of_a_doing_tool_is_in_its_kernel(begin: Any) -> None:
    look = "final_answer(str([n for n in ('write_file', 'research', 'run_command') if n in globals()]))"
    brain = Talks(["found = research('<a> look')", TELL], a=[look])
    assert of_json(play(begin(brain))[0])["answer"] == "[]"


@pytest.mark.parametrize(
    ("name", "given"),
    [("push", {"repo": "me/x"}), ("wipe", {"what": "x"}), ("spend", {"usd": 1}), ("cancel", {"job": "x"})],
)
@pytest.mark.parametrize("source", ["research", "research:1", "research-1"])
def test_so_does_it_without_a_session(tmp_path: Path, name: str, given: dict[str, Any], source: str) -> None:
    router = build(tmp_path, yes=["publish", "destroy", "compute"])
    outcome = router.call(name, given, source=source)
    assert "may only read" in outcome.message and not outcome.ok and CALLS == []
    assert not router_lines(router, "decision") and not router_lines(router, "intent")
    assert router.call("echo", {"text": "read"}, source=source).ok


def test_the_persons_rules_hold_for_it_too(begin: Any) -> None:
    policy = [{"tool": "read_file", "source": "research", "action": "deny", "reason": "not these"}]
    main = ["text = read_file('alpha.txt').text", "found = research('<a> read')", TELL]
    brain = Talks(
        main, a=["try:\n    read_file('alpha.txt')\nexcept ToolError as e:\n    final_answer(str(e))"]
    )
    result, _ = play(begin(brain, policy=policy))
    assert "not these" in result.answer and result.status == "denied"


def test_what_it_read_the_session_has_not_read(begin: Any, tmp_path: Path) -> None:
    """A file that changed since the session's brain read it is not edited blindly, whoever else has read it."""
    main = [
        "read_file('alpha.txt')",
        lambda: _changed(tmp_path) + "found = research('<a> read')",
        "try:\n    edit_file('alpha.txt', 'is', 'was')\nexcept ToolError as e:\n    final_answer(str(e))",
    ]
    brain = Talks(main, a=["final_answer(read_file('alpha.txt').text)"])
    result, _ = play(begin(brain))
    assert "changed since" in result.answer


def _changed(folder: Path) -> str:
    (folder / "work" / "alpha.txt").write_text("alpha is 7\n")
    return ""


LOOK = """
import os, subprocess
from pathlib import Path
work, said = Path({work!r}), {{}}
def tried(name, do):
    try:
        do()
        said[name] = "done"
    except Exception as error:
        said[name] = type(error).__name__
tried("write", lambda: (work / "forged.txt").write_text("x"))
tried("append", lambda: open(work / "alpha.txt", "a").write("x"))
tried("remove", lambda: (work / "beta.txt").unlink())
tried("read", lambda: (work / "alpha.txt").read_text())
tried("own", lambda: Path("note.txt").write_text("x"))
tried("journal", lambda: Path({journal!r}).read_bytes())
tried("dotenv", lambda: Path({dotenv!r}).read_text())
tried("network", lambda: __import__("socket").create_connection(("169.254.169.254", 80), 1))
seen = repr(dict(os.environ)) + subprocess.run(["ps", "axeww"], capture_output=True, text=True).stdout
for entry in Path("/proc").glob("[0-9]*"):
    for part in ("environ", "cmdline"):
        try:
            seen += (entry / part).read_text()
        except OSError:
            pass
said["secret"] = str({secret!r}[::-1] in seen)
import json
final_answer(json.dumps(said))
"""


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_behind_walls_its_cells_write_only_their_own_folder(
    begin: Any, tmp_path: Path, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_intern.sandbox.local import LocalSandbox

    monkeypatch.setenv("HF_TOKEN", HF)
    (tmp_path / ".env").write_text(f"GITHUB_TOKEN={'ghp_' + 'x1' * 18}\n")
    work = tmp_path / "work"
    look: list[str] = []
    brain = Talks(["found = research('<a> look')", TELL], a=[lambda: look[0]])
    run = begin(brain, sandbox=LocalSandbox())
    look.append(
        LOOK.format(
            work=str(work),
            journal=str(run.folder / "journal.sqlite"),
            dotenv=str(tmp_path / ".env"),
            secret=HF[::-1],
        )
    )
    said = json.loads(of_json(play(run)[0])["answer"])
    assert said.pop("read") == "done" and said.pop("own") == "done" and said.pop("secret") == "False"
    assert all(value != "done" for value in said.values()), said
    assert (work / "alpha.txt").read_text() == "alpha is 1\n" and (work / "beta.txt").exists()
    assert sorted(entry.name for entry in work.iterdir()) == [".ml-intern", "alpha.txt", "beta.txt"]


def test_a_credential_goes_into_no_argument_and_comes_out_of_no_answer(begin: Any, tmp_path: Path) -> None:
    made = f"token = 'hf_' + {HF[3:]!r}\nopen('t', 'w').write(token)"
    tell = "try:\n    read_file(token)\nexcept ToolError:\n    pass\nfinal_answer(token + 'x' * 9000 + token)"
    brain = Talks(["found = research('<a> leak')", TELL], a=[made, tell])
    run = begin(brain)
    result, events = play(run)
    seen = result.answer + "".join(str(e.to_json()) for e in events)
    files = b"".join(
        f.read_bytes() for root in (run.folder, tmp_path / "work") for f in root.rglob("*") if f.is_file()
    )
    assert HF not in seen and HF.encode() not in files
