"""Reads a file of a repository, a stretch of lines at a time, or lists a folder."""

from __future__ import annotations

import base64
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.papers.values import rows, text, whole
from ml_intern.repositories.github import GitHub, Repo, refused
from ml_intern.repositories.names import (
    Lines,
    NoName,
    Place,
    clean_path,
    parse_lines,
    parse_place,
    split_anchor,
)
from ml_intern.repositories.nearness import named, no_path, no_ref, no_repository
from ml_intern.repositories.results import CodeFile
from ml_intern.repositories.texts import lines_in, text_of, with_lines
from ml_intern.web.errors import Missing, TooLarge, WebError

PAGE_LINES = 400
PAGE_CHARS = 16_000
MOST_ENTRIES = 300


def place_of(github: GitHub, repo: str) -> Place:
    """What a text names.

    Raises:
        ToolError: Nothing; tells repositories that are called so.
    """
    try:
        return parse_place(repo)
    except NoName as error:
        found = named(github, repo.strip())
        hint = f"There is: {', '.join(found)}." if found else error.hint
        raise ToolError(error.message, hint) from None


def opened(github: GitHub, place: Place) -> tuple[Repo, str, str]:
    """The repository, the commit, and the path that a place names.

    Raises:
        ToolError: It is not there; tells near names.
    """
    try:
        repo = github.repository(place)
    except Missing:
        raise no_repository(github, place) from None
    try:
        return repo, *github.located(repo, place)
    except Missing as error:
        if error.status == 409:
            raise
        raise no_ref(github, repo, place.ref or place.tail, error) from None


def read(github: GitHub, repo: str, path: str, lines: Lines, ref: str) -> CodeFile:
    """A stretch of a file, or a folder's entries.

    Args:
        github: The service.
        repo: As `parse_place` takes it.
        path: Within the repository, or a URL of a file; empty where `repo` is the file's URL.
        lines: As `parse_lines` takes them; empty: as the URL's anchor says.
        ref: Branch, tag or commit.

    Raises:
        ToolError: It is not there, or cannot be shown.
    """
    is_url = "://" in path
    place = place_of(github, path if is_url else repo)
    given, anchor = ("", "") if is_url else split_anchor(path)
    found, commit, inside = opened(github, place.at(ref))
    wanted = clean_path(given) or clean_path(inside)
    first, last = parse_lines(lines or place.lines or anchor)
    got = _bytes(github, found, commit, wanted) if wanted else github.contents(found, commit, "")
    if not isinstance(got, bytes):
        return _folder(github, found, commit, wanted, got)
    return _stretch(github, found, commit, wanted, got, first, last)


def _bytes(github: GitHub, repo: Repo, commit: str, path: str) -> bytes | list[Any]:
    """A file's bytes, or a folder's entries."""
    try:
        return github.file(repo, commit, path)
    except TooLarge as error:
        raise _too_large(repo, commit, path, error) from None
    except WebError as error:
        if error.status not in (401, 403, 404):
            raise
    try:
        got = github.contents(repo, commit, path)
    except Missing:
        raise no_path(github, repo, commit, path) from None
    return got if isinstance(got, list) else _object(github, repo, commit, path, got)


def _object(github: GitHub, repo: Repo, commit: str, path: str, got: Any) -> bytes:
    """The bytes of what the API calls a file; it gives up to a megabyte with the answer."""
    got = got if isinstance(got, dict) else {}
    kind = text(got.get("type"))
    if kind == "submodule":
        raise ToolError(
            f"{path} is a submodule, another repository.",
            f"Read it there: {text(got.get('submodule_git_url'))}.",
        )
    if kind not in ("file", "symlink"):
        raise ToolError(f"{path} is no file ({kind or 'unknown'}).")
    content = got.get("content")
    if got.get("encoding") == "base64" and isinstance(content, str) and content:
        try:
            return base64.b64decode(content)
        except ValueError:
            raise ToolError(f"GitHub's answer for {path} cannot be read.", "Try again later.") from None
    try:
        return github.bytes_of(repo, commit, path)
    except TooLarge as error:
        raise _too_large(repo, commit, path, error) from None


def _too_large(repo: Repo, commit: str, path: str, error: TooLarge) -> ToolError:
    return ToolError(f"{path} is too large to read: {refused(error)}.", f"It is at {repo.url(commit, path)}.")


def _folder(github: GitHub, repo: Repo, commit: str, path: str, got: Any) -> CodeFile:
    entries = [_entry(row) for row in rows(got)]
    entries.sort(key=lambda name: (not name.endswith("/"), name.lower()))
    if len(entries) > MOST_ENTRIES:
        github.remarks.add(f"Only {MOST_ENTRIES} of {len(entries)} entries are shown.")
    return CodeFile(
        repo=repo.full_name,
        path=path,
        commit=commit,
        url=repo.url(commit, path, "tree"),
        license=repo.license,
        entries=entries[:MOST_ENTRIES],
        notes=github.remarks.all(),
    )


def _entry(row: dict[str, Any]) -> str:
    name, kind, size = text(row.get("name")), text(row.get("type")), whole(row.get("size"))
    if kind == "dir":
        return f"{name}/"
    return f"{name} ({size} bytes)" if kind == "file" and size is not None else f"{name} ({kind})"


def _stretch(
    github: GitHub, repo: Repo, commit: str, path: str, data: bytes, first: int, last: int | None
) -> CodeFile:
    whole_text, remark = text_of(path, data)
    if remark:
        github.remarks.add(remark)
    lines = lines_in(whole_text)
    if first > max(len(lines), 1):
        raise ToolError(f"{path} has {len(lines)} lines, there is no line {first}.", "Ask for earlier ones.")
    end = min(last or len(lines), len(lines))
    shown, long = page_of(lines[first - 1 : end])
    if long:
        github.remarks.add(f"A line of {long:,} characters is cut at {PAGE_CHARS:,}.")
    until = first + len(shown) - 1
    return CodeFile(
        repo=repo.full_name,
        path=path,
        commit=commit,
        url=with_lines(repo.url(commit, path), path, first, until) if shown else repo.url(commit, path),
        license=repo.license,
        lines=f"{first}-{until}" if shown else "",
        total_lines=len(lines),
        text="\n".join(shown),
        next_lines=f"{until + 1}-{end}" if until < end else None,
        notes=github.remarks.all(),
    )


def page_of(lines: list[str]) -> tuple[list[str], int]:
    """As many lines as a page holds, and the length of the first where it alone is longer (else 0)."""
    room, count = PAGE_CHARS, 0
    for line in lines[:PAGE_LINES]:
        room -= len(line) + 1
        if room < 0 and count:
            break
        count += 1
        if room < 0:
            return [line[:PAGE_CHARS]], len(line)
    return lines[:count], 0
