from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.github_server import TOKEN, FakeRepo, GitHubServer, notebook
from support.loopback import Answer, Loopback

from ml_intern.context import Services, ToolContext
from ml_intern.secrets.secrets import Secrets
from ml_intern.settings import Settings
from ml_intern.web.client import Engine, Web

TRAIN = '''"""Train a model."""

from trl import SFTConfig, SFTTrainer


def main():
    config = SFTConfig(packing=True)
    trainer = SFTTrainer(
        model="m",
        args=config,
    )
    trainer.train()
'''
GUIDE = """# Training

Some words on `SFTTrainer`.

```python
from trl import SFTTrainer

trainer = SFTTrainer("m")
```

The end.
"""
FILES: dict[str, str | bytes] = {
    "README.md": "# trl\n\nUse `SFTTrainer` for it.\n",
    "docs/source/sft.md": GUIDE,
    "examples/scripts/sft.py": TRAIN,
    "examples/notebooks/intro.ipynb": notebook(
        ("markdown", "# Intro"), ("code", "t = SFTTrainer('x')\nt.train()")
    ),
    "examples/data.bin": b"\0\1\2" * 20,
    "examples/weights.safetensors": "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1234567\n",
    "tests/test_sft.py": "from trl import SFTTrainer\n\n\ndef test_it():\n    assert SFTTrainer\n",
    "trl/sft.py": "class SFTTrainer:\n    pass\n",
    "trl/long.py": "".join(f"value_{n} = {n}\n" for n in range(1, 1201)),
    "empty.py": "",
}


@pytest.fixture
def github() -> GitHubServer:
    """A GitHub with a few repositories."""
    return GitHubServer(
        {
            "acme/trl": FakeRepo(
                FILES,
                refs={"feature/x": {"examples/new.py": "x = SFTTrainer(1)\n", "a.py": "1\n"}},
                tags=("v1.0",),
                stars=900,
                description="Train language models; SFTTrainer and others",
            ),
            "acme/other": FakeRepo({"a.py": "pass\n"}, stars=5),
            "acme/fork": FakeRepo({"a.py": "pass\n"}, stars=5000, fork=True),
            "acme/secret": FakeRepo({"a.py": "hidden = 1\n", "big.txt": "x\n" * 600_000}, private=True),
            "acme/empty": FakeRepo({}),
            "zeta/models": FakeRepo({"examples/run.py": TRAIN}, stars=50, description="SFTTrainer demos"),
        },
        renamed={"acme/old": "acme/trl"},
    )


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Loopback]]:
    """``serve(answer)`` starts a server that ends with the test."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(Loopback(answer))


@pytest.fixture
def server(github: GitHubServer, serve: Callable[[Answer], Loopback]) -> Loopback:
    """The GitHub of this test, running."""
    github.server = serve(github.answer)
    return github.server


@pytest.fixture
def make_context(tmp_path: Path) -> Iterator[Callable[..., ToolContext]]:
    """``make_context(url)`` is what a tool gets; GitHub and the engines are at the address."""
    with ExitStack() as stack:

        def make(
            url: str,
            token: str = "",
            stop: Callable[[], bool] = lambda: False,
            told: list[Any] | None = None,
            environment: dict[str, str] | None = None,
            **options: Any,
        ) -> ToolContext:
            nothing: Any = None
            mirrors = dict.fromkeys(("github", "github-raw", "duckduckgo", "bing"), url)
            given = {
                "private": ["127.0.0.1"],
                "backoff_s": 0.02,
                "manners": (),
                "mirrors": mirrors,
                **options,
            }
            engine = Engine(options.pop("folder", tmp_path / "cache"), **given)
            stack.callback(engine.close)
            env = {"GITHUB_API_URL": url, "GITHUB_TOKEN": token} if environment is None else environment
            services = Services(
                session="s",
                folder=tmp_path / "session",
                settings=Settings(),
                files=nothing,
                datasets=nothing,
                jobs=nothing,
                ledger=nothing,
                evals=nothing,
                hub=nothing,
                emit=(told.append if told is not None else lambda event: None),
                secrets=Secrets(env),
                web=Web(engine),
            )
            return ToolContext(services, "call-1", "key-1", stop, needs=("github",))

        yield make


@pytest.fixture
def token() -> str:
    """One that the GitHub here takes."""
    return TOKEN
