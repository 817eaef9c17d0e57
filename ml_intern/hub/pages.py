"""Pages for people: what is on this Hub, and each repository with its card."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse, Response

from ml_intern.hub.describe import front_matter
from ml_intern.hub.names import KINDS, PREFIXES, Problem
from ml_intern.hub.repository import Repo
from ml_intern.hub.trees import Commit
from ml_intern.hub.wire import Call, Routes

routes = Routes()
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{border:1px solid #d0d7de;padding:.3rem .6rem;text-align:left}"
    "code,pre{background:#f3f4f6;border-radius:4px}code{padding:.1em .3em}pre{padding:.8rem;overflow:auto}"
    "a{color:#0a58ca}nav{color:#57606a}figure{margin:1rem 0}svg{max-width:100%}svg text{font-size:11px}"
    ".verdict{color:#fff;border-radius:4px;padding:0 .4em;font-size:.85em}"
)
# Cards are text that somebody uploaded: nothing on these pages may run or load anything.
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"}


@routes.add("GET /{none}")
def index(call: Call) -> Response:
    """Everything on this Hub; other short addresses do not exist."""
    if call.path["none"]:
        return HTMLResponse(_page("Not here", "<p>This Hub has no such page.</p>"), 404, _HEADERS)
    parts = []
    for kind in KINDS:
        repos = [r for r in call.storage.list(kind) if call.user or not r.settings.get("private")]
        rows = "".join(f'<li><a href="/{r.name.path}">{escape(r.name.id)}</a></li>' for r in repos)
        parts.append(f"<h2>{kind.capitalize()}s</h2><ul>{rows or '<li>none yet</li>'}</ul>")
    return HTMLResponse(_page("Embedded Hub", "".join(parts)), headers=_HEADERS)


@routes.add("GET /{ns}/{name}")
@routes.add("GET /{kinds}/{ns}/{name}")
@routes.add("GET /{ns}/{name}/{view}/{rev}")
@routes.add("GET /{kinds}/{ns}/{name}/{view}/{rev}")
def repository(call: Call) -> Response:
    """A repository: its card and its files."""
    if call.path.get("view", "tree") not in ("tree", "commit"):
        raise Problem("NotFound", "This Hub has no such page.")
    repo = call.repo()
    commit = repo.commit(call.path.get("rev", "main"))
    return HTMLResponse(_page(repo.name.id, _card(repo, commit) + _files(repo, commit)), headers=_HEADERS)


def markdown(text: str) -> str:
    """Markdown as HTML; raw HTML in it is shown, not obeyed."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


def _card(repo: Repo, commit: Commit) -> str:
    entry = commit.files.get("README.md")
    if entry is None or entry.size > 1_000_000:
        return "<p>No card.</p>"
    text = repo.path_of(entry).read_text("utf-8", "replace")
    if front_matter(text):
        text = text.split("\n---", 1)[1].lstrip("-\n")
    return markdown(text)


def _files(repo: Repo, commit: Commit) -> str:
    rows = "".join(
        f'<tr><td><a href="/{repo.name.path}/resolve/{commit.oid}/{escape(path)}">{escape(path)}</a></td>'
        f"<td>{entry.size:,}</td></tr>"
        for path, entry in commit.files.items()
    )
    return f"<h2>Files at {commit.oid[:8]}</h2><table><tr><th>file</th><th>bytes</th></tr>{rows}</table>"


def _page(title: str, body: str) -> str:
    kinds = " · ".join(PREFIXES[k].rstrip("/") or "models" for k in KINDS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<style>{STYLE}</style></head><body><nav><a href="/">Hub</a> · {kinds}</nav>'
        f"<h1>{escape(title)}</h1>{body}</body></html>"
    )
