"""What a policy is watched by beside its reward: held-out texts, measures of no weight, samples."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.curves import policy

from ml_intern.jobs.conditions import condition
from ml_intern.jobs.curves import rows
from ml_intern.jobs.diagnosis import diagnose
from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.jobs.recipes._rewards import read_rewards
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import NOTES, Run
from ml_intern.jobs.samples import early_and_late, read_samples_of

sys.path.insert(0, str(RECIPES))
from _rewarding import make_rewards
from _validation import Watch

sys.path.remove(str(RECIPES))

CURVES = Path(__file__).with_name("curves")
"""Of real trainings, as ``benchmarks/reward_collapse.py`` makes them: a model of statements, rewarded for what
parses. Fooled, it writes single words that nobody has defined; with a minimum length and a KL term of 0.64 it
writes statements."""
FOOLED, REPAIRED = rows(CURVES / "grpo_fooled.jsonl"), rows(CURVES / "grpo_repaired.jsonl")


def alarms(table, over=True):
    return [seen.kind for seen in look(Run(table, over)) if seen.kind not in NOTES]


def status(output: str = "") -> JobStatus:
    return JobStatus(id="j-1", name="j", method="grpo", state="succeeded", output=output)


def diagnosed(table, output: str = "", **config):
    config = {"rewards": ["parses"], **config}
    return diagnose(status(output), table, JobSpec(name="j", method="grpo", config={"asked": config}))


def test_a_reward_that_rises_while_held_out_texts_get_worse_is_seen_in_a_third_of_the_run():
    first = next(n for n in range(1, len(FOOLED) + 1) if alarms(FOOLED[:n], over=False))
    assert FOOLED[first - 1]["step"] == 12 and alarms(FOOLED[:first], over=False) == ["held_out_worse"]
    assert all("held_out_worse" in alarms(FOOLED[:n], over=False) for n in range(first, len(FOOLED)))
    met = condition("held out worse").check(12, {}, Run(FOOLED))
    assert met is not None and "rose from 2.61 to 4.03, by 54%" in met.why


def test_it_is_explained_with_numbers_and_the_change_is_a_kl_term_and_a_length():
    found = diagnosed(FOOLED)
    assert not found.healthy and "without the task being done" in found.cause
    assert "while the reward went from 0.312 to 0.977" in found.evidence[0]
    assert found.change == {"beta": 0.16, "rewards": ["parses", {"type": "length", "min": 9}]}


def test_a_kl_term_that_was_not_enough_is_raised_and_a_length_is_asked_for_once():
    asked = ["parses", {"type": "length", "min": 8}]
    assert diagnosed(FOOLED, beta=0.16, rewards=asked).change == {"beta": 0.64}


def test_the_repaired_run_raises_no_alarm_however_often_one_looks():
    assert not any(alarms(REPAIRED[:n], over=False) for n in range(1, len(REPAIRED)))
    assert diagnosed(REPAIRED).healthy and not diagnosed(REPAIRED).notes


def test_without_a_measure_the_same_run_looks_well_and_a_note_says_what_is_missing():
    blind = [{k: v for k, v in row.items() if k != "eval_bits_per_byte"} for row in FOOLED]
    assert "held_out_worse" not in alarms(blind)
    [note] = diagnosed(blind).notes
    assert "held_out_texts" in note and "weight 0" in note
    assert not diagnose(status(), [{"step": n, "loss": 6 - 0.1 * n} for n in range(20)]).notes


def unrewarded(seed: int, end: float, name: str = "unrewarded/exact") -> list[dict]:
    """A measure of weight 0, of 64 answers a step, that goes from 0.74 to `end`."""
    draw, table = random.Random(seed), policy(seed, 60)
    for n, row in enumerate(table):
        share = 0.74 + (end - 0.74) * n / 60
        row[name] = sum(draw.random() < share for _ in range(64)) / 64
    return table


@pytest.mark.parametrize("name", ["unrewarded/exact", "eval_unrewarded/exact"])
def test_a_measure_of_weight_0_that_falls_is_an_alarm_and_one_that_only_wavers_is_none(name):
    for seed in range(20):
        assert alarms(unrewarded(seed, 0.18, name)) == ["held_out_worse"]
        steady = unrewarded(seed, 0.74, name)
        assert not any(alarms(steady[:n], over=False) for n in range(8, 60, 4))
    assert not diagnosed(unrewarded(0, 0.74, name)).notes


@pytest.mark.parametrize(("reward", "words", "change"), [
    ([0.2 + 0.1 * min(n, 8) for n in range(60)], "at its best", {}),
    ([0.0] * 60, "no longer differ", {"num_generations": 16}),
])  # fmt: skip
def test_groups_that_earn_the_same_ask_for_more_completions_where_nothing_was_earned(reward, words, change):
    table = [{"step": n, "reward": r, "frac_reward_zero_std": 1.0} for n, r in enumerate(reward)]
    found = diagnosed(table)
    assert words in found.cause and found.change == change


# Samples


def watched(
    path: Path, steps: int, total: int, rewards=("parses", {"type": "length", "min": 4, "weight": 0})
):
    """What a policy of 16 completions a step leaves behind, and what was logged in the last step."""
    specs = read_rewards(list(rewards))
    functions, logged = make_rewards(specs, watch=Watch(path, len(specs))), {}
    for step in range(steps):
        state = SimpleNamespace(global_step=step, max_steps=total)
        for function in functions:
            function(
                completions=[f"x = {step}" if n % 2 else "(" for n in range(16)], prompts=["p"] * 16,
                completion_ids=[[1, 2]] * 16, trainer_state=state, log_extra=None, log_metric=logged.__setitem__,
            )  # fmt: skip
    return logged


def test_samples_are_kept_from_the_first_to_the_last_step_and_no_more_than_can_be_read(tmp_path):
    logged = watched(tmp_path / "samples.jsonl", 1000, 1000)
    assert logged == {"completions/distinct": 2 / 16, "unrewarded/length": 0.5}
    found = read_samples_of(tmp_path)
    assert sorted({s.step for s in found}) == [*range(0, 1000, 100), 999] and len(found) == 44
    assert {s.step for s in early_and_late(found)} == {0, 999}
    assert found[0].rewards == {"parses": 0.0, "length": 0.5} and found[0].completion == "("
    watched(tmp_path / "samples.jsonl", 3000, 3000)
    assert len(read_samples_of(tmp_path)) <= 200 and (tmp_path / "samples.jsonl").stat().st_size < 2**19


def test_a_run_of_one_step_and_one_that_has_ended_early_have_samples(tmp_path):
    watched(tmp_path / "samples.jsonl", 1, 1)
    assert {s.step for s in read_samples_of(tmp_path)} == {0}
    (tmp_path / "samples.jsonl").unlink()
    watched(tmp_path / "samples.jsonl", 34, 100)
    assert {s.step for s in read_samples_of(tmp_path)} == {0, 10, 20, 30}


def test_the_diagnosis_shows_them(tmp_path):
    watched(tmp_path / "samples.jsonl", 20, 20)
    found = diagnosed(FOOLED, str(tmp_path))
    assert [s.step for s in found.samples] == [0, 0, 19, 19]


@pytest.mark.parametrize("hostile", [
    b"\xff\xfe\n", b"[1]\n{}\n", b'{"step": "1", "prompt": "", "completion": ""}\n', b"[" * 100_000 + b"\n",
    b'{"step": true, "prompt": "", "completion": ""}\n', b'{"step": 1, "prompt": [], "completion": ""}\n', b"",
    b"x" * 2**21, b'{"step": 1, "prompt": "", "completion": "half',
], ids=["bytes", "shapes", "word", "deep", "bool", "list", "empty", "long", "cut"])  # fmt: skip
def test_what_is_no_sample_is_left_out(tmp_path, hostile):
    (tmp_path / "samples.jsonl").write_bytes(hostile)
    assert read_samples_of(tmp_path) == []


def test_a_sample_is_bounded_and_hides_nothing(tmp_path):
    row = {"step": 1, "prompt": "p" * 9999, "completion": "\x1b[2J\u202eevil", "tokens": "many"}
    row["rewards"] = {f"r{n}": n for n in range(99)} | {"r0": "x"}
    (tmp_path / "samples.jsonl").write_text(json.dumps(row) + "\n")
    [sample] = read_samples_of(tmp_path)
    assert len(sample.prompt) <= 501 and "\x1b" not in sample.completion and "\u202e" not in sample.completion
    assert sample.tokens is None and len(sample.rewards) == 19


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_only_a_plain_file_is_read(tmp_path, kind):
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"step": 1, "prompt": "", "completion": "of the host"}\n')
    output = tmp_path / "output"
    output.mkdir()
    place = output / "samples.jsonl"
    make = {"link": lambda: place.symlink_to(secret), "pipe": lambda: os.mkfifo(place), "folder": place.mkdir}
    make.get(kind, lambda: None)()
    assert read_samples_of(output) == []
