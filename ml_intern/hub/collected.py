"""Collections and Spaces of the Hub: find them, make a collection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.hub.errors import reason
from ml_intern.hub.results import MadeCollection
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from huggingface_hub import Collection

    from ml_intern.context import ToolContext

MOST_ITEMS = 100
SHOWN = 100
_SLUG = re.compile(r"(?:https?://[^/]+/collections/)?([\w.-]+/[\w.-]+-[0-9a-f]{16,})")
_PREFIXES = {
    "datasets/": "dataset",
    "spaces/": "space",
    "papers/": "paper",
    "models/": "model",
    "collections/": "collection",
}


def spaces(ctx: ToolContext, query: str, limit: int) -> list[dict[str, Any]]:
    """Spaces by words in their names, the most liked first."""
    with ctx.hub.reach("the search"):
        found = list(ctx.hub.api.list_spaces(search=query, sort="likes", limit=limit))
    return [
        {
            "id": s.id,
            "sdk": s.sdk,
            "likes": s.likes,
            "changed": s.last_modified.date().isoformat() if s.last_modified else None,
            "tags": list(s.tags or [])[:12],
        }
        for s in found
    ]


def search(ctx: ToolContext, query: str, limit: int) -> list[dict[str, Any]]:
    """Collections by words, or the one that a slug names with all its items."""
    if match := _SLUG.fullmatch(query.strip()):
        with ctx.hub.reach(f"collection {match[1]!r}"):
            return [_row(ctx.hub.api.get_collection(match[1]), SHOWN)]
    return [_row(found, 4) for found in _found(ctx, query, limit)]


def create(
    ctx: ToolContext, title: str, description: str, notes: Mapping[str, str], private: bool
) -> MadeCollection:
    """Make a collection, or add to the one of that title.

    Raises:
        ToolError: Nothing is to be put in, the title does not fit, or it is public against the wish.
    """
    if not 1 <= len(title) <= 59 or len(description) > 150:
        raise ToolError("A title has 1 to 59 characters, a description at most 150.", "Shorten it.")
    if not 1 <= len(notes) <= MOST_ITEMS:
        raise ToolError(f"A collection is made of 1 to {MOST_ITEMS} items.", "Give items.")
    owner = ctx.hub.user
    with ctx.hub.reach(f"the collection {title!r}"):
        made = ctx.hub.api.create_collection(
            title, namespace=owner, description=description or None, private=private, exists_ok=True
        )
    if private and not made.private:
        raise ToolError(
            f"{made.slug} exists and is public, but this was asked to be private.",
            "Pass private=False, or choose another title.",
        )
    missing = {item: why for item, note in notes.items() if (why := _added(ctx, made.slug, item, note))}
    with ctx.hub.reach(f"collection {made.slug!r}"):
        now = ctx.hub.api.get_collection(made.slug)
    return MadeCollection(
        slug=now.slug, url=now.url, private=now.private, items=[_named(i) for i in now.items], missing=missing
    )


def _added(ctx: ToolContext, slug: str, item: str, note: str) -> str:
    """Put an item in; why it could not be, or nothing."""
    from huggingface_hub.errors import HfHubHTTPError

    kind, id = next(
        ((kind, item.strip()[len(p) :]) for p, kind in _PREFIXES.items() if item.strip().startswith(p)),
        ("model", item.strip()),
    )
    with ctx.hub.reach(f"collection {slug!r}"):
        try:
            ctx.hub.api.add_collection_item(slug, id, kind, note=note or None, exists_ok=True)  # type: ignore[arg-type]
        except HfHubHTTPError as error:
            if error.response is None or error.response.status_code not in (400, 404, 422):
                raise
            return reason(error)
    return ""


def _found(ctx: ToolContext, query: str, limit: int) -> list[Collection]:
    """huggingface_hub lists by owner and item only; the Hub itself takes words as well."""
    from huggingface_hub import Collection
    from huggingface_hub.utils import _http

    api = ctx.hub.api
    with ctx.hub.reach("the search"):
        answer = _http.get_session().get(
            f"{api.endpoint}/api/collections",
            params={"q": query, "limit": limit, "sort": "trending"},
            headers=api._build_hf_headers(),
        )
        _http.hf_raise_for_status(answer)
        rows = answer.json()
    return [Collection(**{"position": 0, **row, "endpoint": api.endpoint}) for row in rows[:limit]]


def _row(found: Collection, most: int) -> dict[str, Any]:
    owner: Any = found.owner
    return {
        "slug": found.slug,
        "title": mask(found.title),
        "owner": owner.get("name") if isinstance(owner, dict) else owner,
        "description": mask(found.description or ""),
        "upvotes": found.upvotes,
        "changed": found.last_updated.date().isoformat(),
        "items": [f"{_named(i)}{f': {mask(i.note)}' if i.note else ''}" for i in found.items[:most]],
    }


def _named(item: Any) -> str:
    prefix = {kind: prefix for prefix, kind in _PREFIXES.items()}.get(item.item_type, f"{item.item_type}s/")
    return item.item_id if item.item_type == "model" else f"{prefix}{item.item_id}"
