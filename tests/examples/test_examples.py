"""The stories of `examples/`: their numbers are the ledger's, their code uses what everybody can use."""

from __future__ import annotations

import ast
import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import ml_intern
from ml_intern.brains.playbook import Playbook, load_playbook
from ml_intern.brains.playbook_cells import fill_cell
from ml_intern.claims.evidence import Evidence, Known
from ml_intern.claims.gathering import Heard, gathered
from ml_intern.claims.judging import review
from ml_intern.claims.reading import numbers_in
from ml_intern.ledger import Comparison, Experiment, ReplacedComparison
from ml_intern.ledger.model import Scores

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STORIES = sorted(path.parent for path in EXAMPLES.glob("*/story.toml"))
SIZES = ("small", "full")
SCRIPTS = sorted(EXAMPLES.rglob("*.py"))
RUNNER = runpy.run_path(str(EXAMPLES / "run.py"))
MACHINE = re.compile(r"(?<![\w.~])/(?:tmp|home|root|work|Users|var|opt|mnt|private)/\w[^\s\"')]*")
"""A path of the machine on which an example was run."""

of_each_story = pytest.mark.parametrize("folder", STORIES, ids=lambda folder: folder.name)


def results(folder: Path) -> Path:
    return folder / "results" / "small"


def ledger_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results(folder) / "ledger.json").read_text(encoding="utf-8"))
    return found


def story_of(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "story.toml").read_text(encoding="utf-8"))


def readme_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


# Numbers


def evidence_of(ledger: dict[str, Any], said: list[str]) -> Evidence:
    """What the product's own check takes: the exported ledger, and what no run has measured."""
    experiments = [Experiment.model_validate(e) for e in ledger["experiments"]]
    comparisons = [Comparison.model_validate(c) for c in ledger["comparisons"]]
    scores = [Scores.model_validate(s) for s in ledger["scorings"]]
    replaced = [
        ReplacedComparison.model_validate(c) for c in ledger.get("replaced", [])
    ]  # not in older exports
    standing = {c.pair: c for c in comparisons}
    told = SimpleNamespace(
        list=lambda: experiments,
        comparisons=lambda: comparisons,
        scores=lambda: scores,
        replacements=lambda: [(c, standing[c.pair]) for c in replaced],
    )
    found = gathered(told, heard=Heard(said=said))  # type: ignore[arg-type]
    found.add(beside(ledger))
    return found


def beside(ledger: dict[str, Any]) -> Iterator[Known]:
    """What stands in the export beside the rows of the ledger."""
    for job in ledger["jobs"]:
        yield Known(job["seconds"] or 0.0, f"{job['id']} seconds", "time", "seconds", owner=job["id"])
        for name, value in job["last"].items():
            if isinstance(value, int | float):
                yield Known(value, f"{job['id']} last {name}", "curve", name, owner=job["id"])
    for data in ledger["datasets"]:
        yield Known(data["rows"], f"{data['id']} rows", "fact", "rows")
    for unit, value in ledger["spent"].items():
        yield Known(value, f"spent {unit}", "time" if unit == "seconds" else "fact", unit)
    counted = {"experiments": len(ledger["experiments"]), "jobs": len(ledger["jobs"])}
    for name, count in counted.items():
        yield Known(count, f"number of {name}", "fact", name)


def doubtful(text: str, ledger: dict[str, Any], said: list[str]) -> list[str]:
    """The numbers of a text that stand neither in the ledger nor on the story's list of what is no result."""
    evidence = evidence_of(ledger, said)
    evidence.active = True
    found = review(text, evidence)
    listed = {told.plain for line in said for told in numbers_in(line)}
    stands = set(found.verified)
    loose = [
        told.shown
        for told in numbers_in(text)
        if (told.fraction or told.unit or told.plain >= 10)
        and told.shown not in stands
        and told.plain not in listed
    ]
    return [*map(str, found.unverified), *found.words, *loose]


def prose(readme: str) -> str:
    """A README without its tables, which are the runner's own."""
    before, _, rest = readme.partition(RUNNER["BEGIN"])
    return before + rest.partition(RUNNER["END"])[2]


@of_each_story
def test_tables_are_what_the_ledger_gives(folder: Path) -> None:
    readme = readme_of(folder)
    assert RUNNER["BEGIN"] in readme and RUNNER["END"] in readme
    assert RUNNER["rewrite"](readme, ledger_of(folder)) == readme


