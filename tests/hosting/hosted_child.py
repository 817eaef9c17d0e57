"""A hosted session in a process of its own, which a test kills: tells one thing, says how it stands, waits."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from ml_intern.events import CellOutput
from ml_intern.hosting import Hosted


def main(state: str, url: str, when: str) -> None:
    hosted = Hosted({"model": "openai:x", "base_url": url, "api_key": "none", "sandbox": "none", "state": Path(state),
                     "web_cache": Path(state) / "web"})  # fmt: skip
    hosted.tell("begin")
    seen = 0
    while when == "working" or hosted.state == "working":
        for event in hosted.wait(seen, 60):
            seen += 1
            if when == "working" and isinstance(event, CellOutput):
                print(hosted.folder, flush=True)
                threading.Event().wait()
    print(hosted.folder, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
