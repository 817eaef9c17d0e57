"""What of a project's ``.env`` is believed, and that nobody else reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml_intern.secrets import masking
from ml_intern.secrets.masking import mask
from ml_intern.secrets.secrets import Secrets

KEY = "key-of-the-project-1234567890"


@pytest.fixture(autouse=True)
def no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_exact", ())


def secrets(folder: Path, text: str, **environment: str) -> Secrets:
    (folder / ".env").write_text(text)
    return Secrets({"HOME": str(folder), **environment}, folder)


def told(found: Secrets) -> str:
    return "\n".join(notice.text for notice in found.notices)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"OPENAI_API_KEY={KEY}", KEY),
        (f"export OPENAI_API_KEY='{KEY}'  # mine", KEY),
        (f'OPENAI_API_KEY = "{KEY}"', KEY),
        (f"\ufeffOPENAI_API_KEY={KEY}\r\n", KEY),
        (f"# OPENAI_API_KEY={KEY}", None),
        (f"OPENAI_API_KEY={KEY}\nOPENAI_API_KEY={KEY}2", KEY + "2"),
        ("OPENAI_API_KEY=${HOME}-of-mine", "${HOME}-of-mine"),
        ("OPENAI_API_KEY=$(touch made-by-a-command)", "$(touch made-by-a-command)"),
        ("OPENAI_API_KEY=", None),
        ("OPENAI_API_KEY", None),
        ("=====\n\x00garbage", None),
    ],
)
def test_keys_are_read_and_nothing_is_put_in_or_run(tmp_path: Path, line: str, value: str | None) -> None:
    found = secrets(tmp_path, line)
    assert found.env.get("OPENAI_API_KEY") == value
    assert os.environ.get("OPENAI_API_KEY") is None
    assert not Path("made-by-a-command").exists()


def test_only_credentials_are_taken(tmp_path: Path) -> None:
    found = secrets(
        tmp_path, f"HF_TOKEN={KEY}\nPATH=/evil\nLD_PRELOAD=/evil.so\nWEATHER_API_KEY=w-1234\nDEBUG=1"
    )
    assert set(found.env) == {"HOME", "HF_TOKEN", "WEATHER_API_KEY"}
    assert "HF_TOKEN, WEATHER_API_KEY" in told(found) and KEY not in told(found)


def test_the_environment_comes_first_also_under_another_name_and_where_it_says_nothing(
    tmp_path: Path,
) -> None:
    lines = f"HF_TOKEN={KEY}\nGITHUB_TOKEN={KEY}\nOPENAI_API_KEY={KEY}"
    environment = {"HUGGING_FACE_HUB_TOKEN": "hf_mine", "GH_TOKEN": "mine", "OPENAI_API_KEY": ""}
    found = secrets(tmp_path, lines, **environment)
    assert set(found.env) == {"HOME", *environment}
    assert found.env["OPENAI_API_KEY"] == ""


@pytest.mark.parametrize(
    "name",
    ["OPENAI_BASE_URL", "HF_ENDPOINT", "E2B_API_URL", "HTTPS_PROXY", "ANTHROPIC_API_BASE", "ML_INTERN_TOOLS"],
)
def test_a_project_leads_no_key_of_the_person_anywhere(tmp_path: Path, name: str) -> None:
    found = secrets(tmp_path, f"{name}=https://evil.example", OPENAI_API_KEY="mine")
    assert name not in found.env
    assert len(found.notices) == 1 and f"{name} in it is ignored" in told(found)


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("https://gateway.example/v1", False),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com/v1", True),
        ("http://127.0.0.1:8000/v1", True),
    ],
)
def test_a_key_of_the_project_goes_to_no_foreign_address(tmp_path: Path, address: str, taken: bool) -> None:
    found = secrets(tmp_path, f"OPENAI_API_KEY={KEY}", OPENAI_BASE_URL=address)
    assert ("OPENAI_API_KEY" in found.env) is taken
    assert taken or "OPENAI_BASE_URL of the environment leads elsewhere" in told(found)


def test_names_of_unknown_services_are_paired_with_their_address(tmp_path: Path) -> None:
    found = secrets(tmp_path, f"ACME_API_KEY={KEY}", ACME_BASE_URL="https://elsewhere.example")
    assert "ACME_API_KEY" not in found.env


def test_a_saved_login_is_the_last_choice(tmp_path: Path) -> None:
    saved = tmp_path / ".cache" / "huggingface" / "token"
    saved.parent.mkdir(parents=True)
    saved.write_text("hf_saved_login")
    for text, value in ((f"HF_TOKEN={KEY}", KEY), ("", "hf_saved_login")):
        credential = secrets(tmp_path, text).credential("hub")
        assert credential is not None and credential.value == value


def test_every_secret_looking_value_is_hidden_taken_or_not(tmp_path: Path) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----"
    secrets(
        tmp_path,
        "DB_PASSWORD=correct-horse\nOTHER=aB3dE5gH7jK9mN1pQ3rS\nPORT=8000\nURL=db://ann:un%21usual@host/x\n"
        f'SIGNING="{pem}"\nSIGNING_KEY="{pem}"\n',
        MY_SECRET="the-environment's",
    )
    shown = mask(
        "correct-horse aB3dE5gH7jK9mN1pQ3rS 8000 the-environment's un!usual MIIEvQIBADANBgkqhkiG9w0B"
    )
    assert shown == "[hidden] [hidden] 8000 [hidden] [hidden] [hidden]"


def test_other_folders_are_not_looked_at(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}")
    assert "OPENAI_API_KEY" not in Secrets({}, inner).env
    assert "OPENAI_API_KEY" not in Secrets({}, None).env


def link(path: Path) -> None:
    path.with_name("real").write_text(f"OPENAI_API_KEY={KEY}")
    path.symlink_to(path.with_name("real"))


def open_to_all(path: Path) -> None:
    path.write_text(f"OPENAI_API_KEY={KEY}")
    path.chmod(0o666)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (link, "it is a link"),
        (os.mkfifo, "no plain file"),
        (open_to_all, "everybody may write it"),
        (lambda path: path.write_text(f"OPENAI_API_KEY={KEY}\n" + "#" * 70_000), "larger than 64 kB"),
        (lambda path: path.write_bytes(b"OPENAI_API_KEY=\xff\xfe"), "not UTF-8"),
    ],
)
def test_what_is_no_plain_small_file_of_ones_own_is_not_read(tmp_path: Path, make, why: str) -> None:
    make(tmp_path / ".env")
    found = Secrets({}, tmp_path)
    assert dict(found.env) == {}
    assert len(found.notices) == 1 and why in told(found) and found.notices[0].level == "warning"


def test_a_virtual_environment_of_that_name_is_no_reason_for_a_word(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert Secrets({}, tmp_path).notices == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_file_of_another_user_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}")
    os.chown(tmp_path / ".env", 12345, 12345)
    found = Secrets({}, tmp_path)
    assert dict(found.env) == {} and "another user" in told(found)


@pytest.mark.parametrize(
    "module", ["ml_intern.session.session", "ml_intern.agent.executor", "ml_intern.brains.inprocess"]
)
def test_no_library_loads_the_file_behind_our_back(tmp_path: Path, module: str) -> None:
    (tmp_path / ".env").write_text("PLANTED=yes\nOPENAI_API_KEY=planted\n")
    code = f"import os, {module}\nassert 'PLANTED' not in os.environ and 'OPENAI_API_KEY' not in os.environ"
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_litellm_loads_none_either(tmp_path: Path) -> None:
    pytest.importorskip("litellm")
    (tmp_path / ".env").write_text("PLANTED=yes\nANTHROPIC_API_KEY=planted\n")
    code = (
        "import os\nfrom ml_intern.brains.factory import build_brain\nfrom ml_intern.settings import Settings\n"
        "brain = build_brain(Settings(model='anthropic:x'), print, {'ANTHROPIC_API_KEY': 'sk-ant-mine'})\n"
        "assert brain.inner.api_key == 'sk-ant-mine'\n"
        "assert 'PLANTED' not in os.environ and 'ANTHROPIC_API_KEY' not in os.environ"
    )
    done = run(code, tmp_path, PYTHON_DOTENV_DISABLED="0")
    assert done.returncode == 0, done.stderr


def run(code: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    # The script lies in the folder: python-dotenv begins to search where the code is.
    (folder / "script.py").write_text(code)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **more}
    argv = [sys.executable, "script.py"]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
