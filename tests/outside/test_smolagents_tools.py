"""smolagents tools in a person's folder pass the same router and gate."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from outside_kit import Make

from ml_intern.errors import UsageError
from ml_intern.router.registry import load_tools
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec

pytest.importorskip("smolagents")

FILE = '''
from pathlib import Path

from smolagents import Tool, tool

class Lookup(Tool):
    name = "lookup_word"
    description = "Looks a word up.\\nIn a book."
    inputs = {
        "word": {"type": "string", "description": "the word"},
        "pages": {"type": "integer", "description": "how many", "nullable": True},
    }
    output_type = "string"
    effect = "read"

    def forward(self, word: str, pages: int | None = 2) -> str:
        return f"{word} on {pages} pages"

class NeedsKey(Tool):
    name = "needs_key"
    description = "Needs a key."
    inputs = {}
    output_type = "object"
    effect = "read"

    def __init__(self, key):
        super().__init__()
        self.key = key

    def forward(self) -> dict:
        return {"key": self.key, "when": object()}

mine = NeedsKey("k1")

@tool
def send_mail(to: str, urgent: bool = False) -> str:
    """Sends a mail.

    Args:
        to: Whom.
        urgent: Now.
    """
    with Path(__file__).with_suffix(".calls").open("a") as calls:
        calls.write(to)
    if to == "nobody":
        raise ConnectionError("no such host\\nat all")
    return "sent"

@tool
def buy(what: str) -> str:
    """Buys.

    Args:
        what: What.
    """
    return what

buy.effect = "compute"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mytools").mkdir()
    return tmp_path / "mytools"


def load(folder: Path, text: str = FILE) -> dict[str, ToolSpec]:
    (folder / "words.py").write_text(text)
    return {s.name: s for s in load_tools(Settings.load(tools=[folder])) if s.origin != "ml_intern"}


def test_objects_classes_and_functions_are_found(folder: Path) -> None:
    specs = load(folder)
    assert {*specs} == {"lookup_word", "needs_key", "send_mail", "buy"}
    assert {s.origin for s in specs.values()} == {"smolagents"}
    lookup = specs["lookup_word"]
    assert lookup.signature == "lookup_word(word: str, pages: int = None)"
    assert lookup.summary == "smolagents tool 'lookup_word' says: \"Looks a word up. In a book.\""
    assert lookup.subject == "words" and 'word: "the word"' in lookup.help
    assert [specs[n].effect for n in ("lookup_word", "send_mail", "buy")] == ["read", "destroy", "compute"]


def test_they_are_called_through_the_router(folder: Path, make: Make) -> None:
    router = make([*load(folder).values()])
    assert router.call("lookup_word", {"word": "tree"}).value == "tree on 2 pages"
    assert router.call("lookup_word", {"word": "tree", "pages": 3}).value == "tree on 3 pages"
    assert "did you mean 'word'" in router.call("lookup_word", {"wrd": "tree"}).message
    odd = router.call("needs_key", {}).value  # an object that JSON does not know comes as text
    assert odd["kind"] == "dict" and "k1" in odd["text"]


def test_undeclared_effects_are_asked_about_and_unknown_prices_too(folder: Path, make: Make) -> None:
    specs = [*load(folder).values()]
    assert make(specs, yes=["publish"]).call("send_mail", {"to": "ann"}).denied
    assert make(specs, yes=["destroy"]).call("send_mail", {"to": "ann"}).value == "sent"
    assert "price" in make(specs).call("buy", {"what": "time"}).message
    priced = [*load(folder, FILE + "buy.price_usd = 2.0\n").values()]
    router = make(priced, budget="5 usd")
    assert [router.call("buy", {"what": "x"}).ok for _ in range(3)] == [True, True, False]


def test_what_acts_is_not_tried_again_after_a_failure(folder: Path, make: Make) -> None:
    specs = load(folder)
    outcome = make([*specs.values()], yes=["destroy"]).call("send_mail", {"to": "nobody"})
    assert outcome.message == "send_mail failed: ConnectionError: no such host at all."
    assert (folder / "words.calls").read_text() == "nobody"


def test_a_taken_name_gets_the_files_name_before_it(folder: Path) -> None:
    text = "from smolagents import tool\n"
    for name in ("read_file", "print", "final_answer"):
        text += f'@tool\ndef {name}(a: str) -> str:\n    """X.\n\n    Args:\n        a: A.\n    """\n    return a\n'
    assert {*load(folder, text)} == {"words_read_file", "words_print", "words_final_answer"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            'send_mail.effect = "raed"',
            "not one of read, write, compute, publish, destroy (did you mean 'read'?)",
        ),
        ('send_mail.price_usd = "free"', "has the price 'free'"),
        (
            'class Bad(Lookup):\n    def __init__(self):\n        raise OSError("no disk")',
            "Bad() failed: OSError: no disk",
        ),
    ],
)
def test_a_file_that_is_wrong_is_one_line(folder: Path, more: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(folder, f"{FILE}\n{more}\n")
    assert told in str(caught.value) and "words.py" in str(caught.value) and "\n" not in str(caught.value)


def test_imported_classes_are_no_tools_and_native_ones_stay(folder: Path) -> None:
    text = (
        "from smolagents import Tool, FinalAnswerTool\nfrom ml_intern import tool\n"
        '@tool(effect="read")\ndef mine(ctx, a: int) -> int:\n    """Mine."""\n    return a\n'
    )
    specs = load(folder, text)
    assert {*specs} == {"mine"} and specs["mine"].origin == "user" and specs["mine"].summary == "Mine."


def test_a_call_waits_for_the_one_before_and_leaves_with_the_run(folder: Path, make: Make) -> None:
    text = f'''
import time
from pathlib import Path
from smolagents import tool
@tool
def slow(seconds: int) -> str:
    """Slow.

    Args:
        seconds: S.
    """
    Path({str(folder / "begun")!r}).touch()
    while seconds and not Path({str(folder / "go")!r}).exists():
        time.sleep(0.02)
    return "done"
slow.effect = "read"
'''
    router = make([*load(folder, text).values()])
    outcomes: list[Any] = []
    calls = [
        threading.Thread(target=lambda s=s: outcomes.append(router.call("slow", {"seconds": s})))
        for s in (3, 0)
    ]
    calls[0].start()
    while not (folder / "begun").exists():
        time.sleep(0.02)
    calls[1].start()
    time.sleep(0.3)  # so that it waits; where it does not yet, it is stopped all the same
    router.interrupted.set()
    calls[1].join(100)
    assert not calls[1].is_alive() and "stopped" in outcomes[0].message
    (folder / "go").touch()
    calls[0].join()


def test_a_picture_is_a_path_that_may_be_read(folder: Path, make: Make, tmp_path: Path) -> None:
    text = """
from smolagents import Tool
class Size(Tool):
    name = "size"
    description = "Size of a picture."
    inputs = {"picture": {"type": "image", "description": "P."}}
    output_type = "integer"
    effect = "read"
    skip_forward_signature_validation = True
    def forward(self, picture):
        return len(open(picture, "rb").read())
"""
    router = make([*load(folder, text).values()])
    (tmp_path / "workspace" / "a.png").write_bytes(b"12345")
    (tmp_path / "secret").write_bytes(b"1")
    assert router.call("size", {"picture": "a.png"}).value == 5
    assert not router.call("size", {"picture": str(tmp_path / "secret")}).ok
