"""Write `first_light.ipynb`: the cells below, executed in a fresh folder, with outputs that name no machine.

python examples/notebook/make.py [NOTEBOOK]

Needs the packages nbclient and ipykernel. It takes a minute or two: the cells train and measure models.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

NOTEBOOK = Path(__file__).with_name("first_light.ipynb")
Cell = tuple[str, str]

CELLS: list[Cell] = [
    (
        "markdown",
        """# First light in a notebook

One sentence, and below the cell stands what comes of it: first the work as it goes on, then the answer, the
experiments with their intervals and verdicts, the curves, and what was published.

No key, no GPU and no internet are needed: the brain here is a playbook, a file of cells, and the Hub is
one on this disk. A language model answers instead with `MLIntern("openai:NAME", base_url=...)`,
`MLIntern("anthropic:NAME")` or `MLIntern("hf:NAME")`.""",
    ),
    (
        "code",
        """from ml_intern import MLIntern

agent = MLIntern("playbook:", hub="embedded", budget="1 usd")""",
    ),
    (
        "markdown",
        """Some data of our own: a file with a sum in each line. It is read, a part of it is sealed for the
measurements, and the rest is trained on.""",
    ),
    (
        "code",
        """import random
from pathlib import Path

random.seed(1)
pairs = [(random.randint(1, 99), random.randint(1, 99)) for _ in range(4000)]
lines = [f"{a} plus {b} is {a + b}" for a, b in pairs]
written = Path("sums.txt").write_text("\\n".join(lines) + "\\n")""",
    ),
    (
        "code",
        """result = agent.run("pretrain a small model on sums.txt in 1 minutes and publish it as sums")""",
    ),
    (
        "markdown",
        """Interrupting the cell ends a run in order; `agent.resume()` goes on with it. What would leave the
machine or cost money is asked below the cell, with its price and what it reaches.

The experiments are a pandas table. `result.best` is the best one, `result.ledger` has all with everything
that is known of them.""",
    ),
    (
        "code",
        """measured = ["bits_per_byte", "bits_per_byte_low", "bits_per_byte_high"]
result.experiments[["id", "change", "parent", "seed", "verdict", *measured]]""",
    ),
    ("code", "result.plot()"),
    (
        "markdown",
        """Verdicts come from comparisons on the same items; a gain inside the noise is inconclusive.
`result.curves(metric)` draws the trainings, `result.metrics` has their numbers, and `result.report()` shows
the whole report.""",
    ),
    ("code", """result.curves("loss")"""),
    ("code", """result.metrics.groupby("job")["loss"].agg(["first", "last"])"""),
    (
        "markdown",
        """The session stays: further words go on with the variables of its cells and the files of its
workspace. A language model is told "now make it smaller"; this playbook knows only a few sentences.""",
    ),
    ("code", """agent.tell("say hello to Ada")"""),
    ("code", "agent.close()"),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebook", nargs="?", type=Path, default=NOTEBOOK)
    target = parser.parse_args().notebook
    with tempfile.TemporaryDirectory(prefix="first-light-") as folder:
        notebook = executed(notebook_of(CELLS), Path(folder))
    nbformat.write(notebook, target)


def notebook_of(cells: list[Cell]) -> Any:
    """The notebook without outputs."""
    made = nbformat.v4.new_notebook()
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    new = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    made.cells = [new[kind](text, id=f"cell-{n}") for n, (kind, text) in enumerate(cells, 1)]
    return made


def executed(notebook: Any, folder: Path, timeout_s: int = 1800) -> Any:
    """The same with its outputs, which name no folder of this machine.

    Args:
        notebook: Is changed.
        folder: Its home, and where it works.
        timeout_s: For one cell.
    """
    from nbclient import NotebookClient

    home, work = folder / "home", folder / "work"
    for path in (home, work):
        path.mkdir(parents=True, exist_ok=True)
    kept = ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "LANG", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": str(home)}
    client = NotebookClient(
        notebook, timeout=timeout_s, resources={"metadata": {"path": str(work)}}, record_timing=False
    )
    client.execute(env=env)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata = {}
            for output in cell.outputs:
                _scrub(output, [(str(work), "."), (str(home), "~"), (sys.prefix, "~/.venv")])
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def _scrub(output: Any, places: list[tuple[str, str]]) -> None:
    """Write the folders of this machine as a reader's own."""

    def told(text: str) -> str:
        for path, shown in places:
            text = re.sub(re.escape(path) + r"(?![\w-])", shown, text)
        return text

    if output.output_type == "stream":
        output.text = told(output.text)
    elif "data" in output:
        output.data = {
            kind: told(text) if isinstance(text, str) else text for kind, text in output.data.items()
        }


if __name__ == "__main__":
    main()
