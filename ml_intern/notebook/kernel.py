"""The notebook whose kernel this process is, if it is one. A kernel has IPython: it is not imported here."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_intern.result import RunResult

_shown: tuple[RunResult | None, int] = (None, 0)
"""The result that was shown last, and the number of the cell below which it stands."""


def shell() -> Any | None:
    """IPython's shell, where its outputs go to a notebook; None in a terminal, a script, without IPython."""
    ipython = sys.modules.get("IPython")
    found = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return found if getattr(found, "kernel", None) is not None else None


def in_notebook() -> bool:
    """Whether what is displayed goes to a notebook."""
    return shell() is not None


def hush() -> None:
    """Keep libraries from telling below the cell that progress bars of theirs could be nicer."""
    warnings.filterwarnings("ignore", message="IProgress not found")


def person_is_there() -> bool:
    """Whether `input` reaches somebody: not where a program executes the notebook."""
    found = shell()
    return found is not None and bool(getattr(found.kernel, "_allow_stdin", False))


class Place:
    """One output below the running cell. What is shown later takes the place of what was there."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._html = ""

    def show(self, html: str, text: str) -> None:
        """Show it, unless it is there already; the text is for what draws no HTML."""
        if html == self._html:
            return
        from IPython.display import display

        self._html = html
        bundle = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def is_shown(result: RunResult) -> None:
    """Remember that a result stands below the running cell."""
    global _shown
    found = shell()
    _shown = (result, found.execution_count) if found is not None else (None, 0)


def show_once(result: RunResult) -> None:
    """Display a result: as the value of the cell that has shown it already it is not shown twice."""
    found = shell()
    if found is None:
        print(result)  # noqa: T201 - IPython in a terminal asks for it
    elif _shown[0] is not result or _shown[1] != found.execution_count:
        Place().show(result._repr_html_(), str(result))
        is_shown(result)
