"""LaTeX as papers write it: includes, comments, conditions, macros, labels, tables, equations."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from support.made_papers import archive_of

from ml_intern.documents import archive, latex
from ml_intern.documents.reading import document_of
from ml_intern.documents.recipe import extract
from ml_intern.documents.tex_text import plain
from ml_intern.errors import ToolError

DATA = Path(os.environ.get("PAPER_RECORDINGS") or Path(__file__).parents[3] / "shared" / "data")
SHARED = DATA / "latex_cleaner"


def _text(body: str, head: str = "") -> str:
    frame = "\\documentclass{article}" + head + "\\begin{document}\\section{S}\n" + body + "\n\\end{document}"
    return latex.read({"main.tex": frame}).sections[0].text


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("a \\emph{b \\textbf{c}} d", "a b c d"),
        ("100\\% of \\$5 \\& more\\_things", "100% of $5 & more_things"),
        ("``quoted'' --- and -- so~on", "“quoted” — and – so on"),
        ("Erd\\H{o}s, Poincar\\'e, na\\\"{\\i}ve, \\ss, \\o{}re", "Erdős, Poincaré, naïve, ß, øre"),
        ("see \\cite{a,b} and \\citep[p.~3]{c}", "see [a, b] and [c]"),
        ("x\\footnote{A note.} y", "x (note: A note.) y"),
        ("$a_1 \\times b$ and \\(c\\)", "$a_1 \\times b$ and $c$"),
        ("\\href{http://x.y}{the text}, \\textcolor{red}{loud}", "the text, loud"),
        ("\\vspace{1em}\\noindent Text \\label{l}here", "Text here"),
        ("\\begin{itemize}\\item one \\item[Two] three\\end{itemize}", "- one\n\n- Two three"),
        ("first\n\nsecond\nline", "first\n\nsecond line"),
    ],
)
def test_text(source: str, told: str) -> None:
    assert plain(source) == told


def test_comments_and_dead_branches_are_gone() -> None:
    body = (
        "Text% a comment\n more \\% kept\n% \\section{No}\n\\begin{comment}gone\\end{comment}"
        "\\iffalse dead \\iftrue deeper \\fi \\else alive\\fi\\iftrue{} yes\\else no\\fi"
    )
    assert _text(body) == "Textmore % kept alive yes"


def test_flags_of_the_paper() -> None:
    head = "\\newif\\iflong\\newif\\ifshort\\shorttrue"
    assert _text("\\iflong long \\fi\\ifshort short\\fi", head).split() == ["short"]


def test_macros_with_arguments_and_defaults() -> None:
    head = "\\newcommand{\\us}[1]{our \\emph{#1}}\\def\\it#1#2{#2 of #1}\\newcommand\\opt[2][dear]{#1 #2}"
    assert (
        _text("\\us{model}; \\it{a}{b}; \\opt{x}; \\opt[new]{y}", head) == "our model; b of a; dear x; new y"
    )


def test_a_macro_that_calls_itself_ends() -> None:
    began = time.process_time()
    assert _text("\\a text", "\\newcommand{\\a}{\\a\\a\\a\\a\\a\\a\\a\\a}").endswith("text")
    pairs = zip("abcdefg", "bcdefgh", strict=True)
    bomb = "".join("\\newcommand{\\m" + c + "}{" + f"\\m{n} " * 10 + "}" for c, n in pairs)
    _text("\\ma " * 2000, bomb)
    assert time.process_time() - began < 60


HOSTILE = (
    "\\footnote{", "\\iftrue ", "\\iffalse ", "\\begin{table}", "\\begin{equation}\\end{equation}", "\\(", "$", "$$", "\\[",
    "\\begin{comment}", "\\section{", "\\cite[", "{", "}", "\\textcolor{", "\\multicolumn{2}{c}{", "&", "\\\\", "\\input{x}",
    "\\newcommand{\\a}{", "\\caption{", "\\label{x}", "%", "\\'", "\\item[", "\\bibitem{",
)  # fmt: skip


LONGEST = ("\\item[", "\\cite[")
"""They take a second each; "\\(" stands for them in the short suite."""


@pytest.mark.parametrize(
    "piece",
    [pytest.param(piece, marks=pytest.mark.thorough if piece in LONGEST else ()) for piece in HOSTILE],
)
def test_what_is_repeated_without_end_is_read_in_bounded_time(piece: str) -> None:
    began = time.process_time()
    text = "\\documentclass{article}\\begin{document}\\section{S}" + piece * 20_000 + " end"
    extract(latex.read({"a.tex": text, "a.bbl": piece * 2_000}))
    assert time.process_time() - began < 20


def test_labels_show_the_numbers_that_latex_gives() -> None:
    body = (
        "See \\ref{two}, \\eqref{e}, Table~\\ref{t}, Figure~\\ref{f}, \\ref{app}, \\ref{none}.\n"
        "\\section{Two}\\label{two}\\begin{equation}x\\label{e}\\end{equation}\\[y\\]\\begin{align*}z\\end{align*}"
        "\\begin{figure}\\caption{A \\emph{curve}.}\\label{f}\\end{figure}"
        "\\begin{table}\\begin{tabular}{l}a\\\\\\end{tabular}\\caption{T}\\label{t}\\end{table}"
        "\\appendix\\section{App}\\subsection{Deep}\\label{app}"
    )
    text = "\\documentclass{article}\\begin{document}\\section{One}" + body + "\\end{document}"
    document = latex.read({"x.tex": text})
    assert document.sections[0].text == "See 2, (1), Table 1, Figure 1, A.1, none."
    assert [(e.number, e.tex) for e in document.equations] == [("1", "x"), ("", "y"), ("", "z")]
    assert [(f.number, f.caption, f.section) for f in document.figures] == [("1", "A curve.", 1)]
    assert [s.heading for s in document.sections] == ["1 One", "2 Two", "A App", "A.1 Deep"]


def test_cells_of_tables() -> None:
    rows = (
        "\\begin{tabular}{@{}l|cc@{}}\\toprule & \\multicolumn{2}{c}{\\textbf{Score}} \\\\ \\cmidrule(lr){2-3}\n"
        "Name \\& co & A & B \\\\[2pt] \\midrule \\multirow{2}{*}{ours} & $1.0_{\\pm .1}$ & 2\\% \\\\ \\hline\n"
        "\\end{tabular}"
    )
    assert latex.tabular(rows) == [
        ["", "Score", ""],
        ["Name & co", "A", "B"],
        ["ours", "$1.0_{\\pm .1}$", "2%"],
    ]


def test_includes_are_followed_not_twice_round_and_told_when_missing() -> None:
    files = {
        "src/main.tex": "\\documentclass{book}\\begin{document}\\chapter{C}\\input{a}\\include{b.tex}"
        "\\input{nowhere}\\end{document}",
        "src/a.tex": "\\section{From a}\\input{a}\\input{sub/c}",
        "src/b.tex": "\\section{From b}",
        "src/sub/c.tex": "\\subsection{From c}",
        "other.tex": "\\section{Not included}",
    }
    document = latex.read(files)
    assert [s.heading for s in document.sections] == ["1 C", "1.1 From a", "1.1.1 From c", "1.2 From b"]
    assert "nowhere" in document.notes[0]


def _tar(members: list[tarfile.TarInfo], data: bytes = b"\\section{X}", mode: str = "w:gz") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as made:  # type: ignore[call-overload]
        for member in members:
            member.size = len(data) if member.isreg() else 0
            made.addfile(member, io.BytesIO(data))
    return target.getvalue()


def test_nothing_outside_of_an_archive_is_read_or_written(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link.tex")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("hard.tex")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../etc/passwd"
    device = tarfile.TarInfo("null.tex")
    device.type = tarfile.CHRTYPE
    names = [tarfile.TarInfo(n) for n in ("../up.tex", "/abs.tex", "a/../../b.tex", "fine/ok.tex", "x.png")]
    assert list(archive.files(_tar([link, hard, device, *names]))) == ["fine/ok.tex"]
    text = (
        "\\documentclass{article}\\begin{document}\\section{S}\\input{/etc/passwd}\\input{../../../etc/hosts}"
    )
    document = latex.read({"m.tex": text})
    assert "root" not in document.sections[0].text and "/etc/passwd" in document.notes[0]


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_UNPACKED", 1 << 20)
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 19)
    with pytest.raises(ToolError, match="unpacks to more"):
        archive.files(_tar([tarfile.TarInfo("a.tex")], b"0" * (4 << 20)))
    with pytest.raises(ToolError, match="larger than"):
        archive.files(_tar([tarfile.TarInfo("a.tex")], b"0" * (1 << 19) + b"0", "w"))


def test_one_file_and_a_pdf_as_the_source() -> None:
    import gzip

    assert list(archive.files(gzip.compress(b"\\section{X}"))) == ["main.tex"]
    assert list(archive.files("\\section{\u00e9}".encode("latin-1"))) == ["main.tex"]
    with pytest.raises(ToolError, match="is a PDF"):
        archive.files(gzip.compress(b"%PDF-1.4 ..."))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public LaTeX sample is not at hand")
def test_a_sample_made_to_confuse_cleaners() -> None:
    files = {str(f.relative_to(SHARED)): f.read_text() for f in SHARED.rglob("*.*") if f.is_file()}
    text = latex.read(files).sections[0].text
    for told in ("This is a percent %.", "Expect me (else block of iffalse)!", "Expect me (iftrue block)!"):
        assert told in text
    for gone in ("comment", "I shall be gone", "asdf", "This should be ignored", "not_included"):
        assert gone not in text
    assert "hello test hello test hello test" in text and "should" in text


ALIVE = {
    "Stays one": "Text\n% Whole line comment\n",
    "Stays two": "This line should",
    "Stays three": "Expect me (else block of iffalse)!",
    "Stays four": "Expect me (iftrue block)!",
    "Stays five": "hello test \\red{hello",
}
"""Headings that are put before what stands in the sample, and stay as that does."""
DEAD = {
    "Gone one": "This is an environment comment.",
    "Gone two": "I shall be gone (iffalse block)!",
    "Gone three": "I shall be gone (else block of iftrue)!",
    "Gone four": "asdf",
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public LaTeX sample is not at hand")
def test_sections_of_the_sample_are_found_and_dead_ones_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    files = {str(f.relative_to(SHARED)): f.read_text() for f in SHARED.rglob("*.*") if f.is_file()}
    for title, before in {**ALIVE, **DEAD}.items():
        assert files["main.tex"].count(before) >= 1, before
        files["main.tex"] = files["main.tex"].replace(before, f"\\section{{{title}}} {before}", 1)
    files["figures/figure_included.tex"] += "\n\\subsection{Stays included}\n"
    files["figures/figure_not_included.tex"] += "\n\\section{Gone not included}\n"
    found = [section.title for section in document_of(archive_of(files)).sections]
    wanted = [*ALIVE, "Stays included"]
    with capsys.disabled():
        print(
            f"\nsections of the LaTeX sample: {sum(t in found for t in wanted)} of {len(wanted)} found",
            end="",
        )
    assert [title for title in found if title in wanted] == wanted
    assert not [title for title in found if title.startswith("Gone")]
