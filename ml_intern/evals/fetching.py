"""A benchmark's held-out rows, from the Hub to the host, and nowhere else.

Of the repository only its README and the files of the splits that are held out are read. They lie in the
intern's state folder afterwards, which no cell and no job sees.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.data import layout, loading, readers
from ml_intern.errors import ToolError, UsageError
from ml_intern.evals.benchmarks import Benchmark
from ml_intern.hub.plain import without_links

if TYPE_CHECKING:
    from ml_intern.hub.client import Hub

CONVERTED = "refs/convert/parquet"
"""Where huggingface.co keeps a repository's rows as Parquet, also of one that has only a loading script."""
ABOUT = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"}
)


@dataclass(frozen=True)
class Fetched:
    """Rows of the held-out splits by split, and the commit that they are from."""

    rows: dict[str, list[dict[str, Any]]]
    commit: str


def fetch(hub: Hub, benchmark: Benchmark) -> Fetched:
    """The rows of a benchmark's held-out splits.

    Raises:
        UsageError: The Hub is out of reach, wants its terms accepted, or has not what the table says.
    """
    try:
        return _fetch(hub, benchmark)
    except Exception as error:
        told = _told(hub, benchmark, error)
        if told is None:
            raise
        raise told from None


def _fetch(hub: Hub, benchmark: Benchmark) -> Fetched:
    try:
        return _of_revision(hub, benchmark, benchmark.revision or "main")
    except _NoRows as problem:
        if benchmark.revision:
            raise
        try:
            return _of_revision(hub, benchmark, CONVERTED)
        except (_NoRows, ToolError):
            raise problem from None


class _NoRows(UsageError):
    """A revision that has no such split."""


def _of_revision(hub: Hub, benchmark: Benchmark, revision: str) -> Fetched:
    repository = benchmark.repository
    with hub.reach(f"dataset {repository!r}"):
        info = hub.api.dataset_info(repository, revision=revision)
        commit = str(info.sha)
        names = [s.rfilename for s in info.siblings or []]
        readme = _download(hub, repository, commit, [n for n in names if n == "README.md"])
    tables = [readme / n for n in names if loading.kind_of(Path(n)) in loading.TABLE_SUFFIXES and _is_data(n)]
    splits = layout.layout(readme, tables)
    files = {split: splits[_place(benchmark, splits, split)] for split in benchmark.splits}
    with hub.reach(f"dataset {repository!r}"):
        wanted = [f.relative_to(readme).as_posix() for paths in files.values() for f in paths]
        folder = _download(hub, repository, commit, wanted)
    rows = {s: _rows([folder / f.relative_to(readme) for f in paths]) for s, paths in files.items()}
    return Fetched(rows, commit)


def _download(hub: Hub, repository: str, commit: str, names: Sequence[str]) -> Path:
    """The folder of a commit, with these files in it; it may hold others that were fetched before."""
    folder = hub.api.snapshot_download(
        repository,
        repo_type="dataset",
        revision=commit,
        cache_dir=hub.cache,
        allow_patterns=[glob.escape(name) for name in names] or ["\0"],
    )
    return without_links(Path(folder))


def _is_data(name: str) -> bool:
    parts = Path(name).parts
    return parts[-1] not in ABOUT and not any(p.startswith(".") for p in parts)


def _place(benchmark: Benchmark, splits: dict[str, list[Path]], split: str) -> str:
    """How the layout of the repository calls a split of the benchmark's configuration.

    A bare name is the default configuration's; it is taken for ours only where no other one is there.
    """
    full = f"{benchmark.config}/{split}" if benchmark.config else split
    if full in splits:
        return full
    folders = {part for path in splits.get(split, ()) for part in path.parts}
    alone = not any("/" in name for name in splits)
    if split in splits and (not benchmark.config or alone or benchmark.config in folders):
        return split
    there = ", ".join(splits) or "no data files"
    raise _NoRows(
        f"{benchmark.name}: {benchmark.repository} has no split {full!r}. It has {there}.",
        "It is not as the table of benchmarks says; bring the rows as a file: --eval FILE.",
    )


def _rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    import polars as pl

    tables = [readers.read_table(path).rows for path in paths]
    rows: list[dict[str, Any]] = pl.concat(tables, how="diagonal_relaxed").to_dicts()
    return rows


def _told(hub: Hub, benchmark: Benchmark, error: Exception) -> UsageError | None:
    """What went wrong on the way, in one line with the way on; None for a defect of our own."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, UsageError):
        return error
    if not isinstance(error, ToolError):
        return _unreachable(hub, benchmark, error) if _of_network(error) else None
    cause = error.__cause__
    if isinstance(cause, GatedRepoError) or (benchmark.gated and _refused(cause)):
        return UsageError(
            f"{benchmark.name} is gated: the Hub gives its rows to those who accepted its terms.",
            f"Accept them on {benchmark.page} and set HF_TOKEN to a token of that account.",
        )
    if isinstance(cause, RepositoryNotFoundError):
        return UsageError(
            f"{benchmark.name}: there is no dataset {benchmark.repository} on {hub.label}.",
            _elsewhere(hub, benchmark),
        )
    return UsageError(f"{benchmark.name}: {error.message}", error.hint)


def _refused(error: BaseException | None) -> bool:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None) in (401, 403)


def _of_network(error: Exception) -> bool:
    """Dropped connections, timeouts and answers of a server in trouble, of whatever library."""
    libraries = ("httpx", "httpcore", "huggingface_hub")
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in libraries


def _unreachable(hub: Hub, benchmark: Benchmark, error: Exception) -> UsageError:
    why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return UsageError(
        f"{hub.label} is out of reach, so {benchmark.name} cannot be fetched: {why}.",
        f"Bring its rows as a file: --eval {benchmark.name}.jsonl, one object with input and target a line.",
    )


def _elsewhere(hub: Hub, benchmark: Benchmark) -> str:
    bring = f"bring its rows as a file: --eval {benchmark.name}.jsonl"
    if hub.embedded:
        return f'Set hub = "remote" (ML_INTERN_HUB=remote) to fetch it from {benchmark.page}, or {bring}.'
    return f"If it has moved, {bring}, one object with input and target a line."
