"""The example notebook: its outputs are those of this code, name no machine, and come again when it is executed."""

from __future__ import annotations

import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ml_intern.notebook import frames, parts

FOLDER = Path(__file__).parents[2] / "examples" / "notebook"
NOTEBOOK = FOLDER / "first_light.ipynb"


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script that makes the notebook."""
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    spec = importlib.util.spec_from_file_location("make_notebook", FOLDER / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def pages(notebook: Any) -> list[str]:
    found = [
        output.get("data", {}).get("text/html", "") for cell in cells(notebook) for output in cell["outputs"]
    ]
    return ["".join(page) for page in found if page]


def shape(cell: Any) -> list[tuple[str, tuple[str, ...]]]:
    """Of each output its type and the kinds of its data."""
    return [(o["output_type"], tuple(sorted(o.get("data", {})))) for o in cell["outputs"]]


class _Pieces(HTMLParser):
    """The elements of a page with their classes, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, dict(attrs).get("class") or ""))


def pieces(page: str) -> set[tuple[str, str]]:
    reader = _Pieces()
    reader.feed(page)
    return reader.found


def test_the_cells_are_those_of_the_script(make: ModuleType) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert found == make.CELLS, "run examples/notebook/make.py again"


def test_the_outputs_are_those_of_this_code() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(len(cell["outputs"]) <= 1 for cell in cells(notebook)), "one output a cell"
    ours = [page for page in pages(notebook) if 'class="mli"' in page]
    assert len(ours) == 2 and all(parts.STYLE in page for page in ours), "run examples/notebook/make.py again"
    trained = ours[0]
    for told in (
        ">done</span>",
        "Experiments",
        "Sealed test of",
        "Published the model",
        "95 % intervals",
        "<svg",
    ):
        assert told in trained, told
    assert set(re.findall(r"<th>(\w+)</th>", "".join(pages(notebook)))) >= {
        *list(frames.experiments([]).columns[:2]),
        "bits_per_byte_low",
    }


def test_the_outputs_name_no_machine_and_run_nothing() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.~:/])/(?:tmp|root|home|work|usr|var|opt)/", text)
    assert "<script" not in text and "Traceback" not in text and "Warning" not in text
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"127.0.0.1", "www.w3.org"}, hosts


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_it_is_executed_again(make: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    committed = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    again = make.executed(make.notebook_of(make.CELLS), tmp_path, timeout_s=1500)
    assert [shape(cell) for cell in cells(again)] == [shape(cell) for cell in cells(committed)]
    for was, now in zip(pages(committed), pages(again), strict=True):
        # Which warnings and verdicts there are depends on what was measured.
        assert pieces(was) ^ pieces(now) <= {
            ("p", "warn"),
            ("details", ""),
            ("summary", ""),
            ("span", "verdict"),
        }
