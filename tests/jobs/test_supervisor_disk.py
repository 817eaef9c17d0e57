"""What a job may add to the disk, and what is made of what it leaves there."""

from __future__ import annotations

import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.sandbox.local import LocalSandbox
from ml_intern.settings import Settings

RUN = Callable[..., JobStatus]
SOON_S = 30.0


@pytest.fixture(params=["none", "local"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RUN]:
    """Runs code as a job that may add 24 MB."""
    sandbox = None
    if request.param == "local":
        if problem := LocalSandbox.problem():
            pytest.skip(problem)
        sandbox = LocalSandbox()
    settings = Settings(state=tmp_path / "state", job_disk_mb=24)
    jobs = Jobs(tmp_path / "state/session/jobs", sandbox, settings, lambda event: None)

    def go(code: str) -> JobStatus:
        spec = JobSpec(name="script", method="script", config={"code": textwrap.dedent(code)})
        return jobs.wait([jobs.submit(spec).id], 60)[0]

    yield go
    if sandbox:
        sandbox.stop()


@pytest.mark.parametrize(
    "bomb",
    [
        "i = 0\nwhile True:\n    i += 1\n    open(f'big-{i}', 'wb').write(bytes(1 << 20))",
        "i = 0\nwhile True:\n    i += 1\n    open(f'small-{i}', 'w').close()",
        "kept = []\nwhile True:\n    kept.append(open('x', 'wb'))\n"
        "    kept[-1].write(bytes(4 << 20))\n    import os\n    os.unlink('x')",
    ],
    ids=["big files", "small files", "no names"],
)
def test_a_job_that_fills_the_disk_is_ended_and_told_why(run: RUN, bomb: str) -> None:
    began = time.monotonic()
    status = run(bomb)
    assert time.monotonic() - began < SOON_S
    assert status.state == "failed" and status.failure and status.failure.kind == "disk_full"
    assert "grew by more than 24 MB (setting job_disk_mb)" in status.failure.message


def test_a_job_within_its_limit_is_left_alone(run: RUN) -> None:
    status = run(
        "for i in range(3):\n    open('same', 'wb').write(bytes(10 << 20))\nimport time\ntime.sleep(0.5)"
    )
    assert status.state == "succeeded", status.failure


def test_folders_without_end_and_links_in_circles_do_not_lose_the_job(run: RUN) -> None:
    status = run(
        """
        import os
        os.symlink('a', 'b')
        os.symlink('b', 'a')
        os.symlink('/etc', 'out')
        for _ in range(1500):
            os.mkdir('f')
            os.chdir('f')
        os.symlink('/etc', 'out')
        open('secret', 'w').close()
        os.chmod('secret', 0)
        """
    )
    output = Path(status.output)
    try:
        assert status.state == "succeeded", status.failure
        assert not (output / "out").is_symlink()
        deep = subprocess.run(
            ["find", str(output), "-name", "out", "-o", "-name", "secret", "-perm", "0644"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert [line.rsplit("/", 1)[1] for line in deep.stdout.splitlines()] == ["secret"]
    finally:
        subprocess.run(["rm", "-rf", str(output / "f")], check=True)
