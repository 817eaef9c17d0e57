"""The example answers of the dataset viewer's own description, where it is at hand: all are read.

They lie in a sibling folder of the checkout, or where PAPER_RECORDINGS says.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support.loopback import Answer, Asked, Loopback, Reply

from ml_intern.viewer import answers
from ml_intern.viewer.client import Viewer, ViewerError
from ml_intern.viewer.features import in_words
from ml_intern.web.client import Web

DATA = Path(os.environ.get("PAPER_RECORDINGS") or Path(__file__).parents[3] / "shared" / "data")
ONE = ("d/x", "c", "s")
ASK: dict[str, Callable[[Viewer], Any]] = {
    "/is-valid": lambda v: v.is_valid("d/x"),
    "/splits": lambda v: v.splits("d/x"),
    "/first-rows": lambda v: v.first_rows(*ONE),
    "/rows": lambda v: v.rows(*ONE),
    "/search": lambda v: v.search(*ONE, query="words"),
    "/filter": lambda v: v.filter(*ONE, where='"a"=1'),
    "/size": lambda v: v.size("d/x"),
    "/statistics": lambda v: v.statistics(*ONE),
    "/parquet": lambda v: v.parquet("d/x"),
    "/info": lambda v: v.info("d/x"),
    "/opt-in-out-urls": lambda v: v.opted_out("d/x"),
    "/presidio-entities": lambda v: v.personal_data("d/x"),
}


class Examples:
    """Every answer of the description, with the path and the status it is for."""

    def __init__(self) -> None:
        file = DATA / "hf_dataset_viewer" / "openapi.json"
        if not file.is_file():
            pytest.skip("the description of the dataset viewer is not at hand")
        self.whole = json.loads(file.read_text(encoding="utf-8"))
        self.rows = [
            (path, int(status), kind, name, self._value(example))
            for path, methods in self.whole["paths"].items()
            for status, answer in methods["get"]["responses"].items()
            for kind, content in answer.get("content", {}).items()
            for name, example in content.get("examples", {}).items()
        ]

    def _value(self, example: dict[str, Any]) -> Any:
        while "$ref" in example:
            example = self.whole["components"]["examples"][example["$ref"].rpartition("/")[2]]
        return example["value"]


def test_every_example_answer_is_read(
    serve: Callable[[Answer], Loopback], make_web: Callable[..., Web]
) -> None:
    examples = Examples()
    now: list[Any] = []

    def answer(asked: Asked) -> Reply:
        path, status, kind, _, value = now[0]
        assert asked.path == path and asked.query["dataset"] == "d/x"
        body = json.dumps(value) if kind == "application/json" else value
        return Reply(body, status, {"content-type": kind, "cache-control": "no-store"})

    server = serve(answer)
    viewer = Viewer(make_web(server.url, tries=0))
    seen: Counter[int] = Counter()
    for row in examples.rows:
        now[:] = [row]
        path, status, _, name, value = row
        if status == 200:
            check(path, ASK[path](viewer), value)
        else:
            with pytest.raises(ViewerError) as caught:
                ASK[path](viewer)
            said = " ".join((value["error"] if isinstance(value, dict) else value).split())
            assert said.rstrip(".")[:100] in caught.value.message, name
            assert caught.value.why == expected_why(status, said), name
        seen[status] += 1
    assert sum(seen.values()) == len(examples.rows) == 137


def expected_why(status: int, said: str) -> str:
    if status in (404, 422):
        return {404: "closed", 422: "refused"}[status]
    return "not ready" if "not ready yet" in said else "broken"


def check(path: str, found: Any, value: dict[str, Any]) -> None:
    """Nothing that an answer holds is lost on the way."""
    if isinstance(found, answers.Rows):
        assert [r["row"] for r in value["rows"]] == found.rows
        assert found.numbers == [r["row_idx"] for r in value["rows"]]
        assert found.total == value.get("num_rows_total")
        assert list(found.features) == [f["name"] for f in value["features"]]
        assert "unknown" not in " ".join(map(in_words, found.features.values()))
        assert bool(found.cut) == any(r["truncated_cells"] for r in value["rows"])
    elif isinstance(found, answers.Splits):
        assert [(s.config, s.split) for s in found.splits] == [
            (s["config"], s["split"]) for s in value["splits"]
        ]
    elif isinstance(found, answers.Valid):
        assert {f.name: getattr(found, f.name) for f in fields(found)} == value
    elif isinstance(found, answers.Size):
        assert sum(s.rows for s in found.splits) == sum(s["num_rows"] for s in value["size"]["splits"])
        assert found.whole.rows == sum(s.rows for s in found.splits)
        assert len(found.configs) == len(value["size"].get("configs", [1]))
    elif isinstance(found, answers.Statistics):
        assert found.examples == value["num_examples"]
        for column, row in zip(found.columns, value["statistics"], strict=True):
            known = row["column_statistics"]
            assert (column.name, column.kind, column.missing) == (
                row["column_name"], row["column_type"], known["nan_proportion"],
            )  # fmt: skip
            assert (column.low, column.high, column.mean) == tuple(
                known.get(k) for k in ("min", "max", "mean")
            )
            assert dict(column.frequencies) == known.get("frequencies", {})
            assert list(column.histogram) == [
                known.get("histogram", {}).get(k, []) for k in ("hist", "bin_edges")
            ]
    elif isinstance(found, answers.ParquetFiles):
        assert [f.size for f in found.files] == [f["size"] for f in value["parquet_files"]]
        assert all(f.url.startswith("https://huggingface.co/datasets/") for f in found.files)
        assert (found.partial, found.failed) == (value["partial"], len(value.get("failed", [])))
    elif isinstance(found, answers.Info):
        told = value["dataset_info"]
        single = "features" in told
        assert len(found.configs) == (1 if single else len(told))
        assert all(c.features and c.splits for c in found.configs)
    else:
        assert found.rows == value["num_scanned_rows"] and found.full == value["full_scan"]
        assert {f"num_{k}": n for k, n in found.counts.items()} == {
            k: v for k, v in value.items() if k.startswith("num_")
        }
