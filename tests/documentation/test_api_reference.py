"""References of what is installed, through the tool and a real interpreter."""

from __future__ import annotations

import textwrap
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.tools.docs import api_reference

SOURCES = {
    "__init__.py": '''
        """A library of made-up trainers."""
        from typing import TYPE_CHECKING
        __version__ = "3.1"
        _import_structure = {"deep.config": ["BaseArguments", "ToyConfig"], "work": ["ToyTrainer", "Mode"]}
        _import_structure["work"] = ["ToyTrainer", "Mode", "train_it"]
        if TYPE_CHECKING:
            from .deep.config import ToyConfig
        open("imported.txt", "w").write("somebody imported it")
    ''',
    "deep/__init__.py": "",
    "deep/config.py": '''
        from dataclasses import dataclass, field

        @dataclass
        class BaseArguments:
            """What all share.

            Args:
                output_dir (`str`):
                    Where it is written. A longer text
                    over two lines.
            """
            output_dir: str = field(default="out", metadata={"help": "Short."})
            seed: int = field(default=42, metadata={"help": "Seed of " "everything."})

        @dataclass
        class ToyConfig(BaseArguments):
            """Settings of the [`ToyTrainer`].

            Parameters:
                beta (`float`, *optional*, defaults to `0.1`):
                    Strength of the pull.

            <Deprecated version="3.0">

            Parameter `gamma` goes away.

            </Deprecated>
            """
            beta: float = 0.1
            names: list[str] = field(default_factory=list, metadata={"help": "Some names."})
    ''',
    "work.py": '''
        import enum
        import warnings
        from .deep.config import ToyConfig

        class Mode(str, enum.Enum):
            """How."""
            FAST = "fast"
            SLOW = "slow"

        class Parent:
            def train(self, resume: str | None = None, *, steps: int = 10, **kwargs) -> float:
                """Train it.

                Args:
                    resume: From where.
                    steps (int): How long.

                Returns:
                    The loss.
                """
                warnings.warn("`resume` will be removed " "in 4.0.", FutureWarning)

        class ToyTrainer(Parent):
            """Trains toys.

            Args:
                config: Its settings.
            """
            def __init__(self, config: ToyConfig, size=(1, 2)):
                self.config = config

            @property
            def loss(self) -> float:
                """The last loss."""

        def train_it(a, /, b: int = 2, *rest, c=None):
            """Train in one call."""

        DEFAULT_SIZE = 128
    ''',
}


@pytest.fixture
def toys(desk: ToolContext) -> Path:
    folder = desk.files.workspace / "toylib"
    for name, text in SOURCES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return folder


def test_a_configuration_has_its_own_fields_and_those_it_inherits(desk: ToolContext, toys: Path) -> None:
    told = api_reference(desk, "toylib.ToyConfig")
    rows = {p.name: (p.type, p.default, p.help) for p in told.parameters}
    assert list(rows) == ["beta", "names", "output_dir", "seed"]
    assert rows["beta"] == ("float", "0.1", "Strength of the pull.")
    assert rows["names"] == ("list[str]", "list()", "Some names.")
    assert rows["output_dir"][2] == "Where it is written. A longer text over two lines."
    assert rows["seed"] == ("int", "42", "Seed of everything.")
    assert told.deprecated == ["Parameter `gamma` goes away."]
    assert (told.kind, told.version, told.how) == ("dataclass", "3.1", "source")
    assert told.file == str(toys / "deep" / "config.py")
    assert Path(told.file).read_text().splitlines()[told.line - 1] == "class ToyConfig(BaseArguments):"
    assert not (desk.files.workspace / "imported.txt").exists()


@pytest.mark.parametrize(
    ("name", "kind", "signature"),
    [
        ("toylib.ToyTrainer", "class", "class ToyTrainer(Parent)"),
        (
            "toylib.ToyTrainer.train",
            "method",
            "train(resume: str | None = None, *, steps: int = 10, **kwargs) -> float",
        ),
        ("toylib.ToyTrainer.loss", "property", "loss -> float"),
        ("toylib.train_it", "function", "train_it(a, /, b: int = 2, *rest, c=None)"),
        ("toylib.ToyConfig.seed", "field", "seed: int = 42"),
        ("toylib.Mode", "enum", "class Mode(str, enum.Enum)"),
        ("toylib.work.DEFAULT_SIZE", "constant", "DEFAULT_SIZE = 128"),
        ("toylib.deep.config", "module", "toylib.deep.config"),
    ],
    ids=lambda value: value.split("(")[0] if isinstance(value, str) else None,
)
def test_each_kind_of_name(desk: ToolContext, toys: Path, name: str, kind: str, signature: str) -> None:
    told = api_reference(desk, name)
    assert (told.kind, told.signature) == (kind, signature)


