"""Which addresses a tool may open without a question: given ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ml_intern.errors import ToolError
from ml_intern.web.met import is_host_of

if TYPE_CHECKING:
    from ml_intern.context import ToolContext


def check_given(ctx: ToolContext, url: str) -> None:
    """Refuse an address that the model may have made up.

    Raises:
        ToolError: Its host is none of the setting `web_hosts`, no page gave it, the person did not write it.
    """
    if not re.match(r"https?://", url, re.I) or ctx.web is None:
        return
    heard = ctx.services.heard()
    said = heard.said if heard else ()
    if is_host_of(url, ctx.settings.web_hosts) or ctx.web.met(url) or any(url in text for text in said):
        return
    raise ToolError(
        f"No page that was read here names {url[:200]}, and {urlsplit(url).hostname!r} is none of web_hosts.",
        "Search for the page (web_search, search_docs), or call it with network=True: a person is asked.",
    )
