"""The process in which a rubric's patterns are looked for: ``[pattern, answer]`` in, ``yes`` or ``no`` out.

A pattern that somebody wrote and an answer that a model wrote may keep Python's matcher busy for years. One
file that needs nothing of ML Intern: it is started by path.
"""

from __future__ import annotations

import json
import re
import sys


def main() -> None:
    """Look until there is nothing more to look for."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        pattern, answer = json.loads(line)
        sys.stdout.write("yes\n" if re.search(pattern, answer, re.S) else "no\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
