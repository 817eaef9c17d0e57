"""What an attack is, and what is found out about it.

An attack is a piece of code that plays the hostile cell or job, and a judge on the host's side. The code says
that it began with `attempted()`; where it gets what it must not get, it prints it (`loot`) or says so (`won`).
It is believed only when it boasts: that it got nothing is what the host sees for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attacks.world import World

KINDS = ("local as root", "local as a user", "docker", "e2b", "none")
"""The sandboxes; `none` is the control: what must succeed there, so that a failure elsewhere means something."""

ATTEMPTED, WON = "ATTEMPTED", "WON"


class Findings:
    """What the host saw: `good` and `bad` are sentences, the evidence."""

    def __init__(self) -> None:
        self.good: list[str] = []
        self.bad: list[str] = []

    def expect(self, holds: object, good: str, bad: str = "") -> None:
        """Note a fact that must hold."""
        (self.good if holds else self.bad).append(good if holds else bad or f"not so: {good}")


@dataclass
class Outcome:
    """What came of running an attack.

    Attributes:
        text: Everything that it printed, answered, returned or left in a log.
        result: The `CellResult` or `JobStatus`; None where the host's own code raised.
        raised: What the host's own code raised, which it never should.
        seconds: How long it took, from the host's view.
        processes: How many processes of the sandbox the host counted at the most.
        resident_mb: The most memory they held together, shared memory counted once.
        stayers: How many processes that were left to stay the host saw alive.
        grown_mb: What the workspace, or the job's folder, grew by on disk.
        calls: The tool calls that the host carried out: name, arguments, answer.
    """

    text: str = ""
    result: Any = None
    raised: str = ""
    seconds: float = 0.0
    processes: int = 0
    resident_mb: float = 0.0
    grown_mb: float = 0.0
    stayers: int = 0
    calls: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)


Plant = Callable[["World"], Mapping[str, Any] | None]
Check = Callable[["World", Outcome, Findings], None]


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: What it does, in a few words.
        group: The file that it stands in.
        code: Python that runs inside, after the prelude.
        kind: ``cell`` or ``job``.
        plant: Prepares the host; what it gives is added to what the code knows as ``W``.
        contained: Judges on the host, beside what is judged for every attack.
        limits: Fields of `Limits` for a kernel of its own, or settings of the job.
        alone: It needs a kernel of its own: what it does to it would disturb the next attack.
        seconds: Time of the cell or the job.
        grace: From the interrupt to the kill.
        control: It must succeed under `none`; a text says why that is not tried.
        elsewhere: By sandbox kind, why the attack does not apply there.
        may_end: It may cost the session its kernel, if the host says so in one line.
        admitted: What the sandbox's own description says where it does not bound this. It is not contained then, and the person who watches was told so.
        transport: It also applies where only the transport is real (the loopback E2B).
    """

    name: str
    group: str
    code: str
    kind: str = "cell"
    plant: Plant | None = None
    contained: Check | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    seconds: float = 20.0
    grace: float = 2.0
    control: bool | str = True
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    transport: bool = False
    may_end: bool = False
    admitted: str = ""

    @property
    def id(self) -> str:
        """The name by which results are kept."""
        return f"{self.group}: {self.name}" + (" (job)" if self.kind == "job" else "")

    def out_of_place(self, kind: str) -> str:
        """Why it is not run in a sandbox of this kind; nothing where it is."""
        if kind == "none" and self.control is not True:
            return self.control or "no control: it would harm the machine that runs the tests"
        if kind == "e2b" and not self.transport:
            return "E2B's own machine is the wall; on loopback only the transport is real"
        return self.elsewhere.get(kind, "")


def both(attack: Attack, **job: Any) -> list[Attack]:
    """The attack from a cell, and from a job's script; `job` changes fields of the second."""
    return [attack, replace(attack, kind="job", alone=False, transport=False, **job)]
