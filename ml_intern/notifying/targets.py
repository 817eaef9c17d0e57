"""Where notifications go: incoming webhooks of Slack, and webhooks of the person's own."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ml_intern.notifying.messages import Message
from ml_intern.secrets.masking import add_secret

if TYPE_CHECKING:
    import httpx

    from ml_intern.settings import Settings

SLACK = "slack"
SLACK_VARIABLE = "SLACK_WEBHOOK_URL"
SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_PATH_CHARS = 16
"""A path from this length on is hidden by itself: with Slack, and others, it is the whole secret."""
_SAID_BYTES = 300


@dataclass(frozen=True)
class Target:
    """One webhook.

    Attributes:
        url: A secret: whoever has it can write there.
        slack: It reads Slack's format.
        secret: Signs what is sent; nothing: it goes out unsigned.
    """

    url: str = field(repr=False)
    slack: bool
    secret: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """For people."""
        return f"{'Slack' if self.slack else 'the webhook'} at {urlsplit(self.url).netloc.rpartition('@')[2]}"

    def hide(self) -> None:
        """From here on neither the address nor the secret is shown by this process."""
        parts = urlsplit(self.url)
        path = self.url.partition(parts.netloc)[2]
        for value in (self.url, self.secret, path if len(path) >= _PATH_CHARS else ""):
            add_secret(value)

    def post(self, client: httpx.Client, message: Message) -> None:
        """Send it.

        Raises:
            httpx.HTTPError: It was not taken; of a refusal with the server's words.
        """
        import httpx

        body = json.dumps(message.to_slack() if self.slack else message.to_json(), ensure_ascii=False)
        data = body.encode("utf-8", "backslashreplace")
        with client.stream("POST", self.url, content=data, headers=self._headers(message, data)) as answer:
            if answer.is_success:
                return
            said = next(answer.iter_bytes(_SAID_BYTES), b"").decode("utf-8", "replace")
        told = f"{answer.status_code} {said.partition(chr(10))[0].strip()[:100]}".strip()
        raise httpx.HTTPStatusError(told, request=answer.request, response=answer)

    def _headers(self, message: Message, data: bytes) -> dict[str, str]:
        """The signature is GitHub's: its verifiers take it as it is.

        https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
        """
        found = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "ml-intern"}
        if self.slack:
            return found
        found |= {"X-ML-Intern-Event": message.kind, "X-ML-Intern-Delivery": token_hex(16)}
        if self.secret:
            found["X-Hub-Signature-256"] = "sha256=" + sign(self.secret, data)
        return found


def sign(secret: str, data: bytes) -> str:
    """The HMAC-SHA256 of a body in hexadecimal digits."""
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def check_target(entry: str) -> str:
    """What is wrong with an entry of the setting, in words without the address; nothing where it is right."""
    if entry == SLACK:
        return ""
    try:
        parts = urlsplit(entry.removeprefix("slack+"))
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        right = False
    if not right:
        return "an entry is neither slack nor a web address, which begins with http or https"
    slack = parts.hostname in SLACK_HOSTS
    return "the URL of slack must begin with https" if slack and parts.scheme != "https" else ""


def read_targets(settings: Settings, environment: Mapping[str, str]) -> tuple[list[Target], list[str]]:
    """The targets of the settings, and what the person should know of those that are none.

    Args:
        settings: Their `notify` names them.
        environment: Where Slack's URL is, for the entry ``slack``.
    """
    found, problems = [], []
    for entry in dict.fromkeys(settings.notify):
        if entry == SLACK:
            url = environment.get(SLACK_VARIABLE, "").strip()
            if not url or urlsplit(url).hostname not in SLACK_HOSTS or check_target(url):
                problems.append(f"notify names slack, and {SLACK_VARIABLE} is no incoming webhook of Slack.")
                continue
            entry = url
        url = entry.removeprefix("slack+")
        slack = url != entry or urlsplit(url).hostname in SLACK_HOSTS
        found.append(Target(url, slack, "" if slack else settings.notify_secret or ""))
    _hide(found)
    return found, problems


def _hide(targets: Sequence[Target]) -> None:
    for target in targets:
        target.hide()
