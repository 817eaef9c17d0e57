"""Run an example from its sentence to its results: ledger, curves, notebook, the tables of its README.

python examples/run.py STORY|all [--size small|full] [--into DIR] [--keep FOLDER] [--beside N]
python examples/run.py STORY|all --tables

A story is a folder with a `playbook.md` and a `story.toml`. Its results go to `STORY/results/SIZE`, and its
README gets its tables anew, where `--into` names no other place. Only what everybody can use is used here:
the Python interface and the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from ml_intern import MLIntern, RunResult

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- results -->", "<!-- end -->"
HEADER = ("story", "compared", "before", "after [95 %]", "gain [95 %]", "experiments", "seconds")
USUAL = ("greedy", "majority")
"""What votes are held against."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """An example's `story.toml`, of one size.

    Attributes:
        name: Of its folder.
        folder: Where its playbook is.
        size: ``small`` or ``full``.
        title: What it is about, in a few words.
        sentence: What a person types.
        eval: The evaluation that decides, as `--eval` takes it; it may name files that `data` writes.
        data: Script of the folder with its arguments; it writes files where it is run. Empty: none is needed.
        curve: The metric whose curves are drawn.
        library: Folder of pages that stands in for the services that know papers. Empty: they are asked.
        settings: Any further settings.
    """

    name: str
    folder: Path
    size: str
    title: str
    sentence: str
    eval: str
    data: str
    curve: str
    library: str
    settings: Row

    @classmethod
    def read(cls, folder: Path, size: str) -> Story:
        """Read a folder's story; what the table of the size says goes before what stands on top."""
        told = tomllib.loads((folder / "story.toml").read_text(encoding="utf-8"))
        own = {**told, **told.get(size, {})}
        texts = {key: own.get(key, "") for key in ("title", "sentence", "eval", "data", "library")}
        settings = {**told.get("settings", {}), **told.get(size, {}).get("settings", {})}
        curve = own.get("curve", "loss")
        return cls(folder.name, folder, size, curve=curve, settings=settings, **texts)


def stories() -> list[Path]:
    """The folders of all stories."""
    return sorted(path.parent for path in HERE.glob("*/story.toml"))


def play(story: Story, room: Path, into: Path) -> dict[str, Any]:
    """Play a story in a folder of its own and write its results.

    Args:
        story: What to play.
        room: The folder; data, state and workspace lie there.
        into: Where the results go.

    Returns:
        The exported ledger.

    Raises:
        RuntimeError: The session did not end as done.
    """
    if story.data:
        script, *arguments = story.data.split()
        subprocess.run([sys.executable, str(story.folder / script), *arguments], cwd=room, check=True)
    given = {"playbooks": [story.folder], "hub": "embedded", "state": room / "state", **story.settings}
    if story.eval:
        given["eval"] = story.eval
    began = time.monotonic()
    with chdir(room), served(story) as mirrors, MLIntern("playbook:", **given, **mirrors) as intern:
        for event in intern.stream(story.sentence):
            if event.kind in ("CellOutput", "Notice"):
                print(f"{time.monotonic() - began:6.0f} s  {event.to_json()['text'].rstrip()}", flush=True)
    result = intern.last
    if result.status != "done":
        raise RuntimeError(
            f"{story.name} ended as {result.status}: {' '.join(result.errors) or result.answer}"
        )
    return write_results(story, result, room, into)


PAPERS = ("semantic-scholar", "arxiv", "arxiv-site", "huggingface", "openalex")


class _Pages(SimpleHTTPRequestHandler):
    """A file for each address, whatever is asked behind it: `/html/ID` is the file `html/ID.html`."""

    def translate_path(self, path: str) -> str:
        found = Path(super().translate_path(path))
        named = (found.with_name(found.name + end) for end in (".html", ".json"))
        return str(next((file for file in named if file.is_file()), found))

    def log_message(self, format: str, *args: object) -> None:
        """Requests are in the session's journal."""


@contextmanager
def served(story: Story) -> Iterator[dict[str, Any]]:
    """Serve a story's library on this machine; the setting that names it in place of the services."""
    if not story.library:
        yield {}
        return
    pages = partial(_Pages, directory=str(story.folder / story.library))
    with ThreadingHTTPServer(("127.0.0.1", 0), pages) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield {"web_mirrors": dict.fromkeys(PAPERS, url)}
        server.shutdown()


def write_results(story: Story, result: RunResult, room: Path, into: Path) -> dict[str, Any]:
    """Ledger, notebook and pictures of a session, without a folder of this machine."""
    into.mkdir(parents=True, exist_ok=True)
    ledger = _placeless(_ml_intern("experiments", result.session, "--json", "--state", room / "state"), room)
    notebook = _ml_intern("export", result.session, "--format", "notebook", "--state", room / "state")
    found: dict[str, Any] = {"story": story.name, "size": story.size, **json.loads(ledger)}
    (into / "ledger.json").write_text(_json(found), encoding="utf-8")
    (into / "session.ipynb").write_text(_placeless(notebook, room), encoding="utf-8")
    if story.curve in result.metrics:
        result.curves(story.curve).save(into / "curves.svg")
    if any(e.dev for e in result.ledger):
        result.plot().save(into / "intervals.svg")
    return found


