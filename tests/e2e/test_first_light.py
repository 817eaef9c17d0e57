"""One sentence to a published model, with no key, no GPU and no internet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = str(Path(sys.executable).with_name("ml-intern"))
LOAD = Path(__file__).parents[2] / "examples" / "first_light" / "load.py"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real text that comes with Python: its language reference, by line."""
    from pydoc_data.topics import topics

    lines = {line.strip() for topic in topics.values() for line in topic.splitlines()}
    path = tmp_path_factory.mktemp("data") / "docs.txt"
    path.write_text("\n".join(sorted(line for line in lines if 15 < len(line) < 90)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def result(state: Path, text: Path) -> dict[str, Any]:
    sentence = f"pretrain a small model on {text} in 0.2 minutes and publish it as docs-model"
    command = [COMMAND, sentence, "--state", str(state), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return loaded


@pytest.mark.slow
@pytest.mark.timeout(700)
class TestFirstLight:
    def test_it_ends_with_a_published_model(self, result: dict[str, Any]) -> None:
        assert result["status"] == "done" and result["errors"] == []
        assert [p["repo"] for p in result["published"]] == ["local/docs-model"]
        assert all(job["state"] == "succeeded" for job in result["jobs"])

    def test_what_is_published_beat_the_baseline_with_an_interval(self, result: dict[str, Any]) -> None:
        rows = {row["id"]: row for row in result["experiments"]}
        baseline = rows["exp-1"]["dev"]["bits_per_byte"]
        (published,) = [row for row in rows.values() if row["test"]]
        best = published["dev"]["bits_per_byte"]
        assert published["verdict"] == "kept" and published["parent"]
        assert best["high"] < baseline["low"]
        assert all(row["verdict"] != "open" for row in rows.values())

    def test_every_number_of_the_card_is_in_the_ledger(self, result: dict[str, Any], state: Path) -> None:
        from ml_intern.hub.claims import unresolved
        from ml_intern.ledger import Ledger
        from ml_intern.ledger.numbers import numbers_of_comparison

        folder = state / "sessions" / result["session"]
        (card,) = folder.glob("workspace/published/*/README.md")
        ledger = Ledger(folder / "ledger.sqlite")
        text = card.read_text(encoding="utf-8")
        assert "bits_per_byte" in text and "exp-1" in text
        read = [json.loads(p.read_text("utf-8"))["lineage"] for p in folder.glob("datasets/*/*/lineage.json")]
        known = [0.95, *(float(made["rows_before"]) for made in read)]
        # What comparisons said before more seeds replaced them: the ledger has it, the card tells it as such.
        known += [float(n.value) for c in ledger.replaced() for n in numbers_of_comparison(c)]
        assert unresolved(text, ledger, known=known) == []
        value = next(row for row in result["experiments"] if row["test"])["test"]["bits_per_byte"]["value"]
        assert unresolved(text.replace(f"{value:.3f}", f"{value - 0.5:.3f}"), ledger, known=known) != []

    def test_transformers_loads_it_from_the_embedded_hub(self, result: dict[str, Any], state: Path) -> None:
        environment = {**os.environ, "ML_INTERN_STATE": str(state)}
        done = subprocess.run(
            [sys.executable, str(LOAD), "docs-model", "--prompt", "The "],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert "parameters from http://127.0.0.1" in done.stdout

    @pytest.mark.thorough
    def test_it_is_fine_tuned_from_the_embedded_hub(
        self, result: dict[str, Any], state: Path, text: Path, tmp_path: Path
    ) -> None:
        lines = [" ".join(line.split()[: 1 + n % 4]) for n, line in enumerate(text.read_text().splitlines())]
        rows = {line: f" {len(line.split())}" for line in lines}
        data = tmp_path / "words.jsonl"
        data.write_text(
            "".join(json.dumps({"prompt": f"{k}\n# words:", "completion": v}) + "\n" for k, v in rows.items())
        )
        sentence = f"fine-tune local/docs-model on {data} in 0.1 minutes and publish it as word-counter"
        done = subprocess.run(
            [COMMAND, sentence, "--state", str(state), "--json"],
            capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout.strip().splitlines()[-1])
        (published,) = [row for row in found["experiments"] if row["test"]]
        before = found["experiments"][0]["dev"]["exact_match"]
        assert published["dev"]["exact_match"]["low"] > before["high"]
        assert [p["repo"] for p in found["published"]] == ["local/word-counter"]

    def test_held_out_text_is_in_no_file_that_cells_can_read(
        self, result: dict[str, Any], state: Path, text: Path
    ) -> None:
        folder = state / "sessions" / result["session"]
        items = [json.loads(line) for file in (folder / "evals").rglob("*.jsonl") for line in file.open()]
        held = {item["input"] for item in items if isinstance(item, dict) and len(item.get("input", "")) > 40}
        assert len(held) > 50
        seen = "\n".join(
            file.read_text(encoding="utf-8", errors="replace")
            for part in ("datasets", "jobs", "workspace")
            for file in (folder / part).rglob("*")
            if file.is_file() and file.suffix in (".jsonl", ".json", ".txt", ".md", ".html")
        )
        assert [line for line in held if line in seen] == []

    def test_the_report_in_the_workspace_tells_the_end(self, result: dict[str, Any], state: Path) -> None:
        report = state / "sessions" / result["session"] / "workspace" / "report" / "report.md"
        assert "status done" in report.read_text(encoding="utf-8")
