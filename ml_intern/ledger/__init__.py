"""What was tried, what it cost, what it measured, and what was concluded."""

from ml_intern.ledger.model import (
    Comparison,
    Cost,
    Experiment,
    ItemScores,
    Measured,
    Number,
    Publication,
    ReplacedComparison,
    Scores,
    Verdict,
)
from ml_intern.ledger.store import Ledger

__all__ = [
    "Comparison",
    "Cost",
    "Experiment",
    "ItemScores",
    "Ledger",
    "Measured",
    "Number",
    "Publication",
    "ReplacedComparison",
    "Scores",
    "Verdict",
]
