"""How near is too near: the figures of the contamination guard, each with where it comes from.

A setting ``contamination`` changes any of them by name: ``contamination = {share = 0.7}`` in
``ml-intern.toml``. "Measured" means: on GSM8K, whose two splits ``benchmarks/contamination.py`` holds against
each other, so that what it finds in the clean training split is what a reader would call the same problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Nearness:
    """When a training row counts as a copy. Lengths are letters: digits, signs and spaces are not counted."""

    share: float = 0.5
    """Share of an item's own letters that a row must repeat, in runs of 16 and more. Half of an item in
    common n-grams is the rule of Tülu 3 (Lambert and others 2024, 3.2: 8-grams over half of the tokens);
    PaLM (Chowdhery and others 2022, 8) asks for 70 % of the 8-grams."""
    letters: float = 50
    """Letters that must be repeated at the least: the substrings of GPT-4's report (OpenAI 2023, appendix C)
    have 50 characters, GPT-3's 13-grams (Brown and others 2020, appendix C) about as many letters."""
    whole: float = 0.9
    """Share that counts for items with fewer letters than that, and for what is right without what was asked:
    worked answers to different questions read alike. Measured."""
    least: float = 40
    """Own letters below which an item is only looked for as it stands. Measured: some ten words."""
    answer: float = 100
    """The same for what is right without what was asked. Measured."""
    piece: float = 0.8
    """Share of a row's own letters that one item must hold for the row to be a piece of that item; it counts
    from `answer` letters on. Llama 2 (Touvron and others 2023, A.6) calls a text dirty from 80 % on."""
    alike: float = 3
    """Items that may share a run of letters before it is taken for the eval's own phrasing ("Answer with one
    letter"), which tells no item from another. Measured."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Nearness:
        """The defaults with some of them changed.

        Raises:
            ValueError: There is no figure of such a name, or it is no number above zero.
        """
        known = {f.name for f in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"there is no {name!r}; there are {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{name} = {value!r} is no number above zero")
        return cls(**given)
