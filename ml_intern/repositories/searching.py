"""Searches code: through GitHub's index with a token, through repositories and their files without one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.papers.values import part, rows, text
from ml_intern.repositories.examples import (
    AT_ONCE,
    LANGUAGES,
    LARGEST,
    Wanted,
    examples_in,
    kind_of,
    replace_text,
)
from ml_intern.repositories.excerpts import find
from ml_intern.repositories.github import SITE, GitHub, Repo, refused
from ml_intern.repositories.names import is_repo, parse_place
from ml_intern.repositories.reading import opened, place_of
from ml_intern.repositories.results import CodeHit, CodeHits
from ml_intern.repositories.texts import NoText, text_of, with_lines
from ml_intern.web.errors import Throttled, WebError

MOST_REPOS = 3
READ_OF_EACH = 24
FRAGMENT = 1200
_QUALIFIER = re.compile(
    r'(?<!\S)(repo|user|org|language|path|filename|extension|in|size|fork):("[^"]*"|\S+)', re.I
)
_NO_TOKEN = "GitHub searches code for those with a token only. Set GITHUB_TOKEN for that."


@dataclass(frozen=True)
class Question:
    """A query in its parts: words, and what qualifies them (``repo:owner/name``)."""

    words: str
    qualifiers: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, query: str, language: str = "") -> Question:
        """The parts of a query."""
        found: dict[str, list[str]] = {}
        for name, value in _QUALIFIER.findall(query):
            found.setdefault(name.lower(), []).append(value.strip('"'))
        if language:
            found["language"] = [language]
        return cls(" ".join(_QUALIFIER.sub(" ", query).split()), found)

    def first(self, name: str) -> str:
        """The first qualifier of a name."""
        return next(iter(self.qualifiers.get(name, [])), "")

    def written(self, *names: str) -> str:
        """Words and qualifiers as GitHub takes them; only those of some names, where names are given."""
        kept = [
            f'{name}:"{value}"' if " " in value else f"{name}:{value}"
            for name, values in self.qualifiers.items()
            for value in values
            if not names or name in names
        ]
        return " ".join([self.words, *kept]).strip()


def search(github: GitHub, query: str, language: str, limit: int) -> CodeHits:
    """Places in code that fit a query."""
    question = Question.of(query, language)
    if not question.words:
        raise ToolError(f"{query[:200]!r} has no word to look for.", "list_repos shows what an owner has.")
    if github.has_token:
        try:
            return _by_index(github, question, limit)
        except Throttled as error:
            github.remarks.add(f"GitHub's search of code: {refused(error)}.")
    if not github.has_token:
        github.remarks.put("no token", _NO_TOKEN)
    return _by_repositories(github, question, limit)


def _by_index(github: GitHub, question: Question, limit: int) -> CodeHits:
    try:
        items = github.search("code", question.written(), min(100, 2 * limit))
    except WebError as error:
        if isinstance(error, Throttled) or error.status not in (401, 403):
            raise
        if error.status == 403:
            github.remarks.add(f"GitHub's search of code: {refused(error)}.")
        return _by_repositories(github, question, limit)
    kept = _once(items)[:limit]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hits = list(pool.map(lambda item: _found(github, item, question.words), kept))
    if not hits:
        github.remarks.add("Nothing was found; GitHub looks in default branches and for whole words.")
    return CodeHits(hits=[h for h in hits if h], how="GitHub's search of code", notes=github.remarks.all())


def _once(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of files with the same content the first."""
    kept: dict[str, dict[str, Any]] = {}
    for at, item in enumerate(items):
        kept.setdefault(text(item.get("sha")) or str(at), item)
    return list(kept.values())


def _found(github: GitHub, item: dict[str, Any], words: str) -> CodeHit | None:
    """A hit of the index, read at the commit that was found, so that its lines are known."""
    name, path, url = (
        text(part(item, "repository").get("full_name")),
        item.get("path"),
        text(item.get("html_url")),
    )
    if not is_repo(name) or not isinstance(path, str):
        return None
    fragment = next(
        (str(row["fragment"]) for row in rows(item.get("text_matches")) if row.get("fragment")), ""
    )
    page = url if url.startswith(f"{SITE}/{name}/") else ""
    hit = CodeHit(repo=name, path=path, kind=kind_of(path), url=page, text=fragment[:FRAGMENT])
    try:
        commit, _, inside = parse_place(url).tail.partition("/")
        if inside != path:
            return hit
        repo = Repo(name)
        whole, _ = text_of(path, github.file(repo, commit, path, LARGEST))
    except (NoText, WebError) as error:
        github.remarks.count("unread", f"could not be read, so its lines are not told ({refused(error)}).")
        return hit
    except ToolError:  # an address in the answer that is none of GitHub's
        return hit
    found = find(whole, words, path)
    if found is None:
        return hit
    return replace_text(hit, found, with_lines(repo.url(commit, path), path, found.first, found.last))


def _by_repositories(github: GitHub, question: Question, limit: int) -> CodeHits:
    """Without the index: repositories that fit, then their likeliest files."""
    given = question.qualifiers.get("repo", [])[:MOST_REPOS]
    names = given or _likely(github, question)
    ignored = sorted(set(question.qualifiers) - {"repo", "user", "org", "language", "path"})
    if ignored:
        github.remarks.add(f"Left out of the query: {', '.join(ignored)}.")
    language = question.first("language")
    if language and language.lower() not in LANGUAGES:
        github.remarks.add(f"Files were not chosen by {language!r}: their endings are not known here.")
    hits: list[CodeHit] = []
    read = 0
    for name in names:
        try:
            repo, commit, _ = opened(github, place_of(github, name))
            wanted = Wanted(question.words, limit, READ_OF_EACH * (3 if given else 1), language)
            found, count = examples_in(github, repo, commit, wanted, question.first("path").strip("/"))
        except Throttled as error:
            github.remarks.add(f"{name}: {refused(error)}. {error.hint}")
            break
        except ToolError as error:
            if given:
                raise
            github.remarks.add(f"{name}: {refused(error)}.")
            continue
        hits += found
        read += count
    how = f"{read} files of {', '.join(names)}" if names else "no repository fits these words"
    return CodeHits(hits=_mixed(hits, limit), how=how, notes=github.remarks.all())


def _likely(github: GitHub, question: Question) -> list[str]:
    """Repositories whose name, description or README has the words; failing that, the longest of them."""
    plain = re.sub(r"[^\w.-]+", " ", question.words).split()
    longest = max(plain, key=len, default="")
    for words in dict.fromkeys([" ".join(plain), longest]):
        asked = Question(f"{words} in:name,description,readme", question.qualifiers)
        if words and (
            items := github.search("repositories", asked.written("user", "org", "language"), MOST_REPOS)
        ):
            return [name for row in items if (name := text(row.get("full_name")))]
    return []


def _mixed(hits: Sequence[CodeHit], limit: int) -> list[CodeHit]:
    """The best of each repository before the second best of any."""
    places: dict[str, int] = {}
    ranked = []
    for hit in hits:
        places[hit.repo] = places.get(hit.repo, 0) + 1
        ranked.append((places[hit.repo], hit))
    return [hit for _, hit in sorted(ranked, key=lambda pair: pair[0])][:limit]
