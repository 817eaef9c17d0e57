"""What the command line costs before it does anything, against an empty Python in the same run.

    python benchmarks/startup.py

Prints the time and the memory of `import ml_intern` and of `ml-intern --help`, and their ratio to
`python -c pass`. The fastest of several runs counts: the others measure what else the machine did.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

RUNS = 7
CASES = {
    "python -c pass": "pass",
    "import ml_intern": "import ml_intern",
    "ml-intern --help": "from ml_intern.cli.main import run; run(['--help'])",
}
CEILING_S, CEILING_MB = 0.25, 60.0


def measure(code: str) -> tuple[float, float]:
    """Seconds of wall time, and MB (2**20 bytes) of memory at the peak, of one process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{code!r} failed")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    # Round after round, so that a slow moment of the machine meets every case.
    rounds = [{name: measure(code) for name, code in CASES.items()} for _ in range(RUNS)]
    best = {name: tuple(min(r[name][i] for r in rounds) for i in (0, 1)) for name in CASES}
    base_s, base_mb = best["python -c pass"]
    for name, (seconds, mb) in best.items():
        times, space = f"{seconds / base_s:.1f}x", f"{mb / base_mb:.1f}x"
        print(f"{name:<18} {seconds * 1000:5.0f} ms ({times})  {mb:5.1f} MB ({space})")
    held = all(s < CEILING_S and mb < CEILING_MB for s, mb in best.values())
    print(f"below {CEILING_S} s and {CEILING_MB:.0f} MB: {'yes' if held else 'NO'}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
