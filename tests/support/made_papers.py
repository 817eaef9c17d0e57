"""Papers that tests make: one outline written as LaTeX, as the HTML that LaTeXML makes of it, and as a PDF."""

from __future__ import annotations

import html
import io
import random
import tarfile
import zlib
from dataclasses import dataclass, field

WORDS = """model data training loss reward token sample policy gradient layer attention answer question batch
dataset baseline method result ablation score budget compute evaluation prompt sequence corpus noise""".split()  # noqa: SIM905


@dataclass
class Part:
    """A section: its number ("" for none), its title, its level, its text."""

    number: str
    title: str
    level: int
    text: str


@dataclass
class Paper:
    """What every version says."""

    title: str
    abstract: str
    parts: list[Part] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    references: list[str] = field(default_factory=list)


def made(seed: int) -> Paper:
    """A paper with three levels, unnumbered sections and an appendix."""
    chance = random.Random(seed)
    paper = Paper(f"On the {_title(chance)} of Small Models", _prose(chance, 2))
    for first in range(1, chance.randint(4, 6)):
        paper.parts.append(Part(str(first), _title(chance), 1, _prose(chance, chance.randint(1, 6))))
        for second in range(1, chance.randint(1, 4)):
            paper.parts.append(
                Part(f"{first}.{second}", _title(chance), 2, _prose(chance, chance.randint(1, 8)))
            )
            for third in range(1, chance.choice((1, 1, 3))):
                number = f"{first}.{second}.{third}"
                paper.parts.append(Part(number, _title(chance), 3, _prose(chance, 2)))
    paper.parts.append(Part("", "Limitations", 1, _prose(chance, 1)))
    paper.parts.append(Part("A", _title(chance), 1, _prose(chance, 2)))
    paper.parts.append(Part("A.1", _title(chance), 2, _prose(chance, 2)))
    paper.rows = [["Setting", "SFT", "GRPO"], ["Learning rate", "2e-5", "1e-6"], ["Batch size", "64", "128"]]
    paper.references = [f"A. Author. {_title(chance)}. 20{n}." for n in range(10, 14)]
    return paper


def _title(chance: random.Random) -> str:
    return " ".join(word.capitalize() for word in chance.sample(WORDS, chance.randint(1, 4)))


def _prose(chance: random.Random, sentences: int) -> str:
    lines = [" ".join(chance.choices(WORDS, k=chance.randint(6, 18))) for _ in range(sentences)]
    return " ".join(f"{line.capitalize()} {chance.randint(2, 999)}." for line in lines)


HEADS = {1: "section", 2: "subsection", 3: "subsubsection"}


def as_latex(paper: Paper) -> dict[str, str]:
    """The paper in two files, with comments, macros and a bibliography of its own."""
    body, inner = [], []
    appendix = False
    for place, part in enumerate(paper.parts):
        lines = inner if place % 3 == 2 else body
        if part.number.startswith("A") and not appendix:
            body.append("\\appendix")
            appendix, lines = True, body
        star = "" if part.number else "*"
        lines = body if appendix else lines
        target = [
            f"\\{HEADS[part.level]}{star}{{{part.title}}}\\label{{p:{place}}} % a comment \\section{{No}}"
        ]
        target.append(part.text.replace("model ", "\\mdl{} "))
        if lines is inner:
            body.append(f"\\input{{parts/p{place}}}")
            inner.append("\n".join(target))
        else:
            body += target
    rows = " \\\\\n".join(" & ".join(row) for row in paper.rows)
    table = f"\\begin{{table}}\\caption{{Settings.}}\\begin{{tabular}}{{lcc}}\n\\toprule {rows} \\\\\n\\bottomrule\n"
    entries = "\n".join(f"\\bibitem{{k{n}}} {text}" for n, text in enumerate(paper.references))
    files = {
        "paper.tex": "\\documentclass{article}\n\\newcommand{\\mdl}{model}\n"
        f"\\title{{{paper.title}}}\n\\begin{{document}}\\maketitle\n"
        f"\\begin{{abstract}}{paper.abstract}\\end{{abstract}}\n"
        + "\n\n".join(body)
        + f"\n{table}\\end{{tabular}}\\end{{table}}\n\\bibliography{{refs}}\n\\end{{document}}\n",
        "paper.bbl": f"\\begin{{thebibliography}}{{9}}\n{entries}\n\\end{{thebibliography}}",
    }
    names = [line[13:-1] for line in body if line.startswith("\\input{parts/")]
    return files | {
        f"parts/{name.removeprefix('/')}.tex": text for name, text in zip(names, inner, strict=True)
    }


