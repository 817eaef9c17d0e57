"""Where evaluations come from, by name: repositories of the Hub that no dataset tool opens.

``openai/gsm8k:test`` closes one split, ``openai/gsm8k`` the whole repository. A repository that is called as
an evaluation is (``anybody/gsm8k``) counts as a copy of it: its held-out splits are closed too. A copy under
another name is known by its rows (`ml_intern.data.sealing.openly`, `ml_intern.evals.guard`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ml_intern.errors import ToolError
from ml_intern.evals.model import EvalInfo

HELD_OUT = frozenset({"test", "testing", "dev", "validation", "valid", "val", "eval", "evaluation"})


class SealedSource(ToolError):
    """What is to be opened is where a sealed evaluation comes from."""


def refuse(evals: Iterable[EvalInfo], repository: str, split: str | None = None, path: str = "") -> None:
    """Refuse what an evaluation was made from.

    Args:
        evals: The registered ones.
        repository: ``namespace/name`` of a dataset.
        split: What is asked of it; nothing means that nobody said.
        path: A file of it that is to be read, whose name may tell the split.

    Raises:
        SealedSource: It is an evaluation's.
    """
    asked = {split.rsplit("/", 1)[-1].lower()} if split else set(re.split(r"[^a-z]+", path.lower()))
    for info in evals:
        for closed in [*info.repositories, *_namesakes(info, repository)]:
            name, _, part = closed.partition(":")
            if name.lower() != repository.lower() or path.lower().endswith("readme.md"):
                continue
            if not part or part.lower() in asked:
                raise SealedSource(
                    f"{repository}{f':{split}' if split else ''} is where the sealed evaluation"
                    f" {info.name!r} comes from: no tool opens it.",
                    "Train on another split or dataset; evaluate() measures on it.",
                )


def _namesakes(info: EvalInfo, repository: str) -> list[str]:
    """The held-out splits of a repository that is called as the evaluation is."""
    alike = _bare(repository.rsplit("/", 1)[-1]) == _bare(info.name)
    return [f"{repository}:{split}" for split in HELD_OUT] if alike else []


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
