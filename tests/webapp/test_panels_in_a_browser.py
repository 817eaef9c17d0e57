"""The tabs in a real browser: curves of a job that runs, a log that follows, hostile names, files both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.web_app import browsing, needs_browser, visit
from support.web_session import NASTY, WebSession, everything, falling

gr = pytest.importorskip("gradio", reason="gradio is not installed: pip install ml-intern[web]")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from ml_intern.webapp import panels  # noqa: E402

pytestmark = [pytest.mark.thorough, needs_browser]
LONG_MS = 60_000
"""How long anything may take on a machine that has much else to do."""


class Shown:
    """A session without a process, as pages see it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.session = folder, None
        self.given = {"state": folder.parent.parent}


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return everything(tmp_path / "state" / "sessions" / "20261121-130000-abcd")


@pytest.fixture
def address(session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tiny app with all panels."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    shown: Any = Shown(session)
    with gr.Blocks(analytics_enabled=False) as app:
        made = []
        with gr.Tabs():
            for name in panels.__all__:
                with gr.Tab(name.removesuffix("Panel")):
                    panel = getattr(panels, name)()
                    panel.wire(lambda request: shown)
                    made.append(panel)

        def look() -> list[Any]:
            return [value for panel in made for value in panel.refresh(shown)]

        outputs = [output for panel in made for output in panel.outputs]
        app.load(look, outputs=outputs, show_progress="hidden")
        gr.Timer(0.5).tick(look, outputs=outputs, show_progress="hidden")
    try:
        yield app.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False)[1]
    finally:
        app.close()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    with browsing() as browser:
        visitor = visit(browser, address)
        opened = visitor.page
        opened.set_default_timeout(LONG_MS)
        opened.strayed = visitor.strayed
        opened.broken = []
        opened.on("pageerror", lambda error: opened.broken.append(str(error)))
        yield opened


def test_the_tabs_work_in_a_browser(page: Any, address: str, session: Path, tmp_path: Path) -> None:
    made = WebSession.__new__(WebSession)
    made.folder = session

    def said(text: str, where: str) -> None:
        sync_api.expect(page.locator(where)).to_contain_text(text, timeout=LONG_MS)

    page.goto(address)
    page.get_by_role("tab", name="Jobs").click()
    said("80 of 200", "#jobs-table")
    # A hostile name is words.
    said(NASTY[:60], "#jobs-table")
    page.locator("#jobs-table tr[data-pick='nasty-1']").click()
    said(NASTY[:60], "#job-log")

    # By the keyboard, too; then the log follows what is printed.
    page.locator("#jobs-table tr[data-pick='live-1']").press("Enter")
    said("step 79", "#job-log")
    with (session / "jobs" / "live-1" / "log.txt").open("a") as log:
        log.write("".join(f"another line {n}\n" for n in range(60)))
    said("another line 59", "#job-log")
    page.wait_for_function(
        "() => { const log = document.querySelector('#job-log pre');"
        " return log.scrollTop > 0 && log.scrollTop + log.clientHeight > log.scrollHeight - 30; }"
    )

    # The curves of a job that runs grow.
    page.get_by_role("tab", name="Curves").click()
    charts = page.locator("#curves svg")
    sync_api.expect(charts).to_have_count(3, timeout=LONG_MS)
    length = "() => document.querySelectorAll('#curves svg')[0].querySelectorAll('g')[4].innerHTML.length"
    before = page.evaluate(length)
    made.measure("live-1", range(81, 161), 200, lambda n: falling(n) * 0.8)
    page.wait_for_function(f"() => ({length})() > {before}")
    charts.first.hover(position={"x": 200, "y": 150})
    sync_api.expect(page.locator("#curves .tip")).to_contain_text("step", timeout=LONG_MS)
    page.get_by_label("Log scale").check()
    sync_api.expect(charts.first).to_contain_text("loss, log scale", timeout=LONG_MS)
    page.get_by_label("Jobs", exact=True).click()
    page.get_by_role("option", name="fine-tuned on chats (tuned-1)").click()
    sync_api.expect(page.locator("#curves figcaption").first).not_to_contain_text("live-1", timeout=LONG_MS)

    # Experiments, and the report in a frame that may do nothing.
    page.get_by_role("tab", name="Experiments").click()
    page.locator("#experiments-table tr[data-pick='exp-2']").click()
    said("exp-2 against exp-1", "#experiment-detail")
    page.get_by_role("button", name="Show the report").click()
    frame = page.frame_locator("#report iframe")
    sync_api.expect(frame.locator("h1")).to_contain_text(session.name, timeout=LONG_MS)

    # Files come, and a dataset goes.
    page.get_by_role("tab", name="Files").click()
    with page.expect_download(timeout=LONG_MS) as got:
        page.locator("#files-table tr[data-pick='file/data/train.csv']").click()
    assert Path(got.value.path()).read_text() == "question,answer\n1+1,2\n"
    page.get_by_role("tab", name="Upload").click()
    (tmp_path / "rows <b>.csv").write_text("prompt,completion\n<img src=x onerror=window.bad=1>,b\n")
    page.set_input_files("#upload input[type=file]", str(tmp_path / "rows <b>.csv"))
    said("fine-tune MODEL on rows_b.csv", "#uploaded")
    assert (session / "workspace" / "rows_b.csv").exists()

    # A tab that is opened again shows what it showed.
    page.get_by_role("tab", name="Experiments").click()
    said("exp-2 against exp-1", "#experiment-detail")
    page.get_by_role("tab", name="Files").click()
    said("rows_b.csv", "#files-table")

    assert page.evaluate("window.bad") is None
    assert page.broken == []
    assert page.strayed == []
