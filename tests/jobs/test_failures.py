from __future__ import annotations

import pytest

from ml_intern.jobs.failures import classify, last_lines
from ml_intern.jobs.model import Failure

TRACE = """Traceback (most recent call last):
  File "/srv/job/train.py", line 12, in <module>
    trainer.train()
  File "/usr/lib/python3.11/site-packages/transformers/trainer.py", line 2000, in train
    return inner()
           ^^^^^^^
{error}
"""


def trace(error: str) -> str:
    return TRACE.format(error=error)


@pytest.mark.parametrize(
    ("log", "code", "kind"),
    [
        (trace("torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB"), 1, "out_of_memory"),
        (trace("RuntimeError: DefaultCPUAllocator: can't allocate memory"), 1, "out_of_memory"),
        ("MemoryError\n", 1, "out_of_memory"),
        (trace("RuntimeError: Writer failed: unexpected pos 64 vs 0"), 1, "disk_full"),
        (trace("OSError: [Errno 28] No space left on device"), 1, "disk_full"),
        (trace("FloatingPointError: loss is nan at step 30"), 1, "nan"),
        (trace("TypeError: __init__() got an unexpected keyword argument 'x'"), 1, "bad_config"),
        (trace("IndexError: index out of range in self"), 1, "bad_config"),
        (trace("ValueError: num_samples should be a positive integer, but got num_samples=0"), 1, "bad_data"),
        ("bad_data: data.jsonl line 3 is not JSON: oh.\n", 1, "bad_data"),
        ("bad_config: The size 'x' is not understood.\n", 1, "bad_config"),
        (trace("ValueError: something of mine"), 1, "code_error"),
        ("working on nan values\n", -9, "killed"),
        ("", 137, "killed"),
        ("", 3, "code_error"),
        ("", None, "code_error"),
    ],
)  # fmt: skip
def test_the_class_of_a_failure(log, code, kind):
    assert Failure.model_validate(classify(log, code)).kind == kind


def test_numbers_and_words_in_messages_do_not_change_the_class():
    log = "processed 137 of 1500 rows, typeof nan\nValueError: 9 is not 28\n"
    assert classify(log, 1)["kind"] == "code_error"


def test_the_line_is_the_users_own_where_there_is_one():
    assert classify(trace("ValueError: x"), 1)["line"] == "train.py:12: trainer.train()"


def test_a_syntax_error_names_its_line():
    log = '  File "/job/script.py", line 3\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n'
    failure = classify(log, 1)
    assert failure["line"] == "script.py:3: x = = 1"
    assert failure["message"] == "SyntaxError: invalid syntax"


def test_a_time_limit_wins_over_what_the_log_says():
    assert classify("MemoryError\n", -9, timeout_s=30)["kind"] == "timeout"


def test_a_killed_job_names_the_signal_and_the_likely_cause():
    failure = classify("", -9)
    assert "SIGKILL" in failure["message"] and "memory" in failure["hint"]
    assert "SIGTERM" in classify("", 143)["message"]


def test_the_last_lines_say_something_and_come_from_no_library():
    log = """step 1/2 loss 5.1
Traceback (most recent call last):
  File "/opt/ml_intern/jobs/recipes/pretrain.py", line 12, in main
    trainer.train()
    ~~~~~~~~~~~~~^^
  File "/srv/job/train.py", line 7, in <module>
    go(
    ^^^
  File "/usr/lib/python3.11/site-packages/transformers/trainer.py", line 2000, in train
    return inner(
           ^^^^^^

        args
    )
  File "<frozen runpy>", line 88, in _run_code
ValueError: two lines
    of message
"""
    assert last_lines(log) == [
        "step 1/2 loss 5.1",
        "Traceback (most recent call last):",
        '  File "/srv/job/train.py", line 7, in <module>',
        "    go(",
        "ValueError: two lines",
        "    of message",
    ]
    assert last_lines(log.replace("/srv/job", "/site-packages"))[1] == "ValueError: two lines"
    assert last_lines(log, 2) == ["ValueError: two lines", "    of message"]


def test_the_line_of_an_installed_recipe_is_told_before_that_of_a_library():
    log = """Traceback (most recent call last):
  File "/usr/lib/python3/site-packages/ml_intern/jobs/recipes/sft.py", line 9, in main
    arguments = SFTConfig(**fields)
  File "/usr/lib/python3/site-packages/trl/config.py", line 4, in __init__
    raise ValueError("no")
ValueError: no
"""
    assert classify(log, 1, method="sft")["line"] == "sft.py:9: arguments = SFTConfig(**fields)"


@pytest.mark.parametrize(
    ("error", "method", "words"),
    [
        ("ValueError: x", "script", "Correct the line"),
        ("ValueError: x", "pretrain", "change the config"),
        ("RuntimeError: CUDA out of memory.", "sft", "per_device_train_batch_size"),
        ("RuntimeError: CUDA out of memory.", "generate", "fewer or shorter items"),
    ],
)
def test_the_hint_is_something_that_its_reader_can_do(error, method, words):
    assert words in classify(trace(error), 1, method=method)["hint"]


def test_the_evidence_is_bounded():
    failure = classify("\n".join("x" * 1000 for _ in range(60)), 1)
    assert len(failure["last_lines"]) == 15 and max(map(len, failure["last_lines"])) <= 400


TOGETHER = """\
step 1/4 loss 5.5
[rank1]: Traceback (most recent call last):
[rank1]:   File "/x/jobs/recipes/sft.py", line 9, in <module>
[rank1]:     start(main)
[rank1]: RuntimeError: second to fail, first to tell
[rank0]: Traceback (most recent call last):
[rank0]: RuntimeError: Connection closed by peer
E1121 07:24:25.120000 4 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: 1)
Traceback (most recent call last):
  File "/v/site-packages/torch/distributed/run.py", line 1032, in <module>
    main()
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
Root Cause (first observed failure):
  rank      : 1 (local_rank: 1)
  exitcode  : {} (pid: 7)
============================================================
"""


def test_of_several_processes_the_first_that_failed_is_told():
    found = classify(TOGETHER.format(1), 1, method="sft")
    assert (found["kind"], found["message"]) == ("code_error", "RuntimeError: second to fail, first to tell")
    assert found["line"] == "sft.py:9: start(main)"
    assert not any("rank" in line or "elastic" in line for line in found["last_lines"])


def test_a_process_that_is_killed_among_several_is_told_as_killed():
    silent = TOGETHER[TOGETHER.index("E1121") :]
    found = classify("step 1/4\n" + silent.format(-9), 1, method="sft")
    assert found["kind"] == "killed" and "SIGKILL" in found["message"]
    assert found["last_lines"] == ["step 1/4"]


def test_a_wrong_field_in_several_processes_is_told_once():
    told = "bad_config: rewards are missing.\n"
    found = classify(told + told + TOGETHER[TOGETHER.index("E1121") :].format(1), 1, method="grpo")
    assert (found["kind"], "rewards are missing" in found["message"]) == ("bad_config", True)
