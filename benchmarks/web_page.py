"""An open page of the web app: requests a minute, and what it costs the server, in a real browser.

A page that asks each second costs a request each second; one that is told holds one request open. Measured
are a page with nothing to do, one whose session waits, its open tabs, and one whose session prints.

    python benchmarks/web_page.py [--seconds 30]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.openai_server import ScriptedServer
from support.web_app import CHROMIUM, Served, Visitor, browsing, requests_of, served

PRINTING = """
import pathlib, time
while not pathlib.Path("go").exists():
    print("a line", flush=True)
    time.sleep(0.2)
"""


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def measured(app: Served, page: Any, seconds: float) -> tuple[float, float]:
    """Requests a minute, and per cent of one core that the server uses."""
    asked = requests_of(page)
    begun, used = time.monotonic(), cpu_s(app.process.pid)
    page.wait_for_timeout(1000 * seconds)
    took = time.monotonic() - begun
    return 60 * len(asked) / took, 100 * (cpu_s(app.process.pid) - used) / took


def stages(visitor: Visitor, script: ScriptedServer) -> Iterator[str]:
    """Bring the page from one state to the next, and name it."""
    page = visitor.page
    yield "a new session, nothing to do"
    visitor.say("say hello to Ada")
    visitor.waits_for("waiting")
    page.wait_for_timeout(3000)
    yield "a session that waits"
    for name in ("Jobs", "Curves"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(3000)
        yield f"the same, tab {name}"
    page.get_by_role("tab", name="Session", exact=True).click()
    script.replies = [{"text": f"I print.\n<cell>{PRINTING}</cell>"}]
    page.locator("#mi-new").click()
    visitor.waits_for("new")
    visitor.choose("openai:scripted")
    visitor.say("print")
    visitor.sees(".mi-out", "a line")
    yield "a session that prints 5 lines a second"


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--seconds", type=float, default=30.0)
    seconds = given.parse_args().seconds
    if CHROMIUM is None:
        print("There is no Chromium on this machine.")
        return
    with tempfile.TemporaryDirectory() as folder, ScriptedServer([]) as script:
        env = {
            "ML_INTERN_APP_MODELS": "openai:scripted",
            "ML_INTERN_API_KEY": "k",
            "ML_INTERN_BASE_URL": script.url,
        }
        with served(Path(folder), "--model", "playbook:", env=env) as app, browsing() as browser:
            visitor = Visitor(browser.new_page(), app.url)
            visitor.page.set_default_timeout(120_000)
            visitor.page.goto(app.url)
            visitor.ready()
            visitor.page.wait_for_timeout(5000)
            print(f"{'':42} requests/min   server, % of a core")
            for name in stages(visitor, script):
                requests, cpu = measured(app, visitor.page, seconds)
                print(f"{name:42} {requests:12.0f} {cpu:21.1f}", flush=True)


if __name__ == "__main__":
    main()
