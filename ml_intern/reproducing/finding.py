"""From what a person calls a card to the files it needs: a Hub repository, a folder, a card, its JSON."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import ToolError, UsageError
from ml_intern.reproducing.card import FILE, MAX_BYTES, Card, read_card

if TYPE_CHECKING:
    from ml_intern.hub.client import Hub

MAX_FILES = 200
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")


@dataclass(frozen=True)
class Found:
    """A card that was found.

    Attributes:
        called: As the person called it.
        card: Its words.
        folder: Where its files lie: ``ml_intern.json`` and perhaps ``training``.
        revision: The commit, where it came from a Hub.
    """

    called: str
    card: Card
    folder: Path
    revision: str = ""


def find_card(called: str, hub: Hub) -> Found:
    """Find and read a card. A folder or file that exists is meant before a repository of that name.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    path = _path(called)
    if path is None and _REPO.fullmatch(called):
        return _from_hub(called, hub)
    if path is None:
        raise UsageError(
            f"There is no card {called!r}.",
            "Name a repository as owner/name, a folder, a README.md or an ml_intern.json.",
        )
    file = path / FILE if path.is_dir() else path
    if file.suffix == ".md":
        file = file.with_name(FILE)
    if not file.is_file():
        raise UsageError(
            f"There is no {FILE} beside {called!r}.",
            "publish_model writes it into the repository; name that one as owner/name.",
        )
    return Found(called, read_card(file), file.parent.resolve())


def away(card: Card, hub: Hub) -> list[str]:
    """What the card takes from the Hub and the Hub does not have, a line each."""
    import httpx

    wanted: list[tuple[str, str, str]] = [
        ("model", job.model.hub, job.model.revision) for job in card.trainings if job.model.hub
    ]
    wanted += [
        ("dataset", row.source.partition(":")[0], row.revision)
        for row in card.data
        if row.revision and not row.parents and _REPO.fullmatch(row.source.partition(":")[0])
    ]
    found = []
    for kind, repo, revision in dict.fromkeys(wanted):
        told = f"The {kind} {repo}@{revision[:12]} is not at hand:"
        try:
            with hub.reach(f"{kind} {repo!r}"):
                hub.api.repo_info(repo, repo_type=kind, revision=revision or None)
        except ToolError as error:
            found.append(f"{told} {error.message}")
        except (httpx.HTTPError, OSError) as error:
            found.append(f"{told} {error}.")
    return found


def training_files(folder: Path) -> dict[str, Path]:
    """The files of a card's ``training`` folder by name: plain ones directly in it, and no links."""
    where = folder / "training"
    if where.is_symlink() or not where.is_dir():
        return {}
    plain = [p for p in sorted(where.iterdir()) if p.is_file() and not p.is_symlink()]
    return {p.name: p for p in plain[:MAX_FILES] if p.suffix in (".py", ".json")}


def held_hash(files: dict[str, Path], method: str) -> str:
    """The hash of the recipe that lies in a card, made as `ml_intern.jobs.record.recipe_hash` makes ours."""
    digest = hashlib.sha256()
    shared = sorted(name for name in files if name.startswith("_") and name.endswith(".py"))
    for name in (f"{method}.py", *shared):
        digest.update(files[name].read_bytes() if name in files else b"")
    return digest.hexdigest()


def _path(called: str) -> Path | None:
    try:
        path = Path(called).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _from_hub(called: str, hub: Hub) -> Found:
    import httpx

    repo, _, revision = called.partition("@")
    try:
        with hub.reach(f"model {repo!r}"):
            info = hub.api.repo_info(repo, revision=revision or None, files_metadata=True)
        sizes = {s.rfilename: s.size or 0 for s in getattr(info, "siblings", None) or []}
        _check_size(repo, sizes)
        wanted = [name for name in sizes if re.fullmatch(r"training/[\w.-]+\.(py|json)", name)][:MAX_FILES]
        with hub.reach(f"model {repo!r}"):
            for name in (*(n for n in wanted if sizes[n] <= MAX_BYTES), FILE):
                got = hub.api.hf_hub_download(repo, name, revision=info.sha, cache_dir=hub.cache)
    except ToolError as error:
        raise UsageError(error.message, error.hint) from None
    except (httpx.HTTPError, OSError) as error:
        raise UsageError(f"{repo} cannot be fetched from {hub.label}: {error}.") from None
    from ml_intern.hub.plain import without_links

    return Found(called, read_card(Path(got)), without_links(Path(got).parent), str(info.sha))


def _check_size(repo: str, sizes: dict[str, int]) -> None:
    if FILE not in sizes:
        raise UsageError(f"{repo} has no {FILE}: ML Intern did not publish it.")
    if sizes[FILE] > MAX_BYTES:
        raise UsageError(f"{FILE} of {repo} has more than {MAX_BYTES >> 20} MB: it is no card of ours.")
