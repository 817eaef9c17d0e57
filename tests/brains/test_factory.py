from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.openai_server import ScriptedServer

from ml_intern.brains.factory import build_brain, endpoint_of
from ml_intern.brains.prices import lookup, table
from ml_intern.errors import NoBrain, UsageError
from ml_intern.events import Event, Notice
from ml_intern.secrets.tokens import hub_token
from ml_intern.settings import Settings


def silent(event: Event) -> None:
    """Drops what is told."""


def test_nothing_heavy_is_imported_before_a_brain_is_built() -> None:
    heavy = "{'smolagents', 'openai', 'litellm', 'torch', 'transformers', 'jinja2', 'tenacity'}"
    code = (
        f"import sys, ml_intern.brains.factory, ml_intern.brains.playbook; print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_dotenv_file_in_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-dotenv\n")
    code = "import os, ml_intern.brains.base; print(os.environ.get('OPENAI_API_KEY'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "None"


def test_without_model_and_token_a_playbook_answers_and_says_so(tmp_path: Path) -> None:
    told: list[Event] = []
    brain = build_brain(Settings(), told.append, {"HOME": str(tmp_path)})
    assert (brain.label, brain.language_model) == ("playbook:", False)
    assert [type(e) for e in told] == [Notice]
    assert "no language model" in told[0].text  # type: ignore[attr-defined]


def test_without_model_but_with_a_token_inference_providers_answer(tmp_path: Path) -> None:
    brain = build_brain(Settings(), silent, {"HF_TOKEN": "hf_x"})
    assert brain.label == f"hf:{table()['defaults']['hf']}"
    assert brain.language_model and not brain.trusted


def test_a_saved_token_chooses_inference_providers_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_saved")
    assert build_brain(Settings(), silent, {"HF_HOME": str(tmp_path)}).label.startswith("hf:")


def test_a_saved_token_is_found(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "huggingface"
    folder.mkdir(parents=True)
    (folder / "token").write_text("hf_saved\n")
    assert hub_token({"HOME": str(tmp_path)}) == "hf_saved"
    assert hub_token({"HF_HOME": str(folder)}) == "hf_saved"
    assert hub_token({"HF_TOKEN_PATH": str(folder / "token")}) == "hf_saved"
    assert hub_token({"XDG_CACHE_HOME": str(tmp_path / ".cache"), "HOME": "/nowhere"}) == "hf_saved"
    assert hub_token({"HF_TOKEN": " hf_given ", "HOME": str(tmp_path)}) == "hf_given"
    assert hub_token({"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "hf_old"}) == "hf_old"
    assert hub_token({"HOME": str(tmp_path / "nobody")}) == ""
    assert hub_token({"HF_HOME": "~nobody-of-this-name/x"}) == ""


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("opnai:x", "did you mean 'openai'"),
        ("antropic:x", "did you mean 'anthropic'"),
        ("playbok:", "did you mean 'playbook'"),
        ("playbook", "did you mean 'playbook:'"),
        ("gpt-4o", "did you mean 'openai:gpt-4o'"),
        ("Qwen/Qwen3", "did you mean 'hf:Qwen/Qwen3'"),
        ("Qwen/Qwen3:together", "did you mean 'hf:Qwen/Qwen3:together'"),
        ("openai:", "lacks a name"),
        ("transformers:", "lacks a name"),
        ("anthropic:", "lacks a name"),
        ("playbook:helo", "did you mean 'hello'"),
        (":", "Unknown scheme"),
    ],
)
def test_a_model_that_is_not_understood_is_told_with_the_nearest(model: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("(", r"\(")):
        build_brain(Settings(model=model), silent, {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "x"})


def test_a_base_url_without_a_model_is_no_reason_to_play_a_playbook() -> None:
    with pytest.raises(UsageError, match="--model openai:NAME"):
        build_brain(Settings(base_url="http://127.0.0.1:1/v1"), silent, {})


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "http://host:99999999/v1"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="base URL"):
        build_brain(Settings(model="openai:x", base_url=url), silent, {})


