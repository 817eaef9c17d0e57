"""The table that people read is the one that the attempts make."""

from __future__ import annotations

import table


def test_the_table_is_up_to_date() -> None:
    assert table.README.read_text(encoding="utf-8") == table.text(), "python tests/redteam/table.py writes it"


def test_every_row_is_attempted_in_many_ways() -> None:
    rows = {int(table.row_of(module)[0]): table.attempts_of(module) for module in table.modules()}
    assert sorted(rows) == list(range(1, 12))
    assert all(len(attempts) >= 6 for attempts in rows.values())
    assert all(a.message.strip("… ") for attempts in rows.values() for a in attempts)
