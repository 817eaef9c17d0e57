"""The lines of a PDF, in a process of its own: a file from the network may be made to use up memory or time.

    python -I pdf_lines.py < paper.pdf

Writes JSON: the title that the file names, and for each line its text, its size in points, whether it is
bold, its page, and where it begins. Needs pypdf and nothing of ML Intern.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from typing import Any

MEMORY_BYTES, CPU_S = 3 << 30, 120
MOST_PAGES, MOST_LINES = 400, 60_000


def main() -> None:
    """Read standard input, write standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    import logging

    import pypdf

    logging.disable(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(sys.stdin.buffer.read()))
    if reader.is_encrypted and not reader.decrypt(""):
        raise SystemExit("it is locked by a password")
    named = reader.metadata.title if reader.metadata else ""
    lines: list[list[Any]] = []
    pages = len(reader.pages)
    for number in range(min(pages, MOST_PAGES)):
        lines += _lines(reader.pages[number], number)
        if len(lines) > MOST_LINES:
            break
    json.dump(
        {"title": str(named or ""), "pages": pages, "read": number + 1 if pages else 0, "lines": lines},
        sys.stdout,
    )


def _lines(page: Any, number: int) -> list[list[Any]]:
    """What stands on one height, in the order in which the file draws it: columns stay apart."""
    found: list[list[Any]] = []
    last: list[float] = []

    def visit(text: str, cm: list[float], tm: list[float], font: Any, size: float) -> None:
        if not text.strip():
            return
        x, y = tm[4] * cm[0] + cm[4], tm[5] * cm[3] + cm[5]
        points = round(abs(size * (tm[3] or tm[0]) * (cm[3] or 1)), 1)
        name = str((font or {}).get("/BaseFont", ""))
        bold = any(
            mark in name for mark in ("Bold", "bold", "CMBX", "-Bd", "Heavy", "Black", "Semibold", "Medi")
        )
        for place, part in enumerate(text.split("\n")):
            if not part.strip():
                continue
            same = place == 0 and last and abs(y - last[1]) < max(points, last[2]) * 0.6 and x >= last[0]
            if same and not last[3]:
                found[-1][0] += part
                if len(part.strip()) > len(found[-1][0]) / 2:
                    found[-1][1], found[-1][2] = points, bold
            else:
                found.append([part, points, bold, number, round(x), round(y)])
            last[:] = [
                x,
                y,
                points,
                float("\n" in text and text.endswith("\n") and place == text.count("\n")),
            ]
        if text.endswith("\n"):
            last.clear()

    page.extract_text(visitor_text=visit)
    return found


if __name__ == "__main__":
    main()
