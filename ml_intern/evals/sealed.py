"""The sealed items: taken in, described, looked for among rows, and shown to nobody."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.evals.columns import CHOICES, RUBRIC, TESTS, Columns, column_of
from ml_intern.evals.guard import Contamination, Guard
from ml_intern.evals.items import groups_of, items_from, readings
from ml_intern.evals.model import Asking, EvalInfo, Item, LmEval
from ml_intern.evals.nearness import Nearness
from ml_intern.evals.repositories import refuse
from ml_intern.evals.results import detectable
from ml_intern.evals.rewarding import noted
from ml_intern.evals.rows import Rows, fold
from ml_intern.evals.scorers import scorer
from ml_intern.ledger.model import Split
from ml_intern.ledger.store import Ledger
from ml_intern.settings import Settings
from ml_intern.tooling import did_you_mean


class Sealed:
    """The items of a session's evaluations.

    Args:
        folder: Hidden from every sandbox.
        ledger: Knows the dev queries that were asked.
        settings: The cap on them; the eval and metric that decide; what counts as a near copy.
        find_model: The folder of a reward model that a person named: a folder, or an id of the Hub.
    """

    def __init__(
        self, folder: Path, ledger: Ledger, settings: Settings, find_model: Callable[[str], Path] = Path
    ) -> None:
        self.folder = folder.absolute()
        self.ledger = ledger
        self.settings = settings
        self._find_model = find_model
        self._lock = threading.RLock()
        self._guard: tuple[tuple[str, ...], Guard] | None = None
        self.decides = settings.eval_name
        """Name of the evaluation that the person wants decided by, where they named one."""
        (self.folder / "items").mkdir(parents=True, exist_ok=True)

    # Registering

    def register(
        self,
        name: str,
        rows: Sequence[dict[str, Any]],
        scorers: Sequence[str],
        primary: str | None = None,
        *,
        input: str | None = None,
        target: str | None = None,
        split_by: str | None = None,
        group: str | None = None,
        slice_by: str | None = None,
        asking: Asking | dict[str, Any] | None = None,
        repositories: Sequence[str] = (),
        reward_model: str | None = None,
        choices: str | None = None,
        tests: str | None = None,
        rubric: str | None = None,
        lm_eval: LmEval | None = None,
    ) -> EvalInfo:
        """Take rows into the host's keeping. The same rows under the same name again change nothing.

        Args:
            name: Letters, digits, dots, dashes.
            rows: Dev and test rows together.
            scorers: Names of the metrics.
            primary: The metric that decides; the setting ``metric``, or else the first one.
            input: Column of the text or prompt; the usual names are tried.
            target: Column of what is right; the usual names are tried where a scorer needs one.
            split_by: Column that says ``dev`` or ``test``; ``split`` where there is one. Without it each side
                gets half of the groups or rows.
            group: Column of the cluster that a row belongs to; ``group`` where there is one.
            slice_by: Column by which scores are broken down.
            asking: How completions are drawn.
            repositories: Where the rows come from on the Hub, "owner/name" or "owner/name:split"; from now on
                no dataset tool opens that.
            reward_model: What gives the metric ``reward``: a folder or a Hub id; nothing: the setting.
            choices: Column of the options of a multiple choice; the usual names are tried where a scorer
                needs them, as for `tests` and `rubric`.
            tests: Column of Python that checks an answer's code.
            rubric: Column of what an answer is judged by.
            lm_eval: The task that asks and scores, where the rows are documents of lm-eval's.

        Raises:
            ToolError: A column is missing, a row is empty, or the name holds other rows.
        """
        known, named = [scorer(s) for s in scorers], reward_model or self.settings.reward_model
        wanted = self.settings.metric
        primary = primary or next((s for s in scorers if s == wanted), scorers[0] if scorers else "")
        if primary not in scorers:
            raise ToolError(
                f"The metric that decides, {primary!r}, is not among the scorers {list(scorers)}."
            )
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,60}", name):
            raise ToolError(f"{name!r} cannot name an eval.", "Use letters, digits, dots and dashes.")
        columns = rows[0] if rows else {}
        needs = {part for s in known for part in s.needs}
        more = Columns(
            column_of([*columns], choices, CHOICES, "options") if choices or "choices" in needs else None,
            column_of([*columns], tests, TESTS, "tests") if tests or "tests" in needs else None,
            column_of([*columns], rubric, RUBRIC, "rubric") if rubric or "rubric" in needs else None,
        )
        split_by = split_by or ("split" if "split" in columns else None)
        group = group or ("group" if "group" in columns else None)
        items = items_from(name, rows, input, target, "target" in needs, split_by, group, slice_by, more)
        lines = [item.line() for item in items]
        info = EvalInfo(
            name=name,
            rows=dict(sorted(Counter(i.split for i in items).items())),
            scorers=list(scorers),
            primary=primary,
            higher_is_better=scorer(primary).higher_is_better,
            grouped=group is not None,
            groups=groups_of(items) if group else {},
            slices=sorted({i.slice for i in items if i.slice is not None}),
            asking=Asking.model_validate(asking or {}),
            sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            repositories=list(repositories),
            lm_eval=lm_eval,
        )
        if "reward" in scorers:
            info = info.model_copy(update=noted(name, named, self._find_model))
        self._keep(info, lines)
        return self.described(self.get(name))

    def list(self) -> list[EvalInfo]:
        """All evaluations, by name."""
        return [self.get(p.name) for p in sorted((self.folder / "items").glob("[!.]*"))]

    def get(self, name: str) -> EvalInfo:
        """One evaluation, with the dev queries that are left.

        Raises:
            ToolError: There is none of that name.
        """
        file = self.folder / "items" / name / "eval.json"
        if not re.fullmatch(r"[\w.-]+", name) or not file.exists():
            known = [p.name for p in sorted((self.folder / "items").glob("[!.]*"))]
            raise ToolError(
                f"There is no eval {name!r}{did_you_mean(name, known)}.",
                f"Evals: {', '.join(known)}." if known else "split_dataset makes one from a dataset.",
            )
        info = EvalInfo.model_validate_json(file.read_text())
        used = sum(map(self.ledger.queries, self.alike(info)))
        return info.model_copy(
            update={"queries_used": used, "queries_left": max(0, self.settings.dev_queries - used)}
        )

    def described(self, info: EvalInfo) -> EvalInfo:
        """With what each split can tell; the more exactly, the more models were scored on dev."""
        known = self.ledger.scores(eval=info.name, split="dev", items=True)
        items = {s.model: s.items[info.primary] for s in known if info.primary in s.items}
        return info.model_copy(update={"detectable": detectable(info, [*items.values()])})

    # Guarding

    def guard(self, rows: Rows, lines: bool = True) -> Contamination:
        """Look for held-out items among training rows: a table, strings, or rows with any columns of text.

        Args:
            rows: The rows.
            lines: Whether a line that is an item counts; not for programs, of which lines are everywhere.
        """
        return self._ready().check(rows, lines)

    def refuse(self, repository: str, split: str | None = None, path: str = "") -> None:
        """Refuse what an evaluation comes from; see `ml_intern.evals.repositories`.

        Raises:
            ToolError: `repository` is an evaluation's.
        """
        refuse(self.list(), repository, split, path)

    def held_out(self, rows: Rows) -> dict[int, str]:
        """The rows that no tool shows or hands on, by position, each with the eval that holds it."""
        ready = self._ready()
        return ready.held_out(rows) if ready else {}

    def elsewhere(self, name: str, rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        """Rows of an evaluation that one of another name holds, by position, each with that name.

        The same rows in the same splits may have a second name, with other scorers: see `alike`.
        """
        asked = [tuple(_text(row.get(c)) for c in ("split", "input", "target", "group")) for row in rows]
        held: dict[str, str] = {}
        for other in self.list():
            items = self._items(other.name)
            if other.name != name and [(i.split, i.input, i.target, i.group) for i in items] != asked:
                held |= {fold(item.input): other.name for item in items}
        return {at: held[text] for at, row in enumerate(rows) if (text := fold(row["input"])) in held}

    # Below

    def alike(self, info: EvalInfo) -> Sequence[str]:
        """The evaluations of the same items, which share their dev queries."""
        names = [p.name for p in sorted((self.folder / "items").glob("[!.]*"))]
        found = {
            n: json.loads((self.folder / "items" / n / "eval.json").read_text())["sha256"] for n in names
        }
        return [n for n in names if n == info.name or found[n] == info.sha256 != ""]

    def _ready(self) -> Guard:
        names = tuple(sorted(p.name for p in (self.folder / "items").glob("[!.]*")))
        with self._lock:
            if self._guard is None or self._guard[0] != names:
                made = Guard(Nearness.of(self.settings.contamination))
                for name in names:
                    items = self._items(name)
                    made.add(name, map(readings, items), [item.answer for item in items])
                self._guard = names, made
            return self._guard[1]

    def _keep(self, info: EvalInfo, lines: Sequence[str]) -> None:
        """Written beside and renamed: an eval is whole or not there."""
        folder = self.folder / "items" / info.name
        with self._lock:
            if folder.exists():
                if self.get(info.name).sha256 != info.sha256:
                    raise ToolError(
                        f"The eval {info.name!r} holds other rows.", "Register these under another name."
                    )
                return
            fresh = folder.with_name(f".{info.name}.new")
            fresh.mkdir(exist_ok=True)
            (fresh / "items.jsonl").write_text("\n".join(lines) + "\n")
            (fresh / "eval.json").write_text(info.model_dump_json(indent=1))
            fresh.rename(folder)

    def _items(self, name: str, split: Split | None = None) -> Sequence[Item]:
        with (self.folder / "items" / name / "items.jsonl").open(encoding="utf-8") as file:
            every = [Item.model_validate_json(line) for line in file]
        return [i for i in every if split in (None, i.split)]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
