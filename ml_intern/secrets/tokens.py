"""The person's Hugging Face token: one place to look for it, for brains and for the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def hub_token(env: Mapping[str, str]) -> str:
    """The person's Hugging Face token, from the environment or saved by ``hf auth login``; else empty."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := env.get(variable, "").strip():
            return token
    try:
        return _saved(env).read_text(encoding="utf-8").strip()
    except (OSError, ValueError, RuntimeError):
        # RuntimeError: a path begins with ~, and nobody knows the home folder.
        return ""


def _saved(env: Mapping[str, str]) -> Path:
    """Where ``hf auth login`` keeps the token."""
    if path := env.get("HF_TOKEN_PATH"):
        return Path(path).expanduser()
    if home := env.get("HF_HOME"):
        return Path(home).expanduser() / "token"
    cache = env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or "~") / ".cache"
    return Path(cache).expanduser() / "huggingface" / "token"