@of_each_story
def test_numbers_of_the_prose_are_in_the_ledger(folder: Path) -> None:
    assert doubtful(prose(readme_of(folder)), ledger_of(folder), story_of(folder).get("said", [])) == []


@of_each_story
def test_a_number_that_nobody_measured_is_found(folder: Path) -> None:
    """The check above can fail. That one of ten made-up values is by chance a difference of two others may be."""
    ledger = ledger_of(folder)
    made_up = [f"The best run reached an exact_match of {0.4137 + n * 0.0511:.4f} on dev." for n in range(10)]
    assert sum(bool(doubtful(text, ledger, [])) for text in made_up) >= 8


@of_each_story
def test_what_is_no_result_is_a_short_list(folder: Path) -> None:
    assert len(story_of(folder).get("said", [])) <= 12


# Code


def imports(code: str) -> Iterator[tuple[str, str]]:
    """Modules and what is taken of them."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def reached_into(code: str) -> list[str]:
    """What a code uses of ML Intern that is not for everybody."""
    own = [(module, name) for module, name in imports(code) if module.split(".")[0] == "ml_intern"]
    wrong = [
        f"{module}.{name}"
        for module, name in own
        if module != "ml_intern" or (name and name not in ml_intern.__all__)
    ]
    attributes = [n.attr for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Attribute)]
    return wrong + [a for a in attributes if a.startswith("_") and not a.endswith("__")]


def cells_of(playbook: Playbook, sentence: str) -> list[str]:
    """The cells as they run for a sentence."""
    matched = playbook.match(sentence)
    assert matched is not None, f"{playbook.name} does not understand {sentence!r}"
    return [fill_cell(cell.code, matched[1], playbook.name) for cell in playbook.cells]


def cells_of_size(folder: Path, size: str) -> list[str]:
    return cells_of(load_playbook(folder / "playbook.md"), RUNNER["Story"].read(folder, size).sentence)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_scripts_use_what_everybody_can_use(script: Path) -> None:
    assert reached_into(script.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("size", SIZES)
@of_each_story
def test_cells_use_what_everybody_can_use(folder: Path, size: str) -> None:
    assert [found for code in cells_of_size(folder, size) for found in reached_into(code)] == []


@of_each_story
def test_both_sizes_are_one_playbook(folder: Path) -> None:
    """The cells differ in the values that the sentences give, and in nothing else."""
    small, full = (cells_of_size(folder, size) for size in SIZES)
    assert [shape(code) for code in small] == [shape(code) for code in full]


def shape(code: str) -> str:
    """A code without its literals."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.value = 0
    return ast.dump(tree)


@pytest.mark.parametrize(
    "code",
    ["import ml_intern.jobs", "from ml_intern.api import MLIntern", "from ml_intern import api", "x._folder"],
)
def test_what_is_not_for_everybody_is_found(code: str) -> None:
    assert reached_into(code)


# Files


def test_there_are_stories() -> None:
    assert STORIES


@of_each_story
def test_the_session_is_a_notebook_that_was_executed(folder: Path) -> None:
    text = (results(folder) / "session.ipynb").read_text(encoding="utf-8")
    assert MACHINE.findall(text) == []
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert code and [cell["execution_count"] for cell in code] == sorted(c["execution_count"] for c in code)
    assert {out["name"] for cell in code for out in cell["outputs"]} == {"stdout"}


@of_each_story
def test_the_ledger_is_of_this_story_and_names_no_folder(folder: Path) -> None:
    text = (results(folder) / "ledger.json").read_text(encoding="utf-8")
    assert MACHINE.findall(text) == []
    ledger = json.loads(text)
    assert (ledger["story"], ledger["size"]) == (folder.name, "small")
    assert ledger["experiments"] and all(e["verdict"] != "open" for e in ledger["experiments"])


@of_each_story
def test_pictures_are_svg_that_runs_nothing(folder: Path) -> None:
    pictures = sorted(results(folder).glob("*.svg"))
    assert results(folder) / "curves.svg" in pictures
    for path in pictures:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        for element in root.iter():
            assert "script" not in element.tag and "foreignObject" not in element.tag
            assert not [name for name in element.attrib if name.startswith("on") or name.endswith("href")]


@of_each_story
def test_the_readme_shows_the_curves_and_the_sentence(folder: Path) -> None:
    readme = readme_of(folder)
    assert "](results/small/curves.svg)" in readme and "](results/small/session.ipynb)" in readme
    assert RUNNER["Story"].read(folder, "small").sentence in " ".join(
        re.sub(r"^> ?", "", readme, flags=re.M).split()
    )
