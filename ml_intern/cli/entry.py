"""What the program `ml-intern` calls first. It imports nothing else before a Ctrl-C is told in one line."""

import sys


def run() -> int:
    """Run the command line; the exit code (see `ml_intern.errors`)."""
    try:
        from ml_intern.cli.main import run as command

        return command()
    except KeyboardInterrupt:  # while the imports of the command line were under way
        sys.stderr.write("\nml-intern: Interrupted.\n")
        return 130
