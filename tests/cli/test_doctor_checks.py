"""`ml-intern doctor` on a cluster, on extras and on a brain: what is found, and that it does not wait."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from ml_intern.cli import doctor
from ml_intern.cli.main import run
from ml_intern.errors import InternError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of PATH for programs that only pretend."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return folder


def pretend(folder: Path, **scripts: str) -> None:
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def checks(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, str]]]:
    code = run(["doctor", "--json"])
    return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_a_cluster_is_told_with_its_partitions(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("submitit")
    pretend(
        programs,
        squeue="exit 0",
        sbatch="exit 0",
        sinfo="echo 'gpu* up 4'; echo 'old down 1'; echo 'cpu up 9'",
    )
    code, told = checks(capsys)
    assert code == 0 and told["slurm"]["mark"] == "ok" and told["slurm"]["found"] == "partitions gpu, cpu"


def test_a_cluster_that_does_not_answer_is_not_waited_for(
    programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_ANSWER_S", 0.3)
    monkeypatch.setenv("ML_INTERN_COMPUTE", "slurm")
    pretend(programs, squeue="exec sleep 600", sinfo="exec sleep 600", sbatch="exit 0")
    began = time.monotonic()
    code, told = checks(capsys)
    assert time.monotonic() - began < 300
    assert code == 1 and told["slurm"]["mark"] == "failed" and "squeue" in told["slurm"]["found"]


def test_an_error_of_the_cluster_is_told(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretend(
        programs,
        squeue="echo 'Unable to contact slurm controller' >&2; exit 1",
        sinfo="exit 0",
        sbatch="exit 0",
    )
    code, told = checks(capsys)
    assert code == 0 and told["slurm"]["mark"] == "missing"
    assert "Unable to contact slurm controller" in told["slurm"]["found"]


def test_each_extra_has_the_command_that_installs_it(
    programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = doctor._version
    lost = {package for package, _ in doctor.EXTRAS.values()} - {"gradio"}
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name in lost else real(name) or "9.9")
    _, told = checks(capsys)
    assert told["extra web"]["mark"] == "ok" and told["extra web"]["about"] == "Extras"
    for name in ("mcp", "litellm", "slurm", "trackio", "lm-eval"):
        assert told[f"extra {name}"]["mend"] == f"pip install 'ml-intern[{name}]'"


def test_a_brain_that_is_down_fails_with_one_line(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--model", "openai:x", "--base-url", "http://127.0.0.1:9/v1"]) == 1
    out, err = capsys.readouterr()
    assert "✗ brain" in out and "→ Start the server there" in out
    assert err == "ml-intern: Needed, and not in order: brain.\n"


def test_a_brain_that_hangs_is_left_behind() -> None:
    import threading

    gone = threading.Event()
    assert not doctor._in_time(lambda: gone.wait(600), 0.05)
    gone.set()
    assert doctor._in_time(lambda: None, 60)

    def fails() -> None:
        raise InternError("It refuses the key.")

    with pytest.raises(InternError, match="refuses the key"):
        doctor._in_time(fails, 60)


def test_each_name_has_room_and_each_mend_its_line(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if line[:3] in ("  ✓", "  -", "  ✗")]
    assert len(heads) > 12 and all(line[4 + doctor.NAME_WIDTH :][:2] == "  " for line in heads)
    assert [line for line in lines if not line.startswith(" ")] == [
        "This machine", "Where cells and trainings run", "Models and Hubs", "Extras",
    ]  # fmt: skip
