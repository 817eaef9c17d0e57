"""LaTeX as plain text with mathematics left in TeX; macros of the paper's own, as far as they are simple."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

LONGEST_OPTION = 600
MOST_EXPANSIONS = 20_000
MOST_GROWTH = 4_000_000
"""Characters that macros may add: one that doubles itself is cut there."""

_DEFINITION = re.compile(
    r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand|DeclareMathOperator)\*?\s*"
    r"(?:\{\s*\\([a-zA-Z]+)\s*\}|\\([a-zA-Z]+))\s*(?:\[(\d)\])?\s*(\[[^\]]*\])?\s*(?=\{)"
    r"|\\(?:g|x|e)?def\s*\\([a-zA-Z]+)\s*((?:#\d)*)\s*(?=\{)"
)
_KEEP = {
    "emph", "textbf", "textit", "texttt", "textsc", "textsf", "textrm", "text", "mbox", "underline",
    "uline", "textnormal", "textsuperscript", "textsubscript", "hbox", "fbox", "centering", "textmd",
    "textsl", "url", "nolinkurl", "mathrm", "ensuremath", "enquote", "sout", "hl", "so", "protect",
    "MakeUppercase", "item",
}  # fmt: skip
_DROP = {
    "vspace": 1, "hspace": 1, "label": 1, "index": 1, "thispagestyle": 1, "pagestyle": 1, "setlength": 2,
    "addtolength": 2, "setcounter": 2, "addtocounter": 2, "includegraphics": 1, "bibliographystyle": 1,
    "usepackage": 1, "documentclass": 1, "color": 1, "fontsize": 2, "hypersetup": 1, "graphicspath": 1,
    "newtheorem": 2, "tikzset": 1, "input": 1, "vskip": 0, "addcontentsline": 3, "phantomsection": 0,
    "captionsetup": 1, "rowcolor": 1, "cellcolor": 1, "rule": 2, "definecolor": 3, "tikzsetnextfilename": 1,
    "pgfplotsset": 1, "newcolumntype": 2, "renewcommand": 2, "newcommand": 2, "thanks": 1, "todo": 1,
    "bibdata": 1, "arraystretch": 0, "tabcolsep": 0, "noindent": 0, "newlength": 1, "usetikzlibrary": 1,
}  # fmt: skip
_SECOND = {
    "textcolor", "href", "colorbox", "raisebox", "scalebox", "resizebox", "parbox", "multirow",
    "multicolumn", "fcolorbox", "adjustbox", "makebox", "framebox", "foreignlanguage", "hyperref",
    "texorpdfstring",
}  # fmt: skip
_CHARS = {
    "%": "%", "&": "&", "_": "_", "#": "#", "$": "$", "{": "{", "}": "}", " ": " ", ",": " ", ";": " ",
    ":": " ", "!": "", "-": "", "/": "", "@": "", "\\": "\n", "\n": " ", "(": "$", ")": "$",
}  # fmt: skip
_WORDS = {
    "LaTeX": "LaTeX", "TeX": "TeX", "ldots": "…", "dots": "…", "textbackslash": "\\", "textasciitilde": "~",
    "S": "§", "P": "¶", "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł",
    "aa": "å", "AA": "Å", "i": "i", "j": "j", "par": "\n\n", "newline": "\n", "linebreak": "\n",
    "quad": " ", "qquad": " ", "textgreater": ">", "textless": "<", "copyright": "©", "textregistered": "®",
    "xspace": "", "textendash": "–", "textemdash": "—", "textbar": "|", "slash": "/", "eg": "e.g.",
    "ie": "i.e.", "textquotesingle": "'", "degree": "°", "pounds": "£", "euro": "€", "checkmark": "✓",
    "cmark": "✓", "xmark": "✗", "textunderscore": "_", "newblock": " ", "bullet": "•", "pm": "±",
    "times": "×",
}  # fmt: skip
_ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307",
    '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "c": "\u0327", "k": "\u0328", "d": "\u0323",
}  # fmt: skip
_MATH = re.compile(r"(?<!\\)\$(?:\\.|[^$\\])*\$|\\\((?:.|\n){0,1000}?\\\)", re.S)
_BRACE = re.compile(r"\\.|[{}]", re.S)
_COMMAND = re.compile(r"\\([a-zA-Z]+)\*?[ \t]*(?:\n(?!\s*\n))?|\\(.)", re.S)
_CITE = re.compile(r"(?:no)?(?:[Cc]ite|parencite|textcite|footcite|autocite)[a-zA-Z]*")
_REF = re.compile(r"(?:eq|auto|[cC]|page|name|v|sub|full)?ref|Cref|autoref")


@dataclass(frozen=True)
class Macro:
    """A macro of the paper: how many arguments, the default of the first, what it stands for."""

    arguments: int
    default: str | None
    body: str


def braced(text: str, at: int) -> tuple[str, int] | None:
    """The group in braces that begins at or right after a place, and where it ends."""
    while at < len(text) and text[at] in " \t\n":
        at += 1
    if at >= len(text) or text[at] != "{":
        return None
    close = _pairs(text).get(at)
    return None if close is None else (text[at + 1 : close], close + 1)


@lru_cache(maxsize=8)
def _pairs(text: str) -> dict[int, int]:
    """Each opening brace with its closing one: looked for once, so that braces never closed cost nothing."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for hit in _BRACE.finditer(text):
        if hit[0] == "{":
            opened.append(hit.start())
        elif hit[0] == "}" and opened:
            found[opened.pop()] = hit.start()
    return found


