"""Runs all attacks in all sandboxes and prints the table: attack by sandbox.

    python tests/attacks/table.py [FOLDER_WITH_RESULTS]

With a folder, what was kept there by an earlier run is shown again, and what is missing is run.
"""

from __future__ import annotations

import datetime
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks.model import KINDS
from attacks.runner import run_all
from attacks.suite import ATTACKS

WORDS = {
    "contained": "contained",
    "escaped": "**NOT**",
    "admitted": "not, and says so",
    "broken": "broken",
    "n/a": "–",
}


def gather(folder: Path) -> dict[str, dict[str, Any]]:
    """What became of the attacks, by kind."""
    kept = {kind: folder / f"{kind.replace(' ', '-')}.json" for kind in KINDS}
    there = {kind: json.loads(path.read_text()) for kind, path in kept.items() if path.exists()}
    missing = [kind for kind in KINDS if kind not in there]
    return there | (run_all(missing, folder) if missing else {})


def versions() -> str:
    """What was attacked, and when."""
    told = [f"{datetime.date.today()}", f"Linux {platform.release()}", f"Python {platform.python_version()}"]
    for words in (["bwrap", "--version"], ["docker", "version", "--format", "Docker {{.Server.Version}}"]):
        if shutil.which(words[0]):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            told += done.stdout.strip().splitlines()[:1]
    return ", ".join(told)


def rows(found: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of the table; a note for each dash, and the evidence for what was not contained."""
    lines = ["| attack | " + " | ".join(KINDS) + " |", "|---" * (len(KINDS) + 1) + "|"]
    notes: dict[str, int] = {}
    for attack in ATTACKS:
        cells = []
        for kind in KINDS:
            entry = found[kind].get("results", {}).get(attack.id, {"verdict": "n/a"})
            reason = (
                entry.get("reason") or found[kind].get("problem", "not run")
                if entry["verdict"] == "n/a"
                else ""
            )
            mark = f" ({notes.setdefault(reason, len(notes) + 1)})" if reason else ""
            word = "succeeds" if kind == "none" and entry["verdict"] == "escaped" else WORDS[entry["verdict"]]
            cells.append(word + mark)
        lines.append(f"| {attack.id} | " + " | ".join(cells) + " |")
    return [*lines, "", *(f"({number}) {reason}." for reason, number in notes.items())]


def sums(found: dict[str, dict[str, Any]]) -> list[str]:
    """A line a kind."""
    lines = []
    for kind in KINDS:
        verdicts = [entry["verdict"] for entry in found[kind].get("results", {}).values()]
        counts = ", ".join(
            f"{verdicts.count(v)} {v}" for v in ("contained", "admitted", "escaped", "broken", "n/a")
        )
        lines.append(
            f"- {kind}: " + (found[kind].get("problem") or f"{counts}; {found[kind].get('seconds')} s")
        )
    return lines


def main() -> None:
    """Print it."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="attack-results-"))
    folder.mkdir(parents=True, exist_ok=True)
    found = gather(folder)
    print("\n".join([f"# Attacks by sandbox\n{versions()}\n", *sums(found), "", *rows(found)]))
    for kind in KINDS[:-1]:
        for name, entry in found[kind].get("results", {}).items():
            if entry["verdict"] in ("escaped", "admitted", "broken"):
                print(f"\n**{kind}, {name}**: " + "; ".join(entry["bad"])[:800])


if __name__ == "__main__":
    main()
