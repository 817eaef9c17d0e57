"""Making a session: everything that can be checked is checked before anything is made."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from ml_intern.agent.groups import unknown
from ml_intern.brains.factory import build_brain, build_judge, build_research_brain
from ml_intern.errors import NoBrain
from ml_intern.events import Event, Notice
from ml_intern.outside.mcp_servers import McpServers
from ml_intern.router.policy import idle_rules
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.secrets.masking import add_secret, mask
from ml_intern.secrets.secrets import Secrets, check_project, check_workspace
from ml_intern.session.checks import check_price, check_settings
from ml_intern.settings import FILE, Settings
from ml_intern.workspace.disk import told as disk_told

if TYPE_CHECKING:
    from ml_intern.evals.named import Brought
    from ml_intern.router.router import Approver
    from ml_intern.session.session import Session


class Early:
    """Takes the events of a session that is being made, and hands them on once it is there."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._waiting = list(events)
        self._take: Callable[[Event], None] = self._waiting.append

    def __call__(self, event: Event) -> None:
        """Keep an event, or hand it on."""
        self._take(event)

    def hand_to(self, take: Callable[[Event], None]) -> None:
        """From now on events go there; first those that wait."""
        self._take = take
        for event in self._waiting:
            take(event)


def open_session(
    cls: type[Session], settings: Settings, prompt: str, approver: Approver | None, folder: Path | None
) -> Session:
    """A session that is new or goes on; see `Session.create`."""
    check_settings(settings)
    project = Path.cwd()
    check_workspace(settings.workspace, project)
    secrets = Secrets(os.environ, project)
    add_secret(settings.api_key or "")
    check_project(settings.base_url, settings.api_key, os.environ, project / FILE)
    early = Early(secrets.notices)
    prompt = without_credentials(prompt, early)
    try:
        brain = build_brain(settings, early, secrets.env)
        brain.prepare(prompt)
        reader = build_research_brain(settings, early, secrets.env)
        judge = build_judge(settings, early, secrets.env)
    except NoBrain as error:
        # Why the key of .env did not count is what the person then wants to know.
        words = [error.hint, *(n.text for n in secrets.notices if n.level == "warning")]
        raise NoBrain(error.message, " ".join(filter(None, words))) from error
    for asked in filter(None, (brain, reader, judge)):
        check_price(settings, asked)
    trusted = brain.trusted and reader is None
    sandbox = choose_sandbox(settings.sandbox, trusted=trusted, settings=settings, env=secrets.env)
    evals = fetch_evals(settings, secrets, folder)
    mcp = McpServers(settings.mcp_servers, secrets.env)
    try:
        with disk_told(f"The state folder {settings.state}"):
            beside = (folder, reader, judge, evals)
            session = cls(settings, prompt, brain, sandbox, approver, secrets, mcp, *beside)
    except BaseException:  # a Ctrl-C while the servers start: none of them stays
        mcp.close()
        raise
    specs = [*session.router.specs.values()]
    for line in [*mcp.problems, *idle_rules(settings.policy, specs), *unknown(settings.tool_groups, specs)]:
        early(Notice("warning", line))
    early.hand_to(session.emit)
    return session


def fetch_evals(settings: Settings, secrets: Secrets, folder: Path | None) -> list[Brought] | None:
    """What ``--eval`` names, before anything is made: the Hub may be out of reach, or a name unknown."""
    if not settings.eval:
        return None
    from ml_intern.evals.named import bring
    from ml_intern.hub.client import Hub

    hub = Hub(settings, settings.state, secrets.env)
    try:
        return bring(settings, lambda: hub, folder / "evals" if folder else None)
    finally:
        hub.close()


def fresh_id(sessions: Path) -> str:
    """An id that no session has, also where the clock was set back to the time of an older one."""
    while True:
        name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{token_hex(2)}"
        if not (sessions / name).exists():
            return name


def without_credentials(prompt: str, emit: Callable[[Event], None]) -> str:
    """The prompt as everybody may read it: a brain, the journal, a provider. The person is told."""
    hidden = mask(prompt)
    if hidden != prompt:
        told = "A credential in the prompt was hidden: neither the brain nor its cells get one."
        emit(Notice("warning", f"{told} Set it in the environment or in .env."))
    return hidden
