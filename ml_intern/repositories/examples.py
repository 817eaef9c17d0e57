"""Finds how a repository uses a word: its examples first, then docs, tests, README and the source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from ml_intern.repositories.excerpts import Found, find, words_of
from ml_intern.repositories.github import Entry, GitHub, Repo, Tree, refused
from ml_intern.repositories.reading import opened, place_of
from ml_intern.repositories.results import CodeHit, CodeHits
from ml_intern.repositories.texts import NoText, text_of, with_lines
from ml_intern.web.errors import NotCached, Throttled, TooLarge, WebError

KINDS = ("example", "docs", "test", "readme", "source")
_FOLDERS = {
    "example": "example examples cookbook cookbooks recipe recipes notebook notebooks tutorial tutorials demo"
    " demos sample samples scripts quickstart getting_started getting-started",
    "docs": "doc docs documentation guide guides",
    "test": "test tests testing",
}
_KIND_OF = {name: kind for kind, names in _FOLDERS.items() for name in names.split()}
_READ = (
    ".py .ipynb .md .mdx .rst .txt .sh .yaml .yml .toml .json .cfg .c .cc .cpp .cu .cuh .h .hpp .rs .go .js"
    " .jsx .ts .tsx .java .kt .jl .r .rb .scala .swift .lua .pyx .pyi"
)
READ = frozenset(_READ.split())
LANGUAGES = {
    "python": ".py .ipynb .pyi .pyx", "jupyter notebook": ".ipynb", "c": ".c .h", "cuda": ".cu .cuh",
    "c++": ".cc .cpp .h .hpp", "cpp": ".cc .cpp .h .hpp", "rust": ".rs", "go": ".go",
    "javascript": ".js .jsx", "typescript": ".ts .tsx", "java": ".java", "kotlin": ".kt",
    "julia": ".jl", "r": ".r", "ruby": ".rb",
    "shell": ".sh", "yaml": ".yaml .yml", "markdown": ".md .mdx", "toml": ".toml", "json": ".json",
}  # fmt: skip
_SHARE = {"example": 28, "docs": 14, "test": 10, "readme": 2, "source": 10}
"""Of 64 files that are read, how many of a kind before those of another are left out for them."""
_EMPTY = frozenset(["and", "for", "from", "get", "set", "the", "true", "false", "use", "with"])
"""Parts of names that say nothing of what a file is about."""
MOST_READ = 64
WAVE = 12
AT_ONCE = 6
LARGEST = 600_000
LARGEST_NOTEBOOK = 3_000_000
NAMED = 1.5
"""How many kinds a file moves ahead for each part of the keyword in its path, two at most."""
MOST_FOLDERS = 6


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        keyword: A name or words; empty: which examples there are.
        limit: Files.
        most_read: Files that are read for it.
        language: Only its files.
        first: Paths that are known to hold it.
    """

    keyword: str
    limit: int = 5
    most_read: int = MOST_READ
    language: str = ""
    first: Sequence[str] = field(default_factory=tuple)


def find_examples(github: GitHub, repo: str, keyword: str, limit: int, ref: str) -> CodeHits:
    """How a repository uses a name.

    Args:
        github: The service.
        repo: As `parse_place` takes it.
        keyword: A name or words; empty: which examples there are.
        limit: Files.
        ref: Branch, tag or commit.

    Raises:
        ToolError: The repository or the ref is not there.
    """
    found, commit, under = opened(github, place_of(github, repo).at(ref))
    first = _indexed(github, found, keyword) if keyword and github.has_token else []
    hits, read = examples_in(github, found, commit, Wanted(keyword, limit, first=first), under)
    if not hits:
        what = (
            f"None of the {read} files that were read has {keyword!r}."
            if keyword
            else "There is no file to show."
        )
        github.remarks.add(f"{what} read_repo_file lists folders; search_code looks elsewhere.")
    how = f"{read} files of {found.full_name} at {commit[:12]}" + (f", below {under}/" if under else "")
    return CodeHits(hits=hits, how=how, notes=github.remarks.all())


def _indexed(github: GitHub, repo: Repo, keyword: str) -> list[str]:
    """Paths that GitHub's index knows to hold a keyword; it needs a token, and knows default branches."""
    try:
        items = github.search("code", f'"{" ".join(words_of(keyword))}" repo:{repo.full_name}', 30)
    except WebError as error:
        github.remarks.add(f"GitHub's search of code: {refused(error)}.")
        return []
    return [path for item in items if isinstance(path := item.get("path"), str)]


def kind_of(path: str) -> str:
    """What a file is, by its path."""
    *folders, name = path.lower().split("/")
    stem = name.rpartition(".")[0] or name
    if stem.startswith("test_") or stem.endswith("_test") or name == "conftest.py":
        return "test"
    found = next((_KIND_OF[folder] for folder in folders if folder in _KIND_OF), "")
    if found:
        return found
    return "readme" if stem.startswith("readme") else "source"


