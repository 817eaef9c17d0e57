"""A whole run whose cells read code of others: kernel, router, journal and tools are the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.github_server import GitHubServer
from support.loopback import Loopback
from support.scripted_runs import cell, play

from ml_intern.secrets.secrets import Secrets

CODE = """
found = find_examples(repo="acme/trl", keyword="SFTTrainer", limit=2)
best = found.hits[0]
shown = read_repo_file(best.url)
same = best.text in shown.text and best.lines == shown.lines
repos = list_repos(owner="acme", limit=1)
code = search_code("SFTTrainer", language="python")
try:
    read_repo_file(repo="acme/trll", path="a.py")
    said = ""
except Exception as error:
    said = str(error)
final_answer(f"{best.path} {same}; {repos.repositories[0].name}; {code.how}; {said}")
"""


@pytest.mark.parametrize("keyed", [False, True], ids=["no token", "token"])
def test_a_cell_reads_code(
    keyed: bool,
    server: Loopback,
    github: GitHubServer,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "ML_INTERN_WEB_MIRRORS", json.dumps(dict.fromkeys(("github", "github-raw"), server.url))
    )
    env = {"GITHUB_TOKEN": token, "GITHUB_API_URL": server.url} if keyed else {}
    played = play([cell(CODE)], tmp_path, secrets=Secrets(env))
    how = "GitHub's search of code" if keyed else "7 files of acme/trl, zeta/models"
    assert f"examples/scripts/sft.py True; acme/trl; {how}; " in played.result.answer
    assert "acme/trll does not exist on GitHub, or is private. There is: acme/trl" in played.result.answer
    assert bool([asked for asked in server.asked if token in str(asked.headers)]) is keyed
    assert token not in str(played.events) and token not in str(played.brain.prompts)