def optional(text: str, at: int) -> tuple[str, int] | None:
    """The same for an optional argument in square brackets."""
    while at < len(text) and text[at] in " \t":
        at += 1
    if at >= len(text) or text[at] != "[":
        return None
    deep = 0
    for place in range(at, min(len(text), at + LONGEST_OPTION)):
        char = text[place]
        deep += (char == "{") - (char == "}")
        if char == "]" and deep == 0:
            return text[at + 1 : place], place + 1
    return None


def macros(text: str) -> tuple[dict[str, Macro], str]:
    """The paper's own macros, and the text without their definitions."""
    found: dict[str, Macro] = {}
    parts, last = [], 0
    for hit in _DEFINITION.finditer(text):
        body = braced(text, hit.end())
        if body is None or hit.start() < last:
            continue
        name = hit[1] or hit[2] or hit[5]
        count = int(hit[3] or 0) if not hit[5] else len(hit[6]) // 2
        if name not in _KEEP and name not in ("section", "subsection", "cite", "ref"):
            default = hit[4][1:-1] if hit[4] else None
            found[name] = Macro(count, default, body[0])
        parts.append(text[last : hit.start()])
        last = body[1]
    return found, "".join([*parts, text[last:]])


def expanded(text: str, known: Mapping[str, Macro]) -> str:
    """The text with the paper's macros carried out, three times over at the most."""
    names = sorted((n for n, m in known.items() if m.body.strip() not in (f"\\{n}",)), key=len, reverse=True)
    if not names:
        return text
    call = re.compile(r"\\(" + "|".join(map(re.escape, names)) + r")(?![a-zA-Z])")
    most = len(text) + MOST_GROWTH
    for _ in range(3):
        text, count = _once(text, call, known, most)
        if not count or len(text) >= most:
            break
    return text


def _once(text: str, call: re.Pattern[str], known: Mapping[str, Macro], most: int) -> tuple[str, int]:
    parts, last, size, count = [], 0, 0, 0
    for hit in call.finditer(text):
        if hit.start() < last or count >= MOST_EXPANSIONS or size > most:
            continue
        macro = known[hit[1]]
        given, end = _arguments(text, hit.end(), macro)
        body = _filled(macro.body, given)
        parts += [text[last : hit.start()], body]
        size += hit.start() - last + len(body)
        last, count = end, count + 1
    return "".join([*parts, text[last:]]), count


def _filled(body: str, given: list[str]) -> str:
    return re.sub(r"#([1-9])", lambda hit: given[int(hit[1]) - 1] if int(hit[1]) <= len(given) else "", body)


def _arguments(text: str, at: int, macro: Macro) -> tuple[list[str], int]:
    given: list[str] = []
    if macro.default is not None:
        named = optional(text, at)
        given.append(named[0] if named else macro.default)
        at = named[1] if named else at
    while len(given) < macro.arguments:
        group = braced(text, at)
        if group is None:
            given.append(text[at : at + 1])
            at += 1
        else:
            given.append(group[0])
            at = group[1]
    return given, at


