"""Writes docs/reference from the code: commands, tools, settings, events, exit codes, the Python interface.

``python docs/generate.py`` writes the pages; with ``--check`` it names those that no longer say what the code
says, and exits with 1. Nothing is fetched, and no library that trains or serves is imported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "reference"
for place in (HERE, HERE.parent):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from generating import commands, events, interface, settings, tools  # noqa: E402

NOTE = "<!-- Made by `python docs/generate.py` from the code. Change the code, not this page. -->\n\n"
MAKERS = {
    "commands.md": commands.page,
    "tools.md": tools.page,
    "settings.md": settings.page,
    "events.md": events.page,
    "exit-codes.md": events.exit_codes,
    "python.md": interface.page,
}


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    return {name: NOTE + make().rstrip() + "\n" for name, make in MAKERS.items()}


def stale() -> list[str]:
    """The names of the pages that differ from what the code gives."""
    return [name for name, text in pages().items() if _read(FOLDER / name) != text]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def main() -> int:
    """Write the pages, or check them."""
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    words.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a page is stale"
    )
    if words.parse_args().check:
        for name in (old := stale()):
            sys.stderr.write(f"docs/reference/{name} is stale: run python docs/generate.py\n")
        return 1 if old else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
