"""Completion in a shell: click's own mechanism, with the routing of `ml_intern.cli.main` before it.

The first word is a subcommand or the first word of a prompt, and prompts are sentences: those that playbooks
understand are completed word by word, or as a whole behind an opening quote. A Tab must be quick, so nothing
here reads settings or playbooks with the machinery that a run has.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

if TYPE_CHECKING:
    Item = CompletionItem[str]

VARIABLE = "_ML_INTERN_COMPLETE"
SESSIONS = 30
"""The newest sessions are offered, so many."""
_FILES = frozenset({"source", "model", "dataset", "data", "file", "path"})
"""Slots of sentences that a file may fill."""


def answer(front: click.Group, asked: str) -> int:
    """Answer a shell that asks through the environment: ``bash_source`` or ``bash_complete``."""
    shell, _, what = asked.partition("_")
    kind = SHELLS.get(shell)
    if kind is None:
        return 1
    asking = kind(front, {}, "ml-intern", VARIABLE)
    click.echo(asking.source() if what == "source" else asking.complete())
    return 0


class _Routed(ShellComplete):
    """Completes what the words mean after they are routed."""

    def get_completions(self, args: list[str], incomplete: str) -> list[Item]:
        """What may stand in the place of the incomplete word."""
        from ml_intern.cli.main import free_words

        if "=" in incomplete and incomplete.startswith("--"):
            return self._of_click(args, incomplete)
        places = free_words(args)
        first = args[places[0]] if places else ""
        if first in self.cli.commands or incomplete.startswith("-") or _wants_value(args):  # type: ignore[attr-defined]
            return self._of_click(args, incomplete)
        said = [args[place] for place in places]
        offered = list(_sentences(said, incomplete, quoted=self._quoted()))
        if places:
            return offered
        return [*self._commands(incomplete), *(o for o in offered if o.value not in self.cli.commands)]  # type: ignore[attr-defined]

    def _of_click(self, args: list[str], incomplete: str) -> list[Item]:
        from ml_intern.cli.main import moved

        return super().get_completions(moved(args), incomplete)

    def _commands(self, incomplete: str) -> Iterator[Item]:
        for name, command in self.cli.commands.items():  # type: ignore[attr-defined]
            if name.startswith(incomplete) and not command.hidden:
                yield CompletionItem(name, help=command.get_short_help_str(60))

    def _quoted(self) -> bool:
        """Whether the person has opened a quote."""
        asked, place = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "")
        last = re.split(r"(?<!\\)\s(?=[\"'])", asked)[-1] if place.isdigit() else place
        return last.startswith(("'", '"')) and last.count(last[0]) == 1


class _Bash(_Routed, BashComplete):
    pass


class _Zsh(_Routed, ZshComplete):
    pass


class _Fish(_Routed, FishComplete):
    pass


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def _wants_value(args: Sequence[str]) -> bool:
    from ml_intern.cli.main import with_value

    return bool(args) and args[-1] in with_value() and "--" not in args


# Sentences.


def _sentences(said: list[str], incomplete: str, quoted: bool) -> Iterator[Item]:
    """The next words of the sentences that playbooks understand; behind a quote, the rest of them."""
    if quoted or " " in incomplete:
        yield from _whole(incomplete) if not said else ()
        return
    offered: dict[str, str] = {}
    files = False
    for word, _, summary in _following(said):
        slot = word.startswith("{")
        files = files or (slot and word.strip("{},") in _FILES)
        if not slot and word.startswith(incomplete):
            offered.setdefault(word.rstrip(","), summary)
    yield from (CompletionItem(word, help=summary) for word, summary in offered.items())
    if files and not offered:
        yield CompletionItem(incomplete, type="file")


def _whole(incomplete: str) -> Iterator[Item]:
    """Sentences up to their next slot, and once more with what stands there.

    The second one keeps a shell that has only one to choose from closing the quote.
    """
    begun = incomplete.split(" ")
    offered: dict[str, None] = {}
    for word, words, _ in _following(begun[:-1]):
        if not word.startswith("{") and word.startswith(begun[-1]):
            rest = words[words.index(word) :]
            slots = [i for i, w in enumerate(rest) if w.startswith("{")]
            upto = " ".join([*begun[:-1], *rest[: slots[0] if slots else None]])
            offered[f"{upto} " if slots else upto] = None
            if slots:
                offered[f"{upto} <{rest[slots[0]].strip('{},')}>"] = None
    yield from (CompletionItem(text) for text in offered)


def _next(words: Sequence[str], said: Sequence[str]) -> Iterator[tuple[str, int]]:
    """What may follow in a sentence after the words that were said, and how many of them were its own.

    A slot takes one word or more.
    """
    places = {(0, False): 0}
    for word in said:
        further: dict[tuple[int, bool], int] = {}
        for (at, _), own in places.items():
            for place, literal in _step(words, at, word):
                further[place] = max(further.get(place, 0), own + literal)
        places = further
    for (at, inside), own in sorted(places.items()):
        if at < len(words) and not inside:
            yield words[at], own


def _step(words: Sequence[str], at: int, word: str) -> Iterator[tuple[tuple[int, bool], int]]:
    if at >= len(words):
        return
    if words[at].startswith("{"):
        yield from (((at, True), 0), ((at + 1, False), 0))
    elif words[at].rstrip(",").lower() == word.rstrip(",").lower():
        yield (at + 1, False), 1


def _following(said: Sequence[str]) -> list[tuple[str, list[str], str]]:
    """Next words with their sentences and what these do; where a slot could be more or less, it is less."""
    found = [(own, word, words, summary) for words, summary in patterns() for word, own in _next(words, said)]
    most = max((own for own, *_ in found), default=0)
    return [(word, words, summary) for own, word, words, summary in found if own == most]


def patterns() -> list[tuple[list[str], str]]:
    """Every way to say a sentence of a playbook, cut into words, with what the playbook does."""
    found = []
    for folder in [
        *map(Path, _setting("playbooks") or []),
        Path(__file__).parents[1] / "prompts" / "playbooks",
    ]:
        for path in sorted(folder.expanduser().glob("*.md")):
            head = _head(path)
            for sentence in head.get("sentences") or []:
                text = sentence.get("pattern", "") if isinstance(sentence, dict) else str(sentence)
                found += [(words, str(head.get("summary", ""))) for words in ways(text)]
    return found


def _head(path: Path) -> dict[str, Any]:
    import yaml

    try:
        head = yaml.load(path.read_text(encoding="utf-8").split("---")[1], _quick_loader())
    except (OSError, IndexError, ValueError, yaml.YAMLError):
        return {}
    return head if isinstance(head, dict) else {}


def _quick_loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def ways(pattern: str) -> list[list[str]]:
    """A pattern with its optional parts and choices written out, the longest first.

    ``say hello to {name} [{times} times]`` has two.
    """
    pieces = re.findall(r"\[[^\[\]]*\]|\([^()]*\)|[^\[\]()]+", pattern)
    options = [
        [piece[1:-1], ""] if piece[0] == "[" else piece[1:-1].split("|") if piece[0] == "(" else [piece]
        for piece in pieces
    ]
    # Choices inside of an optional part are written out in a second round.
    texts = ["".join(way) for way in product(*options)]
    if any("(" in text or "[" in text for text in texts):
        return [words for text in texts for words in ways(text)]
    return [re.sub(r"\s+,", ",", text).split() for text in texts]


# Sessions.


def complete_session(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
    """The newest sessions that begin so."""
    return [
        CompletionItem(folder.name, help=prompt)
        for folder, prompt in newest(ctx)
        if folder.name.startswith(incomplete)
    ]


def complete_jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
    """The newest sessions, and the jobs of the one that was named or is the newest that has any."""
    from ml_intern.cli.jobs import job_ids

    given = (ctx.params.get(param.name or "") or ())[:1]
    sessions = list(newest(ctx))
    named = [folder for folder, _ in sessions if given and folder.name == given[0]]
    jobs = next((ids for folder in named or [f for f, _ in sessions] if (ids := job_ids(folder))), [])
    items = [CompletionItem(job, help="job") for job in jobs if job.startswith(incomplete)]
    return items if given else [*items, *complete_session(ctx, param, incomplete)]


def newest(ctx: click.Context) -> Iterator[tuple[Path, str]]:
    """The folders of the newest sessions, with their prompts."""
    root = _state(ctx) / "sessions"
    for folder in sorted(root.glob("*"), reverse=True)[:SESSIONS]:
        try:
            prompt = json.loads((folder / "session.json").read_text(encoding="utf-8"))["prompt"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        yield folder, " ".join(str(prompt).split())[:60]


def complete_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
    """Files, as the shell itself completes them."""
    return [CompletionItem(incomplete, type="file")]


def one_of(*words: str) -> Any:
    """A completion of fixed words; behind a comma once more."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [
            CompletionItem(f"{before}{comma}{word}")
            for word in words
            if word.startswith(last) and word not in given
        ]

    return complete


def _state(ctx: click.Context) -> Path:
    given = ctx.params.get("state") or os.environ.get("ML_INTERN_STATE") or _setting("state")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_path("ml-intern"))


def _setting(name: str) -> Any:
    """A setting of the project's file, else of the person's own; a file that is broken has none."""
    import platformdirs

    for folder in (Path.cwd(), Path(platformdirs.user_config_path("ml-intern"))):
        try:
            found = tomllib.loads((folder / "ml-intern.toml").read_text(encoding="utf-8")).get(name)
        except (OSError, ValueError):
            continue
        if found is not None:
            return found
    return None


def script(shell: str | None) -> str:
    """The script that a shell reads; that of the person's own shell where none is named.

    Raises:
        UsageError: No shell is named, and ``$SHELL`` is none of those that are known.
    """
    from ml_intern.cli.arguments import front
    from ml_intern.errors import UsageError

    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise UsageError("For which shell?", f"Name one: ml-intern completion {'|'.join(SHELLS)}")
    return SHELLS[name](front, {}, "ml-intern", VARIABLE).source()