def plain(text: str, refer: Callable[[str], str] = lambda label: label) -> str:
    """LaTeX as text: paragraphs stay apart, lists become lines with a dash.

    Args:
        text: Without comments.
        refer: Gives what a label's reference shows.
    """
    parts, last = [], 0
    for hit in _MATH.finditer(text):
        parts.append(_words(text[last : hit.start()], refer, 0))
        parts.append("$" + " ".join(hit[0].strip("$").removeprefix("\\(").removesuffix("\\)").split()) + "$")
        last = hit.end()
    parts.append(_words(text[last:], refer, 0))
    return tidy("".join(parts))


def tidy(text: str) -> str:
    """Paragraphs with single spaces, a blank line between them."""
    paragraphs = re.split(r"\n\s*\n", text)
    lines = [
        "\n".join(" ".join(line.split()) for line in p.split("\n- ") if line.strip()) for p in paragraphs
    ]
    return "\n\n".join(line for line in lines if line.strip())


def _words(text: str, refer: Callable[[str], str], depth: int) -> str:
    if depth > 40:
        return text
    parts, at = [], 0
    while hit := _COMMAND.search(text, at):
        parts.append(_characters(text[at : hit.start()]))
        told, at = _carried_out(text, hit, refer, depth)
        parts.append(told)
    return "".join([*parts, _characters(text[at:])])


def _characters(text: str) -> str:
    text = text.replace("~", " ").replace("---", "—").replace("--", "–").replace("``", "“").replace("''", "”")
    return text.replace("{", "").replace("}", "")


def _carried_out(text: str, hit: re.Match[str], refer: Callable[[str], str], depth: int) -> tuple[str, int]:
    """What a command shows, and where the text goes on."""
    name, at = hit[1], hit.end()
    if name is None:
        if hit[2] in _ACCENTS:
            return _accented(text, at, _ACCENTS[hit[2]])
        return _CHARS.get(hit[2], ""), at
    if name in ("begin", "end"):
        group = braced(text, at)
        at = _past_options(text, group[1]) if group else at
        return ("\n\n" if group and group[0].strip("*") not in ("math",) else ""), at
    if name == "item":
        label = optional(text, at)
        return f"\n\n- {plain(label[0], refer)} " if label else "\n\n- ", label[1] if label else at
    if name in _WORDS:
        return _WORDS[name], at
    if name in _ACCENTS and len(name) == 1 and text[at : at + 1] == "{":
        return _accented(text, at, _ACCENTS[name])
    while option := optional(text, at):
        at = option[1]
    if _CITE.fullmatch(name):
        group = braced(text, at)
        return (f"[{', '.join(k.strip() for k in group[0].split(','))}]", group[1]) if group else ("", at)
    if _REF.fullmatch(name):
        group = braced(text, at)
        shown = ", ".join(refer(label.strip()) for label in group[0].split(",")) if group else ""
        return (f"({shown})" if name == "eqref" else shown), group[1] if group else at
    if name in ("footnote", "footnotetext", "marginpar"):
        group = braced(text, at)
        return (f" (note: {_words(group[0], refer, depth + 1).strip()})", group[1]) if group else ("", at)
    if name in _DROP:
        for _ in range(_DROP[name]):
            group = braced(text, at)
            at = group[1] if group else at
        return "", at
    if name in _SECOND:
        return _last_group(text, at, refer, depth)
    return "", at  # an unknown command: its arguments are text as any other


def _past_options(text: str, at: int) -> int:
    option = optional(text, at)
    return option[1] if option else at


def _last_group(text: str, at: int, refer: Callable[[str], str], depth: int) -> tuple[str, int]:
    shown = ""
    while group := braced(text, at):
        shown, at = group
        while option := optional(text, at):
            at = option[1]
        if text[at : at + 1] != "{":
            break
    return _words(shown, refer, depth + 1), at


def _accented(text: str, at: int, mark: str) -> tuple[str, int]:
    import unicodedata

    group = braced(text, at) if text[at : at + 1] == "{" else None
    letter, end = group if group else (text[at : at + 1], at + 1)
    letter = letter.replace("\\i", "i").replace("\\j", "j")
    return unicodedata.normalize("NFC", letter[:1] + mark + letter[1:]), end
