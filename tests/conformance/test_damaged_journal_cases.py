"""Behaviour 18: a damaged journal is opened read-only, told as damaged, and what is readable is shown."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from support.scripted_runs import cell, play

from ml_intern.cli.main import run as command
from ml_intern.journal.reading import JOURNAL

EARLY, LATE = "the early words", "the late words"
PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of one finished session whose journal fills many pages."""
    state = tmp_path_factory.mktemp("whole") / "state"
    replies = [cell(f"print({EARLY!r})"), *[cell(f"print({n}, 'x' * 3000)") for n in range(20)]]
    replies += [cell(f"print({LATE!r})"), cell("start_experiment('a', 'b')\nfinal_answer('all done')")]
    played = play(replies, state, "look at it")
    assert played.result.status == "done"
    assert (played.session.folder / JOURNAL).stat().st_size > 20 * PAGE
    return state


def change(journal: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(journal)
    connection.execute(sql, values)
    connection.commit()
    connection.execute("pragma journal_mode=delete")
    connection.execute("pragma journal_mode=wal")
    connection.close()


def fill(journal: Path, start: int, length: int) -> None:
    data = bytearray(journal.read_bytes())
    data[start : start + length] = bytes((7919 * n) % 256 for n in range(length))
    journal.write_bytes(data)


def truncated(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[: -8 * PAGE - 1000])


def garbage_page(journal: Path) -> None:
    fill(journal, journal.stat().st_size // 2 // PAGE * PAGE, PAGE)


def garbage_root(journal: Path) -> None:
    fill(journal, PAGE, PAGE)


def broken_head(journal: Path) -> None:
    fill(journal, 0, 100)


def zero_bytes(journal: Path) -> None:
    journal.write_bytes(b"")


def foreign_text(journal: Path) -> None:
    journal.write_text("A letter, and no database at all.\n" * 200)


def foreign_database(journal: Path) -> None:
    journal.unlink()
    change(journal, "create table letters (body text)")


def other_columns(journal: Path) -> None:
    journal.unlink()
    change(journal, "create table journal (number integer, body text)")


def without_its_wal(journal: Path) -> None:
    """What is left where a process was killed and somebody copied the one file alone."""
    journal.unlink()
    live = sqlite3.connect(journal)
    live.execute("pragma journal_mode=wal")
    live.execute("create table journal (seq integer primary key, at real, kind text, payload text)")
    live.execute("insert into journal values (1, 1.0, 'brain', '{}')")
    live.commit()
    copy = journal.with_name("copy")
    shutil.copyfile(journal, copy)
    live.close()
    copy.replace(journal)


def half_a_line(journal: Path) -> None:
    change(journal, "update journal set payload = substr(payload, 1, 30) where kind = 'finished'")


def bytes_for_text(journal: Path) -> None:
    last = "(select max(seq) from journal where kind = 'cell')"
    change(journal, f"update journal set payload = ? where seq = {last}", b"\xff\x00\xfe")


def line_without_its_field(journal: Path) -> None:
    first = "(select min(seq) from journal where kind = 'brain')"
    change(journal, f"update journal set payload = '{{\"step\": 1}}' where seq = {first}")


def line_of_another_kind(journal: Path) -> None:
    change(journal, "update journal set payload = '[1, 2]' where kind = 'cell_done' and seq > 20")


def nested_deeply(journal: Path) -> None:
    change(journal, "update journal set payload = ? where kind = 'finished'", "[" * 100_000)


def wrong_budget(journal: Path) -> None:
    text = '{"answer": "x", "budget": {"spent": 3}}'
    change(journal, "update journal set payload = ? where kind = 'finished'", text)


def wrong_approval(journal: Path) -> None:
    change(journal, "insert into journal (at, kind, payload) values (1.0, 'standing', '{\"tool\": 1}')")


SOME_LEFT = [
    *(truncated, garbage_page, half_a_line, bytes_for_text, line_without_its_field, line_of_another_kind),
    *(nested_deeply, wrong_budget, wrong_approval),
]
NONE_LEFT = [
    *(garbage_root, broken_head, zero_bytes, foreign_text, foreign_database, other_columns, without_its_wal),
]


@pytest.mark.parametrize("damage", [*SOME_LEFT, *NONE_LEFT], ids=lambda damage: damage.__name__)
def test_a_damaged_journal_is_left_alone_and_what_is_readable_is_shown(
    damage: Callable[[Path], None], whole: Path, own_state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every command: one line that says so, a journal as it was, and what can still be read of it."""
    shutil.copytree(whole, own_state)
    [folder] = (own_state / "sessions").iterdir()
    journal = folder / JOURNAL
    damage(journal)
    before = journal.read_bytes()

    def said(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = command([*words, "--state", str(own_state)])
        out, err = capfd.readouterr()
        assert "Traceback" not in err and "defect" not in err, (words, err)
        assert len(err.strip().splitlines()) <= 1, (words, err)
        assert journal.read_bytes() == before and not list(folder.glob("journal.sqlite-*")), words
        assert [p.name for p in (own_state / "sessions").iterdir()] == [folder.name], words
        return code, out, err

    for words in (("resume", folder.name), ("replay", folder.name, "--sandbox", "none")):
        code, out, err = said(*words)
        assert code == 1 and out == "" and "is damaged" in err and "left as it is" in err, words
        if damage in SOME_LEFT:
            told = (folder / "rescued.md").read_text()
            assert str(folder / "rescued.md") in err and EARLY in told and "look at it" in told
            assert "The journal is damaged" in told or damage in (wrong_budget, wrong_approval)
        else:
            assert "Nothing of it can be read" in err and not (folder / "rescued.md").exists()
    for form in ("markdown", "notebook", "script", "trace"):
        code, out, err = said("export", folder.name, "--format", form)
        if damage in SOME_LEFT:
            assert code == 0 and EARLY in out, form
            assert "what can be read of it is shown" in err or damage in (wrong_budget, wrong_approval)
        else:
            assert code == 2 and out == "" and "cannot be read" in err
    assert "look at it" in said("sessions")[1]
    assert said("jobs")[0] == 0 and "exp-1" in said("experiments")[1]
    assert said("report")[0] == 0


@pytest.mark.parametrize("damage", [truncated, garbage_page], ids=lambda damage: damage.__name__)
def test_what_lies_behind_the_damage_is_shown_too(
    damage: Callable[[Path], None], whole: Path, own_state: Path
) -> None:
    """A page in the middle takes its own lines and not those behind it."""
    from ml_intern.journal.reading import salvage

    shutil.copytree(whole, own_state)
    [journal] = own_state.glob(f"sessions/*/{JOURNAL}")
    sound = salvage(journal)
    assert not sound.problem
    damage(journal)
    found = salvage(journal)
    assert found.problem and 10 < len(found.entries) < len(sound.entries)
    assert {e.seq: e for e in sound.entries}.items() >= {e.seq: e for e in found.entries}.items()
    if damage is garbage_page:
        assert found.entries[-1] == sound.entries[-1]


def test_a_wal_that_was_torn_loses_its_last_line_and_nothing_else(own_state: Path) -> None:
    """Half a line at the end is what a power cut leaves: SQLite drops it, and the session goes on."""
    replies = [cell("x = 1"), cell("x += 1"), cell("final_answer(f'{x}')")]
    first = play(replies, own_state, max_steps=2)
    folder = first.session.folder
    # Copied while a process has it open, so that the lines lie in the -wal.
    held = sqlite3.connect(folder / JOURNAL)
    held.execute("insert into journal (at, kind, payload) values (1.0, 'event', '{\"event\": \"Notice\"}')")
    held.commit()
    torn = own_state / "sessions" / "torn"
    shutil.copytree(folder, torn)
    held.close()
    wal = torn / f"{JOURNAL}-wal"
    wal.write_bytes(wal.read_bytes()[:-100])
    again = play(replies[2:], own_state, folder=torn)
    assert (again.result.status, again.result.answer) == ("done", "2")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"id": ', "null", "[" * 100_000, '{"created": 5, "pid": "x"}', "\x00"]
)
def test_a_damaged_card_is_told_and_hides_no_other_session(
    text: str, whole: Path, own_state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A card that cannot be read is shown as damaged; the other sessions are there as before."""
    shutil.copytree(whole, own_state)
    [sound] = (own_state / "sessions").iterdir()
    broken = own_state / "sessions" / "broken"
    shutil.copytree(sound, broken)
    (broken / "session.json").write_text(text)
    capfd.readouterr()
    assert command(["sessions", "--json"]) == 0
    shown = {s["id"]: s["status"] for s in json.loads(capfd.readouterr().out)["sessions"]}
    assert shown == {sound.name: "done", "broken": "damaged"}
    for verb in ("resume", "replay"):
        assert command([verb, "broken"]) == 2
        err = capfd.readouterr().err
        assert "card of the session broken cannot be read" in err and len(err.splitlines()) == 1
    assert command(["export", "broken", "--format", "markdown"]) == 0
    assert EARLY in capfd.readouterr().out