def archive_of(files: dict[str, str]) -> bytes:
    """The files as arXiv sends them."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return target.getvalue()


def as_html(paper: Paper) -> bytes:
    """What LaTeXML writes, with its classes and tags."""
    kinds = {1: "section", 2: "subsection", 3: "subsubsection"}
    out, opened = [], 0
    for part in paper.parts:
        while opened >= part.level:
            out.append("</section>")
            opened -= 1
        kind = "appendix" if part.number == "A" else kinds[part.level]
        tag = f"Appendix {part.number}" if part.number == "A" else part.number
        number = f'<span class="ltx_tag ltx_tag_{kind}">{tag} </span>' if part.number else ""
        head = f'<h{part.level + 1} class="ltx_title ltx_title_{kind}">{number}{html.escape(part.title)}</h{part.level + 1}>'
        text = f'<div class="ltx_para"><p class="ltx_p">{html.escape(part.text)}</p></div>'
        out.append(f'<section class="ltx_{kind}">{head}{text}')
        opened += 1
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in paper.rows)
    table = f'<figure class="ltx_table"><figcaption class="ltx_caption">Table 1: Settings.</figcaption><table>{cells}</table></figure>'
    entries = "".join(
        f'<li class="ltx_bibitem"><span class="ltx_tag ltx_tag_bibitem">[{n}]</span>'
        f'<span class="ltx_bibblock">{text}</span></li>'
        for n, text in enumerate(paper.references, 1)
    )
    return (
        "<!DOCTYPE html><html><head><meta charset='utf-8'><title>x</title></head><body><nav><h2>Menu</h2></nav>"
        f'<article class="ltx_document"><h1 class="ltx_title ltx_title_document">{paper.title}</h1>'
        f'<div class="ltx_abstract"><h6 class="ltx_title ltx_title_abstract">Abstract</h6><p class="ltx_p">{paper.abstract}</p></div>'
        + "".join(out)
        + "</section>" * opened
        + table
        + f'<section class="ltx_bibliography"><h2 class="ltx_title ltx_title_bibliography">References</h2><ul>{entries}</ul></section>'
        "</article></body></html>"
    ).encode()


def as_pdf(paper: Paper) -> bytes:
    """Two columns of Helvetica: headings bold and larger, page numbers, words divided at the end of a line."""
    lines: list[tuple[str, float, bool]] = [(paper.title, 17, True), ("A. Person and B. Other", 11, False)]
    lines += [("Abstract", 12, True), *_wrapped(paper.abstract)]
    for part in paper.parts:
        size = {1: 13, 2: 11.5, 3: 10}[part.level]
        lines += [(f"{part.number} {part.title}".strip(), size, True), *_wrapped(part.text)]
    lines += [("Table 1: Settings.", 10, False), *((" ".join(row), 10, False) for row in paper.rows)]
    lines += [("References", 13, True)]
    lines += [(f"[{n}] {text}", 10, False) for n, text in enumerate(paper.references, 1)]
    return _pdf(lines)


def _wrapped(text: str, width: int = 46) -> list[tuple[str, float, bool]]:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) + 1 <= width:
            line = f"{line} {word}".strip()
        elif len(word) > 6 and width - len(line) > 5:
            cut = min(width - len(line) - 2, len(word) - 3)
            lines.append(f"{line} {word[:cut]}-")
            line = word[cut:]
        else:
            lines.append(line)
            line = word
    return [(one, 10.0, False) for one in [*lines, line] if one]


def _pdf(lines: list[tuple[str, float, bool]]) -> bytes:
    pages: list[list[str]] = [[]]
    x, y = 60, 760.0
    for text, size, bold in lines:
        y -= size * (2.2 if bold else 1.2)
        if y < 70:
            x, y = (320, 760.0) if x == 60 else (60, 760.0)
            if x == 60:
                pages.append([])
        shown = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        font = "F2" if bold else "F1"
        pages[-1].append(f"BT /{font} {size} Tf 1 0 0 1 {x} {y:.1f} Tm ({shown}) Tj ET")
    for number, page in enumerate(pages, 1):
        page.append(f"BT /F1 9 Tf 1 0 0 1 300 40 Tm ({number}) Tj ET")
    return _file(["\n".join(page).encode() for page in pages])


def _file(streams: list[bytes]) -> bytes:
    """A PDF with a page for each stream."""
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    ]
    for number, stream in enumerate(streams):
        packed = zlib.compress(stream)
        fonts = "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >>"
        page = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {fonts} /Contents {6 + 2 * number} 0 R >>"
        )
        head = f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode()
        objects += [page.encode(), head + packed + b"\nendstream"]
    out = bytearray(b"%PDF-1.5\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += "".join(f"{place:010d} 00000 n \n" for place in places).encode()
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)
