"""The card of a dataset: what its rows are and how they came about."""

from __future__ import annotations

import json
from typing import Any

import yaml

from ml_intern.data.store import DatasetInfo
from ml_intern.hub.card import line, table, tidy
from ml_intern.secrets.masking import mask

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(repo: str, info: DatasetInfo, session: str) -> str:
    """The card, as Markdown with front matter."""
    size = next((word for limit, word in _SIZES if info.rows < limit), "n>1M")
    head: dict[str, Any] = {
        "tags": ["ml-intern"],
        "size_categories": [size],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/train.jsonl"}]}
        ],
    }
    made = info.lineage
    columns = table(["column", "type"], [[f"`{line(n)}`", line(t)] for n, t in info.columns.items()])
    arguments = json.dumps(tidy(made.arguments), ensure_ascii=False, default=str)
    body = f"""# {repo}

{info.rows:,} rows, made by ML Intern (session `{session}`, dataset `{info.id}`).

## Columns

{columns}

## Where the rows come from

- Source: {line(tidy(made.source))}
- Made by: `{made.operation}` with `{line(arguments)}`
- Rows before and after: {made.rows_before:,} and {info.rows:,}
- Made from: {", ".join(f"`{p}`" for p in made.parents) or "the source itself"}
- sha256 of the rows: `{info.sha256}`

Held-out items of the session's evaluations are not in it.
"""
    return mask(f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{body}")
