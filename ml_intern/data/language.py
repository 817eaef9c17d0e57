"""Which languages texts are in, by ``py3langid``: an n-gram model of 4.6 MB that is part of its package."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

SHORTEST = 20
"""Characters below which no guess is worth having."""
LONGEST = 1_000
SURE = 0.5
UNSURE, SHORT = "unsure", "too short"
MISSING = "The languages were not looked at: py3langid is not installed."


def languages(texts: Sequence[str]) -> dict[str, int] | None:
    """Texts by language (ISO 639-1), the most frequent first; None where the library is missing.

    Code, numbers and mixtures come out as ``unsure``, short texts as ``too short``.
    """
    model = _model()
    if model is None:
        return None
    return dict(Counter(_language(model, text) for text in texts).most_common())


def _language(model: Any, text: str) -> str:
    text = text.strip()[:LONGEST]
    if len(text) < SHORTEST:
        return SHORT
    language, probability = model.classify(text)
    return str(language) if probability >= SURE else UNSURE


@cache
def _model() -> Any:
    try:
        langid = importlib.import_module("py3langid.langid")
    except ImportError:
        return None
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
