"""Flag, environment, project file, user file: the first that says something wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_intern import Settings
from ml_intern.errors import UsageError


def test_the_order_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    user = tmp_path / "config" / "ml-intern"
    user.mkdir(parents=True)
    (user / "ml-intern.toml").write_text(
        'model = "openai:user"\nmax_steps = 1\nbudget = "1h"\ncell_timeout_s = 5\n'
    )
    (tmp_path / "ml-intern.toml").write_text('model = "openai:project"\nmax_steps = 2\nbudget = "2h"\n')
    monkeypatch.setenv("ML_INTERN_MODEL", "openai:environment")
    monkeypatch.setenv("ML_INTERN_MAX_STEPS", "3")
    settings = Settings.load(model="openai:flag")
    assert (settings.model, settings.max_steps, settings.budget, settings.cell_timeout_s) == (
        "openai:flag",
        3,
        "2h",
        5,
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"modl": "x"}, "did you mean 'model'"),
        ({"max_steps": 0}, "max_steps = 0"),
        ({"sandbox": "cage"}, "sandbox = 'cage'"),
    ],
)
def test_what_is_wrong_is_one_line(given: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Settings.load(**given)


def test_a_broken_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ml-intern.toml").write_text("model = \n")
    with pytest.raises(UsageError, match=r"ml-intern\.toml cannot be read"):
        Settings.load()


def test_the_key_is_not_shown() -> None:
    assert "sk-secret" not in repr(Settings.load(api_key="sk-secret"))


def test_lists_come_from_the_environment_as_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_INTERN_YES", "publish,destroy")
    monkeypatch.setenv("ML_INTERN_DATA_DIRS", "/a/b:/c")
    settings = Settings.load()
    assert settings.yes == ["publish", "destroy"]
    assert settings.data_dirs == [Path("/a/b"), Path("/c")]
