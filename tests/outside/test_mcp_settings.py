"""What is wrong in the settings is one line with the key's name, before anything is started."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ml_intern.errors import UsageError
from ml_intern.outside.mcp_servers import McpServers
from ml_intern.settings import Settings
from ml_intern.trust import trust

GOOD = {"command": "tracker"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"comand": "x"}, "mcp_servers.one.comand: unknown key (did you mean 'command'?)"),
        ({}, "mcp_servers.one: it needs either 'command' or 'url'"),
        ({"command": "x", "url": "https://a.example/mcp"}, "either 'command' or 'url'"),
        ("tracker --stdio", "mcp_servers.one: it is a table"),
        ({**GOOD, "args": "a b"}, "mcp_servers.one.args"),
        ({**GOOD, "effects": {"*": "raed"}}, "mcp_servers.one.effects.*: not one of read, write"),
        ({**GOOD, "default_effect": "none"}, "mcp_servers.one.default_effect"),
        ({**GOOD, "timeout_s": 0}, "mcp_servers.one.timeout_s"),
        ({**GOOD, "prices": {"a": -1}}, "mcp_servers.one.prices"),
        ({**GOOD, "prices": {"a": float("nan")}}, "mcp_servers.one.prices"),
        ({**GOOD, "env": ["A-B"]}, "mcp_servers.one.env: it takes the name of a variable"),
        ({**GOOD, "token": "A"}, "'token' and 'headers' go with 'url'"),
        ({"url": "https://a.example/mcp", "env": ["A"]}, "go with 'command'"),
        ({"url": "ftp://a.example"}, "https://"),
        ({"url": "https://[oops/"}, "cannot be read"),
        ({"url": "https://me:pw@a.example/mcp"}, "no password in the url"),
        ({"url": "http://a.example/mcp", "token": "A"}, "not sent in the clear"),
        ({"url": "https://a.example/mcp", "token": "sk-0123"}, "never its value"),
    ],
)
def test_a_bad_entry_is_named(entry: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        McpServers({"one": entry})
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert "sk-0123" not in str(caught.value) and "me:pw" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a__b", "a_", "-a", "9a", "a" * 40, "a\nb", "ä"])
def test_a_servers_name_can_stand_before_its_tools(name: str) -> None:
    with pytest.raises(UsageError, match="a server's name is letters and digits"):
        McpServers({name: GOOD})


def test_two_servers_cannot_share_a_prefix() -> None:
    with pytest.raises(UsageError, match="two servers are named 'a_b'"):
        McpServers({"a-b": GOOD, "a_b": GOOD})


def test_entries_come_from_the_settings_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ml-intern.toml").write_text(
        '[mcp_servers.tracker]\ncommand = "tracker"\nenv = { TOKEN = "WORK_TOKEN" }\n'
        'effects = { "list_*" = "read", "*" = "publish" }\n'
    )
    monkeypatch.chdir(tmp_path)
    trust(tmp_path / "ml-intern.toml")
    entry = McpServers(Settings.load().mcp_servers).servers[0].entry
    assert entry.env == {"TOKEN": "WORK_TOKEN"}
    assert [entry.effect(name) for name in ("list_all", "drop")] == ["read", "publish"]


def test_without_servers_nothing_is_imported() -> None:
    import subprocess

    code = (
        "import sys; from ml_intern.outside.mcp_servers import McpServers; s = McpServers({}); s.specs(); s.close();"
        "import ml_intern.router.registry; sys.exit(any(m in sys.modules for m in ('mcp', 'smolagents', 'httpx2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
