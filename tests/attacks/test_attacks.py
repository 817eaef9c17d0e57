"""Every attack in every sandbox that this machine has, and without walls as the control.

Each kind of sandbox runs once, in a process of its own that plays the attacked host (`runner.py`); a test
here looks at what became of one attack. ``python tests/attacks/table.py`` shows the same as a table.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from attacks.model import KINDS, Attack
from attacks.runner import run_all
from attacks.suite import ATTACKS

FEW = 30
"""With fewer than that asked for (``-k``), the others are not run."""

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(1500)]


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`results("docker")`: what became of all attacks there. All kinds that are asked for run at once."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    asked = {given["kind"] for given in params if "kind" in given}
    names = {given["attack"].id for given in params if "attack" in given}
    only = "|".join(f"^{re.escape(name)}$" for name in names) if len(names) < FEW else ""
    found = run_all([kind for kind in KINDS if kind in asked], tmp_path_factory.mktemp("attacks"), only)

    def of(kind: str) -> dict[str, Any]:
        if "results" not in found[kind]:
            pytest.skip(found[kind]["problem"])
        return found[kind]

    return of


def applied(kinds: list[str]) -> list[Any]:
    """Attack and kind, kind by kind."""
    return [
        pytest.param(attack, kind, id=f"{kind}: {attack.id}")
        for kind in kinds
        for attack in ATTACKS
        if not attack.out_of_place(kind)
    ]


def evidence(entry: dict[str, Any]) -> str:
    """What the host saw, for who reads a failure."""
    lines = [
        *entry["bad"],
        "",
        "the host saw:",
        *entry["good"],
        "",
        "inside:",
        *entry["inside"],
        entry["said"],
    ]
    return "\n".join(str(line) for line in lines)


def entry_of(found: dict[str, Any], attack: Attack) -> dict[str, Any]:
    told: dict[str, Any] | None = found["results"].get(attack.id)
    assert told, f"the attacked host did not come so far: {found.get('problem')}"
    if told.get("noticed"):
        warnings.warn(f"a kernel started only at the second try: {told['noticed']}", stacklevel=2)
    assert told["verdict"] != "broken", f"the attack itself did not run:\n{evidence(told)}"
    return told


@pytest.mark.parametrize(("attack", "kind"), applied([kind for kind in KINDS if kind != "none"]))
def test_an_attack_is_contained(attack: Attack, kind: str, results: Any) -> None:
    told = entry_of(results(kind), attack)
    if told["verdict"] == "admitted":
        pytest.xfail(evidence(told))
    assert told["verdict"] == "contained", evidence(told)
    assert told["good"], "nothing was seen of it from the host"


@pytest.mark.parametrize(("attack", "kind"), applied(["none"]))
def test_the_same_attack_succeeds_without_walls(attack: Attack, kind: str, results: Any) -> None:
    """So that a pass above is due to the walls and not to a mistake in the attack."""
    told = entry_of(results(kind), attack)
    assert told["verdict"] == "escaped", f"it found nothing to break:\n{evidence(told)}"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_at_the_end(kind: str, results: Any) -> None:
    found = results(kind)
    assert not found.get("problem"), found["problem"]
    assert not found["at the end"]["bad"]


def test_there_are_many_and_each_has_its_own_name() -> None:
    names = [attack.id for attack in ATTACKS]
    assert len(set(names)) == len(names) and len({(a.group, a.name) for a in ATTACKS}) >= 70
    contained_only = [a for a in ATTACKS if a.out_of_place("none")]
    assert len(names) - len(contained_only) >= 50, "most attacks that can be have a control"
