"""What may be fetched of a session, and everything that may not."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest
from support.fragments import harmless
from support.web_session import WebSession, everything

from ml_intern.errors import InternError
from ml_intern.webapp.panels import handing_out, offered
from ml_intern.webapp.panels.file_table import file_table
from ml_intern.webapp.panels.handing_out import KEPT_S, Counter
from ml_intern.webapp.panels.ledgers import Ledgers
from ml_intern.webapp.panels.offered import fetch, offers, workspace_of

NAMED = "<img src=x onerror=window.bad=1>.txt"


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return everything(tmp_path / "state" / "sessions" / "20261121-130000-abcd")


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    return Counter(tmp_path / "cache")


def test_what_is_offered(session: Path) -> None:
    found = {offer.key: offer for offer in offers(session, Ledgers().of(session))}
    assert set(found) == {
        "model/base-1", "model/tuned-1", "report/html", "report/md", "export/notebook", "export/script",
        "export/markdown", "export/trace", "export/playbook", "zip/workspace", "file/notes.md",
        "file/data/train.csv", f"file/{NAMED}",
    }  # fmt: skip
    assert found["model/tuned-1"].told == "published as local/calls"
    assert found["file/data/train.csv"].size == 22
    words = harmless(file_table(list(found.values())))
    assert NAMED in words and "data/train.csv" in words


def test_everything_that_is_offered_can_be_fetched(session: Path, counter: Counter) -> None:
    for offer in offers(session, Ledgers().of(session)):
        path = fetch(session, offer.key, counter)
        assert path.stat().st_size > 0 and path.parent.parent == counter.cache
        if offer.size is not None and offer.kind == "file":
            assert path.stat().st_size == offer.size


def test_a_model_is_a_zip_of_its_folder(session: Path, counter: Counter) -> None:
    with zipfile.ZipFile(fetch(session, "model/base-1", counter)) as archive:
        assert sorted(archive.namelist()) == ["config.json", "model.safetensors"]
        assert archive.testzip() is None


def test_the_workspace_as_a_zip_has_no_links_and_nothing_hidden(session: Path, counter: Counter) -> None:
    with zipfile.ZipFile(fetch(session, "zip/workspace", counter)) as archive:
        assert sorted(archive.namelist()) == [NAMED, "data/train.csv", "notes.md"]


@pytest.mark.parametrize(
    "key",
    [
        "", "file/", "file/link.txt", "file/folder/passwd", "file/.hidden", "file/../session.json",
        "file/../journal.sqlite", "file/../evals/items/calls/test.jsonl", "file//etc/passwd", "file/data",
        "file/data/../../session.json", "file/data/\0", "model/..", "model/../../evals", "model/nasty-1",
        "model/", "zip/../evals", "report/../session.json", "export/nothing", "evals/items", "journal/",
    ],
)  # fmt: skip
def test_whatever_a_browser_asks_for_it_gets_nothing_else(session: Path, counter: Counter, key: str) -> None:
    try:
        path = fetch(session, key, counter)
    except InternError:
        return
    assert key == "zip/../evals" and path.name == "workspace.zip"


def test_a_model_whose_folder_became_a_link_is_not_followed(session: Path, counter: Counter) -> None:
    secret = session / "evals" / "items" / "calls"
    (secret / "config.json").write_text("{}")
    model = session / "jobs" / "base-1" / "output" / "model"
    for path in model.iterdir():
        path.unlink()
    model.rmdir()
    model.symlink_to(secret)
    assert "model/base-1" not in {offer.key for offer in offers(session, Ledgers().of(session))}
    with zipfile.ZipFile(fetch(session, "model/base-1", counter)) as archive:
        assert archive.namelist() == []


def test_a_file_that_becomes_a_link_between_look_and_copy_is_not_followed(
    session: Path, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = session / "workspace" / "notes.md"

    def swap(*given: object) -> None:
        notes.unlink(missing_ok=True)
        notes.symlink_to(session / "session.json")

    monkeypatch.setattr(Counter, "tidy", swap)
    before = handing_out.open_file
    monkeypatch.setattr(handing_out, "open_file", lambda *given: (swap(), before(*given))[1])
    with pytest.raises(InternError):
        fetch(session, "file/notes.md", counter)
    with zipfile.ZipFile(fetch(session, "zip/workspace", counter)) as archive:
        assert "notes.md" not in archive.namelist()


def test_a_workspace_around_the_state_folder_shows_nothing_of_it(tmp_path: Path, counter: Counter) -> None:
    """A person who works in the folder in which the sessions lie, too, their own or another user's."""
    session = everything(tmp_path / "work" / "state" / "sessions" / "20261121-130000-abcd")
    other = tmp_path / "work" / "users" / "bob" / "sessions" / "20261121-140000-dcba"
    everything(other)
    work = tmp_path / "work"
    (work / "mine.txt").write_text("mine")
    (work / "ml-intern.toml").write_text('api_key = "secret"')
    (work / "state" / "users.txt").write_text("hashes")
    card = json.loads((session / "session.json").read_text())
    (session / "session.json").write_text(json.dumps({**card, "workspace": str(work)}))
    keys = [offer.key for offer in offers(session, Ledgers().of(session)) if offer.kind == "file"]
    assert keys == ["file/mine.txt"]
    for name in ("state/users.txt", f"users/bob/sessions/{other.name}/journal.sqlite", "ml-intern.toml"):
        with pytest.raises(InternError):
            fetch(session, f"file/{name}", counter)


@pytest.mark.parametrize("named", ["state", "relative", "link", "gone"])
def test_a_card_that_names_no_workspace_of_its_own_gives_none(
    session: Path, tmp_path: Path, named: str
) -> None:
    (tmp_path / "link").symlink_to(session / "workspace")
    where = {"state": session.parent.parent, "relative": Path("workspace"), "link": tmp_path / "link"}
    card = json.loads((session / "session.json").read_text())
    (session / "session.json").write_text(
        json.dumps({**card, "workspace": str(where.get(named, tmp_path / "x"))})
    )
    assert workspace_of(session) is None
    assert not [o for o in offers(session, Ledgers().of(session)) if o.kind in ("file", "zip")]


def test_copies_lie_below_names_that_nobody_guesses_and_go_away(
    session: Path, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (fetch(session, "file/notes.md", counter) for _ in range(2))
    assert first.parent != second.parent and len(first.parent.name) > 32
    assert first.parent.stat().st_mode & 0o077 == 0
    old = time.time() - KEPT_S - 60
    os.utime(first.parent, (old, old))
    (counter.cache / "somebody-else").mkdir()
    fetch(session, "file/notes.md", counter)
    assert not first.exists() and second.exists() and (counter.cache / "somebody-else").exists()


def test_what_is_too_large_is_refused_and_leaves_nothing(
    session: Path, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing_out, "MOST_BYTES", 10)
    for key in ("model/base-1", "file/data/train.csv", "zip/workspace"):
        with pytest.raises(InternError, match="more than"):
            fetch(session, key, counter)
    assert not [path for path in counter.cache.rglob("*") if path.is_file()]


def test_very_many_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    monkeypatch.setattr(offered, "MOST_FILES", 10)
    for n in range(30):
        (made.workspace / f"f{n}").write_text("x")
    folder = made.close()
    assert sum(o.kind == "file" for o in offers(folder, Ledgers().of(folder))) == 10


def test_nothing_is_offered_where_there_is_nothing(tmp_path: Path) -> None:
    assert "Nothing to fetch yet" in harmless(file_table(offers(None, Ledgers().of(None))))
    assert offers(tmp_path, Ledgers().of(tmp_path)) == []
