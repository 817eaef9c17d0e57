"""Who comes in: the users file, the tickets, the pace of guessing, and what the command refuses."""

from __future__ import annotations

import os
import runpy
import shutil
import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ml_intern.cli import main
from ml_intern.errors import UsageError
from ml_intern.webapp import serving
from ml_intern.webapp.users import Pace, Tickets, Users

SPACE = Path(__file__).parents[2] / "examples" / "space"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def file_of_ada(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: a hash that is dear to guess is dear to make."""
    made = Users(tmp_path_factory.mktemp("users") / "users.txt")
    made.add("Ada", PASSWORD)
    return made.file


@pytest.fixture
def users(file_of_ada: Path, tmp_path: Path) -> Users:
    return Users(Path(shutil.copy(file_of_ada, tmp_path / "users.txt")))


def test_only_the_right_password_is_right(users: Users) -> None:
    assert users.right("ada", PASSWORD) and users.right("ADA", PASSWORD)
    assert not users.right("ada", PASSWORD + "!") and not users.right("ada", "")
    assert not users.right("bob", PASSWORD)


def test_the_file_holds_no_password_and_nobody_else_reads_it(users: Users) -> None:
    written = users.file.read_text()
    assert PASSWORD not in written and written.startswith("ada:")
    assert stat.S_IMODE(users.file.stat().st_mode) == 0o600
    users.add("bob", PASSWORD)
    hashes = [line.split(":")[1] for line in users.file.read_text().splitlines()]
    assert len(set(hashes)) == 2


def test_a_user_who_is_added_while_the_server_runs_may_log_in(users: Users) -> None:
    assert not users.right("bob", PASSWORD)
    Users(users.file).add("bob", PASSWORD)
    assert users.right("bob", PASSWORD) and users.names() == ["ada", "bob"]


@pytest.mark.parametrize("name", ["", "../ada", "a b", "ada:x", "ä", "-ada", "a" * 40])
def test_a_name_that_could_be_more_than_a_name_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UsageError, match="is no name"):
        users.add(name, PASSWORD)


def test_a_short_password_is_refused(users: Users) -> None:
    with pytest.raises(UsageError, match="fewer than 8"):
        users.add("bob", "short")


def test_a_damaged_users_file_is_told_with_its_line(users: Users) -> None:
    users.file.write_text(users.file.read_text() + "bob:secret\n")
    with pytest.raises(UsageError, match="Line 2"):
        Users(users.file).names()


def test_a_ticket_holds_over_a_restart_and_ends_with_the_password(users: Users, tmp_path: Path) -> None:
    ticket = Tickets(tmp_path / "key", users).give("ada")
    again = Tickets(tmp_path / "key", users)
    assert again.name(ticket) == "ada"
    users.add("ada", "another password")
    assert again.name(ticket) is None
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("forged", ["", ".", "5b5d.", "00.11", "x.y", "5b22626f62222c20313030305d.aa"])
def test_a_forged_ticket_is_nobodys(users: Users, tmp_path: Path, forged: str) -> None:
    assert Tickets(tmp_path / "key", users).name(forged) is None


def test_a_ticket_is_bound_to_its_name(users: Users, tmp_path: Path) -> None:
    users.add("bob", PASSWORD)
    tickets = Tickets(tmp_path / "key", users)
    (_, signed), (said, _) = (tickets.give(name).split(".") for name in ("ada", "bob"))
    assert tickets.name(f"{said}.{signed}") is None


def test_guessing_is_slowed_down_and_a_right_password_ends_that(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("ml_intern.webapp.users.time.monotonic", lambda: clock[0])
    pace = Pace()
    waits = []
    for _ in range(6):
        waits.append(pace.wait_s("ada", "10.0.0.1"))
        pace.failed("ada", "10.0.0.1")
    assert waits == [0, 0, 0, 1, 2, 4]
    assert pace.wait_s("bob", "10.0.0.1") == pace.wait_s("ada", "10.0.0.2") == 8
    assert pace.wait_s("bob", "10.0.0.2") == 0
    clock[0] += 8
    assert pace.wait_s("ada") == 0
    pace.passed("ada")
    pace.failed("ada")
    assert pace.wait_s("ada") == 0


def test_off_loopback_the_app_wants_users(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main.run(["web", "--host", "0.0.0.0", "--port", "0", "--state", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "Everybody who reaches 0.0.0.0" in told and "--add-user NAME" in told and told.count("\n") == 1


def test_an_empty_users_file_says_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["web", "--users", str(tmp_path / "none.txt"), "--port", "0", "--state", str(tmp_path)]
    assert main.run(words) == 2
    assert "There are no users in" in capsys.readouterr().err


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: None)
    assert main.run(["web"]) == 2
    assert "pip install 'ml-intern[web]'" in capsys.readouterr().err


def test_a_user_is_added_from_standard_input(tmp_path: Path) -> None:
    from ml_intern.cli.arguments import front

    file = tmp_path / "deep" / "users.txt"
    done = CliRunner().invoke(
        front, ["web", "--users", str(file), "--add-user", "ada"], input=f"{PASSWORD}\n"
    )
    assert done.exit_code == 0 and "ada may log in now" in done.output
    assert Users(file).right("ada", PASSWORD)
    again = CliRunner().invoke(
        front, ["web", "--users", str(file), "--add-user", "ada"], input="other-password\n"
    )
    assert "another password" in again.output and not Users(file).right("ada", PASSWORD)


@pytest.mark.parametrize("setting", [{"sandbox": "none"}, {"workspace": "work"}])
def test_users_are_not_brought_together_by_a_setting(
    tmp_path: Path, setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_intern.settings import Settings

    monkeypatch.chdir(tmp_path)
    users = Users(tmp_path / "users.txt")
    users.add("ada", PASSWORD)
    with pytest.raises(UsageError):
        serving.assemble(Settings.load(state=tmp_path, **setting), setting, users)


def test_the_example_space_serves_all_only_on_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    words = runpy.run_path(str(SPACE / "app.py"))["words"]
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert words() == ["web"]
    monkeypatch.setenv("SPACE_ID", "ada/ml-intern")
    assert words()[:3] == ["web", "--host", "0.0.0.0"] and "--state" in words()
    front = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert front["hf_oauth"] is True and str(front["app_port"]) in words()


def test_on_a_space_only_the_invited_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    fastapi = pytest.importorskip("fastapi")
    monkeypatch.setitem(os.environ, "SPACE_AUTHOR_NAME", "Owner")
    who = serving._space_logins(fastapi.FastAPI(), ["Ada"])

    def scope(name: str, until: float = 4e9) -> dict[str, object]:
        return {"session": {"oauth_info": {"expires_at": until, "userinfo": {"preferred_username": name}}}}

    assert [who(scope(name)) for name in ("ada", "Owner", "bob")] == ["ada", "owner", None]
    assert who(scope("ada", 1.0)) is None and who({}) is None
