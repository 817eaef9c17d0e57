"""The panels as Gradio's components: what a page has already is left out, and each page has its own picks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.web_session import WebSession, everything

gr = pytest.importorskip("gradio", reason="gradio is not installed: pip install ml-intern[web]")

from gradio.context import LocalContext  # noqa: E402

from ml_intern.webapp import panels  # noqa: E402
from ml_intern.webapp.panels import pages  # noqa: E402
from ml_intern.webapp.panels.pages import MOST_PAGES, Page, Pages  # noqa: E402


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything(tmp_path_factory.mktemp("web") / "sessions" / "20261121-130000-abcd")


@pytest.fixture(scope="module")
def built() -> list[Any]:
    with gr.Blocks():
        made = [getattr(panels, name)() for name in panels.__all__]
        for panel in made:
            panel.wire(lambda request: None)
    return made


def hosted(folder: Path | None) -> Any:
    return SimpleNamespace(folder=folder, session=None, given={})


@contextmanager
def page(name: str, user: str | None = None) -> Iterator[None]:
    """An event from an open page."""
    token = LocalContext.request.set(SimpleNamespace(session_hash=name, username=user))  # type: ignore[arg-type]
    try:
        yield
    finally:
        LocalContext.request.reset(token)


def skipped(value: Any) -> bool:
    return bool(value == gr.skip())


def panel_of(built: list[Any], name: str) -> Any:
    return next(panel for panel in built if type(panel).__name__ == name)


def test_a_second_look_gives_nothing_and_another_page_everything(
    built: list[Any], session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "AGAIN_S", 1e9)
    for panel in built:
        for name in ("first", "second"):
            with page(name):
                values = panel.refresh(hosted(session))
                assert len(values) == len(panel.outputs) and not any(map(skipped, values))
        with page("first"):
            again = panel.refresh(hosted(session))
            # A job that runs has another time left in each second.
            allowed = 1 if type(panel).__name__ == "JobsPanel" else 0
            assert sum(not skipped(value) for value in again) <= allowed


def test_what_was_lost_on_its_way_is_told_again(
    built: list[Any], session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "AGAIN_S", 0.0)
    panel = panel_of(built, "FilesPanel")
    with page("slow"):
        first = panel.refresh(hosted(session))
        assert panel.refresh(hosted(session)) == first and not skipped(first[0])


def test_no_session_is_shown_as_nothing(built: list[Any]) -> None:
    for panel in built:
        for number, none in enumerate((None, hosted(None))):
            with page(f"empty {number}"):
                assert len(panel.refresh(none)) == len(panel.outputs)


def test_a_pick_holds_for_its_page_and_its_session_alone(
    built: list[Any], session: Path, tmp_path: Path
) -> None:
    panel = panel_of(built, "JobsPanel")
    made = WebSession(tmp_path / "sessions" / "other")
    made.job("tuned-1", "mine", log="my own log\n")
    made.job("zz-1", "newest")
    other = hosted(made.close())

    def picked(table: str) -> str:
        return table.split('class="picked"')[0].rpartition('data-pick="')[2].partition('"')[0]

    with page("ada"):
        values = panel._pick(hosted(session), "tuned-1")
        assert picked(values[0]) == "tuned-1"
    with page("bob"):
        assert picked(panel.refresh(hosted(session))[0]) == "live-1"
    with page("ada"):
        assert picked(panel.refresh(other)[0]) == "zz-1", "of another session nothing is picked"
    with page("ada", user="eve"):
        assert picked(panel.refresh(hosted(session))[0]) == "live-1", "a page's name is not enough"


@pytest.mark.parametrize("key", ["base-1/../tuned-1", "../../evals", "nothing", "", "\0"])
def test_a_pick_of_what_is_not_there_picks_nothing(built: list[Any], session: Path, key: str) -> None:
    panel = panel_of(built, "JobsPanel")
    with page(f"odd {key!r}"):
        assert 'data-job="live-1"' in panel._pick(hosted(session), key)[2]


def test_cancelling_asks_for_a_second_click(built: list[Any], tmp_path: Path) -> None:
    from ml_intern.webapp.panels.jobs import _cancel

    panel = panel_of(built, "JobsPanel")
    made = WebSession(tmp_path / "state" / "sessions" / "one")
    for id in ("a-1", "b-1"):
        made.job(id, state="queued", done=0, started=None)
    shown = hosted(made.close())
    shown.given = {"state": tmp_path / "state"}

    def state(id: str) -> str:
        return next(job.status.state for job in panel._folders.jobs(shown.folder, 0.0) if job.id == id)

    with page("ada"):
        panel._pick(shown, "a-1")
        first = panel._act(shown, _cancel)
        assert (
            first[-1]["value"] == "Really cancel?" and "Click again" in first[3] and state("a-1") == "queued"
        )
        panel._pick(shown, "b-1")  # another job: it is asked anew
        assert "Click again" in panel._act(shown, _cancel)[3] and state("b-1") == "queued"
        panel._act(shown, _cancel)
        assert (state("a-1"), state("b-1")) == ("queued", "cancelled")


def test_pages_are_bounded() -> None:
    known: Pages[Page] = Pages(Page)
    for number in range(MOST_PAGES + 5):
        with page(str(number)):
            known.here(None)
    assert len(known._pages) == MOST_PAGES


def test_an_upload_goes_into_the_workspace_or_is_kept(session: Path, tmp_path: Path) -> None:
    from ml_intern.webapp.panels.upload import _taken

    def upload() -> Path:
        path = tmp_path / "rows.csv"
        path.write_text("prompt,completion\na,b\n")
        return path

    assert "in the workspace of the session" in _taken(upload(), hosted(session), None)
    assert (session / "workspace" / "rows.csv").exists() and not (tmp_path / "rows.csv").exists()
    assert "for any session" in _taken(upload(), None, tmp_path / "kept")
    assert (tmp_path / "kept" / "rows.csv").exists()
    assert "There is no session yet" in _taken(upload(), None, None) and not (tmp_path / "rows.csv").exists()


def test_an_upload_beyond_the_setting_is_refused(session: Path, tmp_path: Path) -> None:
    from ml_intern.webapp.panels.upload import _taken

    path = tmp_path / "big.csv"
    path.write_text("a,b\n" + "1,2\n" * (1 << 18))
    shown = hosted(session)
    shown.given = {"upload_mb": 1}
    assert "1 MB is the most" in _taken(path, shown, None)
    assert not (session / "workspace" / "big.csv").exists()
