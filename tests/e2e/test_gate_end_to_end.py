"""The gate through the real command with a scripted model: what is asked, denied, allowed, and what the journal has."""

from __future__ import annotations

import http.server
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fixtures import scripted_server  # noqa: F401
from support.own_tools import write_tools

COMMAND = str(Path(sys.executable).with_name("ml-intern"))
SANDBOX = "local" if shutil.which("bwrap") else "none"

Run = Callable[..., tuple[int, dict[str, Any]]]


def attempt(*calls: str) -> str:
    tried = "\n".join(
        f"try:\n    said.append(str({call}))\nexcept ToolError as error:\n    said.append(str(error))"
        for call in calls
    )
    return f"said = []\n{tried}\nprint(said)"


END = "final_answer(' | '.join(said))"


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return write_tools(tmp_path)[1]


@pytest.fixture
def intern(
    scripted_server: Any,  # noqa: F811
    tmp_path: Path,
    ran: Path,
    own_state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run the command on cells; exit code and the object of `--json`."""
    monkeypatch.setenv("ML_INTERN_TOOLS", str(tmp_path / "own_tools"))

    def run(cells: list[str], *options: str) -> tuple[int, dict[str, Any]]:
        server = scripted_server([f"Next.\n<cell>\n{code}\n</cell>" for code in cells])
        words = ["do it", "--model", "openai:x", "--base-url", server.url, "--sandbox", SANDBOX, "--json"]
        done = subprocess.run(
            [COMMAND, *words, *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if not done.stdout.strip():
            return done.returncode, {"errors": [done.stderr.strip()]}
        return done.returncode, json.loads(done.stdout.strip().splitlines()[-1])

    return run


def journal(state: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of the newest session's journal."""
    newest = max((state / "sessions").iterdir())
    with sqlite3.connect(newest / "journal.sqlite") as db:
        rows = db.execute("select payload from journal where kind = ? order by seq", (kind,)).fetchall()
    return [json.loads(row[0]) for row in rows]


def test_headless_the_run_goes_on_and_the_exit_code_says_so(intern: Run, ran: Path, own_state: Path) -> None:
    calls = ("announce('me/a')", "announce('me/b', private=False)", "forget('x')", "list_jobs()")
    code, result = intern([attempt(*calls), END])
    assert (code, result["status"]) == (4, "denied")
    private, public, deleted, listed = result["answer"].split(" | ")
    assert private.startswith("announce me/a") and listed == "[]"
    assert "--yes publish would allow it" in public and "--yes destroy would allow it" in deleted
    assert ran.read_text() == "announce me/a  True\n"
    decided = {(d["tool"], d["decision"], d["source"]) for d in journal(own_state, "decision")}
    assert decided == {
        ("announce", "allow", "cell-1"),
        ("announce", "ask", "cell-1"),
        ("forget", "ask", "cell-1"),
        ("list_jobs", "allow", "cell-1"),
    }
    assert [(r["tool"], r["denied"]) for r in journal(own_state, "refusal")] == [
        ("announce", True),
        ("forget", True),
    ]


@pytest.mark.parametrize(
    ("yes", "names", "code"),
    [
        ("publish", ["announce"], 4),
        pytest.param("publish,destroy", ["announce", "forget"], 0, marks=pytest.mark.thorough),
    ],
)
def test_a_yes_answers_for_what_it_names(
    intern: Run, ran: Path, yes: str, names: list[str], code: int
) -> None:
    got, _ = intern([attempt("announce('me/b', private=False)", "forget('x')"), END], "--yes", yes)
    assert got == code and [line.split()[0] for line in ran.read_text().splitlines()] == names


def test_a_wrong_word_or_rule_is_one_line_before_anything_runs(
    intern: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, result = intern([END], "--yes", "pubish")
    assert code == 2 and "did you mean 'publish'" in result["errors"][0]
    (tmp_path / "ml-intern.toml").write_text('[[policy]]\ntool = "forget"\nacton = "deny"\n')
    monkeypatch.delenv("ML_INTERN_TRUST_PROJECT")
    code, result = intern([END])
    assert code == 2 and "ml-intern trust" in result["errors"][0]
    monkeypatch.setenv("ML_INTERN_TRUST_PROJECT", "1")
    code, result = intern([END])
    assert code == 2 and result["errors"][0].count("\n") == 0
    assert "Policy rule 1" in result["errors"][0]


@pytest.mark.thorough
def test_the_policy_of_the_project_decides(
    intern: Run, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_INTERN_TRUST_PROJECT", "1")
    (tmp_path / "ml-intern.toml").write_text(
        '[[policy]]\ntool = "announce"\nwhere = {repo = "me/*", private = false}\naction = "allow"\n'
        '[[policy]]\neffect = "publish"\naction = "deny"\nreason = "only my own"\n'
    )
    calls = ("announce('me/a', private=False)", "announce('you/a')")
    code, result = intern([attempt(*calls), END], "--yes", "publish")
    assert code == 4 and "only my own" in result["answer"]
    assert ran.read_text() == "announce me/a  False\n"


@pytest.mark.thorough
def test_a_ceiling_holds_over_calls_that_come_together(intern: Run, ran: Path) -> None:
    cell = """
from concurrent.futures import ThreadPoolExecutor
def go(usd):
    try:
        return rent(usd=usd)
    except ToolError as error:
        return str(error)
with ThreadPoolExecutor(6) as pool:
    said = list(pool.map(go, [2.0] * 6))
"""
    code, result = intern([cell, END], "--budget", "5 usd")
    assert code == 4 and len(ran.read_text().splitlines()) == 2
    assert result["answer"].count("needs 2 usd, 1 of 5 left") == 4
    assert result["budget"]["usd"] == {"spent": pytest.approx(4.0), "reserved": 0.0, "cap": 5.0}


@pytest.mark.thorough
def test_an_unknown_price_is_denied_without_a_word(intern: Run, ran: Path) -> None:
    code, result = intern([attempt("rent(usd=None)"), END])
    assert code == 4 and "price is not known" in result["answer"] and ran.read_text() == ""


@pytest.fixture
def website() -> Iterator[str]:
    """Something on the network of this machine."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"reached")

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def script(url: str, **more: Any) -> str:
    code = (
        "import urllib.request\n"
        "try:\n"
        f"    print(urllib.request.urlopen({url!r}, timeout=60).read().decode())\n"
        "except OSError as error:\n"
        "    print('closed')\n"
    )
    options = "".join(f", {k}={v!r}" for k, v in more.items())
    return f"job_logs(wait_for_job(launch_script({code!r}{options}).id).id).text"


@pytest.mark.parametrize(
    ("yes", "code", "told"),
    [
        ("compute,publish,destroy", 4, "--yes network would allow it"),
        ("network", 0, "reached"),
    ],
)
def test_a_script_reaches_the_network_only_after_a_word_for_it(
    intern: Run, website: str, yes: str, code: int, told: str
) -> None:
    got, result = intern([attempt(script(website, network=True)), END], "--yes", yes)
    assert got == code and told in result["answer"], result


@pytest.mark.thorough
@pytest.mark.skipif(SANDBOX == "none", reason="bubblewrap is not installed")
def test_a_yes_to_the_network_opens_it_to_no_script_that_did_not_ask(intern: Run, website: str) -> None:
    got, result = intern([attempt(script(website)), END], "--yes", "network,compute")
    assert got == 0 and result["answer"].strip() == "closed"


@pytest.mark.thorough
def test_jobs_are_counted_and_given_back(intern: Run) -> None:
    quick = "wait_for_job(launch_script('print(1)\\n').id).state"
    code, result = intern([attempt(quick, quick, quick), END], "--budget", "2 jobs")
    assert code == 4 and "needs 1 jobs, 0 of 2 left" in result["answer"]
    assert result["budget"]["jobs"]["spent"] == 2 and result["budget"]["jobs"]["reserved"] == 0
