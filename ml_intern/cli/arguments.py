"""The words of the command line, all together. What a command does is imported when it is used."""

from ml_intern.cli import serving_commands, setup_commands, showing_commands, steering_commands
from ml_intern.cli.asking import prompt_command
from ml_intern.cli.front import COMPUTES, SANDBOXES, front

GROUPS = (steering_commands, showing_commands, serving_commands, setup_commands)
"""Imported, their commands stand in `front`."""

__all__ = ["COMPUTES", "GROUPS", "SANDBOXES", "front", "prompt_command"]
