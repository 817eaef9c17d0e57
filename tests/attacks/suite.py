"""All attacks, in the order in which they are run."""

from __future__ import annotations

from attacks import bombs, escaping, forging, reaching, reading, staying, writing

ATTACKS = [
    *reading.ATTACKS,
    *reaching.ATTACKS,
    *writing.ATTACKS,
    *escaping.ATTACKS,
    *forging.ATTACKS,
    *staying.ATTACKS,
    *bombs.ATTACKS,
]
