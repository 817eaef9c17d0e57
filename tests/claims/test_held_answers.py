"""A final answer that claims what nobody measured: held back, corrected or marked, and told in the result."""

from __future__ import annotations

import json
from pathlib import Path

from support.scripted_runs import Played, cell, play

ROWS = "".join(json.dumps({"prompt": f"{i}+1=", "answer": str(i + 1)}) + "\n" for i in range(57))


def _cells(tmp_path: Path, *answers: str) -> list[str]:
    (tmp_path / "sums.jsonl").write_text(ROWS)
    look = cell("info = inspect_dataset('sums.jsonl')\nprint(info.rows)\nprint('accuracy 0.97')")
    return [look, *(cell(f"final_answer({answer!r})") for answer in answers)]


def _played(tmp_path: Path, state: Path, *answers: str, **settings: object) -> Played:
    return play(_cells(tmp_path, *answers), state, data_dirs=[tmp_path], **settings)  # type: ignore[arg-type]


def test_an_invented_number_goes_back_once_and_is_corrected(
    tmp_path: Path, own_state: Path, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    wrong, right = "There are 5,700 rows; accuracy is 0.97.", "There are 57 rows."
    played = _played(tmp_path, own_state, wrong, right)
    assert played.result.status == "done" and played.result.answer == right
    told = [text for text in played.notices if text.startswith("The answer was held back.")]
    assert len(told) == 1 and "it claims what was not measured" in told[0] and "- 5,700" in told[0]
    assert played.result.steps == 3
    observation = played.brain.prompts[-1]
    assert "The answer was not taken yet" in observation and "5,700" in observation
    assert "0.97: only your own code printed it" in observation
    assert played.result.claims is not None and played.result.claims["unverified"] == []
    assert played.result.to_json()["claims"]["verified"] == 1


def test_what_stays_is_marked_and_told(tmp_path: Path, own_state: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    played = _played(tmp_path, own_state, "The accuracy is 0.97 on 57 rows.", answer_checks=1)
    assert played.result.status == "done" and played.result.exit_code == 0
    assert played.result.answer == "The accuracy is 0.97 [not verified] on 57 rows."
    assert [row["number"] for row in played.result.to_json()["claims"]["unverified"]] == ["0.97"]
    assert any("Not verified in the answer" in text for text in played.notices)
    assert played.result.steps == 3


def test_a_setting_turns_holding_off_but_not_the_marks(tmp_path: Path, own_state: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    played = _played(tmp_path, own_state, "The accuracy is 0.97.", answer_checks=0)
    assert played.result.steps == 2 and "[not verified]" in played.result.answer


def test_the_last_step_is_not_spent_on_a_correction(tmp_path: Path, own_state: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    played = _played(tmp_path, own_state, "The accuracy is 0.97.", max_steps=2)
    assert played.result.status == "done" and "[not verified]" in played.result.answer


def test_json_stays_json(tmp_path: Path, own_state: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    played = _played(tmp_path, own_state, '{"accuracy": 0.97}', answer_checks=0)
    assert json.loads(played.result.answer) == {"accuracy": 0.97}
    assert played.result.claims is not None and played.result.claims["unverified"]


def test_where_nothing_was_looked_at_nothing_is_held_back(own_state: Path) -> None:
    played = play([cell("final_answer(f'17*3 is {17*3}; in 1969 12.5 % of 8,000 were 1,000.')")], own_state)
    assert played.result.steps == 1 and "[not" not in played.result.answer


def test_a_resumed_run_counts_what_was_held_before(tmp_path: Path, own_state: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    cells = _cells(tmp_path, "The accuracy is 0.97.")
    cut = play(cells, own_state, data_dirs=[tmp_path], answer_checks=1, max_steps=3)
    assert cut.result.status == "done" and cut.result.steps == 3
    again = play(cells, own_state, folder=cut.session.folder, data_dirs=[tmp_path], answer_checks=1)
    assert again.result.answer == cut.result.answer and again.result.claims == cut.result.claims