@pytest.mark.parametrize(("model", "name"), [("openai:gpt-4o", "OPENAI_API_KEY"), ("hf:", "HF_TOKEN")])
def test_a_missing_key_is_told_before_any_request(model: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(NoBrain, match=name):
        build_brain(Settings(model=model), silent, {"HOME": str(tmp_path)})


ENV = {"OPENAI_API_KEY": "sk-openai", "HF_TOKEN": "hf_token"}


@pytest.mark.parametrize(
    ("scheme", "url", "key", "sent"),
    [
        ("openai", None, None, "sk-openai"),
        ("openai", "https://api.openai.com/v1", None, "sk-openai"),
        ("openai", "https://eu.api.openai.com/v1", None, "sk-openai"),
        ("openai", "http://api.openai.com/v1", None, "none"),
        ("openai", "https://api.openai.com.evil.example/v1", None, "none"),
        ("openai", "https://api.openai.com@evil.example/v1", None, "none"),
        ("openai", "https://evil.example/api.openai.com/v1", None, "none"),
        ("openai", "https://notopenai.com/v1", None, "none"),
        ("openai", "http://127.0.0.1:8000/v1", None, "none"),
        ("openai", "http://127.0.0.1:8000/v1", "mine", "mine"),
        ("openai", "https://router.huggingface.co/v1", None, "hf_token"),
        ("hf", None, None, "hf_token"),
        ("hf", "https://router.huggingface.co/v1", None, "hf_token"),
        ("hf", "https://huggingface.co.evil.example/v1", None, "none"),
        ("hf", "http://127.0.0.1:8000/v1", None, "none"),
        ("hf", "https://api.openai.com/v1", None, "sk-openai"),
    ],
)
def test_a_key_goes_only_to_the_host_it_belongs_to(
    scheme: str, url: str | None, key: str | None, sent: str
) -> None:
    settings = Settings(model=f"{scheme}:x", base_url=url, api_key=key)
    assert endpoint_of(scheme, settings, ENV)[1] == sent


def test_the_environment_own_pair_of_url_and_key_belongs_together() -> None:
    env = {"OPENAI_API_KEY": "sk-pair", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1/"}
    assert endpoint_of("openai", Settings(), env) == ("http://127.0.0.1:9/v1", "sk-pair")
    other = Settings(base_url="http://127.0.0.1:7/v1")
    assert endpoint_of("openai", other, env) == ("http://127.0.0.1:7/v1", "none")


def test_prices_are_known_unknown_or_nothing_but_never_guessed() -> None:
    own = build_brain(Settings(model="openai:gpt-4o"), silent, ENV)
    assert own.price(1_000_000, 1_000_000) == pytest.approx(12.5)
    assert own.context_tokens == 128_000
    dated = build_brain(Settings(model="openai:gpt-4o-2024-08-06"), silent, ENV)
    assert dated.price(1_000_000, 0) == pytest.approx(2.5)
    unknown = build_brain(Settings(model="openai:gpt-99"), silent, ENV)
    assert unknown.price(10, 10) is None
    elsewhere = build_brain(
        Settings(model="openai:gpt-4o", base_url="https://gateway.example/v1"), silent, ENV
    )
    assert elsewhere.price(10, 10) is None
    local = build_brain(Settings(model="openai:x", base_url="http://localhost:8000/v1"), silent, ENV)
    assert local.price(10, 10) == 0
    assert local.context_tokens == 128_000


def test_every_entry_of_the_table_can_be_found() -> None:
    for entry in table()["models"]:
        name = entry["pattern"].replace("*", "").replace("[123]", "1")
        facts = lookup(name, entry.get("provider", ""))
        assert facts.context_tokens == entry["context"]
        assert facts.input_usd == entry.get("input")
    assert table()["as_of"]


needs_litellm = pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is an extra")


def test_without_litellm_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "litellm" else real(name))
    with pytest.raises(UsageError, match=r"pip install 'ml-intern\[litellm\]'"):
        build_brain(Settings(model="anthropic:claude-sonnet-4-5"), silent, {"ANTHROPIC_API_KEY": "x"})


@needs_litellm
def test_other_providers_are_known_by_price_and_key() -> None:
    brain = build_brain(Settings(model="anthropic:claude-sonnet-4-5"), silent, {})
    assert brain.price(1_000_000, 0) == 3
    with pytest.raises(NoBrain, match="ANTHROPIC_API_KEY"):
        brain.prepare("do it")


@needs_litellm
def test_other_providers_answer_through_litellm(
    scripted_server: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-deepseek-own")
    server = scripted_server([{"text": "from afar", "finish_reason": "length"}])
    brain = build_brain(Settings(model="deepseek:deepseek-chat", base_url=server.url), silent)
    brain.prepare("do it")
    reply = brain.generate([{"role": "user", "content": [{"type": "text", "text": "hello"}]}])
    assert reply.content == "from afar"
    assert reply.raw.finish_reason == "length"
    assert reply.token_usage.input_tokens == 10
    assert brain.price(10, 10) is None
    assert "sk-deepseek-own" not in str(server.requests)


@needs_litellm
def test_a_provider_that_is_not_there_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Event] = []
    brain = build_brain(
        Settings(model="deepseek:deepseek-chat", base_url="http://127.0.0.1:1/v1"), told.append
    )
    with pytest.raises(NoBrain, match="does not answer"):
        brain.generate([{"role": "user", "content": [{"type": "text", "text": "hello"}]}])
    assert told == []


@needs_litellm
def test_faults_of_other_providers_are_retried_by_us_alone(
    scripted_server: Callable[..., ScriptedServer],
) -> None:
    server = scripted_server([{"status": 503, "headers": {"Retry-After": "0"}}, "ok"])
    told: list[Event] = []
    brain = build_brain(Settings(model="deepseek:deepseek-chat", base_url=server.url), told.append)
    assert brain.generate([{"role": "user", "content": [{"type": "text", "text": "hello"}]}]).content == "ok"
    assert len(server.chats) == 2 and len(told) == 1
