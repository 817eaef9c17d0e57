"""The head of a playbook: the sentences it understands and the slots they fill."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ml_intern.brains.sentences import Sentence
from ml_intern.brains.words import number
from ml_intern.tooling import did_you_mean


class Slot(BaseModel):
    """A value that a sentence may give."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["str", "int", "float", "choice"] = "str"
    default: Any = None
    choices: list[str] = Field(default_factory=list)
    help: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Slot:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices belong to the type choice, and it needs them")
        if self.default is not None:
            self.default = self.value(str(self.default))
        return self

    def takes(self, text: str) -> bool:
        """Whether the text is a value of this slot."""
        try:
            self.value(text)
        except ValueError:
            return False
        return True

    def value(self, text: str) -> Any:
        """The value that a text says.

        Raises:
            ValueError: The text is no such value.
        """
        if self.type == "str":
            return text
        if self.type == "choice":
            found = next((c for c in self.choices if c.lower() == text.strip().lower()), None)
            if found is None:
                raise ValueError(
                    f"{text!r} is not one of {', '.join(self.choices)}{did_you_mean(text, self.choices)}"
                )
            return found
        value = number(text)
        if value is None or (self.type == "int" and value != int(value)):
            raise ValueError(f"{text!r} is no {'whole ' if self.type == 'int' else ''}number")
        return int(value) if self.type == "int" else value


class FrontMatter(BaseModel):
    """The head of a playbook."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    summary: str
    sentences: list[Sentence] = Field(min_length=1)
    slots: dict[str, Slot] = Field(default_factory=dict)

    @field_validator("sentences", mode="before")
    @classmethod
    def _read_sentences(cls, given: Any) -> Any:
        if not isinstance(given, list):
            raise ValueError("is no list")
        return [_sentence(entry) for entry in given]

    @model_validator(mode="after")
    def _slots_exist(self) -> FrontMatter:
        for sentence in self.sentences:
            _ = sentence.parts
            for name in sentence.slots | {name for name, _ in sentence.fixed}:
                if name not in self.slots:
                    guess = did_you_mean(name, self.slots)
                    raise ValueError(f"the slot {name!r} of {sentence.pattern!r} is not declared{guess}")
        return self


def _sentence(entry: Any) -> Sentence:
    if isinstance(entry, str):
        return Sentence(entry)
    if (
        isinstance(entry, dict)
        and set(entry) <= {"pattern", "slots"}
        and isinstance(entry.get("pattern"), str)
    ):
        return Sentence(entry["pattern"], tuple((entry.get("slots") or {}).items()))
    raise ValueError(f"{entry!r} is neither a sentence nor {{pattern, slots}}")
