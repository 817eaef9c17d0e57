"""Flag, environment, project file, user file: the first that says something wins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ml_intern
from ml_intern import Settings
from ml_intern.errors import UsageError
from ml_intern.router.policy import read_policy


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


@pytest.mark.parametrize("kind", ["binary", "folder", "unknown key"])
def test_a_file_of_settings_that_is_none_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "ml-intern.toml"
    if kind == "folder":
        file.mkdir()
    else:
        file.write_bytes(b"\xff\xfe\x00" if kind == "binary" else b"frobnicate = 1\n")
    wanted = (
        r"Mend it in .*ml-intern\.toml"
        if kind == "unknown key"
        else r"cannot be read: .*\. Mend it, or move it away\."
    )
    with pytest.raises(UsageError, match=wanted):
        Settings.load()


def test_the_users_own_file_is_named_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "ml-intern" / "ml-intern.toml"
    file.parent.mkdir()
    file.write_text("model = [\n")
    with pytest.raises(UsageError, match=re.escape(str(file))):
        Settings.load()


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="Go to another"):
        Settings.load()


def test_the_key_is_not_shown() -> None:
    assert "sk-secret" not in repr(Settings.load(api_key="sk-secret"))


def test_lists_come_from_the_environment_as_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_INTERN_YES", "publish,destroy")
    monkeypatch.setenv("ML_INTERN_DATA_DIRS", "/a/b:/c")
    settings = Settings.load()
    assert settings.yes == ["publish", "destroy"]
    assert settings.data_dirs == [Path("/a/b"), Path("/c")]


def test_what_is_wrong_says_where_it_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(text: str) -> str:
        (tmp_path / "ml-intern.toml").write_text(text)
        with pytest.raises(UsageError) as refused:
            Settings.load()
        assert "\n" not in refused.value.hint
        return refused.value.hint

    monkeypatch.chdir(tmp_path)
    here = str(tmp_path / "ml-intern.toml")
    assert f"It is {here}. Mend that line" in told("model = \n")
    assert f"Mend it in {here}." in told("modl = 'x'\n") and "settings.md" in told("modl = 'x'\n")
    assert "It is: cells a run may take." in told("max_steps = 0\n")
    monkeypatch.setenv("ML_INTERN_MAX_STEPS", "0")
    assert "unset the variable ML_INTERN_MAX_STEPS" in told("max_steps = 5\n")
    monkeypatch.setenv("ML_INTERN_POLICY", "nonsense")
    assert "written as JSON" in told("max_steps = 5\n")
    with pytest.raises(UsageError) as refused:
        read_policy([{"action": "perhaps"}])
    assert "Mend the rule in ml-intern.toml" in refused.value.hint


def test_how_much_of_the_window_the_prompt_may_take_is_a_setting() -> None:
    assert Settings.load().prompt_share == 0.4
    assert Settings.load(prompt_share=0.2).prompt_share == 0.2
    with pytest.raises(UsageError, match="prompt_share = 2"):
        Settings.load(prompt_share=2)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("BUDGTE", "BUDGET"), ("BUGET", "BUDGET"), ("MODEL_", "MODEL"), ("MAX_STEP", "MAX_STEPS")],
)
def test_a_misspelt_variable_is_refused_and_not_ignored(
    variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ML_INTERN_{variable}", "1")
    with pytest.raises(
        UsageError, match=rf"ML_INTERN_{variable} is no setting \(did you mean ML_INTERN_{meant}\?"
    ):
        Settings.load()


def test_variables_that_are_no_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    house = Path(ml_intern.__file__).parent
    read = {
        name
        for file in house.rglob("*.py")
        for name in re.findall(r"\bML_INTERN_[A-Z_]*[A-Z]\b", file.read_text(encoding="utf-8"))
    }
    told = (house.parent / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    read |= set(re.findall(r"`(ML_INTERN_\w+)`", told))
    others = {name for name in read if name.removeprefix("ML_INTERN_").lower() not in Settings.model_fields}
    assert {"ML_INTERN_JOB", "ML_INTERN_JSON", "ML_INTERN_MCP_TOKEN"} <= others
    for name in (*others, "ML_INTERN_SOMETHING_OF_SOMEBODY_ELSE"):
        monkeypatch.setenv(name, "1")
    Settings.load()