def _ml_intern(*words: object) -> str:
    command = [sys.executable, "-m", "ml_intern", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _placeless(text: str, room: Path) -> str:
    """The text with the folders of this machine as a reader's own."""
    places = {room: ".", HERE.parent: "ml-intern", Path(sys.prefix): "~/.venv", Path.home(): "~"}
    for place, shown in places.items():
        text = re.sub(re.escape(str(place)) + r"(?![\w-])", shown, text)
    return text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


# Tables


def render(ledger: Row) -> str:
    """What stands between the marks of a README, from an exported ledger and nothing else."""
    parts = [
        _table(*_experiments(ledger)),
        *map(_votes, _voted(ledger)),
        *_confirmed(ledger),
        *_tested(ledger),
    ]
    return "\n\n".join([*parts, _cost(ledger)])


def _experiments(ledger: Row) -> tuple[list[str], list[list[str]]]:
    own = [e for e in ledger["experiments"] if not e["replicates"]]
    changes = [e["change"] for e in own]
    rows = [
        [
            e["id"],
            e["change"] + f", seed {e['seed']}" * (changes.count(e["change"]) > 1),
            e["verdict"],
            _metrics(e["dev"], e["primary"]),
            _against(e, ledger),
            _seconds(e),
        ]
        for e in own
    ]
    return ["run", "what is new", "verdict", "dev [95 %]", "against its parent [95 %]", "seconds"], rows


def _metrics(measured: Row, primary: str | None) -> str:
    names = sorted(measured, key=lambda name: name != primary)
    return "<br>".join(f"{name} {interval(measured[name])}" for name in names)


def interval(m: Row) -> str:
    """A value with its interval."""
    return f"{m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]"


def gain(c: Row) -> str:
    """The difference of a comparison with its interval."""
    return f"{c['difference']:+.3f} [{c['low']:+.3f}, {c['high']:+.3f}]"


def _against(e: Row, ledger: Row) -> str:
    own = [c for c in ledger["comparisons"] if c["b"] == e["id"] and c["metric"] == e["primary"]]
    found = next((c for c in reversed(own) if c["a"] == e["parent"]), own[-1] if own else None)
    if found is None:
        return ""
    other = "" if found["a"] == e["parent"] else f" than {found['a']}"
    return f"{gain(found)} {found['verdict']}{other}"


def _seconds(e: Row) -> str:
    return f"{e['cost']['seconds']:.0f}"


def _voted(ledger: Row) -> list[Row]:
    """One scoring for each set of samples: all choices among them are in each."""
    found = [s for s in ledger["scorings"] if s["voting"]]
    samples = [(s["eval"], s["split"], s["weights"], s["inference"]["n"]) for s in found]
    return [s for place, s in enumerate(found) if samples.index(samples[place]) == place]


def _votes(scoring: Row) -> str:
    voting, how = scoring["voting"], scoring["inference"]
    apart = {(c["method"], c["against"]): f"{gain(c)} {c['verdict']}" for c in voting["comparisons"]}
    rows = [
        [name.replace("_", " "), interval(m), *(apart.get((name, other), "") for other in USUAL)]
        for name, m in voting["methods"].items()
    ]
    title = f"{how['model']}, {scoring['split']}, {how['n']} samples a question"
    header = [title, f"{scoring['primary']} [95 %]", *(f"against {other} [95 %]" for other in USUAL)]
    return _table(header, rows)


def _confirmed(ledger: Row) -> Iterator[str]:
    for c in ledger["comparisons"]:
        if c["confirmed"] is not None:
            yield (
                f"{c['b']} against {c['a']} on {c['seeds_b']} seeds, {c['new_seeds']} of them new: "
                f"{c['metric']} {c['value_a']:.3f} became {c['value_b']:.3f}, a gain of {gain(c)}, "
                f"{'confirmed' if c['confirmed'] else 'not confirmed'}."
            )


def _tested(ledger: Row) -> Iterator[str]:
    for e in ledger["experiments"]:
        if e["test"]:
            n = next(iter(e["test"].values()))["n"]
            told = _metrics(e["test"], e["primary"]).replace("<br>", ", ")
            yield f"Sealed test, {n} items: {e['id']} {told}."


def _cost(ledger: Row) -> str:
    spent, jobs = ledger["spent"], len(ledger["jobs"])
    return f"It took {spent.get('seconds', 0):.0f} seconds with {jobs} jobs, and ${spent.get('usd', 0):.2f}."


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def rewrite(readme: str, ledger: Row) -> str:
    """A README with its tables anew."""
    before, _, rest = readme.partition(BEGIN)
    if not rest:
        return readme
    return f"{before}{BEGIN}\n{render(ledger)}\n{END}{rest.partition(END)[2]}"


def headline(ledger: Row) -> list[str]:
    """One row of the table of all stories: what won or was asked, against what, by how much."""
    by_id = {e["id"]: e for e in ledger["experiments"]}
    best = next((e for e in by_id.values() if e["frozen"]), by_id.get(ledger["best"] or ""))
    own = [c for c in ledger["comparisons"] if best and c["b"] == best["id"]]
    found = own[::-1] or ledger["comparisons"]  # where nothing won, what was asked on most seeds
    ends = [str(len(by_id)), f"{ledger['spent'].get('seconds', 0):.0f}"]
    if not found:
        return [ledger["story"], best["change"] if best else "", "", "", "", *ends]
    c = next((c for c in found if c["confirmed"] is not None), None) or max(found, key=_seeds)
    a, b, metric = by_id[c["a"]], by_id[c["b"]], c["metric"]
    sure = "confirmed" if c["confirmed"] else c["verdict"]
    before = f"{metric} {a['dev'][metric]['value']:.3f}"
    told = f"{b['change']}, against {a['change']}"
    return [ledger["story"], told, before, interval(b["dev"][metric]), f"{gain(c)} {sure}", *ends]


def _seeds(c: Row) -> int:
    return min(c["seeds_a"], c["seeds_b"])


def one(folder: Path, given: argparse.Namespace) -> list[str]:
    """Play a story; its row of the table, which says what went wrong where something did."""
    if given.tables:
        ledger = _results(folder, given)
        if not given.into:
            _rewrite(folder / "README.md", ledger)
        return headline(ledger)
    story = Story.read(folder, given.size)
    into = _into(folder, given)
    began = time.monotonic()
    print(f"== {story.name}: {story.sentence}", flush=True)
    try:
        if given.keep:
            room = given.keep / folder.name
            room.mkdir(parents=True)
            ledger = play(story, room, into)
        else:
            with tempfile.TemporaryDirectory(prefix=f"{folder.name}-") as made:
                ledger = play(story, Path(made).resolve(), into)
    except Exception as error:  # noqa: BLE001 - a story that fails does not end the others; its row says why
        return [story.name, f"failed: {error}", "", "", "", "", f"{time.monotonic() - began:.0f}"]
    if not given.into and given.size == "small":
        _rewrite(folder / "README.md", ledger)
    return headline(ledger)


def apart(folder: Path, given: argparse.Namespace) -> list[str]:
    """The same in a process of its own, so that another story can be played meanwhile."""
    options = {"--size": given.size, "--into": given.into, "--keep": given.keep}
    words = [str(word) for name, value in options.items() if value for word in (name, value)]
    command = [sys.executable, __file__, str(folder), *words]
    began, last = time.monotonic(), ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        for last in child.stdout or ():
            if not last.startswith("|"):  # its own table of one row
                print(f"{folder.name}: {last}" if last.strip() else "", end="", flush=True)
    if child.returncode == 0:
        return headline(_results(folder, given))
    failed = last.partition("| failed: ")[2].partition(" |")[0] or f"exit code {child.returncode}"
    return [folder.name, f"failed: {failed}", "", "", "", "", f"{time.monotonic() - began:.0f}"]


def _results(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    ledger: dict[str, Any] = json.loads((_into(folder, given) / "ledger.json").read_text(encoding="utf-8"))
    return ledger


def _into(folder: Path, given: argparse.Namespace) -> Path:
    return given.into / folder.name if given.into else folder / "results" / given.size


def _rewrite(readme: Path, ledger: Row) -> None:
    if readme.is_file():
        readme.write_text(rewrite(readme.read_text(encoding="utf-8"), ledger), encoding="utf-8")


def main() -> int:
    """Play what was asked for and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("story", help="name of a folder beside this file, a path of one, or all")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--into", type=Path, help="folder for the results; the README stays as it is")
    parser.add_argument(
        "--beside", type=int, default=2, help="of all, so many at a time: one alone leaves cores idle"
    )
    parser.add_argument("--keep", type=Path, help="new folder that keeps data and session")
    parser.add_argument(
        "--tables", action="store_true", help="only write tables anew, of results that are there"
    )
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given.keep, given.into = (p.absolute() if p else None for p in (given.keep, given.into))
    folder = (
        HERE / given.story if (HERE / given.story / "story.toml").is_file() else Path(given.story).absolute()
    )
    chosen = stories() if given.story == "all" else [folder]
    for path in chosen:
        if not (path / "story.toml").is_file():
            names = ", ".join(known.name for known in stories())
            parser.error(f"There is no story {given.story!r}. Name one of: {names}, or all.")
        if given.tables and not (_into(path, given) / "ledger.json").is_file():
            parser.error(f"{path.name} has no results of size {given.size} yet. Run it without --tables.")
    if len(chosen) > 1 and given.beside > 1 and not given.tables:
        with ThreadPoolExecutor(given.beside) as pool:
            rows = list(pool.map(partial(apart, given=given), chosen))
    else:
        rows = [one(path, given) for path in chosen]
    print("\n" + _table([*HEADER], rows))
    return int(any(row[1].startswith("failed: ") for row in rows))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Interrupted. Jobs that were started run to their end.", file=sys.stderr)
        sys.exit(130)