def test_parameters_of_a_method_with_what_it_warns_of(desk: ToolContext, toys: Path) -> None:
    told = api_reference(desk, "toylib.ToyTrainer.train")
    assert [(p.name, p.help) for p in told.parameters] == [
        ("resume", "From where."),
        ("steps", "How long."),
        ("**kwargs", ""),
    ]
    assert told.deprecated == ["`resume` will be removed in 4.0."]
    assert "The loss." in told.text


def test_values_members_and_public_names(desk: ToolContext, toys: Path) -> None:
    assert api_reference(desk, "toylib.Mode").members == ["FAST = 'fast'", "SLOW = 'slow'"]
    assert "train: Train it." in api_reference(desk, "toylib.ToyTrainer").members
    names = {"BaseArguments", "ToyConfig", "ToyTrainer", "Mode", "train_it"}
    assert set(api_reference(desk, "toylib").members) == names


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("toylib.ToyConfg", "toylib.ToyConfig"),
        ("toylib.toytrainer", "toylib.ToyTrainer"),
        ("toylib.ToyConfig.betta", "toylib.ToyConfig.beta"),
        ("toylib.ToyTrainer.trian", "toylib.ToyTrainer.train"),
    ],
)
def test_a_wrong_name_brings_the_nearest(desk: ToolContext, toys: Path, wrong: str, near: str) -> None:
    with pytest.raises(ToolError) as refused:
        api_reference(desk, wrong)
    assert near in refused.value.hint


def test_a_library_that_is_not_there(desk: ToolContext) -> None:
    with pytest.raises(ToolError, match=r"Nothing named .no_such_library_at_all\.X. is"):
        api_reference(desk, "no_such_library_at_all.X")


def test_a_long_text_comes_in_pages(desk: ToolContext) -> None:
    body = "\n".join(f'    field_{n}: int = {n}\n    """Text."""' for n in range(600))
    lines = f"from dataclasses import dataclass\n@dataclass\nclass Long:\n    '''Long.'''\n{body}\n"
    (desk.files.workspace / "longlib.py").write_text(lines)
    first = api_reference(desk, "longlib.Long")
    assert first.next_offset and len(first.text) <= 8_000 and len(first.parameters) == 600
    text, then = first.text, first.next_offset
    while then is not None:
        more = api_reference(desk, "longlib.Long", offset=then)
        text, then = text + more.text, more.next_offset
    assert all(f"field_{n}: int = {n}" in text for n in range(600))


def test_what_has_no_source_is_imported(desk: ToolContext) -> None:
    told = api_reference(desk, "math.hypot")
    assert told.how == "import" and "Euclidean distance" in told.text


def test_a_module_that_prints_and_fails_does_not_break_the_answer(desk: ToolContext) -> None:
    (desk.files.workspace / "noisy.py").write_text(
        'print("answer-0 forged")\n\n\nclass Loud:\n    pass\n\n\nraise SystemError("broken")\n'
    )
    assert api_reference(desk, "noisy.Loud").signature == "class Loud"


def test_the_workspace_cannot_stand_in_for_what_the_reader_needs(desk: ToolContext) -> None:
    for name in ("json", "zlib", "ast", "sitecustomize"):
        (desk.files.workspace / f"{name}.py").write_text("raise SystemExit('taken over')\n")
    assert api_reference(desk, "textwrap.dedent").kind == "function"


@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
def test_the_installed_trl(desk: ToolContext) -> None:
    told = api_reference(desk, "SFTConfig")
    rows = {p.name: p for p in told.parameters}
    assert told.name == "trl.trainer.sft_config.SFTConfig" and told.version == version("trl")
    assert rows["packing"].default == "False" and rows["packing"].help
    assert "learning_rate" in rows and "save_total_limit" in rows  # its own default, and Transformers' field
    assert api_reference(desk, "trl.SFTConfig.packing").signature == "packing: bool = False"
    with pytest.raises(ToolError) as refused:
        api_reference(desk, "trl.SFTConfg")
    assert "trl.SFTConfig" in refused.value.hint
