"""What a client can read of its session beside its calls: report, experiments, jobs with logs and metrics."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import mcp_types as types

from ml_intern.errors import InternError
from ml_intern.mcp_server.answers import finite
from ml_intern.secrets.masking import mask, mask_all
from ml_intern.tooling import to_json

if TYPE_CHECKING:
    from ml_intern.mcp_server.session import ToolSession

SCHEME = "ml-intern"
_JOB = re.compile(r"jobs/([A-Za-z0-9._-]+)/(log|metrics)")
PAGE = 20_000

ABOUT = {
    "session": ("The session: its folder, workspace, budget and settings.", "application/json"),
    "report": ("What was tried, measured, concluded, spent and published so far.", "text/markdown"),
    "experiments": (
        "The ledger: each experiment with its hypothesis, metrics and verdict.",
        "application/json",
    ),
    "jobs": ("All jobs with their state and newest metrics.", "application/json"),
}


def listed(session: ToolSession | None) -> list[types.Resource]:
    """The resources that are there now."""
    found = [_resource(name, *about) for name, about in ABOUT.items()]
    for job in session.services.jobs.list() if session else []:
        found.append(_resource(f"jobs/{job.id}/log", f"The log of {job.id}.", "text/plain"))
        found.append(_resource(f"jobs/{job.id}/metrics", f"What {job.id} measured.", "application/json"))
    return found


def _resource(name: str, about: str, kind: str) -> types.Resource:
    return types.Resource(name=name, uri=f"{SCHEME}://{name}", description=about, mime_type=kind)


def templates() -> list[types.ResourceTemplate]:
    """The resources of any job."""
    return [
        types.ResourceTemplate(
            name="job log",
            uri_template=f"{SCHEME}://jobs/{{job}}/log{{?offset}}",
            description=f"A page of a job's log, {PAGE:,} characters at most; it says where the next begins.",
            mime_type="text/plain",
        ),
        types.ResourceTemplate(
            name="job metrics",
            uri_template=f"{SCHEME}://jobs/{{job}}/metrics",
            description="All that a job measured, a row a step.",
            mime_type="application/json",
        ),
    ]


def read(session: ToolSession, uri: str) -> types.TextResourceContents:
    """The text of a resource.

    Raises:
        InternError: There is none of that name.
    """
    parts = urlsplit(uri)
    name = (parts.netloc + parts.path).strip("/")
    if parts.scheme != SCHEME:
        raise _unknown(uri)
    if name == "session":
        return _json(uri, summary(session))
    if name == "report":
        from ml_intern.reports import read_story, report_markdown

        return _text(uri, report_markdown(read_story(session.folder, "")), "text/markdown")
    if name == "experiments":
        return _json(uri, session.services.ledger.list())
    if name == "jobs":
        return _json(uri, session.services.jobs.list())
    if found := _JOB.fullmatch(name):
        return _of_job(session, uri, found[1], found[2], parts.query)
    raise _unknown(uri)


def _of_job(session: ToolSession, uri: str, job: str, what: str, query: str) -> types.TextResourceContents:
    if what == "metrics":
        return _json(uri, session.services.jobs.metrics(job))
    given = parse_qs(query).get("offset", ["0"])[0]
    page = session.services.jobs.logs(job, int(given) if given.isdecimal() else 0, PAGE)
    more = f"\n… {SCHEME}://jobs/{job}/log?offset={page.next_offset}" if page.text and not page.done else ""
    return _text(uri, page.text + more, "text/plain")


def summary(session: ToolSession) -> dict[str, Any]:
    """The session in short."""
    return {
        "id": session.id,
        "folder": str(session.folder),
        "workspace": str(session.workspace),
        "sandbox": session.sandbox.describe(),
        "budget_left": session.router.left(),
        "published": session.published,
        "denied": session.router.denied,
        "allowed_beforehand": list(session.settings.yes),
        "language_model": session.research_brain.label if session.research_brain.language_model else None,
    }


def _unknown(uri: str) -> InternError:
    return InternError(f"There is no resource {uri[:200]!r}.", "resources/list names those that there are.")


def _text(uri: str, text: str, kind: str) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, text=mask(text), mime_type=kind)


def _json(uri: str, value: Any) -> types.TextResourceContents:
    shown = json.dumps(finite(mask_all(to_json(value))), ensure_ascii=False, indent=1, default=str)
    return _text(uri, shown, "application/json")