def examples_in(
    github: GitHub, repo: Repo, commit: str, wanted: Wanted, under: str = ""
) -> tuple[list[CodeHit], int]:
    """Places, best first, and how many files were read.

    Args:
        github: The service.
        repo: The repository.
        commit: At which its files are read.
        wanted: What is looked for.
        under: Only below this path.
    """
    files = [
        e for e in _listing(github, repo, commit).files if not under or f"{e.path}/".startswith(f"{under}/")
    ]
    ranked = candidates(files, wanted)
    if not wanted.keyword:
        return [_named(repo, commit, entry) for entry in ranked[: wanted.limit]], 0
    hits: list[tuple[tuple[int, int, int], CodeHit]] = []
    tried = enough = 0
    left: Iterator[Entry] = iter(ranked[: wanted.most_read])
    while enough < wanted.limit and (wave := list(islice(left, WAVE))):
        read, limited = _searched(github, repo, commit, wave, wanted.keyword)
        for place, (entry, found) in enumerate(read):
            kind = KINDS.index(kind_of(entry.path))
            hits.append(((0 if found.whole else 1, kind, tried + place), _hit(repo, commit, entry, found)))
            enough += found.whole
        tried += len(wave)
        if limited and not hits:
            raise limited
        if limited:
            github.remarks.add(f"Reading stopped early: {refused(limited)}.")
            break
    if len(ranked) > tried:
        github.remarks.add(
            f"{repo.full_name}: {tried} files of {len(ranked)} were read, the likeliest first."
        )
    return [hit for _, hit in sorted(hits, key=lambda pair: pair[0])][: wanted.limit], tried


def candidates(files: Sequence[Entry], wanted: Wanted) -> list[Entry]:
    """Files worth reading, the likeliest first."""
    suffixes = LANGUAGES.get(wanted.language.lower(), "").split() or READ
    parts = _parts(wanted.keyword)
    known = set(wanted.first)

    def rank(entry: Entry) -> tuple[bool, float, str]:
        path = entry.path.lower()
        fits = min(2, sum(part in path for part in parts))
        return entry.path not in known, KINDS.index(kind_of(path)) - NAMED * fits, entry.path

    good = [e for e in files if _suffix(e.path) in suffixes and _is_small(e) and not _is_noise(e.path)]
    good.sort(key=rank)
    if not wanted.keyword:
        return [entry for entry in good if kind_of(entry.path) == "example"] or good
    taken = dict.fromkeys(KINDS, 0)
    front: list[Entry] = []
    rest: list[Entry] = []
    for entry in good:
        kind = kind_of(entry.path)
        taken[kind] += 1
        (front if taken[kind] <= _SHARE[kind] or entry.path in known else rest).append(entry)
    return front + rest


def _parts(keyword: str) -> set[str]:
    """What a file that is about a keyword may be called by: ``sft`` and ``trainer`` of ``SFTTrainer``."""
    found = re.findall(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]{2,}|\d{2,}", keyword)
    return {part.lower() for part in found if len(part) > 2} - _EMPTY


def _is_small(entry: Entry) -> bool:
    """Whether a file is worth reading whole; in notebooks outputs take most of the room."""
    return entry.size <= (LARGEST_NOTEBOOK if entry.path.lower().endswith(".ipynb") else LARGEST)


def _listing(github: GitHub, repo: Repo, commit: str) -> Tree:
    """All files; of a repository that is too large to be listed the folders that are likely to help."""
    tree = github.tree(repo, commit)
    if not tree.truncated:
        return tree
    top = github.tree(repo, commit, recursive=False)
    folders = [e for e in top.entries if e.kind == "tree" and e.path.lower() in _KIND_OF]
    folders.sort(key=lambda entry: KINDS.index(_KIND_OF[entry.path.lower()]))
    entries = {entry.path: entry for entry in (*tree.entries, *top.entries)}
    for folder in folders[:MOST_FOLDERS]:
        try:
            inside = github.tree(repo, folder.sha, under=f"{folder.path}/")
        except WebError as error:
            github.remarks.add(f"{folder.path}/ could not be listed: {refused(error)}.")
            continue
        entries.update({entry.path: entry for entry in inside.entries})
    names = ", ".join(f"{folder.path}/" for folder in folders[:MOST_FOLDERS]) or "no folder of examples"
    github.remarks.add(f"{repo.full_name} is too large for GitHub to list: {names} and a part of the rest.")
    return Tree(list(entries.values()), True)


def _searched(
    github: GitHub, repo: Repo, commit: str, wave: Sequence[Entry], keyword: str
) -> tuple[list[tuple[Entry, Found]], Throttled | None]:
    """The files of a wave that hold the word, and the rate limit that ended it, if one did."""
    limited: list[Throttled] = []

    def look(entry: Entry) -> Found | None:
        if limited:
            return None
        try:
            text, _ = text_of(entry.path, github.file(repo, commit, entry.path, LARGEST_NOTEBOOK))
        except (NoText, TooLarge):
            return None
        except Throttled as error:
            limited.append(error)
            return None
        except WebError as error:
            missing = "not in the cache" if isinstance(error, NotCached) else refused(error)
            github.remarks.count("unread", f"could not be read ({missing}).")
            return None
        return find(text, keyword, entry.path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(look, wave))
    both = [(entry, one) for entry, one in zip(wave, found, strict=True) if one]
    return both, next(iter(limited), None)


def _hit(repo: Repo, commit: str, entry: Entry, found: Found) -> CodeHit:
    url = with_lines(repo.url(commit, entry.path), entry.path, found.first, found.last)
    return replace_text(_named(repo, commit, entry), found, url)


def replace_text(hit: CodeHit, found: Found, url: str) -> CodeHit:
    """A hit with its lines."""
    given = {"lines": f"{found.first}-{found.last}", "text": found.text, "url": url, "also": found.also}
    return hit.model_copy(update=given)


def _named(repo: Repo, commit: str, entry: Entry) -> CodeHit:
    return CodeHit(
        repo=repo.full_name, path=entry.path, kind=kind_of(entry.path), url=repo.url(commit, entry.path)
    )


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return f".{name.rpartition('.')[2]}" if "." in name else ""


def _is_noise(path: str) -> bool:
    """What machines write and nobody reads."""
    small = path.lower()
    return bool(
        re.search(r"(^|/)(node_modules|vendor|third_party|\.git|dist|build)/|\.min\.js$|lock\.json$", small)
    )
