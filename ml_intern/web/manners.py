"""How often each host may be asked and how long its answers keep, as data with where that is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class Manners:
    """What a host asks of its callers.

    Attributes:
        host: ``api.example.com``, or ``.example.com`` for the domain and all below it, which share one queue.
        every_s: Seconds from the start of one request to the start of the next.
        keyed_s: The same for a caller with a key; None: no difference.
        single: One connection at a time.
        fresh_s: How long an answer keeps where the host does not say.
        source: Where the host says so.
    """

    host: str
    every_s: float = 0.0
    keyed_s: float | None = None
    single: bool = False
    fresh_s: float = HOUR
    source: str = ""

    def fits(self, host: str) -> bool:
        """Whether a host is meant."""
        return host == self.host.lstrip(".") or (self.host.startswith(".") and host.endswith(self.host))

    def pause(self, keyed: bool) -> float:
        """Seconds between two requests."""
        return self.every_s if self.keyed_s is None or not keyed else self.keyed_s


MANNERS = (
    Manners(
        ".arxiv.org",
        every_s=3.0,
        single=True,
        fresh_s=DAY,
        source="https://info.arxiv.org/help/api/tou.html: one request every three seconds, one connection;"
        " https://info.arxiv.org/help/api/user-manual.html: results change once a day",
    ),
    Manners(
        "api.semanticscholar.org",
        every_s=3.0,
        keyed_s=1.0,
        fresh_s=DAY,
        source="https://www.semanticscholar.org/product/api: one request a second with a key; without one a"
        " pool that all callers share, once given as 100 requests in five minutes",
    ),
    Manners(
        "api.openalex.org",
        every_s=0.1,
        fresh_s=DAY,
        source="https://developers.openalex.org/api-reference/authentication: at most 100 requests a second"
        " and a daily allowance; a tenth of that spares it",
    ),
    Manners(
        "huggingface.co",
        every_s=0.6,
        keyed_s=0.3,
        fresh_s=HOUR / 6,
        source="https://huggingface.co/docs/hub/rate-limits: requests are counted over five minutes, 500"
        " without a token and 1,000 with one",
    ),
    Manners(
        "api.github.com",
        single=True,
        fresh_s=60.0,
        source="https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api:"
        " one request after the other; 60 an hour without a token, 5,000 with one",
    ),
    Manners(
        "raw.githubusercontent.com",
        every_s=0.05,
        source="https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api: no figure"
        " for this host; twenty a second spare it",
    ),
    Manners(
        ".duckduckgo.com", every_s=2.0, source="https://duckduckgo.com: no figure; a person is no faster"
    ),
    Manners(".bing.com", every_s=2.0, source="https://www.bing.com: no figure; a person is no faster"),
)
"""Hosts that are known; any other is asked as it comes, and slows us by 429 and Retry-After."""


MIRRORED = (
    "arxiv", "arxiv-site", "semantic-scholar", "openalex", "huggingface", "dataset-viewer",
    "github", "github-raw", "duckduckgo", "bing",
)  # fmt: skip
"""Services whose address a person may change: of arXiv and GitHub the API and the texts apart."""


def manners_of(host: str, known: Iterable[Manners] = MANNERS) -> Manners:
    """What is known of a host."""
    return next((m for m in known if m.fits(host)), Manners(host))
