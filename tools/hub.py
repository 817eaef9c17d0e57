"""The Hub: publish models and datasets, look at repositories, find models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.errors import Interrupted, ToolError
from ml_intern.events import Notice, Published
from ml_intern.hub.client import REPLACED
from ml_intern.hub.results import FilePage, PublishedDataset, PublishedModel, RepoView
from ml_intern.models import reward_model_of, whose_weights
from ml_intern.retry import run_with_retry
from ml_intern.secrets.masking import mask
from ml_intern.tooling import tool

if TYPE_CHECKING:
    from ml_intern.hub.card import CardFacts
    from ml_intern.hub.origin import Origin
    from ml_intern.hub.publishing import Intent
    from ml_intern.ledger import Experiment, Ledger

Kind = Literal["model", "dataset", "space"]
PAGE_CHARS = 10_000
NOT_SHOWN = "No tool shows them: work from other data; evaluate() measures on it."


def _published_before(ctx: ToolContext, key: str) -> PublishedModel | None:
    """After a crash: did the push happen? Then finish what follows it, else nothing was published."""
    intent = _begun(ctx, key, "model")
    if intent is None:
        return None
    commit = intent.commit or ctx.hub.find_commit(intent.repo, "model", intent.mark)
    return _complete(ctx, intent.model_copy(update={"commit": commit})) if commit else None


def _publishable(ctx: ToolContext, given: Any) -> Any:
    """A person is asked about a model that can go out: what would be refused after the yes is refused now.

    What costs a scoring, or a look at other models, comes after the yes. What may pass is met again there.
    """
    import httpx

    from ml_intern.claims.gathering import evidence_of
    from ml_intern.hub import publishing

    if _begun(ctx, ctx.key, "model"):
        return given  # it was begun: what is to be known is what became of it
    model = publishing.trained_model(ctx.ledger.get(whose_weights(ctx, given.experiment)), ctx.jobs)
    ctx.evals.check_test(given.experiment, model, reward_model_of(ctx, given.experiment))
    with suppress(httpx.HTTPError, OSError):
        ctx.hub.check_target(given.repo, "model", given.private)
    known = publishing.known_numbers(model, publishing.curve_numbers(ctx.jobs, ctx.ledger))
    publishing.check_words(ctx.ledger, known, evidence_of(ctx.services))
    return given


@tool(effect="publish", needs=["hub:write"], reconcile=_published_before, prepare=_publishable)
def publish_model(ctx: ToolContext, experiment: str, repo: str, private: bool = True) -> PublishedModel:
    """Publish an experiment's model with a card made from the ledger, and load it back as proof.

    Freezes the experiment and scores the sealed test split if that has not happened: choose by dev scores
    first. The model, its card and the trail of its numbers go up in one commit. A number in the notes of the
    experiments that nobody measured stops it.

    Args:
        experiment: The experiment to publish.
        repo: ``name`` in your own namespace, or ``namespace/name``.
        private: Who may read a new repository.
    """
    from ml_intern.hub import publishing

    if before := _published_before(ctx, ctx.key):
        return before
    model = publishing.trained_model(ctx.ledger.get(whose_weights(ctx, experiment)), ctx.jobs)
    reward = reward_model_of(ctx, experiment)
    # What can be refused is refused before the test split is opened, which cannot be undone.
    repo = ctx.hub.check_target(repo, "model", private)
    staged = _fresh(ctx, experiment)
    try:
        origin = _stage(ctx, experiment, model, staged)
        publishing.check_card(*_told_by(ctx, experiment, staged, repo, origin))
        ctx.progress(f"scoring {experiment} on the sealed test split", 0.1)
        ctx.evals.score_test(experiment, model, reward, cancelled=ctx.cancelled)
        with _frozen(ctx, experiment, model):
            ctx.progress("writing the card from the ledger", 0.5)
            intent = _write_card(ctx, experiment, staged, repo, origin)
            ctx.progress(f"uploading to {ctx.hub.label}", 0.6)
            title = f"Publish {experiment} of session {ctx.services.session}"
            intent = _push(ctx, staged, intent, private, title)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return _complete(ctx, intent)


def _begun(ctx: ToolContext, key: str, kind: Kind) -> Intent | None:
    """The publication that a call has begun, where it has."""
    from ml_intern.hub.publishing import Intent

    intent = Intent.load(_folder(ctx), key)
    return intent if intent is not None and intent.kind == kind else None


def _dataset_before(ctx: ToolContext, key: str) -> PublishedDataset | None:
    intent = _begun(ctx, key, "dataset")
    if intent is None:
        return None
    commit = intent.commit or ctx.hub.find_commit(intent.repo, "dataset", intent.mark)
    return _complete_dataset(ctx, intent.model_copy(update={"commit": commit})) if commit else None


def _there(ctx: ToolContext, given: Any) -> Any:
    """A person is asked about rows that can go out, and not about a name that leads to nothing."""
    import httpx

    if _begun(ctx, ctx.key, "dataset") is None:
        ctx.datasets.path(ctx.datasets.info(given.dataset).id)
        with suppress(httpx.HTTPError, OSError):
            ctx.hub.check_target(given.repo, "dataset", given.private)
    return given


@tool(effect="publish", needs=["hub:write"], reconcile=_dataset_before, prepare=_there)
def publish_dataset(ctx: ToolContext, dataset: str, repo: str, private: bool = True) -> PublishedDataset:
    """Publish a dataset of this session with a card that tells where its rows come from.

    Args:
        dataset: ``name`` or ``name@version``.
        repo: ``name`` in your own namespace, or ``namespace/name``.
        private: Who may read a new repository.
    """
    from ml_intern.hub.datacard import dataset_card
    from ml_intern.hub.publishing import Intent

    if before := _dataset_before(ctx, ctx.key):
        return before
    info = ctx.datasets.info(dataset)
    repo = ctx.hub.check_target(repo, "dataset", private)
    staged = _fresh(ctx, f"dataset-{info.id}")
    (staged / "data").mkdir()
    shutil.copyfile(ctx.datasets.path(info.id), staged / "data" / "train.jsonl")
    card = dataset_card(repo, info, ctx.services.session)
    (staged / "README.md").write_text(card, encoding="utf-8")
    path = _keep_card(ctx, repo, card)
    intent = Intent(key=ctx.key, kind="dataset", repo=repo, subject=info.id, card=str(path))
    try:
        intent = _push(ctx, staged, intent, private, f"Publish {info.id} of session {ctx.services.session}")
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return _complete_dataset(ctx, intent)


@tool(effect="read", needs=["hub:read"])
def inspect_repo(
    ctx: ToolContext,
    repo: str,
    kind: Kind = "model",
    revision: str | None = None,
    files: int = Field(100, ge=1, le=1000),
) -> RepoView:
    """Look at a repository: files with sizes, branches, tags, the beginning of its card.

    Args:
        repo: ``namespace/name``.
        kind: model, dataset or space; where there is no model of that name, a dataset or a space of it is
            shown, and `kind` of the answer says which.
        revision: Branch, tag or commit; main when it is not said.
        files: How many files to list.
    """
    repo = ctx.hub.full_name(repo)
    kind = _kind_of(ctx, repo, kind)
    with ctx.hub.reach(f"{kind} {repo!r}"):
        info = ctx.hub.api.repo_info(repo, repo_type=kind, revision=revision, files_metadata=True)
        refs = ctx.hub.api.list_repo_refs(repo, repo_type=kind)
    siblings = getattr(info, "siblings", None) or []
    names = [s.rfilename for s in siblings]
    card = _text(ctx, repo, "README.md", kind, info.sha) if "README.md" in names else ""
    if not _clean(ctx, card, kind):
        card = "(the card holds items of a sealed evaluation, which no tool shows)"
    return RepoView(
        repo=repo,
        kind=kind,
        commit=str(info.sha),
        private=bool(info.private),
        tags=list(getattr(info, "tags", None) or []),
        files={s.rfilename: s.size or 0 for s in siblings[:files]},
        more_files=max(0, len(names) - files),
        branches=[b.name for b in refs.branches],
        versions=[t.name for t in refs.tags],
        card=card[:2000],
    )


def _kind_of(ctx: ToolContext, repo: str, kind: Kind) -> Kind:
    """What a repository is, where it was taken for a model and there is none of that name."""
    others: tuple[Kind, ...] = ("dataset", "space")
    with ctx.hub.reach(repo):
        if kind != "model" or ctx.hub.api.repo_exists(repo, repo_type=kind):
            return kind
        return next((other for other in others if ctx.hub.api.repo_exists(repo, repo_type=other)), kind)


@tool(effect="read", needs=["hub:read"])
def search_models(ctx: ToolContext, query: str, limit: int = Field(10, ge=1, le=100)) -> list[dict[str, Any]]:
    """Find models on the Hub by words in their names, the most downloaded first.

    Args:
        query: Words.
        limit: How many, at the most.
    """
    with ctx.hub.reach("the search"):
        found = list(ctx.hub.api.list_models(search=query, sort="downloads", limit=limit))
    return [
        {
            "id": m.id,
            "task": m.pipeline_tag,
            "downloads": m.downloads,
            "likes": m.likes,
            "changed": m.last_modified.date().isoformat() if m.last_modified else None,
            "tags": list(m.tags or [])[:12],
        }
        for m in found
    ]


@tool(effect="read", needs=["hub:read"])
def read_hub_file(
    ctx: ToolContext,
    repo: str,
    path: str,
    kind: Kind = "model",
    revision: str | None = None,
    offset: int = Field(0, ge=0),
) -> FilePage:
    """Read a text file of a repository, a page at a time.

    Args:
        repo: ``namespace/name``.
        path: The file.
        kind: model, dataset or space.
        revision: Branch, tag or commit; main when it is not said.
        offset: Character to begin at; `next_offset` of the page before.
    """
    repo = ctx.hub.full_name(repo)
    if kind == "dataset":
        ctx.evals.refuse(repo, path=path)
    text = _text(ctx, repo, path, kind, revision)
    if not _clean(ctx, text, kind):
        raise ToolError(f"{path} of {repo} holds items of a sealed evaluation.", NOT_SHOWN)
    end = offset + PAGE_CHARS
    page = text[offset:end]
    return FilePage(text=page, next_offset=end if end < len(text) else None, total_chars=len(text))


def _stage(ctx: ToolContext, experiment: str, model: Path, staged: Path) -> Origin:
    """Copy exactly the files that will be published, where no cell can reach them; where they come from."""
    from ml_intern.claims.gathering import evidence_of
    from ml_intern.evals.model import fingerprint
    from ml_intern.hub import publishing
    from ml_intern.hub.origin import origin_of
    from ml_intern.hub.scanning import refuse_credentials
    from ml_intern.hub.staging import stage_model

    stage_model(model, staged)
    refuse_credentials(staged)
    measured = ctx.ledger.get(experiment).model
    if measured and fingerprint(staged) != measured:
        raise ToolError(f"The weights of {experiment} changed while they were copied.", "Publish again.")
    curves = publishing.curve_numbers(ctx.jobs, ctx.ledger)
    publishing.check_words(ctx.ledger, publishing.known_numbers(staged, curves), evidence_of(ctx.services))
    ctx.progress("holding the weights against the models at hand", 0.05)
    return origin_of(ctx, ctx.ledger.get(experiment), model, staged)


def _write_card(ctx: ToolContext, experiment: str, staged: Path, repo: str, origin: Origin) -> Intent:
    from ml_intern.claims.gathering import evidence_of
    from ml_intern.hub import publishing

    told = _told_by(ctx, experiment, staged, repo, origin)
    text = publishing.write_card(staged, *told, evidence_of(ctx.services))
    path = _keep_card(ctx, repo, text)
    return publishing.Intent(key=ctx.key, kind="model", repo=repo, subject=experiment, card=str(path))


def _told_by(
    ctx: ToolContext, experiment: str, staged: Path, repo: str, origin: Origin
) -> tuple[Experiment, Ledger, CardFacts]:
    """What a card is made of."""
    from ml_intern.claims.papers import papers_read
    from ml_intern.hub import publishing

    row = ctx.ledger.get(experiment)
    row = publishing.with_training(row, ctx.ledger.get(whose_weights(ctx, experiment)))
    facts = publishing.card_facts(
        row,
        staged,
        repo,
        ctx.services.session,
        ctx.hub,
        ctx.jobs,
        ctx.datasets,
        ctx.ledger,
        ctx.evals,
        origin,
        papers_read(journal := ctx.services.folder / "journal.sqlite"),
        journal,
    )
    return row, ctx.ledger, facts


def _push(ctx: ToolContext, staged: Path, intent: Intent, private: bool, title: str) -> Intent:
    """Upload a staged folder once, again after errors that pass; the intent with its commit."""
    import httpx

    from ml_intern.hub.errors import reason

    if ctx.cancelled():
        raise Interrupted("Stopped before anything was published.")
    intent.save(_folder(ctx))
    try:
        commit = run_with_retry(
            lambda: _upload(ctx, staged, intent, private, title),
            tries=ctx.services.settings.tool_retries,
            report=lambda text: ctx.progress(text),
            stop=ctx.cancelled,
        )
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise ToolError(f"The upload to {ctx.hub.label} failed: {reason(error)}.") from error
    intent = intent.model_copy(update={"commit": commit})
    intent.save(_folder(ctx))
    return intent


def _upload(ctx: ToolContext, staged: Path, intent: Intent, private: bool, title: str) -> str:
    """The commit of a staged folder; when an answer was lost on its way back, the one that arrived."""
    if arrived := ctx.hub.find_commit(intent.repo, intent.kind, intent.mark):
        return arrived
    replace = REPLACED if intent.kind == "model" else ()
    done = ctx.hub.publish_folder(staged, intent.repo, intent.kind, private, title, intent.mark, replace)
    if done.private and not private:
        ctx.emit(Notice("warning", f"{done.repo} existed and is private; it stays so."))
    return done.commit


@contextmanager
def _frozen(ctx: ToolContext, experiment: str, model: Path) -> Iterator[None]:
    """Once the test split was opened, an error says what stands and how to go on."""
    try:
        yield
    except ToolError as error:
        score = " with its test score" if ctx.ledger.get(experiment).test else ""
        stands = f"{experiment} is frozen{score}, its model is in {model}"
        on = f"publish_model({experiment!r}, …) again goes on from there."
        raise ToolError(error.message, f"{error.hint} {stands}; {on}".strip()) from error


def _complete(ctx: ToolContext, intent: Intent) -> PublishedModel:
    """What follows the push, and may be done again: record, tell, load back, report."""
    from ml_intern.hub import publishing
    from ml_intern.hub.confirming import behind_its_parent
    from ml_intern.hub.loading import load_back
    from ml_intern.hub.report import write_report

    url = ctx.hub.url(intent.repo)
    with ctx.hub.reach(intent.repo):
        private = bool(ctx.hub.api.repo_info(intent.repo, revision=intent.commit).private)
    row = ctx.ledger.record_published(intent.subject, intent.repo, url, intent.commit)
    ctx.emit(Published(intent.repo, url, "model"))
    ctx.progress("loading it back from the Hub in a fresh process", 0.8)
    loaded = load_back(ctx.hub, intent.repo, intent.commit, cancelled=ctx.cancelled)
    if not loaded.ok:
        ctx.emit(
            Notice("warning", f"{intent.repo} was published but could not be loaded back: {loaded.problem}.")
        )
    report = write_report(ctx.services.folder, ctx.files.writable("report/report.html").parent)
    return PublishedModel(
        repo=intent.repo,
        url=url,
        commit=intent.commit,
        private=private,
        card=intent.card,
        report=str(report),
        verified=loaded.ok,
        problem=loaded.problem,
        parameters=loaded.parameters,
        test=row.test,
        load=publishing.load_command(ctx.hub, intent.repo),
        serve=publishing.serve_command(ctx.hub),
        note=behind_its_parent(row, ctx.ledger),
    )


def _complete_dataset(ctx: ToolContext, intent: Intent) -> PublishedDataset:
    url = ctx.hub.url(intent.repo, "dataset")
    with ctx.hub.reach(intent.repo):
        private = bool(ctx.hub.api.repo_info(intent.repo, repo_type="dataset").private)
    ctx.emit(Published(intent.repo, url, "dataset"))
    rows = ctx.datasets.info(intent.subject).rows
    return PublishedDataset(
        repo=intent.repo, url=url, commit=intent.commit, private=private, rows=rows, card=intent.card
    )


def _text(ctx: ToolContext, repo: str, path: str, kind: Kind, revision: str | None) -> str:
    with ctx.hub.reach(f"{kind} {repo!r}"):
        found = ctx.hub.api.hf_hub_download(
            repo, path, repo_type=kind, revision=revision, cache_dir=ctx.hub.cache
        )
    data = Path(found).read_bytes()
    if b"\0" in data[:4096]:
        raise ToolError(
            f"{path} is not a text file ({len(data):,} bytes).", "inspect_repo lists the text files."
        )
    return mask(data.decode("utf-8", "replace"))  # before it is cut into pages


def _clean(ctx: ToolContext, text: str, kind: Kind) -> bool:
    """Whether a text of a repository may be shown; of code, whose lines are everywhere, near copies count."""
    return ctx.evals.guard([text, *text.splitlines()], lines=kind == "dataset").clean


def _keep_card(ctx: ToolContext, repo: str, text: str) -> Path:
    path = ctx.files.writable(f"published/{repo.replace('/', '--')}/README.md")
    path.write_text(text, encoding="utf-8")
    return path


def _folder(ctx: ToolContext) -> Path:
    return ctx.services.folder / "publish"


def _fresh(ctx: ToolContext, name: str) -> Path:
    """An empty folder that no cell sees."""
    path = _folder(ctx) / f"staged-{name}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
