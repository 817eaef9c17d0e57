"""Jobs of the embedded Hub, through the unmodified client."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from ml_intern.hub.server import ServerThread

WAIT_S = 60
IMAGE = "python:3.12"


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def stage(api: HfApi, job: str) -> str:
    return api.inspect_job(job_id=job).status.stage


def over(api: HfApi, job: str) -> str:
    until(lambda: stage(api, job) not in ("SCHEDULING", "RUNNING"), "the end")
    return stage(api, job)


def python(code: str) -> list[str]:
    return ["python", "-c", code]


def test_a_job_gets_its_variables_and_secrets_and_its_log_is_read(api):
    code = "import os; print(os.environ['GREETING'], len(os.environ['TOKEN'])); print('zwei äöü')"
    job = api.run_job(
        image=IMAGE, command=python(code), env={"GREETING": "hello"}, secrets={"TOKEN": "12345"},
        flavor="t4-small", labels={"trial": "7"},
    )  # fmt: skip
    assert list(api.fetch_job_logs(job_id=job.id, follow=True)) == ["hello 5", "zwei äöü"]
    assert over(api, job.id) == "COMPLETED"
    found = api.inspect_job(job_id=job.id)
    assert (found.flavor, found.docker_image, found.owner.name) == ("t4-small", IMAGE, "local")
    assert found.created_at <= found.started_at <= found.finished_at
    assert "12345" not in str(found) and found.secrets == {"TOKEN": ""}
    assert list(api.fetch_job_logs(job_id=job.id, tail=1)) == ["zwei äöü"]
    assert [j.id for j in api.list_jobs(namespace="local", labels={"trial": "7"})] == [job.id]
    assert list(api.list_jobs(namespace="local", labels={"trial": "8"})) == []
    assert list(api.list_jobs(namespace="local", status="RUNNING")) == []


def test_a_script_runs_by_its_address_in_a_private_repository(api):
    api.create_repo("local/scripts", repo_type="dataset", private=True)
    api.upload_file(
        path_or_fileobj=b"import sys; print('script', sys.argv[1:])",
        path_in_repo="say.py", repo_id="local/scripts", repo_type="dataset",
    )  # fmt: skip
    job = api.run_uv_job(
        f"{api.endpoint}/datasets/local/scripts/resolve/main/say.py",
        script_args=["a", "b c"], dependencies=["torch"], secrets={"HF_TOKEN": "any"},
    )  # fmt: skip
    assert list(api.fetch_job_logs(job_id=job.id, follow=True)) == ["script ['a', 'b c']"]
    assert over(api, job.id) == "COMPLETED"


def test_cancel_timeout_and_failure_are_told_apart(api):
    long = api.run_job(image=IMAGE, command=python("import time; print('up', flush=True); time.sleep(600)"))
    until(lambda: stage(api, long.id) == "RUNNING", "the job to run")
    api.cancel_job(job_id=long.id)
    assert over(api, long.id) == "CANCELED"
    slow = api.run_job(image=IMAGE, command=python("import time; time.sleep(600)"), timeout=1)
    wrong = api.run_job(image=IMAGE, command=python("raise SystemExit(3)"))
    assert (over(api, slow.id), over(api, wrong.id)) == ("ERROR", "ERROR")
    assert api.inspect_job(job_id=slow.id).status.message == "Job timeout"
    assert "exit code: 3" in api.inspect_job(job_id=wrong.id).status.message


def test_nobody_runs_or_reads_jobs_in_anothers_namespace(api):
    with pytest.raises(HfHubHTTPError) as raised:
        api.run_job(image=IMAGE, command=python(""), namespace="somebody")
    assert raised.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError):
        list(api.list_jobs(namespace="somebody"))
    with pytest.raises(HfHubHTTPError) as raised:
        api.inspect_job(job_id="0" * 24)
    assert raised.value.response.status_code == 404


def test_a_job_outlives_the_server_and_is_found_by_the_next(root):
    first = ServerThread(root)
    code = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint('done')"
    job = HfApi(endpoint=first.endpoint, token="any").run_job(image=IMAGE, command=python(code)).id
    first.stop()
    second = ServerThread(root)
    try:
        api = HfApi(endpoint=second.endpoint, token="any")
        until(lambda: stage(api, job) == "RUNNING", "the job to run")
        [output] = (root / "jobs" / "work").glob("*/output")
        (output / "go").touch()
        assert over(api, job) == "COMPLETED"
        assert list(api.fetch_job_logs(job_id=job)) == ["done"]
    finally:
        second.stop()


def test_a_job_sees_nothing_of_the_hubs_storage(api, root):
    from ml_intern.sandbox.local import LocalSandbox

    if LocalSandbox.problem():
        pytest.skip(LocalSandbox.problem())
    (root / "secret").write_text("signing key")
    job = api.run_job(
        image=IMAGE, command=python(f"import os; print(os.path.exists({str(root / 'secret')!r}))")
    )
    assert list(api.fetch_job_logs(job_id=job.id, follow=True)) == ["False"]


def test_the_hub_tells_its_machines_with_their_prices(api):
    rows = {row.name: row for row in api.list_jobs_hardware()}
    assert rows["a10g-small"].accelerator.model == "A10G"
    assert rows["a10g-small"].unit_cost_usd * 60 == pytest.approx(1.0)
    assert rows["cpu-basic"].accelerator is None


@pytest.mark.parametrize(
    "order",
    [{"command": []}, {"command": ["uv", "run"]}, {"command": "ls"}, {"command": ["ls"], "flavor": "x"},
     {"command": ["ls"], "timeoutSeconds": -1}, {"command": ["ls"], "environment": {"A": ["b"]}}],
    ids=["empty", "nothing", "text", "flavor", "time", "variable"],
)  # fmt: skip
def test_an_order_that_cannot_be_read_is_refused(api, order):
    import httpx

    answer = httpx.post(f"{api.endpoint}/api/jobs/local", json=order, headers={"Authorization": "Bearer any"})
    assert answer.status_code == 400 and answer.json()["error"]
