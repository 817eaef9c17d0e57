"""The ids of papers, in every form that people and services write them.

One paper may be meant by an arXiv id of either kind, with or without a version, by a DOI (arXiv has some of
its own), by Semantic Scholar, OpenAlex or the ACL, and by the URL of any of these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from ml_intern.errors import ToolError

Scheme = Literal["arxiv", "doi", "s2", "corpus", "openalex", "acl", "pmid"]

FORMS = "2106.09685, astro-ph/0601001, 10.1145/3544585, an arXiv, DOI or Semantic Scholar URL"
_NEW = re.compile(
    r"((?:0[7-9]|1[0-4])(?:0[1-9]|1[0-2])\.\d{4}|(?:1[5-9]|[2-9]\d)(?:0[1-9]|1[0-2])\.\d{5})(?:v([1-9]\d*))?",
    re.ASCII,
)
"""Year, month, a number of four digits until 2014 and of five since: info.arxiv.org/help/arxiv_identifier."""
_OLD = re.compile(r"([a-z][a-z-]*(?:\.[A-Za-z]{2})?/\d{7})(?:v([1-9]\d*))?", re.I | re.ASCII)
_DOI = re.compile(r"10\.\d{4,9}/\S+")
_ARXIV_DOI = re.compile(r"10\.48550/arxiv\.(.+)", re.I)
_SHA = re.compile(r"[0-9a-f]{40}", re.I)
_ACL = re.compile(r"[A-Z]\d{2}-\d{4}|\d{4}\.[a-z0-9]+-[a-z0-9]+\.\d+", re.I)
_ARXIV_HOSTS = ("arxiv.org", "ar5iv.org", "ar5iv.labs.arxiv.org", "alphaxiv.org", "export.arxiv.org")
_PREFIXES: dict[str, Scheme] = {
    "arxiv": "arxiv", "doi": "doi", "corpusid": "corpus", "s2": "s2", "openalex": "openalex", "acl": "acl",
    "pmid": "pmid",
}  # fmt: skip


@dataclass(frozen=True)
class PaperId:
    """One id. Two are equal when they name the same paper in the same scheme and version.

    Attributes:
        scheme: Who gives it.
        value: Without prefix and version, in one spelling.
        version: Of an arXiv id; None: the newest.
    """

    scheme: Scheme
    value: str
    version: int | None = None

    @property
    def key(self) -> str:
        """For comparing; versions of one paper share it."""
        return f"{self.scheme}:{self.value.lower()}"

    @property
    def bare(self) -> PaperId:
        """The same without its version."""
        return PaperId(self.scheme, self.value)

    @property
    def semantic_scholar(self) -> str:
        """As Semantic Scholar's API takes it; empty where it does not know the scheme."""
        forms = {"arxiv": "ARXIV:{}", "doi": "DOI:{}", "s2": "{}", "corpus": "CorpusId:{}"}
        form = {**forms, "acl": "ACL:{}", "pmid": "PMID:{}"}.get(self.scheme, "")
        return form.format(self.value)

    @property
    def openalex(self) -> str:
        """As OpenAlex's API takes it; empty where it does not know the scheme."""
        if self.scheme == "openalex":
            return self.value
        if self.scheme == "arxiv":
            return f"doi:10.48550/arXiv.{self.value}"
        return f"{self.scheme}:{self.value}" if self.scheme in ("doi", "pmid") else ""

    @property
    def url(self) -> str:
        """Its page for people."""
        pages = {
            "arxiv": "https://arxiv.org/abs/{}",
            "doi": "https://doi.org/{}",
            "s2": "https://www.semanticscholar.org/paper/{}",
            "corpus": "https://api.semanticscholar.org/CorpusID:{}",
            "openalex": "https://openalex.org/{}",
            "acl": "https://aclanthology.org/{}",
            "pmid": "https://pubmed.ncbi.nlm.nih.gov/{}",
        }
        value = f"{self.value}v{self.version}" if self.version else self.value
        return pages[self.scheme].format(quote(value, safe="/:;"))

    def __str__(self) -> str:
        version = f"v{self.version}" if self.version else ""
        if self.scheme == "arxiv":
            return f"{self.value}{version}"
        if self.scheme in ("doi", "s2", "openalex"):
            return self.value
        return f"{'CorpusId' if self.scheme == 'corpus' else self.scheme.upper()}:{self.value}"


