"""Places at which the long session is killed, by name, in the order in which it comes by; see `long_child.Aim`."""

from __future__ import annotations

_PLACES = """
    event:before  event:after  brain:before  brain:after  cell:before  cell:after
    decision/rent:before  intent/rent:before  intent/rent:after  result/rent:before  result/rent:after
    cell_done:before  cell_done:after
    intent/start_experiment:after  result/start_experiment:before
    intent/launch_training:after  result/launch_training:before
    intent/launch_script:before  intent/launch_script:after  result/launch_script:before
    intent/write_file:after  result/write_file:before
    intent/edit_file:before  intent/edit_file:after  result/edit_file:before  result/edit_file:after
    intent/note:after  result/note:before:2
    intent/run_command:after  result/run_command:before  result/run_command:after
    mark/waiting:after  result/wait_for_job:before
    question/announce:before  question/announce:after  mark/question:after  answer/announce:before
    answer/announce:after  intent/announce:after  result/announce:before
    mark/question:after  standing:before  standing:after  intent/announce:before
    mark/summary:after  settled:before  settled:after
    compaction/summarised:before  compaction/summarised:after
    intent/announce:before  result/rent:before  result/rent:after:2
    intent/launch_script:before  intent/launch_script:after  result/launch_script:before
    mark/waiting:after  result/wait_for_job:before
    intent/note:after:3  result/note:before  mark/summary:after  result/rent:before:2
    mark/waiting:after
    result/finish_experiment:before
    intent/publish_dataset:after  mark/push:after  mark/pushed:after  result/publish_dataset:before
    mark/question:after  answer/publish_model:before  answer/publish_model:after
    intent/publish_model:after  mark/push:after  mark/pushed:after  result/publish_model:before
    finished:before  finished:after
"""
PLACES = _PLACES.split()
