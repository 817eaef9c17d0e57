"""A real kernel, as a notebook drives it: cells are executed, questions answered, the running cell interrupted."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 200.0


@dataclass
class Ran:
    """What a cell left: its outputs as they stand at its end, and what was asked meanwhile."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    """Every state of what was displayed."""

    @property
    def kinds(self) -> list[str]:
        return [output["kind"] for output in self.outputs]

    def html(self, at: int = 0) -> str:
        return str(self.outputs[at]["data"]["text/html"])

    @property
    def value(self) -> Any:
        """What the cell's last expression shows."""
        [found] = [o["data"]["text/plain"] for o in self.outputs if o["kind"] == "execute_result"]
        return found


class Kernel:
    """Executes cells.

    Args:
        client: A client of jupyter_client whose channels are open.
        interrupt: Interrupts the kernel.
    """

    def __init__(self, client: Any, interrupt: Callable[[], None]) -> None:
        self._client = client
        self._interrupt = interrupt

    def run(
        self,
        code: str,
        answers: Iterable[str | None] = (),
        stop: Callable[[], bool] | None = None,
        stdin: bool = True,
    ) -> Ran:
        """Run a cell to its end.

        Args:
            code: The cell.
            answers: To what `input` asks; None interrupts instead.
            stop: The cell is interrupted once this is so.
            stdin: Whether somebody is there to answer.
        """
        ran, left = Ran(), list(answers)
        message = self._client.execute(code, allow_stdin=stdin)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self._answer(ran, left)
            if stop is not None and stop():
                stop = None
                self._interrupt()
            try:
                told = self._client.get_iopub_msg(timeout=0.05)
            except queue.Empty:
                continue
            if told["parent_header"].get("msg_id") != message:
                continue
            if told["msg_type"] == "status" and told["content"]["execution_state"] == "idle":
                return ran
            _take(ran, told["msg_type"], told["content"])
        raise AssertionError(f"The cell did not end: {ran}")

    def _answer(self, ran: Ran, left: list[str | None]) -> None:
        try:
            asked = self._client.get_stdin_msg(timeout=0.01)
        except queue.Empty:
            return
        ran.questions.append(asked["content"]["prompt"])
        answer = left.pop(0)
        if answer is None:
            self._interrupt()
        else:
            self._client.input(answer)


def _take(ran: Ran, kind: str, content: dict[str, Any]) -> None:
    name = content.get("transient", {}).get("display_id")
    if kind in ("display_data", "update_display_data") and "text/html" in content["data"]:
        ran.pages.append(content["data"]["text/html"])
    if kind == "update_display_data":
        for output in ran.outputs:
            if output.get("name") == name:
                output["data"] = content["data"]
    elif kind in ("display_data", "execute_result"):
        ran.outputs.append({"kind": kind, "name": name, "data": content["data"]})
    elif kind == "stream":
        ran.outputs.append({"kind": content["name"], "text": content["text"]})
    elif kind == "error":
        ran.outputs.append({"kind": kind, "text": "\n".join(content["traceback"])})
