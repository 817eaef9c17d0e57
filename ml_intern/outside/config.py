"""What the settings say of MCP servers, checked before anything is started."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ml_intern.errors import UsageError
from ml_intern.outside.words import one_line
from ml_intern.tooling import EFFECTS, Effect, did_you_mean

DEFAULT_EFFECT: Effect = "destroy"
"""Of a tool whose effect nobody declared. It may do anything, so it gets the one that is always asked about.

Not ``publish``: that one is let through unasked with an argument ``private``, which a server can name as it
likes, and a person who says ``--yes publish`` means the intern's own results.
"""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST_NAME = 32
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class McpServer(BaseModel):
    """One entry of ``mcp_servers``: a program that is started, or a URL.

    Attributes:
        command: Program to start; it speaks over its standard input and output.
        args: Its arguments.
        env: Names of the variables that it gets beside PATH. As a table: its own name, then ours.
        cwd: Its folder; nothing: ours.
        url: Address of a server that is reached over HTTP.
        token: Name of the variable whose value is sent to that address as a bearer token.
        headers: Further headers for that address; the values are names of variables.
        effects: Effect by tool: the server's own names, globs, the first that fits.
        default_effect: Effect of all others.
        prices: Dollars a call, by tool. Tools with the effect ``compute`` and no price are asked about.
        repeatable: Tools whose calls may be made again after a crash. Of others with an effect the brain is
            told that nobody knows whether they were carried out.
        tools: Which tools are offered.
        timeout_s: One call.
        start_timeout_s: From the start to the list of the tools.
    """

    model_config = ConfigDict(extra="forbid")

    command: str | None = Field(None, min_length=1)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: Path | None = None
    url: str | None = None
    token: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    effects: dict[str, Effect] = Field(default_factory=dict)
    default_effect: Effect = DEFAULT_EFFECT
    prices: dict[str, float] = Field(default_factory=dict)
    repeatable: list[str] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=lambda: ["*"])
    timeout_s: float = Field(120, gt=0)
    start_timeout_s: float = Field(30, gt=0)

    @field_validator("env", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return {name: name for name in value} if isinstance(value, list) else value

    @field_validator("env", "headers")
    @classmethod
    def _name_variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value.values():
            _check_variable(name)
        return value

    @field_validator("token")
    @classmethod
    def _name_one(cls, value: str | None) -> str | None:
        return None if value is None else _check_variable(value)

    @field_validator("prices")
    @classmethod
    def _no_gifts(cls, value: dict[str, float]) -> dict[str, float]:
        if any(not usd >= 0 for usd in value.values()):
            raise ValueError("a price is dollars, 0 or more")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("it needs either 'command' or 'url'")
        if self.command is not None and (self.token or self.headers):
            raise ValueError("'token' and 'headers' go with 'url'; a program gets its variables by 'env'")
        if self.url is not None:
            if self.args or self.env or self.cwd:
                raise ValueError("'args', 'env' and 'cwd' go with 'command'")
            _check_url(self.url, secret=bool(self.token or self.headers))
        return self

    def variables(self) -> list[str]:
        """Every variable of ours that the entry names."""
        return [*self.env.values(), *self.headers.values(), *([self.token] if self.token else [])]

    def effect(self, tool: str) -> Effect:
        """What a call of a tool does, as the settings say; what the server says of it counts for nothing."""
        return next((e for glob, e in self.effects.items() if fnmatchcase(tool, glob)), self.default_effect)

    def price(self, tool: str) -> float | None:
        """Dollars a call; None: not declared."""
        return next((usd for glob, usd in self.prices.items() if fnmatchcase(tool, glob)), None)

    def again(self, tool: str) -> str:
        """Why a call may be made again after a crash; empty where it may not."""
        named = any(fnmatchcase(tool, glob) for glob in self.repeatable)
        return "the settings say so" if named else ""

    def offers(self, tool: str) -> bool:
        """Whether the intern gets this tool at all."""
        return any(fnmatchcase(tool, glob) for glob in self.tools)


def read_entry(name: str, given: Any) -> McpServer:
    """One entry of the settings.

    Raises:
        UsageError: Names the key and what is wrong with it.
    """
    key = f"mcp_servers.{one_line(str(name), LONGEST_NAME + 8)}"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"Setting {key}: a server's name is letters and digits, with single '_' or '-' between.",
            f"At most {LONGEST_NAME} characters; it stands before the names of its tools.",
        )
    if not isinstance(given, Mapping):
        raise UsageError(f"Setting {key}: it is a table with 'command' or 'url'.")
    try:
        return McpServer.model_validate(dict(given))
    except ValidationError as error:
        raise UsageError(_explain(key, error)) from None


def _explain(key: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join([key, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        return f"Setting {where}: unknown key{did_you_mean(str(first['loc'][-1]), McpServer.model_fields)}."
    if first["type"] == "literal_error":
        return f"Setting {where}: not one of {', '.join(EFFECTS)}."
    return f"Setting {where}: {one_line(first['msg'].removeprefix('Value error, '), 200)}."


def _check_variable(name: str) -> str:
    # The value is not told: who mistakes this for the place of the token itself has written a token here.
    if not _VARIABLE.fullmatch(name):
        raise ValueError("it takes the name of a variable, such as TRACKER_TOKEN, never its value")
    return name


def _check_url(url: str, secret: bool) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise ValueError("the url cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("a url begins with https:// or http:// and names a host")
    if parts.username or parts.password:
        raise ValueError("no password in the url: name a variable with 'token' or 'headers'")
    if secret and parts.scheme == "http" and host not in LOOPBACK:
        raise ValueError("a token is not sent in the clear: use https")
