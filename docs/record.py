"""Records a command in a terminal and draws it as an SVG that moves: the picture in the README.

``python docs/record.py docs/images/run.svg ml-intern --model playbook: "say hello to Ada"`` runs the command
in a terminal of tmux, looks at its screen again and again, and keeps each screen that is another one. Long
waits are shortened. The person's home folder is written as ``~``.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

LOOK_S, LONGEST_S, LAST_S = 0.25, 0.9, 6.0
"""Between two looks; the longest that a screen is shown; how long the last one is."""
LETTER, LINE, EDGE = 8.4, 18.0, 16.0
"""Width of a letter, height of a line, the space around them, in pixels."""
NAME = "ml-intern-recording"


@dataclass(frozen=True)
class Screen:
    """What the terminal showed, from when on (seconds), line by line with its colours."""

    at: float
    lines: tuple[str, ...]


def main() -> int:
    """Record and draw."""
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    words.add_argument("file", type=Path)
    words.add_argument("command", nargs=argparse.REMAINDER)
    words.add_argument("--width", type=int, default=100)
    words.add_argument("--height", type=int, default=26)
    words.add_argument("--screens", type=int, default=60, help="how many are kept at the most")
    words.add_argument("--shown", default="", help="the command as the picture shows it")
    given = words.parse_args()
    shown = given.shown or shlex.join(given.command)
    screens = shorten(record(given.command, given.width, given.height), given.screens)
    given.file.write_text(draw(screens, shown, given.width, given.height), encoding="utf-8")
    sys.stdout.write(f"{given.file}: {len(screens)} screens\n")
    return 0


def record(command: Sequence[str], width: int, height: int) -> list[Screen]:
    """The screens of the command, until it has ended."""
    size = ["-x", str(width), "-y", str(height)]
    # After the command its shell becomes a sleep: that it has ended is seen, and its last screen can be read.
    line = f"stty -echo; {shlex.join(command)}; exec sleep 3600"
    tmux("new-session", "-d", "-s", NAME, *size, "sh", "-c", line)
    try:
        return list(_screens(time.monotonic()))
    finally:
        tmux("kill-session", "-t", NAME)


def _screens(began: float) -> Iterator[Screen]:
    last: tuple[str, ...] = ()
    while True:
        ended = "sleep" in tmux("display-message", "-p", "-t", NAME, "#{pane_current_command}")
        lines = tuple(_scrub(line) for line in tmux("capture-pane", "-e", "-p", "-t", NAME).split("\n"))
        if lines != last:
            yield Screen(time.monotonic() - began, lines)
            last = lines
        if ended:
            return
        time.sleep(LOOK_S)


def tmux(*words: str) -> str:
    """Ask tmux on a server of its own, and what it says."""
    done = subprocess.run(["tmux", "-L", NAME, *words], capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")


def _scrub(line: str) -> str:
    return line.replace(str(Path.home()), "~")


def shorten(screens: Sequence[Screen], most: int) -> list[Screen]:
    """As many screens as are wanted, evenly, the last among them; none stands longer than `LONGEST_S`."""
    step = max(1, -(-len(screens) // most))
    kept = [*screens[:-1:step], screens[-1]]
    at, moved = 0.0, []
    for screen, after in zip(kept, [*kept[1:], None], strict=True):
        moved.append(Screen(at, screen.lines))
        at += min(LONGEST_S, after.at - screen.at) if after else 0.0
    return moved


def draw(screens: Sequence[Screen], command: str, width: int, height: int) -> str:
    """The picture: each line is drawn once, a screen uses lines, and one screen at a time is visible."""
    names: dict[str, str] = {}
    for line in (line for screen in screens for line in screen.lines):
        names.setdefault(line, f"l{len(names)}")
    total = screens[-1].at + LAST_S
    w, h = round(width * LETTER + 2 * EDGE), round((height + 2) * LINE + 2 * EDGE)
    pieces = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" role="img" font-family='
        f'"ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14">',
        f"<title>{escape(command)}</title>",
        f'<rect width="{w}" height="{h}" rx="8" fill="#1c1e26"/>',
        f"<style>text{{fill:#d5d8df;white-space:pre}}.s{{visibility:hidden}}{_moves(screens, total)}</style>",
        "<defs>",
        *(
            f'<text id="{name}" xml:space="preserve">{_spans(line)}</text>'
            for line, name in names.items()
            if line
        ),
        "</defs>",
        f'<text x="{EDGE}" y="{EDGE + LINE}" style="fill:#8fd18f">$ {escape(command)}</text>',
    ]
    for number, screen in enumerate(screens):
        pieces.append(f'<g class="s" id="s{number}">')
        for row, line in enumerate(screen.lines):
            if line:
                pieces.append(f'<use href="#{names[line]}" x="{EDGE}" y="{EDGE + (row + 2.5) * LINE:g}"/>')
        pieces.append("</g>")
    return "\n".join([*pieces, "</svg>"]) + "\n"


def _moves(screens: Sequence[Screen], total: float) -> str:
    """A rule for each screen: visible from its time to that of the next, over and over."""
    rules = []
    ends = [*(screen.at for screen in screens[1:]), total]
    for number, (screen, end) in enumerate(zip(screens, ends, strict=True)):
        begin, until = 100 * screen.at / total, 100 * end / total
        rules.append(
            f"@keyframes k{number}{{0%,{begin:.3f}%{{visibility:hidden}}"
            f"{begin + 0.001:.3f}%,{until:.3f}%{{visibility:visible}}"
            f"{min(until + 0.001, 100):.3f}%,100%{{visibility:{'visible' if until >= 100 else 'hidden'}}}}}"
            f"#s{number}{{animation:k{number} {total:.2f}s step-end infinite}}"
        )
    # Whoever asks for stillness sees the end.
    last = f".s{{animation:none!important}}#s{len(screens) - 1}{{visibility:visible}}"
    still = f"@media (prefers-reduced-motion:reduce){{{last}}}"
    return "".join(rules) + still


def _spans(line: str) -> str:
    """A line of the terminal as pieces of text, each with its colours."""
    text = Text.from_ansi(line)
    pieces = []
    for begin, end, style in _runs(text):
        told = _css(style)
        words = escape(text.plain[begin:end])
        pieces.append(f'<tspan x="{begin * LETTER:g}"{told}>{words}</tspan>' if words.strip() else "")
    return "".join(pieces)


def _runs(text: Text) -> Iterator[tuple[int, int, Style]]:
    """Where a style begins and ends; what has none is there, too."""
    styles = [Style()] * len(text.plain)
    for span in text.spans:
        style = span.style if isinstance(span.style, Style) else Style.parse(span.style)
        for place in range(span.start, min(span.end, len(styles))):
            styles[place] += style
    begin = 0
    for place in range(1, len(styles) + 1):
        if place == len(styles) or styles[place] != styles[begin]:
            yield begin, place, styles[begin]
            begin = place


def _css(style: Style) -> str:
    parts = []
    color = style.bgcolor if style.reverse and style.bgcolor else style.color
    if color is not None and not color.is_default:
        parts.append(f"fill:{color.get_truecolor(MONOKAI).hex}")
    if style.bold:
        parts.append("font-weight:bold")
    if style.dim:
        parts.append("opacity:.65")
    return f' style="{";".join(parts)}"' if parts else ""


if __name__ == "__main__":
    sys.exit(main())