def parse_id(text: str) -> PaperId:
    """Understand an id.

    Raises:
        ToolError: It is none; names the forms.
    """
    found = try_id(text)
    if found is None:
        raise ToolError(
            f"{text.strip()[:100]!r} is no id of a paper.",
            f"Give one like {FORMS}; search_papers finds them.",
        )
    return found


def try_id(text: str) -> PaperId | None:
    """Understand an id; None where it is none."""
    text = text.strip().strip("<>\"'")
    if not text or len(text) > 500:
        return None
    if "://" in text or text.lower().startswith(("www.", "arxiv.org/", "doi.org/", "hf.co/")):
        return _of_url(text if "://" in text else f"https://{text}")
    prefix, colon, rest = text.partition(":")
    scheme = _PREFIXES.get(prefix.strip().lower())
    if colon and scheme:
        return _of_scheme(scheme, rest.strip())
    return _of_bare(text)


def _of_scheme(scheme: Scheme, value: str) -> PaperId | None:
    if scheme == "arxiv":
        return _arxiv(value)
    if scheme == "doi":
        return _doi(value)
    known = {"s2": _SHA, "acl": _ACL, "openalex": re.compile(r"W\d+", re.I)}.get(scheme, re.compile(r"\d+"))
    if not known.fullmatch(value):
        return None
    value = value.lower() if scheme == "s2" else value.upper() if scheme == "openalex" else value
    return PaperId(scheme, value)


def _of_bare(text: str) -> PaperId | None:
    found = _arxiv(text) or _doi(text)
    if found:
        return found
    if _SHA.fullmatch(text):
        return PaperId("s2", text.lower())
    return PaperId("openalex", text.upper()) if re.fullmatch(r"W\d{4,}", text, re.I) else None


def _arxiv(text: str) -> PaperId | None:
    found = _NEW.fullmatch(text) or _OLD.fullmatch(text)
    if not found:
        return None
    archive, slash, number = found[1].partition("/")
    # The subject class of an old id is not part of it: math.GT/0309136 is math/0309136.
    value = f"{archive.partition('.')[0].lower()}/{number}" if slash else archive
    return PaperId("arxiv", value, int(found[2]) if found[2] else None)


def _doi(text: str) -> PaperId | None:
    if not _DOI.fullmatch(text):
        return None
    own = _ARXIV_DOI.fullmatch(text)
    return _arxiv(own[1]) if own else PaperId("doi", text.lower().rstrip(".,;)"))


def _of_url(url: str) -> PaperId | None:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    path = unquote(parts.path).strip("/")
    if host in _ARXIV_HOSTS:
        return _of_arxiv_path(path)
    if host in ("huggingface.co", "hf.co"):
        return _arxiv(path.removeprefix("papers/").removesuffix(".md"))
    if host in ("doi.org", "dx.doi.org"):
        return _doi(path)
    if host.endswith("semanticscholar.org"):
        return _last(path, _SHA, "s2") or _of_bare(path.rpartition("/")[2])
    if host.endswith("openalex.org"):
        return _of_bare(path.rpartition("/")[2])
    if host.endswith("aclanthology.org"):
        return _last(path.removesuffix(".pdf"), _ACL, "acl")
    if host.endswith("pubmed.ncbi.nlm.nih.gov"):
        return _last(path, re.compile(r"\d+"), "pmid")
    found = _DOI.search(path)
    return _doi(found[0]) if found else None


def _of_arxiv_path(path: str) -> PaperId | None:
    """``abs/…``, ``pdf/….pdf``, ``html/…``, ``src/…``, ``e-print/…``, ``overview/…``; or the id alone."""
    path = re.sub(r"\.(pdf|tar\.gz|html?)$", "", path)
    for start in (path.partition("/")[2], path):
        if found := _arxiv(start):
            return found
    return None


def _last(path: str, form: re.Pattern[str], scheme: Scheme) -> PaperId | None:
    last = path.rpartition("/")[2]
    if not form.fullmatch(last):
        return None
    return PaperId(scheme, last.lower() if scheme == "s2" else last)
