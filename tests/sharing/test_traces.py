"""Traces on the embedded Hub, read back with the unmodified client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi, constants
from support.scripted_runs import Played, cell, play

from ml_intern.cli.main import run as command
from ml_intern.errors import UsageError
from ml_intern.hub.client import Hub
from ml_intern.secrets.masking import add_secret
from ml_intern.secrets.secrets import Secrets
from ml_intern.settings import Settings

CELLS = [
    cell(
        "x = 6 * 7\nprint('the key is', 'tr4ce-secret-' + str(55511 + 1), chr(0x2028), chr(0x85), 'after')",
        "I multiply.",
    ),
    cell("final_answer(str(x))"),
]


CARD = b"---\ntags: [mine]\n---\nmine\n"


@pytest.fixture(autouse=True)
def plain_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name in ("HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """The Hub of the runs, seen from outside."""
    found = Hub(Settings.load(state=tmp_path, hub="embedded"), tmp_path, {})
    yield found
    found.close()


def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="any")


def shared(tmp_path: Path, **given: Any) -> Played:
    add_secret("tr4ce-secret-55512")
    return play(CELLS, tmp_path, hub="embedded", **{"share_traces": "local/traces", **given})


def rows(hub: Hub, repo: str, path: str, tmp_path: Path) -> list[dict[str, Any]]:
    file = api(hub).hf_hub_download(repo, path, repo_type="dataset", cache_dir=tmp_path / "cache")
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def test_a_session_shares_its_trace_at_its_end(hub: Hub, tmp_path: Path) -> None:
    played = shared(tmp_path)
    assert [n for n in played.notices if "(private)" in n] and played.events[-1].kind == "SessionFinished"
    info = api(hub).repo_info("local/traces", repo_type="dataset")
    path = f"sessions/{played.session.id}.jsonl"
    assert info.private and {s.rfilename for s in info.siblings or []} >= {"README.md", path}
    found = rows(hub, "local/traces", path, tmp_path)
    assert [row["type"] for row in found] == ["user", "assistant", "user", "assistant", "user", "assistant"]
    assert found[-1]["message"]["content"] == [{"type": "text", "text": "42"}], "the end is in it"
    assert [row["parentUuid"] for row in found] == [None, *(row["uuid"] for row in found[:-1])]
    told = found[2]["message"]["content"][0]
    assert told["type"] == "tool_result" and "[hidden]" in told["content"]
    assert "\u2028 \x85 after" in told["content"]
    assert "55512" not in json.dumps(found)


def test_the_card_says_what_the_viewer_looks_for(hub: Hub, tmp_path: Path) -> None:
    shared(tmp_path)
    file = api(hub).hf_hub_download(
        "local/traces", "README.md", repo_type="dataset", cache_dir=tmp_path / "cache"
    )
    head = yaml.safe_load(Path(file).read_text().split("---")[1])
    assert "agent-traces" in head["tags"]
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "sessions/*.jsonl"}]


@pytest.mark.thorough
def test_a_card_that_the_person_has_written_stays(hub: Hub, tmp_path: Path) -> None:
    api(hub).create_repo("local/traces", repo_type="dataset", private=True)
    api(hub).upload_file(
        path_or_fileobj=CARD, path_in_repo="README.md", repo_id="local/traces", repo_type="dataset"
    )
    shared(tmp_path)
    shared(tmp_path)
    file = api(hub).hf_hub_download(
        "local/traces", "README.md", repo_type="dataset", cache_dir=tmp_path / "cache"
    )
    assert Path(file).read_bytes() == CARD
    assert (
        len([f for f in api(hub).list_repo_files("local/traces", repo_type="dataset") if f.endswith("jsonl")])
        == 2
    )


def test_a_public_repository_is_refused_in_one_line_and_the_run_is_done(hub: Hub, tmp_path: Path) -> None:
    api(hub).create_repo("local/traces", repo_type="dataset", private=False)
    played = shared(tmp_path)
    assert played.result.status == "done"
    told = [n for n in played.notices if "was not shared" in n]
    assert (
        len(told) == 1
        and "public" in told[0]
        and "\n" not in told[0]
        and f"share {played.session.id}" in told[0]
    )
    assert not [
        f for f in api(hub).list_repo_files("local/traces", repo_type="dataset") if f.endswith("jsonl")
    ]


@pytest.mark.parametrize("action", ["ask", "deny"])
def test_the_policy_has_the_last_word(hub: Hub, tmp_path: Path, action: str) -> None:
    rule = {"effect": "publish", "action": action, "reason": "nothing leaves here"}
    played = shared(tmp_path, policy=[rule])
    assert [n for n in played.notices if "nothing leaves here" in n] and played.result.status == "done"
    assert not api(hub).repo_exists("local/traces", repo_type="dataset")


def test_without_the_setting_nothing_leaves(hub: Hub, tmp_path: Path) -> None:
    shared(tmp_path, share_traces="")
    assert list(api(hub).list_datasets()) == [] and not (tmp_path / "hub" / "datasets").exists()


def test_a_session_that_goes_on_replaces_its_trace(hub: Hub, tmp_path: Path) -> None:
    played = shared(tmp_path)
    played.session.inbox.say("and once more")
    again = play([cell("final_answer('more')")], tmp_path, folder=played.session.folder, hub="embedded",
                 share_traces="local/traces")  # fmt: skip
    found = rows(hub, "local/traces", f"sessions/{played.session.id}.jsonl", tmp_path)
    assert found[-1]["message"]["content"][0]["text"] == "more" and again.result.answer == "more"
    assert "and once more" in [row["message"]["content"] for row in found]


def test_the_command_shares_an_earlier_session(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_INTERN_HUB", "embedded")
    played = shared(tmp_path, share_traces="")
    hub.close()
    assert command(["share", played.session.id, "--state", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["repo"], told["path"], told["private"]) == (
        "local/ml-intern-traces", f"sessions/{played.session.id}.jsonl", True,
    )  # fmt: skip
    assert api(hub).repo_info("local/ml-intern-traces", repo_type="dataset").private
    assert command(["share", "nothing", "--state", str(tmp_path)]) == 2
    assert command(["share", "--to", "a/b/c", "--state", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2


def test_true_means_the_users_own_dataset() -> None:
    assert Settings.load(share_traces=True).share_traces == "ml-intern-traces"
    assert Settings.load(share_traces="false").share_traces == ""
    with pytest.raises(UsageError, match="share_traces"):
        Settings.load(share_traces="no such name")


def test_a_hub_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "q1" * 17)
    played = play(CELLS, tmp_path, hub="remote", share_traces="me/traces", secrets=Secrets(os.environ))
    assert played.result.status == "done"
    told = [n for n in played.notices if "was not shared" in n]
    assert len(told) == 1 and "\n" not in told[0], played.notices


LOAD = """
from datasets import load_dataset
from datasets.packaged_modules.json.json import has_agent_traces_markers, parse_traces_info
from huggingface_hub import hf_hub_download
import sys
found = load_dataset("local/traces", split="train", parse_agent_traces=False)
lines = open(hf_hub_download("local/traces", sys.argv[1], repo_type="dataset")).read().splitlines()
harness, session, prompt, at, said, calls = parse_traces_info(lines)
print(len(found), has_agent_traces_markers(found.features), harness, prompt, said, calls)
"""


@pytest.mark.thorough
def test_the_datasets_library_takes_it_for_a_trace(hub: Hub, tmp_path: Path) -> None:
    """Its detector is the one that the Hub's viewer is built on."""
    played = shared(tmp_path)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "any",
           "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1,localhost"}  # fmt: skip
    argv = [sys.executable, "-c", LOAD, f"sessions/{played.session.id}.jsonl"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.split() == ["6", "True", "claude_code", "do", "it", "1", "2"], done.stderr
