"""The runner of the examples, on a story of a second."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUNNER = runpy.run_path(str(EXAMPLES / "run.py"))

STORY = """\
data = "make_data.py three"
[small]
sentence = "count the lines of words.txt"
[full]
sentence = "count the lines of nothing.txt"
"""
DATA = "import sys\nfrom pathlib import Path\nPath('words.txt').write_text('one\\ntwo\\n' + sys.argv[1])\n"
PLAYBOOK = """\
---
name: count
summary: Counts lines.
sentences: ["count the lines of {path}"]
slots:
  path: {help: the file}
---
```python
count = inspect_dataset({{path | py}}).rows
row = start_experiment(hypothesis="There are some.", change="counted")
finish_experiment(row.id, verdict="inconclusive")
final_answer(f"{count} lines")
```
"""


@pytest.fixture
def story(tmp_path: Path) -> Path:
    folder = tmp_path / "counting"
    folder.mkdir()
    for name, text in (("story.toml", STORY), ("make_data.py", DATA), ("playbook.md", PLAYBOOK)):
        (folder / name).write_text(text)
    (folder / "README.md").write_text("# Counting\n\n<!-- results -->\nold\n<!-- end -->\n\nThe end.\n")
    return folder


def played(story: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "run.py"), str(story), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_a_story_writes_its_results_and_its_tables(story: Path) -> None:
    done = played(story)
    assert done.returncode == 0, done.stderr
    assert "| counting |  |  |  |  | 1 |" in done.stdout.splitlines()[-1]
    ledger = json.loads((story / "results" / "small" / "ledger.json").read_text())
    assert (ledger["story"], ledger["size"], ledger["answer"]) == ("counting", "small", "3 lines")
    assert [e["verdict"] for e in ledger["experiments"]] == ["inconclusive"]
    notebook = (story / "results" / "small" / "session.ipynb").read_text()
    assert "inspect_dataset" in notebook and "/tmp/" not in notebook
    readme = (story / "README.md").read_text()
    assert "| exp-1 | counted | inconclusive |" in readme and "old" not in readme
    assert readme.startswith("# Counting\n") and readme.endswith("<!-- end -->\n\nThe end.\n")


def test_a_story_that_fails_is_told_in_the_table_and_by_the_exit_code(story: Path, tmp_path: Path) -> None:
    done = played(story, "--size", "full", "--into", str(tmp_path / "into"), "--keep", str(tmp_path / "kept"))
    assert done.returncode == 1 and "| counting | failed: " in done.stdout.splitlines()[-1]
    assert "nothing.txt" in done.stdout and "old" in (story / "README.md").read_text()
    assert (tmp_path / "kept" / "counting" / "words.txt").is_file()


@pytest.mark.thorough
def test_stories_beside_each_other_tell_whose_words_are_whose(
    story: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = Namespace(size="small", into=tmp_path / "into", keep=None)
    assert RUNNER["apart"](story, given)[0] == "counting"
    shown = capfd.readouterr().out
    assert "counting: == counting: count the lines of words.txt\n" in shown and "|" not in shown
    assert (tmp_path / "into" / "counting" / "ledger.json").is_file()
    again = Namespace(**{**vars(given), "tables": True})
    assert RUNNER["one"](story, again)[0] == "counting" and "old" in (story / "README.md").read_text()
    row = RUNNER["apart"](story, Namespace(size="full", into=tmp_path / "into", keep=None))
    assert row[0] == "counting" and row[1].startswith("failed: ") and "nothing.txt" in row[1]


def test_a_library_stands_in_for_the_services(tmp_path: Path) -> None:
    """Files of a folder are served by the addresses that the services have, whatever is asked behind them."""
    (tmp_path / "story.toml").write_text('library = "pages"\n')
    (tmp_path / "pages" / "graph").mkdir(parents=True)
    (tmp_path / "pages" / "graph" / "search.json").write_text('{"total": 0}')
    (tmp_path / "pages" / "2405.1.html").write_text("<html>read</html>")
    story = RUNNER["Story"].read(tmp_path, "small")
    with RUNNER["served"](story) as settings:
        url = settings["web_mirrors"]["arxiv-site"]
        assert urlopen(f"{url}/graph/search?query=a&limit=5").read() == b'{"total": 0}'
        assert urlopen(f"{url}/2405.1").read() == b"<html>read</html>"
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{url}/another")


def test_without_a_library_the_services_are_asked(tmp_path: Path) -> None:
    (tmp_path / "story.toml").write_text("")
    with RUNNER["served"](RUNNER["Story"].read(tmp_path, "full")) as settings:
        assert settings == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "There is no story 'nosuch'. Name one of: "),
        (["math_grpo", "--tables", "--size", "full"], "math_grpo has no results of size full yet."),
    ],
)
def test_what_is_not_there_is_one_line(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["run.py", *words])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as ended:
        RUNNER["main"]()
    assert ended.value.code == 2 and said in capsys.readouterr().err
