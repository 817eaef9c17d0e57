"""Names of repositories, files and lines, as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit

from ml_intern.errors import ToolError

HINT = "Write owner/name, such as huggingface/trl, or a URL on github.com."
_HOSTS = ("github.com", "www.github.com")
_OWNER = r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}"
_NAME = r"(?!\.{1,2}$)[\w.-]{1,100}"
_REPO = re.compile(rf"({_OWNER})/({_NAME})", re.ASCII)
_FILES = ("blob", "tree", "raw", "blame", "edit", "commits")
_ANCHOR = re.compile(r"L(\d+)(?:C\d+)?(?:-L?(\d+)(?:C\d+)?)?")

Lines = str | int | list[int] | None


@dataclass(frozen=True)
class Place:
    """A repository, perhaps at a ref, perhaps a file in it.

    Attributes:
        ref: Branch, tag or commit; empty: the default branch.
        tail: Of a URL: a ref and a path whose border only the repository knows (``feature/x/src/a.py``).
        path: A path, where its border is known.
        lines: As the URL's anchor says.
    """

    owner: str
    name: str
    ref: str = ""
    tail: str = ""
    path: str = ""
    lines: str = ""

    @property
    def full_name(self) -> str:
        """``owner/name``."""
        return f"{self.owner}/{self.name}"

    def at(self, ref: str) -> Place:
        """The same at a ref; what a URL says of one is dropped, if it has no slash in it."""
        if not ref:
            return self
        return replace(self, ref=ref, path=self.path or self.tail.partition("/")[2], tail="")


class NoName(ToolError):
    """A word that names no repository, though one may be called so."""


def parse_place(text: str) -> Place:
    """What a text names: ``owner/name``, ``owner/name@ref``, or a URL of a repository or a file.

    Raises:
        ToolError: It names nothing on GitHub.
    """
    given = re.sub(r"^(git\+|github:)", "", text.strip())
    given = re.sub(r"^(ssh://)?git@github\.com[:/]", "https://github.com/", given)
    if re.match(r"(www\.)?github\.com/", given):
        given = f"https://{given}"
    if "://" in given:
        return _of_url(given)
    repo, _, ref = given.partition("@")
    if found := _REPO.fullmatch(repo.strip("/").removesuffix(".git")):
        return Place(found[1], found[2], ref)
    raise NoName(f"{text.strip()[:200]!r} names no repository on GitHub.", HINT)


def is_repo(name: str) -> bool:
    """Whether a text is ``owner/name`` and nothing else."""
    return bool(_REPO.fullmatch(name))


def _of_url(url: str) -> Place:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NoName(f"{url[:200]!r} is no URL.", HINT) from None
    host = (parts.hostname or "").lower()
    bits = [unquote(bit) for bit in parts.path.split("/") if bit]
    if host == "api.github.com" and bits[:1] == ["repos"]:
        return _of_api(bits[1:], parse_qs(parts.query).get("ref", [""])[0], url)
    if host == "raw.githubusercontent.com":
        place = _named(bits, url)
        rest = bits[4:] if bits[2:4] in (["refs", "heads"], ["refs", "tags"]) else bits[2:]
        return Place(place.owner, place.name, tail="/".join(rest))
    if host not in _HOSTS:
        raise ToolError(f"{url[:200]!r} is not on github.com.", HINT)
    place = _named(bits, url)
    return _inside(place, bits[2:], lines_of_anchor(parts.fragment))


def _inside(place: Place, bits: Sequence[str], lines: str) -> Place:
    """What a page of a repository shows."""
    owner, name = place.owner, place.name
    if bits[:1] and bits[0] in _FILES:
        rest = bits[1:]
        rest = rest[2:] if list(rest[:2]) in (["refs", "heads"], ["refs", "tags"]) else rest
        return Place(owner, name, tail="/".join(rest), lines=lines)
    if list(bits[:2]) == ["releases", "tag"]:
        return Place(owner, name, "/".join(bits[2:]))
    return Place(owner, name, bits[1] if len(bits) > 1 and bits[0] == "commit" else "")


def _of_api(bits: Sequence[str], ref: str, url: str) -> Place:
    place = _named(bits, url)
    path = "/".join(bits[3:]) if list(bits[2:3]) == ["contents"] else ""
    return Place(place.owner, place.name, ref, path=path)


def _named(bits: Sequence[str], url: str) -> Place:
    found = _REPO.fullmatch("/".join(bits[:2]).removesuffix(".git"))
    if not found:
        raise NoName(f"{url[:200]!r} names no repository on GitHub.", HINT)
    return Place(found[1], found[2])


def lines_of_anchor(fragment: str) -> str:
    """``10-20`` of ``L10-L20``; empty for what is none."""
    found = _ANCHOR.fullmatch(fragment)
    return f"{found[1]}-{found[2] or found[1]}" if found else ""


def parse_lines(lines: Lines) -> tuple[int, int | None]:
    """First and last line, counted from 1; None for the last: as far as a page goes.

    Raises:
        ToolError: It is no range.
    """
    if lines is None or lines == "":
        return 1, None
    text = "-".join(map(str, lines)) if isinstance(lines, list) else str(lines)
    found = re.fullmatch(r"#?L?(\d{1,9})(?:C\d+)?\s*(?:([-:,])\s*(?:L?(\d{1,9})(?:C\d+)?)?)?", text.strip())
    if not found:
        raise ToolError(f"{text[:100]!r} are no lines.", 'Write "10-40", "10" or "10-" (from there on).')
    first = int(found[1])
    last = int(found[3]) if found[3] else (None if found[2] else first)
    if first < 1 or (last is not None and last < first):
        raise ToolError(f"{text[:100]!r} are no lines: they count from 1, upwards.", 'Write "10-40".')
    return first, last


def split_anchor(path: str) -> tuple[str, str]:
    """A path and the lines of an anchor at its end (``a.py#L10-L20``)."""
    found = re.search(r"#(L\d+\S*)$", path)
    lines = lines_of_anchor(found[1]) if found else ""
    return (path[: found.start()], lines) if found and lines else (path, "")


def clean_path(path: str) -> str:
    """A path within a repository, without slashes at its ends; empty for the root.

    Raises:
        ToolError: It leads out of it.
    """
    bits = [bit for bit in path.strip().replace("\\", "/").split("/") if bit not in ("", ".")]
    if ".." in bits:
        raise ToolError(f"The path {path[:200]!r} leads out of the repository.", "Write it from the root.")
    return "/".join(bits)
